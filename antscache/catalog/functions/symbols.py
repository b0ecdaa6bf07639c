"""The values that the interpreter computes with: what an expression may be, as far as its source tells. Pure.

A value is a constant, a sequence of values, an argument of the function that is examined, a text that arguments
complete, the outcome of a test of an argument, a function, an image, one of several values, or unknown.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable, Mapping

    from antscache.core import ArgumentTest, SubjectStep

MAX_ALTERNATIVES = 64  # of a value; one with more is unknown
MAX_TEXT_CHARACTERS = 1000  # of a text while it is built


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal of Python, which can be hashed; 1, 1.0 and True are three of them, because their texts differ."""

    value: object
    kind: type = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list or a tuple of known length."""

    items: tuple[Value, ...]
    is_list: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the function that is examined, or a part of it (see `ArgumentTest.subject`)."""

    subject: tuple[SubjectStep, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text with holes that arguments fill: literals and holes in turn, as `Needs` writes them."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Condition:
    """The outcome of a test of an argument, or its opposite."""

    test: ArgumentTest
    expected: bool = True


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several values."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class TypeOf:
    """The type of a value."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A dictionary with known keys."""

    items: dict[object, Value]


@dataclass(frozen=True, slots=True, eq=False)
class LocalFunction:
    """A function or a lambda that a function defines.

    Attributes:
        module: of the function around it.
        node: its definition.
        around: the names around it at its definition.
        definer: the running call that defined it, whose names it sees as they are when it is called.
    """

    module: str
    node: ast.FunctionDef | ast.Lambda
    around: Mapping[str, Value]
    definer: object


class _Unknown:
    """A value that the source does not tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


class _Image:
    """One image: neither None, nor a text, a number or a list."""

    def __repr__(self) -> str:
        return "IMAGE"


UNKNOWN: Final = _Unknown()
IMAGE: Final = _Image()
# Also what `Program.resolve` returns for a name: a definition, a getter or a module.
Value = object
NONE, TRUE, FALSE = Constant(None), Constant(True), Constant(False)  # noqa: FBT003


def join(values: Iterable[Value]) -> Value:
    """Return the value that is one of `values`."""
    flat: dict[Value, None] = {}
    for value in values:
        flat |= dict.fromkeys(value.values if isinstance(value, Alternatives) else (value,))
    if UNKNOWN in flat or len(flat) > MAX_ALTERNATIVES or not flat:
        return UNKNOWN
    return next(iter(flat)) if len(flat) == 1 else Alternatives(tuple(flat))


def alternatives(value: Value) -> tuple[Value, ...]:
    """Return the values that `value` may be."""
    return value.values if isinstance(value, Alternatives) else (value,)


def lift(function: Callable[..., Value], *values: Value) -> Value:
    """Return the value of `function` for each of the values that `values` may be."""
    if not any(isinstance(value, Alternatives) for value in values):
        return function(*values)
    return join(function(*choice) for choice in itertools.product(*map(alternatives, values)))


def as_pattern(value: Value) -> str | None:
    """Return the text `value` as a pattern with holes (see `Needs`); None if it is not known."""
    match value:
        case Constant(value=str() as text) if "{" not in text and "}" not in text:
            return text
        case Text(pattern=pattern):
            return pattern
        case Argument(subject=(str() as parameter,)):
            return f"{{{parameter}}}"
    return None


def concatenate(left: Value, right: Value) -> Value:
    """Return the text of `left` and then `right`."""
    parts = as_pattern(left), as_pattern(right)
    if parts[0] is None or parts[1] is None or len(parts[0]) + len(parts[1]) > MAX_TEXT_CHARACTERS:
        return UNKNOWN
    whole = parts[0] + parts[1]
    return Constant(whole) if isinstance(left, Constant) and isinstance(right, Constant) else Text(whole)


def as_text(value: Value) -> Value:
    """Return `str(value)`."""
    match value:
        case Constant(value=str() | int() | float() | None as constant):
            return Constant(str(constant)) if not isinstance(constant, int) or abs(constant) < 1 << 64 else UNKNOWN
        case Argument() | Text():
            pattern = as_pattern(value)
            return UNKNOWN if pattern is None else Text(pattern)
    return UNKNOWN


def join_text(separator: Value, items: Value) -> Value:
    """Return `separator.join(items)`."""
    match separator, items:
        case Constant(value=str() as between), Argument(subject=(str() as parameter,)):
            return Text(f"{{{parameter}:{between}}}") if between and not set(between) & set("{}") else UNKNOWN
        case Constant(), Sequence(items=values):
            text: Value = Constant("")
            for index, value in enumerate(values):
                text = concatenate(concatenate(text, separator) if index else text, value)
            return text
    return UNKNOWN


def literal(value: object) -> Value:
    """Return the value of a literal of Python: a constant, or a sequence of them."""
    if isinstance(value, list | tuple):
        return Sequence(tuple(map(literal, value)), isinstance(value, list))
    try:
        hash(value)
    except TypeError:
        return UNKNOWN
    return Constant(value)
