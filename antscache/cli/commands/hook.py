"""`antscache hook`: switch the hook on or off in an environment; answer what it asks (hidden: entries, fetch)."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.lazy_group import HintingGroup
from antscache.cli.options import Invocation, as_json, fetching, shared
from antscache.core import PACKAGES, parse_release
from antscache.errors import AntsCacheError, ConfigError, ManifestError, Offline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.cache import Cache
    from antscache.core import Manifest, Package, Release
    from antscache.hook import Hooked
    from antscache.views import EntryLocation


@click.group("hook", cls=HintingGroup)
def group() -> None:
    """Have a whole environment's ANTsPyNet use its own view, whoever starts it.

    One file in its site-packages does it, which `disable` removes. ANTSCACHE_HOOK=0 switches it off for a process.
    """


def _environment_flags(function: Any) -> Any:
    """Add the flags that enable, disable and status share."""
    python = click.option("--python", type=click.Path(path_type=Path), help="The Python of the environment.")
    return python(as_json(shared(click.pass_obj(function))))


@group.command()
@_environment_flags
def enable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook on in an environment: that of --python, or the current one."""
    from antscache import hook

    _tell(invocation, hook.enable(_python(python)), json=json)


@group.command()
@_environment_flags
def disable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook off in an environment, and leave nothing of it."""
    from antscache import hook

    _tell(invocation, hook.disable(_python(python)), json=json)


@group.command()
@_environment_flags
def status(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Say whether the hook is on in an environment, and which antscache it calls."""
    from antscache import hook

    _tell(invocation, hook.status(_python(python)), json=json)


def _python(python: Path | None) -> Path:
    """Return `python` if it is given, else the interpreter of the current environment."""
    from antscache.catalog import current_python

    return python or current_python()


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


@group.command(hidden=True)
@click.argument("package", type=click.Choice(PACKAGES))
@click.argument("directory", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def entries(invocation: Invocation, package: Package, directory: Path) -> None:
    """Print, as JSON, what the PACKAGE in DIRECTORY asks for and where it is."""
    cache = invocation.cache()
    _print(cache.locate(_asked_for(cache, package, directory)))


@group.command(hidden=True)
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
        if cache.settings.mounted and (brought := cache.find_in_user_home(manifest, kind, name)):
            invocation.say(f"note: {brought.path} is used as it is: it is whole, and nothing says whose bytes it has")
            _print([brought])
            return
        if not isinstance(error, Offline) or cache.catalog.find(manifest.release):
            raise
        hint = (
            f"run `antscache prefetch --from {shlex.quote(str(directory))} --name {name}` where there is network access"
        )
        raise Offline(str(error), hint=hint) from None
    _print([each for each in cache.locate(manifest) if (each.kind, each.name) == (kind, name)])


def _print(located: Iterable[EntryLocation]) -> None:
    """Print, as JSON, what `inject/antscache_getters.py` reads."""
    facts = ({**asdict(each), "release": str(each.release), "path": each.path and str(each.path)} for each in located)
    render.print_json(list(facts))


def _asked_for(cache: Cache, package: Package, directory: Path) -> Manifest:
    """Return the manifest of the release that the user has named, or of the installation in `directory`."""
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
