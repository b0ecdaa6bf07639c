"""The client: the answers that it accepts as the bytes of a file, and those it refuses."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import urllib3
from support.authority import Authority
from support.raw_server import another_address, raw_server, redirecting_server

from antscache.fetch import bounds, http
from antscache.fetch.http import Client
from antscache.fetch.protocol import RangeRequest, Refusal
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "34821874"


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with StandIn({NUMBER: "brainExtractionRobustT1.h5"}, size=3_000_000) as running:
        yield running


def read(client: Client, url: str, request: RangeRequest = RangeRequest()) -> bytes:  # noqa: B008  it is frozen
    with client.open(url, request) as body:
        return b"".join(body)


def received(url: str, timeout: float = 60) -> bytes:
    with closing(Client(timeout)) as client:
        return read(client, url)


def refusal(url: str, timeout: float = 60) -> Refusal:
    with pytest.raises(Refusal) as caught:
        received(url, timeout)
    return caught.value


@pytest.mark.parametrize("how", [None, Misbehaviour.CHUNKED, Misbehaviour.UNANNOUNCED])
def test_a_whole_file_arrives(standin: StandIn, how: Misbehaviour | None) -> None:
    origins = standin.misbehaving_origins(how) if how else standin.origins
    assert received(origins.split()[0].format(id=NUMBER)) == standin.content(NUMBER)


@pytest.mark.parametrize(
    ("how", "outcome", "transient", "affects_origin"),
    [
        (Misbehaviour.CHALLENGE, "202 bot challenge", False, True),
        (Misbehaviour.FORBIDDEN, "403 Forbidden", False, True),
        (Misbehaviour.MISSING, "404 Not Found", False, False),
        (Misbehaviour.BUSY, "429 Too Many Requests", True, False),
        (Misbehaviour.BROKEN, "500 Internal Server Error", True, False),
        (Misbehaviour.UNAVAILABLE, "503 Service Unavailable", True, False),
        (Misbehaviour.HTML, "200 with an HTML page", False, False),
        (Misbehaviour.EMPTY, "200 with an empty body", False, False),
        (Misbehaviour.REDIRECT_FILE, "a redirect to file:, which is not http(s)", False, False),
        (Misbehaviour.REDIRECT_FTP, "a redirect to ftp:, which is not http(s)", False, False),
        (Misbehaviour.REDIRECT_NOWHERE, "a redirect to nowhere", False, False),
        (Misbehaviour.REDIRECT_LOOP, "more than 5 redirects", False, False),
        (Misbehaviour.GZIP_ENCODED, "Content-Encoding", False, False),
        (Misbehaviour.CUT, "cut: 1500000 of 3000000 bytes", True, False),
        (Misbehaviour.CUT_CHUNKED, "cut: before its end", True, False),
        (Misbehaviour.RESET, "broken off", True, False),
    ],
)
def test_wrong_answer_is_refused_and_named(
    standin: StandIn, how: Misbehaviour, outcome: str, transient: bool, affects_origin: bool
) -> None:
    error = refusal(standin.misbehaving_origins(how).split()[0].format(id=NUMBER))
    assert outcome in str(error)
    assert (error.transient, error.affects_origin) == (transient, affects_origin)


def test_bytes_behind_the_announced_end_are_ignored(standin: StandIn) -> None:
    """They belong to no answer."""
    whole = standin.content(NUMBER)
    for how, size in ((Misbehaviour.LONG, len(whole)), (Misbehaviour.SHORT_ANNOUNCED, len(whole) // 2)):
        assert received(standin.misbehaving_origins(how).split()[0].format(id=NUMBER)) == whole[:size]


def test_an_origins_own_words_never_reach_the_terminal() -> None:
    hostile = b"HTTP/1.1 404 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n"
    with raw_server(hostile) as url:
        assert str(refusal(url)) == "404 Not Found"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 401 s3cr3t\r\nContent-Length: 6\r\n\r\ns3cr3t", "401 Unauthorized"),
        (b"HTTP/1.1 500 \r\ns3cr3t: s3cr3t\r\nContent-Length: 6\r\n\r\ns3cr3t", "500 Internal Server Error"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\ns3cr3t", "200 with an HTML page"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: s3cr3t\r\nContent-Length: 6\r\n\r\ns3cr3t",
            "200 with a Content-Encoding",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cr3t\r\n", "cut"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///s3cr3t\r\nContent-Length: 6\r\n\r\ns3cr3t", "a redirect to file:"),
        (b"220 s3cr3t ESMTP\r\n", "broken off"),
    ],
)
def test_answers_of_private_networks_stay_there(answer: bytes, outcome: str) -> None:
    """A redirect leads there, as curl follows it; the refusal shows the status, and nothing else of the answer."""
    with raw_server(answer, another_address()) as private, redirecting_server(private) as url:
        text = str(refusal(url))
    assert (outcome in text, "s3cr3t" in text) == (True, False), text
    gc.collect()


def test_third_figshare_route_is_a_challenge(standin: StandIn) -> None:
    assert "bot challenge" in str(refusal(standin.origins.split()[2].format(id=NUMBER)))


def test_silence_is_refused_after_the_timeout(standin: StandIn) -> None:
    error = refusal(standin.misbehaving_origins(Misbehaviour.STALL).split()[0].format(id=NUMBER), timeout=0.2)
    assert ("no data in time" in str(error), error.transient) == (True, True)


def test_refused_connection_affects_the_origin() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = refusal(f"http://127.0.0.1:{unused.getsockname()[1]}/files/1")
    assert (str(error), error.affects_origin) == ("no answer: Connection refused", True)


def test_unresolved_name_affects_the_origin() -> None:
    error = refusal("http://nowhere.invalid/files/1")
    assert error.affects_origin
    assert "nowhere.invalid" not in str(error)


def test_no_refusal_contains_the_url(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_UNANNOUNCED_BYTES", 4_000_000)
    monkeypatch.setattr(bounds, "MINUTE_SECONDS", 0.3)
    for how in Misbehaviour:
        text = ""
        try:
            received(standin.misbehaving_origins(how).split()[0].format(id=NUMBER) + "?token=secret", timeout=0.2)
        except Refusal as error:
            text = str(error)
        assert "secret" not in text
        assert NUMBER not in text


def test_more_bytes_than_the_part_has_are_refused() -> None:
    """A chunked part has no Content-Length that would end it; its Content-Range says its size."""
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head + b"6\r\nhello!\r\n0\r\n\r\n") as url, closing(Client(60)) as client:
        with pytest.raises(Refusal, match="longer than the 5 bytes announced") as caught:
            read(client, url, RangeRequest(0, 5, 9))
        assert caught.value.discard_partial


@contextmanager
def patient_server(
    answers: list[bytes], context: ssl.SSLContext | None = None, *, ends_tls: bool = False
) -> Iterator[str]:
    """Answer each request with exactly the next bytes, on whatever connection it comes, and hang up after the last.

    With `ends_tls`, say after each answer that no more bytes come, and keep the socket.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while answers:
                connection, _ = listening.accept()
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection, suppress(OSError):  # the client hangs up with bytes unread
                    while answers and connection.recv(65536):
                        connection.sendall(answers.pop(0))
                        if ends_tls and isinstance(connection, ssl.SSLSocket):
                            connection.settimeout(0)
                            with suppress(ssl.SSLWantReadError):
                                connection.unwrap()
                            connection.settimeout(None)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http{'s' if context else ''}://127.0.0.1:{listening.getsockname()[1]}/files/1"
        thread.join()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A certificate authority that the client trusts."""
    authority = Authority.in_directory(tmp_path)
    trust = ssl.create_default_context(cafile=authority.ca)
    monkeypatch.setattr(http, "make_pools", lambda _: urllib3.PoolManager(maxsize=1, ssl_context=trust))
    return authority


@pytest.mark.parametrize("behind", [b"more" * 2500, ok(b"1")], ids=["bytes", "answer"])
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found\r\nLocation: /files/2"], ids=["whole", "redirect"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_bytes_behind_an_answer_are_never_the_next(
    authority: Authority, secure: bool, status: bytes, behind: bytes
) -> None:
    """They come with the last bytes of the answer, in one packet and one TLS record; the connection stays open."""
    first, second = b"1" * 20_000, b"2" * 20_000
    answers = [ok(first).replace(b"200 OK", status) + behind, ok(second)]
    with patient_server(answers, authority.server() if secure else None) as url, closing(Client(60)) as client:
        if status == b"200 OK":
            assert read(client, url) == first
        assert read(client, url) == second


def test_connection_of_a_cut_answer_is_closed(authority: Authority) -> None:
    """TLS ends properly, so only the count of bytes shows that the answer was cut."""
    first, second = b"1" * 20_000, b"2" * 20_000
    answers = [ok(first)[:-1], ok(second)]
    with patient_server(answers, authority.server(), ends_tls=True) as url, closing(Client(60)) as client:
        with pytest.raises(Refusal, match="cut: 19999 of 20000 bytes"):
            read(client, url)
        assert read(client, url) == second


def test_long_body_of_a_redirect_is_not_read(standin: StandIn) -> None:
    target = f"{standin.url}/files/{NUMBER}"
    answer = f"HTTP/1.1 302 Found\r\nContent-Length: {10**12}\r\nLocation: {target}\r\n\r\nbytes"
    with raw_server(answer.encode()) as url:
        assert received(url) == standin.content(NUMBER)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "answer",
    [
        b"not HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: x\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_nonsense_from_an_origin_is_a_refusal(answer: bytes) -> None:
    with raw_server(answer) as url:
        assert str(refusal(url))
    gc.collect()  # urllib3 leaves the sockets of such answers to the garbage collector, which warns


def test_server_without_tls_affects_the_origin(standin: StandIn) -> None:
    error = refusal(standin.url.replace("http:", "https:") + "/files/1")
    assert error.affects_origin
    assert ssl.SSLError.__name__ in str(error) or "TLS" in str(error) or "answer" in str(error)
