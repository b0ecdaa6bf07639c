"""Every misbehaviour of an origin ends in the right bytes or in a clear error, and never in a wrong blob.

The table here is also in docs/fetching.md.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, REPOSITORY, TEMPLATE
from support.fetching import fetcher, run
from support.raw_server import raw_server

from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.events import Event, Fetched, Refused, Started
from antscache.core.manifest import Release
from antscache.core.plan import Wanted
from antscache.fetch import bounds, http, transfer
from antscache.fetch.origins import parse_origins
from antscache.store.store import Store
from antscache.testing import ROUTE_MISBEHAVIOURS, Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.errors import Failure

NUMBER, IMAGE = "34821874", "22597175"
SIZE = 2_500_000
RIGHT = "the right bytes"
UNKNOWABLE = "bytes that only a known digest refuses"  # the storage confirms them by their MD5

# The end of a fetch in which every answer shows this misbehaviour: the right bytes, or the beginning of the error.
ENDS: dict[Misbehaviour, str] = {
    Misbehaviour.CHALLENGE: "202 bot challenge (no file)",
    Misbehaviour.UNAUTHORIZED: "401 Unauthorized",
    Misbehaviour.FORBIDDEN: "403 Forbidden",
    Misbehaviour.MISSING: "404 Not Found",
    Misbehaviour.UNSATISFIABLE: "416 Requested Range Not Satisfiable",
    Misbehaviour.BUSY: "429 Too Many Requests",
    Misbehaviour.BUSY_UNTIL: "429 Too Many Requests",
    Misbehaviour.BUSY_LONG: "429 Too Many Requests",
    Misbehaviour.BROKEN: "500 Internal Server Error",
    Misbehaviour.UNAVAILABLE: "503 Service Unavailable",
    Misbehaviour.HTML: "200 with an HTML page",
    Misbehaviour.HTML_AS_BINARY: "an HTML page",
    Misbehaviour.EMPTY: "200 with an empty body",
    Misbehaviour.REDIRECT_FILE: "a redirect to file:, which is not http(s)",
    Misbehaviour.REDIRECT_FTP: "a redirect to ftp:, which is not http(s)",
    Misbehaviour.REDIRECT_HTTP: "more than 5 redirects",
    Misbehaviour.REDIRECT_LOOP: "more than 5 redirects",
    Misbehaviour.REDIRECT_LOOP_301: "more than 5 redirects",
    Misbehaviour.REDIRECT_NOWHERE: "a redirect to nowhere",
    Misbehaviour.TRUNCATED: UNKNOWABLE,
    Misbehaviour.OTHER: UNKNOWABLE,
    Misbehaviour.WRONG_TYPE: UNKNOWABLE,
    Misbehaviour.CORRUPT: "damaged: the MD5",
    Misbehaviour.WRONG_ETAG: "damaged: the MD5",
    Misbehaviour.MULTIPART_ETAG: RIGHT,
    Misbehaviour.WEAK_ETAG: RIGHT,
    Misbehaviour.NO_ETAG: RIGHT,
    Misbehaviour.WRONG_CONTENT_MD5: "damaged: the MD5",
    Misbehaviour.WRONG_DIGEST: "damaged: the MD5",
    Misbehaviour.WRONG_REPR_DIGEST: "damaged: the SHA-256",
    Misbehaviour.ODD_DIGESTS: RIGHT,
    Misbehaviour.RANGE_UNASKED: "206 with a part instead of the whole file",
    **{how: RIGHT for how in Misbehaviour if how.value.startswith("range-") and how.value != "range-unasked"},
    Misbehaviour.CHUNKED: RIGHT,
    Misbehaviour.UNANNOUNCED: RIGHT,
    Misbehaviour.SLOW: RIGHT,
    Misbehaviour.GZIP_ENCODED: "200 with a Content-Encoding that was not asked for",
    Misbehaviour.CUT: "cut: ",
    Misbehaviour.CUT_CHUNKED: "cut: before its end",
    Misbehaviour.CUT_UNANNOUNCED: "damaged: the MD5",
    Misbehaviour.CUT_AT_0: "cut: 0 of",
    Misbehaviour.CUT_AT_0_CHUNKED: "cut: before its end",
    Misbehaviour.CUT_AT_0_UNANNOUNCED: "damaged: the MD5",
    Misbehaviour.CUT_AT_1: "cut: 1 of",
    Misbehaviour.CUT_AT_1_CHUNKED: "cut: before its end",
    Misbehaviour.CUT_AT_1_UNANNOUNCED: "damaged: the MD5",
    Misbehaviour.CUT_AT_LAST: "cut: ",
    Misbehaviour.CUT_AT_LAST_CHUNKED: "cut: before its end",
    Misbehaviour.CUT_AT_LAST_UNANNOUNCED: "damaged: the MD5",
    Misbehaviour.LONG: RIGHT,
    Misbehaviour.SHORT_ANNOUNCED: "damaged: the MD5",
    Misbehaviour.LONG_ANNOUNCED: "cut: ",
    Misbehaviour.STALL: "no data in time",
    Misbehaviour.STALL_HALF: "no data in time",
    Misbehaviour.STALL_HEADERS: "no data in time",
    Misbehaviour.RESET: "broken off: Connection reset by peer",
    Misbehaviour.CONTINUE: "more than 262144 bytes that are not the file's",
    Misbehaviour.DRIBBLED_HEAD: "no whole answer in time",
    Misbehaviour.DRIBBLED: "too slow: ",
    Misbehaviour.ENDLESS: "longer than ",
    Misbehaviour.ENDLESS_TRAILER: "more than 262144 bytes that are not the file's",
}
SILENT = {Misbehaviour.STALL, Misbehaviour.STALL_HALF, Misbehaviour.STALL_HEADERS, Misbehaviour.DRIBBLED_HEAD}


@pytest.fixture(scope="module")
def _standin() -> Iterator[StandIn]:
    with StandIn({NUMBER: f"{BRAIN}.h5", IMAGE: f"{TEMPLATE}.nii.gz"}, size=SIZE) as running:
        yield running


@pytest.fixture
def standin(_standin: StandIn) -> Iterator[StandIn]:
    yield _standin
    for number in _standin.files:
        _standin.behave(number)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


@pytest.fixture(autouse=True)
def _limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for a minute, nor send gigabytes."""
    monkeypatch.setattr(http, "MAX_UNANNOUNCED_BYTES", 4_000_000)
    if "dribbled" in request.node.name or "slow" in request.node.name:
        monkeypatch.setattr(bounds, "MINUTE_SECONDS", 0.3)


