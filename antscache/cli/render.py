"""Values as people and programs read them: sizes, times, tables, JSON."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from antscache.core import aligned_table, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from antscache.cli.options import Invocation
    from antscache.core import Record
    from antscache.views import Linked, Names

SIZE_UNIT_FACTOR = 1000
MINUTE, HOUR, DAY = 60, 3600, 86400  # in seconds
SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """Format `count` bytes in decimal units, as Figshare shows them."""
    for unit in SIZE_UNITS:
        if count < SIZE_UNIT_FACTOR or unit == SIZE_UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= SIZE_UNIT_FACTOR
    raise AssertionError


def duration(seconds: float) -> str:
    """Format `seconds` for people: "45 s", "1 min 30 s", "2 hours"."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    for length, unit in ((DAY, "day"), (HOUR, "hour")):
        if seconds >= length and seconds % length == 0:
            count = round(seconds / length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def files(count: int) -> str:
    """Format a number of files: "1 file", "2 files"."""
    return f"{count} file" if count == 1 else f"{count} files"


def print_line(text: object, *, err: bool = False) -> None:
    """Print `text` as one line for people; what a terminal could take for a command or a line break is escaped."""
    click.echo(escape(str(text)), err=err)


def print_path(path: Path) -> None:
    """Print a path on stdout: for programs byte for byte, on a terminal as a line for people."""
    print_for_programs(os.fspath(path))


def print_for_programs(line: str) -> None:
    """Print `line` on stdout: for programs as it is, in the bytes of file names; on a terminal for people."""
    click.echo(escape(line) if sys.stdout.isatty() else os.fsencode(line))


def print_json(value: Any) -> None:
    """Print `value` as indented JSON on stdout, in ASCII: other characters, and bytes that are no text, are escaped."""
    from json import dumps

    click.echo(dumps(msgspec.to_builtins(value), indent=2))


def print_json_line(value: Any) -> None:
    """Print `value` as a line of JSON on stdout, in ASCII."""
    from json import dumps

    click.echo(dumps(msgspec.to_builtins(value), separators=(",", ":")))


def print_text(content: bytes) -> None:
    """Print `content`, which antscache made and which ends with a line break, on stdout as it is."""
    click.echo(content, nl=False)


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print `rows` in aligned columns on stdout."""
    click.echo(aligned_table(rows), nl=False)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], format_: str) -> None:
    """Print `rows` on stdout for programs, in the `format_` csv, markdown or json.

    Args:
        rows: of values for JSON by their names.
        columns: these names, which CSV and Markdown have in their first row, even if there are no rows.
        format_: of the output.
    """
    from antscache.core import csv_table, markdown_table

    if format_ == "json":
        print_json(rows)
        return
    table = csv_table if format_ == "csv" else markdown_table
    click.echo(table(columns, ([_cell(row[column]) for column in columns] for row in rows)), nl=False)


def _cell(value: Any) -> Any:
    """Return a value for JSON as the content of one cell: nothing for null, several texts as one."""
    if value is None:
        return ""
    return "; ".join(value) if isinstance(value, (list, tuple)) else value


def is_watched() -> bool:
    """Return True if stderr is a terminal that can draw, and somebody watches it: no run of continuous integration."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def say_how_linked(invocation: Invocation, linked: Linked) -> None:
    """Tell the user about files that are not hard links or clones of the root's own blobs."""
    if linked.relinked:
        invocation.say(f"{files(linked.relinked)} in the view were copies of their blobs, and are links again")
    reason = linked.refusal or "as asked"
    if linked.modes["symlink"]:
        invocation.say(f"linked by symlinks ({reason}): mount the view together with its root")
    if linked.below:
        invocation.say(
            f"{files(linked.below)} used in place from lower caches: mount these caches together with the view"
        )
    if linked.modes["copy"]:
        invocation.say(f"{files(linked.modes['copy'])} copied ({reason}): these bytes are on disk twice")


def doubts(record: Record | None) -> str:
    """Format what speaks against a file: that only a user vouches for it, and what was found in it."""
    if record is None:
        return ""
    return "; ".join([*(["adopted"] if record.is_adopted else []), *(f"finding: {text}" for text in record.findings)])


def doubt_facts(record: Record | None) -> dict[str, Any]:
    """Return the same for JSON: the trust, and the findings."""
    return {"trust": record.trust if record else None, "findings": record.findings if record else ()}


def names(found: Names) -> str:
    """Format how many names views have, and which of them take space beside the blobs."""
    text = f"{found.count} name{'' if found.count == 1 else 's'}"
    if found.copies:
        copied = size(sum(name.size for name in found.copies))
        return f"{text}, {len(found.copies)} of them copies of blobs ({copied}): `antscache verify --repair` links them"
    if found.clones:
        clones = f"{text}, {found.clones} of them clones, sharing the space of blobs"
        return f"{clones}; in a copied root they are copies until `antscache verify --repair`"
    return f"{text}, sharing the space of blobs" if found.count else text
