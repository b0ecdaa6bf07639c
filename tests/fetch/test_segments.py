"""Splitting: segments that one thread writes and another reads, and the number of connections that is worth it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.limits import no_file_beyond

from antscache.core.layout import Layout
from antscache.core.record import Partial
from antscache.errors import StoreError
from antscache.fetch.protocol import RangeRequest
from antscache.fetch.segments import (
    RATE_SAMPLE_SECONDS,
    RATE_WINDOW_SECONDS,
    SETTLE_SECONDS,
    ByteRange,
    ConnectionBudget,
    FileRanges,
    Segment,
    Throughput,
)

if TYPE_CHECKING:
    from collections.abc import Callable

unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MEGABYTE = 1 << 20


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.ingest.mkdir(parents=True)
    return layout


def nameless(layout: Layout) -> int:
    """Return the number of open files of this process that were once in `ingest/`."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor that reads the directory is gone by now
            targets.append(os.readlink(link))  # noqa: PTH115  what the link says, not a path
    return sum(target.startswith(str(layout.ingest)) for target in targets)


# Byte ranges


def test_seconds_left_follow_from_the_rate() -> None:
    byte_range = ByteRange(start=100, stop=1100, position=350, since=20.0)
    assert byte_range.bytes_left == 750
    assert byte_range.seconds_left(now=21.0) == 3.0
    assert byte_range.seconds_left(now=22.0) == 6.0


def test_range_without_bytes_has_no_seconds_left() -> None:
    """Its rate is not known yet."""
    assert ByteRange(100, 1100, 100, since=20.0).seconds_left(now=500.0) == 0


def test_complete_range_has_no_seconds_left() -> None:
    assert ByteRange(100, 1100, 1100, since=20.0).seconds_left(now=500.0) == 0


# Reading a segment


class Writing(Thread):
    """A thread that writes `content` into `segment` in chunks of these sizes, as a worker does, and ends it."""

    def __init__(self, segment: Segment, content: bytes, sizes: list[int], lock: Lock) -> None:
        super().__init__(daemon=True)
        self._segment, self._content, self._sizes, self._lock = segment, memoryview(content), sizes, lock
        self.wanted = True

    def run(self) -> None:
        rest = self._content
        for number in range(len(rest)):
            size = self._sizes[number % len(self._sizes)]
            chunk, rest = rest[:size], rest[size:]
            with self._lock:
                mine = chunk[: self._segment.bytes_left]
                self._segment.position += len(mine)
            self.wanted = self._segment.write(mine)
            if not (self.wanted and rest and self._segment.bytes_left):
                break
        self._segment.end()


sizes = st.lists(st.integers(1, 400), min_size=1, max_size=5)


@unhurried
@given(content=st.binary(max_size=2000), sizes=sizes, start=st.integers(0, 1 << 60))
def test_reader_gets_all_bytes_in_order(layout: Layout, content: bytes, sizes: list[int], start: int) -> None:
    segment = Segment(start, start + len(content), layout)
    writing = Writing(segment, content, sizes, Lock())
    writing.start()
    assert b"".join(segment.chunks()) == content
    segment.drop()
    writing.join()
    assert nameless(layout) == 0


