"""Splitting: pieces that one thread writes and another reads, and whether one more connection is worth it."""

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
from antscache.fetch.segments import SAMPLE, SETTLE, WINDOW, ConnectionBudget, Part, Parts, Segment, Throughput

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
    """How many open files this process has that were once in `ingest/`."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor that reads the directory is gone by now
            targets.append(os.readlink(link))  # noqa: PTH115  what the link says, not a path
    return sum(target.startswith(str(layout.ingest)) for target in targets)


# Parts


def test_a_part_takes_as_long_as_its_rate_so_far_says() -> None:
    part = Part(start=100, stop=1100, position=350, since=20.0)
    assert part.left == 750
    assert part.seconds_left(now=21.0) == 3.0
    assert part.seconds_left(now=22.0) == 6.0


def test_a_part_of_which_nothing_came_yet_says_nothing() -> None:
    assert Part(100, 1100, 100, since=20.0).seconds_left(now=500.0) == 0


def test_a_part_that_is_there_takes_no_longer() -> None:
    assert Part(100, 1100, 1100, since=20.0).seconds_left(now=500.0) == 0


# What is read of a piece


class Writing(Thread):
    """Writes `content` into `piece` in chunks of these sizes, as `fetch` does, and ends it."""

    def __init__(self, piece: Segment, content: bytes, sizes: list[int], lock: Lock) -> None:
        super().__init__(daemon=True)
        self._piece, self._content, self._sizes, self._lock = piece, memoryview(content), sizes, lock
        self.wanted = True

    def run(self) -> None:
        rest = self._content
        for number in range(len(rest)):
            size = self._sizes[number % len(self._sizes)]
            chunk, rest = rest[:size], rest[size:]
            with self._lock:
                mine = chunk[: self._piece.left]
                self._piece.position += len(mine)
            self.wanted = self._piece.write(mine)
            if not (self.wanted and rest and self._piece.left):
                break
        self._piece.end()


sizes = st.lists(st.integers(1, 400), min_size=1, max_size=5)


@unhurried
@given(content=st.binary(max_size=2000), sizes=sizes, start=st.integers(0, 1 << 60))
def test_what_one_thread_writes_another_reads_in_order(
    layout: Layout, content: bytes, sizes: list[int], start: int
) -> None:
    piece = Segment(start, start + len(content), layout)
    writing = Writing(piece, content, sizes, Lock())
    writing.start()
    assert b"".join(piece.chunks()) == content
    piece.drop()
    writing.join()
    assert nameless(layout) == 0


@unhurried
@given(
    content=st.binary(min_size=1, max_size=2000),
    sizes=sizes,
    cuts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_a_stop_that_comes_closer_meanwhile_is_where_reading_ends(
    layout: Layout, content: bytes, sizes: list[int], cuts: list[int]
) -> None:
    piece, lock = Segment(500, 500 + len(content), layout), Lock()
    writing = Writing(piece, content, sizes, lock)
    writing.start()
    read = b""
    for number, chunk in enumerate(piece.chunks()):
        read += chunk
        if number in cuts:
            with lock:
                piece.stop -= piece.left // 2  # as Parts.halve does
    assert read == content[: piece.stop - piece.start]
    piece.drop()
    writing.join()
    assert nameless(layout) == 0


@unhurried
@given(content=st.binary(max_size=500), missing=st.integers(1, 500), sizes=sizes)
def test_where_its_writer_ends_early_is_where_a_piece_ends(
    layout: Layout, content: bytes, missing: int, sizes: list[int]
) -> None:
    piece = Segment(7, 7 + len(content) + missing, layout)
    writing = Writing(piece, content, sizes, Lock())
    writing.start()
    assert b"".join(piece.chunks()) == content
    piece.drop()
    writing.join()
    assert nameless(layout) == 0


def test_a_piece_of_many_megabytes_is_read_as_it_was_written(layout: Layout) -> None:
    content = os.urandom(5 * MEGABYTE + 3)
    piece = Segment(0, len(content), layout)
    writing = Writing(piece, content, [MEGABYTE, 3 * MEGABYTE], Lock())
    writing.start()
    chunks = list(piece.chunks())
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= MEGABYTE
    piece.drop()
    writing.join()


def test_what_is_written_can_be_read_before_the_piece_ends(layout: Layout) -> None:
    piece = Segment(0, 6, layout)
    chunks = piece.chunks()
    for content in b"abc", b"def":
        assert piece.write(memoryview(content))
        assert next(chunks) == content
    assert list(chunks) == []
    piece.end()
    piece.drop()


def test_who_reads_looks_around_while_nothing_comes(layout: Layout) -> None:
    piece = Segment(0, 6, layout)
    assert next(piece.chunks()) == b""
    piece.end()
    piece.drop()


def test_nothing_is_read_beyond_the_stop_whatever_was_written(layout: Layout) -> None:
    piece = Segment(10, 13, layout)
    piece.write(memoryview(b"abcdef"))
    assert b"".join(piece.chunks()) == b"abc"
    piece.end()
    piece.drop()


# Who is done with a piece


def test_who_writes_what_nobody_wants_is_told(layout: Layout) -> None:
    piece = Segment(0, 100, layout)
    assert piece.write(memoryview(b"abc"))
    piece.drop()
    assert not piece.write(memoryview(b"def"))
    assert not piece.write(memoryview(b""))
    assert nameless(layout) == 1
    piece.end()
    assert nameless(layout) == 0


def test_a_writer_under_way_is_told_when_its_reader_leaves(layout: Layout) -> None:
    content = bytes(MEGABYTE)
    piece = Segment(0, 1 << 50, layout)
    written = threading.Event()

    def write() -> None:
        while piece.write(memoryview(content)[:4096]):
            written.set()
        piece.end()

    writing = Thread(target=write, daemon=True)
    writing.start()
    assert written.wait(30)
    assert next(piece.chunks())
    piece.drop()
    writing.join(30)
    assert not writing.is_alive()
    assert nameless(layout) == 0


@pytest.mark.parametrize("leave", [(Segment.end, Segment.drop), (Segment.drop, Segment.end)])
def test_the_file_is_open_until_both_have_left(layout: Layout, leave: tuple[Callable[[Segment], None], ...]) -> None:
    piece = Segment(0, 100, layout)
    left = [nameless(layout)]
    for one in leave:
        one(piece)
        left.append(nameless(layout))
    assert left == [1, 1, 0]


@pytest.mark.parametrize("again", [Segment.end, Segment.drop])
def test_who_leaves_twice_closes_nobody_elses_file(layout: Layout, again: Callable[[Segment], None]) -> None:
    piece = Segment(0, 100, layout)
    piece.end()
    piece.drop()
    others = [os.open(layout.root, os.O_RDONLY) for _ in range(8)]  # one of them has the number that became free
    with suppress(OSError):
        again(piece)
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


def test_a_piece_is_never_found_by_anybody(layout: Layout) -> None:
    piece = Segment(0, 6, layout)
    assert list(layout.ingest.iterdir()) == []
    piece.write(memoryview(b"abcdef"))
    assert list(layout.ingest.iterdir()) == []
    piece.end()
    assert list(layout.ingest.iterdir()) == []
    piece.drop()
    assert list(layout.ingest.iterdir()) == []


def test_a_disk_that_refuses_a_piece_is_an_error_and_leaves_nothing_open(layout: Layout) -> None:
    layout.ingest.rmdir()
    with pytest.raises(StoreError, match="cannot write to"):
        Segment(0, 6, layout)
    assert nameless(layout) == 0


@pytest.mark.parametrize("space", [3, 5])
def test_a_disk_that_is_full_ends_a_piece_where_it_was(layout: Layout, space: int) -> None:
    piece = Segment(10, 16, layout)
    piece.write(memoryview(b"abc"))
    with no_file_beyond(space), pytest.raises(StoreError, match="cannot write a piece"):
        piece.write(memoryview(b"def"))
    piece.end()
    assert b"".join(piece.chunks()) == b"abcdef"[:space]
    piece.drop()
    assert nameless(layout) == 0


# Who receives which part


class Connections:
    """Those that a file comes over: each receives in its turn as many bytes as it is told, if it has so many to get."""

    def __init__(self, content: bytes, layout: Layout, *, etag: str = '"state"') -> None:
        self.content = content
        self.whole = Partial("figshare:1", len(content), etag, "ndownloader.figshare.com", "boot")
        self.draft = bytearray()
        self.parts = Parts(layout)
        self.parts.begin(0, self.whole, latency=0.0)
        self.receiving: list[Segment | None] = [None]  # None: whoever began

    def receive(self, which: int, count: int) -> None:
        piece = self.receiving[which % len(self.receiving)]
        here = piece.position if piece else len(self.draft)
        mine, ended = self.parts.allot(memoryview(self.content)[here : here + count], piece)
        if piece is None:
            self.draft += mine
            ended = ended or len(self.draft) == len(self.content)
        elif not piece.write(mine) or ended:
            ended = True
            piece.end()
        if ended:
            self.receiving.remove(piece)

    def halve(self) -> Segment | None:
        """One more connection, if what is not there yet takes long."""
        if share := self.parts.halve(time.monotonic() + 1000):
            piece, asked = share
            assert asked == RangeRequest(piece.start, piece.stop, len(self.content), self.whole.etag)
            self.receiving.append(piece)
            return piece
        return None

    def join(self) -> None:
        """Whoever began goes on from the pieces, to the end of the first that is cut."""
        while piece := self.parts.next_piece():
            self.draft += b"".join(piece.chunks())
            self.parts.joined(piece, len(self.draft))
            if len(self.draft) < piece.stop:
                break


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes are worth a connection."""
    monkeypatch.setattr("antscache.fetch.segments.LEAST", 2)


