"""The verbs that make an unmodified ANTsPyNet use its view, run and hook; and what it asks, hook entries and fetch."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.group import Verbs, antscache
from antscache.cli.options import Invocation, as_json, fetching, shared
from antscache.errors import AntsCacheError, ConfigError, ManifestError, Offline
from antscache.manifest import PACKAGES, parse_release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.cache import Cache, Located
    from antscache.hook import Hooked
    from antscache.manifest import Manifest, Package, Release

IGNORED = ("SIGPIPE", "SIGXFSZ")
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # what shells and env(1) exit with


class Run(click.Command):
    """A command line of two: what is behind `--`, or from the first word that is no option on, is another's."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Click's own, for what is ours."""
        if "--" in arguments:
            at = arguments.index("--")
            context.meta["command"] = arguments[at + 1 :]
            return super().parse_args(context, arguments[:at])
        context.allow_interspersed_args = False
        return super().parse_args(context, arguments)

    def format_usage(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """How it is written, which click cannot know."""
        formatter.write_usage(context.command_path, "[OPTIONS] [RELEASE] -- CMD...")


@antscache.command(cls=Run)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Note in FILE what is asked for.")
@fetching
@shared
@click.pass_context
def run(context: click.Context, words: tuple[str, ...], record: Path | None) -> None:
    """Run CMD, whose ANTsPyNet uses its own view, as do all processes that it starts.

    Nothing else changes: CMD takes the place of this process, with its exit code and its signals. A file that is not
    there is fetched when it is asked for, or with --offline named. Without RELEASE, the view is that of the
    installation that is imported, whichever that is. %p in FILE becomes the number of each process.

    `--` may be left out where there is no RELEASE.
    """
    from antscache import hook

    invocation: Invocation = context.obj
    command = context.meta.get("command")
    if command is None:
        release, command = None, list(words)
    else:
        if len(words) > 1:
            raise click.UsageError(f"one RELEASE stands before --, not {' '.join(words)}")
        release = parse_release(words[0]) if words else None
    if not command:
        raise click.UsageError("no CMD to run")
    environment = hook.environment(invocation.flags, release=release, record=record)
    sys.stdout.flush()
    for name in IGNORED:  # by Python, and not by whoever started it
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  it is what was asked for
    except (OSError, ValueError) as error:
        found = isinstance(error, OSError) and error.errno != errno.ENOENT  # no name at all is a ValueError
        why = error.strerror if isinstance(error, OSError) else os.strerror(errno.ENOENT)
        click.echo(f"error: cannot run {command[0]}: {why}", err=True)
        raise click.exceptions.Exit(NOT_EXECUTABLE if found else NOT_FOUND) from None


@antscache.group("hook", cls=Verbs)
def of_environment() -> None:
    """Have a whole environment's ANTsPyNet use its own view, whoever starts it.

    One file in its site-packages does it, which `disable` removes. ANTSCACHE_HOOK=0 switches it off for a process.
    """


def _of_one(function: Any) -> Any:
    python = click.option("--python", type=click.Path(path_type=Path), help="The Python of the environment.")
    return python(as_json(shared(click.pass_obj(function))))


@of_environment.command()
@_of_one
def enable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook on in an environment: that of --python, or the current one."""
    from antscache import hook

    _tell(invocation, hook.enable(_python(python)), json=json)


@of_environment.command()
@_of_one
def disable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook off in an environment, and leave nothing of it."""
    from antscache import hook

    _tell(invocation, hook.disable(_python(python)), json=json)


@of_environment.command()
@_of_one
def status(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Say whether the hook is on in an environment, and which antscache it calls."""
    from antscache import hook

    _tell(invocation, hook.status(_python(python)), json=json)


def _python(python: Path | None) -> Path:
    """The interpreter that is meant: the one given, or that of the current environment."""
    from antscache.environment import current

    return python or current()


def _tell(invocation: Invocation, hooked: Hooked, *, json: bool) -> None:
    enabled = hooked.enabled
    if json:
        command = enabled.command if enabled else ()
        facts = {"python": str(hooked.python), "file": str(hooked.file), "command": command}
        render.print_json({**facts, "works": bool(enabled) and not hooked.gone})
        return
    click.echo(f"on for {hooked.python}: {hooked.file}" if enabled else f"off for {hooked.python}")
    if hooked.gone:
        invocation.say(f"warning: {hooked.gone} is not there any more\nhint: run `antscache hook enable` again")


# What the hook asks


@of_environment.command(hidden=True)
@click.argument("package", type=click.Choice(PACKAGES))
@click.argument("directory", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def entries(invocation: Invocation, package: Package, directory: Path) -> None:
    """Print, as JSON, what the PACKAGE in DIRECTORY asks for and where it is."""
    cache = invocation.cache()
    _print(cache.located(_asked_for(cache, package, directory)))


@of_environment.command(hidden=True)
@click.argument("package", type=click.Choice(PACKAGES))
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("kind", type=click.Choice(["data", "network"]))
@click.argument("name")
@fetching
@shared
@click.pass_obj
def fetch(invocation: Invocation, package: Package, directory: Path, kind: Any, name: str) -> None:
    """Make one entry present, and print, as JSON, where it is."""
    cache = invocation.cache()
    manifest = _asked_for(cache, package, directory)
    try:
        cache.prefetch(cache.plan(manifest, names=[name], kinds=[kind]))
    except AntsCacheError as error:
        if cache.settings.mounted and (brought := cache.brought(manifest, kind, name)):
            invocation.say(f"note: {brought.path} is used as it is: it is whole, and nothing says whose bytes it has")
            _print([brought])
            return
        if not isinstance(error, Offline) or cache.catalog.at_hand(manifest.release):
            raise
        hint = (
            f"run `antscache prefetch --from {shlex.quote(str(directory))} --name {name}` where there is network access"
        )
        raise Offline(str(error), hint=hint) from None
    _print([each for each in cache.located(manifest) if (each.kind, each.name) == (kind, name)])


def _print(located: Iterable[Located]) -> None:
    """What `inject/antscache_getters.py` reads."""
    facts = ({**asdict(each), "release": str(each.release), "path": each.path and str(each.path)} for each in located)
    render.print_json(list(facts))


def _asked_for(cache: Cache, package: Package, directory: Path) -> Manifest:
    """The manifest of the release that the user has named, or of the installation in `directory`."""
    named = _named()
    if named and named.package == package:
        return cache.manifest(named)
    return cache.catalog.source(directory, package)


def _named() -> Release | None:
    from antscache.hook import RELEASE

    try:
        return parse_release(os.environ[RELEASE]) if os.environ.get(RELEASE) else None
    except ManifestError as error:
        raise ConfigError(f"the environment ({RELEASE}): {error}", hint=error.hint) from None
