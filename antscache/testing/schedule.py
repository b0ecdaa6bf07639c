"""Which identifier misbehaves how, and how often still: what `StandIn.misbehave` sets. Safe between threads."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from antscache.testing.misbehaviour import Misbehaviour


class Schedule:
    """For each identifier the misbehaviours of its next requests, one after the other; None among them is to behave."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._due: dict[str, tuple[Misbehaviour | None, Iterator[Misbehaviour | None]]] = {}

    def set(self, number: str, hows: Iterable[Misbehaviour | None]) -> None:
        """Let `number` misbehave as `hows` say, in place of what was set before; it behaves after the last of them."""
        with self._lock:
            self._advance(number, iter(hows))

    def clear(self, number: str) -> None:
        """Let `number` behave."""
        self.set(number, ())

    def is_set(self, number: str) -> bool:
        """Whether anything is left for `number`."""
        return number in self._due

    def take(self, number: str, among: Container[Misbehaviour | None]) -> Misbehaviour | None:
        """What is next for `number`, if it is `among` these; then it is counted. Otherwise None."""
        if number not in self._due:  # nearly always, and worth no lock
            return None
        with self._lock:
            if number not in self._due:
                return None
            how, rest = self._due[number]
            if how not in among:
                return None
            self._advance(number, rest)
            return how

    def _advance(self, number: str, rest: Iterator[Misbehaviour | None]) -> None:
        for how in rest:
            self._due[number] = (how, rest)
            return
        self._due.pop(number, None)