@pytest.mark.usefixtures("tiny")
@unhurried
@given(
    content=st.binary(min_size=1, max_size=300),
    turns=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40), st.booleans()), max_size=40),
)
def test_whoever_receives_how_much_of_a_file_and_when_its_parts_make_it_up(
    layout: Layout, content: bytes, turns: list[tuple[int, int, bool]]
) -> None:
    connections = Connections(content, layout)
    for which, count, more in turns:
        if connections.receiving:
            connections.receive(which, count)
        if more:
            connections.halve()
    while connections.receiving:
        connections.receive(0, 7)
    connections.join()
    assert connections.draft == content
    assert nameless(layout) == 0


@pytest.mark.usefixtures("tiny")
@unhurried
@given(content=st.binary(min_size=20, max_size=300), came=st.integers(0, 1000), more=st.booleans())
def test_what_a_piece_that_was_cut_does_not_hold_is_asked_for_up_to_the_next(
    layout: Layout, content: bytes, came: int, more: bool
) -> None:
    connections = Connections(content, layout)
    connections.receive(0, 1)
    pieces = [connections.halve()]
    if more:
        pieces.append(connections.halve())
    first, *others = sorted(filter(None, pieces), key=lambda piece: piece.start)
    while None in connections.receiving:
        connections.receive(connections.receiving.index(None), 7)
    connections.receiving.remove(first)
    first.write(memoryview(content)[first.start : first.start + came % (first.stop - first.start)])
    first.end()
    connections.join()
    assert len(connections.draft) < first.stop
    assert connections.parts.pieces_begin == (others[0].start if others else None)
    connections.parts.begin(len(connections.draft), connections.whole, latency=0.0)
    connections.receiving.append(None)
    while connections.receiving:
        connections.receive(0, 7)
    connections.join()
    assert connections.draft == content