def fetch(  # noqa: PLR0913  all but two by name
    store: Store,
    standin: StandIn,
    *origins: str,
    number: str = NUMBER,
    known: Descriptor | None = None,
    how: Misbehaviour | None = None,
    silence: float = 0.2,
) -> tuple[list[Failure], list[Event]]:
    """Return failures and events. Wait long for bytes, but only `silence` seconds if `how` is silent."""
    timeout = silence if how in SILENT else 60.0
    wanted = [Wanted(f"figshare:{number}", standin.files[number], Release("antspynet", "0.3.2"), known)]
    # Two rounds show what six do.
    result, events = run(fetcher(store, parse_origins([], origins), jobs=1, timeout=timeout, rounds=2), wanted)
    return result.failures, events


def held(store: Store) -> set[bytes]:
    """Return the contents of all blobs, but for the empty configuration of the OCI layout."""
    return {path.read_bytes() for path in store.layout.blobs.iterdir()} - {b"{}"}


def first(origins: str) -> str:
    return origins.split(maxsplit=1)[0]


def test_every_misbehaviour_is_in_the_table() -> None:
    assert set(ENDS) == set(Misbehaviour)


def test_table_is_in_the_docs() -> None:
    _, _, table = (REPOSITORY / "docs/fetching.md").read_text().partition("## Every way to go wrong")
    printed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.*?) \|$", table, re.MULTILINE))
    assert printed == {
        how.value: ends if ends in {RIGHT, UNKNOWABLE} else f"error: `{ends.strip()}…`" for how, ends in ENDS.items()
    }


