"""`antscache run`: run a command with an ANTsPyNet that uses its own view."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, fetching, locking, manifest, say_needed, shared
from antscache.core import Choice, parse_release
from antscache.errors import AntsCacheError, ManifestError

if TYPE_CHECKING:
    from antscache.core import Release

SIGNALS_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")
EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127  # as shells and env(1) exit


class Run(click.Command):
    """Two command lines in one: CMD begins after `--`, or with the first word that is not an option."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Parse the arguments before CMD as click does; keep CMD for `run`."""
        if "--" in arguments:
            at = arguments.index("--")
            context.meta["command"] = arguments[at + 1 :]
            return super().parse_args(context, arguments[:at])
        context.allow_interspersed_args = False
        return super().parse_args(context, arguments)

    def format_usage(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line with its `--`."""
        formatter.write_usage(context.command_path, "[OPTIONS] [RELEASE] -- CMD...")


@click.command(cls=Run)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--for",
    "calls",
    multiple=True,
    metavar="CALL",
    help="Fetch what this function needs first: FUNCTION or FUNCTION:ARGUMENT=VALUE,...; may be given again.",
)
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write the requested entries to FILE.")
@locking("Give CMD exactly the files of the lockfile FILE; nothing else is fetched or used.")
@fetching
@shared
@click.pass_context
def run(
    context: click.Context,
    words: tuple[str, ...],
    calls: tuple[str, ...],
    record: Path | None,
    lockfile: Path | None,
) -> None:
    """Run CMD with an ANTsPyNet that uses its own view.

    The processes that CMD starts use the view as well. CMD takes the place of this process: its exit code and signals
    stay its own. A missing file is fetched when ANTsPyNet asks for it; with --offline it is an error. Without RELEASE,
    the view is that of the installation that CMD imports. In FILE, %p becomes the number of each process.

    With --lock, the files that FILE names are fetched before CMD runs, and CMD is offline: a name that is not in FILE,
    and a file with other bytes, is an error.

    You may leave out `--` if you give no RELEASE.
    """
    from antscache import hook

    invocation: Invocation = context.obj
    command = context.meta.get("command")
    if command is None:
        release, command = None, list(words)
    else:
        if len(words) > 1:
            raise click.UsageError(f"give at most one RELEASE before --, not {' '.join(words)}")
        release = parse_release(words[0]) if words else None
    if not command:
        raise click.UsageError("no CMD to run")
    if release is None and _is_release(command[0]):
        raise click.UsageError(f"RELEASE stands before `--`: antscache run {command[0]} -- {shlex.join(command[1:])}")
    _prefetch(invocation, words[0] if words else None, calls, lockfile)
    environment = hook.environment(invocation.flags, release=release, record=record, lockfile=lockfile)
    if release and environment.get("ANTSCACHE_OFFLINE") == "1":
        _warn_of_nothing(invocation, release)
    sys.stdout.flush()
    for name in SIGNALS_IGNORED_BY_PYTHON:  # CMD gets the default again
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  the user asked for it
    except (OSError, ValueError) as error:
        exists = isinstance(error, OSError) and error.errno != errno.ENOENT  # an empty name raises ValueError
        reason = error.strerror if isinstance(error, OSError) else os.strerror(errno.ENOENT)
        render.print_line(f"error: cannot run {command[0]}: {reason}", err=True)
        raise click.exceptions.Exit(EXIT_NOT_EXECUTABLE if exists else EXIT_NOT_FOUND) from None


def _prefetch(invocation: Invocation, release: str | None, calls: tuple[str, ...], lockfile: Path | None) -> None:
    """Make present what `calls` of functions need, or the files of `lockfile`, before CMD starts; nothing without them.

    Raises:
        UsageError: there is a lockfile, and another choice.
        AntsCacheError: as `Cache.prefetch` does.
    """
    if not lockfile and not calls:
        return
    if lockfile and (release or calls):
        raise click.UsageError("--lock names the files itself: leave out RELEASE and --for")
    from antscache.cli.commands.prefetch import carry_out
    from antscache.operations import read_lockfile

    cache = invocation.cache()
    if lockfile:  # CMD itself is offline then
        for plan in cache.plan_lockfile(read_lockfile(lockfile)):
            carry_out(invocation, cache, plan)
    else:
        wanted = manifest(cache, release, None, None, functions=True)
        say_needed(invocation, wanted, Choice(functions=calls))
        carry_out(invocation, cache, cache.plan(wanted, functions=calls))


def _warn_of_nothing(invocation: Invocation, release: Release) -> None:
    """Say so if nothing of `release` is held, and nothing may be fetched either."""
    with suppress(AntsCacheError):  # CMD may need nothing; if it does, it gets this error
        cache = invocation.cache()
        known = cache.manifest(cache.release(release))
        if not any(status.record for status in cache.statuses(known)):
            invocation.say(
                f"warning: nothing of {known.release} is held in {cache.store.layout.root}, and you are offline",
                hint=f"run `antscache prefetch {known.release}` where there is network access",
            )


def _is_release(word: str) -> bool:
    """Return True if `word` is written like a release, and there is no such program."""
    with suppress(ManifestError):
        parse_release(word)
        return shutil.which(word) is None
    return False
