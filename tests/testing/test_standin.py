"""The stand-in for Figshare speaks its protocol, misbehaves as asked, counts requests, and closes cleanly."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import operator
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import pytest
import requests
from support.authority import Authority

from antscache.core.manifest import Manifest, Release, make_entry
from antscache.testing import Misbehaviour, Request, StandIn, catalog_files, content

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER, NETWORK = "34821874", "brainExtractionRobustT1.h5"
IMAGE = "22597175"
FILES = {NUMBER: NETWORK, IMAGE: "S_template3.nii.gz", "3": "a.mat", "4": "b.jpg"}
SIZE = 40_000
API, NDOWNLOADER, FIGSHARE = "/v2/file/download/", "/files/", "/ndownloader/files/"
TIMEOUT_SECONDS = 600.0  # no answer takes longer, however loaded the machine is
SIGNED_FOR_SECONDS = 600.0  # no test takes so long between two requests
SILENCE_SECONDS = 0.2
CUTS = {"": SIZE // 2, "-at-0": 0, "-at-1": 1, "-at-last": SIZE - 1}  # with what arrives
HALF = SIZE // 2
LARGE = 100_000_000
RANGES = [how for how in Misbehaviour if how.value.startswith("range-")]


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn(FILES, size=SIZE, signed_for=SIGNED_FOR_SECONDS) as standin:
        yield standin


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.in_directory(tmp_path_factory.mktemp("authority"))


def get(url: str, *, follow: bool = True, **headers: str) -> requests.Response:
    """Send one request on a connection of its own."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with requests.Session() as session:
        session.headers.update({"Accept-Encoding": "identity"})
        return session.get(url, headers=named, timeout=TIMEOUT_SECONDS, allow_redirects=follow)


def storage_url(standin: StandIn, number: str = NUMBER, prefix: str = "") -> str:
    return get(f"{standin.url}{prefix}{NDOWNLOADER}{number}", follow=False).headers["Location"]


def connect(url: str) -> socket.socket:
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port or 80), TIMEOUT_SECONDS)