@pytest.mark.usefixtures("tiny")
def test_a_file_that_begins_anew_has_no_pieces_and_nobody_is_given_one_before_it_does(layout: Layout) -> None:
    connections = Connections(bytes(100), layout)
    connections.receive(0, 1)
    piece = connections.halve()
    assert piece is not None
    connections.parts.drop()
    assert not piece.write(memoryview(b"late"))
    assert connections.halve() is None
    assert connections.parts.seconds_left(time.monotonic() + 1000) == 0
    connections.parts.begin(0, connections.whole, latency=0.0)
    assert connections.parts.pieces_begin is None
    piece.end()
    assert nameless(layout) == 0


@pytest.mark.usefixtures("tiny")
def test_what_is_refused_in_pieces_or_could_not_be_told_from_another_state_is_not_divided(layout: Layout) -> None:
    refused, nameless_state = Connections(bytes(100), layout), Connections(bytes(100), layout, etag="")
    refused.parts.refuse()
    for connections in refused, nameless_state:
        connections.receive(0, 1)
        assert connections.halve() is None


@pytest.mark.usefixtures("tiny")
def test_what_nobody_knows_the_length_of_goes_to_one(layout: Layout) -> None:
    parts, chunk = Parts(layout), memoryview(bytes(50))
    parts.begin(0, None, latency=0.0)
    assert parts.allot(chunk) == (chunk, False)
    assert parts.halve(time.monotonic() + 1000) is None


