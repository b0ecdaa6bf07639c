"""Locks by name, each held by one process at a time: filelock's locks on the files of one directory.

    <directory>/<name>.lock    locked by flock(2) while a process holds `name`; left in place afterwards

Locks save bandwidth and time; no bytes depend on them. A filesystem may give a lock to everybody, and if locks do not
work at all, this module gives every lock to everybody too. A lock ends with the process that holds it, however that
process ends. Its file stays: if it were removed while others wait for the lock, two of them could hold it.

The import of filelock takes a third of the time of a command that has nothing to fetch, so only a fetch and the doctor
import this module.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager, suppress
from functools import partial
from stat import S_ISREG
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from antscache.disk.files import SHARED_FILE_MODE

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
        self._make = partial(FileLock, fallback_to_soft=False, poll_interval=LOCK_POLL_SECONDS)
        if shared:
            self._make = partial(self._make, mode=SHARED_FILE_MODE)

    @contextmanager
    def attempt(self, name: str, seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock `name` until the block ends and yield True, or yield False because somebody else holds it.

        If locks do not work, this yields True and `refusal` has the reason. It raises no error of the disk.

        Args:
            name: a safe path component.
            seconds: to wait for the lock; 0 means one attempt.
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
            with suppress(OSError):  # the lock ends with the process
                lock.release()


def _refuse_traps(path: Path) -> None:
    """Check that `path` is a regular file with one name, or absent in a directory that exists.

    filelock itself follows no link. But it would lock a pipe, and a file that has a second name elsewhere (4.1, the
    last version for Python 3.10, empties such a file as well), and it would make a missing directory.

    Raises:
        OSError: `path` is something else, or its directory is missing.
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
