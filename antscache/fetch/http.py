"""Ask an origin for bytes and read them: by HTTP, or from files of this host as if they were behind it.

urllib3 speaks HTTP, and `protocol` decides what an answer is worth. Redirects are followed here, because each hop is
checked: http(s) only, never from https to http, no credentials across hosts, and no more than a few.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import urllib3

from antscache.disk import open_regular
from antscache.fetch.protocol import REDIRECTS, AnswerHead, RangeRequest, Refusal, next_hop, read_head, read_size
from antscache.fetch.proxies import credentials, host, place, pools_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO

CHUNK = 1 << 20  # bytes read at a time, at most: reads of 1 kB cost ten times as much
CONNECT_TIMEOUT = 10.0  # seconds
MAX_REDIRECTS = 5  # Figshare needs one
SHORT = 1 << 16  # bytes of a redirect's body that are read; a longer one costs a new connection instead
HEADERS = {
    "User-Agent": "antscache (+https://pypi.org/project/antscache)",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}

_NO_TUNNEL = re.compile("Tunnel connection failed: ([0-9]{3})")


class Client:
    """Connections for one thread. Close it.

    Args:
        timeout: seconds of silence after which a transfer has failed.
        tokens: of mirrors, by host or host:port.
    """

    def __init__(self, timeout: float, tokens: Mapping[str, str] | None = None) -> None:
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout)
        self._tokens = tokens or {}
        self._pools: dict[str, urllib3.PoolManager] = {}  # of each scheme and host: proxies are costly to find out

    def close(self) -> None:
        """Give up the connections."""
        for pools in self._pools.values():
            pools.clear()

    @contextmanager
    def open(self, url: str, asked: RangeRequest, *, with_credentials: bool = False) -> Iterator[Body]:
        """Open the bytes behind `url`, redirects followed.

        Args:
            url: http, https, or file.
            asked: all of them, or a part.
            with_credentials: whether those of the environment may be sent to its host.

        Raises:
            Refusal: the answer is not what was asked for.
        """
        if url.startswith("file:"):
            with _open_file(url, asked) as body:
                yield body
            return
        with _refusals():
            response = self._answer(url, asked, credentials(url, self._tokens) if with_credentials else {})
        with _closing(response):
            yield Body(read_head(response.status, response.headers, asked), partial(_read_answer, response))

    def size(self, url: str, *, with_credentials: bool = False) -> int:
        """Return how many bytes are behind `url`, http or https, by asking for the first.

        Raises:
            Refusal: the answer does not say.
        """
        with _refusals():
            response = self._answer(url, RangeRequest(0, 1), credentials(url, self._tokens) if with_credentials else {})
        with _closing(response):
            size = read_size(response.status, response.headers)
            if response.length_remaining == 1:
                with _refusals():
                    response.drain_conn()  # so that the connection can be used again
            return size

    def _answer(self, url: str, asked: RangeRequest, authorization: dict[str, str]) -> urllib3.BaseHTTPResponse:
        first = place(url)
        url = urlsplit(url)._replace(netloc=host(url)).geturl()  # a proxy is told the whole URL
        for _ in range(MAX_REDIRECTS + 1):
            headers = HEADERS | asked.headers() | (authorization if place(url) == first else {})
            response = self._pool(url).request(
                "GET",
                url,
                headers=headers,
                timeout=self._timeout,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,  # `Body` does, and says how many bytes came
            )
            if response.status not in REDIRECTS:
                return response
            with _closing(response):
                if response.length_remaining is not None and response.length_remaining <= SHORT:
                    response.drain_conn()
                    response.release_conn()  # so that it can be used again
                url = next_hop(url, response.headers.get("Location"))
        raise Refusal(f"more than {MAX_REDIRECTS} redirects")

    def _pool(self, url: str) -> urllib3.PoolManager:
        there = place(url)
        if there not in self._pools:
            self._pools[there] = pools_to(url)
        return self._pools[there]


class Body:
    """The bytes of an answer while they arrive.

    Args:
        read: returns up to so many bytes that come next, and none at the end.

    Attributes:
        reply: what they are.
    """

    def __init__(self, reply: AnswerHead, read: Callable[[int], bytes]) -> None:
        self.reply = reply
        self._read = read

    def __iter__(self) -> Iterator[memoryview]:
        """Yield each chunk in order.

        HTTP reads no further than a Content-Length: what a host sends behind that belongs to no answer, and goes
        unnoticed. A body that a wrong Content-Length has cut is refused by the checks of the file.

        Raises:
            Refusal: the connection broke or fell silent, or fewer or more bytes came than were announced.
        """
        announced, received = self.reply.announced, 0
        while chunk := self._read(CHUNK):
            received += len(chunk)
            if announced is not None and received > announced:
                raise Refusal(f"longer than the {announced} bytes announced", discard_partial=True)
            yield memoryview(chunk)
        if announced is not None and received < announced:
            raise Refusal(f"cut: {received} of {announced} bytes", transient=True)


def _read_answer(response: urllib3.BaseHTTPResponse, count: int) -> bytes:
    """Read up to `count` bytes of the answer's body, as soon as there are any."""
    with _refusals():
        return response.read1(count)


