"""Small files that are whole or absent. All metadata is written through this module.

A file is written under a random name in a staging directory of the same filesystem, synced, and then renamed to its
final name (or linked, if an existing file must be kept). Names are random and never made from a pid, because containers
that share a mount may have equal pids.

Modes follow the umask, because the temporary file is created with the final mode. In a root that a group shares, modes
are independent of the umask:

    3775    a directory: new files inherit its group, and only the owner of a file or of the directory deletes the file
    0444    a file that is never written to again
    0664    a file that any member writes to: the index, files in the directory of locks, manifests that were read
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

import msgspec

from antscache.disk.hashing import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Staging

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
FIDEDUPERANGE = 0xC0189436  # linux/fs.h: _IOWR(0x94, 54, struct file_dedupe_range)
NO_RANGES = bytes(24)  # a struct file_dedupe_range that names no file to compare with
# Flags for opening a file below a root: if somebody has put a link or a pipe there, do not follow it or wait for it.
SAFE_OPEN_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

READ_ONLY_MODE = 0o444  # a file that is never written to again
WRITABLE_MODE = 0o666
SHARED_DIRECTORY_MODE = 0o3775
SHARED_FILE_MODE = 0o664  # a file that members write to
READ_SIZE_BYTES = 1 << 16  # read at a time; most metadata is smaller
MAX_METADATA_BYTES = 16 << 20  # of a file; a manifest of a release, the largest that antscache writes, has 63 kB

# The errors of decoding a damaged file. UnicodeDecodeError, and RecursionError for deep nesting, are no DecodeError.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

LINK_ERRNOS = frozenset({errno.ELOOP, errno.EMLINK})  # of open(2) that follows no link; FreeBSD says EMLINK

# The errors of link(2) on a filesystem without hard links (exFAT, some FUSE), or that refuses this one.
NO_HARD_LINK_ERRNOS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL})

# The errors that mean "this filesystem (or this pair of them) cannot do that": another way may still work.
UNSUPPORTED_ERRNOS = NO_HARD_LINK_ERRNOS | {errno.ENOTTY, errno.EBADF, errno.ETXTBSY}


def temporary_path(directory: Path) -> Path:
    """Return a random path in `directory` that no other process uses, now or later."""
    return directory / os.urandom(16).hex()


def create(path: Path, mode: int, *, shared: bool = False) -> int:
    """Create the file `path` with `mode` under the umask, and return a descriptor that writes to it.

    In a `shared` root the umask is ignored: the file gets those bits of `mode` that members need. The descriptor can be
    written to even if the mode is read-only.

    Raises:
        OSError: `path` exists, or the disk refused.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, mode)
    if shared:
        try:
            os.fchmod(descriptor, mode & SHARED_FILE_MODE)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def read(path: Path | str, *, follow: bool = False) -> bytes:
    """Return the content of the small file `path`, without waiting for a pipe.

    Args:
        path: of the file.
        follow: True if `path` may be a link: where no other user has a say, as in an installed package.

    Raises:
        DecodeError: `path` is a link, or not a regular file, or has more than MAX_METADATA_BYTES.
        OSError: the disk refused.
    """
    try:
        descriptor = open_regular(path, follow=follow)
    except OSError as error:
        if error.errno in LINK_ERRNOS:
            raise msgspec.DecodeError("a link, and antscache follows no links here") from None
        if error.errno == errno.EINVAL:
            raise msgspec.DecodeError("not a file") from None
        raise
    try:  # without a file object: that would cost five more calls of the system for each of hundreds of records
        chunks, size = [], 0
        while chunk := os.read(descriptor, READ_SIZE_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_METADATA_BYTES:
                raise msgspec.DecodeError(f"larger than {MAX_METADATA_BYTES} bytes")
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of `content` to the open file `descriptor`.

    Raises:
        OSError: the disk refused; some of it may be written.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace(path: Path, content: bytes, staging: Staging, *, mode: int = WRITABLE_MODE) -> None:
    """Replace the content of the file `path` by `content`; a reader sees all of the old or all of the new content.

    In a shared root another member's file cannot be replaced, because only owners delete there. If members may write to
    it, it is overwritten in place, and a reader may see a mixture: use this only for files that can be made again.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    with _staged(content, staging, mode) as staged:
        try:
            staged.replace(path)
        except PermissionError:
            if not staging.shared or mode == READ_ONLY_MODE:
                raise
            _overwrite(path, content)
    sync_directory(path.parent)


def _overwrite(path: Path, content: bytes) -> None:
    """Overwrite the file at `path` in place with `content`, without following a link.

    Raises:
        OSError: `path` is no regular file with one name, or the disk refused.
    """
    descriptor = open_in_place(path)
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_in_place(path: Path) -> int:
    """Open the regular file at `path` for reading and writing, unless it is a link or has a second name.

    Raises:
        OSError: `path` is no regular file with one name, or the disk refused.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | SAFE_OPEN_FLAGS)
    except OSError as error:
        if error.errno in {*LINK_ERRNOS, errno.EISDIR}:
            raise OSError(errno.EPERM, f"{path.name} is not a file", str(path)) from None
        raise
    status = os.fstat(descriptor)
    problem = "" if S_ISREG(status.st_mode) else "is not a file"
    if not problem and status.st_nlink != 1:  # somebody's own file under a second name
        problem = "has a second name"
    if problem:
        os.close(descriptor)
        raise OSError(errno.EPERM, f"{path.name} {problem}", str(path))
    return descriptor


