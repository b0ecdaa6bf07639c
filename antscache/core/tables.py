"""Tables as texts: for people in aligned columns, for other programs as CSV and Markdown. Pure.

Cells may hold texts from outside. These never add a row or a column, command a terminal, become a formula in a
spreadsheet, or HTML in a page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from antscache.core.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What spreadsheets take for the beginning of a formula. Source: OWASP, "CSV Injection".
_FORMULA_MARKS = ("=", "+", "-", "@")
# Characters with a meaning inside a line, and the table's own. Sources: GitHub Flavored Markdown; Pandoc.
_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~!$^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def aligned_table(rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` in aligned columns, with escapes in place of what a terminal cannot show."""
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` below a row with the names of the `columns`, as RFC 4180 writes them: each line ends in CR LF.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets do not show.
    """
    from csv import writer
    from io import StringIO

    text = StringIO()
    writer(text).writerows([columns, *(map(_csv_cell, row) for row in rows)])
    return text.getvalue()


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` below a row with the names of the `columns`, as GitHub and Pandoc read tables."""
    lines = [columns, ["---"] * len(columns), *([escape_markdown(str(cell)) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape_markdown(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, on one line and in one cell of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", escape(text))


def _csv_cell(value: object) -> object:
    """Return `value` as the content of a cell; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return escape(f"'{value}" if value.startswith(_FORMULA_MARKS) else value)
