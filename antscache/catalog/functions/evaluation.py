"""The values of operators, methods and functions of Python, for values that may not be known. Pure."""

from __future__ import annotations

import ast
import operator as operators
from typing import TYPE_CHECKING, Any, Final

from antscache.catalog.functions.program import Definition
from antscache.catalog.functions.symbols import (
    FALSE,
    IMAGE,
    TRUE,
    UNKNOWN,
    Alternatives,
    Argument,
    Condition,
    Constant,
    LocalFunction,
    Sequence,
    Table,
    Text,
    TypeOf,
    Value,
    alternatives,
    as_text,
    concatenate,
    join,
    join_text,
    literal,
)
from antscache.core import LENGTH_STEP, LOWER_STEP, TYPE_NAMES, ArgumentTest, compare_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from antscache.core import TestOperator

MAX_ITEMS = 64  # of a list while it is built, and of a loop that is run for each item
MAX_NUMBER = 1 << 31
MAX_METHOD_CHARACTERS = 1000  # of a text whose methods are called
TEXT_METHODS = {"lower", "upper", "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "replace"}
# Of antspyx: they return one image. Source: its documentation of each.
IMAGE_FUNCTIONS = {"image_read", "image_clone", "from_numpy", "threshold_image", "resample_image", "apply_transforms"}
LIST_CHANGES = {"append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort"}


def is_number(value: object) -> bool:
    """Return True if `value` is a number of moderate size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def known(outcome: bool | None) -> Value:  # noqa: FBT001
    """Return the value of an outcome; None is unknown."""
    return UNKNOWN if outcome is None else Constant(outcome)


def negate(value: Value, *, negative: bool) -> Value:
    """Return the opposite of an outcome if `negative`, else the outcome."""
    if not negative or value is UNKNOWN:
        return value
    if isinstance(value, Condition):
        return Condition(value.test, not value.expected)
    return FALSE if value == TRUE else TRUE


def equal(left: Value, right: Value) -> Value:  # noqa: PLR0911
    """Return the outcome of `left == right`, and of `left is right` where one of them is None."""
    match left, right:
        case Constant(value=a), Constant(value=b):
            return Constant(a == b)
        case Argument(subject=subject), Constant(value=str() | int() | float() | None as value):
            return Condition(ArgumentTest(subject, "==", value))
        case Constant(), Argument():
            return equal(right, left)
        case Constant(value=None), Sequence() | Text() | Table() | LocalFunction() | Definition():
            return FALSE
        case Sequence() | Text() | Table() | LocalFunction() | Definition(), Constant(value=None):
            return FALSE
        case Constant(value=None), _ if right is IMAGE:
            return FALSE
        case _, Constant(value=None) if left is IMAGE:
            return FALSE
        case TypeOf(value=Argument(subject=subject)), TypeOf(value=Constant(value=str())):
            return Condition(ArgumentTest(subject, "is a", ("str",)))
        case TypeOf(value=Constant(value=a)), TypeOf(value=Constant(value=b)):
            return Constant(type(a) is type(b))
    return UNKNOWN


def _is_text(value: Value) -> bool:
    return isinstance(value, Constant) and isinstance(value.value, str)


def contains(whole: Value, part: Value) -> Value:
    """Return the outcome of `part in whole`."""
    match part, whole:
        case Constant(value=str() as a), Constant(value=str() as b):
            return Constant(a in b)
        case Constant(value=str() | int() as a), Argument(subject=subject):
            return Condition(ArgumentTest(subject, "contains", a))
        case Argument(subject=subject), Sequence(items=items) if items and all(map(_is_text, items)):
            return Condition(ArgumentTest(subject, "is in", tuple(item.value for item in items)))  # type: ignore[attr-defined]
        case _, Sequence(items=items):
            outcomes = [equal(part, item) for item in items]
            if TRUE in outcomes:
                return TRUE
            rest = [outcome for outcome in outcomes if outcome != FALSE]
            return (rest[0] if len(rest) == 1 else UNKNOWN) if rest else FALSE
    return UNKNOWN


def compare_values(left: Value, operator: ast.cmpop, right: Value) -> Value:
    """Return the outcome of a comparison."""
    negative = isinstance(operator, ast.NotEq | ast.IsNot | ast.NotIn)
    if isinstance(operator, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
        return negate(equal(left, right), negative=negative)
    if isinstance(operator, ast.In | ast.NotIn):
        return negate(contains(right, left), negative=negative)
    word = _ORDERS[type(operator)]
    match left, right:
        case Constant(value=a), Constant(value=b):
            return known(compare_argument(a, word, b))
        case Argument(subject=subject), Constant(value=int() | float() as b):
            return Condition(ArgumentTest(subject, word, b))
    return UNKNOWN


def calculate(left: Value, operator: ast.operator, right: Value) -> Value:
    """Return the value of an operator of arithmetic, also for texts, lists and images."""
    if left is IMAGE:
        return IMAGE  # arithmetic of images, pixel by pixel
    match left, right:
        case Constant(value=int() | float() as a), Constant(value=int() | float() as b):
            return _arithmetic(a, operator, b)
        case Sequence(items=items, is_list=is_list), Sequence(items=more) if isinstance(operator, ast.Add):
            return Sequence((*items, *more), is_list) if len(items) + len(more) <= MAX_ITEMS else UNKNOWN
    return concatenate(left, right) if isinstance(operator, ast.Add) else UNKNOWN


def _arithmetic(left: float, operator: ast.operator, right: float) -> Value:
    function = _ARITHMETIC.get(type(operator))
    if function is None or not is_number(left) or not is_number(right):
        return UNKNOWN
    try:
        return Constant(function(left, right))
    except ZeroDivisionError:
        return UNKNOWN


def take_item(held: Value, index: Value) -> Value:  # noqa: PLR0911  one for each form of a value
    """Return the value of `held[index]`."""
    match held, index:
        case Sequence(items=items, is_list=is_list), slice():
            return Sequence(items[index], is_list)
        case Sequence(items=items), Constant(value=int() as at) if -len(items) <= at < len(items):
            return items[at]
        case Sequence(items=items), _ if index is UNKNOWN and items:
            return join(items)
        case Argument(subject=subject), Constant(value=int() as at) if abs(at) < MAX_ITEMS:
            return Argument((*subject, at))
        case Table(items=table), Constant(value=key):
            return table.get(key, UNKNOWN)
        case Table(items=table), _ if table:
            return join(table.values())
    return UNKNOWN


def replace_item(held: Sequence, index: Value, value: Value) -> Value:
    """Return `held` after `held[index] = value`."""
    match index:
        case Constant(value=int() as at) if -len(held.items) <= at < len(held.items):
            items = list(held.items)
            items[at] = value
            return Sequence(tuple(items), held.is_list)
    return Sequence(tuple(join([item, value]) for item in held.items), held.is_list)


def change_list(held: Value, change: str, arguments: list[Value]) -> Value:
    """Return `held` after the call of its method `change`."""
    match held, change, arguments:
        case Sequence(items=items, is_list=True), "append", [item] if len(items) < MAX_ITEMS:
            return Sequence((*items, item), is_list=True)
        case Sequence(items=items, is_list=True), "extend", [Sequence(items=more)] if len(items) < MAX_ITEMS:
            return Sequence((*items, *more), is_list=True)
    return UNKNOWN


def call_method(held: Value, name: str, arguments: list[Value]) -> Value:
    """Return the value of a method of a text."""
    match held, name, arguments:
        case Constant(value=str()), "join", [items]:
            return join(join_text(held, each) for each in alternatives(items))
        case Constant(value=str() as text), _, _ if name in TEXT_METHODS and all(
            isinstance(each, Constant) and isinstance(each.value, str) for each in arguments
        ):
            if len(text) > MAX_METHOD_CHARACTERS or len(arguments) > 2:  # noqa: PLR2004  as `replace` has
                return UNKNOWN
            try:
                return literal(getattr(text, name)(*(each.value for each in arguments)))  # type: ignore[attr-defined]
            except (TypeError, ValueError):
                return UNKNOWN
        case Argument(subject=subject), "lower", []:
            return Argument((*subject, LOWER_STEP))
    return UNKNOWN


def is_a(value: Value, names: tuple[str, ...]) -> Value:
    """Return the outcome of `isinstance`, with the names of the types."""
    match value:
        case Argument(subject=subject):
            return Condition(ArgumentTest(subject, "is a", names))
        case Constant(value=constant):
            return known(compare_argument(constant, "is a", names))
        case Sequence(is_list=is_list):
            return Constant(("list" if is_list else "tuple") in names)
        case Text():
            return Constant("str" in names)
        case _ if value is IMAGE and TYPE_NAMES.keys() >= set(names):
            return FALSE
    return UNKNOWN


# Functions of Python


def _length(arguments: list[Value]) -> Value:
    match arguments:
        case [Sequence(items=items)]:
            return Constant(len(items))
        case [Constant(value=str() as text)]:
            return Constant(len(text))
        case [Argument(subject=subject)]:
            return Argument((*subject, LENGTH_STEP))
        case [Alternatives(values=values)]:
            return join(_length([each]) for each in values)
    return UNKNOWN


def _range(arguments: list[Value]) -> Value:
    choices: list[list[Value]] = [[]]
    for argument in arguments:
        choices = [[*before, each] for before in choices for each in alternatives(argument)][: MAX_ITEMS * 2]
    return join(_one_range(each) for each in choices)


def _one_range(arguments: list[Value]) -> Value:
    numbers = [each.value for each in arguments if isinstance(each, Constant) and isinstance(each.value, int)]
    if len(numbers) != len(arguments) or not all(map(is_number, numbers)):
        return UNKNOWN
    try:
        items = range(*numbers)
    except (TypeError, ValueError):
        return UNKNOWN
    return literal(tuple(items)) if len(items) <= MAX_ITEMS else UNKNOWN


def _list(arguments: list[Value]) -> Value:
    match arguments:
        case []:
            return Sequence((), is_list=True)
        case [Sequence(items=items)]:
            return Sequence(items, is_list=True)
        case [Argument()]:
            return arguments[0]
        case [Alternatives(values=values)]:
            return join(_list([each]) for each in values)
    return UNKNOWN


def _tuple(arguments: list[Value]) -> Value:
    made = _list(arguments)
    return Sequence(made.items, is_list=False) if isinstance(made, Sequence) else made


def _str(arguments: list[Value]) -> Value:
    return join(as_text(each) for each in alternatives(arguments[0])) if len(arguments) == 1 else Constant("")


def _enumerate(arguments: list[Value]) -> Value:
    match arguments:
        case [Sequence(items=items)]:
            pairs = (Sequence((Constant(at), item), is_list=False) for at, item in enumerate(items))
            return Sequence(tuple(pairs), is_list=False)
    return UNKNOWN


def _type(arguments: list[Value]) -> Value:
    return TypeOf(arguments[0]) if len(arguments) == 1 else UNKNOWN


def map_text(items: Value) -> Value:
    """Return `map(str, items)`; an argument is left as it is, for a `join`."""
    match items:
        case Sequence(items=parts):
            return Sequence(tuple(map(as_text, parts)), is_list=False)
        case Argument():
            return items
        case Alternatives(values=values):
            return join(map(map_text, values))
    return UNKNOWN


_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], object]]] = {
    ast.Add: operators.add,
    ast.Sub: operators.sub,
    ast.Mult: operators.mul,
    ast.FloorDiv: operators.floordiv,
    ast.Mod: operators.mod,
}
_ORDERS: Final[dict[type[ast.cmpop], TestOperator]] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
FUNCTIONS: Final[dict[str, Callable[[list[Value]], Value]]] = {
    "len": _length,
    "range": _range,
    "list": _list,
    "tuple": _tuple,
    "str": _str,
    "enumerate": _enumerate,
    "type": _type,
}
