"""What each misbehaviour does. Pure, but for the date of `busy-until` and for bytes that have to be read.

Each stands in exactly one of five tables: what the routes answer (`AT_ROUTE`), what the storage holds (`AS_HELD`), how
it labels that (`AS_LABELLED`), how it answers for a range (`IN_RANGE`), and how it sends the body (`AS_SENT`).
"""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from msgspec.structs import replace

from antscache.testing.contents import content
from antscache.testing.messages import Answer, Ending, Span, Stored, plain, redirect
from antscache.testing.misbehaviour import Misbehaviour

RouteFault: TypeAlias = Callable[[str], Answer]  # of the URL asked for
HeldFault: TypeAlias = Callable[["Sound"], bytes]
LabelFault: TypeAlias = Callable[[str], "str | None"]  # of the file's MD5: the `ETag`; None for no label and no date
RangeFault: TypeAlias = Callable[[Stored, range], Answer]  # of the file, and the positions asked for
SentFault: TypeAlias = Callable[[Answer, Span], Answer]  # of the honest answer, and its body


@dataclass(frozen=True, slots=True)
class Sound:
    """What the storage holds of an identifier when nothing is wrong."""

    number: str
    file: str
    content: bytes


# At the routes

_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>figshare - please wait</title></head>\n"
    b"<body><h1>We are checking your browser</h1><p>This page stands in for the file.</p></body></html>\n"
)
_BINARY = {"Content-Type": "application/octet-stream"}


def _busy(until: str) -> Answer:
    return plain(429, headers={"Retry-After": until})


AT_ROUTE: Mapping[Misbehaviour, RouteFault] = MappingProxyType(
    {
        Misbehaviour.CHALLENGE: lambda _: plain(202, headers={"x-amzn-waf-action": "challenge"}),
        Misbehaviour.UNAUTHORIZED: lambda _: plain(401, headers={"WWW-Authenticate": "token"}),
        Misbehaviour.FORBIDDEN: lambda _: plain(403),
        Misbehaviour.MISSING: lambda _: plain(404),
        Misbehaviour.UNSATISFIABLE: lambda _: plain(416),
        Misbehaviour.BUSY: lambda _: _busy("1"),
        Misbehaviour.BUSY_UNTIL: lambda _: _busy(formatdate(int(time.time()) + 2, usegmt=True)),
        Misbehaviour.BUSY_LONG: lambda _: _busy("86400"),
        Misbehaviour.BROKEN: lambda _: plain(500),
        Misbehaviour.UNAVAILABLE: lambda _: plain(503),
        Misbehaviour.HTML: lambda _: plain(200, _HTML, {"Content-Type": "text/html; charset=utf-8"}),
        Misbehaviour.HTML_AS_BINARY: lambda _: plain(200, _HTML, _BINARY),
        Misbehaviour.EMPTY: lambda _: plain(200, headers=_BINARY),
        Misbehaviour.REDIRECT_FILE: lambda _: redirect("file:///etc/passwd"),
        Misbehaviour.REDIRECT_FTP: lambda _: redirect("ftp://127.0.0.1/etc/passwd"),
        Misbehaviour.REDIRECT_HTTP: lambda url: redirect(f"http:{url.partition(':')[2]}"),
        Misbehaviour.REDIRECT_LOOP: redirect,
        Misbehaviour.REDIRECT_LOOP_301: lambda url: redirect(url, 301),
        Misbehaviour.REDIRECT_NOWHERE: lambda _: plain(302),
    }
)


# What the storage holds


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


# How it labels what it holds


def _another(md5: str) -> str:
    return hashlib.md5(md5.encode(), usedforsecurity=False).hexdigest()


AS_LABELLED: Mapping[Misbehaviour, LabelFault] = MappingProxyType(
    {
        Misbehaviour.WRONG_ETAG: lambda md5: f'"{_another(md5)}"',
        Misbehaviour.MULTIPART_ETAG: lambda md5: f'"{_another(md5)}-3"',
        Misbehaviour.WEAK_ETAG: lambda md5: f'W/"{md5}"',
        Misbehaviour.NO_ETAG: lambda _: None,
    }
)


# How it answers for a range

_OFF = 1000  # bytes by which a total is wrong


