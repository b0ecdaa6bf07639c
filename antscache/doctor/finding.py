"""A finding, and the words for counts, sizes and lists in it."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "warning", "error"]

MAX_SHOWN = 5  # names, or findings of one kind, that are spelled out; the rest is counted
GIGABYTE, MEGABYTE = 1e9, 1e6  # bytes


class Finding(msgspec.Struct, frozen=True):
    """One result of a check.

    Attributes:
        check: the check's name.
        level: ok; note: worth knowing; warning: something works less well than it could, or may go wrong; error:
            something does not work, or would silently give wrong results.
        what: one line that says what was found, and where.
        remedy: one line that says what to do, as a command where there is one; may be empty.
    """

    check: str
    level: Level
    what: str
    remedy: str = ""


def ok(what: str) -> Finding:
    """Make a finding that all is well."""
    return Finding("", "ok", what)


def note(what: str, remedy: str = "") -> Finding:
    """Make a finding that is worth knowing."""
    return Finding("", "note", what, remedy)


def warning(what: str, remedy: str = "") -> Finding:
    """Make a finding that something works less well than it could, or may go wrong."""
    return Finding("", "warning", what, remedy)


def error(what: str, remedy: str = "") -> Finding:
    """Make a finding that something does not work, or would silently give wrong results."""
    return Finding("", "error", what, remedy)


def list_names(names: list[str]) -> str:
    """Return the first few of `names`, and the number of the others, as text."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


def count_files(count: int) -> str:
    """Return "1 file", or "`count` files"."""
    return f"{count} file{'' if count == 1 else 's'}"


def count_paths(count: int) -> str:
    """Return "1 file or directory", or "`count` files and directories"."""
    return "1 file or directory" if count == 1 else f"{count} files and directories"


def format_size(count: float) -> str:
    """Return `count` bytes in decimal units, as text."""
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / MEGABYTE:.1f} MB"
