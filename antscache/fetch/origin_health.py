"""How an origin has answered so far in this run, and what follows from it: pure, but for its lock.

One that is out of reach, turns programs away, or has nothing but trouble to offer is set aside for the rest of the run
after a few answers in a row. One that says when it wants to be asked again is not asked before.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antscache.fetch.protocol import Refusal

TURNED_AWAY = 3  # answers in a row about the origin as a whole after which it is set aside
TROUBLED = 30  # answers in a row that may pass and did not, whatever the file
LONGEST = 120.0  # seconds: an origin that asks for more is not waited for in this run


class OriginHealth:
    """What is thought of one origin. Safe between threads.

    Attributes:
        set_aside: why it is not asked any more; empty while it is.
    """

    def __init__(self) -> None:
        self.set_aside = ""
        self._lock = Lock()
        self._turned_away = 0
        self._troubled = 0
        self._rests_until = 0.0

    def rest(self, now: float) -> float:
        """The seconds for which it wants to be left alone."""
        return 0.0 if self.set_aside else max(0.0, self._rests_until - now)

    def answered(self) -> None:
        """It delivered a file."""
        with self._lock:
            self._turned_away = self._troubled = 0

    def refused(self, refusal: Refusal, now: float, *, progress: bool) -> None:
        """It answered with `refusal`; `progress` is whether bytes came before that."""
        with self._lock:
            self._turned_away = self._turned_away + 1 if refusal.affects_origin else 0
            self._troubled = self._troubled + 1 if refusal.transient and not progress else 0
            if refusal.retry_after > LONGEST:
                self.set_aside = f"set aside: {refusal}, and asks to wait {refusal.retry_after:.0f} s"
            elif self._turned_away >= TURNED_AWAY:
                self.set_aside = f"set aside after {TURNED_AWAY} answers in a row: {refusal}"
            elif self._troubled >= TROUBLED:
                self.set_aside = f"set aside after {TROUBLED} answers in a row: {refusal}"
            else:
                self._rests_until = max(self._rests_until, now + refusal.retry_after)
