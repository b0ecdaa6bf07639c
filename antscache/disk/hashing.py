"""Read a file again: what its bytes are."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from stat import S_ISREG
from typing import TYPE_CHECKING

from antscache.core import Descriptor, digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES = 1 << 19  # read at a time: two of them fit into a core's cache

_buffers = threading.local()


def open_regular(path: Path | str, *, follow: bool = True) -> int:
    """Open the regular file at `path` for reading and return its descriptor; nothing is waited for, such as a pipe.

    Args:
        path: of a file.
        follow: whether `path` may be a link to one.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    link = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0) | link)
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return descriptor


def hash_file(path: Path | str, look: Callable[[memoryview], object] = lambda _: None) -> Descriptor:
    """Return the descriptor of the bytes of the file at `path`; show `look` each chunk, which the next one overwrites.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    if not hasattr(_buffers, "view"):
        _buffers.view = memoryview(bytearray(CHUNK_BYTES))
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
