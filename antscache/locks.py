"""Who is at what: advisory locks, held by one process at a time.

They save bandwidth and time, and are never what makes bytes right: a filesystem may say yes to everybody, and one that
cannot lock at all says yes here too.

    locks/identifiers    a byte for each identifier: whoever has locked it is fetching it
    locks/pace           when the next start at a paced origin is free

One file for all identifiers, because to make a file for each and to remove it costs more than the rest of a small
fetch: ext4 looks long for an inode that was not deleted in the last minute. Locks of bytes are fcntl's, which NFS has
too; they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
TICK = 0.01  # seconds between two tries of one who waits
PLACES = 1 << 62  # what a byte's position in a file can be


class Locks:
    """Locks on numbers, in one file. Close it, which gives all of them up.

    A file that cannot be made has no locks, and says yes.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            self.descriptor: int | None = os.open(path, flags, 0o666)
        except OSError:
            self.descriptor = None

    def close(self) -> None:
        """Hold nothing any more."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    @contextmanager
    def attempt(self, number: int) -> Iterator[bool]:
        """Whether no other process holds `number`; if so, none does until this ends, where locks work."""
        held = self.descriptor is None or acquire(self.descriptor, number % PLACES)
        try:
            yield held
        finally:
            if held and self.descriptor is not None:
                release(self.descriptor, number % PLACES)

    @contextmanager
    def waiting(self, patience: float) -> Iterator[None]:
        """The lock on the whole file, waited for up to `patience` seconds; then without it."""
        deadline = time.monotonic() + patience
        while self.descriptor is not None and not acquire(self.descriptor, 0) and time.monotonic() < deadline:
            time.sleep(TICK)
        try:
            yield
        finally:
            if self.descriptor is not None:
                release(self.descriptor, 0)


def acquire(descriptor: int, place: int) -> bool:
    """Lock a byte of an open file, unless another process has; where locks do not work, everybody has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        return error.errno not in HELD
    return True


def release(descriptor: int, place: int) -> None:
    """Unlock a byte of an open file, where locks work."""
    with suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
