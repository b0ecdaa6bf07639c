"""Open regular files, and hash their bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from antscache.core import Descriptor, digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READ_CHUNK_BYTES = 1 << 19  # two chunks fit into a core's cache

_buffers = threading.local()


def open_regular(path: Path | str, *, follow: bool = True) -> int:
    """Open the regular file at `path` for reading, without waiting for a pipe, and return its descriptor.

    Args:
        path: of the file.
        follow: True if `path` may be a link to a file.

    Raises:
        OSError: the file cannot be read, or is not a regular one.
    """
    link = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0) | link)
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return descriptor


def opened(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """Open the regular file at `path` as `open_regular` does, and return a file object that closes it."""
    return os.fdopen(open_regular(path, follow=follow), "rb")


def hash_file(path: Path | str, look: Callable[[memoryview], object] = lambda _: None) -> Descriptor:
    """Return the descriptor of the bytes of the file at `path`, and call `look` with each chunk of them.

    A chunk is valid during the call only: the next one overwrites it.

    Raises:
        OSError: the file cannot be read, or is not a regular one.
    """
    if not hasattr(_buffers, "view"):
        _buffers.view = memoryview(bytearray(READ_CHUNK_BYTES))
    buffer, size, sha256 = _buffers.view, 0, hashlib.sha256()
    descriptor = open_regular(path)
    try:
        while count := os.readv(descriptor, [buffer]):
            chunk = buffer[:count]
            sha256.update(chunk)
            look(chunk)
            size += count
    finally:
        os.close(descriptor)
    return Descriptor(digest_from_hex(sha256.hexdigest()), size)
