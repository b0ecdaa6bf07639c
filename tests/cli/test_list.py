"""`antscache list` in each of its formats."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, SIZE, TEMPLATE

if TYPE_CHECKING:
    from support import AntsCache

LISTS = (["list", "0.3.2"], ["list"])
NEVER = "allen_sr_weights"  # a name of 0.2.9 without a URL


@pytest.fixture
def held(antscache: AntsCache) -> AntsCache:
    """antscache with two files of 0.3.2."""
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", TEMPLATE).succeeded()
    return antscache


def record(antscache: AntsCache, identifier: str) -> dict[str, Any]:
    """Return what is recorded of a Figshare number."""
    number = identifier.removeprefix("figshare:")
    content: dict[str, Any] = json.loads((antscache.root / f"identifiers/figshare/{number}.json").read_text("utf-8"))
    return content


def in_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def in_markdown(text: str) -> list[dict[str, str]]:
    columns, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_held_entries_have_digest_and_more(held: AntsCache) -> None:
    """Digest, size, trust and checks, as they are recorded."""
    rows = held("list", "0.3.2", "--json").succeeded().json
    present = {row["name"]: row for row in rows if row["status"] == "present"}
    assert present.keys() == {BRAIN, TEMPLATE}
    assert present[TEMPLATE]["size"] == SIZE
    for row in present.values():
        recorded = record(held, row["identifier"])
        assert {key: row[key] for key in ("digest", "size", "trust", "checks")} == {
            key: recorded[key] for key in ("digest", "size", "trust", "checks")
        }
        assert row["trust"] == "origin"
        assert row["checks"]


def test_other_entries_have_none_of_these(held: AntsCache) -> None:
    """Not even one whose record is there and whose blob is gone."""
    template = next(row for row in held("list", "0.3.2", "--json").json if row["name"] == TEMPLATE)
    (held.root / "blobs/sha256" / template["digest"].removeprefix("sha256:")).unlink()
    rows = held("list", "0.3.2", "--json").succeeded().json
    others = [row for row in rows if row["status"] == "missing"]
    assert TEMPLATE in {row["name"] for row in others}
    assert {row[key] for row in others for key in ("digest", "size", "trust", "checks")} == {None}


@pytest.mark.parametrize("words", LISTS)
def test_json_is_one_of_the_formats(held: AntsCache, words: list[str]) -> None:
    assert held(*words, "--format", "json").succeeded().out == held(*words, "--json").out
    assert held(*words, "--format", "json", "--json").out == held(*words, "--json").out


@pytest.mark.parametrize("words", LISTS)
@pytest.mark.parametrize(("format_", "read"), [("csv", in_csv), ("markdown", in_markdown)])
def test_formats_say_what_json_says(held: AntsCache, words: list[str], format_: str, read: Any) -> None:
    def cell(value: object) -> str:
        return "" if value is None else "; ".join(value) if isinstance(value, list) else str(value)

    facts = held(*words, "--json").json
    assert read(held(*words, "--format", format_).succeeded().out) == [
        {key: cell(value) for key, value in fact.items()} for fact in facts
    ]


@pytest.mark.parametrize("format_", ["csv", "markdown"])
def test_columns_are_named_without_rows_too(antscache: AntsCache, format_: str) -> None:
    ran = antscache("list", "--format", format_).succeeded()
    assert ran.out.replace("| ", "").startswith("release")
    assert ran.err == ""


@pytest.mark.parametrize("format_", ["table", "csv", "markdown"])
def test_contradicting_formats_are_refused(antscache: AntsCache, format_: str) -> None:
    ran = antscache("list", "--json", "--format", format_)
    assert (ran.code, f"--json and --format {format_} contradict each other" in ran.err) == (2, True)


def test_table_has_a_short_digest_and_fits(held: AntsCache) -> None:
    """Up to the name, a row takes less than two thirds of a terminal of 80 columns."""
    digest = next(row["digest"] for row in held("list", "0.3.2", "--json").json if row["name"] == BRAIN)
    lines = held("list", "0.3.2").succeeded().out.splitlines()
    [line] = [line for line in lines if line.endswith(f"  {BRAIN}")]
    assert line.split()[:3] == ["network", "figshare:34821874", digest.removeprefix("sha256:")[:12]]
    assert len(lines) > 200
    assert max(len(line) - len(line.split()[-1]) for line in lines) < 54


def test_table_says_why_there_is_no_file(antscache: AntsCache) -> None:
    out = antscache("list", "0.2.9").succeeded().out
    line = f"network  -                  unavailable          {NEVER} (the release has an empty URL for it)"
    assert " ".join(line.split()) in [" ".join(row.split()) for row in out.splitlines()]
    [row] = [row for row in in_csv(antscache("list", "0.2.9", "--format", "csv").out) if row["name"] == NEVER]
    assert (row["status"], row["reason"]) == ("unavailable", "the release has an empty URL for it")
