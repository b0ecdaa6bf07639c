"""Who has the bytes: mirrors and Figshare's routes, and the HTTP between them and us. Nothing else speaks HTTP.

An origin's word alone is never taken: what is not plainly the announced bytes of a file raises a Refusal, which says
what came instead, and whether it is worth asking the same origin again.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import string
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from urllib3.util.wait import wait_for_read

from antscache.digest import Digest, hexadecimal
from antscache.errors import ConfigError
from antscache.manifest import Identifier, figshare_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK = 1 << 20  # bytes read at a time, at most: reads of 1 kB cost ten times as much
CONNECT_TIMEOUT = 10.0  # seconds
MAX_REDIRECTS = 5  # Figshare needs one
FIELDS = {"id", "digest", "file"}
SHORT = 1 << 16  # bytes of a redirect's body that are read; a longer one costs a new connection instead
AGENT = "antscache (+https://pypi.org/project/antscache)"


class Refusal(Exception):  # noqa: N818  what the rest of antscache calls it
    """An origin's answer that is not the file.

    Attributes:
        passing: it may be over in a moment; the same origin may be asked again.
        whole_origin: it is about the origin rather than this file: nobody answers, or programs are turned away.
    """

    def __init__(self, outcome: str, *, passing: bool = False, whole_origin: bool = False) -> None:
        super().__init__(outcome)
        self.passing = passing
        self.whole_origin = whole_origin


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that can answer for an identifier.

    Attributes:
        template: its URL, with `{id}`, `{digest}` (64 hex) or `{file}` in it.
        trust: what its word is worth in a record.
    """

    template: str
    trust: Literal["origin", "mirror"]

    @property
    def name(self) -> str:
        """The host, and the port where one is given: all that is ever shown of the URL, which may carry a token."""
        split = urlsplit(self.template)
        return f"{split.hostname}:{split.port}" if split.port else str(split.hostname)

    def url(self, identifier: Identifier, file: str, digest: Digest | None) -> str | None:
        """Where this origin has `identifier`; None if it goes by a digest that is not known."""
        if digest is None and "{digest}" in self.template:
            return None
        hex_digits = hexadecimal(digest) if digest else ""
        return self.template.format(id=figshare_number(identifier), digest=hex_digits, file=file)


def parse_origins(mirrors: Sequence[str], routes: Sequence[str]) -> tuple[Origin, ...]:
    """The origins in the order they are asked: mirrors first.

    Raises:
        ConfigError: a template is not an http(s) URL with the right fields in braces.
    """
    return tuple(
        [_parsed(template, "mirror", FIELDS) for template in mirrors]
        + [_parsed(template, "origin", {"id"}) for template in routes]
    )


def _parsed(template: str, trust: Literal["origin", "mirror"], allowed: set[str]) -> Origin:
    braces = ", ".join(f"{{{field}}}" for field in sorted(allowed))
    hint = f"write it like https://host/path/{{id}}; {braces} may stand in it"
    try:
        fields = {field for _, field, form, _ in string.Formatter().parse(template) if field is not None or form}
        split = urlsplit(template)
        usable = split.scheme in {"http", "https"} and split.hostname and split.port != 0
    except ValueError:
        raise ConfigError(f"not a URL template ({trust}): {_shown(template)}", hint=hint) from None
    if not usable or not fields or not fields <= allowed:
        raise ConfigError(f"not a URL template ({trust}): {_shown(template)}", hint=hint)
    return Origin(template, trust)


def _shown(template: str) -> str:
    """`template` without what may be a secret in it: a user's password, a query."""
    return re.sub(r"//[^/]*@", "//...@", template).partition("?")[0]


