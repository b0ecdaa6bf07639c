"""The ways in which an origin goes wrong, each in one place: its name, what it means, and what it does. Pure.

Each misbehaviour stands in exactly one of three tables: what the routes answer (`AT_ROUTE`), what the storage holds
(`AS_HELD`), and how the storage sends it (`AS_SENT`).
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from antscache.testing.answer import Answer, Ending, Span, plain, redirect
from antscache.testing.contents import content


class Misbehaviour(Enum):
    """A way to go wrong; its value is its name in URLs: `/misbehaving/<value>/files/<id>`.

    "Half" and "length" are of what was asked for: of a range, where the request has one.
    """

    CHALLENGE = "challenge"
    """202, an empty body and `x-amzn-waf-action: challenge`: Figshare's bot challenge."""
    FORBIDDEN = "forbidden"
    """403."""
    MISSING = "missing"
    """404, for an identifier that exists."""
    BUSY = "busy"
    """429 with `Retry-After: 1`."""
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
    REDIRECT_LOOP = "redirect-loop"
    """302 to itself."""
    REDIRECT_NOWHERE = "redirect-nowhere"
    """302 without a `Location`."""

    TRUNCATED = "truncated"
    """The origin holds half of the file, and sends that half without a fault."""
    OTHER = "other"
    """The origin holds other valid bytes of the same type and size."""
    WRONG_TYPE = "wrong-type"
    """The origin holds plain text of the same size."""
    CORRUPT = "corrupt"
    """One byte in the file's last quarter is flipped; length and `ETag` are those of the sound file."""

    CHUNKED = "chunked"
    """Not wrong, only unusual: chunked, without `Content-Length`."""
    UNANNOUNCED = "unannounced"
    """Not wrong, only unusual: without `Content-Length`; the connection is closed at the end."""
    GZIP_ENCODED = "gzip-encoded"
    """`Content-Encoding: gzip` that nobody asked for; the length is that of the encoded bytes."""
    CUT = "cut"
    """The right `Content-Length`, half the body, and the connection is closed."""
    CUT_CHUNKED = "cut-chunked"
    """Chunked, half the body, and the connection is closed without the last chunk."""
    CUT_UNANNOUNCED = "cut-unannounced"
    """No `Content-Length`, half the body, and the connection is closed: HTTP alone cannot tell."""
    LONG = "long"
    """The right `Content-Length`, the body, and 1,000 more bytes after it."""
    SHORT_ANNOUNCED = "short-announced"
    """`Content-Length` is half of the body, which is sent whole."""
    STALL = "stall"
    """The headers, ten bytes, then silence until the client or the server gives up."""
    RESET = "reset"
    """The right `Content-Length`, half the body, and the connection is reset (RST)."""


_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>figshare - please wait</title></head>\n"
    b"<body><h1>We are checking your browser</h1><p>This page stands in for the file.</p></body></html>\n"
)
_BINARY = {"Content-Type": "application/octet-stream"}

RouteFault: TypeAlias = Callable[[str], Answer]  # of the URL asked for
HeldFault: TypeAlias = Callable[["Sound"], bytes]
SentFault: TypeAlias = Callable[[Answer, Span], Answer]  # of the honest answer, and its body


@dataclass(frozen=True, slots=True)
class Sound:
    """What the storage holds of an identifier when nothing is wrong."""

    number: str
    file: str
    content: bytes


AT_ROUTE: Mapping[Misbehaviour, RouteFault] = MappingProxyType(
    {
        Misbehaviour.CHALLENGE: lambda _: plain(202, headers={"x-amzn-waf-action": "challenge"}),
        Misbehaviour.FORBIDDEN: lambda _: plain(403),
        Misbehaviour.MISSING: lambda _: plain(404),
        Misbehaviour.BUSY: lambda _: plain(429, headers={"Retry-After": "1"}),
        Misbehaviour.BROKEN: lambda _: plain(500),
        Misbehaviour.UNAVAILABLE: lambda _: plain(503),
        Misbehaviour.HTML: lambda _: plain(200, _HTML, {"Content-Type": "text/html; charset=utf-8"}),
        Misbehaviour.HTML_AS_BINARY: lambda _: plain(200, _HTML, _BINARY),
        Misbehaviour.EMPTY: lambda _: plain(200, headers=_BINARY),
        Misbehaviour.REDIRECT_FILE: lambda _: redirect("file:///etc/passwd"),
        Misbehaviour.REDIRECT_FTP: lambda _: redirect("ftp://127.0.0.1/etc/passwd"),
        Misbehaviour.REDIRECT_LOOP: redirect,
        Misbehaviour.REDIRECT_NOWHERE: lambda _: plain(302),
    }
)


