"""The effect of each misbehaviour. Pure, but for the date of `busy-until` and for bytes read from a file.

Each stands in one of five tables, by the place where it happens:

    ROUTE_FAULTS        a route's answer
    CONTENT_FAULTS      the bytes that the storage holds
    LABEL_FAULTS        their ETag, date and checksums
    RANGE_FAULTS        the storage's answer for a range
    BODY_FAULTS         sending the body
"""

from __future__ import annotations

import gzip
import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from email.utils import formatdate
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from msgspec.structs import replace

from antscache.testing.contents import content
from antscache.testing.messages import Answer, Ending, LabelledFile, Span, plain, redirect
from antscache.testing.misbehaviour import Misbehaviour

RouteFault: TypeAlias = Callable[[str], Answer]  # of the requested URL
ContentFault: TypeAlias = Callable[[bytes, str, str], bytes]  # of the right bytes, the number and the file's name
LabelFault: TypeAlias = Callable[[str], Mapping[str, "str | None"]]  # the file's MD5 to headers; None: without it
RangeFault: TypeAlias = Callable[[LabelledFile, range], Answer]  # of the file and the requested positions
BodyFault: TypeAlias = Callable[[Answer, Span], Answer]  # of the sound answer and its body


# At the routes

_HTML_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>figshare - please wait</title></head>\n"
    b"<body><h1>We are checking your browser</h1><p>This page stands in for the file.</p></body></html>\n"
)
_BINARY_TYPE = {"Content-Type": "application/octet-stream"}


def _refuse_for_now(until: str) -> Answer:
    return plain(429, headers={"Retry-After": until})


ROUTE_FAULTS: Mapping[Misbehaviour, RouteFault] = MappingProxyType(
    {
        Misbehaviour.CHALLENGE: lambda _: plain(202, headers={"x-amzn-waf-action": "challenge"}),
        Misbehaviour.UNAUTHORIZED: lambda _: plain(401, headers={"WWW-Authenticate": "token"}),
        Misbehaviour.FORBIDDEN: lambda _: plain(403),
        Misbehaviour.MISSING: lambda _: plain(404),
        Misbehaviour.UNSATISFIABLE: lambda _: plain(416),
        Misbehaviour.BUSY: lambda _: _refuse_for_now("1"),
        Misbehaviour.BUSY_UNTIL: lambda _: _refuse_for_now(formatdate(int(time.time()) + 2, usegmt=True)),
        Misbehaviour.BUSY_LONG: lambda _: _refuse_for_now("86400"),
        Misbehaviour.BROKEN: lambda _: plain(500),
        Misbehaviour.UNAVAILABLE: lambda _: plain(503),
        Misbehaviour.HTML: lambda _: plain(200, _HTML_PAGE, {"Content-Type": "text/html; charset=utf-8"}),
        Misbehaviour.HTML_AS_BINARY: lambda _: plain(200, _HTML_PAGE, _BINARY_TYPE),
        Misbehaviour.EMPTY: lambda _: plain(200, headers=_BINARY_TYPE),
        Misbehaviour.REDIRECT_FILE: lambda _: redirect("file:///etc/passwd"),
        Misbehaviour.REDIRECT_FTP: lambda _: redirect("ftp://127.0.0.1/etc/passwd"),
        Misbehaviour.REDIRECT_HTTP: lambda url: redirect(f"http:{url.partition(':')[2]}"),
        Misbehaviour.REDIRECT_LOOP: redirect,
        Misbehaviour.REDIRECT_LOOP_301: lambda url: redirect(url, 301),
        Misbehaviour.REDIRECT_NOWHERE: lambda _: plain(302),
    }
)


# What the storage holds


def _other_bytes(sound: bytes, number: str, file: str) -> bytes:
    return content(f"{number} other", file, len(sound))


