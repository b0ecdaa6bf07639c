"""Fetching: failover, retries, refusals that leave nothing, and a disk that refuses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, snapshot
from support.fetching import fetcher, run

from antscache.core.digest import descriptor_of
from antscache.core.events import Event, Present, Received, Refused
from antscache.core.manifest import Release
from antscache.core.plan import Wanted
from antscache.errors import StoreError
from antscache.fetch.origins import parse_origins
from antscache.store.ingest import Ingest
from antscache.store.partials import partial_files
from antscache.store.store import Store
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.fetch import FetchResult

NUMBER = "34821874"
RELEASE = Release("antspynet", "0.3.2")
WRONG = [
    Misbehaviour.HTML_AS_BINARY,
    Misbehaviour.WRONG_TYPE,
    Misbehaviour.TRUNCATED,
    Misbehaviour.CUT_UNANNOUNCED,
]


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn(FEW, size=20_000) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


def wanted(*numbers: str, known: bytes | None = None) -> list[Wanted]:
    blob = descriptor_of(known) if known is not None else None
    return [Wanted(f"figshare:{number}", FEW[number], RELEASE, blob) for number in numbers or [NUMBER]]


def fetch(
    store: Store, origins: str, *numbers: str, known: bytes | None = None, timeout: float = 5
) -> tuple[FetchResult, list[Event]]:
    made = fetcher(store, parse_origins([], origins.split()), timeout=timeout)
    return run(made, wanted(*numbers, known=known))


def test_a_file_comes_from_the_first_origin_that_has_it(standin: StandIn, store: Store) -> None:
    result, _ = fetch(store, standin.origins, *FEW)
    assert {event.file for event in result.fetched} == set(FEW.values())
    assert result.failures == []
    for number in FEW:
        record = store.record(f"figshare:{number}")
        assert record is not None
        assert record.descriptor == descriptor_of(standin.content(number))
        assert (record.trust, record.source) == ("origin", standin.url.removeprefix("http://"))
        assert store.layout.blob(record.digest).read_bytes() == standin.content(number)


@pytest.mark.parametrize("how", [Misbehaviour.BROKEN, Misbehaviour.CUT, Misbehaviour.RESET, Misbehaviour.BUSY])
def test_what_passes_is_tried_again(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    standin.misbehave(NUMBER, how, times=2)
    result, events = fetch(store, standin.origins.split()[0])
    assert [event.outcome for event in events if isinstance(event, Refused)] != []
    assert result.failures == []
    assert store.holds(descriptor_of(standin.content(NUMBER)))


@pytest.mark.parametrize("how", [Misbehaviour.MISSING, Misbehaviour.HTML, *WRONG])
def test_what_cannot_get_better_is_not_tried_again(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    result, _ = fetch(store, standin.misbehaving_origins(how).split()[0])
    assert [len(failure.attempts) for failure in result.failures] == [1]


def test_retries_are_bounded(standin: StandIn, store: Store) -> None:
    result, _ = fetch(store, standin.misbehaving_origins(Misbehaviour.BROKEN))
    assert len(result.failures[0].attempts) == 18  # three origins, six rounds


def test_a_silent_origin_is_given_up_after_the_timeout(standin: StandIn, store: Store) -> None:
    stalled, sound = standin.misbehaving_origins(Misbehaviour.STALL).split()[0], standin.origins.split()[0]
    _result, events = fetch(store, f"{stalled} {sound}", timeout=0.2)
    assert [event.outcome for event in events if isinstance(event, Refused)] == ["silence"]
    assert store.holds(descriptor_of(standin.content(NUMBER)))


def test_other_bytes_than_are_recorded_are_refused_and_told_apart(standin: StandIn, store: Store) -> None:
    before = snapshot(store.layout.root)
    other = bytes(reversed(standin.content(NUMBER)))
    result, _ = fetch(store, standin.origins, known=other)
    assert result.mismatched == result.failures
    told = str(result.failures[0])
    assert descriptor_of(other).digest in told
    assert descriptor_of(standin.content(NUMBER)).digest in told
    assert snapshot(store.layout.root) == before


def test_no_more_is_taken_than_is_recorded_however_long_an_origin_goes_on(store: Store) -> None:
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=50_000_000) as endless:
        result, events = fetch(store, endless.origins.split()[0], known=b"short")
        received = sum(event.count for event in events if isinstance(event, Received))
    assert [attempt.outcome for attempt in result.failures[0].attempts] == ["more bytes than the 5 that are recorded"]
    assert received < 1_000_000


def test_a_known_digest_overrides_the_checks_of_form(store: Store) -> None:
    content = b"no HDF5 at all, but what the identifier is known to be"
    with StandIn({NUMBER: f"{BRAIN}.h5"}, contents={NUMBER: content}) as standin:
        result, _ = fetch(store, standin.origins, known=content)
    assert result.failures == []
    assert store.holds(descriptor_of(content))


def test_an_origin_that_turns_everybody_away_is_set_aside(store: Store) -> None:
    with StandIn(size=5000) as many:
        refused, sound = many.misbehaving_origins(Misbehaviour.FORBIDDEN).split()[0], many.origins.split()[0]
        twelve = [Wanted(f"figshare:{number}", file, RELEASE) for number, file in sorted(many.files.items())[:12]]
        result, _ = run(fetcher(store, parse_origins([], [refused, sound]), jobs=1), twelve)
        assert len(result.fetched) == 12
        assert sum(request.status == 403 for request in many.requests) == 3


def test_a_full_disk_ends_the_fetch_and_blames_no_origin(
    standin: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("cannot write: No space left on device")

    monkeypatch.setattr(Ingest, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        fetch(store, standin.origins, *FEW)
    assert list(store.layout.ingest.iterdir()) == []


def interrupt(event: Event) -> None:
    if isinstance(event, Received):
        raise KeyboardInterrupt


def test_a_fetch_that_is_broken_off_keeps_what_can_be_gone_on_from_and_nothing_else(store: Store) -> None:
    with StandIn(FEW, size=5_000_000, rate=1_000_000) as slow:
        with pytest.raises(KeyboardInterrupt):
            fetcher(store, parse_origins([], slow.origins.split())).run(wanted(*FEW), interrupt)
        found = partial_files(store.layout)
        assert set(found) <= {f"figshare:{number}" for number in FEW}
        assert len(list(store.layout.ingest.iterdir())) == len(found) + bool(found)  # and the notes on them
        assert store.stored()[0] == 1  # the empty config of the OCI layout


def test_a_file_that_another_process_has_fetched_meanwhile_is_not_fetched_again(standin: StandIn, store: Store) -> None:
    fetch(store, standin.origins, *FEW)
    requests = len(standin.requests)
    _, events = fetch(store, standin.origins, *FEW)
    assert {type(event) for event in events} == {Present}
    assert len(standin.requests) == requests


def test_the_last_file_under_way_is_fetched_over_several_connections_where_one_is_the_limit(store: Store) -> None:
    size = 48_000_000
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=size, rate=8_000_000) as slow:
        slow.prepare()
        begun = time.monotonic()
        _result, events = fetch(store, slow.origins.split()[0], NUMBER)
        received = sum(event.count for event in events if isinstance(event, Received))
        seconds = time.monotonic() - begun
        assert store.holds(descriptor_of(slow.content(NUMBER)))
        assert received == size
        assert slow.sent(NUMBER) <= size + 8 * 8_000_000 // 4  # what was sent of parts that were given away
    assert seconds < size / 8_000_000 * 0.7


def test_a_piece_that_is_refused_costs_nothing_but_time(store: Store) -> None:
    size = 24_000_000
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=size, rate=8_000_000) as slow:
        slow.prepare()
        slow.misbehave_in_turn(NUMBER, [None, *[Misbehaviour.RANGE_IGNORED, Misbehaviour.CUT] * 4])
        result, events = fetch(store, slow.origins.split()[0], NUMBER)
        refused = [event.outcome for event in events if isinstance(event, Refused)]
        assert any(outcome.startswith("a piece") for outcome in refused)
        assert result.failures == []
        assert store.holds(descriptor_of(slow.content(NUMBER)))
    assert list(store.layout.ingest.iterdir()) == []


def test_a_file_that_comes_quickly_is_not_divided(store: Store) -> None:
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=8_000_000) as quick:
        quick.prepare()
        fetch(store, quick.origins.split()[0], NUMBER)
        assert quick.downloads(NUMBER) == 1