def _other(sound: Sound) -> bytes:
    return content(f"{sound.number} other", sound.file, len(sound.content))


def _text(sound: Sound) -> bytes:
    line = b"This is not the file you asked for.\n"
    return (line * (len(sound.content) // len(line) + 1))[: len(sound.content)]


def _flipped(sound: Sound) -> bytes:
    flipped = bytearray(sound.content)
    flipped[len(flipped) * 7 // 8] ^= 0xFF
    return bytes(flipped)


AS_HELD: Mapping[Misbehaviour, HeldFault] = MappingProxyType(
    {
        Misbehaviour.TRUNCATED: lambda sound: sound.content[: len(sound.content) // 2],
        Misbehaviour.OTHER: _other,
        Misbehaviour.WRONG_TYPE: _text,
        Misbehaviour.CORRUPT: _flipped,
    }
)


LAST = 1000  # bytes of the end of a body


def _half(answer: Answer, body: Span) -> Answer:
    return replace(answer, body=(body.first(len(body) // 2),), ending=Ending.CLOSE)


def _announcing(answer: Answer, length: int | None, also: Mapping[str, str] | None = None) -> Answer:
    """`answer` with another `Content-Length`, or without one, and with further headers."""
    kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    announced = {} if length is None else {"Content-Length": str(length)}
    return replace(answer, headers={**kept, **announced, **(also or {})})


def _chunked(answer: Answer) -> Answer:
    return replace(_announcing(answer, None, {"Transfer-Encoding": "chunked"}), chunked=True)


def _unannounced(answer: Answer) -> Answer:
    return replace(_announcing(answer, None, {"Connection": "close"}), ending=Ending.CLOSE)


def _gzip_encoded(answer: Answer, body: Span) -> Answer:
    encoded = gzip.compress(body.read(), compresslevel=1, mtime=0)
    return replace(_announcing(answer, len(encoded), {"Content-Encoding": "gzip"}), body=(encoded,))


def _long(answer: Answer, body: Span) -> Answer:
    most, last = body.split(max(0, len(body) - LAST))
    # What is too much leaves in one packet with the end of the body: whoever has read the body can see it.
    return replace(answer, body=(most, last.read() + b"more" * 250), ending=Ending.CLOSE)


def _short_announced(answer: Answer, body: Span) -> Answer:
    return replace(_announcing(answer, len(body) // 2), ending=Ending.CLOSE)


AS_SENT: Mapping[Misbehaviour, SentFault] = MappingProxyType(
    {
        Misbehaviour.CHUNKED: lambda answer, _: _chunked(answer),
        Misbehaviour.UNANNOUNCED: lambda answer, _: _unannounced(answer),
        Misbehaviour.GZIP_ENCODED: _gzip_encoded,
        Misbehaviour.CUT: _half,
        Misbehaviour.CUT_CHUNKED: lambda answer, body: _chunked(_half(answer, body)),
        Misbehaviour.CUT_UNANNOUNCED: lambda answer, body: _half(_unannounced(answer), body),
        Misbehaviour.LONG: _long,
        Misbehaviour.SHORT_ANNOUNCED: _short_announced,
        Misbehaviour.STALL: lambda answer, body: replace(answer, body=(body.first(10),), ending=Ending.STALL),
        Misbehaviour.RESET: lambda answer, body: replace(_half(answer, body), ending=Ending.RESET),
    }
)
