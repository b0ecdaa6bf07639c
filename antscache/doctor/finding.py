"""What a check finds, and how it is worded."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "warning", "error"]

SHOWN = 5  # of many findings of one kind, how many are spelled out
GIGABYTE, MEGABYTE = 1e9, 1e6


class Finding(msgspec.Struct, frozen=True):
    """One thing that a check has to say.

    Attributes:
        check: the check's name.
        level: ok; note: worth knowing; warning: something works less well than it could, or may go wrong; error:
            something does not work, or would silently be wrong.
        what: a sentence, in one line.
        remedy: what to do, as a command where there is one; may be empty.
    """

    check: str
    level: Level
    what: str
    remedy: str = ""


def ok(what: str) -> Finding:
    """All is well with what was looked at."""
    return Finding("", "ok", what)


def note(what: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding("", "note", what, remedy)


def warning(what: str, remedy: str = "") -> Finding:
    """Something works less well than it could, or may go wrong."""
    return Finding("", "warning", what, remedy)


def error(what: str, remedy: str = "") -> Finding:
    """Something does not work, or would silently be wrong."""
    return Finding("", "error", what, remedy)


def plain(text: str) -> str:
    """`text` in one line that every terminal and JSON can take: file names may hold any bytes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def listed(names: list[str]) -> str:
    """`names` in words: the first few, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def size(count: float) -> str:
    """`count` bytes in decimal units."""
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / MEGABYTE:.1f} MB"
