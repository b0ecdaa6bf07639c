"""A blob being written: the one recipe by which bytes become a blob.

    ingest/<random>        written by one process, under a name that no other process uses
    ingest/<random>.json   a partial: what it is the beginning of, for whoever goes on
    blobs/sha256/<hex>     where it ends, whole

A random name -> hashed while written -> fsync -> linked under its digest without clobbering -> fsync of the directory.

What a process leaves behind that was killed has one writer for ever. Whoever goes on copies it into an ingest of its
own; it is removed once the identifier has its blob, or when it is old.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache import durable
from antscache.digest import Descriptor, named
from antscache.durable import refusing
from antscache.record import Partial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from antscache.layout import Layout
    from antscache.manifest import Identifier

NOTE = ".json"
ABANDONED = 24 * 60 * 60  # seconds without a write after which what lies in ingest/ is nobody's
CHUNK = 1 << 20  # bytes read at a time from a leftover


class Taken(Exception):  # noqa: N818  told to the one who can try again
    """The file that was being written is gone: somebody took it for abandoned, or removed it by hand."""


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
        self.path = durable.temporary(layout.ingest)
        self.size = 0
        self._note: Path | None = None
        self._kept = False
        self._hash = hashlib.sha256()
        with refusing(f"cannot write to {layout.ingest}"):
            self._file = durable.create(self.path, durable.READ_ONLY)

    def describe(self, partial: Partial) -> None:
        """From now on whoever finds what is written knows what it is the beginning of.

        Raises:
            StoreError: the disk refused.
        """
        with refusing(f"cannot write to {self._layout.ingest}"):
            self._note = self.path.with_suffix(NOTE)
            note = durable.create(self._note, durable.READ_ONLY)
            try:
                os.write(note, msgspec.json.encode(partial))
            finally:
                os.close(note)

    def write(self, chunk: bytes | memoryview) -> None:
        """`chunk` comes next.

        Raises:
            StoreError: the disk refused.
        """
        self._hash.update(chunk)
        self.size += len(chunk)
        rest = memoryview(chunk)
        with refusing(f"cannot write to {self._layout.ingest}"):
            while rest:
                rest = rest[os.write(self._file, rest) :]

    @property
    def descriptor(self) -> Descriptor:
        """What was written so far."""
        return Descriptor(named(self._hash.hexdigest()), self.size)

    def keep(self) -> None:
        """What was written stays, if it was described, when this is closed without being published."""
        self._kept = self._note is not None

    def publish(self) -> Descriptor:
        """What was written is a blob, durable, under its digest. The caller has checked that it is what it should be.

        Idempotent: success means "the content is here", not "this call put it here". A file that has the blob's name
        but not its size is no blob, and is replaced.

        Raises:
            StoreError: the disk refused; the store is unchanged.
            Taken: what was written is gone, and is no blob.
        """
        blob = self.descriptor
        path = self._layout.blob(blob.digest)
        with refusing(f"cannot write to {self._layout.blobs}"):
            os.fsync(self._file)
            try:
                if not durable.move_new(self.path, path) and path.stat().st_size != blob.size:
                    self.path.replace(path)
            except FileNotFoundError:
                if not (path.exists() and path.stat().st_size == blob.size):
                    raise Taken from None
            durable.sync_directory(path.parent)
        self._kept = False
        return blob

    def close(self) -> None:
        """Nothing more is written; what is neither published nor kept is gone."""
        os.close(self._file)
        if not self._kept:
            remove((self.path,) if self._note is None else (self.path, self._note))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Leftover:
    """What another process, dead or alive, has written of a file, and is not ours to write to."""

    partial: Partial
    path: Path
    held: int

    def chunks(self, count: int) -> Iterator[bytes]:
        """The first `count` bytes; fewer where it has become shorter or cannot be read."""
        with suppress(OSError), self.path.open("rb", buffering=0) as file:
            while count > 0 and (chunk := file.read(min(CHUNK, count))):
                count -= len(chunk)
                yield chunk

    def age(self) -> float:
        """The seconds since something was written to it."""
        try:
            return time.time() - self.path.lstat().st_mtime
        except OSError:
            return float("inf")

    def remove(self) -> None:
        """It is not there any more. A process that still writes to it notices (`Taken`), and loses only time."""
        remove((self.path, self.path.with_suffix(NOTE)))


def leftovers(layout: Layout) -> dict[Identifier, list[Leftover]]:
    """What is being written, or was when its process ended, by identifier; the longest first."""
    found: dict[Identifier, list[Leftover]] = {}
    for note in _names(layout, NOTE):
        with suppress(OSError, msgspec.DecodeError):
            partial = msgspec.json.decode(note.read_bytes(), type=Partial)
            path = note.with_suffix("")
            found.setdefault(partial.identifier, []).append(Leftover(partial, path, path.lstat().st_size))
    for each in found.values():
        each.sort(key=lambda leftover: -leftover.held)
    return found


def tidy(layout: Layout) -> None:
    """What nobody has written to for a day is gone from `ingest/`."""
    for path in _names(layout, ""):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > ABANDONED:
                remove((path,))


def remove(paths: Iterable[Path]) -> None:
    """None of `paths` is there, as far as the disk allows; a note that lies about is no harm."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _names(layout: Layout, suffix: str) -> list[Path]:
    try:
        with os.scandir(layout.ingest) as found:
            return [Path(entry.path) for entry in found if entry.name.endswith(suffix)]
    except OSError:
        return []
