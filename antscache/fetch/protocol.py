"""Decide by status and headers if an origin's answer is accepted. Pure, but for the clock that a Retry-After needs.

Only an answer that is plainly what was requested is accepted. Any other is a Refusal, which says what came instead, and
if the same origin may be asked again.
"""

from __future__ import annotations

import base64
import http.client
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
TRANSIENT_STATUSES = frozenset({408, 425, 429})  # below 500; from 500 on all are
ACCESS_DENIED_STATUSES = frozenset({401, 403, 407})
CHALLENGE_STATUS = 202  # field notes, "Figshare as an origin"
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
MAX_ETAG_CHARACTERS = 200  # a longer ETag is ignored
NONSENSE_WAIT_SECONDS = 10**19  # a Retry-After of so many seconds or more is ignored

DIGEST_ALGORITHMS = {"md5": ("md5", 16), "sha-256": ("sha256", 32)}  # in headers: in hashlib, and its bytes
DIGEST_HEADERS = ("Digest", "Repr-Digest", "Content-Digest")  # RFC 3230; RFC 9530

_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')  # a strong one (RFC 9110, 8.8.3), in plain ASCII
_MD5 = re.compile(r'"([0-9a-fA-F]{32})"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Refusal(Exception):  # noqa: N818  what the rest of antscache calls it
    """An origin's answer that is not the file.

    Attributes:
        transient: True if the same origin may deliver the file later, and may be asked again.
        affects_origin: True if it concerns all files of the origin: it cannot be reached, or refuses programs.
        discard_partial: True if the bytes received before must not be continued.
        retry_after: the seconds that the origin asks to wait.
        joined: True if several answers made the bytes, so that the fault may be an earlier one's, of another origin.
    """

    joined = False

    def __init__(
        self,
        outcome: str,
        *,
        transient: bool = False,
        affects_origin: bool = False,
        discard_partial: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(outcome)
        self.transient = transient
        self.affects_origin = affects_origin
        self.discard_partial = discard_partial
        self.retry_after = retry_after


class TooSlow(Refusal):
    """An answer that comes, but too slowly: another origin is asked first, however much has come."""


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A request for a whole file, for the rest of one, or for a segment.

    Attributes:
        start: the first byte that is requested.
        stop: the byte behind the last; None for all bytes to the end.
        size: the size of the whole file, if a part is requested.
        etag: the ETag that the part must have; empty if the whole file is compared in the end.
    """

    start: int = 0
    stop: int | None = None
    size: int | None = None
    etag: str = ""

    @property
    def partial(self) -> bool:
        """True if only a part is requested."""
        return self.start > 0 or self.stop is not None

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers of the request."""
        if not self.partial:
            return {}
        last = "" if self.stop is None else str(self.stop - 1)
        return {"Range": f"bytes={self.start}-{last}", **({"If-Range": self.etag} if self.etag else {})}


class Checksum(NamedTuple):
    """A checksum of a whole file: hashlib's name of the algorithm, and the value in hexadecimal."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The status and headers of an answer, once they are accepted.

    Attributes:
        start: the position in the file of the first byte; 0 if the whole file comes, even if a part was requested.
        announced: the number of bytes to come; None if the origin does not say it.
        size: the size of the whole file; None if the origin does not say it.
        etag: the ETag if it is a strong one; else empty.
        checksums: of the whole file, if that comes, as headers beside the ETag tell them.
    """

    start: int
    announced: int | None
    size: int | None
    etag: str
    checksums: tuple[Checksum, ...] = ()


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The size in bytes of a file at an origin, and its MD5 if the origin tells it."""

    size: int
    md5: str | None


def md5_of(etag: str) -> str | None:
    """Return the MD5 in `etag`, in hexadecimal; None if it is not one, as for uploads in parts.

    Source: field notes, "Figshare as an origin"; Amazon S3 API Reference, "Object": ETag.
    """
    match = _MD5.fullmatch(etag)
    return match[1].lower() if match else None


def checksums_of(etag: str) -> tuple[Checksum, ...]:
    """Return the checksum of the whole file that `etag` is, if it is one."""
    md5 = md5_of(etag)
    return (Checksum("md5", md5),) if md5 else ()


def read_head(status: int, headers: Mapping[str, str], request: RangeRequest) -> AnswerHead:
    """Read the head of an answer to `request`.

    Raises:
        Refusal: the answer is not what was requested.
    """
    _refuse_status(status, headers, request)
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise Refusal(f"{status} with a Content-Encoding that was not asked for")
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type in HTML_TYPES:
        raise Refusal(f"{status} with an HTML page")
    length, etag = _number(headers.get("Content-Length", "")), strong_etag(headers.get("ETag", ""))
    if status == http.client.PARTIAL_CONTENT:
        return _read_part(headers.get("Content-Range", ""), length, etag, request)
    if length == 0:
        raise Refusal(f"{status} with an empty body")
    if request.stop is not None:
        raise Refusal("ranges are not served", discard_partial=True)
    return AnswerHead(0, length, length, etag, tuple(dict.fromkeys(_read_checksums(headers))))


def _read_checksums(headers: Mapping[str, str]) -> Iterator[Checksum]:
    """Yield the checksums in the headers of an answer with a whole file; ignore what is none.

    Of a part, `Content-MD5` and `Content-Digest` would be checksums of that part.
    """
    fields = [f"md5={headers.get('Content-MD5', '')}"]  # RFC 1864
    fields += [field for name in DIGEST_HEADERS for field in headers.get(name, "").split(",")]
    for field in fields:
        name, _, text = field.strip().partition("=")
        algorithm, length = DIGEST_ALGORITHMS.get(name.lower(), ("", 0))
        with suppress(ValueError):
            value = base64.b64decode(text.removeprefix(":").removesuffix(":"), validate=True)
            if algorithm and len(value) == length:
                yield Checksum(algorithm, value.hex())


def _refuse_status(status: int, headers: Mapping[str, str], request: RangeRequest) -> None:
    """Raise a Refusal unless the status is 200, or 206 to a request for a part.

    The text of the Refusal has the standard phrase of the status, never the origin's own.
    """
    if status == CHALLENGE_STATUS or headers.get("x-amzn-waf-action"):
        raise Refusal(f"{status} bot challenge (no file)", affects_origin=True)
    outcome = f"{status} {http.client.responses.get(status, '')}".strip()
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and request.partial:
        raise Refusal(outcome, transient=True, discard_partial=True)
    if status == http.client.PARTIAL_CONTENT and not request.partial:
        raise Refusal("206 with a part instead of the whole file")
    if status not in {http.client.OK, http.client.PARTIAL_CONTENT}:
        transient = status in TRANSIENT_STATUSES or status >= http.client.INTERNAL_SERVER_ERROR
        wait = parse_retry_after(headers.get("Retry-After", "")) if transient else 0.0
        affects_origin = status in ACCESS_DENIED_STATUSES
        raise Refusal(outcome, transient=transient, affects_origin=affects_origin, retry_after=wait)


def _read_part(content_range: str, length: int | None, etag: str, request: RangeRequest) -> AnswerHead:
    """Read the head of an answer with a part of a file.

    Raises:
        Refusal: it is not exactly the requested part, of the file with the requested size and ETag.
    """
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None:
        raise Refusal("206 without a usable Content-Range", transient=True, discard_partial=True)
    first, last, size = (int(number) for number in match.groups())
    stop = size if request.stop is None else request.stop
    if (first, last + 1, size) != (request.start, stop, request.size) or length not in {None, stop - first}:
        raise Refusal("206 with another part than requested", transient=True, discard_partial=True)
    if request.etag and etag != request.etag:
        raise Refusal("206 with a part of another file", transient=True, discard_partial=True)
    return AnswerHead(first, stop - first, size, etag)


def read_facts(status: int, headers: Mapping[str, str]) -> FileFacts:
    """Return the size and MD5 of a file, from the answer to a request for its first byte.

    Raises:
        Refusal: the answer does not say the size, or is none with a file.
    """
    first = RangeRequest(0, 1)
    _refuse_status(status, headers, first)
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() in HTML_TYPES:
        raise Refusal(f"{status} with an HTML page")
    if status == http.client.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        size = int(match[3]) if match else None
    else:
        size = _number(headers.get("Content-Length", ""))
    if not size:
        raise Refusal(f"{status} without the size of the file")
    return FileFacts(size, md5_of(headers.get("ETag", "")))


def strong_etag(etag: str) -> str:
    """Return `etag` if it is a strong one: all bytes that have it are equal (RFC 9110, 8.8.1). Else return ""."""
    return etag if len(etag) <= MAX_ETAG_CHARACTERS and _ETAG.fullmatch(etag) else ""


def parse_retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3); 0 for nonsense."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    retry = Retry()
    retry.retry_after_max = NONSENSE_WAIT_SECONDS  # else urllib3, from 2.6.3 on, would return at most six hours
    try:
        seconds = retry.parse_retry_after(value)
    except (InvalidHeader, OverflowError, ValueError):
        return 0.0
    return float(seconds) if seconds < NONSENSE_WAIT_SECONDS else 0.0


def next_hop(url: str, location: str | None) -> str:
    """Return the URL that a redirect from `url` to `location` leads to, without a user or password.

    Raises:
        Refusal: it leads nowhere, to another scheme than http(s), or from https to http.
    """
    if not location:
        raise Refusal("a redirect to nowhere")
    try:
        target = urljoin(url, location)
        split = urlsplit(target)
        host = split.hostname
    except ValueError:
        raise Refusal("a redirect to an invalid URL") from None
    if split.scheme not in {"http", "https"} or not host:
        raise Refusal(f"a redirect to {split.scheme[:20] or 'something'}:, which is not http(s)")
    if split.scheme == "http" and urlsplit(url).scheme == "https":
        raise Refusal("a redirect from https to http")
    return split._replace(netloc=split.netloc.rpartition("@")[2]).geturl()


def _number(text: str) -> int | None:
    """Return the number in a header; None if it is not digits alone, or 20 or more of them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004  2^64 has 20
