"""Small files that are whole or not there: the only way metadata gets onto the disk.

A file is written under a random name in a staging directory of the same filesystem, synced, and then renamed (or
linked, where nothing may be replaced) to where readers look. Names are random, never made from a pid: containers that
share a mount share pids too. Modes follow the umask, because the temporary file is created with the final mode.

What a disk says when it refuses becomes a StoreError here, with what to do about it.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
READ_ONLY = 0o444  # a file that is never written to again

# What decoding the content of a damaged file may raise; UnicodeDecodeError and absurd nesting are no DecodeError.
DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# What link(2) says where a filesystem has no hard links (exFAT, some FUSE) or refuses this one.
NO_HARD_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL})

# What says "this filesystem (or this pair of them) does not do that", and is no reason to stop trying other ways.
UNSUPPORTED = NO_HARD_LINK | {errno.ENOTTY, errno.EBADF, errno.ETXTBSY}


def temporary(directory: Path) -> Path:
    """A path in `directory` that nobody else uses or will use."""
    return directory / os.urandom(16).hex()


def create(path: Path, mode: int) -> int:
    """A descriptor that writes to the new file `path`, whose final mode is `mode` under the umask.

    The descriptor can be written to even where the mode is read-only.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags, mode)


def replace(path: Path, content: bytes, staging: Path) -> None:
    """`path` holds `content`; a reader sees the old or the new content, whole.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    with _staged(content, staging, 0o666) as staged:
        staged.replace(path)
    sync_directory(path.parent)


def publish(path: Path, content: bytes, staging: Path, *, mode: int = READ_ONLY) -> bool:
    """`path` holds `content` if it was not there before; what was there is kept.

    Returns:
        Whether this call put it there.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    with _staged(content, staging, mode) as staged:
        published = move_new(staged, path)
    sync_directory(path.parent)
    return published


def move_new(staged: Path, path: Path) -> bool:
    """Give `staged` its final name `path`, never clobbering; True if this call did, False if `path` was there.

    Where hard links are missing the check and the rename are two steps; two writers of one name then write the same
    bytes, because names are made from content.
    """
    try:
        os.link(staged, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
        if path.exists():
            return False
        staged.rename(path)
    return True


def clone(source: int, target: int) -> None:
    """The open file `target`, which is empty, has the bytes of `source`; on the disk they share them while they can.

    Raises:
        OSError: this filesystem does not do that.
    """
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "no reflinks on this platform")
    import fcntl

    fcntl.ioctl(target, FICLONE, source)


def make_directory(directory: Path) -> None:
    """`directory` exists, and what had to be made for it is still there after a power cut.

    Raises:
        OSError: the disk refused, or something else has the name.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise
    except FileNotFoundError:
        make_directory(directory.parent)
        make_directory(directory)
    else:
        sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """What was renamed into `directory` is still there after a power cut, as far as the filesystem can promise."""
    with suppress(PermissionError):  # a directory one may write to but not read
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a filesystem that cannot sync directories
                raise
        finally:
            os.close(descriptor)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Where the disk refuses, `what` could not be done. Wraps calls that touch the disk and nothing else."""
    try:
        yield
    except OSError as error:
        raise _store_error(what, error) from error


def _store_error(what: str, error: OSError) -> StoreError:
    hints: dict[Any, str] = {
        errno.ENOSPC: "the disk is full: free some space, or name another root with --root; then run the command again",
        errno.EDQUOT: "your quota is used up: free some space, or name another root with --root",
        errno.EROFS: "the root is on a read-only filesystem: name another with --root or ANTSCACHE_DIR",
        errno.EACCES: "you have no permission: ask its owner, or name another root with --root or ANTSCACHE_DIR",
        errno.EPERM: "you have no permission: ask its owner, or name another root with --root or ANTSCACHE_DIR",
        errno.ENOTDIR: "name a directory with --root or ANTSCACHE_DIR",
        errno.EEXIST: "name a directory with --root or ANTSCACHE_DIR",
    }
    hint = hints.get(error.errno, "check the disk, or name another root with --root or ANTSCACHE_DIR")
    return StoreError(f"{what}: {error.strerror or error}", hint=hint)


class _staged:  # noqa: N801  a context manager, read as a word
    """A synced temporary file with `content`, gone afterwards unless it was renamed."""

    def __init__(self, content: bytes, staging: Path, mode: int) -> None:
        self._content, self._path, self._mode = content, temporary(staging), mode

    def __enter__(self) -> Path:
        descriptor = create(self._path, self._mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self.__exit__()
            raise
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
