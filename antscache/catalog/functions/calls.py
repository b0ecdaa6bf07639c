"""Evaluate calls: of Python's own functions, of methods, and of functions of the package. Pure."""

from __future__ import annotations

import ast
from abc import abstractmethod

from antscache.catalog.functions.evaluation import (
    FUNCTIONS,
    IMAGE_FUNCTIONS,
    LIST_CHANGES,
    call_method,
    change_list,
    is_a,
    map_text,
)
from antscache.catalog.functions.expressions import Expressions
from antscache.catalog.functions.program import KERAS_APPLICATIONS, Module
from antscache.catalog.functions.state import Frame, Request, State
from antscache.catalog.functions.symbols import (
    IMAGE,
    NONE,
    UNKNOWN,
    Sequence,
    Value,
    alternatives,
    lift,
)


class Calls(Expressions):
    """Evaluates the calls of `program`."""

    @abstractmethod
    def call(self, callee: Value, node: ast.Call, state: State, frame: Frame) -> Value:
        """Return the value of the call `node` of `callee`; note what it asks for."""

    def evaluate_call(self, node: ast.Call, state: State, frame: Frame) -> Value:
        """Return the value of a call: of a function of Python, of a method, or of a function of the package."""
        match node.func:
            case ast.Name(id="isinstance") if len(node.args) == 2:  # noqa: PLR2004  a value and its types
                value, names = self.evaluate(node.args[0], state, frame), _type_names(node.args[1])
                return lift(is_a, value, names) if names else UNKNOWN
            case ast.Name(id="map") if len(node.args) == 2 and isinstance(node.args[0], ast.Name):  # noqa: PLR2004
                items = self.evaluate(node.args[1], state, frame)
                self.call_unseen(self.evaluate(node.args[0], state, frame), frame)
                return map_text(items) if node.args[0].id == "str" else UNKNOWN
            case ast.Name(id=name) if name not in state.names and name in FUNCTIONS:
                positional, named, known = self.arguments(node, state, frame)
                self._give_away([*positional, *named.values()], frame)
                return FUNCTIONS[name](positional) if known and not named else UNKNOWN
            case ast.Attribute(value=base, attr=name):
                return self._method(node, base, name, state, frame)
        return lift(self.call, self.evaluate(node.func, state, frame), node, state, frame)

    def _method(self, node: ast.Call, base: ast.expr, name: str, state: State, frame: Frame) -> Value:
        """Return the value of the call of the attribute `name` of `base`."""
        held = self.evaluate(base, state, frame)
        if isinstance(held, Module):
            return lift(self.call, self.evaluate(node.func, state, frame), node, state, frame)
        positional, named, known = self.arguments(node, state, frame)
        self._give_away([*positional, *named.values()], frame)
        if name in KERAS_APPLICATIONS and named.get("weights") != NONE:
            self.outcomes[-1].requests[Request("keras", KERAS_APPLICATIONS[name])] = None
        if isinstance(base, ast.Name):
            if base.id == "ants" and name in IMAGE_FUNCTIONS:
                return IMAGE
            if name in LIST_CHANGES and any(isinstance(each, Sequence) for each in alternatives(held)):
                changed = lift(change_list, held, name, positional)
                aliases = [each for each, value in state.names.items() if value is held]  # other names of the same list
                state.names.update(dict.fromkeys(aliases, changed))
                return UNKNOWN
        return lift(call_method, held, name, positional) if known and not named else UNKNOWN

    def arguments(self, node: ast.Call, state: State, frame: Frame) -> tuple[list[Value], dict[str, Value], bool]:
        """Return the positional and the named arguments of a call; False if there may be others."""
        positional = [self.evaluate(argument, state, frame) for argument in node.args]
        values = [(keyword.arg, self.evaluate(keyword.value, state, frame)) for keyword in node.keywords]
        named = {name: value for name, value in values if name}
        known = len(named) == len(values) and not any(isinstance(each, ast.Starred) for each in node.args)
        return positional, named, known

    def _give_away(self, values: list[Value], frame: Frame) -> None:
        """Note what functions among `values` ask for: whoever gets a function may call it."""
        for value in values:
            self.call_unseen(value, frame)


def _type_names(node: ast.expr) -> tuple[str, ...]:
    """Return the names of the types that `isinstance` compares with; none if they are not written as names."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (name,)
        case ast.Tuple(elts=parts):
            names = [_type_names(part) for part in parts]
            return tuple(name for each in names for name in each) if all(names) else ()
    return ()
