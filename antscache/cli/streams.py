"""The standard streams, such that one that cannot be written does not stop the work.

Talk that cannot be written to stderr is lost, and nobody hears of it. Data that cannot be written to stdout is lost
too, but the command fails in the end.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

STANDARD_DESCRIPTORS = 3


class Lossy(io.RawIOBase):
    """A stream below a text stream that drops what is written after its first error.

    Attributes:
        error: the first error; None if there was none.
    """

    def __init__(self, raw: io.FileIO | None) -> None:
        """Write to `raw`; None is a stream that was closed before Python began."""
        super().__init__()
        self._raw = raw
        self.error = None if raw else OSError(errno.EBADF, "it is closed")

    def writable(self) -> bool:
        """Return True: whatever comes is taken."""
        return True

    def write(self, content: Buffer, /) -> int | None:
        """Write `content`, or drop it."""
        if self._raw and not self.error:
            try:
                return self._raw.write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes

    def fileno(self) -> int:
        """Return the descriptor, which others may write to."""
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Return True if it is a terminal."""
        return self._raw is not None and self._raw.isatty()


@contextmanager
def standard_streams() -> Iterator[Lossy | None]:
    """Put lossy streams in the place of `sys.stdout` and `sys.stderr`, and yield that of stdout.

    A stream that is no file, as where a caller collects the output, stays, and None is yielded. A closed descriptor of
    the three is open afterwards, but closed in programs that take the place of this one: a file that got its number
    would get what is written to the stream.
    """
    _reserve_descriptors()
    before = sys.stdout, sys.stderr
    data, talk = _over(sys.stdout), _over(sys.stderr)
    if data:
        sys.stdout = _text(data, before[0])
    if talk:
        sys.stderr = _text(talk, before[1])
    try:
        yield data
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _reserve_descriptors() -> None:
    with suppress(OSError):  # no /dev/null: then there is nothing to open
        while (descriptor := os.open(os.devnull, os.O_RDWR)) < STANDARD_DESCRIPTORS:
            pass
        os.close(descriptor)


def _over(stream: TextIO | None) -> Lossy | None:
    if stream is None:  # Python found it closed
        return Lossy(None)
    binary = getattr(stream, "buffer", None)
    raw = getattr(binary, "raw", binary)
    if not isinstance(raw, io.FileIO):
        return None
    with suppress(OSError):  # what was written before comes first
        stream.flush()
    return Lossy(raw)


def _text(lossy: Lossy, like: TextIO | None) -> TextIO:
    """Return a text stream over `lossy`, with the encoding of `like`."""
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(lossy), encoding, errors, line_buffering=True)
