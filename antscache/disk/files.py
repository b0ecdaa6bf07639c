"""Small files that are whole or not there: the only way metadata gets onto the disk.

A file is written under a random name in a staging directory of the same filesystem, synced, and then renamed (or
linked, where nothing may be replaced) to where readers look. Names are random, never made from a pid: containers that
share a mount share pids too.

Modes follow the umask, because the temporary file is created with the final mode. In a root that a group shares they
are what they have to be for the group instead, whatever the umask:

    3775    a directory: its group is inherited, and only owners delete (and the directory's own)
    2775    the directory of locks: the same without the sticky bit, with which filelock refuses the files of others
    0444    what is never written to again
    0664    what any member writes to: the index, what is in the directory of locks, manifests that were read
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG, S_ISVTX
from typing import TYPE_CHECKING

import msgspec

from antscache.disk.hashing import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Staging

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
# How a file below a root is opened: what somebody may have put in its place is neither followed nor waited for.
UNTRAPPED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

READ_ONLY = 0o444  # a file that is never written to again
WRITABLE = 0o666
SHARED_DIRECTORY = 0o3775
SHARED_LOCKS = SHARED_DIRECTORY & ~S_ISVTX  # of the directory of locks
SHARED_FILE = 0o664  # of those that members write to

# What decoding the content of a damaged file may raise; UnicodeDecodeError and absurd nesting are no DecodeError.
DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# What link(2) says where a filesystem has no hard links (exFAT, some FUSE) or refuses this one.
NO_HARD_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL})

# What says "this filesystem (or this pair of them) does not do that", and is no reason to stop trying other ways.
UNSUPPORTED = NO_HARD_LINK | {errno.ENOTTY, errno.EBADF, errno.ETXTBSY}


def temporary(directory: Path) -> Path:
    """A path in `directory` that nobody else uses or will use."""
    return directory / os.urandom(16).hex()


def create(path: Path, mode: int, *, shared: bool = False) -> int:
    """A descriptor that writes to the new file `path`, whose final mode is `mode` under the umask.

    In a `shared` root the mode is what members need, whatever the umask. The descriptor can be written to even where
    the mode is read-only.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | UNTRAPPED, mode)
    if shared:
        try:
            os.fchmod(descriptor, mode & SHARED_FILE)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def read(path: Path | str) -> bytes:
    """Return the content of the file `path`. No link is followed, and no pipe waited for.

    Raises:
        DecodeError: it is no file of its own.
        OSError: the disk refused.
    """
    try:
        descriptor = open_regular(path, follow=False)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK}:  # FreeBSD says EMLINK
            raise msgspec.DecodeError("a link, and none is followed here") from None
        if error.errno == errno.EINVAL:
            raise msgspec.DecodeError("not a file") from None
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return file.readall()


def replace(path: Path, content: bytes, staging: Staging, *, mode: int = WRITABLE) -> None:
    """`path` holds `content`; a reader sees the old or the new content, whole.

    Another member's file in a shared root cannot be replaced, because only owners delete there. If members may write to
    it, it is written to in place, and a reader may see some of both: this is for what can be made again.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    with _staged(content, staging, mode) as staged:
        try:
            staged.replace(path)
        except PermissionError:
            if not staging.shared or mode == READ_ONLY:
                raise
            _overwrite(path, content)
    sync_directory(path.parent)


def _overwrite(path: Path, content: bytes) -> None:
    """The file at `path` has `content`, and is the same file: never what a link leads to.

    Raises:
        OSError: it is no such file, or the disk refused.
    """
    descriptor = open_in_place(path)
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_in_place(path: Path) -> int:
    """Open the file at `path` for reading and writing: never what a link leads to, nor what has a second name.

    Raises:
        OSError: it is no such file, or the disk refused.
    """
    descriptor = os.open(path, os.O_RDWR | UNTRAPPED)
    status = os.fstat(descriptor)
    if not S_ISREG(status.st_mode) or status.st_nlink != 1:  # somebody's own file under a second name
        os.close(descriptor)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(path))
    return descriptor


def publish(path: Path, content: bytes, staging: Staging, *, mode: int = READ_ONLY) -> bool:
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

    Where hard links are missing the check and the rename are two steps. Two writers of a blob or a selection then write
    the same bytes, because names are made from content; of two of a record at once, the last one counts.
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


def make_directory(directory: Path, shared: Path | None = None, *, mode: int = SHARED_DIRECTORY) -> None:
    """`directory` exists, and what had to be made for it is still there after a power cut.

    Args:
        directory: the one to make.
        shared: the root above it, if a group shares that: no directory on the way is a link, and those that are ours
            have the mode that members need.
        mode: what that is for `directory` itself.

    Raises:
        OSError: the disk refused, or something else has the name.
    """
    if shared is not None:
        for each in _between(shared, directory):
            _make_shared(each, mode if each == directory else SHARED_DIRECTORY)
        return
    try:
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise
    except FileNotFoundError:
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)  # not from the start: below /proc it is never there
        sync_directory(directory.parent)
    else:
        sync_directory(directory.parent)


def _make_shared(directory: Path, mode: int) -> None:
    """`directory`, in one that exists, exists and is no link; if it is ours, members may write to it.

    One that has the mode of any shared directory keeps it, as the directory of locks of an older root.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        status = directory.lstat()
        if not S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None
        is_right = S_IMODE(status.st_mode) in {SHARED_DIRECTORY, mode}
        if status.st_uid == os.geteuid() and not is_right:  # we were killed just here
            directory.chmod(mode)
    else:
        directory.chmod(mode)
        sync_directory(directory.parent)


def _between(root: Path, directory: Path) -> list[Path]:
    """The directories from below `root` down to `directory`."""
    return [*reversed([each for each in directory.parents if root in each.parents]), directory]


def refuse_links(directory: Path, root: Path) -> None:
    """No directory from below `root` down to `directory` is a link, as far as they exist.

    Raises:
        NotADirectoryError: one is.
    """
    for each in _between(root, directory):
        with suppress(FileNotFoundError):
            if S_ISLNK(each.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a link, and none is followed here", str(each))


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


class _staged:  # noqa: N801  a context manager, read as a word
    """A synced temporary file with `content`, gone afterwards unless it was renamed."""

    def __init__(self, content: bytes, staging: Staging, mode: int) -> None:
        self._content, self._path, self._mode = content, temporary(staging.directory), mode
        self._shared = staging.shared

    def __enter__(self) -> Path:
        descriptor = create(self._path, self._mode, shared=self._shared)
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
