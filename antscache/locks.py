"""Who is at what: advisory locks on files in `locks/`, held by one process at a time.

They save bandwidth and time, and are never what makes bytes right: a filesystem may say yes to everybody, and one that
cannot lock at all says yes here too.

    locks/figshare-<id>    somebody is fetching this identifier
    locks/pace             when the next start at a paced origin is free
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


@contextmanager
def attempt(path: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock at `path`; nobody does then until this ends, where locks work.

    The file is there only while it is held. A directory that cannot be written to has no locks, and says yes.
    """
    descriptor = _open(path)
    if descriptor is None:
        yield True
        return
    held = False
    try:
        held = acquire(descriptor) and _is_still(path, descriptor)
        yield held
    finally:
        if held:
            with suppress(OSError):
                path.unlink()
        os.close(descriptor)


@contextmanager
def waiting(path: Path, patience: float) -> Iterator[int | None]:
    """The lock at `path`, waited for up to `patience` seconds; then without it. Yields a descriptor of its file.

    The file stays, for what the holders write into it. None where there can be none.
    """
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + patience
        while descriptor is not None and not acquire(descriptor) and time.monotonic() < deadline:
            time.sleep(TICK)
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def acquire(descriptor: int) -> bool:
    """Lock an open file, if nobody else has; where locks do not work, everybody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD
    return True


def _open(path: Path) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, 0o666)
    except OSError:
        return None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked still has the name; its holder before may have removed it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
