"""A blob being written: the one recipe by which bytes become a blob.

    ingest/<random>        written by one process, under a name that no other process uses
    blobs/sha256/<hex>     where it ends, whole

A random name -> hashed while written -> fsync -> linked under its digest without clobbering -> fsync of the directory.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from antscache import durable
from antscache.digest import Descriptor, named
from antscache.durable import refusing

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from antscache.layout import Layout


class Ingest:
    """A blob being written, under a name in `ingest/` that is nobody else's.

    Use it as a context manager: what is not published when it ends is gone.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = durable.temporary(layout.ingest)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        with refusing(f"cannot write to {self._layout.ingest}"):
            self._file = durable.create(self._path, durable.READ_ONLY)
        return self

    def write(self, chunk: bytes) -> None:
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

    def publish(self) -> Descriptor:
        """What was written is a blob, durable, under its digest. The caller has checked that it is what it should be.

        Idempotent: success means "the content is here", not "this call put it here". A file that has the blob's name
        but not its size is no blob, and is replaced.

        Raises:
            StoreError: the disk refused; the store is unchanged.
        """
        blob = self.descriptor
        path = self._layout.blob(blob.digest)
        with refusing(f"cannot write to {self._layout.blobs}"):
            os.fsync(self._file)
            if not durable.move_new(self._path, path) and path.stat().st_size != blob.size:
                self._path.replace(path)
            durable.sync_directory(path.parent)
        return blob

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)
        with suppress(OSError):  # published by rename, or a disk that no longer answers
            self._path.unlink()
