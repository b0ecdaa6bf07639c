"""The public functions of a release, and the entries that they ask for: read from the source, never imported.

program.py       the modules of the package as syntax trees, and what names in them stand for
slices.py        the statements of a function that can change what it asks for
interpreter.py   run a function with arguments that are not known, and the functions that it calls
statements.py    assignments, branches and loops
calls.py         calls of Python's functions, of methods, of the package's functions
expressions.py   the value of an expression, as far as the source tells
conditions.py    the outcome of a test, and what it tells of the arguments
evaluation.py    operators, methods and functions of Python
symbols.py       the values of expressions
facts.py         what is known of the arguments at a place in the source
state.py         the names of a function and their values, and what it asks for
decisions.py     the needs of a function as a tree of tests of its arguments
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.catalog.functions.decisions import read_function
from antscache.catalog.functions.interpreter import Interpreter
from antscache.catalog.functions.program import Program, Unparsed
from antscache.core import Function

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_functions"]


def read_functions(texts: Mapping[str, str]) -> tuple[Function, ...]:
    """Return the functions that `antspynet.utilities` exports and that ask for entries, sorted by name.

    A function that cannot be read has a problem.

    Args:
        texts: the source of each module of the package, by its path from the directory that holds the package.
    """
    program = Program(texts)
    interpreter = Interpreter(program)
    found = []
    for name, definition in sorted(program.public().items()):
        if isinstance(definition, Unparsed):
            found.append(Function(name, (), problem=f"{definition.path} is not valid Python"))
        elif program.may_ask(definition.node):
            found.append(read_function(interpreter, name, definition))
    return tuple(found)
