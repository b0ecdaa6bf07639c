"""One file over several connections: which connection receives which byte range, and when one more is worth it.

The connection that began the file receives its first range. A segment is a range further on that an extra connection
receives into an unnamed temporary file. When the first range is complete, the segments are appended to it in order.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import TYPE_CHECKING

from antscache import disk
from antscache.disk import store_errors
from antscache.fetch.protocol import RangeRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Layout, Partial

MIN_SEGMENT_BYTES = 1 << 20  # a smaller range is not worth a connection of its own
MIN_SPLIT_SECONDS = 0.2  # a range that takes no longer is not split
MIN_SPLIT_LATENCIES = 3  # nor one that takes no longer than so many answers: a segment costs a request, a redirect
SETTLE_SECONDS = 0.7  # after which a new connection has reached its rate
MIN_GAIN_SHARE = 0.3  # of the rate that the new connections would add at best: if they add less, the network is full
COPY_CHUNK_BYTES = 1 << 20  # copied at a time
RATE_WINDOW_SECONDS = 0.5  # over which the rate is measured
RATE_SAMPLE_SECONDS = 0.1  # between two samples of it
READER_POLL_SECONDS = 0.1  # for which a reader waits for bytes before it yields an empty chunk


@dataclass(slots=True)
class ByteRange:
    """The bytes `start` to `stop` of a file; those before `position` are received, and written or about to be.

    Attributes:
        start: the first byte.
        stop: the byte behind the last.
        position: the next byte to receive.
        since: the time of the beginning, by the monotonic clock.
    """

    start: int
    stop: int
    position: int
    since: float = field(default_factory=time.monotonic)

    @property
    def bytes_left(self) -> int:
        """The number of bytes still to come."""
        return self.stop - self.position

    def seconds_left(self, now: float) -> float:
        """Return the seconds that they take at the rate so far; 0 if nothing has come yet."""
        received = self.position - self.start
        return self.bytes_left * (now - self.since) / received if received else 0.0

    def is_worth_splitting(self, now: float, latency: float) -> bool:
        """Return True if the rest takes long, compared with the origin's `latency` in seconds."""
        min_seconds = max(MIN_SPLIT_SECONDS, MIN_SPLIT_LATENCIES * latency)
        return self.bytes_left >= 2 * MIN_SEGMENT_BYTES and self.seconds_left(now) > min_seconds


