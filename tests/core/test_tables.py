"""Tables as CSV and Markdown, whatever texts are in them."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.core import csv_table, escape, markdown_table

COLUMNS = ("name", "size")
HOSTILE = st.text(max_size=20) | st.text(alphabet="|\\`*_<>&[]\"',=\n\r\t\x1b\u202e\udcff ab-", max_size=20)
ROWS = st.lists(st.tuples(HOSTILE, st.integers(min_value=0)), max_size=4)


@given(ROWS)
def test_csv_reads_back_as_it_was(rows: list[tuple[str, int]]) -> None:
    """Cell for cell, but for escapes and the apostrophe before a formula."""
    text = csv_table(COLUMNS, rows)
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    expected = [[escape(name), str(size)] for name, size in rows]
    assert [[name.removeprefix("'"), size] for name, size in read[1:]] == [
        [name.removeprefix("'"), size] for name, size in expected
    ]
    assert read[0] == list(COLUMNS)
    assert text.count("\r\n") == text.count("\n") == len(rows) + 1
    assert text.replace("\r\n", "").isprintable()


@given(st.lists(HOSTILE, min_size=1, max_size=3))
def test_no_cell_of_a_csv_is_a_formula(texts: list[str]) -> None:
    [row] = csv.reader(io.StringIO(csv_table(COLUMNS, [texts]).partition("\r\n")[2], newline=""), strict=True)
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_formula_gets_an_apostrophe() -> None:
    assert csv_table(["reason"], [["=1+1"], ["a=b"]]) == "reason\r\n'=1+1\r\na=b\r\n"


def cells_of(line: str) -> list[str]:
    """Take a line of a table apart as GitHub does: at each bar that no backslash stands before."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


@given(ROWS)
def test_no_text_breaks_a_markdown_table(rows: list[tuple[str, int]]) -> None:
    lines = markdown_table(COLUMNS, rows).removesuffix("\n").split("\n")
    assert len(lines) == len(rows) + 2
    assert all(len(cells_of(line)) == len(COLUMNS) and line.isprintable() for line in lines)
    for line in lines:
        assert not re.search(r"(?<!\\)[<`*\[]", line.replace("\\\\", ""))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("S_template3", "S_template3"),
        ("_private_", r"\_private\_"),
        ("a|b", r"a\|b"),
        ("<img src=x>", r"\<img src=x\>"),
        ("one\ntwo", r"one\\ntwo"),
        ("figshare:34821874", "figshare:34821874"),
        ("", ""),
    ],
)
def test_markdown_shows_texts_as_they_are(text: str, shown: str) -> None:
    assert markdown_table(["text"], [[text]]).splitlines()[2] == f"| {shown} |"
