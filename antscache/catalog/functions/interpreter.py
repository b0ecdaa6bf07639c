"""Run functions without importing or executing them: which entries do they ask for? Pure.

The interpreter walks the syntax tree with values that may be unknown (`symbols.py`). Where a test is not decided, it
goes both ways and joins what comes out, so it finds at least what a real call asks for. It knows the forms that
ANTsPyNet uses; everything else is unknown. The number of its steps has a bound.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from antscache.catalog.functions.facts import parameters_in
from antscache.catalog.functions.program import Definition, Fetching, Unparsed, default_nodes, parameter_names
from antscache.catalog.functions.state import Ended, Frame, Outcome, Request, State
from antscache.catalog.functions.statements import Statements
from antscache.catalog.functions.symbols import UNKNOWN, Argument, LocalFunction, Value, alternatives, as_pattern

if TYPE_CHECKING:
    from antscache.catalog.functions.facts import Facts
    from antscache.catalog.functions.program import Program
    from antscache.core import ArgumentTest

    Key = tuple[ast.FunctionDef, tuple[tuple[str, Value], ...], frozenset[tuple[ArgumentTest, bool]]]

MAX_DEPTH = 20  # of calls within each other


class Interpreter(Statements):
    """Runs functions of `program`. Outcomes of calls are kept for the next call with the same arguments."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._kept: dict[Key, Outcome] = {}
        self._running: list[Key | ast.FunctionDef] = []
        self._again = MAX_DEPTH  # the first of the running calls that was called again

    def run(self, function: Definition, facts: Facts) -> Outcome:
        """Run `function`, where each parameter stands for an argument of which `facts` are known.

        Raises:
            ManifestError: the bound on steps is reached.
        """
        arguments: dict[str, Value] = {name: Argument((name,)) for name in parameter_names(function.node)}
        return self._run(function, arguments, facts)

    def _run(self, function: Definition, arguments: dict[str, Value], facts: Facts) -> Outcome:
        used = {name for value in arguments.values() for name in parameters_in(value)}
        relevant = {test: known for test, known in facts.items() if test.parameter in used}
        key = (function.node, tuple(arguments.items()), frozenset(relevant.items()))
        if key in self._kept:
            return self._kept[key]
        if key in self._running:
            self._again = min(self._again, self._running.index(key))
            return Outcome()  # the call that is running already asks for all that this one asks for
        depth = len(self._running)
        if depth >= MAX_DEPTH:
            return _anything(f"{self.program.path(function.module)}:{function.node.lineno}, calls within each other")
        outcome, frame = Outcome(), Frame(function.module)
        self._running.append(key)
        self.outcomes.append(outcome)
        end = self.block(self.program.body(function.node), State(dict(arguments), relevant), frame)
        self.outcomes.pop()
        self._running.pop()
        outcome.returns = frame.returns or end is not None
        if self._again >= depth:  # else it lacks what the running call asks for, so it is not kept
            self._again = MAX_DEPTH
            self._kept[key] = outcome
        return outcome

    def call(self, callee: Value, node: ast.Call, state: State, frame: Frame) -> Value:
        """Return the value of the call `node` of `callee`; note what it asks for."""
        positional, named, known = self.arguments(node, state, frame)
        match callee:
            case Fetching(kind=kind, parameter=parameter):
                name = named.get(parameter, positional[0] if positional else UNKNOWN) if known else UNKNOWN
                place = f"{self.program.path(frame.module)}:{node.lineno}"
                for pattern in map(as_pattern, alternatives(name)):
                    self.outcomes[-1].requests[Request(kind, pattern, "" if pattern else place)] = None
            case Definition(module=module, node=definition) if self.program.may_ask(definition):
                arguments = self._bound(definition, positional, named, module) if known else _unknown(definition)
                outcome = self._run(callee, arguments, state.facts)
                self.outcomes[-1].add(outcome)
                if not outcome.returns:
                    raise Ended
            case LocalFunction(module=module, node=definition, around=around) if self.program.may_ask(definition):
                arguments = self._bound(definition, positional, named, module) if known else _unknown(definition)
                seen = {**around, **(state.names if callee.definer is frame else {}), **arguments}
                self._run_local(definition, State(seen, dict(state.facts)), Frame(module))
            case Unparsed(path=path):
                self.outcomes[-1].add(_anything(path))
            case _:
                for value in (*positional, *named.values()):
                    self.call_unseen(value, frame)  # whoever gets a function may call it
        return UNKNOWN

    def call_unseen(self, value: Value, frame: Frame) -> None:
        """Note what a call of `value` with any arguments asks for, if it is a function."""
        for each in alternatives(value):
            match each:
                case Fetching(kind=kind):
                    self.outcomes[-1].requests[Request(kind, None, self.program.path(frame.module))] = None
                case Unparsed(path=path):
                    self.outcomes[-1].add(_anything(path))
                case Definition(node=definition) if self.program.may_ask(definition):
                    self.outcomes[-1].add(self._run(each, _unknown(definition), {}))
                case LocalFunction(node=definition, module=module, around=around) if self.program.may_ask(definition):
                    self._run_local(definition, State({**around, **_unknown(definition)}, {}), Frame(module))

    def _run_local(self, definition: ast.FunctionDef | ast.Lambda, state: State, frame: Frame) -> None:
        """Run a function or a lambda that a function defines, for what it asks for."""
        if isinstance(definition, ast.Lambda):
            self.evaluate_perhaps(definition.body, state, frame)
        elif definition not in self._running and len(self._running) < MAX_DEPTH:
            self._running.append(definition)
            self.block(self.program.body(definition), state, frame)
            self._running.pop()

    def _bound(
        self,
        definition: ast.FunctionDef | ast.Lambda,
        positional: list[Value],
        named: dict[str, Value],
        module: str,
    ) -> dict[str, Value]:
        """Return the parameters of `definition` with these arguments, and defaults for the others."""
        values = _unknown(definition)
        for name, default in default_nodes(definition).items():
            values[name] = self.evaluate(default, State({}, {}), Frame(module))
        names = [each.arg for each in (*definition.args.posonlyargs, *definition.args.args)]
        values |= dict(zip(names, positional, strict=False))
        return values | {name: value for name, value in named.items() if name in values}


def _anything(place: str) -> Outcome:
    """Return the outcome of a call that may ask for anything, because the source at `place` cannot be read."""
    return Outcome({Request("data", None, place): None, Request("network", None, place): None})


def _unknown(definition: ast.FunctionDef | ast.Lambda) -> dict[str, Value]:
    """Return the parameters of `definition` with arguments that are not known."""
    return dict.fromkeys(parameter_names(definition), UNKNOWN)
