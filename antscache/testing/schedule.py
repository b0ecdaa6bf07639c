"""Which identifier misbehaves how, and how often still: what `StandIn.misbehave` sets. Safe between threads."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from antscache.testing.misbehaviour import Misbehaviour


class Schedule:
    """At most one misbehaviour for each identifier, for a number of requests or for ever."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._due: dict[str, tuple[Misbehaviour, int | None]] = {}

    def set(self, number: str, how: Misbehaviour, times: int | None) -> None:
        """Let `number` misbehave from now on, in place of what was set before; None is for ever.

        Raises:
            ValueError: `times` is less than one.
        """
        if times is not None and times < 1:
            raise ValueError(f"times: {times} is less than one")
        with self._lock:
            self._due[number] = (how, times)

    def clear(self, number: str) -> None:
        """Let `number` behave."""
        with self._lock:
            self._due.pop(number, None)

    def due(self, number: str) -> Misbehaviour | None:
        """What is set for `number`; nothing is counted."""
        with self._lock:
            how, _ = self._due.get(number, (None, None))
            return how

    def take(self, number: str, among: Container[Misbehaviour]) -> Misbehaviour | None:
        """What is set for `number`, if it is `among` these; one request is counted."""
        with self._lock:
            how, left = self._due.get(number, (None, None))
            if how is None or how not in among:
                return None
            if left is not None:
                self._due[number] = (how, left - 1)
                if left == 1:
                    del self._due[number]
            return how
