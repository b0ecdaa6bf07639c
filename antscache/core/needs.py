"""The needs of a release's public functions: the entries that a call can ask for, by its arguments. Pure.

`catalog.functions` reads them in the source of a release as a tree of tests, and manifests carry that tree. A test is
about an argument: `modality == "t1"`, `t2 == None`, `t1 is a list`. An argument that you do not give has its default. A
parameter without a default stands for one image: it is neither None nor a list, and no more is known of it. Where a
test cannot be decided, both of its sides count, so nothing that a call can ask for is left out.
"""

from __future__ import annotations

import operator as operators
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from antscache.core.manifest import Kind

TestOperator = Literal["==", "is a", "contains", "is in", "is true", "<", "<=", ">", ">="]
SubjectStep = Annotated[str, msgspec.Meta(max_length=100)] | int
Word = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z", max_length=100)]
NamePattern = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.+:{}-]+\Z", max_length=300)]
KINDS: Final[tuple[Kind, ...]] = ("data", "network", "keras")
LENGTH_STEP, LOWER_STEP = "len()", "lower()"  # the steps of a subject that are no index

TYPE_NAMES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "list": (list,),
    "tuple": (tuple,),
    "int": (int,),
    "float": (float,),
    "bool": (bool,),
    "dict": (dict,),
    "NoneType": (type(None),),
}
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([^{}]*))?\}")


class _Special:
    """An argument that is no literal of Python."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


IMAGE: Final = _Special("image")  # one image
GIVEN: Final = _Special("given")  # anything but None and a list: what a parameter without a default stands for
ANYTHING: Final = _Special("...")


class OneOf(NamedTuple):
    """An argument that is one of some texts."""

    values: tuple[str, ...]


class ArgumentTest(msgspec.Struct, frozen=True, array_like=True):
    """A test of an argument.

    Attributes:
        subject: the parameter, and what of its argument is tested: an item by its index, its length, or its text in
            lower case.
        operator: "is a" compares the type, by the names of types in `value`; "contains" looks for `value` in it, and
            "is in" for it in `value`.
        value: the right side of the operator; None for "is true".
    """

    subject: tuple[SubjectStep, ...]
    operator: TestOperator
    value: str | int | float | bool | tuple[str, ...] | None = None

    @property
    def parameter(self) -> str:
        """The name of the parameter."""
        return str(self.subject[0])


class Needs(msgspec.Struct, frozen=True, omit_defaults=True):
    """The entries that a call asks for in any case; and a test, with the entries that it asks for as well.

    A name may have holes that arguments fill: `pvs_shiva_t1_{which_model}`; `{factor:x}` has an `x` between the items.

    Attributes:
        data: names of data.
        network: names of networks.
        keras: names of Keras's own weights.
        unknown: the places in the source where a name is asked for that antscache cannot tell.
        test: decides between `yes` and `no`; None if nothing more is asked for.
        raises: True if no call that comes here returns: the function refuses its arguments.
    """

    data: tuple[NamePattern, ...] = ()
    network: tuple[NamePattern, ...] = ()
    keras: tuple[NamePattern, ...] = ()
    unknown: tuple[str, ...] = ()
    test: ArgumentTest | None = None
    yes: Needs | None = None
    no: Needs | None = None
    raises: bool = False

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        """Yield the names that are asked for in any case, each with its kind."""
        for kind in KINDS:
            for name in getattr(self, kind):
                yield kind, name


class Function(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public function of a release that asks for entries.

    Attributes:
        parameters: their names, in order.
        defaults: the defaults of those parameters that decide, as far as they are literals.
        problem: the reason why antscache cannot tell the needs; None if it can.
    """

    name: Word
    parameters: tuple[Word, ...]
    needs: Needs = Needs()
    defaults: dict[Word, Any] = {}
    problem: str | None = None

    @property
    def tests(self) -> tuple[ArgumentTest, ...]:
        """The tests that decide, each once."""
        found: dict[ArgumentTest, None] = {}
        stack = [self.needs]
        while stack:
            node = stack.pop()
            if node.test and node.yes and node.no:
                found[node.test] = None
                stack += [node.no, node.yes]
        return tuple(found)

    @property
    def deciding(self) -> tuple[str, ...]:
        """The parameters whose arguments decide what is asked for, in order."""
        stack, found = [self.needs], {test.parameter for test in self.tests}
        while stack:
            node = stack.pop()
            found |= {hole[1] for _, name in node for hole in _HOLE.finditer(name)}
            stack += [each for each in (node.no, node.yes) if each]
        return tuple(name for name in self.parameters if name in found)

    def known_values(self, parameter: str) -> tuple[Any, ...]:
        """Return the values of `parameter` that the function compares its argument with."""
        found: dict[Any, None] = {}
        for test in self.tests:
            if test.subject == (parameter,) and test.operator in {"==", "is in"}:
                found |= dict.fromkeys(test.value if isinstance(test.value, tuple) else (test.value,))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Asked:
    """The names that a call can ask for.

    Attributes:
        names: kind and name; a name may still have holes, for arguments that are not known.
        unknown: the places in the source where a name is asked for that antscache cannot tell.
        undecided: the parameters on whose arguments it depends which of these names are asked for.
        returns: False if the function refuses the arguments, however they are completed.
    """

    names: frozenset[tuple[Kind, str]]
    unknown: tuple[str, ...]
    undecided: tuple[str, ...]
    returns: bool


