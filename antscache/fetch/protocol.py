"""Decide what an origin's answer is worth by its status and headers: pure, but for the clock behind a date to wait for.

An origin's word is never taken further than it can be checked: what is not plainly the bytes that were asked for is a
Refusal, which says what came instead, and what may be done about it.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429})  # statuses below 500 that say: later
TURNED_AWAY = frozenset({401, 403, 407})
CHALLENGE = 202  # field notes, "Figshare as an origin"
HTML = frozenset({"text/html", "application/xhtml+xml"})
LONGEST_ETAG = 200  # characters; what is longer is not kept
ABSURD_WAIT = 10**19  # seconds: nobody means it

_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')  # a strong one (RFC 9110, 8.8.3), in plain ASCII
_MD5 = re.compile(r'"([0-9a-fA-F]{32})"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Refusal(Exception):  # noqa: N818  what the rest of antscache calls it
    """An origin's answer that is not the file.

    Attributes:
        transient: it may be over in a moment; the same origin may be asked again.
        affects_origin: it is about the origin rather than this file: nobody answers, or programs are turned away.
        discard_partial: what was received before is not to be built on.
        retry_after: seconds that the origin asks to wait.
    """

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


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """What is asked of an origin: a whole file, or the rest of one, or a piece.

    Attributes:
        start: the first byte that is wanted.
        stop: the first byte that is not; None is to the end.
        size: of the whole file, where a part is asked for.
        etag: which state of the file the part must belong to; empty where whole bytes are compared in the end.
    """

    start: int = 0
    stop: int | None = None
    size: int | None = None
    etag: str = ""

    @property
    def partial(self) -> bool:
        """Whether only a part is asked for."""
        return self.start > 0 or self.stop is not None

    def headers(self) -> dict[str, str]:
        """What the request says about it."""
        if not self.partial:
            return {}
        last = "" if self.stop is None else str(self.stop - 1)
        return {"Range": f"bytes={self.start}-{last}", **({"If-Range": self.etag} if self.etag else {})}


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What an origin begins to send.

    Attributes:
        start: where in the file its first byte belongs. 0 although a part was asked for: the whole file comes, anew.
        announced: how many bytes it says come now; None if it does not say.
        size: of the whole file; None if it does not say.
        etag: the state of the file, where it is a strong one; else empty.
    """

    start: int
    announced: int | None
    size: int | None
    etag: str


def md5_of(etag: str) -> str | None:
    """The MD5 that `etag` is, in hexadecimal; None where it is something else, as for uploads in parts.

    Source: field notes, "Figshare as an origin"; Amazon S3 API Reference, "Object": ETag.
    """
    found = _MD5.fullmatch(etag)
    return found[1].lower() if found else None


def read_head(status: int, headers: Mapping[str, str], asked: RangeRequest) -> AnswerHead:
    """What comes, if it is what was `asked` for.

    Raises:
        Refusal: it is not.
    """
    _refuse_status(status, headers, asked)
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise Refusal(f"{status} with a Content-Encoding that was not asked for")
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in HTML:
        raise Refusal(f"{status} with an HTML page")
    length, etag = _number(headers.get("Content-Length", "")), strong(headers.get("ETag", ""))
    if status == http.client.PARTIAL_CONTENT:
        return _read_part(headers.get("Content-Range", ""), length, etag, asked)
    if length == 0:
        raise Refusal(f"{status} with an empty body")
    if asked.stop is not None:
        raise Refusal("ranges are not served", discard_partial=True)
    return AnswerHead(0, length, length, etag)


def _refuse_status(status: int, headers: Mapping[str, str], asked: RangeRequest) -> None:
    """Refuse every status but 200, and 206 where a part was asked for; the origin's own words for it are not told."""
    if status == CHALLENGE or headers.get("x-amzn-waf-action"):
        raise Refusal(f"{status} bot challenge (no file)", affects_origin=True)
    told = f"{status} {http.client.responses.get(status, '')}".strip()
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and asked.partial:
        raise Refusal(told, transient=True, discard_partial=True)
    if status == http.client.PARTIAL_CONTENT and not asked.partial:
        raise Refusal("206 with a part, where the whole was asked for")
    if status not in {http.client.OK, http.client.PARTIAL_CONTENT}:
        transient = status in PASSING or status >= http.client.INTERNAL_SERVER_ERROR
        wait = retry_after(headers.get("Retry-After", "")) if transient else 0.0
        raise Refusal(told, transient=transient, affects_origin=status in TURNED_AWAY, retry_after=wait)


def _read_part(content_range: str, length: int | None, etag: str, asked: RangeRequest) -> AnswerHead:
    """A part, if it is the very one that was asked for, of the same state of the same file."""
    found = _CONTENT_RANGE.fullmatch(content_range.strip())
    if found is None:
        raise Refusal("206 without a Content-Range that says which part", transient=True, discard_partial=True)
    first, last, size = (int(number) for number in found.groups())
    stop = size if asked.stop is None else asked.stop
    if (first, last + 1, size) != (asked.start, stop, asked.size) or length not in {None, stop - first}:
        raise Refusal("206 with another part than was asked for", transient=True, discard_partial=True)
    if asked.etag and etag != asked.etag:
        raise Refusal("206 with a part of another file", transient=True, discard_partial=True)
    return AnswerHead(first, stop - first, size, etag)


def read_size(status: int, headers: Mapping[str, str]) -> int:
    """How many bytes a file has, told by the answer to a question for its first one.

    Raises:
        Refusal: it does not say, or it is no answer with a file.
    """
    first = RangeRequest(0, 1)
    _refuse_status(status, headers, first)
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() in HTML:
        raise Refusal(f"{status} with an HTML page")
    if status == http.client.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        size = int(found[3]) if found else None
    else:
        size = _number(headers.get("Content-Length", ""))
    if not size:
        raise Refusal(f"{status} that does not say how long the file is")
    return size


def strong(etag: str) -> str:
    """`etag` if bytes that have it are equal (RFC 9110, 8.8.1); else nothing."""
    return etag if len(etag) <= LONGEST_ETAG and _ETAG.fullmatch(etag) else ""


def retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3); 0 for nonsense."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    retry = Retry()
    retry.retry_after_max = ABSURD_WAIT  # from 2.6.3 on urllib3 would make six hours of a day, and users are told a day
    try:
        seconds = retry.parse_retry_after(value)
    except (InvalidHeader, OverflowError, ValueError):
        return 0.0
    return float(seconds) if seconds < ABSURD_WAIT else 0.0


def next_hop(url: str, location: str | None) -> str:
    """Where a redirect from `url` to `location` leads; a user or password in it is dropped.

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
        raise Refusal(f"a redirect to {split.scheme[:20] or 'something'}:, which is not http(s)")
    if split.scheme == "http" and urlsplit(url).scheme == "https":
        raise Refusal("a redirect from https to http")
    return split._replace(netloc=split.netloc.rpartition("@")[2]).geturl()


def _number(text: str) -> int | None:
    """The number that a header is; what is not digits, or absurdly many, is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004  2^64 has 20
