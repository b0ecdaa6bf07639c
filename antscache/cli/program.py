"""The program: run a command, print its error, and exit with the code that `antscache.errors` documents."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from antscache.cli.lazy_group import antscache
from antscache.cli.options import Invocation
from antscache.cli.render import print_line
from antscache.cli.streams import standard_streams
from antscache.core import escape
from antscache.errors import AntsCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells expect it


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code that `antscache.errors` documents."""

    def command(invocation: Invocation) -> object:
        return antscache.main(arguments, prog_name="antscache", standalone_mode=False, obj=invocation)

    finish(command)


def finish(command: Callable[[Invocation], object]) -> NoReturn:
    """Run `command` and exit: 0, or with an error's message, hint and documented code."""
    with standard_streams() as data:
        code = _run(command)
        if code == 0 and data and data.error:
            if not isinstance(data.error, BrokenPipeError):  # `antscache list | head`
                _print_error(
                    f"error: cannot write to stdout: {data.error.strerror}",
                    "all else is done: run the command again with an output that can be written",
                )
            code = AntsCacheError.exit_code
    sys.exit(code)


def _run(command: Callable[[Invocation], object]) -> int:
    """Run `command`, print its error if it has one, and return the exit code."""
    invocation = Invocation()
    try:
        code = command(invocation)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        _show(error)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _print_error("interrupted", "fetched data is kept: run the same command again to go on")
        code = EXIT_INTERRUPTED
    except AntsCacheError as error:
        if invocation.debug:
            raise
        _print_error(f"error: {error.message}", error.hint, error.details)
        code = error.exit_code
    except Exception as error:
        if invocation.debug:
            raise
        _print_error(
            f"internal error: {type(error).__name__}: {error}",
            "run the command again with --debug, and report its output",
        )
        code = AntsCacheError.exit_code
    return code if isinstance(code, int) else 0


def _print_error(message: str, hint: str, details: Sequence[str] = ()) -> None:
    for line in [message, *details, *([f"hint: {hint}"] if hint else [])]:
        print_line(line, err=True)


def _show(error: click.ClickException) -> None:
    """Show a usage error as click does. All but those about a missing argument may repeat yours."""
    if not isinstance(error, click.MissingParameter):
        message = escape(error.format_message())
        error.format_message = lambda: message  # type: ignore[method-assign]
    error.show()
