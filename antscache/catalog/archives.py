"""The members of a wheel or an sdist, read within bounds: archives are not trusted.

Nothing is unpacked, and no path is taken from an archive. What tarfile and zipfile read goes through a `BoundedReader`:
a few bytes may claim to be gigabytes, a header may be as long as the archive, and both modules believe it.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from antscache import disk
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Members = Mapping[str, Callable[[], bytes]]  # from the path of a member to a function that reads its beginning

MAX_MEMBER_BYTES = 4 << 20  # of a file that is read, and of a header or directory of the archive
MAX_UNPACKED_BYTES = 1 << 30  # of an sdist; a wheel's own bytes
MAX_MEMBERS = 50_000
MAX_ARCHIVE_SECONDS = 30.0  # of the processor: a real archive takes less than one
GZIP_SIGNATURE = b"\x1f\x8b"
WHEEL_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of others, zipfile inflates all at once
UNBOUNDED_HINT = "give another file: this one is damaged, or made to do harm"


class BoundedReader(io.RawIOBase):
    """An archive, uncompressed as a whole, whose reads have bounds.

    Raises:
        ManifestError: one read, the whole archive, or the time of the processor is out of them.
    """

    def __init__(self, stream: BinaryIO | io.BufferedIOBase, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._began = time.thread_time()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        if offset > MAX_UNPACKED_BYTES:
            raise self._unbounded(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        return self._stream.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        """Read the next bytes, at most `size`."""
        if time.thread_time() - self._began > MAX_ARCHIVE_SECONDS:
            raise self._unbounded(f"reading it takes more than {MAX_ARCHIVE_SECONDS:g} s")
        if self._stream.tell() > MAX_UNPACKED_BYTES:
            raise self._unbounded(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        count = MAX_MEMBER_BYTES + 1 if size is None or size < 0 else size
        content = self._stream.read(count) if count <= MAX_MEMBER_BYTES + 1 else None
        if content is None or len(content) > MAX_MEMBER_BYTES + 1:
            raise self._unbounded(f"a header in it is larger than {MAX_MEMBER_BYTES} bytes")
        return content

    def _unbounded(self, problem: str) -> ManifestError:
        return ManifestError(f"cannot read {self._path}: {problem}", hint=UNBOUNDED_HINT)


@contextmanager
def open_archive(path: Path) -> Iterator[Members]:
    """Open the wheel, the sdist or the plain tar file at `path`, and yield its members.

    Of a member at most MAX_MEMBER_BYTES + 1 are read.

    Raises:
        ManifestError: it is out of its bounds.
        OSError, ValueError, zipfile.BadZipFile, tarfile.TarError, ...: it cannot be read.
    """
    with ExitStack() as opened:
        file = opened.enter_context(disk.opened(path))
        if zipfile.is_zipfile(file):
            archive = opened.enter_context(zipfile.ZipFile(BoundedReader(file, path)))
            yield _zip(archive, path)
            return
        file.seek(0)
        compressed = file.read(len(GZIP_SIGNATURE)) == GZIP_SIGNATURE
        file.seek(0)
        stream = opened.enter_context(gzip.open(file)) if compressed else file
        yield _tar(opened.enter_context(tarfile.open(fileobj=BoundedReader(stream, path), mode="r:")), path)


def _zip(archive: zipfile.ZipFile, path: Path) -> Members:
    def reader(member: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            if member.compress_type not in WHEEL_COMPRESSIONS:
                raise ManifestError(
                    f"cannot read {path}: {member.filename} is compressed as no wheel is", hint=UNBOUNDED_HINT
                )
            with archive.open(member) as file:
                return file.read(MAX_MEMBER_BYTES + 1)

        return read

    members = archive.infolist()
    _check_count(len(members), path)
    return {member.filename: reader(member) for member in members if not member.is_dir()}


def _tar(archive: tarfile.TarFile, path: Path) -> Members:
    def reader(member: tarfile.TarInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            file = archive.extractfile(member)
            return file.read(MAX_MEMBER_BYTES + 1) if file else b""

        return read

    members: dict[str, Callable[[], bytes]] = {}
    for count, member in enumerate(archive, 1):
        _check_count(count, path)
        if member.isreg():
            members[member.name] = reader(member)
    return members


def _check_count(count: int, path: Path) -> None:
    if count > MAX_MEMBERS:
        raise ManifestError(f"cannot read {path}: it has more than {MAX_MEMBERS} members", hint=UNBOUNDED_HINT)