def ask(function: Function, arguments: Mapping[str, Any]) -> Asked:
    """Return the names that a call of `function` with these `arguments` can ask for.

    Args:
        function: of a release.
        arguments: by parameter; those without one have their defaults. `ANYTHING` is not known at all.
    """
    values = {name: arguments.get(name, function.defaults.get(name, GIVEN)) for name in function.parameters}
    names: set[tuple[Kind, str]] = set()
    unknown = {function.problem: None} if function.problem else dict[str, None]()
    undecided: dict[str, None] = {}
    returns = False
    stack = [(function.needs, values)]
    while stack:
        node, known = stack.pop()
        names |= {(kind, filled) for kind, name in node for filled in fill(name, known)}
        unknown |= dict.fromkeys(node.unknown)
        if node.test is None or node.yes is None or node.no is None:
            returns = returns or not node.raises
            continue
        verdict = decide(node.test, known)
        if verdict is None:
            undecided[node.test.parameter] = None
        if verdict is not True:
            stack.append((node.no, known))
        if verdict is not False:
            stack.append((node.yes, known if verdict else {**known, **_assumed(node.test)}))
    return Asked(frozenset(names), tuple(unknown), tuple(undecided), returns)


def _assumed(test: ArgumentTest) -> dict[str, Any]:
    """Return the argument that `test` leaves where it holds, if it leaves few."""
    if len(test.subject) == 1 and test.operator == "==" and isinstance(test.value, str | None):
        return {test.parameter: test.value}
    if len(test.subject) == 1 and test.operator == "is in" and isinstance(test.value, tuple):
        return {test.parameter: OneOf(test.value)}
    return {}


def ask_anything(function: Function) -> Asked:
    """Return all names that any call of `function` can ask for."""
    return ask(function, dict.fromkeys(function.parameters, ANYTHING))


def fill(name: str, values: Mapping[str, Any]) -> set[str]:
    """Return `name` with its holes filled from `values`, as far as these are known: one name for each of several."""
    filled = {name}
    for hole in _HOLE.finditer(name):
        value = values.get(hole[1], ANYTHING)
        choices = value.values if isinstance(value, OneOf) else (value,)
        texts = {_text(choice, hole[2]) for choice in choices}
        if None not in texts:
            filled = {each.replace(hole[0], str(text), 1) for each in filled for text in texts}
    return filled


def _text(value: Any, separator: str | None) -> str | None:
    """Return the text that `value` fills a hole with; None if it is not known."""
    if separator is None:
        return str(value) if isinstance(value, str | int | float) else None
    known = isinstance(value, list | tuple) and all(isinstance(item, str | int | float) for item in value)
    return separator.join(map(str, value)) if known else None


def holes(name: str) -> tuple[str, ...]:
    """Return the parameters whose arguments fill the holes of `name`."""
    return tuple(hole[1] for hole in _HOLE.finditer(name))


def matches(pattern: str, name: str) -> bool:
    """Return True if `name` is `pattern` with some arguments in its holes."""
    fixed = _HOLE.split(pattern)[::3]  # the text between the holes; each hole adds two groups
    return re.fullmatch(".+".join(map(re.escape, fixed)), name) is not None


def decide(test: ArgumentTest, values: Mapping[str, Any]) -> bool | None:
    """Return the outcome of `test` for arguments with these `values`; None if they do not decide it."""
    value = values.get(test.parameter, ANYTHING)
    for step in test.subject[1:]:
        value = _take(value, step)
    if value is ANYTHING:
        return None
    return compare_argument(value, test.operator, test.value)


def _take(value: Any, step: SubjectStep) -> Any:
    """Return what `step` names of `value`; ANYTHING if that is not known."""
    if isinstance(value, str | list | tuple) and not isinstance(value, OneOf):
        if step == LENGTH_STEP and ANYTHING not in value:
            return len(value)
        if isinstance(step, int) and ANYTHING not in value and -len(value) <= step < len(value):
            return value[step]
    if step == LOWER_STEP and isinstance(value, str):
        return value.lower()
    return ANYTHING


def compare_argument(value: Any, operator: TestOperator, other: Any) -> bool | None:
    """Return the outcome of comparing `value` with `other`; None if it is not known."""
    if isinstance(value, OneOf):
        outcomes = {compare_argument(each, operator, other) for each in value.values}
        return outcomes.pop() if len(outcomes) == 1 else None
    if value is GIVEN:
        impossible = (operator == "==" and other is None) or (operator == "is a" and set(other) <= {"list", "NoneType"})
        return False if impossible else None
    if value is IMAGE:
        impossible = operator in {"==", "is in"} or (operator == "is a" and set(other) <= TYPE_NAMES.keys())
        return False if impossible else None
    if operator == "contains":
        return other in value if isinstance(value, str | list | tuple) and not _is_unsure(value) else None
    if operator in _ORDERS:
        numbers = isinstance(value, int | float) and isinstance(other, int | float)
        return _ORDERS[operator](value, other) if numbers else None
    return _COMPARISONS[operator](value, other)


def _is_a(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, tuple(kind for name in names for kind in TYPE_NAMES.get(name, ())))


def _is_true(value: Any, _: None) -> bool:
    return bool(value)


def _is_unsure(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, _Special) for item in value)


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operators.eq,
    "is a": _is_a,
    "is in": lambda value, texts: value in texts,
    "is true": _is_true,
}
