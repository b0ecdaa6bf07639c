"""Who is at what: advisory locks, held by one process at a time.

They save bandwidth and time, and are never what makes bytes right: a filesystem may say yes to everybody, and one that
cannot lock at all says yes here too.

    locks/identifiers    a byte for each identifier: whoever has locked it is fetching it
    locks/pace           when the next start at a paced origin is free

One file for all identifiers, because to make a file for each and to remove it costs more than the rest of a small
fetch: ext4 looks long for an inode that was not deleted in the last minute. Locks of bytes are fcntl's, which NFS has
too; they end with the process that holds them, however it ends. In a root that a group shares both files are made with
it, so that every member may lock them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from antscache.disk import files
from antscache.disk.users import process_name

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
TICK = 0.01  # seconds between two tries of one who waits
PLACES = 1 << 62  # what a byte's position in a file can be
FLOCK = "hhqqi4x"  # fcntl(2): type, whence, start, length, pid; of 64-bit Linux


class Locks:
    """Locks on numbers, in one file. Close it, which gives all of them up.

    A file that cannot be made has no locks, and says yes; so does one that has a second name, which may be anywhere.

    Attributes:
        refusal: why locks do not work here; empty where they do.
    """

    def __init__(self, path: Path) -> None:
        self.refusal = ""
        self.descriptor: int | None = None
        try:
            self.descriptor = _opened(path)
            self.refusal = refusal(self.descriptor)
        except OSError as error:
            self.refusal = error.strerror or str(error)

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

    def holder(self, number: int) -> str:
        """Who has the lock on `number`: a process of this host; empty where nobody has, or that cannot be told."""
        if self.descriptor is None or sys.platform != "linux" or struct.calcsize("l") != struct.calcsize("q"):
            return ""
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number % PLACES, 1, 0)
        with suppress(OSError):  # no locks, or a process that has ended
            kind, *_, pid = struct.unpack(FLOCK, fcntl.fcntl(self.descriptor, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK and pid > 0:  # that of another host or container is not one of ours
                return process_name(pid, Path(f"/proc/{pid}").stat().st_uid)
        return ""


def acquire(descriptor: int, place: int) -> bool:
    """Lock a byte of an open file, unless another process has; where locks do not work, everybody has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        return error.errno not in HELD
    return True


def refusal(descriptor: int) -> str:
    """Why bytes of an open file cannot be locked; empty where they can be. Filesystems that lie are not found out."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, PLACES)  # a byte that no number has
    except OSError as error:
        return "" if error.errno in HELD else error.strerror or str(error)
    release(descriptor, PLACES)
    return ""


def _opened(path: Path) -> int:
    """The file at `path`, made if it is not there; no other name leads to it.

    Made only then, because Linux (fs.protected_regular) does not let one ask for another member's file with O_CREAT
    in a directory with the sticky bit.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | files.UNTRAPPED)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | files.UNTRAPPED, 0o666)
    status = os.fstat(descriptor)
    if S_ISREG(status.st_mode) and status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "it has another name")
    return descriptor


def release(descriptor: int, place: int) -> None:
    """Unlock a byte of an open file, where locks work."""
    with suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
