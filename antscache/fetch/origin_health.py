"""The health of an origin: its answers in this run, and when to stop asking it. Pure, but for its lock.

An origin that cannot be reached, refuses all programs, or fails again and again is set aside for the rest of the run
after a few such answers in a row. An origin that sends Retry-After is not asked before that time has passed.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antscache.fetch.protocol import Refusal

MAX_ORIGIN_REFUSALS = 3  # in a row, about the origin as a whole: with them it is set aside
MAX_TRANSIENT_REFUSALS = 30  # in a row, for any file: with them it is set aside
MAX_RETRY_AFTER_SECONDS = 120.0  # an origin that asks for a longer wait is set aside


class OriginHealth:
    """The state of one origin in this run. Safe between threads.

    Attributes:
        set_aside: the reason for which it is not asked any more; empty while it may be asked.
    """

    def __init__(self) -> None:
        self.set_aside = ""
        self._lock = Lock()
        self._origin_refusals = 0
        self._transient_refusals = 0
        self._retry_at = 0.0

    def seconds_to_wait(self, now: float) -> float:
        """Return the seconds for which the origin asks not to be asked; 0 if it may be asked, or is set aside."""
        return 0.0 if self.set_aside else max(0.0, self._retry_at - now)

    def note_delivery(self) -> None:
        """Note that the origin delivered a file: all counts begin anew."""
        with self._lock:
            self._origin_refusals = self._transient_refusals = 0

    def note_refusal(self, refusal: Refusal, now: float, *, progress: bool) -> None:
        """Count `refusal`, and set the origin aside if it is one too many, or asks for too long a wait.

        Args:
            refusal: the origin's answer.
            now: by the monotonic clock, in seconds.
            progress: True if enough bytes came before the refusal; the row of transient refusals then begins anew.
        """
        with self._lock:
            self._origin_refusals = self._origin_refusals + 1 if refusal.affects_origin else 0
            self._transient_refusals = self._transient_refusals + 1 if refusal.transient and not progress else 0
            if refusal.retry_after > MAX_RETRY_AFTER_SECONDS:
                self.set_aside = f"set aside: {refusal}, and asks to wait {refusal.retry_after:.0f} s"
            elif self._origin_refusals >= MAX_ORIGIN_REFUSALS:
                self.set_aside = f"set aside after {MAX_ORIGIN_REFUSALS} answers in a row: {refusal}"
            elif self._transient_refusals >= MAX_TRANSIENT_REFUSALS:
                self.set_aside = f"set aside after {MAX_TRANSIENT_REFUSALS} answers in a row: {refusal}"
            else:
                self._retry_at = max(self._retry_at, now + refusal.retry_after)
