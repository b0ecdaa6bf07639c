"""A blob being written: the one recipe by which bytes become a blob.

    ingest/<random>         the file being written, under a name that no other process uses
    blobs/sha256/<hex>      the blob, whole

The recipe: open a file with a random name, hash while writing, fsync, link under the digest without clobbering, fsync
the directory. `partials.py` finds the files that killed processes leave behind.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sys
from contextlib import suppress
from stat import S_IMODE, S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

from antscache import disk
from antscache.core import BytesRead, Descriptor, digest_from_hex, ignore_events
from antscache.disk import store_errors
from antscache.store.partials import READ_CHUNK_BYTES, files_in, remove

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from antscache.core import Layout, Listener

FLUSH_INTERVAL_BYTES = 4 << 20  # each time so many are written, the disk is told to begin
FLUSH_LAG_BYTES = 8 * FLUSH_INTERVAL_BYTES  # so many before, the disk has had time: what it has written leaves memory


CopyMethod = Literal["reflink", "hardlink", "copy"]  # how the bytes of a file became those of a blob


class IngestVanished(Exception):  # noqa: N818  a case for the caller to handle, by trying again
    """The file that was being written is gone: a process took it for stale, or somebody removed it by hand."""


class Frozen(NamedTuple):
    """The state of a file before it was made read-only for good, by which it can be made as it was.

    Attributes:
        before: its status then.
        frozen_mtime_ns: the modification time that freezing gave it.
    """

    before: os.stat_result
    frozen_mtime_ns: int

    @classmethod
    def freeze(cls, descriptor: int, before: os.stat_result, mode: int) -> Self:
        """Give an open file the read-only `mode`, and the modification time of now.

        With its old time it could be taken for stale, and as a blob it could be old enough to be garbage.

        Raises:
            OSError: you may not change it; it is as it was.
        """
        os.fchmod(descriptor, mode)
        os.utime(descriptor)
        return cls(before, os.fstat(descriptor).st_mtime_ns)

    def thaw(self, descriptor: int) -> None:
        """Give the open file its mode back, and its modification time unless somebody has written to it since."""
        with suppress(OSError):
            os.fchmod(descriptor, S_IMODE(self.before.st_mode))
            if os.fstat(descriptor).st_mtime_ns == self.frozen_mtime_ns:
                os.utime(descriptor, ns=(self.before.st_atime_ns, self.before.st_mtime_ns))


class Ingest:
    """A blob being written, to a file in `ingest/` whose name no other process uses.

    Close it, or use it as a context manager: closing removes the file unless it was published or kept.

    Attributes:
        path: the file.
        size: its bytes so far.

    Raises:
        StoreError: the disk refused.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.path = disk.temporary_path(layout.ingest)
        self.size = 0
        self._kept = False
        self._frozen: Frozen | None = None  # the state before of a file that is itself what is published
        self._flushed = 0  # bytes that the disk was told to write
        self._hash = hashlib.sha256()
        with store_errors(f"cannot write to {layout.ingest}"):
            self._file = disk.create(self.path, disk.READ_ONLY_MODE, shared=layout.shared)

    def write(self, chunk: bytes | memoryview) -> None:
        """Append `chunk`.

        Raises:
            StoreError: the disk refused.
        """
        self._hash.update(chunk)
        self.size += len(chunk)
        with store_errors(f"cannot write to {self._layout.ingest}"):
            disk.write_all(self._file, chunk)
        if self.size - self._flushed >= FLUSH_INTERVAL_BYTES:
            self._flush(self._flushed - FLUSH_LAG_BYTES)
            self._flushed = self.size

    def _flush(self, start: int) -> None:
        """Have the system begin writing the bytes from `start` on to the disk, and drop from memory those written.

        This leaves less to wait for in the end, and gigabytes that nobody reads yet displace nothing from the memory
        that other programs use. It is faster as well: the system reuses the memory that it has just dropped, and new
        memory is slow to get, most of all in a virtual machine (docs/benchmarks.md).
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._file, max(0, start), 0, os.POSIX_FADV_DONTNEED)

    def take(self, path: Path, *, move: bool, listen: Listener = ignore_events) -> CopyMethod:
        """Take the bytes of the file at `path`, as the first ones of this ingest.

        They are cloned where the filesystem can, else copied. With `move` the file itself is published if it can be:
        it becomes read-only and gets a second name. It keeps the name `path` until the caller removes that, so that
        there is always a whole copy. If it is not published after all, closing gives it its mode and its modification
        time back.

        Args:
            path: a file, or a link to one.
            move: whether the caller has no other use for the file.
            listen: hears how many bytes were read.

        Returns:
            The method; "hardlink" if the file itself will be published.

        Raises:
            StoreError: the disk refused.
            OSError: `path` is not a file or cannot be read; or with `move`, somebody has it open for writing.
        """
        source = disk.open_regular(path)
        try:
            if move and self._share(source, path):
                method: CopyMethod = "hardlink"
            elif move and _is_open_for_writing(source):
                raise OSError(errno.EBUSY, "somebody has it open for writing")
            elif self._clone(source):
                method = "reflink"
            else:
                while chunk := os.read(source, READ_CHUNK_BYTES):
                    self.write(chunk)
                    listen(BytesRead(len(chunk)))
                return "copy"
        finally:
            os.close(source)
        self._read(listen)
        return method

    def _clone(self, source: int) -> bool:
        """Clone the open file `source` into this one; False if the filesystem does not do that."""
        try:
            disk.clone(source, self._file)
        except OSError as error:
            if error.errno in disk.UNSUPPORTED_ERRNOS:
                return False
            with store_errors(f"cannot write to {self._layout.ingest}"):
                raise
        return True

    def _share(self, source: int, path: Path) -> bool:
        """Make the file at `path`, open as `source`, the one to publish, under a second name; False if it cannot be.

        A file that cannot be is as it was.
        """
        staged, like, before = disk.temporary_path(self._layout.ingest), os.fstat(self._file), os.fstat(source)
        frozen: Frozen | None = None
        try:
            os.link(path, staged, follow_symlinks=False)
            if self._is_like(like, staged.lstat(), before):
                frozen = Frozen.freeze(source, before, S_IMODE(like.st_mode))
                if not _is_open_for_writing(source):  # by somebody who opened it before its mode was changed
                    staged.replace(self.path)
                    self._frozen, empty, self._file = frozen, self._file, os.dup(source)
                    os.close(empty)
                    return True
        except OSError:  # the other methods are left
            pass
        if frozen:
            frozen.thaw(source)
        remove(staged)
        return False

    def _is_like(self, like: os.stat_result, there: os.stat_result, opened: os.stat_result) -> bool:
        """Return True if `there` is the file `opened`, has the owner and group of `like`, and one name elsewhere."""
        if not os.path.samestat(there, opened) or (there.st_uid, there.st_gid) != (like.st_uid, like.st_gid):
            return False
        here = 0  # names in ingest/: this one, and those that killed processes have left
        for path in files_in(self._layout):
            with suppress(OSError):
                here += os.path.samestat(path.lstat(), there)
        return there.st_nlink - here == 1

    def _read(self, listen: Listener) -> None:
        """Hash the bytes that a link or a clone has put here."""
        with store_errors(f"cannot read {self.path}"), disk.opened(self.path, follow=False) as file:
            while chunk := file.read(READ_CHUNK_BYTES):
                self._hash.update(chunk)
                self.size += len(chunk)
                listen(BytesRead(len(chunk)))

    @property
    def descriptor(self) -> Descriptor:
        """The digest and size of the bytes so far."""
        return Descriptor(digest_from_hex(self._hash.hexdigest()), self.size)

    def keep(self) -> None:
        """Leave the file in place when this is closed without being published."""
        self._kept = True

    def shorten(self, count: int) -> bool:
        """Give the last `count` bytes back to the disk. Write nothing more then.

        Returns:
            True if any bytes are left.
        """
        try:
            size = os.fstat(self._file).st_size - count
            os.ftruncate(self._file, max(0, size))
        except OSError:
            return False
        return size > 0

    def publish(self) -> Descriptor:
        """Publish the bytes as a blob, durable, under their digest.

        The caller has to check before that `descriptor` is the right one.

        Idempotent: success means "the content is here", not "this call put it here". A file that has the blob's name
        but not its size is no blob, and is replaced.

        Raises:
            StoreError: the disk refused; the store is unchanged.
            IngestVanished: the file is gone, and there is no such blob.
        """
        blob = self.descriptor
        path = self._layout.blob(blob.digest)
        with store_errors(f"cannot write to {self._layout.blobs}"):
            os.fsync(self._file)
            self._flush(0)
            try:
                if not disk.move_new(self.path, path) and not _is_whole(path, blob.size):
                    self.path.replace(path)
            except FileNotFoundError:
                if not _is_whole(path, blob.size):
                    raise IngestVanished from None
            disk.sync_directory(path.parent)
        self._kept = False
        return blob

    def close(self) -> None:
        """Close the file, and remove it unless it was published or kept.

        A file that was to be moved and is not the blob gets its mode and its modification time back.
        """
        if self._frozen and not _has_name(self._file, self._layout.blob(self.descriptor.digest)):
            self._frozen.thaw(self._file)
        os.close(self._file)
        if not self._kept:
            remove(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_open_for_writing(descriptor: int) -> bool:
    """Return True if somebody has the file open for writing; False if not, or if the system cannot tell.

    Linux refuses a read lease on a file that is open for writing (fcntl(2), F_SETLEASE). The lease is given back at
    once. A process that opens the file for writing meanwhile waits for that, and we are sent a signal. It is SIGURG,
    which does nothing by default, because SIGIO would end this process.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # a file of another user, or a filesystem without leases
        return False
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _has_name(descriptor: int, path: Path) -> bool:
    """Return True if the open file has the name `path`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _is_whole(path: Path, size: int) -> bool:
    """Return True if `path` is a file of `size` bytes. A link is none, wherever it leads."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISREG(status.st_mode) and status.st_size == size
