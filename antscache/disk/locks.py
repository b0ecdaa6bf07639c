"""Locks by name, each held by one process at a time, on the files of one directory.

    <directory>/<name>.lock    locked while a process holds `name`; left in place afterwards

This module opens the file, and filelock locks it, by flock(2): filelock's own `FileLock` would make a missing
directory, lock a pipe and a file that has a second name elsewhere, and cost a first prefetch 5 % of its time.

Locks save bandwidth and time; no bytes depend on them. A filesystem may give a lock to everybody, and if locks do not
work at all, this module gives every lock to everybody too. A lock ends with the process that holds it, however that
process ends. Its file stays: if it were removed while others wait for the lock, two of them could hold it.

The import of filelock takes a tenth of the time of a command that has nothing to fetch, so only a fetch and the doctor
import this module.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import lock_descriptor, unlock_descriptor

from antscache.disk.files import WRITABLE_MODE, create, open_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_POLL_SECONDS = 0.01  # between two attempts of a waiting thread


class Locks:
    """The locks of one directory. Thread-safe: threads of one process exclude each other, as processes do.

    Args:
        directory: of the lock files. It is never made; without it, locks do not work.
        shared: True if a group shares the directory. Lock files then have the mode that members need, else the umask's.

    Attributes:
        refusal: the first reason that this object has met why locks do not work; empty while they do.
    """

    def __init__(self, directory: Path, *, shared: bool) -> None:
        self.refusal = ""
        self._directory = directory
        self._shared = shared

    @contextmanager
    def attempt(self, name: str, seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock `name` until the block ends and yield True, or yield False because somebody else holds it.

        If locks do not work, this yields True and `refusal` has the reason. It raises no error of the disk.

        Args:
            name: a safe path component.
            seconds: to wait for the lock; 0 means one attempt.
        """
        descriptor = None
        try:
            descriptor = self._open(name)
            held = locked = _lock(descriptor, seconds)
        except OSError as error:
            self.refusal = self.refusal or error.strerror or str(error)
            held, locked = True, False
        try:
            yield held
        finally:
            if descriptor is not None:
                with suppress(OSError):  # closing unlocks as well, unless a forked process has the descriptor too
                    if locked:
                        unlock_descriptor(descriptor)
                os.close(descriptor)

    def _open(self, name: str) -> int:
        """Open the file of the lock `name`; make it if it is not there.

        Raises:
            OSError: it is no regular file with one name, or its directory is missing, or the disk refused.
        """
        path = self._directory / f"{name}.lock"
        try:
            return create(path, WRITABLE_MODE, shared=self._shared)
        except FileExistsError:
            return open_in_place(path)


def _lock(descriptor: int, seconds: float) -> bool:
    """Lock the open file, and return True; False if somebody else holds it for `seconds` from now.

    Raises:
        OSError: locks do not work.
    """
    deadline = time.monotonic() + seconds
    while not lock_descriptor(descriptor, blocking=False):
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOCK_POLL_SECONDS)
    return True
