"""Requests as they arrive and answers before they are sent: values, and the reader of a request's head.

http.server reads heads with the e-mail package, which takes more CPU than all else that the stand-in does for a
request, and a benchmark runs on the same cores.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from io import BufferedIOBase

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([0-9])\r?\n")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EMPTY_LINES = (b"\r\n", b"\n")
_MAX_LINE_BYTES = 1 << 16
_MAX_FIELDS = 100


class IncomingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request: `path` and `query` undecoded, and the headers that count here, None if absent.

    Attributes:
        at: the time of arrival, in seconds of `time.monotonic`.
        wants_close: the client wants the connection closed after the answer.
    """

    method: str
    path: str
    query: str
    at: float
    host: str | None
    authorization: str | None
    range: str | None
    if_range: str | None
    wants_close: bool


def parse_range(header: str | None, size: int) -> range | None:
    """Return the positions that a `Range` header asks for in `size` bytes: None for all, empty if it holds no byte.

    Anything but a single range of bytes is ignored, as RFC 9110 (14.2) allows, and asks for all.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if match[2] and int(match[2]) < first:
        return None
    return range(first, last + 1)


class BadRequestError(Exception):
    """The stand-in cannot read a request.

    Attributes:
        status: to answer with.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def read_request(line: bytes, rest: BufferedIOBase) -> IncomingRequest:
    """Read the request that begins with `line`: from `rest` its fields, and nothing after them.

    Raises:
        BadRequestError: it is not HTTP/1.x, it has too many or too long fields, or a body.
    """
    at = time.monotonic()
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequestError(400)
    fields = _read_fields(rest)
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        raise BadRequestError(400)
    path, _, query = match[2].decode().partition("?")
    return IncomingRequest(
        method=match[1].decode(),
        path=path,
        query=query,
        at=at,
        host=fields.get("host"),
        authorization=fields.get("authorization"),
        range=fields.get("range"),
        if_range=fields.get("if-range"),
        wants_close=match[3] == b"0" or "close" in fields.get("connection", "").lower(),
    )


def _read_fields(rest: BufferedIOBase) -> dict[str, str]:
    """Read fields up to the empty line: names in lower case; values of a repeated name joined (RFC 9110, 5.2)."""
    fields: dict[str, str] = {}
    while (line := rest.readline(_MAX_LINE_BYTES)) not in _EMPTY_LINES:
        name, colon, value = line.decode("latin-1").partition(":")
        if not (colon and _FIELD_NAME.fullmatch(name) and line.endswith(b"\n")):
            raise BadRequestError(431 if len(line) == _MAX_LINE_BYTES else 400)
        name, value = name.lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
        if len(fields) > _MAX_FIELDS:
            raise BadRequestError(431)
    return fields


class Ending(Enum):
    """The end of the connection, after the body."""

    KEEP = auto()
    """It stays open for the next request."""
    CLOSE = auto()
    """It is closed."""
    RESET = auto()
    """It is reset (RST)."""
    STALL = auto()
    """It stays open and silent until the client goes away or the server closes."""


class Span(msgspec.Struct, frozen=True):
    """Part of a file: `length` bytes from `start`. They can be sent without passing through Python."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def first(self, length: int) -> Span:
        """Return the first `length` bytes of the span, or all of a shorter one."""
        return Span(self.path, self.start, min(length, self.length))

    def split(self, at: int) -> tuple[Span, Span]:
        """Return the first `at` bytes of the span, and the rest."""
        return self.first(at), Span(self.path, self.start + at, self.length - at)

    def read(self) -> bytes:
        """Return the bytes themselves.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class Answer(msgspec.Struct, frozen=True):
    """An answer before it is sent: status, headers, body, framing and ending.

    Attributes:
        status: 0 means no status line and no headers; without a body, no answer at all.
        headers: as they are sent; only `Date`, and `Connection: close` for a client that wants it, are added.
        chunked: frame the body in chunks; the last, empty chunk follows only if the connection is kept.
        number: the identifier whose bytes are in the body; empty for an error's or a page's.
        pause: seconds between the parts of the body.
        endless: sent after the body again and again, `pause` apart, until the client goes away or the server closes.
    """

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: tuple[bytes | Span, ...] = ()
    chunked: bool = False
    ending: Ending = Ending.KEEP
    number: str = ""
    pause: float = 0.0
    endless: bytes = b""


def plain(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Return a well-formed answer with `body` and its length."""
    return Answer(status, {**(headers or {}), "Content-Length": str(len(body))}, (body,))


def redirect(location: str, status: int = 302) -> Answer:
    """Return a redirect to `location`."""
    return plain(status, headers={"Location": location})


class LabelledFile(msgspec.Struct, frozen=True):
    """A file of the storage with its headers, and the sound answers with it.

    Attributes:
        number: the identifier.
        span: all of the file.
        labels: headers of every answer with its bytes, all or some of them.
    """

    number: str
    span: Span
    labels: Mapping[str, str]

    def whole(self) -> Answer:
        """Answer 200 with all of the file."""
        return self._answer(200, self.span)

    def part(self, positions: range) -> Answer:
        """Answer 206 with the bytes at `positions`, at least one."""
        label = f"bytes {positions.start}-{positions.stop - 1}/{len(self.span)}"
        span = Span(self.span.path, self.span.start + positions.start, len(positions))
        return self._answer(206, span, {"Content-Range": label})

    def no_part(self) -> Answer:
        """Answer 416 with the file's length."""
        return plain(416, headers={"Content-Range": f"bytes */{len(self.span)}"})

    def has_validator(self, validator: str) -> bool:
        """Return True if an `If-Range` of `validator` holds: the `ETag` or the date, not weak (RFC 9110, 13.1.5)."""
        if validator.startswith("W/"):
            return False
        return validator in {self.labels.get("ETag"), self.labels.get("Last-Modified")}

    def _answer(self, status: int, span: Span, also: Mapping[str, str] | None = None) -> Answer:
        headers = {**self.labels, **(also or {}), "Content-Length": str(len(span))}
        return Answer(status, headers, (span,), number=self.number)