@pytest.mark.usefixtures("tiny")
def test_a_part_that_takes_no_longer_than_a_few_answers_is_not_divided(layout: Layout) -> None:
    connections = Connections(bytes(100), layout)
    connections.parts.begin(0, connections.whole, latency=1000.0)
    connections.receive(0, 50)
    assert connections.halve() is None


# The rate


def flow(meter: Throughput, start: float, seconds: float, rate: int, step: float = 0.02) -> float:
    """Bytes arrive at `rate` for so long; the time it is then."""
    for number in range(1, round(seconds / step) + 1):
        meter.add(round(rate * step), start + number * step)
    return start + round(seconds / step) * step


def test_the_rate_cannot_be_told_before_there_was_time_to_look() -> None:
    meter = Throughput()
    assert meter.rate(5.0) == 0
    meter.add(10**9, 5.0)
    assert meter.rate(5.0) == meter.rate(5.0 + SAMPLE / 2) == 0


@given(rate=st.integers(10**6, 10**10), start=st.floats(0, 1e6), step=st.floats(0.001, 0.3))
def test_the_rate_is_what_flows(rate: int, start: float, step: float) -> None:
    meter = Throughput()
    now = flow(meter, start, 3.0, rate, step)
    assert meter.rate(now) == pytest.approx(rate, rel=0.05)


def test_the_rate_is_that_of_about_the_last_half_second() -> None:
    meter = Throughput()
    now = flow(meter, 0.0, 10.0, 1_000_000)
    now = flow(meter, now, WINDOW + 3 * SAMPLE, 50_000_000)
    assert meter.rate(now) == pytest.approx(50_000_000, rel=0.05)
    now = flow(meter, now, WINDOW + 3 * SAMPLE, 1_000_000)
    assert meter.rate(now) == pytest.approx(1_000_000, rel=0.05)


def test_the_rate_falls_when_nothing_comes_any_more() -> None:
    meter = Throughput()
    now = flow(meter, 0.0, 10.0, 1_000_000)
    assert meter.rate(now + 5) < 200_000
    assert meter.rate(now + 500) < meter.rate(now + 50) < meter.rate(now + 5)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 10)), max_size=20), st.floats(0, 10))