def _elsewhere(stored: Stored, asked: range) -> Answer:
    return stored.part(range(0 if asked.start else len(asked) // 2, asked.stop))


def _lying(stored: Stored, asked: range) -> Answer:
    size, path = len(stored.span), stored.span.path
    start = (asked.start + size // 2) % size
    end = Span(path, start, min(len(asked), size - start))
    again = Span(path, 0, len(asked) - len(end))
    return replace(stored.part(asked), body=(end, again))


def _labelled(answer: Answer, label: str | None) -> Answer:
    """`answer` with another `Content-Range`, or without one."""
    return _with(answer, "Content-Range", label)


def _first_half(positions: range) -> range:
    return positions[: max(1, len(positions) // 2)]


def _of_total(stored: Stored, asked: range, total: str) -> Answer:
    return _labelled(stored.part(asked), f"bytes {asked.start}-{asked.stop - 1}/{total}")


IN_RANGE: Mapping[Misbehaviour, RangeFault] = MappingProxyType(
    {
        Misbehaviour.RANGE_IGNORED: lambda stored, _: stored.whole(),
        Misbehaviour.RANGE_REFUSED: lambda stored, _: stored.unsatisfiable(),
        Misbehaviour.RANGE_ELSEWHERE: _elsewhere,
        Misbehaviour.RANGE_LYING: _lying,
        Misbehaviour.RANGE_UNASKED: lambda stored, _: stored.part(_first_half(range(len(stored.span)))),
        Misbehaviour.RANGE_OTHER_TOTAL: lambda stored, asked: _of_total(stored, asked, str(len(stored.span) + _OFF)),
        Misbehaviour.RANGE_NO_TOTAL: lambda stored, asked: _of_total(stored, asked, "*"),
        Misbehaviour.RANGE_SHORT: lambda stored, asked: stored.part(_first_half(asked)),
        Misbehaviour.RANGE_UNLABELLED: lambda stored, asked: _labelled(stored.part(asked), None),
        Misbehaviour.RANGE_NONSENSE: lambda stored, asked: _labelled(stored.part(asked), "bytes x-y/z"),
    }
)


# How it sends the body

LAST = 1000  # bytes of the end of a body
_SLOW_PIECES, _SLOW_PAUSE = 5, 0.1  # seconds


def _with(answer: Answer, header: str, value: str | None) -> Answer:
    """`answer` with `header` as `value`, or without it."""
    kept = {name: value for name, value in answer.headers.items() if name != header}
    return replace(answer, headers=kept if value is None else {**kept, header: value})


def _announcing(answer: Answer, length: int | None) -> Answer:
    """`answer` with another `Content-Length`, or without one."""
    return _with(answer, "Content-Length", None if length is None else str(length))


def _announced(answer: Answer) -> Answer:
    return answer


def _chunked(answer: Answer) -> Answer:
    return replace(_with(_announcing(answer, None), "Transfer-Encoding", "chunked"), chunked=True)


def _unannounced(answer: Answer) -> Answer:
    return replace(_with(_announcing(answer, None), "Connection", "close"), ending=Ending.CLOSE)


def _cut(framed: Callable[[Answer], Answer], at: Callable[[int], int]) -> SentFault:
    """Frame the body with `framed`, send its first `at(length)` bytes, and close the connection."""

    def cut(answer: Answer, body: Span) -> Answer:
        return replace(framed(answer), body=(body.first(at(len(body))),), ending=Ending.CLOSE)

    return cut


def _half(length: int) -> int:
    return length // 2


_FRAMINGS = {"": _announced, "-chunked": _chunked, "-unannounced": _unannounced}
_PLACES: dict[str, Callable[[int], int]] = {
    "": _half,
    "-at-0": lambda _: 0,
    "-at-1": lambda _: 1,
    "-at-last": lambda length: max(0, length - 1),
}


def _gzip_encoded(answer: Answer, body: Span) -> Answer:
    encoded = gzip.compress(body.read(), compresslevel=1, mtime=0)
    return replace(_with(_announcing(answer, len(encoded)), "Content-Encoding", "gzip"), body=(encoded,))


def _long(answer: Answer, body: Span) -> Answer:
    most, last = body.split(max(0, len(body) - LAST))
    # What is too much leaves in one packet with the end of the body: whoever has read the body can see it.
    return replace(answer, body=(most, last.read() + b"more" * 250), ending=Ending.CLOSE)


def _announcing_times(factor: float) -> SentFault:
    """Announce `factor` times the body's length, send the body whole, and close the connection."""
    return lambda answer, body: replace(_announcing(answer, int(len(body) * factor)), ending=Ending.CLOSE)


def _slow(answer: Answer, body: Span) -> Answer:
    bounds = [len(body) * piece // _SLOW_PIECES for piece in range(_SLOW_PIECES + 1)]
    pieces = tuple(body.first(stop).split(start)[1] for start, stop in pairwise(bounds))
    return replace(answer, body=pieces, pause=_SLOW_PAUSE)


def _stalled(at: Callable[[int], int]) -> SentFault:
    """Send the first `at(length)` bytes of the body, then nothing."""
    return lambda answer, body: replace(answer, body=(body.first(at(len(body))),), ending=Ending.STALL)


AS_SENT: Mapping[Misbehaviour, SentFault] = MappingProxyType(
    {
        **{
            Misbehaviour(f"cut{place}{framing}"): _cut(framed, at)
            for framing, framed in _FRAMINGS.items()
            for place, at in _PLACES.items()
        },
        Misbehaviour.CHUNKED: lambda answer, _: _chunked(answer),
        Misbehaviour.UNANNOUNCED: lambda answer, _: _unannounced(answer),
        Misbehaviour.SLOW: _slow,
        Misbehaviour.GZIP_ENCODED: _gzip_encoded,
        Misbehaviour.LONG: _long,
        Misbehaviour.LONG_ANNOUNCED: _announcing_times(2),
        Misbehaviour.SHORT_ANNOUNCED: _announcing_times(0.5),
        Misbehaviour.STALL: _stalled(lambda _: 10),
        Misbehaviour.STALL_HALF: _stalled(_half),
        Misbehaviour.STALL_HEADERS: lambda _, __: Answer(0, ending=Ending.STALL),
        Misbehaviour.RESET: lambda answer, body: replace(_cut(_announced, _half)(answer, body), ending=Ending.RESET),
    }
)


# What a request can show

ROUTE_MISBEHAVIOURS = frozenset(AT_ROUTE)

_FOR_ALL = frozenset({None, *AS_HELD, *AS_LABELLED, *AS_SENT, Misbehaviour.RANGE_UNASKED})
_FOR_A_RANGE = _FOR_ALL | IN_RANGE.keys()
_FOR_AN_EMPTY_RANGE = frozenset({None, *AS_HELD, Misbehaviour.RANGE_IGNORED, Misbehaviour.RANGE_UNASKED})


def showable(asked: range | None) -> frozenset[Misbehaviour | None]:
    """What a request to the storage for these positions can show; None among them stands for behaving.

    A request for all of a file asks for None, and one whose range holds no byte for an empty range.
    """
    if asked is None:
        return _FOR_ALL
    return _FOR_A_RANGE if asked else _FOR_AN_EMPTY_RANGE
