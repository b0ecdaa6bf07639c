"""Evaluate expressions without executing them: a value for each, as far as the source tells. Pure."""

from __future__ import annotations

import ast
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from antscache.catalog.functions.conditions import Conditions
from antscache.catalog.functions.evaluation import (
    MAX_ITEMS,
    calculate,
    compare_values,
    replace_item,
    take_item,
)
from antscache.catalog.functions.facts import settle
from antscache.catalog.functions.program import Definition, Fetching, Module, Unparsed
from antscache.catalog.functions.state import Ended, Frame, State
from antscache.catalog.functions.symbols import (
    NONE,
    UNKNOWN,
    Condition,
    Constant,
    LocalFunction,
    Sequence,
    Table,
    Value,
    as_text,
    concatenate,
    join,
    lift,
)
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from antscache.catalog.functions.program import Program

MAX_STEPS = 2_000_000  # for all functions of a release; the published ones take up to 430,000


class Expressions(Conditions):
    """Evaluates the expressions of `program`; the steps of all evaluations have a bound."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._steps = 0
        self._methods: dict[type[ast.expr], Callable[[Any, State, Frame], Value]] = {
            ast.Attribute: self._attribute,
            ast.BinOp: self._operation,
            ast.BoolOp: self._truth,
            ast.Call: self.evaluate_call,
            ast.Compare: self._comparison,
            ast.Dict: self._table,
            ast.DictComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.IfExp: self._choice,
            ast.JoinedStr: self._formatted,
            ast.Lambda: self._lambda,
            ast.List: self._sequence,
            ast.ListComp: self._comprehension,
            ast.NamedExpr: self._named,
            ast.SetComp: self._comprehension,
            ast.Subscript: self._item,
            ast.Tuple: self._sequence,
            ast.UnaryOp: self._negation,
        }

    @abstractmethod
    def evaluate_call(self, node: ast.Call, state: State, frame: Frame) -> Value:
        """Return the value of a call; note what it asks for."""

    @abstractmethod
    def call_unseen(self, value: Value, frame: Frame) -> None:
        """Note what a call of `value` with any arguments asks for, if it is a function."""

    def evaluate(self, node: ast.expr, state: State, frame: Frame) -> Value:
        """Return the value of an expression; note what it asks for.

        Raises:
            Ended: a call in it raises an error in any case.
            ManifestError: the bound on steps is reached.
        """
        self.count_step()
        if isinstance(node, ast.Constant):
            return Constant(node.value)
        if isinstance(node, ast.Name):
            return self._name(node.id, state, frame)
        if method := self._methods.get(type(node)):
            return method(node, state, frame)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, state, frame)
        return UNKNOWN

    def evaluate_perhaps(self, node: ast.expr, state: State, frame: Frame) -> Value:
        """Return the value of an expression that may not be reached."""
        try:
            return self.evaluate(node, state, frame)
        except Ended:
            return UNKNOWN

    def count_step(self) -> None:
        """Count a step.

        Raises:
            ManifestError: the bound is reached.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise ManifestError(
                f"the functions of the release take more than {MAX_STEPS} steps to read",
                hint="choose files with --name",
            )

    # Names

    def _name(self, name: str, state: State, frame: Frame) -> Value:
        if name in state.names:
            return settle(state.names[name], state.facts)
        return self.as_value(self.program.resolve(frame.module, name), frame.module)

    def as_value(self, found: object, module: str) -> Value:
        """Return what `Program.resolve` has found for a name of `module`, as a value."""
        if isinstance(found, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Name):
            return self.evaluate(found, State({}, {}), Frame(module))
        return found if isinstance(found, Definition | Fetching | Module | Unparsed) else UNKNOWN

    def assign(self, target: ast.expr, value: Value, state: State, frame: Frame) -> None:
        """Give `target` a value."""
        match target:
            case ast.Name(id=name):
                state.names[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                held = value.items if isinstance(value, Sequence) else ()
                for part, item in zip(parts, held if len(held) == len(parts) else [UNKNOWN] * len(parts), strict=True):
                    self.assign(part, item, state, frame)
            case ast.Subscript(value=ast.Name(id=name), slice=index) if name in state.names:
                base, at = state.names[name], self._index(index, state, frame)
                state.names[name] = replace_item(base, at, value) if isinstance(base, Sequence) else UNKNOWN
            case ast.Starred(value=inner):
                self.assign(inner, UNKNOWN, state, frame)
            case ast.Subscript() | ast.Attribute():
                self.evaluate(target.value, state, frame)

    def _attribute(self, node: ast.Attribute, state: State, frame: Frame) -> Value:
        base = self.evaluate(node.value, state, frame)
        if not isinstance(base, Module):
            return UNKNOWN
        return self.as_value(self.program.resolve(base.name, node.attr), base.name)

    def _named(self, node: ast.NamedExpr, state: State, frame: Frame) -> Value:
        value = self.evaluate(node.value, state, frame)
        self.assign(node.target, value, state, frame)
        return value

    def _lambda(self, node: ast.Lambda, state: State, frame: Frame) -> Value:
        function = LocalFunction(frame.module, node, state.names, frame)
        self.call_unseen(function, frame)
        return function

    # Operators

    def _operation(self, node: ast.BinOp, state: State, frame: Frame) -> Value:
        left, right = self.evaluate(node.left, state, frame), self.evaluate(node.right, state, frame)
        return lift(calculate, left, node.op, right)

    def _negation(self, node: ast.UnaryOp, state: State, frame: Frame) -> Value:
        value = self.evaluate(node.operand, state, frame)
        match node.op, value:
            case ast.USub(), _:
                return lift(calculate, Constant(0), ast.Sub(), value)
            case ast.Not(), Condition(test=test, expected=expected):
                return Condition(test, not expected)
            case ast.Not(), _:
                verdict = self.verdict(value, state)
                return UNKNOWN if verdict.value is None else Constant(not verdict.value)
        return UNKNOWN

    def _truth(self, node: ast.expr, state: State, frame: Frame) -> Value:
        verdict = self.test(node, state, frame)
        return UNKNOWN if verdict.value is None else Constant(verdict.value)

    def _comparison(self, node: ast.Compare, state: State, frame: Frame) -> Value:
        left, *others = [self.evaluate(each, state, frame) for each in (node.left, *node.comparators)]
        return lift(compare_values, left, node.ops[0], others[0]) if len(others) == 1 else UNKNOWN

    def _choice(self, node: ast.IfExp, state: State, frame: Frame) -> Value:
        verdict = self.test(node.test, state, frame)
        if verdict.value is not None:
            return self.evaluate(node.body if verdict.value else node.orelse, state, frame)
        sides = ((node.body, verdict.if_true), (node.orelse, verdict.if_false))
        return join(self.evaluate_perhaps(side, state.with_facts(facts), frame) for side, facts in sides)

    # Texts, lists and dictionaries

    def _formatted(self, node: ast.JoinedStr, state: State, frame: Frame) -> Value:
        text: Value = Constant("")
        for part in node.values:
            plain = not isinstance(part, ast.FormattedValue) or (part.conversion == -1 and not part.format_spec)
            inner = self.evaluate(part.value if isinstance(part, ast.FormattedValue) else part, state, frame)
            text = lift(concatenate, text, lift(as_text, inner)) if plain else UNKNOWN
        return text

    def _sequence(self, node: ast.List | ast.Tuple, state: State, frame: Frame) -> Value:
        items: list[Value] = []
        for part in node.elts:
            value = self.evaluate(part.value if isinstance(part, ast.Starred) else part, state, frame)
            if not isinstance(part, ast.Starred):
                items.append(value)
            elif isinstance(value, Sequence):
                items += value.items
            else:
                return UNKNOWN
        return Sequence(tuple(items), isinstance(node, ast.List))

    def _table(self, node: ast.Dict, state: State, frame: Frame) -> Value:
        names = [self.evaluate(key, state, frame) if key else UNKNOWN for key in node.keys]
        values = [self.evaluate(value, state, frame) for value in node.values]
        pairs = {name.value: value for name, value in zip(names, values, strict=True) if isinstance(name, Constant)}
        return Table(pairs) if all(isinstance(name, Constant) for name in names) else UNKNOWN

    def _item(self, node: ast.Subscript, state: State, frame: Frame) -> Value:
        return lift(take_item, self.evaluate(node.value, state, frame), self._index(node.slice, state, frame))

    def _index(self, node: ast.expr, state: State, frame: Frame) -> Value:
        if not isinstance(node, ast.Slice):
            return self.evaluate(node, state, frame)
        bounds = [self.evaluate(each, state, frame) if each else NONE for each in (node.lower, node.upper, node.step)]
        numbers = [each.value for each in bounds if isinstance(each, Constant) and isinstance(each.value, int | None)]
        return slice(*numbers) if len(numbers) == len(bounds) and numbers[2] != 0 else UNKNOWN

    def _comprehension(self, node: Any, state: State, frame: Frame) -> Value:
        """Return the list of a comprehension over known items; else evaluate it for any item."""
        inner = state.copy()
        first, *others = node.generators
        iterable = self.evaluate(first.iter, inner, frame)
        simple = isinstance(node, ast.ListComp | ast.GeneratorExp) and not others and not first.ifs
        if simple and isinstance(iterable, Sequence) and len(iterable.items) <= MAX_ITEMS:
            items = []
            for item in iterable.items:
                self.assign(first.target, item, inner, frame)
                items.append(self.evaluate(node.elt, inner, frame))
            return Sequence(tuple(items), is_list=True)
        for generator in node.generators:
            self.evaluate_perhaps(generator.iter, inner, frame)
            self.assign(generator.target, UNKNOWN, inner, frame)
            for test in generator.ifs:
                self.evaluate_perhaps(test, inner, frame)
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                self.evaluate_perhaps(getattr(node, part), inner, frame)
        return UNKNOWN