@unhurried
@given(
    content=st.binary(min_size=1, max_size=2000),
    sizes=sizes,
    cuts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_reading_ends_at_a_stop_that_moves(layout: Layout, content: bytes, sizes: list[int], cuts: list[int]) -> None:
    segment, lock = Segment(500, 500 + len(content), layout), Lock()
    writing = Writing(segment, content, sizes, lock)
    writing.start()
    read = b""
    for number, chunk in enumerate(segment.chunks()):
        read += chunk
        if number in cuts:
            with lock:
                segment.stop -= segment.bytes_left // 2  # as FileRanges.split does
    assert read == content[: segment.stop - segment.start]
    segment.drop()
    writing.join()
    assert nameless(layout) == 0


@unhurried
@given(content=st.binary(max_size=500), missing=st.integers(1, 500), sizes=sizes)
def test_reading_ends_where_the_writer_ended(layout: Layout, content: bytes, missing: int, sizes: list[int]) -> None:
    segment = Segment(7, 7 + len(content) + missing, layout)
    writing = Writing(segment, content, sizes, Lock())
    writing.start()
    assert b"".join(segment.chunks()) == content
    segment.drop()
    writing.join()
    assert nameless(layout) == 0


def test_segment_of_many_megabytes_is_read_in_chunks(layout: Layout) -> None:
    content = os.urandom(5 * MEGABYTE + 3)
    segment = Segment(0, len(content), layout)
    writing = Writing(segment, content, [MEGABYTE, 3 * MEGABYTE], Lock())
    writing.start()
    chunks = list(segment.chunks())
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= MEGABYTE
    segment.drop()
    writing.join()


def test_bytes_can_be_read_while_others_are_written(layout: Layout) -> None:
    segment = Segment(0, 6, layout)
    chunks = segment.chunks()
    for content in b"abc", b"def":
        assert segment.write(memoryview(content))
        assert next(chunks) == content
    assert list(chunks) == []
    segment.end()
    segment.drop()


def test_reader_gets_empty_chunks_while_nothing_comes(layout: Layout) -> None:
    segment = Segment(0, 6, layout)
    assert next(segment.chunks()) == b""
    segment.end()
    segment.drop()


def test_nothing_is_read_beyond_the_stop(layout: Layout) -> None:
    segment = Segment(10, 13, layout)
    segment.write(memoryview(b"abcdef"))
    assert b"".join(segment.chunks()) == b"abc"
    segment.end()
    segment.drop()


# The ends of a segment


def test_write_to_a_dropped_segment_returns_false(layout: Layout) -> None:
    segment = Segment(0, 100, layout)
    assert segment.write(memoryview(b"abc"))
    segment.drop()
    assert not segment.write(memoryview(b"def"))
    assert not segment.write(memoryview(b""))
    assert nameless(layout) == 1
    segment.end()
    assert nameless(layout) == 0


def test_writer_stops_when_the_reader_drops(layout: Layout) -> None:
    content = bytes(MEGABYTE)
    segment = Segment(0, 1 << 50, layout)
    written = threading.Event()

    def write() -> None:
        while segment.write(memoryview(content)[:4096]):
            written.set()
        segment.end()

    writing = Thread(target=write, daemon=True)
    writing.start()
    assert written.wait(60)
    assert next(segment.chunks())
    segment.drop()
    writing.join(60)
    assert not writing.is_alive()
    assert nameless(layout) == 0


@pytest.mark.parametrize("leave", [(Segment.end, Segment.drop), (Segment.drop, Segment.end)])
def test_file_is_open_until_both_have_left(layout: Layout, leave: tuple[Callable[[Segment], None], ...]) -> None:
    segment = Segment(0, 100, layout)
    left = [nameless(layout)]
    for one in leave:
        one(segment)
        left.append(nameless(layout))
    assert left == [1, 1, 0]


@pytest.mark.parametrize("again", [Segment.end, Segment.drop])
def test_leaving_twice_closes_no_other_file(layout: Layout, again: Callable[[Segment], None]) -> None:
    segment = Segment(0, 100, layout)
    segment.end()
    segment.drop()
    others = [os.open(layout.root, os.O_RDONLY) for _ in range(8)]  # one of them has the number that became free
    with suppress(OSError):
        again(segment)
    closed = [descriptor for descriptor in others if not is_open(descriptor)]
    for descriptor in set(others) - set(closed):
        os.close(descriptor)
    assert closed == []


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_segment_has_no_name_on_the_disk(layout: Layout) -> None:
    segment = Segment(0, 6, layout)
    assert list(layout.ingest.iterdir()) == []
    segment.write(memoryview(b"abcdef"))
    assert list(layout.ingest.iterdir()) == []
    segment.end()
    assert list(layout.ingest.iterdir()) == []
    segment.drop()
    assert list(layout.ingest.iterdir()) == []


def test_refusing_disk_leaves_no_segment_open(layout: Layout) -> None:
    layout.ingest.rmdir()
    with pytest.raises(StoreError, match="cannot write to"):
        Segment(0, 6, layout)
    assert nameless(layout) == 0


@pytest.mark.parametrize("space", [3, 5])
def test_full_disk_keeps_the_bytes_before(layout: Layout, space: int) -> None:
    segment = Segment(10, 16, layout)
    segment.write(memoryview(b"abc"))
    with no_file_beyond(space), pytest.raises(StoreError, match="cannot write a segment"):
        segment.write(memoryview(b"def"))
    segment.end()
    assert b"".join(segment.chunks()) == b"abcdef"[:space]
    segment.drop()
    assert nameless(layout) == 0


# The ranges of a file


class Connections:
    """The connections of one file: each receives bytes in its turn, as many as it is told, or has left to receive."""

    def __init__(self, content: bytes, layout: Layout, *, etag: str = '"state"') -> None:
        self.content = content
        self.whole = Partial("figshare:1", len(content), etag, "ndownloader.figshare.com", "boot")
        self.draft = bytearray()
        self.ranges = FileRanges(layout)
        self.ranges.begin(0, self.whole, latency=0.0)
        self.receiving: list[Segment | None] = [None]  # None: the connection that began the file

    def receive(self, which: int, count: int) -> None:
        segment = self.receiving[which % len(self.receiving)]
        here = segment.position if segment else len(self.draft)
        mine, ended = self.ranges.allot(memoryview(self.content)[here : here + count], segment)
        if segment is None:
            self.draft += mine
            ended = ended or len(self.draft) == len(self.content)
        elif not segment.write(mine) or ended:
            ended = True
            segment.end()
        if ended:
            self.receiving.remove(segment)

    def split(self) -> Segment | None:
        """Add one more connection if the missing bytes take long."""
        if share := self.ranges.split(time.monotonic() + 1000):
            segment, request = share
            assert request == RangeRequest(segment.start, segment.stop, len(self.content), self.whole.etag)
            self.receiving.append(segment)
            return segment
        return None

    def join(self) -> None:
        """Append the segments, up to the end of the first that is cut."""
        while segment := self.ranges.next_segment():
            self.draft += b"".join(segment.chunks())
            self.ranges.mark_joined(segment, len(self.draft))
            if len(self.draft) < segment.stop:
                break


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two bytes are allowed."""
    monkeypatch.setattr("antscache.fetch.segments.MIN_SEGMENT_BYTES", 2)


@pytest.mark.usefixtures("tiny")
@unhurried
@given(
    content=st.binary(min_size=1, max_size=300),
    turns=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40), st.booleans()), max_size=40),
)
def test_ranges_always_make_up_the_file(layout: Layout, content: bytes, turns: list[tuple[int, int, bool]]) -> None:
    """Connections receive any number of bytes in any order, and ranges are split at any time."""
    connections = Connections(content, layout)
    for which, count, more in turns:
        if connections.receiving:
            connections.receive(which, count)
        if more:
            connections.split()
    while connections.receiving:
        connections.receive(0, 7)
    connections.join()
    assert connections.draft == content
    assert nameless(layout) == 0


@pytest.mark.usefixtures("tiny")
@unhurried
@given(content=st.binary(min_size=20, max_size=300), came=st.integers(0, 1000), more=st.booleans())
def test_missing_bytes_of_a_segment_are_requested(layout: Layout, content: bytes, came: int, more: bool) -> None:
    """The request goes up to the next segment."""
    connections = Connections(content, layout)
    connections.receive(0, 1)
    segments = [connections.split()]
    if more:
        segments.append(connections.split())
    first, *others = sorted(filter(None, segments), key=lambda segment: segment.start)
    while None in connections.receiving:
        connections.receive(connections.receiving.index(None), 7)
    connections.receiving.remove(first)
    first.write(memoryview(content)[first.start : first.start + came % (first.stop - first.start)])
    first.end()
    connections.join()
    assert len(connections.draft) < first.stop
    assert connections.ranges.first_segment_start == (others[0].start if others else None)
    connections.ranges.begin(len(connections.draft), connections.whole, latency=0.0)
    connections.receiving.append(None)
    while connections.receiving:
        connections.receive(0, 7)
    connections.join()
    assert connections.draft == content


@pytest.mark.usefixtures("tiny")
def test_dropped_ranges_are_not_split_before_begin(layout: Layout) -> None:
    """A file that begins anew has no segments."""
    connections = Connections(bytes(100), layout)
    connections.receive(0, 1)
    segment = connections.split()
    assert segment is not None
    connections.ranges.drop()
    assert not segment.write(memoryview(b"late"))
    assert connections.split() is None
    assert connections.ranges.seconds_left(time.monotonic() + 1000) == 0
    connections.ranges.begin(0, connections.whole, latency=0.0)
    assert connections.ranges.first_segment_start is None
    segment.end()
    assert nameless(layout) == 0


@pytest.mark.usefixtures("tiny")
def test_refused_ranges_or_no_etag_prevent_splitting(layout: Layout) -> None:
    refused, nameless_state = Connections(bytes(100), layout), Connections(bytes(100), layout, etag="")
    refused.ranges.forbid_splitting()
    for connections in refused, nameless_state:
        connections.receive(0, 1)
        assert connections.split() is None


@pytest.mark.usefixtures("tiny")
def test_file_of_unknown_size_is_not_split(layout: Layout) -> None:
    ranges, chunk = FileRanges(layout), memoryview(bytes(50))
    ranges.begin(0, None, latency=0.0)
    assert ranges.allot(chunk) == (chunk, False)
    assert ranges.split(time.monotonic() + 1000) is None


@pytest.mark.usefixtures("tiny")
def test_range_shorter_than_a_few_latencies_is_whole(layout: Layout) -> None:
    """A range that takes no longer than a few answers of the origin is not split."""
    connections = Connections(bytes(100), layout)
    connections.ranges.begin(0, connections.whole, latency=1000.0)
    connections.receive(0, 50)
    assert connections.split() is None


# The rate


def flow(meter: Throughput, start: float, seconds: float, rate: int, step: float = 0.02) -> float:
    """Let bytes arrive at `rate` for so long, and return the time afterwards."""
    for number in range(1, round(seconds / step) + 1):
        meter.add(round(rate * step), start + number * step)
    return start + round(seconds / step) * step


def test_rate_is_zero_before_the_first_sample() -> None:
    meter = Throughput()
    assert meter.rate(5.0) == 0
    meter.add(10**9, 5.0)
    assert meter.rate(5.0) == meter.rate(5.0 + RATE_SAMPLE_SECONDS / 2) == 0


@given(rate=st.integers(10**6, 10**10), start=st.floats(0, 1e6), step=st.floats(0.001, 0.3))
def test_rate_is_the_bytes_per_second(rate: int, start: float, step: float) -> None:
    meter = Throughput()
    now = flow(meter, start, 3.0, rate, step)
    assert meter.rate(now) == pytest.approx(rate, rel=0.05)


def test_rate_is_of_the_last_half_second() -> None:
    meter = Throughput()
    now = flow(meter, 0.0, 10.0, 1_000_000)
    now = flow(meter, now, RATE_WINDOW_SECONDS + 3 * RATE_SAMPLE_SECONDS, 50_000_000)
    assert meter.rate(now) == pytest.approx(50_000_000, rel=0.05)
    now = flow(meter, now, RATE_WINDOW_SECONDS + 3 * RATE_SAMPLE_SECONDS, 1_000_000)
    assert meter.rate(now) == pytest.approx(1_000_000, rel=0.05)


def test_rate_falls_when_nothing_comes() -> None:
    meter = Throughput()
    now = flow(meter, 0.0, 10.0, 1_000_000)
    assert meter.rate(now + 5) < 200_000
    assert meter.rate(now + 500) < meter.rate(now + 50) < meter.rate(now + 5)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 10)), max_size=20), st.floats(0, 10))
def test_rate_is_never_negative_or_too_high(arrivals: list[tuple[int, float]], later: float) -> None:
    meter, now = Throughput(), 0.0
    for count, passed in arrivals:
        now += passed
        meter.add(count, now)
    assert 0 <= meter.rate(now + later) <= sum(count for count, _ in arrivals) / RATE_SAMPLE_SECONDS


def test_bytes_of_several_threads_all_count() -> None:
    meter = Throughput()
    meter.add(1, 0.0)

    def receive() -> None:
        for _ in range(5000):
            meter.add(1, 0.0)

    threads = [Thread(target=receive, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.rate(1.0) == 20_000


# The number of connections


def connections_after(  # noqa: PLR0913  facts about a network, and about the measurement
    seconds: float,
    *,
    each: float = 1.0,
    together: float = float("inf"),
    workers: int = 64,
    quiet: float = 0.0,
    delay: float = 0.0,
    look: float = 0.1,
) -> int:
    """Begin with one connection, and return the number of them in the end.

    Args:
        seconds: the duration.
        each: the most that one connection receives.
        together: the most that all receive together.
        workers: the largest number of connections.
        quiet: seconds at the beginning in which nothing is worth splitting.
        delay: seconds after which a connection begins to receive.
        look: seconds from one measurement to the next.
    """
    budget, begun = ConnectionBudget(), [-1e9]
    for number in range(round(seconds / look)):
        now = number * look
        rate = min(together, each * sum(now - since >= delay for since in begun))
        if budget.allows(now, rate, len(begun)) and now >= quiet and len(begun) < workers:
            begun.append(now)
    return len(begun)


@pytest.mark.parametrize("workers", [1, 2, 3, 16, 200])
def test_connections_are_added_while_each_adds_rate(workers: int) -> None:
    assert connections_after(60, workers=workers) == workers


@given(quiet=st.floats(0, 20), delay=st.floats(0, SETTLE_SECONDS - 0.11), look=st.floats(0.01, 0.1))
@example(quiet=0.0, delay=0.5, look=0.1)
@example(quiet=5.0, delay=0.2, look=0.1)
@settings(deadline=None, max_examples=50)
def test_connections_are_judged_only_once_settled(quiet: float, delay: float, look: float) -> None:
    assert connections_after(quiet + 20, quiet=quiet, delay=delay, look=look, workers=16) == 16


@given(quiet=st.floats(0, 20), look=st.floats(0.01, 0.1))
@example(quiet=0.0, look=0.1)
@settings(deadline=None, max_examples=50)
def test_second_connection_without_gain_is_the_last(quiet: float, look: float) -> None:
    assert connections_after(quiet + 60, together=1.0, quiet=quiet, look=look) == 2


@pytest.mark.parametrize("enough", range(1, 33))
def test_network_is_filled_and_not_crowded(enough: int) -> None:
    assert enough <= connections_after(60, together=enough, workers=500) <= 4 * enough


def test_connections_at_most_double_before_they_settle() -> None:
    budget = ConnectionBudget()
    assert budget.allows(0.0, 100.0, 4)
    for connections in 5, 6, 7:
        assert budget.allows(0.1, 100.0, connections)
    assert not any(budget.allows(0.1 + tenth * SETTLE_SECONDS / 10, 100.0 * tenth, 8) for tenth in range(8))


def test_connections_without_gain_end_the_growth() -> None:
    budget = ConnectionBudget()
    assert budget.allows(0.0, 100.0, 4)
    assert not budget.allows(0.1, 100.0, 8)
    assert not budget.allows(SETTLE_SECONDS + 0.2, 101.0, 8)
    later = [
        (SETTLE_SECONDS + seconds, 1000.0 * seconds, connections) for seconds in range(1, 9) for connections in range(9)
    ]
    assert not any(budget.allows(*look) for look in later)


def test_ended_files_do_not_end_the_growth() -> None:
    budget = ConnectionBudget()
    assert budget.allows(0.0, 800.0, 8)
    for number, connections in enumerate([7, 6, 5, 4, 3, 2, 1]):
        assert budget.allows(1.0 + number, 100.0 * connections, connections)
