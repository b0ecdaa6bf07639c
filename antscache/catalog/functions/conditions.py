"""Decide tests: the outcome of an expression where the source branches, and what it tells of the arguments. Pure."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from antscache.catalog.functions.facts import known_outcome
from antscache.catalog.functions.state import UNDECIDED, Ended, Frame, Outcome, State, Verdict
from antscache.catalog.functions.symbols import (
    Alternatives,
    Argument,
    Condition,
    Constant,
    Sequence,
    Value,
)
from antscache.core import ArgumentTest

if TYPE_CHECKING:
    from antscache.catalog.functions.program import Program


class Conditions(ABC):
    """Decides the tests in the source of `program`, as far as the arguments are known."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.outcomes: list[Outcome] = []  # of the running calls, the innermost one last

    @abstractmethod
    def evaluate(self, node: ast.expr, state: State, frame: Frame) -> Value:
        """Return the value of an expression; note what it asks for.

        Raises:
            Ended: a call in it raises an error in any case.
        """

    def test(self, node: ast.expr, state: State, frame: Frame) -> Verdict:
        """Return the outcome of `node` as a test."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.test(operand, state, frame).negated()
            case ast.BoolOp(op=operator, values=parts):
                return self._all_or_any(isinstance(operator, ast.And), parts, state, frame)
        return self.verdict(self.evaluate(node, state, frame), state)

    def _all_or_any(self, is_and: bool, parts: list[ast.expr], state: State, frame: Frame) -> Verdict:  # noqa: FBT001
        """Return the outcome of `and`, or of `or`: the first part that decides it ends it."""
        facts: dict[ArgumentTest, bool] = {}
        undecided: list[Verdict] = []
        current = state
        for part in parts:
            try:
                verdict = self.test(part, current, frame)
            except Ended:
                if not undecided:
                    raise
                verdict = UNDECIDED  # this part may not be reached
            if verdict.value is (not is_and):
                return Verdict(not is_and) if undecided else verdict
            if verdict.value is None:
                undecided.append(verdict)
                facts.update(verdict.if_true if is_and else verdict.if_false)
                current = state.with_facts(facts)
        if not undecided:
            return Verdict(is_and)
        other = (undecided[0].if_false if is_and else undecided[0].if_true) if len(undecided) == 1 else {}
        return Verdict(None, facts, other) if is_and else Verdict(None, other, facts)

    def verdict(self, value: Value, state: State) -> Verdict:  # noqa: PLR0911  one for each form of a value
        """Return the truth of `value`."""
        match value:
            case Constant(value=constant):
                return Verdict(bool(constant))
            case Sequence(items=items):
                return Verdict(bool(items))
            case Argument(subject=subject):
                return self.verdict(Condition(ArgumentTest(subject, "is true")), state)
            case Condition(test=test, expected=expected):
                known = known_outcome(test, state.facts)
                if known is not None:
                    return Verdict(known is expected)
                self.outcomes[-1].undecided[test] = None
                return Verdict(None, {test: expected}, {test: not expected})
            case Alternatives(values=values):
                outcomes = {self.verdict(each, state).value for each in values}
                return Verdict(outcomes.pop()) if len(outcomes) == 1 else UNDECIDED
        return UNDECIDED
