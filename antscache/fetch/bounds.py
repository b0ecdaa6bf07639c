"""The bounds of an answer in time and in length, kept where its bytes come off the connection.

HTTP itself has none: http.client skips any number of `100 Continue`, reads chunks and trailers of any kind, and every
single byte that arrives ends a silence. So each answer is read through a `Wire`, which counts

    the head     no more seconds in all than a silence may last, with all `1xx` before it
    the body     at least `MIN_MINUTE_BYTES` of the file in each minute
    all of it    no more than `MAX_WIRE_FACTOR` times the file's bytes, and `MAX_HEAD_BYTES`

The length of a body is bounded in `http`, by its announced length or a constant.

Only waits for the network count as time. A client that checks, writes to a slow disk, is stopped or has no processor
is not too slow: one wait counts for `MAX_COUNTED_WAIT_SECONDS` at most, and bytes that arrived meanwhile count in full.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

from antscache.fetch.protocol import Refusal, TooSlow

if TYPE_CHECKING:
    import socket

    import urllib3

MINUTE_SECONDS = 60.0
MIN_MINUTE_BYTES = 50_000  # of a file: a modem's 56 kbit/s, shared by eight files
MAX_COUNTED_WAIT_SECONDS = 10.0  # of one wait, which the timeout for silence ends
MAX_HEAD_BYTES = 1 << 18  # status and headers, with 1xx answers before them; real ones have 1 kB
MAX_WIRE_FACTOR = 8  # a body in chunks of one byte is six times as long as the file


class AnswerBounds:
    """The bytes and waits of one answer so far. Pure.

    Args:
        head_seconds: for which the head may let wait.
    """

    def __init__(self, head_seconds: float) -> None:
        self._head_seconds = head_seconds
        self._in_head = True
        self._waited = 0.0  # in the head, or in this minute of the body
        self._minute_bytes = 0
        self._wire_bytes = self._file_bytes = 0

    def check(self) -> None:
        """Check that one more read is within the bounds.

        Raises:
            Refusal: it is not.
        """
        if self._wire_bytes > MAX_HEAD_BYTES + MAX_WIRE_FACTOR * self._file_bytes:
            raise Refusal(f"more than {MAX_HEAD_BYTES} bytes that are not the file's")
        if self._in_head:
            if self._waited >= self._head_seconds:
                raise Refusal("no whole answer in time", transient=True)
        elif self._waited >= MINUTE_SECONDS:
            if self._minute_bytes < MIN_MINUTE_BYTES:
                outcome = f"too slow: {self._minute_bytes} bytes in a minute, and {MIN_MINUTE_BYTES} are the least"
                raise TooSlow(outcome, transient=True)
            self._waited, self._minute_bytes = 0.0, 0

    def count_read(self, count: int, waited: float) -> None:
        """Count `count` bytes of any kind, for which the client has waited so many seconds."""
        self._wire_bytes += count
        self._waited += waited if self._in_head else min(waited, MAX_COUNTED_WAIT_SECONDS)

    def end_head(self) -> None:
        """Declare that the head is complete, and that the body follows."""
        self._in_head, self._waited = False, 0.0

    def count_body(self, count: int) -> None:
        """Count `count` bytes of the file."""
        self._minute_bytes += count
        self._file_bytes += count


class Wire(io.RawIOBase):
    """The bytes of one answer as they come off the connection, within `bounds`."""

    def __init__(self, raw: io.RawIOBase, bounds: AnswerBounds) -> None:
        self._raw = raw
        self._bounds = bounds

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read the next bytes into `buffer`, as soon as there are any, and return how many.

        Raises:
            Refusal: the answer is out of its bounds.
        """
        self._bounds.check()
        asked_at = time.monotonic()
        count = self._raw.readinto(buffer)
        self._bounds.count_read(count or 0, time.monotonic() - asked_at)
        return count

    def close(self) -> None:
        """Close the answer, and not the connection."""
        self._raw.close()
        super().close()


class BoundedAnswer(http.client.HTTPResponse):
    """An answer, or a proxy's to CONNECT, that is read within its bounds."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._bounds = AnswerBounds(sock.gettimeout() or MINUTE_SECONDS)
        raw = sock.makefile("rb", buffering=0)
        self.fp.close()
        self.fp = io.BufferedReader(Wire(raw, self._bounds))

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._bounds.end_head()

    def read1(self, n: int = -1) -> bytes:
        """Read the next bytes of the file, at most `n`."""
        chunk = super().read1(n)
        self._bounds.count_body(len(chunk))
        return chunk


def bound_answers(pools: urllib3.PoolManager, url: str) -> None:
    """Let the connections of `pools` to the host of `url` read each answer within its bounds."""
    pool = pools.connection_from_url(url)
    pool.ConnectionCls = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": BoundedAnswer})
