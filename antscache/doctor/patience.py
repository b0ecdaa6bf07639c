"""Waiting for what may never end, and taking whatever comes of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Value = TypeVar("Value")


class _Job(threading.Thread, Generic[Value]):
    """A job in a thread that the process does not wait for when it exits."""

    def __init__(self, job: Callable[[], Value]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self.outcome: Value | Exception = RuntimeError("the thread ended before its job")

    def run(self) -> None:
        """Do the job."""
        try:
            self.outcome = self._job()
        except Exception as error:  # noqa: BLE001  whatever goes wrong in a check is what a doctor has to tell of
            self.outcome = error


def outcomes(jobs: Sequence[Callable[[], Value]], patience: float | None) -> list[Value | Exception]:
    """What became of each job, all done at once: what it returned, or what it raised.

    Args:
        jobs: they share nothing that two may not use at once.
        patience: seconds for all of them; a job that has not ended then is left behind, and its outcome is a
            TimeoutError. None is for ever.
    """
    started = time.monotonic()
    threads = [_Job(job) for job in jobs]
    for thread in threads:
        thread.start()
    found: list[Value | Exception] = []
    for thread in threads:
        thread.join(None if patience is None else max(0.0, started + patience - time.monotonic()))
        late = TimeoutError(f"not end within {patience:g} seconds") if thread.is_alive() else None
        found.append(late or thread.outcome)
    return found
