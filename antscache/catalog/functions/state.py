"""The state of a function while it is run: its names, what is known of the arguments, and what it asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from antscache.catalog.functions.symbols import Value, join

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.catalog.functions.facts import Facts
    from antscache.core import ArgumentTest, Kind


@dataclass(frozen=True, slots=True)
class Request:
    """An entry that is asked for, by a name that may have holes; None if antscache cannot tell it, at a `place`."""

    kind: Kind
    name: str | None
    place: str = ""


@dataclass(slots=True)
class Outcome:
    """The outcome of a call.

    Attributes:
        requests: the entries that it asks for.
        undecided: the tests of arguments that were not decided, in order.
        returns: False if it raises an error in any case.
    """

    requests: dict[Request, None] = field(default_factory=dict)
    undecided: dict[ArgumentTest, None] = field(default_factory=dict)
    returns: bool = True

    def add(self, other: Outcome) -> None:
        """Add what a call within this one asks for."""
        self.requests |= other.requests
        self.undecided |= other.undecided


@dataclass(slots=True)
class State:
    """The names of a function and their values, and what is known of the arguments, at a place in the source."""

    names: dict[str, Value]
    facts: dict[ArgumentTest, bool]

    def with_facts(self, facts: Facts) -> State:
        """Return a copy of this state in which `facts` are known too."""
        return State(dict(self.names), {**self.facts, **facts})

    def copy(self) -> State:
        """Return a copy, whose names can be changed without changing this state."""
        return self.with_facts({})


@dataclass(slots=True)
class Frame:
    """A call while it runs.

    Attributes:
        module: of the function.
        returns: True if it can return.
        broken: the states at the `break`s of the loop that runs.
        continued: those at its `continue`s.
        caught: in a `try`, the state at any statement so far, where an error may leave it; else None.
    """

    module: str
    returns: bool = False
    broken: list[State] = field(default_factory=list)
    continued: list[State] = field(default_factory=list)
    caught: State | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a test, None if it is not decided; and what is known of the arguments on either side."""

    value: bool | None
    if_true: Facts = field(default_factory=dict)
    if_false: Facts = field(default_factory=dict)

    def negated(self) -> Verdict:
        """Return the outcome of the opposite test."""
        return Verdict(None if self.value is None else not self.value, self.if_false, self.if_true)


UNDECIDED: Final = Verdict(None)


class Ended(Exception):  # noqa: N818  it is no error
    """A call within an expression raises an error in any case, so nothing comes after it."""


def joined(states: Iterable[State | None]) -> State | None:
    """Return the state in which each name has one of its values, and what holds in all `states`; None for none."""
    some = [state for state in states if state is not None]
    if len(some) <= 1:
        return some[0] if some else None
    first, *others = some
    names = dict(first.names)
    for other in others:
        for name, value in other.names.items():
            held = names.setdefault(name, value)
            if held is not value:
                names[name] = join((held, value))
    facts = {
        test: known for test, known in first.facts.items() if all(other.facts.get(test) is known for other in others)
    }
    return State(names, facts)
