"""Read the needs of a function as a tree of tests of its arguments. Pure.

The interpreter runs the function without any argument known; it then tells the tests that it could not decide. A test
that makes a difference becomes a node of the tree, and the function is run again with each of its outcomes known.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec

from antscache.catalog.functions.program import default_nodes, parameter_names
from antscache.core import Function, Needs
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from antscache.catalog.functions.facts import Facts
    from antscache.catalog.functions.interpreter import Interpreter
    from antscache.catalog.functions.program import Definition
    from antscache.catalog.functions.state import Outcome
    from antscache.core import ArgumentTest

MAX_NODES = 1000  # of a tree; beyond it, both sides of a test count
_LISTS = ("data", "network", "keras", "unknown")  # of Needs


def read_function(interpreter: Interpreter, name: str, definition: Definition) -> Function:
    """Return the public function `name`, with its needs; with a problem if they cannot be read."""
    parameters = parameter_names(definition.node)
    try:
        function = Function(name, parameters, _Tree(interpreter, definition).needs())
    except RecursionError:
        return Function(name, parameters, problem="its source is nested too deeply")
    except ManifestError as error:
        return Function(name, parameters, problem=str(error))
    defaults = {
        parameter: ast.literal_eval(node)
        for parameter, node in default_nodes(definition.node).items()
        if parameter in function.deciding and _is_literal(node)
    }
    return msgspec.structs.replace(function, defaults=defaults)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


class _Tree:
    """The tree of a function while it grows."""

    def __init__(self, interpreter: Interpreter, definition: Definition) -> None:
        self._interpreter = interpreter
        self._definition = definition
        self._nodes = 0

    def needs(self) -> Needs:
        """Return the whole tree."""
        return _without_repeats(self._grow({}), set())

    def _run(self, facts: Facts) -> Outcome:
        return self._interpreter.run(self._definition, facts)

    def _grow(self, facts: Facts) -> Needs:
        """Return the tree where `facts` of the arguments are known."""
        outcome = self._run(facts)
        self._nodes += 1
        test = next((test for test in outcome.undecided if self._makes_difference(test, facts, outcome)), None)
        if test is None or self._nodes > MAX_NODES:
            return _leaf(outcome)
        yes, no = (self._grow({**facts, test: side}) for side in (True, False))
        return yes if yes == no else Needs(test=test, yes=yes, no=no)

    def _makes_difference(self, test: ArgumentTest, facts: Facts, outcome: Outcome) -> bool:
        return test not in facts and any(
            _found(self._run({**facts, test: side})) != _found(outcome) for side in (True, False)
        )


def _found(outcome: Outcome) -> tuple[set[object], bool]:
    return set(outcome.requests), outcome.returns


def _leaf(outcome: Outcome) -> Needs:
    found = {
        (request.kind, request.name) if request.name else ("unknown", f"{request.kind} at {request.place}")
        for request in outcome.requests
    }
    return msgspec.structs.replace(_needs(found), raises=not outcome.returns)


def _needs(found: set[tuple[str, str]]) -> Needs:
    """Return needs with these names, each with its kind, or with `unknown` and a place."""
    data, network, keras, unknown = (tuple(sorted(name for kind, name in found if kind == key)) for key in _LISTS)
    return Needs(data, network, keras, unknown)


def _without_repeats(needs: Needs, above: set[tuple[str, str]]) -> Needs:
    """Return `needs` with each name at the highest node below which every leaf has it."""
    always = _always(needs)
    own = _needs(always - above)
    if needs.yes is None or needs.no is None:
        return msgspec.structs.replace(own, raises=needs.raises)
    yes, no = (_without_repeats(side, above | always) for side in (needs.yes, needs.no))
    return msgspec.structs.replace(own, test=needs.test, yes=yes, no=no)


def _always(needs: Needs) -> set[tuple[str, str]]:
    """Return what every leaf of `needs` that returns asks for; a leaf that raises asks for nothing that counts.

    Names with holes stay where they are: the tests above them say what may fill the holes.
    """
    if needs.yes is None or needs.no is None:
        return {(key, name) for key in _LISTS for name in getattr(needs, key)}
    yes, no = ({each for each in _always(side) if "{" not in each[1]} for side in (needs.yes, needs.no))
    return no if _raises(needs.yes) else yes if _raises(needs.no) else yes & no


def _raises(needs: Needs) -> bool:
    return needs.raises if needs.yes is None or needs.no is None else _raises(needs.yes) and _raises(needs.no)
