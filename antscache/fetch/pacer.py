"""Starts at an origin that asks not to be asked often: one each so many seconds, by all processes on one root.

    locks/pace         the time from which the next start is free
    locks/pace.lock    held by whoever reserves one

The time has a file of its own, because what filelock locks is filelock's: some versions empty it.
"""

from __future__ import annotations

import os
import time
from threading import Lock
from typing import TYPE_CHECKING

from antscache import disk
from antscache.disk import Locks

if TYPE_CHECKING:
    from pathlib import Path

LOCK_WAIT_SECONDS = 1.0  # for the lock, which is held for microseconds
AHEAD = 4096  # starts that may be waiting; a time beyond that was written by another clock
TIME_BYTES = 24  # as many for every time, so that a reader never sees some of two


class Pacer:
    """Starts, one each `interval` seconds. Thread-safe.

    Args:
        path: what the processes share: the time from which the next start is free. Its directory has the lock.
        interval: in seconds; with 0 every start is free.
        shared: whether a group shares the directory.
    """

    def __init__(self, path: Path, interval: float, *, shared: bool = False) -> None:
        self._path, self._shared = path, shared
        self._locks = Locks(path.parent, shared=shared)
        self._ours = Lock()  # keeps threads apart where locks do not work
        self.interval = interval

    def reserve_start(self) -> float:
        """Reserve the next start that is free, and return the seconds until then.

        Without locks two processes may reserve the same one. Where the time cannot be read or written, the interval is
        returned.
        """
        if not self.interval:
            return 0.0
        with self._ours, self._locks.attempt(self._path.name, LOCK_WAIT_SECONDS):
            try:
                descriptor = self._open()
            except OSError:
                return self.interval
            try:
                return self._reserve(descriptor)
            except OSError:  # a full disk is met by whoever writes what matters
                return self.interval
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        """Open the file of the time, which is made if it is not there."""
        try:
            return disk.open_in_place(self._path)
        except FileNotFoundError:
            os.close(disk.create(self._path, disk.WRITABLE, shared=self._shared))
            return disk.open_in_place(self._path)

    def _reserve(self, descriptor: int) -> float:
        now = time.time()
        start = next_start(now, _read(descriptor), self.interval)
        os.pwrite(descriptor, f"{start + self.interval:.3f}\n".encode().ljust(TIME_BYTES), 0)
        return start - now


def next_start(now: float, free: float, interval: float) -> float:
    """Return when the next start is, if starts are free from `free` on: pure.

    A time that no queue explains counts as passed.
    """
    return max(now, free) if free <= now + AHEAD * interval else now


def _read(descriptor: int) -> float:
    try:
        return float(os.pread(descriptor, TIME_BYTES, 0))
    except ValueError:
        return 0.0