def test_no_arrivals_make_a_rate_that_is_negative_or_more_than_came(
    arrivals: list[tuple[int, float]], later: float
) -> None:
    meter, now = Throughput(), 0.0
    for count, passed in arrivals:
        now += passed
        meter.add(count, now)
    assert 0 <= meter.rate(now + later) <= sum(count for count, _ in arrivals) / SAMPLE


def test_what_several_threads_receive_all_counts() -> None:
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


# What more connections gain


def connections_after(  # noqa: PLR0913  what a network is like, and how it is looked at
    seconds: float,
    *,
    each: float = 1.0,
    together: float = float("inf"),
    workers: int = 64,
    quiet: float = 0.0,
    delay: float = 0.0,
    look: float = 0.1,
) -> int:
    """How many connections there are in the end, beginning with one.

    Args:
        seconds: how long it is looked at.
        each: what one connection receives.
        together: what all receive at most.
        workers: how many connections there can be.
        quiet: seconds at the beginning in which no part is worth splitting, whatever is allowed.
        delay: seconds after which a connection begins to receive.
        look: seconds from one look to the next.
    """
    gain, begun = ConnectionBudget(), [-1e9]
    for number in range(round(seconds / look)):
        now = number * look
        rate = min(together, each * sum(now - since >= delay for since in begun))
        if gain.allows(now, rate, len(begun)) and now >= quiet and len(begun) < workers:
            begun.append(now)
    return len(begun)


@pytest.mark.parametrize("workers", [1, 2, 3, 16, 200])
def test_where_each_connection_has_a_rate_of_its_own_any_number_is_allowed(workers: int) -> None:
    assert connections_after(60, workers=workers) == workers


@given(quiet=st.floats(0, 20), delay=st.floats(0, SETTLE - 0.11), look=st.floats(0.01, 0.1))
@example(quiet=0.0, delay=0.5, look=0.1)
@example(quiet=5.0, delay=0.2, look=0.1)
@settings(deadline=None, max_examples=50)
def test_no_connection_is_judged_before_it_could_show_what_it_is_worth(quiet: float, delay: float, look: float) -> None:
    assert connections_after(quiet + 20, quiet=quiet, delay=delay, look=look, workers=16) == 16


@given(quiet=st.floats(0, 20), look=st.floats(0.01, 0.1))
@example(quiet=0.0, look=0.1)
@settings(deadline=None, max_examples=50)
def test_where_one_connection_takes_all_there_is_a_second_one_is_the_last(quiet: float, look: float) -> None:
    assert connections_after(quiet + 60, together=1.0, quiet=quiet, look=look) == 2


@pytest.mark.parametrize("enough", range(1, 33))
def test_a_network_is_filled_and_not_crowded(enough: int) -> None:
    assert enough <= connections_after(60, together=enough, workers=500) <= 4 * enough


def test_until_new_connections_have_settled_there_are_at_most_twice_as_many() -> None:
    gain = ConnectionBudget()
    assert gain.allows(0.0, 100.0, 4)
    for connections in 5, 6, 7:
        assert gain.allows(0.1, 100.0, connections)
    assert not any(gain.allows(0.1 + tenth * SETTLE / 10, 100.0 * tenth, 8) for tenth in range(8))


def test_once_more_connections_gain_nothing_no_more_are_added() -> None:
    gain = ConnectionBudget()
    assert gain.allows(0.0, 100.0, 4)
    assert not gain.allows(0.1, 100.0, 8)
    assert not gain.allows(SETTLE + 0.2, 101.0, 8)
    later = [(SETTLE + seconds, 1000.0 * seconds, connections) for seconds in range(1, 9) for connections in range(9)]
    assert not any(gain.allows(*look) for look in later)


def test_files_that_end_are_no_reason_to_add_no_more() -> None:
    gain = ConnectionBudget()
    assert gain.allows(0.0, 800.0, 8)
    for number, connections in enumerate([7, 6, 5, 4, 3, 2, 1]):
        assert gain.allows(1.0 + number, 100.0 * connections, connections)
