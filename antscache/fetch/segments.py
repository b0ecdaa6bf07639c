"""A file that comes over several connections: who fetches which part, and when that is worth it.

The first bytes come to the one who began the file; a piece is a part from further on that another connection fetches
into a file without a name, which nobody ever finds, and from which the first one goes on when it has come so far.
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

LEAST = 1 << 20  # bytes of a part that is worth a connection of its own
SOON = 0.2  # seconds: a part that takes no longer is not worth halving, and neither is one that takes no longer than
ANSWERS = 3  # answers of its origin: each half costs a request at Figshare, and a redirect
SETTLE = 0.7  # seconds after which a new connection shows what it is worth
GAIN = 0.3  # of what new connections would add if each had a rate of its own: less, and the network is what limits
CHUNK = 1 << 20  # bytes copied at a time
WINDOW, SAMPLE = 0.5, 0.1  # seconds over which a rate is told, and between two looks at it
TICK = 0.1  # seconds that a reader waits at most before it looks around


@dataclass(slots=True)
class Part:
    """Bytes `start` to `stop` of a file, of which those before `position` are there or under way to the disk."""

    start: int
    stop: int
    position: int
    since: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """How many bytes are still to come."""
        return self.stop - self.position

    def seconds_left(self, now: float) -> float:
        """How long that takes, at the rate so far."""
        received = self.position - self.start
        return self.left * (now - self.since) / received if received else 0.0

    def is_worth_halving(self, now: float, latency: float) -> bool:
        """Whether it takes long, compared with the seconds in which an origin begins to answer."""
        return self.left >= 2 * LEAST and self.seconds_left(now) > max(SOON, ANSWERS * latency)


class Segment(Part):
    """A part that another connection fetches, in a file without a name.

    Whoever writes it ends it, and whoever reads it drops it; the file is gone once both have.
    """

    def __init__(self, start: int, stop: int, layout: Layout) -> None:
        super().__init__(start, stop, start)
        self._written = start
        self._ended = self._dropped = False
        self._changed = Condition()
        path = disk.temporary(layout.ingest)
        with store_errors(f"cannot write to {layout.ingest}"):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            path.unlink()

    def write(self, chunk: memoryview) -> bool:
        """`chunk` comes next; False if nobody wants it any more.

        Raises:
            StoreError: the disk refused.
        """
        while chunk and not self._dropped:
            with store_errors("cannot write a piece of a file"):
                count = os.pwrite(self._file, chunk, self._written - self.start)
            with self._changed:
                self._written += count
                self._changed.notify_all()
            chunk = chunk[count:]
        return not self._dropped

    def end(self) -> None:
        """Nothing more is written."""
        self._leave(ended=True)

    def drop(self) -> None:
        """Nothing more is read."""
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
        """What is written, as it is written, up to `stop` or to where its writer ended; nothing now and then."""
        read = self.start
        while read < self.stop:
            with self._changed:
                if self._written == read and not self._ended:
                    self._changed.wait(TICK)
                ready, ended = min(self._written, self.stop) - read, self._ended
            if not ready and ended:
                return
            chunk = os.pread(self._file, min(CHUNK, ready), read - self.start) if ready else b""
            read += len(chunk)
            yield chunk


class Parts:
    """Which connection receives which bytes of one file: the first part goes to whoever began it, and pieces follow.

    Safe between threads.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = Lock()
        self._first: Part | None = None
        self._pieces: list[Segment] = []  # in their order; the first part ends where they begin
        self._whole: Partial | None = None
        self._latency = 0.0
        self._divisible = True

    @property
    def pieces_begin(self) -> int | None:
        """Where the first piece begins; None if there is none."""
        with self._lock:
            return self._pieces[0].start if self._pieces else None

    def begin(self, start: int, whole: Partial | None, latency: float) -> None:
        """Bytes come from `start` on, up to the first piece or the file's end; whoever has them took `latency` seconds.

        Args:
            start: in bytes.
            whole: the file that they are of; None where nobody knows how long it is.
            latency: until the answer began.
        """
        with self._lock:
            self._whole, self._latency = whole, latency
            stop = self._pieces[0].start if self._pieces else whole.size if whole else None
            self._first = None if stop is None else Part(start, stop, start)

    def allot(self, chunk: memoryview, piece: Segment | None = None) -> tuple[memoryview, bool]:
        """What of `chunk` belongs to the first part, or to `piece`, and whether others go on from there."""
        with self._lock:
            part = piece or self._first
            if part is None:
                return chunk, False
            mine = chunk[: part.left]
            part.position += len(mine)
            return mine, part.left == 0 and (piece is not None or bool(self._pieces))

    def joined(self, piece: Segment, position: int) -> None:
        """The first part, which had come to `piece`, has taken it over as far as `position`."""
        with self._lock:
            self._pieces.remove(piece)
            self._first = Part(position, piece.stop, position)
        piece.drop()

    def next_piece(self) -> Segment | None:
        """Where to go on behind the first part."""
        with self._lock:
            return self._pieces[0] if self._pieces else None

    def drop(self) -> None:
        """Nobody wants pieces any more, nor will there be any before the next `begin`."""
        with self._lock:
            pieces, self._pieces, self._first = self._pieces, [], None
        for piece in pieces:
            piece.drop()

    def refuse(self) -> None:
        """Whoever has the file does not give it in pieces."""
        self._divisible = False

    def seconds_left(self, now: float) -> float:
        """How long the slowest part still takes, at the rate so far."""
        with self._lock:
            return max((part.seconds_left(now) for part in self._all()), default=0.0)

    def halve(self, now: float) -> tuple[Segment, RangeRequest] | None:
        """More than half of what takes longest, for one more connection, and what to ask for; None: not worth one."""
        with self._lock:
            longest = max(self._all(), key=lambda part: part.seconds_left(now), default=None)
            whole = self._whole
            if longest is None or whole is None or not whole.etag or not self._divisible:
                return None
            if not longest.is_worth_halving(now, self._latency):
                return None
            # More than half: whoever began has to check in the end what the others fetched meanwhile.
            piece = Segment(longest.stop - longest.left * 3 // 5, longest.stop, self._layout)
            longest.stop = piece.start
            self._pieces.append(piece)
            self._pieces.sort(key=lambda each: each.start)
            return piece, RangeRequest(piece.start, piece.stop, whole.size, whole.etag)

    def _all(self) -> list[Part]:
        return [self._first, *self._pieces] if self._first else []


class Throughput:
    """How many bytes a second arrive, over about the last half second. Safe between threads; pure but for that."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._received = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=1 + round(WINDOW / SAMPLE))

    def add(self, count: int, now: float) -> None:
        """`count` bytes have arrived."""
        with self._lock:
            self._received += count
            if not self._samples or now - self._samples[-1][0] >= SAMPLE:
                self._samples.append((now, self._received))

    def rate(self, now: float) -> float:
        """Bytes a second; 0 as long as that cannot be told."""
        with self._lock:
            if not self._samples or now - self._samples[0][0] < SAMPLE:
                return 0.0
            then, received = self._samples[0]
            return (self._received - received) / (now - then)


class ConnectionBudget:
    """Whether more connections still make the whole faster: they are doubled, looked at, and doubled again. Pure."""

    def __init__(self) -> None:
        self._connections = 0  # so many received so much when they were last looked at
        self._rate = 0.0
        self._latest = 0  # so many there are, since then
        self._since = 0.0
        self._saturated = False

    def allows(self, now: float, rate: float, connections: int) -> bool:
        """Whether to add one to so many `connections`, which together receive `rate` bytes a second."""
        if self._saturated:
            return False
        if connections != self._latest:
            self._latest, self._since = connections, now
        if not self._connections or connections <= self._connections:
            self._rate, self._connections = rate, max(1, connections)
        elif now - self._since >= SETTLE:
            expected = self._rate * connections / self._connections
            self._saturated = rate < self._rate + GAIN * (expected - self._rate)
            self._rate, self._connections = rate, connections
        return not self._saturated and connections < 2 * self._connections
