"""Fetching: failover, retries, refusals that leave nothing, and errors of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, snapshot
from support.fetching import fetcher, run

from antscache.core.digest import descriptor_of
from antscache.core.events import Event, Present, Received, Refused
from antscache.core.manifest import Release
from antscache.core.plan import Wanted
from antscache.core.record import Record
from antscache.errors import StoreError
from antscache.fetch.http import READ_CHUNK_BYTES
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


def fetch(store: Store, origins: str, *numbers: str, known: bytes | None = None) -> tuple[FetchResult, list[Event]]:
    return run(fetcher(store, parse_origins([], origins.split())), wanted(*numbers, known=known))


def test_file_comes_from_the_first_origin(standin: StandIn, store: Store) -> None:
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
def test_transient_refusals_are_tried_again(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    standin.misbehave(NUMBER, how, times=2)
    result, events = fetch(store, standin.origins.split()[0])
    assert [event.outcome for event in events if isinstance(event, Refused)] != []
    assert result.failures == []
    assert store.holds(descriptor_of(standin.content(NUMBER)))


@pytest.mark.parametrize("how", [Misbehaviour.MISSING, Misbehaviour.HTML, *WRONG])
def test_permanent_refusals_are_not_tried_again(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    result, _ = fetch(store, standin.misbehaving_origins(how).split()[0])
    assert [len(failure.attempts) for failure in result.failures] == [1]


def test_retries_are_bounded(standin: StandIn, store: Store) -> None:
    result, _ = fetch(store, standin.misbehaving_origins(Misbehaviour.BROKEN))
    assert len(result.failures[0].attempts) == 18  # three origins, six rounds


def test_silent_origin_is_given_up_after_the_timeout(standin: StandIn, store: Store, tmp_path: Path) -> None:
    (tmp_path / NUMBER).write_bytes(standin.content(NUMBER))
    [stalled] = parse_origins([], standin.misbehaving_origins(Misbehaviour.STALL).split()[:1])
    [sound] = parse_origins([f"file://{tmp_path}/{{id}}"], [])  # which no timeout concerns
    _result, events = run(fetcher(store, [stalled, sound], timeout=0.2), wanted())
    assert [event.outcome for event in events if isinstance(event, Refused)] == ["no data in time"]
    assert store.holds(descriptor_of(standin.content(NUMBER)))


def test_wrong_beginning_spoils_no_other_origin(store: Store) -> None:
    """An origin sends the beginning of other bytes, and is cut; the next one continues them, and is asked again."""
    other = bytes(3_000_000)
    with StandIn(FEW, contents={NUMBER: other}) as wrong, StandIn(FEW, size=len(other)) as right:
        origins = [wrong.misbehaving_origins(Misbehaviour.CUT).split()[0], right.origins.split()[0]]
        content = right.content(NUMBER)
        result, _ = run(fetcher(store, parse_origins([], origins), jobs=1, rounds=1), wanted(known=content))
        assert result.failures == []
        assert right.downloads(NUMBER) == 2
        assert store.holds(descriptor_of(content))


def test_bytes_other_than_recorded_are_refused(standin: StandIn, store: Store) -> None:
    """The error has both digests, and the root is as it was."""
    before = snapshot(store.layout.root)
    other = bytes(reversed(standin.content(NUMBER)))
    result, _ = fetch(store, standin.origins, known=other)
    assert result.mismatched == result.failures
    failure = str(result.failures[0])
    assert descriptor_of(other).digest in failure
    assert descriptor_of(standin.content(NUMBER)).digest in failure
    assert snapshot(store.layout.root) == before


@pytest.mark.parametrize(
    ("how", "as_mirror", "confirmed"),
    [(None, False, True), (None, True, False), (Misbehaviour.NO_ETAG, False, False)],
    ids=["by the origin", "by a mirror", "by nobody"],
)
def test_only_an_origin_confirms_other_bytes(
    standin: StandIn, store: Store, how: Misbehaviour | None, as_mirror: bool, confirmed: bool
) -> None:
    route = (standin.misbehaving_origins(how) if how else standin.origins).split()[:1]
    origins = parse_origins(route, []) if as_mirror else parse_origins([], route)
    result, _ = run(fetcher(store, origins), wanted(known=bytes(20_000)))
    assert [failure.file for failure in result.mismatched] == [FEW[NUMBER]]
    assert result.confirmed == ({f"figshare:{NUMBER}"} if confirmed else set())


def test_damage_on_the_way_is_no_mismatch(standin: StandIn, store: Store) -> None:
    result, _ = fetch(
        store, standin.misbehaving_origins(Misbehaviour.CORRUPT).split()[0], known=standin.content(NUMBER)
    )
    assert "damaged: the MD5 is " in str(result.failures[0])
    assert (result.mismatched, result.confirmed) == ([], set())


def test_no_more_is_received_than_is_recorded(store: Store) -> None:
    """Of 50 MB that an origin sends, one read is taken."""
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=50_000_000) as endless:
        result, events = fetch(store, endless.origins.split()[0], known=b"short")
        received = sum(event.count for event in events if isinstance(event, Received))
    assert [attempt.outcome for attempt in result.failures[0].attempts] == ["more than the 5 bytes recorded"]
    assert received <= READ_CHUNK_BYTES


def test_a_known_digest_overrides_the_checks_of_form(store: Store) -> None:
    content = b"no HDF5 at all, but what the identifier is known to be"
    with StandIn({NUMBER: f"{BRAIN}.h5"}, contents={NUMBER: content}) as standin:
        result, _ = fetch(store, standin.origins, known=content)
    assert result.failures == []
    assert store.holds(descriptor_of(content))


def test_a_record_meanwhile_is_not_called_locked(standin: StandIn, store: Store) -> None:
    """Another process has recorded other bytes than are locked, after the plan was made: these are not called so."""
    right = descriptor_of(standin.content(NUMBER))
    record = Record(f"figshare:{NUMBER}", right.digest, right.size, "origin", "host", "2026-01-01T00:00:00+00:00")
    store.records.remember(record)
    locked = Wanted(f"figshare:{NUMBER}", FEW[NUMBER], RELEASE, descriptor_of(b"other"), locked=True)
    result, _ = run(fetcher(store, parse_origins([], standin.origins.split())), [locked])
    assert [event.blob for event in result.fetched] == [right]
    assert store.record(f"figshare:{NUMBER}") == record


def test_forbidding_origin_is_set_aside(store: Store) -> None:
    with StandIn(size=5000) as many:
        refused, sound = many.misbehaving_origins(Misbehaviour.FORBIDDEN).split()[0], many.origins.split()[0]
        twelve = [Wanted(f"figshare:{number}", file, RELEASE) for number, file in sorted(many.files.items())[:12]]
        result, _ = run(fetcher(store, parse_origins([], [refused, sound]), jobs=1), twelve)
        assert len(result.fetched) == 12
        assert sum(request.status == 403 for request in many.requests) == 3


def test_full_disk_ends_the_fetch(standin: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of the disk and not of an origin, and leaves nothing in ingest/."""

    def full(*_: object) -> None:
        raise StoreError("cannot write: No space left on device")

    monkeypatch.setattr(Ingest, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        fetch(store, standin.origins, *FEW)
    assert list(store.layout.ingest.iterdir()) == []


def interrupt(event: Event) -> None:
    if isinstance(event, Received):
        raise KeyboardInterrupt


def test_interrupted_fetch_keeps_only_resumable_partials(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antscache.fetch.fetcher.WORKER_STOP_SECONDS", 60.0)  # so that a slow machine is waited for
    with StandIn(FEW, size=5_000_000, rate=1_000_000) as slow:
        with pytest.raises(KeyboardInterrupt):
            fetcher(store, parse_origins([], slow.origins.split())).run(wanted(*FEW), interrupt)
        partials = partial_files(store.layout)
        assert set(partials) <= {f"figshare:{number}" for number in FEW}
        assert len(list(store.layout.ingest.iterdir())) == len(partials) + bool(partials)  # and the notes on them
        assert store.stored()[0] == 1  # the empty config of the OCI layout


def test_file_that_is_present_is_not_fetched(standin: StandIn, store: Store) -> None:
    """As if another process had fetched it meanwhile."""
    fetch(store, standin.origins, *FEW)
    requests = len(standin.requests)
    _, events = fetch(store, standin.origins, *FEW)
    assert {type(event) for event in events} == {Present}
    assert len(standin.requests) == requests


def test_last_file_is_split_where_connections_are_slow(store: Store) -> None:
    size = 48_000_000
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=size, rate=8_000_000) as slow:
        slow.prepare()
        _result, events = fetch(store, slow.origins.split()[0], NUMBER)
        received = sum(event.count for event in events if isinstance(event, Received))
        assert slow.downloads(NUMBER) > 1
        assert store.holds(descriptor_of(slow.content(NUMBER)))
        assert received == size
        assert slow.sent(NUMBER) <= size + 8 * 8_000_000 // 4  # sent behind the new end of a range that was split


def test_refused_segment_does_not_fail_the_file(store: Store) -> None:
    size = 24_000_000
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=size, rate=8_000_000) as slow:
        slow.prepare()
        slow.misbehave_in_turn(NUMBER, [None, *[Misbehaviour.RANGE_IGNORED, Misbehaviour.CUT] * 4])
        result, events = fetch(store, slow.origins.split()[0], NUMBER)
        refused = [event.outcome for event in events if isinstance(event, Refused)]
        assert any(outcome.startswith("a segment of it: ") for outcome in refused)
        assert result.failures == []
        assert store.holds(descriptor_of(slow.content(NUMBER)))
    assert list(store.layout.ingest.iterdir()) == []


def test_quick_file_is_not_split(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antscache.fetch.segments.MIN_SPLIT_SECONDS", 60.0)  # quick is relative to the machine
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=8_000_000) as quick:
        quick.prepare()
        fetch(store, quick.origins.split()[0], NUMBER)
        assert quick.downloads(NUMBER) == 1
