"""Origins: what an answer must be to count as a file's bytes."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.config import FIGSHARE_ROUTES
from antscache.errors import ConfigError
from antscache.origin import Client, Origin, Refusal, next_hop, parse_origins
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = "34821874"


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with StandIn({NUMBER: "brainExtractionRobustT1.h5"}, size=3_000_000) as running:
        yield running


def received(url: str, timeout: float = 5) -> bytes:
    with closing(Client(timeout)) as client, client.open(url) as body:
        return b"".join(body)


def refusal(url: str, timeout: float = 5) -> Refusal:
    with pytest.raises(Refusal) as caught:
        received(url, timeout)
    return caught.value


# Templates


def test_figshares_three_routes_are_asked_in_their_order_after_the_mirrors() -> None:
    origins = parse_origins(["https://mirror.org/{digest}"], FIGSHARE_ROUTES)
    assert [origin.trust for origin in origins] == ["mirror", "origin", "origin", "origin"]
    assert [origin.url("figshare:34821874", "x.h5", None) for origin in origins] == [
        None,
        "https://api.figshare.com/v2/file/download/34821874",
        "https://ndownloader.figshare.com/files/34821874",
        "https://figshare.com/ndownloader/files/34821874",
    ]


def test_a_mirror_may_go_by_identifier_digest_and_file() -> None:
    [mirror] = parse_origins(["http://host:8080/{file}?d={digest}&i={id}"], [])
    digest = "sha256:" + "0" * 64
    assert mirror.url("figshare:7", "a.h5", digest) == f"http://host:8080/a.h5?d={'0' * 64}&i=7"
    assert mirror.name == "host:8080"


@pytest.mark.parametrize(
    "template",
    [
        "https://host/path",
        "host/{id}",
        "file:///data/{id}",
        "ftp://host/{id}",
        "https:///{id}",
        "https://host/{",
        "https://host/{0}",
        "https://host/{id.__class__}",
        "https://host/{secret}",
        "https://host:port/{id}",
    ],
)
def test_what_is_no_template_is_an_error_with_a_hint(template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_origins([template], [])
    assert "{id}" in caught.value.hint


def test_a_secret_in_a_template_is_not_in_the_error_about_it() -> None:
    for template in "https://user:secret@host/path?token=secret", "https://user:secret@host:port/{id}?token=secret":
        with pytest.raises(ConfigError) as caught:
            parse_origins([template], [])
        assert "host" in str(caught.value)
        assert "secret" not in str(caught.value)


def test_the_routes_that_replace_figshares_go_by_identifier_alone() -> None:
    with pytest.raises(ConfigError):
        parse_origins([], ["https://host/{digest}"])


def test_a_token_in_a_template_is_never_in_the_origins_name() -> None:
    assert Origin("https://user:secret@host/{id}?token=secret", "mirror").name == "host"


# Redirects


@given(st.text(max_size=60))
def test_no_location_leads_anywhere_but_to_http_or_https(location: str) -> None:
    try:
        target = next_hop("http://host/files/1", location)
    except Refusal:
        return
    assert urlsplit(target).scheme in {"http", "https"}


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://host/files/1", "/storage/1", "https://host/storage/1"),
        ("https://host/files/1", "https://other/1?x=y", "https://other/1?x=y"),
        ("http://host/files/1", "https://other/1", "https://other/1"),
        ("http://host/files/1", "//other/1", "http://other/1"),
    ],
)
def test_a_redirect_is_followed_to(url: str, location: str, target: str) -> None:
    assert next_hop(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "told"),
    [
        ("https://host/1", None, "nowhere"),
        ("https://host/1", "", "nowhere"),
        ("https://host/1", "file:///etc/passwd", "file:, which is not http(s)"),
        ("https://host/1", "ftp://host/1", "ftp:, which is not http(s)"),
        ("https://host/1", "javascript:alert(1)", "javascript:, which is not http(s)"),
        ("https://host/1", "http://host/1", "from https to http"),
        ("https://host/1", "http://[broken", "not a URL"),
    ],
)
def test_a_redirect_is_refused_to(url: str, location: str | None, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        next_hop(url, location)
    assert told in str(caught.value)


# Answers


@pytest.mark.parametrize("how", [None, Misbehaviour.CHUNKED, Misbehaviour.UNANNOUNCED])
def test_a_whole_file_arrives(standin: StandIn, how: Misbehaviour | None) -> None:
    origins = standin.misbehaving_origins(how) if how else standin.origins
    assert received(origins.split()[0].format(id=NUMBER)) == standin.content(NUMBER)


@pytest.mark.parametrize(
    ("how", "told", "passing", "whole_origin"),
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
        (Misbehaviour.CUT, "broken off", True, False),
        (Misbehaviour.CUT_CHUNKED, "broken off", True, False),
        (Misbehaviour.RESET, "broken off", True, False),
        (Misbehaviour.LONG, "longer than the 3000000 bytes announced", False, False),
        (Misbehaviour.SHORT_ANNOUNCED, "longer than the 1500000 bytes announced", False, False),
    ],
)
def test_an_answer_that_is_not_the_file_is_refused_and_named(
    standin: StandIn, how: Misbehaviour, told: str, passing: bool, whole_origin: bool
) -> None:
    found = refusal(standin.misbehaving_origins(how).split()[0].format(id=NUMBER))
    assert told in str(found)
    assert (found.passing, found.whole_origin) == (passing, whole_origin)


def test_an_origins_own_words_never_reach_the_terminal() -> None:
    hostile = b"HTTP/1.1 404 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n"
    with raw_server(hostile) as url:
        assert str(refusal(url)) == "404 Not Found"


def test_figshares_third_route_challenges_programs(standin: StandIn) -> None:
    assert "bot challenge" in str(refusal(standin.origins.split()[2].format(id=NUMBER)))


def test_silence_is_refused_after_the_timeout(standin: StandIn) -> None:
    found = refusal(standin.misbehaving_origins(Misbehaviour.STALL).split()[0].format(id=NUMBER), timeout=0.2)
    assert ("silence" in str(found), found.passing) == (True, True)


def test_nobody_there_is_about_the_origin_as_a_whole() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = refusal(f"http://127.0.0.1:{unused.getsockname()[1]}/files/1")
    assert (str(found), found.whole_origin) == ("no answer: Connection refused", True)


def test_a_name_that_does_not_resolve_is_about_the_origin_as_a_whole() -> None:
    found = refusal("http://nowhere.invalid/files/1")
    assert found.whole_origin
    assert "nowhere.invalid" not in str(found)


def test_a_refusal_never_holds_the_url_that_was_asked(standin: StandIn) -> None:
    for how in Misbehaviour:
        if how in {Misbehaviour.STALL, Misbehaviour.CHUNKED, Misbehaviour.UNANNOUNCED}:
            continue
        told = ""
        try:
            received(standin.misbehaving_origins(how).split()[0].format(id=NUMBER) + "?token=secret")
        except Refusal as found:
            told = str(found)
        assert "secret" not in told
        assert NUMBER not in told


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """A server that sends exactly these bytes to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/files/1"
        thread.join()


def test_the_body_of_a_redirect_is_not_waited_for_however_long_it_is_said_to_be(standin: StandIn) -> None:
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
def test_nonsense_from_an_origin_is_a_refusal_and_never_a_crash(answer: bytes) -> None:
    with raw_server(answer) as url:
        assert str(refusal(url))
    gc.collect()  # urllib3 leaves the sockets of such answers to the garbage collector, which warns


def test_a_server_without_the_tls_that_was_asked_for_is_refused_as_a_whole(standin: StandIn) -> None:
    found = refusal(standin.url.replace("http:", "https:") + "/files/1")
    assert found.whole_origin
    assert ssl.SSLError.__name__ in str(found) or "TLS" in str(found) or "answer" in str(found)
