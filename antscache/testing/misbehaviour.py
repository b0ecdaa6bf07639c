"""Every way for an origin to go wrong, by name and meaning; and the schedule of which identifier goes wrong next.

`faults.py` carries them out.
"""

from __future__ import annotations

from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator


class Misbehaviour(Enum):
    """A way to go wrong; its value is its name in URLs: `/misbehaving/<value>/files/<id>`.

    "Half" and "length" refer to the requested bytes: to the range, if the request has one.
    """

    # At the routes

    CHALLENGE = "challenge"
    """202, an empty body and `x-amzn-waf-action: challenge`: Figshare's bot challenge."""
    UNAUTHORIZED = "unauthorized"
    """401."""
    FORBIDDEN = "forbidden"
    """403."""
    MISSING = "missing"
    """404, for an identifier that exists."""
    UNSATISFIABLE = "unsatisfiable"
    """416 for every request."""
    BUSY = "busy"
    """429 with `Retry-After: 1`."""
    BUSY_UNTIL = "busy-until"
    """429 with a `Retry-After` that is a date, one to two seconds ahead."""
    BUSY_LONG = "busy-long"
    """429 with `Retry-After: 86400`: a day."""
    BROKEN = "broken"
    """500."""
    UNAVAILABLE = "unavailable"
    """503."""
    HTML = "html"
    """200 with an HTML page that says so: `text/html`."""
    HTML_AS_BINARY = "html-as-binary"
    """200 with an HTML page that claims to be `application/octet-stream`."""
    EMPTY = "empty"
    """200 with a length of 0."""
    REDIRECT_FILE = "redirect-file"
    """302 to `file:///etc/passwd`."""
    REDIRECT_FTP = "redirect-ftp"
    """302 to an `ftp:` URL on this host."""
    REDIRECT_HTTP = "redirect-http"
    """302 to itself with the scheme `http:`: with TLS, a downgrade."""
    REDIRECT_LOOP = "redirect-loop"
    """302 to itself."""
    REDIRECT_LOOP_301 = "redirect-loop-301"
    """301 to itself."""
    REDIRECT_NOWHERE = "redirect-nowhere"
    """302 without a `Location`."""

    # What the storage holds

    TRUNCATED = "truncated"
    """The origin holds half of the file, and sends that half without a fault."""
    OTHER = "other"
    """The origin holds other valid bytes of the same type and size, changed since: `ETag` and date are others."""
    WRONG_TYPE = "wrong-type"
    """The origin holds plain text of the same size."""
    CORRUPT = "corrupt"
    """One byte in the file's last quarter is flipped; length, `ETag` and date are those of the sound file."""

    # Its labels

    WRONG_ETAG = "wrong-etag"
    """The right bytes; the `ETag` is the MD5 of others."""
    MULTIPART_ETAG = "multipart-etag"
    """Not wrong, only unusual: the `ETag` is `"<md5>-3"`, where the MD5 is not the file's, as of an upload in parts."""
    WEAK_ETAG = "weak-etag"
    """Not wrong, only unusual: the `ETag` is `W/"<md5>"`, with which no `If-Range` ever holds."""
    NO_ETAG = "no-etag"
    """Not wrong, only unusual: neither `ETag` nor `Last-Modified`, so that no `If-Range` ever holds."""
    WRONG_CONTENT_MD5 = "wrong-content-md5"
    """The right bytes and `ETag`; `Content-MD5` is the MD5 of others."""
    WRONG_DIGEST = "wrong-digest"
    """The right bytes and `ETag`; `Digest` has the MD5 of others."""
    WRONG_REPR_DIGEST = "wrong-repr-digest"
    """The right bytes and `ETag`; `Repr-Digest` has the SHA-256 of others."""
    ODD_DIGESTS = "odd-digests"
    """Not wrong, only unusual: `Content-MD5`, `Digest` and `Repr-Digest` that hold no checksum."""

    # Its answer for a range; without a range it behaves, but for RANGE_UNASKED

    RANGE_IGNORED = "range-ignored"
    """200 with the whole file."""
    RANGE_REFUSED = "range-refused"
    """416, though the range holds bytes."""
    RANGE_ELSEWHERE = "range-elsewhere"
    """206 from 0 on, or from the range's middle if the range starts at 0; honestly labelled."""
    RANGE_LYING = "range-lying"
    """206 with the requested label, and bytes from half a file further on (from the start again at the end)."""
    RANGE_UNASKED = "range-unasked"
    """206 with the first half of the file, honestly labelled, also without a requested range."""
    RANGE_OTHER_TOTAL = "range-other-total"
    """206 with the right bytes, but `Content-Range` has a total that is 1,000 too large."""
    RANGE_NO_TOTAL = "range-no-total"
    """Not wrong, only unusual: `Content-Range` has `*` for the total."""
    RANGE_SHORT = "range-short"
    """206 with half of the range, honestly labelled."""
    RANGE_UNLABELLED = "range-unlabelled"
    """206 with the right bytes, without `Content-Range`."""
    RANGE_NONSENSE = "range-nonsense"
    """206 with the right bytes and `Content-Range: bytes x-y/z`."""

    # Sending the body

    CHUNKED = "chunked"
    """Not wrong, only unusual: chunked, without `Content-Length`."""
    UNANNOUNCED = "unannounced"
    """Not wrong, only unusual: without `Content-Length`; the connection is closed at the end."""
    SLOW = "slow"
    """Not wrong, only unusual: the body comes in five pieces, a tenth of a second apart."""
    GZIP_ENCODED = "gzip-encoded"
    """`Content-Encoding: gzip` without being requested; the length is that of the encoded bytes."""
    CUT = "cut"
    """The right `Content-Length`, half the body, and the connection is closed."""
    CUT_CHUNKED = "cut-chunked"
    """Chunked, half the body, and the connection is closed without the last chunk."""
    CUT_UNANNOUNCED = "cut-unannounced"
    """No `Content-Length`, half the body, and the connection is closed: HTTP alone cannot tell."""
    CUT_AT_0 = "cut-at-0"
    """Like `cut`, before the first byte."""
    CUT_AT_0_CHUNKED = "cut-at-0-chunked"
    """Like `cut-chunked`, before the first byte."""
    CUT_AT_0_UNANNOUNCED = "cut-at-0-unannounced"
    """Like `cut-unannounced`, before the first byte."""
    CUT_AT_1 = "cut-at-1"
    """Like `cut`, after the first byte."""
    CUT_AT_1_CHUNKED = "cut-at-1-chunked"
    """Like `cut-chunked`, after the first byte."""
    CUT_AT_1_UNANNOUNCED = "cut-at-1-unannounced"
    """Like `cut-unannounced`, after the first byte."""
    CUT_AT_LAST = "cut-at-last"
    """Like `cut`, before the last byte."""
    CUT_AT_LAST_CHUNKED = "cut-at-last-chunked"
    """Like `cut-chunked`, before the last byte."""
    CUT_AT_LAST_UNANNOUNCED = "cut-at-last-unannounced"
    """Like `cut-unannounced`, before the last byte."""
    LONG = "long"
    """The right `Content-Length`, the body, and 1,000 more bytes after it."""
    LONG_ANNOUNCED = "long-announced"
    """`Content-Length` is twice that of the body, which is sent whole; then the connection is closed."""
    SHORT_ANNOUNCED = "short-announced"
    """`Content-Length` is half of the body, which is sent whole."""
    STALL = "stall"
    """The headers, ten bytes, then silence until the client or the server gives up."""
    STALL_HALF = "stall-half"
    """The headers, half the body, then silence."""
    STALL_HEADERS = "stall-headers"
    """Silence from the start: the request is taken, and nothing is answered."""
    RESET = "reset"
    """The right `Content-Length`, half the body, and the connection is reset (RST)."""

    # Without an end, until the client or the server gives up

    CONTINUE = "continue"
    """`100 Continue` again and again, and no answer after them."""
    DRIBBLED_HEAD = "dribbled-head"
    """200, and then a header that grows by a byte every twentieth of a second."""
    DRIBBLED = "dribbled"
    """The headers, half the body, then a byte every twentieth of a second, and silence after a thousand."""
    ENDLESS = "endless"
    """No `Content-Length`, the body, and zeros after it."""
    ENDLESS_TRAILER = "endless-trailer"
    """Chunked, the body, the last chunk, and trailers after it."""


class Schedule:
    """The misbehaviours of each identifier's next requests, one after the other; None means to behave."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._due: dict[str, tuple[Misbehaviour | None, Iterator[Misbehaviour | None]]] = {}

    def set(self, number: str, hows: Iterable[Misbehaviour | None]) -> None:
        """Let `number` misbehave as each of `hows` in turn, in place of all set before, and behave after the last."""
        with self._lock:
            self._advance(number, iter(hows))

    def is_set(self, number: str) -> bool:
        """Return True if a misbehaviour, or a turn to behave, is left for `number`."""
        return number in self._due

    def take(self, number: str, possible: Container[Misbehaviour | None]) -> Misbehaviour | None:
        """Use up and return the next misbehaviour of `number` if it is `possible`; else keep it and return None."""
        if number not in self._due:  # nearly always: spare the lock
            return None
        with self._lock:
            if number not in self._due:
                return None
            how, rest = self._due[number]
            if how not in possible:
                return None
            self._advance(number, rest)
            return how

    def _advance(self, number: str, rest: Iterator[Misbehaviour | None]) -> None:
        for how in rest:
            self._due[number] = (how, rest)
            return
        self._due.pop(number, None)