@pytest.mark.parametrize(
    ("how", "number"),
    [
        (how, number)
        for how in Misbehaviour
        for number in (NUMBER, IMAGE)
        if number == NUMBER or how not in ROUTE_MISBEHAVIOURS
    ],
    ids=lambda each: getattr(each, "value", each),
)
def test_wrong_answers_end_in_right_bytes_or_error(
    standin: StandIn, store: Store, how: Misbehaviour, number: str
) -> None:
    failures, _ = fetch(store, standin, first(standin.misbehaving_origins(how)), number=number, how=how)
    if ENDS[how] == RIGHT:
        assert (failures, held(store)) == ([], {standin.content(number)})
    elif ENDS[how] != UNKNOWABLE:
        assert (len(failures), held(store)) == (1, set())
        assert store.record(f"figshare:{number}") is None
        if number == NUMBER:
            assert failures[0].attempts[0].outcome.startswith(ENDS[how])


@pytest.mark.parametrize("how", Misbehaviour, ids=lambda how: how.value)
def test_next_origin_delivers_after_a_wrong_one(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    known: Descriptor | None = descriptor_of(standin.content(NUMBER))
    origins = first(standin.misbehaving_origins(how)), first(standin.origins)
    known = known if ENDS[how] == UNKNOWABLE else None
    failures, _ = fetch(store, standin, *origins, known=known, how=how, silence=2.0)
    assert (failures, held(store)) == ([], {standin.content(NUMBER)})


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("how", Misbehaviour, ids=lambda how: how.value)
def test_cut_transfer_never_continues_with_wrong_bytes(
    standin: StandIn, store: Store, tmp_path: Path, how: Misbehaviour, known: bool
) -> None:
    """Half a file comes, then this answer to the request for the rest, then good ones."""
    standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT, how])
    right = descriptor_of(standin.content(NUMBER)) if known else None
    failures, _ = fetch(store, standin, first(standin.origins), known=right, how=how)
    if ENDS[how] == UNKNOWABLE and not known:  # the file has changed: what is there now is one file, not two
        changed = Store(tmp_path / "changed")
        changed.create()
        fetch(changed, standin, first(standin.misbehaving_origins(how)))
        assert held(store) <= {standin.content(NUMBER), *held(changed)}
    else:
        assert held(store) == (set() if failures else {standin.content(NUMBER)})


def other(standin: StandIn) -> bytes:
    return content(f"{NUMBER} other", standin.files[NUMBER], SIZE)


@pytest.mark.parametrize(
    "how",
    [how for how in Misbehaviour if how.value.startswith("range-") and how.value not in {"range-lying", "range-short"}],
    ids=lambda how: how.value,
)
def test_origin_without_ranges_is_asked_for_the_whole(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT, how])
    failures, _ = fetch(store, standin, first(standin.origins))
    assert (failures, held(store)) == ([], {standin.content(NUMBER)})


