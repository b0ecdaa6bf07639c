"""A blob being written: the one recipe by which bytes become a blob.

    ingest/<random>         written by one process, under a name that no other process uses
    blobs/sha256/<hex>      where it ends, whole

A random name -> hashed while written -> fsync -> linked under its digest without clobbering -> fsync of the directory.
`partials.py` finds what a process that was killed leaves behind.
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
from antscache.store.partials import CHUNK, files_in, remove

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from antscache.core import Layout, Listener

FLUSH = 4 << 20  # bytes after which the disk is told to begin writing
BEHIND = 8 * FLUSH  # bytes before them of which the disk may have written the rest meanwhile


CopyMethod = Literal["reflink", "hardlink", "copy"]  # by which the bytes of a file became those of a blob


class IngestVanished(Exception):  # noqa: N818  told to the one who can try again
    """The file that was being written is gone: somebody took it for abandoned, or removed it by hand."""


class Frozen(NamedTuple):
    """What was done to a file so that nobody writes to it any more: how it was, and the time of change it got."""

    before: os.stat_result
    marked: int

    @classmethod
    def away(cls, descriptor: int, before: os.stat_result, mode: int) -> Self:
        """The file is read-only, and was changed now: by its age it would be nobody's, and garbage.

        Raises:
            OSError: it is not ours to change; it is as it was.
        """
        os.fchmod(descriptor, mode)
        os.utime(descriptor)
        return cls(before, os.fstat(descriptor).st_mtime_ns)

    def back(self, descriptor: int) -> None:
        """The file has its mode again, and its time of change unless somebody wrote to it since."""
        with suppress(OSError):
            os.fchmod(descriptor, S_IMODE(self.before.st_mode))
            if os.fstat(descriptor).st_mtime_ns == self.marked:
                os.utime(descriptor, ns=(self.before.st_atime_ns, self.before.st_mtime_ns))


class Ingest:
    """A blob being written, under a name in `ingest/` that is nobody else's.

    Close it, or use it as a context manager: what is neither published nor kept then is gone.

    Attributes:
        path: where the bytes are while they are written.
        size: how many there are.

    Raises:
        StoreError: the disk refused.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.path = disk.temporary(layout.ingest)
        self.size = 0
        self._kept = False
        self._given: Frozen | None = None  # what was done to a file that is shared
        self._flushing = 0  # bytes that the disk was told to write
        self._hash = hashlib.sha256()
        with store_errors(f"cannot write to {layout.ingest}"):
            self._file = disk.create(self.path, disk.READ_ONLY, shared=layout.shared)

    def write(self, chunk: bytes | memoryview) -> None:
        """`chunk` comes next.

        Raises:
            StoreError: the disk refused.
        """
        self._hash.update(chunk)
        self.size += len(chunk)
        rest = memoryview(chunk)
        with store_errors(f"cannot write to {self._layout.ingest}"):
            while rest:
                rest = rest[os.write(self._file, rest) :]
        if self.size - self._flushing >= FLUSH:
            self._forget(self._flushing - BEHIND)
            self._flushing = self.size

    def _forget(self, start: int) -> None:
        """Of what was written from `start` on, the disk begins with the rest, and the system forgets what it has.

        So there is less to wait for in the end, and gigabytes of files that nobody reads yet displace nothing from the
        memory of those who work. It is faster as well: memory that was just used is at hand, unlike memory that never
        was, most of all in a virtual machine (docs/benchmarks.md).
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._file, max(0, start), 0, os.POSIX_FADV_DONTNEED)

    def take(self, path: Path, *, move: bool, listen: Listener = ignore_events) -> CopyMethod:
        """The bytes of the file at `path` come next, and nothing else came before.

        Shared with it where the filesystem makes clones, else copied. With `move`, whoever asks has no other use for
        the file: if it can be, it is itself what is published, and nobody may write to it any more. It keeps its name
        until the caller removes that, so that at no time there is less than one whole copy. If it is not published
        after all, it has its mode and its time of change again once this is closed.

        Args:
            path: of a file, or of a link to one.
            move: see above.
            listen: hears how many bytes were read.

        Raises:
            StoreError: the disk refused.
            OSError: what is at `path` cannot be read, or is no file; or it is to be moved and open for writing.
        """
        source = disk.open_regular(path)
        try:
            if move and self._share(source, path):
                way: CopyMethod = "hardlink"
            elif move and _is_written(source):
                raise OSError(errno.EBUSY, "somebody has it open to write to it")
            elif self._clone(source):
                way = "reflink"
            else:
                while chunk := os.read(source, CHUNK):
                    self.write(chunk)
                    listen(BytesRead(len(chunk)))
                return "copy"
        finally:
            os.close(source)
        self._read(listen)
        return way

    def _clone(self, source: int) -> bool:
        try:
            disk.clone(source, self._file)
        except OSError as error:
            if error.errno in disk.UNSUPPORTED:
                return False
            with store_errors(f"cannot write to {self._layout.ingest}"):
                raise
        return True

    def _share(self, source: int, path: Path) -> bool:
        """Whether the file at `path`, open as `source`, is what is published, under a second name.

        If not, it is as it was.
        """
        staged, like, before = disk.temporary(self._layout.ingest), os.fstat(self._file), os.fstat(source)
        given: Frozen | None = None
        try:
            os.link(path, staged, follow_symlinks=False)
            if self._is_like(like, staged.lstat(), before):
                given = Frozen.away(source, before, S_IMODE(like.st_mode))
                if not _is_written(source):  # by somebody who opened it before its mode was changed
                    staged.replace(self.path)
                    self._given, mine, self._file = given, self._file, os.dup(source)
                    os.close(mine)
                    return True
        except OSError:  # the other ways are still there
            pass
        if given:
            given.back(source)
        remove(staged)
        return False

    def _is_like(self, like: os.stat_result, there: os.stat_result, opened: os.stat_result) -> bool:
        """Whether the file `there` is the one `opened`, as if it had been made here, and has one name elsewhere."""
        if not os.path.samestat(there, opened) or (there.st_uid, there.st_gid) != (like.st_uid, like.st_gid):
            return False
        here = 0  # names: this one, and those of processes that were killed
        for path in files_in(self._layout):
            with suppress(OSError):
                here += os.path.samestat(path.lstat(), there)
        return there.st_nlink - here == 1

    def _read(self, listen: Listener) -> None:
        with store_errors(f"cannot read {self.path}"), self.path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                self._hash.update(chunk)
                self.size += len(chunk)
                listen(BytesRead(len(chunk)))

    @property
    def descriptor(self) -> Descriptor:
        """What was written so far."""
        return Descriptor(digest_from_hex(self._hash.hexdigest()), self.size)

    def keep(self) -> None:
        """What was written stays when this is closed without being published."""
        self._kept = True

    def shorten(self, count: int) -> bool:
        """The last `count` bytes are given back to the disk, and nothing more may be written; whether any are left."""
        try:
            left = os.fstat(self._file).st_size - count
            os.ftruncate(self._file, max(0, left))
        except OSError:
            return False
        return left > 0

    def publish(self) -> Descriptor:
        """What was written is a blob, durable, under its digest. The caller has checked that it is what it should be.

        Idempotent: success means "the content is here", not "this call put it here". A file that has the blob's name
        but not its size is no blob, and is replaced.

        Raises:
            StoreError: the disk refused; the store is unchanged.
            IngestVanished: what was written is gone, and is no blob.
        """
        blob = self.descriptor
        path = self._layout.blob(blob.digest)
        with store_errors(f"cannot write to {self._layout.blobs}"):
            os.fsync(self._file)
            self._forget(0)
            try:
                if not disk.move_new(self.path, path) and not _has(path, blob.size):
                    self.path.replace(path)
            except FileNotFoundError:
                if not _has(path, blob.size):
                    raise IngestVanished from None
            disk.sync_directory(path.parent)
        self._kept = False
        return blob

    def close(self) -> None:
        """Nothing more is written; what is neither published nor kept is gone."""
        if self._given and not _is_at(self._layout.blob(self.descriptor.digest), self._file):
            self._given.back(self._file)
        os.close(self._file)
        if not self._kept:
            remove(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_written(descriptor: int) -> bool:
    """Whether somebody has the file open to write to it; False where that cannot be told.

    No lease is given on what is open for writing (fcntl(2), F_SETLEASE). It is given back at once: who opens the file
    meanwhile waits for that, and the signal that tells of them is one that nobody hears, for SIGIO would end this.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # another's file, or a filesystem without leases
        return False
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file has the name `path`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _has(path: Path, size: int) -> bool:
    """Whether the blob at `path` is whole; a link is none, wherever it leads."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISREG(status.st_mode) and status.st_size == size
