"""Locks by name, held by one process at a time: filelock's, on the files of one directory.

    <directory>/<name>.lock    locked by flock(2) while somebody holds `name`; left in place afterwards

They save bandwidth and time, and are never what makes bytes right: a filesystem may say yes to everybody, and where
locks do not work everybody is told yes here too. A lock ends with the process that holds it, however that ends. Its
file stays, because removing the file of a lock that others wait for would let two of them hold it.

To import filelock takes a third of what a command that has nothing to fetch takes: this module is imported where
something is fetched, and by the doctor.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager, suppress
from functools import partial
from stat import S_ISREG
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from antscache.disk.files import SHARED_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_SECONDS = 0.01  # between two tries of one who waits


class Locks:
    """The locks of one directory. Thread-safe, and threads of one process keep each other out as well.

    Args:
        directory: where the lock files are. It is never made: where it is missing, there are no locks.
        shared: whether a group shares it. Lock files then have the mode that members need, else the umask's.

    Attributes:
        refusal: why locks do not work here, as far as that was met; empty while they do.
    """

    def __init__(self, directory: Path, *, shared: bool) -> None:
        self.refusal = ""
        self._directory = directory
        self._make = partial(FileLock, fallback_to_soft=False, poll_interval=POLL_SECONDS)
        if shared:
            self._make = partial(self._make, mode=SHARED_FILE)

    @contextmanager
    def attempt(self, name: str, seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock `name` until this ends, or yield False because somebody else does.

        Where locks do not work this yields True, and `refusal` says why. No error of the disk is raised.

        Args:
            name: a safe path component.
            seconds: how long to wait for whoever holds it; by default not at all.
        """
        path = self._directory / f"{name}.lock"
        lock = self._make(path)
        try:
            _refuse_traps(path)
            lock.acquire(timeout=seconds)
            held = True
        except Timeout:
            held = False
        except OSError as error:
            self.refusal = self.refusal or error.strerror or str(error)
            held = True
        try:
            yield held
        finally:
            with suppress(OSError):  # it ends with the process
                lock.release()


def _refuse_traps(path: Path) -> None:
    """Check that filelock can open `path` or make it, and nothing else.

    It follows no link of its own accord. It would lock a pipe, though, and a file that has a second name elsewhere
    (4.1, the last one for Python 3.10, empties that as well); and it would make the directory.

    Raises:
        OSError: `path` is no file of its own, or its directory is missing.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        path.parent.stat()
        return
    if not S_ISREG(status.st_mode):
        raise OSError(errno.EPERM, f"{path.name} is not a file", str(path))
    if status.st_nlink > 1:
        raise OSError(errno.EPERM, f"{path.name} has a second name", str(path))