@pytest.mark.parametrize(
    "how",
    [Misbehaviour.CUT, Misbehaviour.CUT_AT_LAST, Misbehaviour.CUT_CHUNKED, Misbehaviour.STALL_HALF, Misbehaviour.RESET],
    ids=lambda how: how.value,
)
def test_cut_transfer_resumes(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    before = standin.sent(NUMBER)
    standin.misbehave(NUMBER, how, times=1)
    _, events = fetch(store, standin, first(standin.origins), how=how, silence=2.0)
    assert held(store) == {standin.content(NUMBER)}
    if how is not Misbehaviour.CUT_CHUNKED:  # which announces no size
        assert standin.sent(NUMBER) - before <= SIZE + (SIZE // 2 if how is Misbehaviour.RESET else 1)
        resumed = [event.resumed for event in events if isinstance(event, Started)]
        assert resumed[-1] > 0


def test_origin_that_cuts_every_answer_still_delivers(store: Store) -> None:
    with StandIn({NUMBER: f"{BRAIN}.h5"}, size=SIZE) as standin:
        standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT] * 3)
        _, events = fetch(store, standin, first(standin.origins))
        assert held(store) == {standin.content(NUMBER)}
        assert standin.sent(NUMBER) == SIZE
    kinds = [type(event) for event in events if isinstance(event, Refused | Fetched)]
    assert kinds == [Refused, Refused, Refused, Fetched]


def test_slow_origin_gives_way_to_the_next(standin: StandIn, store: Store) -> None:
    """Half the file came fast; the next origin sends the rest."""
    origins = first(standin.misbehaving_origins(Misbehaviour.DRIBBLED)), first(standin.origins)
    _, events = fetch(store, standin, *origins)
    assert [type(event) for event in events if isinstance(event, Refused | Fetched)] == [Refused, Fetched]
    assert [event.resumed > 0 for event in events if isinstance(event, Started)] == [False, True]


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_file_of_unknown_size_leaves_half_the_room(
    standin: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(transfer, "free_space", lambda _: SIZE - 1)
    right = descriptor_of(standin.content(NUMBER)) if known else None
    failures, _ = fetch(store, standin, first(standin.misbehaving_origins(Misbehaviour.UNANNOUNCED)), known=right)
    outcomes = [failure.attempts[0].outcome for failure in failures]
    assert (outcomes == []) is known
    assert all(outcome.startswith("no length announced, and") for outcome in outcomes)


def test_checksums_in_headers_are_recorded(standin: StandIn, store: Store) -> None:
    body = standin.content(NUMBER)
    md5 = b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    sha256 = b64encode(hashlib.sha256(body).digest())
    told = b"Content-MD5: %b\r\nRepr-Digest: sha-256=:%b:\r\n" % (md5, sha256)
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), told) + body) as url:
        fetch(store, standin, f"{url}?{{id}}")
    record = store.record(f"figshare:{NUMBER}")
    assert record is not None
    assert record.checks == ("length", "md5", "sha256", "form")
    assert record.is_confirmed


@pytest.mark.parametrize("how", [Misbehaviour.WRONG_CONTENT_MD5, Misbehaviour.WRONG_REPR_DIGEST])
def test_known_digest_overrides_checksums_in_headers(standin: StandIn, store: Store, how: Misbehaviour) -> None:
    right = descriptor_of(standin.content(NUMBER))
    failures, _ = fetch(store, standin, first(standin.misbehaving_origins(how)), known=right)
    assert (failures, held(store)) == ([], {standin.content(NUMBER)})


def test_bytes_of_a_changed_file_are_never_mixed(standin: StandIn, store: Store) -> None:
    """The file changes between two answers, and is fetched anew."""
    standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT, Misbehaviour.OTHER])
    fetch(store, standin, first(standin.origins))
    assert held(store) == {other(standin)}


def test_the_record_says_what_was_checked(standin: StandIn, store: Store) -> None:
    fetch(store, standin, first(standin.origins))
    record = store.record(f"figshare:{NUMBER}")
    assert record is not None
    assert record.checks == ("length", "md5", "form")
    store.layout.blob(record.digest).unlink()
    store.layout.record(record.identifier).unlink()
    fetch(store, standin, first(standin.misbehaving_origins(Misbehaviour.UNANNOUNCED)), known=record.descriptor)
    again = store.record(f"figshare:{NUMBER}")
    assert again is not None
    assert again.checks == ("digest",)
