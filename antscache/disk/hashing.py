"""A file read again: what its bytes are."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

from antscache.core import Descriptor, digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 1 << 19  # bytes read at a time: two of them fit into a core's cache

_buffers = threading.local()


def hash_file(path: Path | str, look: Callable[[memoryview], object] = lambda _: None) -> Descriptor:
    """What the bytes of the file at `path` are; `look` is shown each chunk, which the next one overwrites.

    Raises:
        OSError: it cannot be read.
    """
    if not hasattr(_buffers, "view"):
        _buffers.view = memoryview(bytearray(CHUNK))
    buffer, size, sha256 = _buffers.view, 0, hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))  # a pipe is not waited for
    try:
        while count := os.readv(descriptor, [buffer]):
            chunk = buffer[:count]
            sha256.update(chunk)
            look(chunk)
            size += count
    finally:
        os.close(descriptor)
    return Descriptor(digest_from_hex(sha256.hexdigest()), size)
