"""What the stand-in says to one request: values that the wire carries out. Pure, but for `Span.read`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path

import msgspec


class Ending(Enum):
    """What becomes of the connection after the body."""

    KEEP = auto()
    """It stays open for the next request."""
    CLOSE = auto()
    """It is closed."""
    RESET = auto()
    """It is reset (RST)."""
    STALL = auto()
    """It stays open and silent until the client goes away or the server closes."""


class Span(msgspec.Struct, frozen=True):
    """Part of a file: `length` bytes from `start`; they go from the file to the socket without passing Python."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def first(self, length: int) -> Span:
        """The first `length` bytes of the span, or all where it has no more."""
        return Span(self.path, self.start, min(length, self.length))

    def split(self, at: int) -> tuple[Span, Span]:
        """The first `at` bytes of the span, and the rest."""
        return self.first(at), Span(self.path, self.start + at, self.length - at)

    def read(self) -> bytes:
        """The bytes themselves.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class Answer(msgspec.Struct, frozen=True):
    """Status, headers as they are sent (a date is added, and an end that the client asked for), body, framing, ending.

    Attributes:
        status: 0 is no answer at all, not even headers.
        chunked: the body is framed in chunks; the last, empty chunk follows only if the connection is kept.
        number: the identifier whose bytes these are; empty where they are nobody's.
        pause: seconds between the parts of the body.
    """

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: tuple[bytes | Span, ...] = ()
    chunked: bool = False
    ending: Ending = Ending.KEEP
    number: str = ""
    pause: float = 0.0


def plain(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """A well-formed answer with `body` and its length."""
    return Answer(status, {**(headers or {}), "Content-Length": str(len(body))}, (body,))


def redirect(location: str, status: int = 302) -> Answer:
    """`status` to `location`."""
    return plain(status, headers={"Location": location})


class Stored(msgspec.Struct, frozen=True):
    """A file in the storage, and the honest answers about it.

    Attributes:
        number: the identifier.
        span: all of the file.
        labels: the headers that go with its bytes, whether all or some of them are sent.
    """

    number: str
    span: Span
    labels: Mapping[str, str]

    def whole(self) -> Answer:
        """200 with all of it."""
        return self._answer(200, self.span)

    def part(self, positions: range) -> Answer:
        """206 with the bytes at `positions`, of which there is at least one."""
        label = f"bytes {positions.start}-{positions.stop - 1}/{len(self.span)}"
        span = Span(self.span.path, self.span.start + positions.start, len(positions))
        return self._answer(206, span, {"Content-Range": label})

    def unsatisfiable(self) -> Answer:
        """416 with the file's length."""
        return plain(416, headers={"Content-Range": f"bytes */{len(self.span)}"})

    def is_labelled(self, validator: str) -> bool:
        """Whether an `If-Range` of `validator` holds: it is the `ETag` or the date, and not weak (RFC 9110, 13.1.5)."""
        if validator.startswith("W/"):
            return False
        return validator in {self.labels.get("ETag"), self.labels.get("Last-Modified")}

    def _answer(self, status: int, span: Span, also: Mapping[str, str] | None = None) -> Answer:
        headers = {**self.labels, **(also or {}), "Content-Length": str(len(span))}
        return Answer(status, headers, (span,), number=self.number)
