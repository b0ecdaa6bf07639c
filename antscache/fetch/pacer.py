"""The rate limit of an origin: one start of a file per interval, by all processes on one root together.

    locks/pace         the time from which the next start is free
    locks/pace.lock    held by the process that reserves a start

The time has a file of its own, because some versions of filelock empty the file that they lock.
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
MAX_QUEUED_STARTS = 4096  # if the time in the file is later than after so many, another clock has written it
TIME_BYTES = 24  # every time is padded to so many, so that a reader never sees parts of two


class Pacer:
    """A rate limit of one start per `interval` seconds. Thread-safe.

    Args:
        path: the file with the time from which the next start is free. The lock is beside it.
        interval: in seconds; with 0 there is no limit.
        shared: True if a group shares the directory.
    """

    def __init__(self, path: Path, interval: float, *, shared: bool = False) -> None:
        self._path, self._shared = path, shared
        self._locks = Locks(path.parent, shared=shared)
        self._thread_lock = Lock()  # for where locks between processes do not work
        self.interval = interval

    def reserve_start(self) -> float:
        """Reserve the next free start, and return the seconds until then.

        Where locks do not work, two processes may reserve the same start. If the time cannot be read or written, return
        the interval, and reserve nothing.
        """
        if not self.interval:
            return 0.0
        with self._thread_lock, self._locks.attempt(self._path.name, LOCK_WAIT_SECONDS):
            try:
                descriptor = self._open()
            except OSError:
                return self.interval
            try:
                return self._reserve(descriptor)
            except OSError:  # if the disk is full, the writing of the files reports it
                return self.interval
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        """Open the file with the time; make it if it is not there."""
        try:
            return disk.open_in_place(self._path)
        except FileNotFoundError:
            os.close(disk.create(self._path, disk.WRITABLE_MODE, shared=self._shared))
            return disk.open_in_place(self._path)

    def _reserve(self, descriptor: int) -> float:
        """Move the time in the file one interval on, and return the seconds until the start that this reserves."""
        now = time.time()
        start = next_start(now, _read(descriptor), self.interval)
        os.pwrite(descriptor, f"{start + self.interval:.3f}\n".encode().ljust(TIME_BYTES), 0)
        return start - now


def next_start(now: float, free: float, interval: float) -> float:
    """Return the time of the next start, if starts are free from the time `free` on. Pure.

    If `free` is later than the longest queue explains, it is ignored: the next start is `now`.
    """
    return max(now, free) if free <= now + MAX_QUEUED_STARTS * interval else now


def _read(descriptor: int) -> float:
    """Return the time in the file; 0 if it has none."""
    try:
        return float(os.pread(descriptor, TIME_BYTES, 0))
    except ValueError:
        return 0.0
