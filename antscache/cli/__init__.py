"""The command line: arguments in, exit code out. The only package that prints.

Data goes to stdout, talk to stderr. An error is what happened, to what, and a hint; a traceback only with --debug.

    program.py     run a command, print its error, exit with the documented code
    lazy_group.py  the command `antscache`, which imports a verb when it is called
    commands/      the verbs, one file each, imported when called
    options.py     the flags that verbs share, and the invocation they add up to
    progress.py    the progress of a fetch: bars, lines, or events as JSON
    render.py      sizes, times, tables, JSON
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.cli.options import Invocation
from antscache.cli.program import finish, main
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.cli.commands.prefetch import carry_out
    from antscache.cli.render import say_how_linked

__all__ = ["Invocation", "carry_out", "finish", "main", "say_how_linked"]

__getattr__ = lazily(__name__, {"commands.prefetch": ("carry_out",), "render": ("say_how_linked",)})
