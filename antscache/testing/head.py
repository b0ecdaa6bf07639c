"""The head of an HTTP/1.1 request (RFC 9112): its line and its fields.

http.server reads them with the e-mail package, which takes more CPU than everything else the stand-in does for a
request; and the stand-in shares its cores with what is measured against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from io import BufferedIOBase

_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([0-9])\r?\n")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EMPTY = (b"\r\n", b"\n")
_LONGEST = 1 << 16  # bytes of a line
_MOST = 100  # fields


class UnreadableError(Exception):
    """What came is no request that can be answered.

    Attributes:
        status: what to answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Head(msgspec.Struct, frozen=True):
    """A request without a body.

    Attributes:
        fields: names in lower case; the values of a name that comes twice are joined, as RFC 9110 (5.2) says.
        is_last: the client wants the connection closed after the answer.
    """

    method: str
    target: str
    fields: Mapping[str, str]
    is_last: bool


def read_head(line: bytes, rest: BufferedIOBase) -> Head:
    """The request that begins with `line`; its fields are read from `rest`, and nothing after them.

    Raises:
        UnreadableError: that is no request of HTTP/1.x, it has too many or too long fields, or a body.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise UnreadableError(400)
    fields = _read_fields(rest)
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        raise UnreadableError(400)
    is_last = match[3] == b"0" or "close" in fields.get("connection", "").lower()
    return Head(match[1].decode(), match[2].decode(), fields, is_last)


def _read_fields(rest: BufferedIOBase) -> dict[str, str]:
    fields: dict[str, str] = {}
    while (line := rest.readline(_LONGEST)) not in _EMPTY:
        name, colon, value = line.decode("latin-1").partition(":")
        if not (colon and _NAME.fullmatch(name) and line.endswith(b"\n")):
            raise UnreadableError(431 if len(line) == _LONGEST else 400)
        name, value = name.lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
        if len(fields) > _MOST:
            raise UnreadableError(431)
    return fields
