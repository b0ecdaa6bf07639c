"""What the stand-in says to one request: values that the wire carries out. Pure, but for `Span.read`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a file: `length` bytes from `start`; they go from the file to the socket without passing Python."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def first(self, length: int) -> Span:
        """The first `length` bytes of the span."""
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


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers as they are sent (nothing is added but a date), body, framing and ending.

    Attributes:
        chunked: the body is framed in chunks; the last, empty chunk follows only if the connection is kept.
        number: the identifier whose bytes these are; empty where they are nobody's.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[bytes | Span, ...] = ()
    chunked: bool = False
    ending: Ending = Ending.KEEP
    number: str = ""


def plain(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """A well-formed answer with `body` and its length."""
    return Answer(status, {**(headers or {}), "Content-Length": str(len(body))}, (body,))


def redirect(location: str) -> Answer:
    """302 to `location`."""
    return plain(302, headers={"Location": location})


class Unsatisfiable(Exception):  # noqa: N818  the word of RFC 9110, 14.4
    """A range that begins after the last byte."""


def parse_range(header: str | None, size: int) -> range | None:
    """The positions that a `Range` header asks for in `size` bytes; None for all of them.

    What is no single range of bytes is ignored, as RFC 9110 (14.2) allows, and asks for all.

    Raises:
        Unsatisfiable: the range holds no byte of these.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first > last:
        raise Unsatisfiable
    return range(first, last + 1)
