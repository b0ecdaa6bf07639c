"""The command line: arguments in, exit code out. The only package that prints.

Data goes to stdout, everything else to stderr. An error says what happened and to which file or release, and a hint
says what to do next. A traceback is shown with --debug only.

    program.py     run a command, print its error, exit with the documented code
    lazy_group.py  the command `antscache`: it imports a verb when the verb is called
    commands/      the verbs, one file each, imported when called
    options.py     the flags that verbs share, and the invocation that keeps their values
    progress.py    the progress of a fetch: bars, lines, or events as JSON
    render.py      sizes, times, tables, JSON
    streams.py     stdout and stderr, such that one that cannot be written does not stop the work
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.cli.options import Invocation
from antscache.cli.program import finish, main
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.cli.commands.prefetch import carry_out
    from antscache.cli.render import print_path, say_how_linked

__all__ = ["Invocation", "carry_out", "finish", "main", "print_path", "say_how_linked"]

__getattr__ = lazily(__name__, {"commands.prefetch": ("carry_out",), "render": ("print_path", "say_how_linked")})