class Client:
    """One connection pool, for one thread. Close it.

    Proxies, certificates and `.netrc` are taken from the environment, as requests does.

    Args:
        timeout: seconds of silence after which a transfer has failed.
    """

    def __init__(self, timeout: float) -> None:
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity", "Accept": "*/*"})
        self._timeout = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._settings: dict[str, Any] = {}  # proxies and certificates of each host; costly to find out

    def close(self) -> None:
        """Give up the connections."""
        self._session.close()

    @contextmanager
    def open(self, url: str) -> Iterator[Body]:
        """The bytes behind `url`, redirects followed.

        Raises:
            Refusal: the answer is not a file's bytes.
        """
        with _refusals():
            response = self._answer(url)
        with closing(response):
            _refuse_unless_file(response)
            yield Body(response)

    def _answer(self, url: str) -> requests.Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = self._ask(url)
            if not response.is_redirect and response.status_code not in {301, 302, 303, 307, 308}:
                return response
            with closing(response):
                length = response.headers.get("Content-Length", "")
                if length.isascii() and length.isdigit() and int(length) <= SHORT:
                    _ = response.content  # so that the connection can be used again
                url = next_hop(url, response.headers.get("Location"))
        raise Refusal(f"more than {MAX_REDIRECTS} redirects")

    def _ask(self, url: str) -> requests.Response:
        """One answer. Sent by the adapter, because a session reads a redirect's whole body, however long."""
        split = urlsplit(url)
        host = f"{split.scheme}://{split.netloc}"
        if host not in self._settings:
            self._settings[host] = self._session.merge_environment_settings(
                url, {}, stream=True, verify=None, cert=None
            )
        request = self._session.prepare_request(requests.Request("GET", url))
        return self._session.get_adapter(url).send(request, timeout=self._timeout, **self._settings[host])


class Body:
    """The bytes of an answer while they arrive.

    Attributes:
        announced: how many bytes the answer says it has; None if it does not say.
    """

    def __init__(self, response: requests.Response) -> None:
        self._raw: Any = response.raw
        length = response.headers.get("Content-Length", "")
        self.announced = int(length) if length.isascii() and length.isdigit() else None

    def __iter__(self) -> Iterator[bytes]:
        """Each chunk in order.

        Raises:
            Refusal: the connection broke or fell silent, or there are fewer or more bytes than announced.
        """
        received = 0
        while chunk := self._read(received):
            received += len(chunk)
            yield chunk
        if self.announced is not None and received < self.announced:
            raise Refusal(f"cut: {received} of {self.announced} bytes", passing=True)

    def _read(self, received: int) -> bytes:
        left = None if self.announced is None else self.announced - received
        with _refusals():
            if left is None:
                return bytes(self._raw.read1(CHUNK))
            if left > 1:
                return bytes(self._raw.read1(min(CHUNK, left - 1)))
            # HTTP reads no further than the announced end, so that a body which goes on looks whole. Before the last
            # byte is taken, see what stands behind it; after it, what has come since.
            connection = self._raw.connection
            behind = _buffered(self._raw) if left else 0
            last = bytes(self._raw.read1(CHUNK)) if left else b""
        if behind > 1 or _has_more(connection):
            raise Refusal(f"longer than the {self.announced} bytes announced")
        return last


def next_hop(url: str, location: str | None) -> str:
    """Where a redirect from `url` to `location` leads.

    Raises:
        Refusal: nowhere, to something that is not http(s), or from https to http.
    """
    if not location:
        raise Refusal("a redirect to nowhere")
    try:
        target = urljoin(url, location)
        split = urlsplit(target)
        host = split.hostname
    except ValueError:
        raise Refusal("a redirect to what is not a URL") from None
    if split.scheme not in {"http", "https"} or not host:
        raise Refusal(f"a redirect to {split.scheme or 'something'}:, which is not http(s)")
    if split.scheme == "http" and urlsplit(url).scheme == "https":
        raise Refusal("a redirect from https to http")
    return target


def _refuse_unless_file(response: requests.Response) -> None:
    status = response.status_code
    if status == 202 or response.headers.get("x-amzn-waf-action"):  # noqa: PLR2004  field notes, "Figshare as an origin"
        raise Refusal(f"{status} bot challenge (no file)", whole_origin=True)
    if status != 200:  # noqa: PLR2004
        told = f"{status} {http.client.responses.get(status, '')}".strip()  # not the origin's own words for it
        passing = status in {408, 425, 429} or status >= 500  # noqa: PLR2004
        raise Refusal(told, passing=passing, whole_origin=status in {401, 403, 407})
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise Refusal(f"200 with Content-Encoding {encoding!r}, which was not asked for")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"}:
        raise Refusal("200 with an HTML page")
    if response.headers.get("Content-Length") == "0":
        raise Refusal("200 with an empty body")


@contextmanager
def _refusals() -> Iterator[None]:
    """What goes wrong between us and a host, in words without URLs. Wraps HTTP and nothing else."""
    try:
        yield
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError):
        raise Refusal("a URL that cannot be asked for") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        connecting = isinstance(error, requests.ConnectTimeout)
        outcome = "no connection in time" if connecting else "silence"
        raise Refusal(outcome, passing=True, whole_origin=connecting) from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise Refusal(f"TLS failed: {_reason(error)}", whole_origin=True) from None
    except requests.exceptions.ProxyError as error:
        raise Refusal(f"the proxy failed: {_reason(error)}", passing=True, whole_origin=True) from None
    except requests.ConnectionError as error:
        raise Refusal(f"no answer: {_reason(error)}", passing=True, whole_origin=True) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Refusal(f"broken off: {_reason(error)}", passing=True) from None


def _reason(error: BaseException) -> str:
    """The innermost cause in the system's words; the outer ones repeat URLs."""
    seen: BaseException = error
    while inner := (seen.__cause__ or seen.__context__ or _wrapped(seen)):
        seen = inner
    return getattr(seen, "strerror", None) or type(seen).__name__


def _wrapped(error: BaseException) -> BaseException | None:
    """The exception that requests and urllib3 hand on as an argument or a reason."""
    candidates = [getattr(error, "reason", None), *error.args]
    return next((each for each in candidates if isinstance(each, BaseException)), None)


def _buffered(raw: Any) -> int:
    """How many bytes of the answer are at hand without waiting for more than one.

    http.client's buffer has no public name; where it is not where it was, nothing is seen behind the end.
    """
    peek = getattr(getattr(getattr(raw, "_fp", None), "fp", None), "peek", None)
    return len(peek(1)) if peek else 0


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
