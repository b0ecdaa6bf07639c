"""Run jobs that may fail, or may never end, and collect their results."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Value = TypeVar("Value")


class _Job(threading.Thread, Generic[Value]):
    """A job in a thread of its own. The process does not wait for the thread when it exits."""

    def __init__(self, job: Callable[[], Value]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self.outcome: Value | Exception = RuntimeError("the thread ended before its job")

    def run(self) -> None:
        """Run the job, and keep its result or its exception as `outcome`."""
        try:
            self.outcome = self._job()
        except Exception as error:  # noqa: BLE001  a doctor reports every error of a check
            self.outcome = error


def run_jobs(jobs: Sequence[Callable[[], Value]], timeout: float | None) -> list[Value | Exception]:
    """Run all `jobs` at once, and return for each the value that it returned, or the exception that it raised.

    Args:
        jobs: functions that may run at the same time.
        timeout: seconds for all of them together. A job that is still running then is left alone, and its outcome is
            a TimeoutError. None sets no limit.
    """
    started = time.monotonic()
    threads = [_Job(job) for job in jobs]
    for thread in threads:
        thread.start()
    outcomes: list[Value | Exception] = []
    for thread in threads:
        thread.join(None if timeout is None else max(0.0, started + timeout - time.monotonic()))
        late = TimeoutError(f"did not end within {timeout:g} seconds") if thread.is_alive() else None
        outcomes.append(late or thread.outcome)
    return outcomes
