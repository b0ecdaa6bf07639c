"""Starts at an origin that asks not to be asked often: one each so many seconds, by all processes on one root."""

from __future__ import annotations

import os
import time
from contextlib import closing
from threading import Lock
from typing import TYPE_CHECKING

from antscache.disk import Locks

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 1.0  # seconds for the lock, which is held for microseconds
AHEAD = 4096  # starts that may be waiting; a time beyond that was written by another clock


class Pacer:
    """Turns, one each `interval` seconds.

    Args:
        path: what the processes share: the time from which the next turn is free.
        interval: in seconds; with 0 it is always one's turn.
    """

    def __init__(self, path: Path, interval: float) -> None:
        self._path = path
        self._ours = Lock()  # the processes' lock does not keep the threads of one apart
        self.interval = interval

    def turn(self) -> float:
        """The seconds until the turn that is ours from now on. Without locks two may get the same one."""
        if not self.interval:
            return 0.0
        with self._ours, closing(Locks(self._path)) as shared, shared.waiting(PATIENCE):
            now = time.time()
            if shared.descriptor is None:
                return self.interval
            turn = next_turn(now, _read(shared.descriptor), self.interval)
            try:
                os.pwrite(shared.descriptor, f"{turn + self.interval:.3f}\n".encode().ljust(24), 0)
            except OSError:  # a full disk is met by whoever writes what matters
                return self.interval
            return turn - now


def next_turn(now: float, free: float, interval: float) -> float:
    """When the next turn is, if turns are free from `free` on: pure. A time that no queue explains counts as passed."""
    return max(now, free) if free <= now + AHEAD * interval else now


def _read(shared: int) -> float:
    try:
        return float(os.pread(shared, 24, 0))
    except (OSError, ValueError):
        return 0.0
