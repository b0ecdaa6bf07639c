"""HTTP, and files of this host as if they were behind it: what is asked of an origin, and the bytes that come.

urllib3 speaks HTTP; what an answer is worth `reply` decides. Redirects are followed here, because each hop is checked:
http(s) only, never from https to http, no credentials across hosts, and no more than a few.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from contextlib import closing, contextmanager, suppress
from stat import S_ISREG
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util.wait import wait_for_read

from antscache.fetch.protocol import REDIRECTS, AnswerHead, RangeRequest, Refusal, next_hop, read_head, read_size
from antscache.fetch.proxies import credentials, host, place, pools_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHUNK = 1 << 20  # bytes read at a time, at most: reads of 1 kB cost ten times as much
FAST = 1 << 17  # bytes: where so many come at once, more are on their way, and few large chunks cost less than many
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
        self._buffer = memoryview(bytearray(CHUNK))

    def close(self) -> None:
        """Give up the connections."""
        for pools in self._pools.values():
            pools.clear()

    @contextmanager
    def open(self, url: str, asked: RangeRequest, *, with_credentials: bool = False) -> Iterator[Body]:
        """The bytes behind `url`, redirects followed.

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
        with closing(response):
            # Read to its end, the answer gives its connection back by itself.
            yield HttpBody(read_head(response.status, response.headers, asked), response, self._buffer)

    def size(self, url: str, *, with_credentials: bool = False) -> int:
        """How many bytes are behind `url`, http or https, of which one is asked for.

        Raises:
            Refusal: the answer does not say.
        """
        with _refusals():
            response = self._answer(url, RangeRequest(0, 1), credentials(url, self._tokens) if with_credentials else {})
        with closing(response):
            size = read_size(response.status, response.headers)
            if response.headers.get("Content-Length") == "1":
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
            )
            if response.status not in REDIRECTS:
                return response
            with closing(response):
                length = response.headers.get("Content-Length", "")
                if length.isascii() and length.isdigit() and int(length) <= SHORT:
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

    Attributes:
        reply: what they are.
    """

    def __init__(self, reply: AnswerHead) -> None:
        self.reply = reply

    def __iter__(self) -> Iterator[memoryview]:
        """Each chunk in order; a chunk is overwritten by the next one.

        Raises:
            Refusal: the connection broke or fell silent, or there are fewer or more bytes than announced.
        """
        announced, received = self.reply.announced, 0
        while count := self._read(None if announced is None else announced - received):
            received += count
            yield self._chunk(count)
        if announced is not None and received < announced:
            raise Refusal(f"cut: {received} of {announced} bytes", transient=True)

    def _read(self, left: int | None) -> int:
        """Read some of what is `left`, and return how much; nothing at the end."""
        raise NotImplementedError

    def _chunk(self, count: int) -> memoryview:
        raise NotImplementedError


class HttpBody(Body):
    """The bytes of an answer to an HTTP request."""

    def __init__(self, reply: AnswerHead, response: urllib3.BaseHTTPResponse, buffer: memoryview) -> None:
        super().__init__(reply)
        self._response: Any = response
        self._buffer = buffer
        self._direct = _direct(response)
        self._failed: OSError | None = None

    def _chunk(self, count: int) -> memoryview:
        return self._buffer[:count]

    def _read(self, left: int | None) -> int:
        with _refusals():
            if self._direct is None:
                some = self._response.read1(len(self._buffer) if left is None else min(len(self._buffer), left or 1))
                behind, more = len(some) if left == 0 else 0, False
            elif left is None or left > 1:
                return self._read_directly(len(self._buffer) if left is None else min(len(self._buffer), left - 1))
            else:
                # HTTP reads no further than the announced end, so that a body which goes on looks whole. Before the
                # last byte is taken, see what stands behind it; after it, what has come since.
                connection = self._response.connection
                behind = _buffered(self._direct) - left
                some = self._response.read(left) if left else b""
                more = _has_more(connection)
        if behind > 0 or more:
            raise Refusal(f"longer than the {self.reply.announced} bytes announced", discard_partial=True)
        self._buffer[: len(some)] = some
        return len(some)

    def _read_directly(self, count: int) -> int:
        """Read up to `count` bytes into the buffer: what is there, or waits for some; what comes fast, more of it."""
        if self._failed:
            raise self._failed
        filled = 0
        while filled < count:
            try:
                received: int = self._direct.fp.readinto1(self._buffer[filled:count])
            except OSError as error:
                if not filled:
                    raise
                self._failed = error  # after what has come before it
                break
            if self._direct.length is not None:
                self._direct.length -= received
            filled += received
            if received < FAST:
                break
        return filled


class FileBody(Body):
    """The bytes of a file on this host."""

    def __init__(self, reply: AnswerHead, file: Any) -> None:
        super().__init__(reply)
        self._file = file
        self._chunk_read = b""

    def _read(self, left: int | None) -> int:
        try:
            self._chunk_read = self._file.read(min(CHUNK, left or 0))
        except OSError as error:
            raise Refusal(f"cannot be read: {error.strerror}") from None
        return len(self._chunk_read)

    def _chunk(self, count: int) -> memoryview:
        return memoryview(self._chunk_read)[:count]


@contextmanager
def _open_file(url: str, asked: RangeRequest) -> Iterator[FileBody]:
    """The bytes of the file that `url` names, as an origin would send them."""
    path = unquote(urlsplit(url).path)
    try:
        # A FIFO would be waited for: what is opened may only be a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise Refusal("no such file") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"cannot be opened: {getattr(error, 'strerror', None) or 'no path'}") from None
    status = os.fstat(descriptor)
    if not S_ISREG(status.st_mode):
        os.close(descriptor)  # of a directory Python would make no file object
        raise Refusal("not a file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
        size = status.st_size
        if asked.partial and (asked.size != size or asked.etag not in {"", etag}):
            if asked.stop is not None:
                raise Refusal("it has changed", discard_partial=True)
            asked = RangeRequest()
        stop = size if asked.stop is None else asked.stop
        file.seek(asked.start)
        yield FileBody(AnswerHead(asked.start, stop - asked.start, size, etag), file)


@contextmanager
def _refusals() -> Iterator[None]:
    """What goes wrong between us and a host, in words without URLs. Wraps HTTP and nothing else."""
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


# What has no public name: where it is not where it was, the slower or less watchful way is taken.


def _direct(response: Any) -> Any:
    """http.client's answer below urllib3's, if its bytes can be read from the socket straight into a buffer.

    urllib3's own reading makes a new object of up to a chunk each time, whose pages the system has to provide and take
    back: a prototype that fetched 211 files of 2 MB took a third more processor time so.
    """
    below = getattr(response, "_fp", None)
    if not isinstance(below, http.client.HTTPResponse) or below.chunked or below.fp is None:
        return None
    return below if hasattr(below.fp, "readinto1") else None


def _buffered(answer: Any) -> int:
    """How many bytes of http.client's answer are at hand without waiting for more than one."""
    return len(answer.fp.peek(1)) if answer.fp else 0


def _has_more(connection: Any) -> bool:
    """Whether bytes wait on a connection whose answer has ended."""
    sock = getattr(connection, "sock", None)
    if not isinstance(sock, socket.socket):
        return False
    if isinstance(sock, ssl.SSLSocket):
        return bool(sock.pending())
    with suppress(OSError):
        return wait_for_read(sock, timeout=0) and bool(sock.recv(1, socket.MSG_PEEK))
    return False