def raw(url: str, **headers: str) -> tuple[str, bytes]:
    """Return the head and body as they come over the wire. `Connection: close` makes the server close behind them."""
    where = urlsplit(url)
    lines = [f"GET {where.path}?{where.query} HTTP/1.1", f"Host: {where.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with connect(url) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head, _, body = b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    return f"{head.decode()}\r\n", body


@contextmanager
def requested(url: str, **headers: str) -> Iterator[socket.socket]:
    """Open a connection, send a request for `url`, and yield the connection."""
    where = urlsplit(url)
    lines = [f"GET {where.path}?{where.query} HTTP/1.1", "Host: x"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with connect(url) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def is_silent(connection: socket.socket) -> bool:
    """Return True if the connection stays open without a byte for `SILENCE_SECONDS`."""
    connection.settimeout(SILENCE_SECONDS)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


def raw_misbehaving(standin: StandIn, how: Misbehaviour, number: str = NUMBER) -> tuple[str, bytes]:
    return raw(storage_url(standin, number, f"/misbehaving/{how.value}"))


class TestProtocol:
    @pytest.mark.parametrize("route", [API, NDOWNLOADER])
    @pytest.mark.parametrize("number", FILES)
    def test_two_routes_lead_to_the_bytes(self, standin: StandIn, route: str, number: str) -> None:
        answer = get(f"{standin.url}{route}{number}")

        assert [step.status_code for step in answer.history] == [302]
        assert answer.content == standin.content(number) == content(number, FILES[number], SIZE)

    def test_the_third_route_challenges(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}{FIGSHARE}{NUMBER}")

        assert (answer.status_code, answer.content) == (202, b"")
        assert answer.headers["x-amzn-waf-action"] == "challenge"

    def test_the_origins_are_figshares_routes_in_their_order(self, standin: StandIn) -> None:
        templates = [f"{standin.url}{route}{{id}}" for route in (API, NDOWNLOADER, FIGSHARE)]
        assert standin.origins.split(" ") == templates

    @pytest.mark.parametrize(
        "path", [API + "5", NDOWNLOADER + "x", "/", "/storage/34821874", "/misbehaving/oddly/files/34821874"]
    )
    def test_unknown_paths_are_404(self, standin: StandIn, path: str) -> None:
        assert get(standin.url + path).status_code == 404

    def test_storage_sends_original_name_and_md5(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}{API}{NUMBER}")

        assert urlsplit(answer.url).path.endswith(f"/original_{NETWORK}")
        assert answer.headers["Content-Disposition"] == f"attachment; filename=original_{NETWORK}"
        assert answer.headers["ETag"] == f'"{hashlib.md5(answer.content, usedforsecurity=False).hexdigest()}"'
        assert answer.headers["Content-Length"] == str(SIZE)
        assert answer.headers["Accept-Ranges"] == "bytes"

    @pytest.mark.parametrize(
        ("asked", "first", "stop"),
        [("0-0", 0, 1), ("10-19", 10, 20), ("39990-", 39_990, SIZE), ("-7", SIZE - 7, SIZE), ("5-99999", 5, SIZE)],
    )
    def test_range_gets_its_bytes_and_the_total(self, standin: StandIn, asked: str, first: int, stop: int) -> None:
        answer = get(f"{standin.url}{API}{NUMBER}", Range=f"bytes={asked}")

        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes {first}-{stop - 1}/{SIZE}"
        assert answer.content == standin.content(NUMBER)[first:stop]

    @pytest.mark.parametrize("asked", ["40000-", "50000-60000", "-0"])
    def test_empty_range_is_416_with_the_total(self, standin: StandIn, asked: str) -> None:
        answer = get(f"{standin.url}{API}{NUMBER}", Range=f"bytes={asked}")

        assert (answer.status_code, answer.content) == (416, b"")
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"

    @pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=9-3", "bytes=-", "lines=1-2"])
    def test_other_ranges_get_the_whole_file(self, standin: StandIn, asked: str) -> None:
        """Several ranges, and no valid one."""
        answer = get(f"{standin.url}{API}{NUMBER}", Range=asked)

        assert (answer.status_code, answer.content) == (200, standin.content(NUMBER))

    def test_if_range_must_match_etag_or_date(self, standin: StandIn) -> None:
        url = f"{standin.url}{API}{NUMBER}"
        whole = get(url)

        assert get(url, Range="bytes=5-", If_Range=whole.headers["ETag"]).status_code == 206
        assert get(url, Range="bytes=5-", If_Range=whole.headers["Last-Modified"]).status_code == 206
        assert get(url, Range="bytes=5-", If_Range='"another"').content == whole.content

    def test_authorization_fails_at_the_storage_only(self, standin: StandIn) -> None:
        routed = get(f"{standin.url}{API}{NUMBER}", follow=False, Authorization="token secret")

        assert routed.status_code == 302
        assert get(routed.headers["Location"], Authorization="token secret").status_code == 400
        assert get(routed.headers["Location"]).status_code == 200

    def test_head_tells_nothing_about_a_file(self, standin: StandIn) -> None:
        routed = requests.head(f"{standin.url}{API}{NUMBER}", timeout=TIMEOUT_SECONDS)

        assert (routed.status_code, routed.headers["Content-Length"]) == (200, "0")
        assert requests.head(storage_url(standin), timeout=TIMEOUT_SECONDS).status_code == 403

    def test_a_storage_url_expires(self) -> None:
        with StandIn(FILES, size=SIZE, signed_for=0) as standin:
            assert get(f"{standin.url}{API}{NUMBER}").status_code == 403
            assert standin.downloads(NUMBER) == 0

    @pytest.mark.parametrize(("old", "new"), [("Expires=", "Expires=9"), ("/34821874/", "/22597175/"), ("?", "?a=")])
    def test_a_changed_storage_url_is_refused(self, standin: StandIn, old: str, new: str) -> None:
        good = storage_url(standin)

        assert get(good.replace(old, new, 1) if old != "?" else good.split("?")[0]).status_code == 403

    def test_a_storage_url_of_another_server_is_refused(self, standin: StandIn) -> None:
        with StandIn(FILES, size=SIZE) as other:
            assert get(storage_url(other).replace(other.url, standin.url)).status_code == 403

    def test_a_connection_serves_many_requests(self, standin: StandIn) -> None:
        connection = http.client.HTTPConnection(urlsplit(standin.url).netloc, timeout=TIMEOUT_SECONDS)
        connection.connect()
        ours = connection.sock.getsockname()
        for _ in range(20):
            connection.request("GET", storage_url(standin).removeprefix(standin.url))
            assert connection.getresponse().read() == standin.content(NUMBER)
            assert connection.sock is not None
            assert connection.sock.getsockname() == ours
        connection.close()

    def test_many_clients_at_once_get_their_own_bytes(self) -> None:
        files = {str(number): f"{number}.h5" for number in range(1, 65)}
        with StandIn(files, size=SIZE) as standin, ThreadPoolExecutor(16) as pool:
            answers = pool.map(lambda number: get(f"{standin.url}{API}{number}").content, files)
            assert list(answers) == [content(number, "x.h5", SIZE) for number in files]
            assert {standin.downloads(number) for number in files} == {1}


class TestContents:
    def test_given_contents_are_served_unchanged(self, tmp_path: Path) -> None:
        weights = tmp_path / "weights.h5"
        weights.write_bytes(b"real weights")
        with StandIn(FILES, contents={NUMBER: weights, IMAGE: b"an image", "77": weights}) as standin:
            assert get(f"{standin.url}{API}{NUMBER}").content == b"real weights"
            assert get(f"{standin.url}{API}{IMAGE}").content == b"an image"
            assert get(f"{standin.url}{API}77").content == b"real weights"
        assert weights.read_bytes() == b"real weights"

    def test_catalog_has_every_identifier_of_shipped_manifests(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = make_entry("network", "a", "a.h5", identifier="figshare:1")
        lost = make_entry("data", "b", "b.nii.gz", reason="the release names no URL")
        renamed = make_entry("network", "c", "c.h5", identifier="figshare:1")
        image = make_entry("data", "d", "d.nii.gz", identifier="figshare:2")
        (tmp_path / "manifests").mkdir()
        for version, entries in {"0.1": (known, lost), "0.2": (renamed, image)}.items():
            manifest = msgspec.json.encode(Manifest(Release("antspynet", version), entries))
            (tmp_path / f"manifests/antspynet-{version}.json").write_bytes(manifest)
        (tmp_path / "manifests/README.md").touch()
        monkeypatch.setattr("antscache.catalog.SHIPPED_DIRECTORY", tmp_path / "manifests")

        assert catalog_files() == {"1": "a.h5", "2": "d.nii.gz"}

    def test_default_files_are_the_catalogs(self) -> None:
        with StandIn() as standin:
            assert standin.files == catalog_files()

    def test_prepared_files_are_on_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with StandIn(FILES, size=SIZE) as standin:
            standin.prepare()
            assert {path.name for path in tmp_path.glob("*/*")} == set(FILES)
        assert list(tmp_path.iterdir()) == []


class TestMisbehaviours:
    @pytest.mark.parametrize("how", Misbehaviour)
    def test_every_misbehaviour_can_be_shown(self, standin: StandIn, how: Misbehaviour) -> None:
        """Either by a route, or by the storage for a request with a range."""
        routed = raw(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}")
        if standin.requests[-1].misbehaviour is None:
            [url] = re.findall("\r\nLocation: (.*)\r\n", routed[0])
            with requested(url, Range="bytes=1000-2999"):
                while standin.requests[-1].route != "storage":
                    time.sleep(0.01)
        assert standin.requests[-1].misbehaviour == how.value

    def test_every_misbehaviour_is_documented(self) -> None:
        page = Path(__file__).parents[2].joinpath("docs/standin.md").read_text()
        assert [how.value for how in Misbehaviour if f"| `{how.value}` |" not in page] == []

    @pytest.mark.parametrize(
        ("how", "status"),
        [
            (Misbehaviour.CHALLENGE, 202),
            (Misbehaviour.UNAUTHORIZED, 401),
            (Misbehaviour.FORBIDDEN, 403),
            (Misbehaviour.MISSING, 404),
            (Misbehaviour.UNSATISFIABLE, 416),
            (Misbehaviour.BUSY, 429),
            (Misbehaviour.BUSY_UNTIL, 429),
            (Misbehaviour.BUSY_LONG, 429),
            (Misbehaviour.BROKEN, 500),
            (Misbehaviour.UNAVAILABLE, 503),
            (Misbehaviour.EMPTY, 200),
            (Misbehaviour.REDIRECT_NOWHERE, 302),
        ],
    )
    @pytest.mark.parametrize("route", [API, NDOWNLOADER, FIGSHARE])
    def test_refusing_route_sends_status_without_a_body(
        self, standin: StandIn, route: str, how: Misbehaviour, status: int
    ) -> None:
        answer = get(f"{standin.url}/misbehaving/{how.value}{route}{NUMBER}")

        assert (answer.status_code, answer.content) == (status, b"")
        assert ("Retry-After" in answer.headers) == (status == 429)
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert "Location" not in answer.headers

    def test_busy_route_sends_retry_after(self, standin: StandIn) -> None:
        """In seconds, or as a date."""

        def retry_after(how: Misbehaviour) -> str:
            return get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}").headers["Retry-After"]

        assert [retry_after(Misbehaviour.BUSY), retry_after(Misbehaviour.BUSY_LONG)] == ["1", "86400"]
        before, until, after = time.time(), retry_after(Misbehaviour.BUSY_UNTIL), time.time()
        assert before + 1 <= parsedate_to_datetime(until).timestamp() <= after + 2
        assert until.endswith(" GMT")

    @pytest.mark.parametrize(
        ("how", "kind"),
        [(Misbehaviour.HTML, "text/html"), (Misbehaviour.HTML_AS_BINARY, "application/octet-stream")],
    )
    def test_a_page_comes_in_place_of_the_file(self, standin: StandIn, how: Misbehaviour, kind: str) -> None:
        answer = get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}")

        assert answer.status_code == 200
        assert answer.headers["Content-Type"].split(";")[0] == kind
        assert answer.content.startswith(b"<!DOCTYPE html>")

    @pytest.mark.parametrize(
        ("how", "scheme"), [(Misbehaviour.REDIRECT_FILE, "file"), (Misbehaviour.REDIRECT_FTP, "ftp")]
    )
    def test_a_redirect_leaves_http(self, standin: StandIn, how: Misbehaviour, scheme: str) -> None:
        answer = get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}", follow=False)
        assert urlsplit(answer.headers["Location"]).scheme == scheme

    @pytest.mark.parametrize(("how", "status"), [("redirect-loop", 302), ("redirect-loop-301", 301)])
    def test_a_redirect_leads_to_itself(self, standin: StandIn, how: str, status: int) -> None:
        url = f"{standin.url}/misbehaving/{how}{API}{NUMBER}"
        answer = get(url, follow=False)
        assert (answer.status_code, answer.headers["Location"]) == (status, url)

    @pytest.mark.parametrize("how", [Misbehaviour.CHUNKED, Misbehaviour.UNANNOUNCED])
    @pytest.mark.parametrize("part", ["bytes=0-", "bytes=1000-30000"])
    def test_unusual_framing_delivers_the_right_bytes(self, standin: StandIn, how: Misbehaviour, part: str) -> None:
        usual = get(f"{standin.url}{API}{NUMBER}", Range=part)
        unusual = get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}", Range=part)

        assert "Content-Length" not in unusual.headers
        assert (unusual.status_code, unusual.content) == (206, usual.content)

    def test_an_unasked_encoding_holds_the_right_bytes(self, standin: StandIn) -> None:
        head, body = raw_misbehaving(standin, Misbehaviour.GZIP_ENCODED)

        assert "Content-Encoding: gzip" in head
        assert f"Content-Length: {len(body)}\r\n" in head
        assert gzip.decompress(body) == standin.content(NUMBER)

    @pytest.mark.parametrize(("where", "kept"), CUTS.items())
    def test_cut_body_ends_early_in_each_framing(self, standin: StandIn, where: str, kept: int) -> None:
        received = standin.content(NUMBER)[:kept]
        chunk = f"{kept:x}\r\n".encode() + received + b"\r\n" if kept else b""

        for framing, announced, expected in (
            ("", f"Content-Length: {SIZE}", received),
            ("-chunked", "Transfer-Encoding: chunked", chunk),
            ("-unannounced", "Connection: close", received),
        ):
            head, body = raw_misbehaving(standin, Misbehaviour(f"cut{where}{framing}"))
            assert f"{announced}\r\n" in head
            assert ("Content-Length" in head, body == expected) == (framing == "", True)

    def test_slow_body_is_right_after_four_pauses(self, standin: StandIn) -> None:
        begun = time.monotonic()
        answer = get(f"{standin.url}/misbehaving/slow{API}{NUMBER}")

        assert answer.content == standin.content(NUMBER)
        assert time.monotonic() - begun >= 0.4  # four pauses

    def test_a_cut_range_is_half_of_the_range(self, standin: StandIn) -> None:
        head, body = raw(storage_url(standin, prefix="/misbehaving/cut"), Range="bytes=1000-1999")

        assert "206 Partial Content" in head
        assert body == standin.content(NUMBER)[1000:1500]

    def test_http_cannot_notice_a_cut_unannounced_body(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/cut-unannounced{API}{NUMBER}")

        assert "Content-Length" not in answer.headers
        assert answer.content == standin.content(NUMBER)[: SIZE // 2]

    def test_long_body_exceeds_its_length(self, standin: StandIn) -> None:
        head, body = raw_misbehaving(standin, Misbehaviour.LONG)

        assert f"Content-Length: {SIZE}\r\n" in head
        assert body[:SIZE] == standin.content(NUMBER)
        assert len(body) == SIZE + 1000

    def test_short_announced_body_is_sent_whole(self, standin: StandIn) -> None:
        head, body = raw_misbehaving(standin, Misbehaviour.SHORT_ANNOUNCED)

        assert f"Content-Length: {SIZE // 2}\r\n" in head
        assert body == standin.content(NUMBER)

    def test_long_announced_body_ends_with_the_connection(self, standin: StandIn) -> None:
        head, body = raw_misbehaving(standin, Misbehaviour.LONG_ANNOUNCED)

        assert f"Content-Length: {2 * SIZE}\r\n" in head
        assert body == standin.content(NUMBER)

    def test_a_connection_is_reset_midway(self, standin: StandIn) -> None:
        url = storage_url(standin, prefix="/misbehaving/reset")
        with pytest.raises(ConnectionResetError):
            raw(url)

    @pytest.mark.parametrize(("how", "kept"), [("stall", 10), ("stall-half", SIZE // 2)])
    def test_stalled_body_begins_and_then_stops(self, standin: StandIn, how: str, kept: int) -> None:
        body = standin.content(NUMBER)[:kept]
        with requested(storage_url(standin, prefix=f"/misbehaving/{how}")) as connection:
            received = b""
            while not received.endswith(body):
                received += connection.recv(1 << 16)
            assert is_silent(connection)
        assert f"\r\nContent-Length: {SIZE}\r\n".encode() in received
        assert received.endswith(b"\r\n\r\n" + body)

    def test_stalled_answer_sends_no_headers(self, standin: StandIn) -> None:
        """It does not count as a download."""
        with requested(storage_url(standin, prefix="/misbehaving/stall-headers")) as connection:
            while standin.requests[-1].route != "storage":
                time.sleep(0.01)
            assert is_silent(connection)
        assert (standin.requests[-1].status, standin.requests[-1].misbehaviour) == (0, "stall-headers")
        assert (standin.downloads(NUMBER), standin.sent(NUMBER)) == (0, 0)

    def test_a_truncated_file_is_consistent_in_itself(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/truncated{API}{IMAGE}")

        assert answer.headers["Content-Length"] == str(SIZE // 2)
        assert answer.headers["ETag"] == f'"{hashlib.md5(answer.content, usedforsecurity=False).hexdigest()}"'
        assert answer.content == standin.content(IMAGE)[: SIZE // 2]

    def test_other_bytes_are_as_valid_and_as_many(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/other{API}{IMAGE}")

        assert answer.content != standin.content(IMAGE)
        assert len(answer.content) == SIZE
        assert len(gzip.decompress(answer.content)) > 352

    def test_text_comes_in_place_of_the_type(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/wrong-type{API}{IMAGE}")

        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.content.isascii()
        assert len(answer.content) == SIZE

    def test_corrupt_file_differs_in_one_late_byte(self, standin: StandIn) -> None:
        """Its headers are those of the sound file."""
        sound = get(f"{standin.url}{API}{IMAGE}")
        corrupt = get(f"{standin.url}/misbehaving/corrupt{API}{IMAGE}")

        different = [at for at in range(SIZE) if corrupt.content[at] != sound.content[at]]
        assert [at >= SIZE * 3 // 4 for at in different] == [True]
        assert corrupt.headers["ETag"] == sound.headers["ETag"]
        assert corrupt.headers["Content-Length"] == sound.headers["Content-Length"]

    @pytest.mark.parametrize(
        ("how", "form"),
        [
            (Misbehaviour.WRONG_ETAG, '"[0-9a-f]{32}"'),
            (Misbehaviour.MULTIPART_ETAG, '"[0-9a-f]{32}-3"'),
            (Misbehaviour.WEAK_ETAG, 'W/"[0-9a-f]{32}"'),
            (Misbehaviour.NO_ETAG, "none"),
        ],
    )
    def test_an_odd_label_is_on_the_right_bytes(self, standin: StandIn, how: Misbehaviour, form: str) -> None:
        answer = get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}")
        tag, md5 = answer.headers.get("ETag", "none"), hashlib.md5(answer.content, usedforsecurity=False).hexdigest()

        assert answer.content == standin.content(NUMBER)
        assert re.fullmatch(form, tag)
        assert (md5 in tag) == (how is Misbehaviour.WEAK_ETAG)
        assert ("Last-Modified" in answer.headers) == (how is not Misbehaviour.NO_ETAG)

    @pytest.mark.parametrize(
        ("how", "status"),
        [
            (Misbehaviour.WRONG_ETAG, 206),
            (Misbehaviour.MULTIPART_ETAG, 206),
            (Misbehaviour.WEAK_ETAG, 200),
            (Misbehaviour.NO_ETAG, 200),
        ],
    )
    def test_if_range_holds_for_strong_etags_only(self, standin: StandIn, how: Misbehaviour, status: int) -> None:
        url = f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}"
        tag = get(url).headers.get("ETag", '"none"')

        assert get(url, Range="bytes=5-", If_Range=tag).status_code == status
        assert get(url, Range="bytes=5-", If_Range='"another"').status_code == 200

    def test_given_bytes_go_wrong_like_made_ones(self) -> None:
        with StandIn(FILES, contents={NUMBER: b"sixteen bytes!!!"}) as standin:
            assert get(f"{standin.url}/misbehaving/truncated{API}{NUMBER}").content == b"sixteen "

    def test_misbehaviour_lasts_as_often_as_asked(self, standin: StandIn) -> None:
        standin.misbehave(NUMBER, Misbehaviour.BUSY, times=2)

        answers = [get(f"{standin.url}{route}{NUMBER}").status_code for route in (API, NDOWNLOADER, API, FIGSHARE)]
        assert answers == [429, 429, 200, 202]

    def test_storage_misbehaviour_counts_storage_requests(self, standin: StandIn) -> None:
        standin.misbehave(NUMBER, Misbehaviour.TRUNCATED, times=1)

        storage_url(standin)
        answers = [get(f"{standin.url}{FIGSHARE}{NUMBER}"), get(f"{standin.url}{API}{NUMBER}")]
        assert [len(answer.content) for answer in answers] == [SIZE // 2, SIZE]

    def test_misbehaviour_lasts_until_behave_is_called(self, standin: StandIn) -> None:
        standin.misbehave(NUMBER, Misbehaviour.MISSING)
        assert {get(f"{standin.url}{API}{NUMBER}").status_code for _ in range(5)} == {404}
        assert get(f"{standin.url}{API}{IMAGE}").status_code == 200

        standin.behave(NUMBER)
        assert get(f"{standin.url}{API}{NUMBER}").status_code == 200

    def test_unknown_numbers_and_counts_are_refused(self, standin: StandIn) -> None:
        with pytest.raises(KeyError):
            standin.misbehave("5", Misbehaviour.CUT)
        with pytest.raises(ValueError, match="less than one"):
            standin.misbehave(NUMBER, Misbehaviour.CUT, times=0)

    def test_misbehaving_origins_misbehave_on_every_route(self, standin: StandIn) -> None:
        for template in standin.misbehaving_origins(Misbehaviour.OTHER).split(" "):
            answer = get(template.replace("{id}", NUMBER))
            assert (answer.status_code, answer.content == standin.content(NUMBER)) == (200, False)


class TestRanges:
    @pytest.mark.parametrize(
        ("how", "status", "label", "first", "stop"),
        [
            ("range-ignored", 200, None, 0, SIZE),
            ("range-refused", 416, f"bytes */{SIZE}", 0, 0),
            ("range-elsewhere", 206, f"bytes 0-2999/{SIZE}", 0, 3000),
            ("range-lying", 206, f"bytes 1000-2999/{SIZE}", HALF + 1000, HALF + 3000),
            ("range-unasked", 206, f"bytes 0-{HALF - 1}/{SIZE}", 0, HALF),
            ("range-other-total", 206, f"bytes 1000-2999/{SIZE + 1000}", 1000, 3000),
            ("range-no-total", 206, "bytes 1000-2999/*", 1000, 3000),
            ("range-short", 206, f"bytes 1000-1999/{SIZE}", 1000, 2000),
            ("range-unlabelled", 206, None, 1000, 3000),
            ("range-nonsense", 206, "bytes x-y/z", 1000, 3000),
        ],
    )
    def test_range_goes_wrong_as_in_the_table(  # noqa: PLR0913, PLR0917  a row of the table
        self, standin: StandIn, how: str, status: int, label: str | None, first: int, stop: int
    ) -> None:
        answer = get(f"{standin.url}/misbehaving/{how}{API}{NUMBER}", Range="bytes=1000-2999")

        assert (answer.status_code, answer.headers.get("Content-Range")) == (status, label)
        assert answer.headers["Content-Length"] == str(stop - first)
        assert answer.content == standin.content(NUMBER)[first:stop]

    @pytest.mark.parametrize("how", RANGES)
    def test_without_a_range_only_one_goes_wrong(self, standin: StandIn, how: Misbehaviour) -> None:
        answer = get(f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}")

        if how is Misbehaviour.RANGE_UNASKED:
            assert (answer.status_code, answer.content) == (206, standin.content(NUMBER)[:HALF])
        else:
            assert (answer.status_code, answer.content) == (200, standin.content(NUMBER))
            assert standin.requests[-1].misbehaviour is None

    def test_a_range_from_0_begins_elsewhere_too(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/range-elsewhere{API}{NUMBER}", Range="bytes=0-")

        assert answer.headers["Content-Range"] == f"bytes {HALF}-{SIZE - 1}/{SIZE}"
        assert answer.content == standin.content(NUMBER)[HALF:]

    def test_bytes_from_elsewhere_go_round_the_end(self, standin: StandIn) -> None:
        answer = get(f"{standin.url}/misbehaving/range-lying{API}{NUMBER}", Range="bytes=1-")
        whole = standin.content(NUMBER)

        assert answer.content == whole[HALF + 1 :] + whole[:HALF]

    def test_empty_range_is_416_unless_ranges_are_ignored(self, standin: StandIn) -> None:
        def status(how: Misbehaviour) -> int:
            url = f"{standin.url}/misbehaving/{how.value}{API}{NUMBER}"
            return get(url, Range=f"bytes={SIZE}-").status_code

        other = {Misbehaviour.RANGE_IGNORED: 200, Misbehaviour.RANGE_UNASKED: 206}
        assert {how: status(how) for how in RANGES} == dict.fromkeys(RANGES, 416) | other


class TestTurns:
    def test_misbehaviours_follow_in_turn(self, standin: StandIn) -> None:
        standin.misbehave_in_turn(NUMBER, [Misbehaviour.TRUNCATED, None, Misbehaviour.MISSING, Misbehaviour.OTHER])
        sound = standin.content(NUMBER)

        answers = [get(f"{standin.url}{FIGSHARE}{NUMBER}") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 202]
        assert [answer.content == sound for answer in answers] == [False, True, False, False, False]
        assert [one.misbehaviour for one in standin.requests if one.misbehaviour] == [
            "truncated",
            "missing",
            "other",
            "challenge",
        ]

    def test_range_misbehaviour_waits_for_a_range(self, standin: StandIn) -> None:
        standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT_UNANNOUNCED, Misbehaviour.RANGE_IGNORED])
        url = f"{standin.url}{API}{NUMBER}"

        assert len(get(url).content) == HALF
        assert len(get(url).content) == SIZE
        assert [get(url, Range="bytes=5-").status_code for _ in range(2)] == [200, 206]

    def test_changed_file_is_sent_from_the_start(self, standin: StandIn) -> None:
        standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT_UNANNOUNCED, Misbehaviour.OTHER, Misbehaviour.OTHER])
        url = f"{standin.url}{API}{NUMBER}"
        begun = get(url)

        for validator in ("ETag", "Last-Modified"):
            changed = get(url, Range=f"bytes={HALF}-", If_Range=begun.headers[validator])
            assert changed.status_code == 200
            assert len(changed.content) == SIZE
            assert changed.content[:HALF] != begun.content
            assert changed.headers[validator] != begun.headers[validator]

    def test_a_corrupt_part_follows_under_the_sound_label(self, standin: StandIn) -> None:
        standin.misbehave_in_turn(NUMBER, [Misbehaviour.CUT_UNANNOUNCED, Misbehaviour.CORRUPT])
        url = f"{standin.url}{API}{NUMBER}"
        begun = get(url)
        rest = get(url, Range=f"bytes={HALF}-", If_Range=begun.headers["ETag"])

        assert (rest.status_code, rest.headers["ETag"]) == (206, begun.headers["ETag"])
        assert begun.content == standin.content(NUMBER)[:HALF]
        assert sum(map(operator.ne, rest.content, standin.content(NUMBER)[HALF:])) == 1

    def test_empty_schedule_means_to_behave(self, standin: StandIn) -> None:
        """An unknown number is refused."""
        standin.misbehave(NUMBER, Misbehaviour.MISSING)
        standin.misbehave_in_turn(NUMBER, [])

        assert get(f"{standin.url}{API}{NUMBER}").status_code == 200
        with pytest.raises(KeyError):
            standin.misbehave_in_turn("5", [None])


class TestSizes:
    def test_one_number_may_have_another_size(self) -> None:
        with StandIn(FILES, size=SIZE, sizes={IMAGE: 3 * SIZE}) as standin:
            assert len(get(f"{standin.url}{API}{IMAGE}").content) == 3 * SIZE
            assert len(get(f"{standin.url}{API}{NUMBER}").content) == SIZE

    @pytest.mark.parametrize("number", ["5", NUMBER])
    def test_size_of_a_given_file_is_refused(self, number: str) -> None:
        """Also that of an unknown number."""
        with pytest.raises(ValueError, match=f"made up, and not for {number}"):
            StandIn(FILES, contents={NUMBER: b"given"}, sizes={number: 1})

    def test_large_files_need_little_memory(self) -> None:
        program = f"""if True:
            import resource, requests
            from antscache.testing import Misbehaviour, StandIn

            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            sizes = {{{NUMBER!r}: {LARGE}, {IMAGE!r}: {LARGE}}}
            with StandIn({FILES!r}, sizes=sizes) as standin, requests.Session() as session:
                standin.prepare()
                for how in (Misbehaviour.UNANNOUNCED, Misbehaviour.CUT_UNANNOUNCED):
                    for number in sizes:
                        url = standin.misbehaving_origins(how).split()[0].format(id=number)
                        with session.get(url, stream=True) as answer:
                            print(sum(map(len, answer.iter_content(1 << 20))))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
        ran = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)

        *received, grown = map(int, ran.stdout.split())
        assert received == [LARGE, LARGE, LARGE // 2, LARGE // 2]
        assert grown * 1024 < 50_000_000


class TestTls:
    @pytest.fixture
    def encrypted(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca))
        with StandIn(FILES, size=SIZE, tls=authority.server()) as standin:
            yield standin

    def test_the_routes_lead_to_the_bytes(self, encrypted: StandIn) -> None:
        answer = get(f"{encrypted.url}{API}{NUMBER}")

        assert answer.url.startswith("https://127.0.0.1:")
        assert answer.content == encrypted.content(NUMBER)
        assert encrypted.sent(NUMBER) == SIZE

    @pytest.mark.parametrize("how", [Misbehaviour.CHUNKED, Misbehaviour.UNANNOUNCED, Misbehaviour.SLOW])
    def test_unusual_framing_delivers_the_right_bytes(self, encrypted: StandIn, how: Misbehaviour) -> None:
        assert get(f"{encrypted.url}/misbehaving/{how.value}{API}{NUMBER}").content == encrypted.content(NUMBER)

    @pytest.mark.parametrize("how", [Misbehaviour.CUT, Misbehaviour.CUT_CHUNKED, Misbehaviour.RESET])
    def test_a_cut_body_breaks_off(self, encrypted: StandIn, how: Misbehaviour) -> None:
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            get(f"{encrypted.url}/misbehaving/{how.value}{API}{NUMBER}")

    def test_tls_announces_the_end_of_a_connection(self, encrypted: StandIn, authority: Authority) -> None:
        context = ssl.create_default_context(cafile=authority.ca)
        path = storage_url(encrypted, prefix="/misbehaving/unannounced").removeprefix(encrypted.url)
        with (
            connect(encrypted.url) as bare,
            context.wrap_socket(bare, server_hostname="localhost", suppress_ragged_eofs=False) as connection,
        ):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))  # raises SSLEOFError without the notice
        assert received.endswith(encrypted.content(NUMBER))

    def test_a_redirect_leads_out_of_tls(self, encrypted: StandIn) -> None:
        url = f"{encrypted.url}/misbehaving/redirect-http{API}{NUMBER}"
        assert get(url, follow=False).headers["Location"] == url.replace("https:", "http:")

    def test_failed_tls_handshakes_disturb_no_other_client(
        self, encrypted: StandIn, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(requests.ConnectionError):
            get(encrypted.url.replace("https:", "http:"))
        with requests.Session() as session:
            session.trust_env = False
            with pytest.raises(requests.exceptions.SSLError):
                session.get(encrypted.url, timeout=TIMEOUT_SECONDS)
        assert get(f"{encrypted.url}{API}{NUMBER}").content == encrypted.content(NUMBER)
        encrypted.close()
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("how", ["unspoken", "idle", "stalled"])
    def test_closing_leaves_no_thread(self, authority: Authority, how: str) -> None:
        before = set(threading.enumerate())
        standin = StandIn(FILES, size=SIZE, tls=authority.server())
        with connect(standin.url) as bare:
            if how != "unspoken":
                context = ssl.create_default_context(cafile=authority.ca)
                connection = context.wrap_socket(bare, server_hostname="localhost")
                if how == "stalled":
                    connection.sendall(f"GET /misbehaving/stall{API}{NUMBER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    assert connection.recv(1) == b"H"
            standin.close()
            if how != "unspoken":
                connection.close()
        assert set(threading.enumerate()) <= before


class TestHeads:
    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            ("GET / HTTP/1.1\r\nHost: whatever.example\r\n\r\n", 404),
            ("GET / HTTP/1.1\n\n", 404),
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nspace : x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 400),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (f"GET / HTTP/1.1\r\nlong: {'x' * 70_000}\r\n\r\n", 431),
            (f"GET / HTTP/1.1\r\n{''.join(f'x{n}: x' + chr(13) + chr(10) for n in range(101))}\r\n", 431),
            ("POST / HTTP/1.1\r\n\r\n", 501),
        ],
    )
    def test_bad_requests_are_refused(self, standin: StandIn, request_: str, status: int) -> None:
        with connect(standin.url) as connection:
            connection.sendall(request_.encode())
            assert connection.recv(1 << 16).startswith(f"HTTP/1.1 {status} ".encode())

    @pytest.mark.parametrize("request_", ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nconnection: Close\r\n\r\n"])
    def test_connection_closes_on_request(self, standin: StandIn, request_: str) -> None:
        """The answer announces it."""
        with connect(standin.url) as connection:
            connection.sendall(request_.encode())
            assert b"Connection: close" in b"".join(iter(lambda: connection.recv(1 << 16), b""))


class TestCounters:
    def test_ledger_has_the_request_headers(self, standin: StandIn) -> None:
        before = time.monotonic()
        get(f"{standin.url}{API}{NUMBER}", follow=False, Host="api.figshare.com", Authorization="token x")
        get(storage_url(standin), Range="bytes=5-", If_Range='"a"')
        after = time.monotonic()

        first, *_, last = standin.requests
        assert (first.host, first.authorization, first.range, first.if_range) == (
            "api.figshare.com",
            "token x",
            None,
            None,
        )
        assert (last.host, last.authorization) == (urlsplit(standin.url).netloc, None)
        assert (last.range, last.if_range) == ("bytes=5-", '"a"')
        assert before < first.at < last.at < after

    def test_ledger_has_every_request_and_answer(self, standin: StandIn) -> None:
        get(f"{standin.url}/misbehaving/truncated{API}{NUMBER}", Range="bytes=0-9")
        get(f"{standin.url}{FIGSHARE}{NUMBER}")
        get(f"{standin.url}/nothing?a=b")

        ledger = standin.requests
        facts = [
            (request.method, request.route, request.number, request.range, request.status, request.misbehaviour)
            for request in ledger
        ]
        assert facts == [
            ("GET", "api", NUMBER, "bytes=0-9", 302, None),
            ("GET", "storage", NUMBER, "bytes=0-9", 206, "truncated"),
            ("GET", "figshare", NUMBER, None, 202, "challenge"),
            ("GET", "", "", None, 404, None),
        ]
        assert [request.path for request in ledger[1:]] == [
            f"/misbehaving/truncated/storage/{NUMBER}/original_{NETWORK}",
            FIGSHARE + NUMBER,
            "/nothing",
        ]

    def test_another_process_reads_the_same_as_json(self, standin: StandIn) -> None:
        get(f"{standin.url}{API}{NUMBER}")

        ledger = msgspec.json.decode(get(f"{standin.url}/requests").content, type=list[Request])
        assert ledger == standin.requests
        assert len(ledger) == 2

    def test_downloads_are_the_storages_answers_with_bytes(self, standin: StandIn) -> None:
        get(f"{standin.url}{API}{NUMBER}")
        get(f"{standin.url}{API}{NUMBER}", Range="bytes=5-")
        get(f"{standin.url}{API}{NUMBER}", Range="bytes=99999-")
        get(f"{standin.url}{API}{NUMBER}", follow=False)
        get(f"{standin.url}{FIGSHARE}{NUMBER}")
        get(f"{standin.url}{API}{IMAGE}")

        assert standin.downloads(NUMBER) == 2

    def test_sent_bytes_are_counted_exactly(self, standin: StandIn) -> None:
        for times in range(1, 30):
            get(f"{standin.url}{API}{NUMBER}")
            assert standin.sent(NUMBER) == times * SIZE
        assert standin.sent(IMAGE) == 0

    def test_bytes_that_a_client_refused_are_not_counted(self) -> None:
        size = 16_000_000  # more than the buffers of a connection hold if the client has a small window
        with StandIn({NUMBER: NETWORK}, size=size) as standin:
            url = urlsplit(storage_url(standin))
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.settimeout(TIMEOUT_SECONDS)
                client.connect((url.hostname, url.port))
                client.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                received = client.recv(1000)
            standin.close()
            assert len(received.partition(b"\r\n\r\n")[2]) <= standin.sent(NUMBER) < size

    def test_bytes_are_final_after_a_wait_for_clients(self) -> None:
        with StandIn({NUMBER: NETWORK}, size=16_000_000, rate=2_000_000) as standin:
            url = urlsplit(storage_url(standin))
            with socket.create_connection((str(url.hostname), url.port or 0), TIMEOUT_SECONDS) as client:
                client.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                client.recv(1000)
            standin.wait_for_clients()
            sent = standin.sent(NUMBER)
            standin.close()
            assert 0 < sent == standin.sent(NUMBER)


class TestPace:
    def test_a_rate_is_not_exceeded_on_a_connection(self) -> None:
        with StandIn(FILES, size=SIZE, rate=4 * SIZE) as standin:
            standin.prepare()
            begun = time.monotonic()
            assert get(f"{standin.url}{API}{NUMBER}").content == standin.content(NUMBER)
            assert time.monotonic() - begun > 0.2  # 0.25 s less the last piece

    def test_a_latency_precedes_each_answer(self) -> None:
        with StandIn(FILES, size=SIZE, latency=0.1) as standin:
            begun = time.monotonic()
            get(f"{standin.url}{API}{NUMBER}")
            assert time.monotonic() - begun >= 0.2  # two answers

    @pytest.mark.parametrize(("rate", "latency"), [(0, 0), (-1, 0), (None, -1)])
    def test_a_pace_that_makes_no_sense_is_refused(self, rate: float | None, latency: float) -> None:
        with pytest.raises(ValueError, match="rate"):
            StandIn(FILES, rate=rate, latency=latency)


class TestClosing:
    @pytest.mark.parametrize("how", ["idle", "stalled", "slow", "late", "unread"])
    def test_close_leaves_no_thread(self, how: str) -> None:
        """However a client behaves, and at once."""
        before = set(threading.enumerate())
        standin = StandIn(
            {NUMBER: NETWORK},
            size=50_000_000 if how == "unread" else SIZE,
            rate=1.0 if how == "slow" else None,
            latency=3600.0 if how == "late" else 0.0,
        )
        with connect(standin.url) as connection:
            if how != "idle":
                path = "/misbehaving/unannounced" if how == "unread" else "/misbehaving/stall"
                url = urlsplit(standin.url) if how == "late" else urlsplit(storage_url(standin, prefix=path))
                connection.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                if how != "late":
                    assert connection.recv(1) == b"H"
            begun = time.monotonic()
            standin.close()
            assert time.monotonic() - begun < TIMEOUT_SECONDS  # it takes 0.04; waiting for a client takes hours
        assert set(threading.enumerate()) <= before

    def test_close_can_be_repeated(self) -> None:
        standin = StandIn(FILES, size=SIZE)
        standin.close()
        standin.close()
        with pytest.raises(requests.ConnectionError):
            get(standin.url)

    def test_taken_port_is_an_error_without_leftovers(
        self, standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = set(threading.enumerate())
        with pytest.raises(OSError, match="in use"):
            StandIn(FILES, port=urlsplit(standin.url).port or 0)
        assert set(threading.enumerate()) <= before
        assert list(tmp_path.iterdir()) == []


class TestProgram:
    PROGRAM = (sys.executable, "-m", "antscache.testing")

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_program_serves_until_it_is_stopped(self, tmp_path: Path, stop: signal.Signals) -> None:
        """It prints its origins first, and leaves nothing behind."""
        weights = tmp_path / "weights.h5"
        weights.write_bytes(b"real weights")
        options = [
            "--size",
            "3000",
            "--size-of",
            f"{NUMBER}=5000",
            "--file",
            f"77={weights}",
            "--latency",
            "0.01",
            "--rate",
            "1e9",
            "--prepare",
        ]
        with subprocess.Popen(
            [*self.PROGRAM, *options], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
        ) as program:
            assert program.stdout is not None
            name, _, value = program.stdout.readline().rstrip("\n").partition("=")
            origins = value.strip("'").split(" ")
            assert name == "export ANTSCACHE_ORIGINS"
            assert [urlsplit(origin).path for origin in origins] == [f"{r}{{id}}" for r in (API, NDOWNLOADER, FIGSHARE)]
            assert get(origins[0].replace("{id}", "77")).content == b"real weights"
            assert len(get(origins[0].replace("{id}", NUMBER)).content) == 5000
            assert len(get(origins[0].replace("{id}", IMAGE)).content) == 3000
            program.send_signal(stop)
            assert (program.wait(TIMEOUT_SECONDS), program.stdout.read()) == (0, "")
        assert list(tmp_path.iterdir()) == [weights]

    def test_program_speaks_https_with_a_certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        authority = Authority.in_directory(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca))
        options = ["--size", "3000", "--certificate", str(authority.certificate), "--key", str(authority.key)]
        with subprocess.Popen([*self.PROGRAM, *options], stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            origin = program.stdout.readline().partition("'")[2].split(" ")[0]
            assert len(get(origin.replace("{id}", NUMBER)).content) == 3000
            program.terminate()

    def test_shell_can_evaluate_the_output(self) -> None:
        script = f"""
            read -r line < <(exec {" ".join(self.PROGRAM)} --size 1)
            standin=$!
            eval "$line"
            printenv ANTSCACHE_ORIGINS
            kill "$standin"
        """
        output = subprocess.run(["bash", "-ec", script], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert len(output.split()) == 3

    @pytest.mark.parametrize(
        "options",
        [
            ["--file", "77"],
            ["--file", "x=/etc/hostname"],
            ["--rate", "0"],
            ["--port", "70000"],
            ["--size-of", "77"],
            ["--size-of", "77=x"],
            ["--key", "/etc/hostname"],
        ],
    )
    def test_program_names_unusable_options(self, options: list[str]) -> None:
        ended = subprocess.run([*self.PROGRAM, *options], check=False, stderr=subprocess.PIPE, text=True)

        assert ended.returncode == 2
        assert options[0].strip("-") in ended.stderr.splitlines()[-1]
