"""What the stand-in is asked: a request as it arrived. Pure."""

from __future__ import annotations

import re

import msgspec

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request: `path` and `query` undecoded, and those of its headers that matter, or None.

    Attributes:
        at: when it arrived, in seconds of `time.monotonic`.
    """

    method: str
    path: str
    query: str
    at: float
    host: str | None = None
    authorization: str | None = None
    range: str | None = None
    if_range: str | None = None


def parse_range(header: str | None, size: int) -> range | None:
    """The positions that a `Range` header asks for in `size` bytes: None for all, empty where it holds none of them.

    What is no single range of bytes is ignored, as RFC 9110 (14.2) allows, and asks for all.
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
