"""Ask an origin for bytes and read them, by HTTP or from a file of this host.

urllib3 speaks HTTP; `bounds` keeps each answer within limits; `protocol` decides if it is accepted. Redirects are
followed here, because each hop is checked: http(s) only, never from https to http, no credentials for another host, and
at most five.
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
from antscache.errors import UNTRUSTED_CERTIFICATE
from antscache.fetch.bounds import bound_answers
from antscache.fetch.protocol import (
    REDIRECT_STATUSES,
    AnswerHead,
    FileFacts,
    RangeRequest,
    Refusal,
    next_hop,
    read_facts,
    read_head,
)
from antscache.fetch.proxies import find_credentials, host_of, make_pools, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO

READ_CHUNK_BYTES = 1 << 20  # read at a time, at most: reads of 1 kB cost ten times as much
CONNECT_TIMEOUT_SECONDS = 10.0
MAX_UNANNOUNCED_BYTES = 4 << 30  # of a body without a length
MAX_REDIRECTS = 5  # Figshare needs one
MAX_DRAINED_BYTES = 1 << 16  # of a redirect's body; a longer one is not read, and costs a new connection
REQUEST_HEADERS = {
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
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_SECONDS, timeout), read=timeout)
        self._tokens = tokens or {}
        self._pools: dict[str, urllib3.PoolManager] = {}  # of each scheme and host: proxies are costly to find out

    def close(self) -> None:
        """Close the connections."""
        for pools in self._pools.values():
            pools.clear()

    @contextmanager
    def open(self, url: str, request: RangeRequest, *, with_credentials: bool = False) -> Iterator[Body]:
        """Open the bytes at `url`, and follow redirects.

        Args:
            url: http, https, or file.
            request: for the whole file, or a part of it.
            with_credentials: True to send the user's credentials for the host of `url`.

        Raises:
            Refusal: the answer is not what was requested.
            ConfigError: the proxy or the certificates that the environment names cannot be used.
        """
        if url.startswith("file:"):
            with _open_file(url, request) as body:
                yield body
            return
        with _refusals():
            response = self._answer(url, request, find_credentials(url, self._tokens) if with_credentials else {})
        with _closing(response):
            yield Body(read_head(response.status, response.headers, request), partial(_read_answer, response))

    def facts(self, url: str, *, with_credentials: bool = False) -> FileFacts:
        """Return the size and MD5 of the file at `url`, http or https, by requesting its first byte.

        Raises:
            Refusal: the answer does not say the size.
            ConfigError: the proxy or the certificates that the environment names cannot be used.
        """
        with _refusals():
            response = self._answer(
                url, RangeRequest(0, 1), find_credentials(url, self._tokens) if with_credentials else {}
            )
        with _closing(response):
            facts = read_facts(response.status, response.headers)
            if response.length_remaining == 1:
                with _refusals():
                    response.drain_conn()  # so that the connection can be used again
            return facts

    def _answer(self, url: str, request: RangeRequest, authorization: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Send `request` to `url` and to each redirect from there; return the first answer that is no redirect.

        Raises:
            Refusal: a redirect is not allowed, or one too many.
        """
        first = server_of(url)
        url = urlsplit(url)._replace(netloc=host_of(url)).geturl()  # without a user: a proxy sees the whole URL
        for _ in range(MAX_REDIRECTS + 1):
            headers = REQUEST_HEADERS | request.headers() | (authorization if server_of(url) == first else {})
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
            if response.status not in REDIRECT_STATUSES:
                return response
            with _closing(response):
                if response.length_remaining is not None and response.length_remaining <= MAX_DRAINED_BYTES:
                    response.drain_conn()
                    response.release_conn()  # so that it can be used again
                url = next_hop(url, response.headers.get("Location"))
        raise Refusal(f"more than {MAX_REDIRECTS} redirects")

    def _pool(self, url: str) -> urllib3.PoolManager:
        key = server_of(url)
        if key not in self._pools:
            pools = make_pools(url)
            bound_answers(pools, url)
            self._pools[key] = pools
        return self._pools[key]


class Body:
    """The bytes of an answer while they arrive.

    Args:
        head: of the answer.
        read: returns the next bytes, at most as many as it is given, and none at the end.

    Attributes:
        head: as above.
    """

    def __init__(self, head: AnswerHead, read: Callable[[int], bytes]) -> None:
        self.head = head
        self._read = read

    def __iter__(self) -> Iterator[memoryview]:
        """Yield each chunk in order.

        HTTP reads no further than a Content-Length. Bytes that a host sends behind it belong to no answer, and are not
        noticed. If a wrong Content-Length cuts the body, the checks of the file refuse it.

        Raises:
            Refusal: the connection broke, no data came in time, too few in a minute, or fewer or more than announced.
        """
        announced, received = self.head.announced, 0
        while chunk := self._read(READ_CHUNK_BYTES):
            received += len(chunk)
            if announced is not None and received > announced:
                raise Refusal(f"longer than the {announced} bytes announced", discard_partial=True)
            if announced is None and received > MAX_UNANNOUNCED_BYTES:
                raise Refusal(f"longer than {MAX_UNANNOUNCED_BYTES} bytes, and no length announced")
            yield memoryview(chunk)
            del chunk  # before the next one is read, which then gets its memory, still in the processor's cache
        if announced is not None and received < announced:
            raise Refusal(f"cut: {received} of {announced} bytes", transient=True)


