"""The command line: arguments in, exit code out. The only package that prints.

Data goes to stdout, talk to stderr. An error is what happened, to what, and a hint; a traceback only with --debug.

    program.py     run a command, print its error, exit with the documented code
    verbs.py       the command `antscache`, and how its verbs are found
    commands/      the verbs, one file each, imported when called
    options.py     the flags that verbs share, and the invocation they add up to
    progress.py    the progress of a fetch: bars, lines, or events as JSON
    render.py      sizes, times, tables, JSON
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from antscache.cli.options import Invocation
from antscache.cli.program import finish, main

if TYPE_CHECKING:
    from antscache.cli.commands.prefetch import carry_out
    from antscache.cli.render import say_how_linked

__all__ = ["Invocation", "carry_out", "finish", "main", "say_how_linked"]

# Imported when first used: a verb's module is imported by whoever calls the verb.
_LAZY = {"carry_out": "antscache.cli.commands.prefetch", "say_how_linked": "antscache.cli.render"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