def _read_file(file: FileIO, stop: int, count: int) -> bytes:
    """Read up to `count` bytes of `file`, and none from `stop` on."""
    try:
        return file.read(min(count, stop - file.tell()))
    except OSError as error:
        raise Refusal(f"cannot be read: {error.strerror}") from None


@contextmanager
def _closing(response: urllib3.BaseHTTPResponse) -> Iterator[None]:
    """Close `response` in the end, and its connection unless that can answer the next request.

    Read to its end, an answer gives its connection back by itself, and urllib3 uses that again if nothing waits on its
    socket. That does not show whether an announced end was reached, nor what came behind it in one record of TLS.
    """
    connection = response.connection
    try:
        with closing(response):
            yield
    finally:
        sock = getattr(connection, "sock", None)
        decrypted = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
        if connection and (response.length_remaining or decrypted):
            connection.close()


@contextmanager
def _open_file(url: str, asked: RangeRequest) -> Iterator[Body]:
    """Open the file that `url` names, as if an origin sent it."""
    path = unquote(urlsplit(url).path)
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise Refusal("no such file") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"cannot be opened: {getattr(error, 'strerror', None) or 'no path'}") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
        size = status.st_size
        if asked.partial and (asked.size != size or asked.etag not in {"", etag}):
            if asked.stop is not None:
                raise Refusal("it has changed", discard_partial=True)
            asked = RangeRequest()
        stop = size if asked.stop is None else asked.stop
        file.seek(asked.start)
        yield Body(AnswerHead(asked.start, stop - asked.start, size, etag), partial(_read_file, file, stop))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what goes wrong between us and a host into a Refusal, in words without URLs. Wraps HTTP and nothing else."""
    try:
        yield
    except (urllib3.exceptions.LocationValueError, UnicodeError):
        raise Refusal("a URL that cannot be asked for") from None
    except urllib3.exceptions.NewConnectionError as error:
        raise Refusal(f"no answer: {_reason(error)}", transient=True, affects_origin=True) from None
    except urllib3.exceptions.ConnectTimeoutError:
        raise Refusal("no connection in time", transient=True, affects_origin=True) from None
    except (urllib3.exceptions.TimeoutError, TimeoutError):
        raise Refusal("silence", transient=True) from None
    except (urllib3.exceptions.SSLError, ssl.SSLError) as error:
        raise Refusal(f"TLS failed: {_reason(error)}", affects_origin=True) from None
    except urllib3.exceptions.ProxyError as error:
        raise Refusal(f"the proxy failed: {_proxys_reason(error)}", transient=True, affects_origin=True) from None
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        # A body in chunks that ends early is a chunk whose length is no number.
        ended = isinstance(_innermost(error), http.client.IncompleteRead | ValueError)
        raise Refusal("cut: before its end" if ended else f"broken off: {_reason(error)}", transient=True) from None


def _reason(error: BaseException) -> str:
    """The innermost cause in the system's words; the outer ones repeat URLs."""
    cause = _innermost(error)
    return getattr(cause, "strerror", None) or type(cause).__name__


def _proxys_reason(error: BaseException) -> str:
    """The status with which a proxy refused a tunnel, which http.client tells in words alone; else as `_reason`."""
    found = _NO_TUNNEL.match(str(_innermost(error)))
    return f"{found[1]} {http.client.responses.get(int(found[1]), '')}".strip() if found else _reason(error)


def _innermost(error: BaseException) -> BaseException:
    seen = error
    while inner := (seen.__cause__ or seen.__context__ or _wrapped(seen)):
        seen = inner
    return seen


def _wrapped(error: BaseException) -> BaseException | None:
    """The exception that urllib3 hands on as an argument or a reason."""
    candidates = [getattr(error, "reason", None), *error.args]
    return next((each for each in candidates if isinstance(each, BaseException)), None)
