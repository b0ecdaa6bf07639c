"""`antscache run`: run a command whose ANTsPyNet uses its own view."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import click

from antscache.cli.options import Invocation, fetching, shared
from antscache.core import parse_release

IGNORED = ("SIGPIPE", "SIGXFSZ")
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # what shells and env(1) exit with


class Run(click.Command):
    """Two command lines in one: the words after `--`, or from the first that is no option on, are another command's."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Parse the arguments before the other command as click does, and keep the others for `run`."""
        if "--" in arguments:
            at = arguments.index("--")
            context.meta["command"] = arguments[at + 1 :]
            return super().parse_args(context, arguments[:at])
        context.allow_interspersed_args = False
        return super().parse_args(context, arguments)

    def format_usage(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line, whose `--` click cannot know."""
        formatter.write_usage(context.command_path, "[OPTIONS] [RELEASE] -- CMD...")


@click.command(cls=Run)
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