def _read_answer(response: urllib3.BaseHTTPResponse, count: int) -> bytes:
    """Read the next bytes of the answer's body, at most `count`, as soon as there are any."""
    with _refusals():
        return response.read1(count)


def _read_file(file: FileIO, stop: int, count: int) -> bytes:
    """Read the next bytes of `file`, at most `count`, and none from the position `stop` on."""
    try:
        return file.read(min(count, stop - file.tell()))
    except OSError as error:
        raise Refusal(f"cannot be read: {error.strerror}") from None


@contextmanager
def _closing(response: urllib3.BaseHTTPResponse) -> Iterator[None]:
    """Close `response` in the end, and its connection too unless that can be used for the next request.

    When a body is read to its end, urllib3 takes the connection back, and uses it again if no data waits on its socket.
    But a socket does not show that a body was cut before its announced end, nor that more bytes came behind the body in
    the same TLS record: in both cases the connection is closed here.
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
def _open_file(url: str, request: RangeRequest) -> Iterator[Body]:
    """Open the file that the file: URL `url` names, with the rules of an HTTP range request.

    Raises:
        Refusal: it cannot be opened, or has changed since an earlier part was read.
    """
    path = unquote(urlsplit(url).path)
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise Refusal("no such file") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"cannot be opened: {getattr(error, 'strerror', None) or 'not a path'}") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
        size = status.st_size
        if request.partial and (request.size != size or request.etag not in {"", etag}):
            if request.stop is not None:
                raise Refusal("the file has changed", discard_partial=True)
            request = RangeRequest()
        stop = size if request.stop is None else request.stop
        file.seek(request.start)
        yield Body(AnswerHead(request.start, stop - request.start, size, etag), partial(_read_file, file, stop))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors of HTTP and of the network into a Refusal, in words without URLs. Wrap nothing else in it."""
    try:
        yield
    except (urllib3.exceptions.LocationValueError, UnicodeError):
        raise Refusal("an invalid URL") from None
    except urllib3.exceptions.NewConnectionError as error:
        raise Refusal(f"no answer: {_reason(error)}", transient=True, affects_origin=True) from None
    except urllib3.exceptions.ConnectTimeoutError:
        raise Refusal("no connection in time", transient=True, affects_origin=True) from None
    except (urllib3.exceptions.TimeoutError, TimeoutError):
        raise Refusal("no data in time", transient=True) from None
    except (urllib3.exceptions.SSLError, ssl.SSLError) as error:
        raise Refusal(f"{UNTRUSTED_CERTIFICATE}: {_reason(error)}", affects_origin=True) from None
    except urllib3.exceptions.ProxyError as error:
        raise Refusal(f"the proxy failed: {_proxys_reason(error)}", transient=True, affects_origin=True) from None
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        # If a chunked body ends early, the length of the next chunk is not a number: a ValueError.
        ended = isinstance(_innermost(error), http.client.IncompleteRead | ValueError)
        raise Refusal("cut: before its end" if ended else f"broken off: {_reason(error)}", transient=True) from None


def _reason(error: BaseException) -> str:
    """Return the innermost cause in the system's words; the outer causes may contain URLs."""
    cause = _innermost(error)
    return getattr(cause, "strerror", None) or type(cause).__name__


def _proxys_reason(error: BaseException) -> str:
    """Return the status with which a proxy refused a tunnel, which http.client only has in a text; else `_reason`."""
    match = _NO_TUNNEL.match(str(_innermost(error)))
    return f"{match[1]} {http.client.responses.get(int(match[1]), '')}".strip() if match else _reason(error)


def _innermost(error: BaseException) -> BaseException:
    """Return the exception at the end of the chain of causes of `error`."""
    innermost = error
    while inner := (innermost.__cause__ or innermost.__context__ or _wrapped(innermost)):
        innermost = inner
    return innermost


def _wrapped(error: BaseException) -> BaseException | None:
    """Return the exception that urllib3 has put into the arguments or the `reason` of `error`; None without one."""
    candidates = [getattr(error, "reason", None), *error.args]
    return next((each for each in candidates if isinstance(each, BaseException)), None)