def _plain_text(sound: bytes, _number: str, _file: str) -> bytes:
    line = b"This is not the file you asked for.\n"
    return (line * (len(sound) // len(line) + 1))[: len(sound)]


def _flip_a_byte(sound: bytes, _number: str, _file: str) -> bytes:
    flipped = bytearray(sound)
    flipped[len(flipped) * 7 // 8] ^= 0xFF
    return bytes(flipped)


CONTENT_FAULTS: Mapping[Misbehaviour, ContentFault] = MappingProxyType(
    {
        Misbehaviour.TRUNCATED: lambda sound, *_: sound[: len(sound) // 2],
        Misbehaviour.OTHER: _other_bytes,
        Misbehaviour.WRONG_TYPE: _plain_text,
        Misbehaviour.CORRUPT: _flip_a_byte,
    }
)


# Its labels


def _other_md5(md5: str) -> str:
    return hashlib.md5(md5.encode(), usedforsecurity=False).hexdigest()


def _other_checksum(algorithm: str, md5: str) -> str:
    return b64encode(hashlib.new(algorithm, md5.encode(), usedforsecurity=False).digest()).decode()


LABEL_FAULTS: Mapping[Misbehaviour, LabelFault] = MappingProxyType(
    {
        Misbehaviour.WRONG_ETAG: lambda md5: {"ETag": f'"{_other_md5(md5)}"'},
        Misbehaviour.MULTIPART_ETAG: lambda md5: {"ETag": f'"{_other_md5(md5)}-3"'},
        Misbehaviour.WEAK_ETAG: lambda md5: {"ETag": f'W/"{md5}"'},
        Misbehaviour.NO_ETAG: lambda _: {"ETag": None, "Last-Modified": None},
        Misbehaviour.WRONG_CONTENT_MD5: lambda md5: {"Content-MD5": _other_checksum("md5", md5)},
        Misbehaviour.WRONG_DIGEST: lambda md5: {"Digest": f"MD5={_other_checksum('md5', md5)}"},
        Misbehaviour.WRONG_REPR_DIGEST: lambda md5: {"Repr-Digest": f"sha-256=:{_other_checksum('sha256', md5)}:"},
        Misbehaviour.ODD_DIGESTS: lambda md5: {"Content-MD5": md5, "Digest": "MD5=x,=", "Repr-Digest": "sha-256=::, ?"},
    }
)


# Its answer for a range

_TOTAL_EXCESS_BYTES = 1000  # of a wrong total


def _begin_elsewhere(file: LabelledFile, positions: range) -> Answer:
    return file.part(range(0 if positions.start else len(positions) // 2, positions.stop))


def _mislabel(file: LabelledFile, positions: range) -> Answer:
    size, path = len(file.span), file.span.path
    start = (positions.start + size // 2) % size
    end = Span(path, start, min(len(positions), size - start))
    again = Span(path, 0, len(positions) - len(end))
    return replace(file.part(positions), body=(end, again))


def _relabel(answer: Answer, label: str | None) -> Answer:
    """Return `answer` with another `Content-Range`, or without one."""
    return _set_header(answer, "Content-Range", label)


def _first_half(positions: range) -> range:
    return positions[: max(1, len(positions) // 2)]


def _claim_total(file: LabelledFile, positions: range, total: str) -> Answer:
    return _relabel(file.part(positions), f"bytes {positions.start}-{positions.stop - 1}/{total}")


RANGE_FAULTS: Mapping[Misbehaviour, RangeFault] = MappingProxyType(
    {
        Misbehaviour.RANGE_IGNORED: lambda file, _: file.whole(),
        Misbehaviour.RANGE_REFUSED: lambda file, _: file.no_part(),
        Misbehaviour.RANGE_ELSEWHERE: _begin_elsewhere,
        Misbehaviour.RANGE_LYING: _mislabel,
        Misbehaviour.RANGE_UNASKED: lambda file, _: file.part(_first_half(range(len(file.span)))),
        Misbehaviour.RANGE_OTHER_TOTAL: lambda file, positions: _claim_total(
            file, positions, str(len(file.span) + _TOTAL_EXCESS_BYTES)
        ),
        Misbehaviour.RANGE_NO_TOTAL: lambda file, positions: _claim_total(file, positions, "*"),
        Misbehaviour.RANGE_SHORT: lambda file, positions: file.part(_first_half(positions)),
        Misbehaviour.RANGE_UNLABELLED: lambda file, positions: _relabel(file.part(positions), None),
        Misbehaviour.RANGE_NONSENSE: lambda file, positions: _relabel(file.part(positions), "bytes x-y/z"),
    }
)


# Sending the body

_TAIL_BYTES = 1000  # of a body that is too long, sent together with the extra ones
_SLOW_PIECES, _SLOW_PAUSE_SECONDS = 5, 0.1
_DRIBBLE_PAUSE_SECONDS, _DRIBBLED_BYTES = 0.05, 1000
_ENDLESS_PIECE_BYTES = 1 << 16


def _set_header(answer: Answer, header: str, value: str | None) -> Answer:
    """Return `answer` with `value` as its `header`, or without that header."""
    kept = {name: value for name, value in answer.headers.items() if name != header}
    return replace(answer, headers=kept if value is None else {**kept, header: value})


def _announce(answer: Answer, length: int | None) -> Answer:
    """Return `answer` with another `Content-Length`, or without one."""
    return _set_header(answer, "Content-Length", None if length is None else str(length))


def _keep_framing(answer: Answer) -> Answer:
    return answer


def _frame_in_chunks(answer: Answer) -> Answer:
    return replace(_set_header(_announce(answer, None), "Transfer-Encoding", "chunked"), chunked=True)


def _frame_by_closing(answer: Answer) -> Answer:
    return replace(_set_header(_announce(answer, None), "Connection", "close"), ending=Ending.CLOSE)


def _cut(framed: Callable[[Answer], Answer], at: Callable[[int], int]) -> BodyFault:
    """Return a fault: frame the body with `framed`, send its first `at(length)` bytes, close the connection."""

    def cut(answer: Answer, body: Span) -> Answer:
        return replace(framed(answer), body=(body.first(at(len(body))),), ending=Ending.CLOSE)

    return cut


def _half(length: int) -> int:
    return length // 2


_FRAMINGS = {"": _keep_framing, "-chunked": _frame_in_chunks, "-unannounced": _frame_by_closing}
_CUT_PLACES: dict[str, Callable[[int], int]] = {
    "": _half,
    "-at-0": lambda _: 0,
    "-at-1": lambda _: 1,
    "-at-last": lambda length: max(0, length - 1),
}


def _encode(answer: Answer, body: Span) -> Answer:
    encoded = gzip.compress(body.read(), compresslevel=0, mtime=0)  # noise: to try to compress it would only take time
    return replace(_set_header(_announce(answer, len(encoded)), "Content-Encoding", "gzip"), body=(encoded,))


def _send_too_much(answer: Answer, body: Span) -> Answer:
    most, last = body.split(max(0, len(body) - _TAIL_BYTES))
    # The extra bytes leave in one packet with the body's end, so a client that has read the body can see them.
    return replace(answer, body=(most, last.read() + b"more" * 250), ending=Ending.CLOSE)


def _announce_times(factor: float) -> BodyFault:
    """Return a fault: announce `factor` times the body's length, send the body whole, close the connection."""
    return lambda answer, body: replace(_announce(answer, int(len(body) * factor)), ending=Ending.CLOSE)


def _send_slowly(answer: Answer, body: Span) -> Answer:
    bounds = [len(body) * piece // _SLOW_PIECES for piece in range(_SLOW_PIECES + 1)]
    pieces = tuple(body.first(stop).split(start)[1] for start, stop in pairwise(bounds))
    return replace(answer, body=pieces, pause=_SLOW_PAUSE_SECONDS)


def _stall(at: Callable[[int], int]) -> BodyFault:
    """Return a fault: send the first `at(length)` bytes of the body, then nothing."""
    return lambda answer, body: replace(answer, body=(body.first(at(len(body))),), ending=Ending.STALL)


def _dribble(answer: Answer, body: Span) -> Answer:
    begun, rest = body.split(_half(len(body)))
    single = tuple(rest.split(at)[1].first(1) for at in range(min(len(rest), _DRIBBLED_BYTES)))
    return replace(answer, body=(begun, *single), pause=_DRIBBLE_PAUSE_SECONDS, ending=Ending.STALL)


BODY_FAULTS: Mapping[Misbehaviour, BodyFault] = MappingProxyType(
    {
        **{
            Misbehaviour(f"cut{place}{framing}"): _cut(framed, at)
            for framing, framed in _FRAMINGS.items()
            for place, at in _CUT_PLACES.items()
        },
        Misbehaviour.CHUNKED: lambda answer, _: _frame_in_chunks(answer),
        Misbehaviour.UNANNOUNCED: lambda answer, _: _frame_by_closing(answer),
        Misbehaviour.SLOW: _send_slowly,
        Misbehaviour.GZIP_ENCODED: _encode,
        Misbehaviour.LONG: _send_too_much,
        Misbehaviour.LONG_ANNOUNCED: _announce_times(2),
        Misbehaviour.SHORT_ANNOUNCED: _announce_times(0.5),
        Misbehaviour.STALL: _stall(lambda _: 10),
        Misbehaviour.STALL_HALF: _stall(_half),
        Misbehaviour.STALL_HEADERS: lambda _, __: Answer(0, ending=Ending.STALL),
        Misbehaviour.RESET: lambda answer, body: replace(_cut(_keep_framing, _half)(answer, body), ending=Ending.RESET),
        Misbehaviour.CONTINUE: lambda _, __: Answer(0, endless=b"HTTP/1.1 100 Continue\r\n\r\n"),
        Misbehaviour.DRIBBLED_HEAD: lambda _, __: Answer(
            0, body=(b"HTTP/1.1 200 OK\r\nX: ",), endless=b"x", pause=_DRIBBLE_PAUSE_SECONDS
        ),
        Misbehaviour.DRIBBLED: _dribble,
        Misbehaviour.ENDLESS: lambda answer, _: replace(_frame_by_closing(answer), endless=bytes(_ENDLESS_PIECE_BYTES)),
        Misbehaviour.ENDLESS_TRAILER: lambda answer, _: replace(
            _frame_in_chunks(answer), endless=b"X: x\r\n" * _ENDLESS_PIECE_BYTES
        ),
    }
)


# Which of them a request can show

ROUTE_MISBEHAVIOURS = frozenset(ROUTE_FAULTS)
"""Those that requests to the routes show; all others are for requests to the storage."""

_POSSIBLE_FOR_ALL = frozenset({None, *CONTENT_FAULTS, *LABEL_FAULTS, *BODY_FAULTS, Misbehaviour.RANGE_UNASKED})
_POSSIBLE_FOR_A_RANGE = _POSSIBLE_FOR_ALL | RANGE_FAULTS.keys()
_POSSIBLE_FOR_AN_EMPTY_RANGE = frozenset(
    {None, *CONTENT_FAULTS, Misbehaviour.RANGE_IGNORED, Misbehaviour.RANGE_UNASKED}
)


def possible_misbehaviours(positions: range | None) -> frozenset[Misbehaviour | None]:
    """Return the misbehaviours that an answer of the storage for these positions can show; None means to behave.

    Args:
        positions: None for a request for all of the file; empty if its range holds no byte.
    """
    if positions is None:
        return _POSSIBLE_FOR_ALL
    return _POSSIBLE_FOR_A_RANGE if positions else _POSSIBLE_FOR_AN_EMPTY_RANGE