class Segment(ByteRange):
    """A byte range that an extra connection receives into an unnamed temporary file.

    The writer calls `end`, the reader calls `drop`. Once both have, the file is closed, and gone with that.

    Raises:
        StoreError: the disk refused.
    """

    def __init__(self, start: int, stop: int, layout: Layout) -> None:
        super().__init__(start, stop, start)
        self._written = start
        self._ended = self._dropped = False
        self._changed = Condition()
        self._directory = layout.ingest
        path = disk.temporary_path(layout.ingest)
        with store_errors(f"cannot write to {layout.ingest}"):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            path.unlink()

    def write(self, chunk: memoryview) -> bool:
        """Append `chunk`; return False if the reader has dropped the segment.

        Raises:
            StoreError: the disk refused.
        """
        while chunk and not self._dropped:
            with store_errors(f"cannot write a segment of a file to {self._directory}"):
                count = os.pwrite(self._file, chunk, self._written - self.start)
            with self._changed:
                self._written += count
                self._changed.notify_all()
            chunk = chunk[count:]
        return not self._dropped

    def end(self) -> None:
        """Declare that nothing more is written."""
        self._leave(ended=True)

    def drop(self) -> None:
        """Declare that nothing more is read."""
        self._leave(dropped=True)

    def _leave(self, *, ended: bool = False, dropped: bool = False) -> None:
        with self._changed:
            if self._ended and self._dropped:
                return
            self._ended |= ended
            self._dropped |= dropped
            if self._ended and self._dropped:
                os.close(self._file)
            self._changed.notify_all()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes as they are written, up to `stop`, or to the last one if the writer ends before.

        While nothing comes, an empty chunk is yielded now and then, so that the caller can do something else.
        """
        read = self.start
        while read < self.stop:
            with self._changed:
                if self._written == read and not self._ended:
                    self._changed.wait(READER_POLL_SECONDS)
                ready, ended = min(self._written, self.stop) - read, self._ended
            if not ready and ended:
                return
            chunk = os.pread(self._file, min(COPY_CHUNK_BYTES, ready), read - self.start) if ready else b""
            read += len(chunk)
            yield chunk


class FileRanges:
    """The byte ranges of one file: the first one, and the segments behind it. Safe between threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = Lock()
        self._first: ByteRange | None = None
        self._segments: list[Segment] = []  # in their order; the first range ends where they begin
        self._whole: Partial | None = None
        self._latency = 0.0
        self._splittable = True

    @property
    def first_segment_start(self) -> int | None:
        """The start of the first segment; None if there is none."""
        with self._lock:
            return self._segments[0].start if self._segments else None

    def begin(self, start: int, whole: Partial | None, latency: float) -> None:
        """Begin the first range at `start`; it goes up to the first segment, or to the end of the file.

        Args:
            start: the position of the first byte to come.
            whole: the size and state of the file; None if its size is not known.
            latency: seconds until the origin's answer began.
        """
        with self._lock:
            self._whole, self._latency = whole, latency
            stop = self._segments[0].start if self._segments else whole.size if whole else None
            self._first = None if stop is None else ByteRange(start, stop, start)

    def allot(self, chunk: memoryview, segment: Segment | None = None) -> tuple[memoryview, bool]:
        """Count `chunk` as received in `segment`, or in the first range if that is None.

        Returns:
            The bytes of `chunk` that belong to the range; and True if it is complete and another range has the rest.
        """
        with self._lock:
            byte_range = segment or self._first
            if byte_range is None:
                return chunk, False
            mine = chunk[: byte_range.bytes_left]
            byte_range.position += len(mine)
            return mine, byte_range.bytes_left == 0 and (segment is not None or bool(self._segments))

    def mark_joined(self, segment: Segment, position: int) -> None:
        """Remove and drop `segment`: its bytes before `position` are appended to those of the first range."""
        with self._lock:
            self._segments.remove(segment)
            self._first = ByteRange(position, segment.stop, position)
        segment.drop()

    def next_segment(self) -> Segment | None:
        """Return the segment behind the first range; None if there is none."""
        with self._lock:
            return self._segments[0] if self._segments else None

    def drop(self) -> None:
        """Drop all ranges. Nothing is split before the next `begin`."""
        with self._lock:
            segments, self._segments, self._first = self._segments, [], None
        for segment in segments:
            segment.drop()

    def forbid_splitting(self) -> None:
        """Split nothing any more: the origin does not send single ranges."""
        self._splittable = False

    def seconds_left(self, now: float) -> float:
        """Return the seconds that the slowest range still takes at its rate so far."""
        with self._lock:
            return max((each.seconds_left(now) for each in self._all()), default=0.0)

    def split(self, now: float) -> tuple[Segment, RangeRequest] | None:
        """Split the range that takes longest, and return the new segment and the request for it.

        None if no range is worth splitting, or the file cannot be: its size or ETag is not known, or the origin has
        refused a segment.

        Raises:
            StoreError: the disk refused.
        """
        with self._lock:
            longest = max(self._all(), key=lambda each: each.seconds_left(now), default=None)
            whole = self._whole
            if longest is None or whole is None or not whole.etag or not self._splittable:
                return None
            if not longest.is_worth_splitting(now, self._latency):
                return None
            # More than half: the connection that began the file also has to check the bytes of all segments.
            segment = Segment(longest.stop - longest.bytes_left * 3 // 5, longest.stop, self._layout)
            longest.stop = segment.start
            self._segments.append(segment)
            self._segments.sort(key=lambda each: each.start)
            return segment, RangeRequest(segment.start, segment.stop, whole.size, whole.etag)

    def _all(self) -> list[ByteRange]:
        return [self._first, *self._segments] if self._first else []


class Throughput:
    """The rate at which bytes arrive, over about the last half second. Pure, but for its lock: safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._received = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=1 + round(RATE_WINDOW_SECONDS / RATE_SAMPLE_SECONDS))

    def add(self, count: int, now: float) -> None:
        """Count `count` bytes that have arrived at `now`."""
        with self._lock:
            self._received += count
            if not self._samples or now - self._samples[-1][0] >= RATE_SAMPLE_SECONDS:
                self._samples.append((now, self._received))

    def rate(self, now: float) -> float:
        """Return the bytes per second; 0 until there is one sample that is old enough."""
        with self._lock:
            if not self._samples or now - self._samples[0][0] < RATE_SAMPLE_SECONDS:
                return 0.0
            then, received = self._samples[0]
            return (self._received - received) / (now - then)


class ConnectionBudget:
    """The number of connections that make a fetch fastest, found by doubling it while the rate still grows. Pure."""

    def __init__(self) -> None:
        self._connections = 0  # at the last measurement
        self._rate = 0.0  # of all of them together, then
        self._latest = 0  # the number of connections now
        self._since = 0.0  # the time at which it became so many
        self._saturated = False

    def allows(self, now: float, rate: float, connections: int) -> bool:
        """Return True if one more connection may be added.

        Args:
            now: by the monotonic clock, in seconds.
            rate: bytes per second, of all connections together.
            connections: the number of connections that there are.
        """
        if self._saturated:
            return False
        if connections != self._latest:
            self._latest, self._since = connections, now
        if not self._connections or connections <= self._connections:
            self._rate, self._connections = rate, max(1, connections)
        elif now - self._since >= SETTLE_SECONDS:
            expected = self._rate * connections / self._connections
            self._saturated = rate < self._rate + MIN_GAIN_SHARE * (expected - self._rate)
            self._rate, self._connections = rate, connections
        return not self._saturated and connections < 2 * self._connections
