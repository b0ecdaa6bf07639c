"""Facts: the outcomes of tests of arguments that are known at a place in the source. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.catalog.functions.symbols import (
    Alternatives,
    Argument,
    Condition,
    Constant,
    Sequence,
    Text,
    TypeOf,
    Value,
)
from antscache.core import TYPE_NAMES, compare_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import ArgumentTest

    Facts = Mapping[ArgumentTest, bool]


def known_outcome(test: ArgumentTest, facts: Facts) -> bool | None:
    """Return the outcome of `test`, as far as `facts` of the same argument decide it."""
    if test in facts:
        return facts[test]
    same = [(fact, holds) for fact, holds in facts.items() if fact.subject == test.subject]
    outcomes = (_implied(test, fact, holds=holds) for fact, holds in same)
    return next((outcome for outcome in outcomes if outcome is not None), None)


def _implied(test: ArgumentTest, fact: ArgumentTest, *, holds: bool) -> bool | None:
    """Return the outcome of `test` where `fact`, of the same argument, is known to hold or not to hold."""
    if holds and fact.operator == "==":
        return compare_argument(fact.value, test.operator, test.value)
    if fact.operator == "is a" and isinstance(fact.value, tuple):
        return _implied_by_type(test, set(fact.value), holds=holds)
    if holds and fact.operator == "contains" and test.operator == "==" and test.value is None:
        return False
    return None


def _implied_by_type(test: ArgumentTest, types: set[str], *, holds: bool) -> bool | None:
    """Return the outcome of `test` of an argument that is known to have one of `types`, or none of them."""
    if test.operator == "is a" and isinstance(test.value, tuple):
        asked = set(test.value)
        if holds and types <= asked:
            return True
        return False if (holds and not types & asked) or (not holds and asked <= types) else None
    if test.operator == "==" and type(test.value).__name__ in TYPE_NAMES:
        name = type(test.value).__name__
        numbers = {"int", "float", "bool"}  # 1 == 1.0 == True
        is_one = name in types or (name in numbers and bool(numbers & types))
        return False if (holds and not is_one) or (not holds and name in types and name not in numbers) else None
    return None


def settle(value: Value, facts: Facts) -> Value:
    """Return the text or the None that `value` is known to be equal to; else `value`.

    A number that is equal to 1 may be 1.0 or True, and has another text then.
    """
    if isinstance(value, Argument):
        for fact, holds in facts.items():
            is_one = isinstance(fact.value, str | None) and fact.subject == value.subject
            if holds and is_one and fact.operator == "==":
                return Constant(fact.value)
    return value


def parameters_in(value: Value) -> set[str]:
    """Return the parameters whose arguments `value` depends on."""
    match value:
        case Argument(subject=(parameter, *_)):
            return {str(parameter)}
        case Text(pattern=pattern):
            return {part.partition("}")[0].partition(":")[0] for part in pattern.split("{")[1:]}
        case Condition(test=test):
            return {test.parameter}
        case Sequence(items=values) | Alternatives(values=values):
            return {name for each in values for name in parameters_in(each)}
        case TypeOf(value=inner):
            return parameters_in(inner)
    return set()