def publish(path: Path, content: bytes, staging: Staging, *, mode: int = READ_ONLY_MODE) -> bool:
    """Write `content` to the new file `path`; keep the file that is there already, if any.

    Returns:
        True if this call wrote the file, False if there was one.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    with _staged(content, staging, mode) as staged:
        published = move_new(staged, path)
    sync_directory(path.parent)
    return published


def move_new(staged: Path, path: Path) -> bool:
    """Give `staged` its final name `path`, unless `path` exists; return True if this call did it.

    On a filesystem without hard links the check and the rename are two steps, so of two writers at once the last one
    wins. Two writers of a blob or a selection write the same bytes, because its name is made from its content. Of two
    records for one identifier, the last one counts.
    """
    try:
        os.link(staged, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINK_ERRNOS:
            raise
        if path.exists():
            return False
        staged.rename(path)
    return True


def filesystem_time(directory: Path) -> float:
    """Return the time that files in `directory` get now, in seconds since 1970.

    A file server gives them its own, which may differ from this host's. Where no file can be made, return this host's.
    """
    path = temporary_path(directory)
    try:
        os.close(create(path, READ_ONLY_MODE))
        return path.lstat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            path.unlink()


def date_anew(path: Path) -> None:
    """Give `path` the time of now, if you may. A link stays as it leads."""
    with suppress(OSError):
        os.utime(path, follow_symlinks=False)


def can_rename(source: Path, target: Path) -> bool:
    """Return False if no file of the directory `source` can be renamed to the directory `target`. Nothing is written.

    Then they are on different filesystems, or under different mounts: Linux refuses such a rename before it looks for
    the file, so that it may be one that is not there.

    Raises:
        OSError: one of them cannot be read.
    """
    if source.stat().st_dev != target.stat().st_dev:
        return False
    try:
        temporary_path(source).rename(temporary_path(target))
    except OSError as error:
        return error.errno != errno.EXDEV
    return True


def clone(source: int, target: int) -> None:
    """Give the empty open file `target` the bytes of the open file `source`; both share the space on the disk.

    Raises:
        OSError: this filesystem cannot clone.
    """
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "no reflinks on this platform")
    import fcntl

    fcntl.ioctl(target, FICLONE, source)


def may_clone(path: Path) -> bool:
    """Return False if the filesystem of the file `path` certainly has no reflinks. Nothing is written.

    Linux refuses to look for equal bytes, here in no file at all, where files cannot share them. An overlay, and an XFS
    that was made without reflinks, do not refuse.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        descriptor = open_regular(path, follow=False)
    except OSError:
        return True
    try:
        fcntl.ioctl(descriptor, FIDEDUPERANGE, NO_RANGES)
    except OSError as error:
        return error.errno not in UNSUPPORTED_ERRNOS
    finally:
        os.close(descriptor)
    return True


def make_directory(directory: Path, shared: Path | None = None) -> None:
    """Make `directory` and its parents, so that they survive a power cut.

    Args:
        directory: the directory to make; it may exist.
        shared: the root above it, if a group shares that root. Then no directory on the way may be a link, and those
            that belong to this user get the mode that members need.

    Raises:
        OSError: the disk refused, or the name belongs to a file.
    """
    if shared is not None:
        for step in _between(shared, directory):
            _make_shared(step)
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


def _make_shared(directory: Path) -> None:
    """Make `directory`, whose parent exists, with the mode that members need; give yours that mode if it exists.

    Raises:
        OSError: the disk refused, or the name belongs to a link or a file.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        status = directory.lstat()
        if not S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None
        has_mode = S_IMODE(status.st_mode) == SHARED_DIRECTORY_MODE
        if status.st_uid == os.geteuid() and not has_mode:  # a process was killed between mkdir and chmod
            directory.chmod(SHARED_DIRECTORY_MODE)
    else:
        directory.chmod(SHARED_DIRECTORY_MODE)
        sync_directory(directory.parent)


def _between(root: Path, directory: Path) -> list[Path]:
    """Return the directories from below `root` down to `directory`."""
    return [*reversed([parent for parent in directory.parents if root in parent.parents]), directory]


def refuse_links(directory: Path, root: Path) -> None:
    """Check that no directory from below `root` down to `directory` is a link; they need not exist.

    Raises:
        NotADirectoryError: one is a link.
    """
    for step in _between(root, directory):
        with suppress(FileNotFoundError):
            if S_ISLNK(step.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a link, and antscache follows no links here", str(step))


def sync_directory(directory: Path) -> None:
    """Make the renames into `directory` survive a power cut, as far as the filesystem can promise that."""
    with suppress(PermissionError):  # a directory with permission to write but not to read
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a filesystem that cannot sync directories
                raise
        finally:
            os.close(descriptor)


class _staged:  # noqa: N801  a context manager, read as a word
    """A synced temporary file with `content`; at the end it is deleted, unless it was renamed."""

    def __init__(self, content: bytes, staging: Staging, mode: int) -> None:
        self._content, self._path, self._mode = content, temporary_path(staging.directory), mode
        self._shared = staging.shared

    def __enter__(self) -> Path:
        descriptor = create(self._path, self._mode, shared=self._shared)
        try:
            write_all(descriptor, self._content)
            os.fsync(descriptor)
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(descriptor)
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
