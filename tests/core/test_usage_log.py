"""What processes asked for is noted, and fetched again from the note: `run --record`, `prefetch --from-record`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BRAIN, SIZE, TEMPLATE

from antscache.core.usage_log import read_usage_log
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from support import AntsCache

    from antscache.testing import StandIn


@pytest.fixture
def noted(antscache: AntsCache, tmp_path: Path) -> Path:
    """A record of two entries of 0.3.2, one of them noted twice, and their bytes in the store."""
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", TEMPLATE).succeeded()
    entries = {entry["name"]: entry for entry in antscache("list", "0.3.2", "--json").json}
    lines = []
    for name in (BRAIN, TEMPLATE, BRAIN):
        entry = {key: entries[name][key] for key in ("kind", "name", "file", "identifier")}
        number = entry["identifier"].removeprefix("figshare:")
        record = json.loads((antscache.root / f"identifiers/figshare/{number}.json").read_text("utf-8"))
        line = {"release": "antspynet==0.3.2", **entry, "digest": record["digest"], "size": record["size"]}
        lines.append(json.dumps(line))
    path = tmp_path / "record"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_what_is_noted_is_fetched_and_nothing_else(antscache: AntsCache, noted: Path, tmp_path: Path) -> None:
    ran = antscache("prefetch", "--from-record", noted, "--root", tmp_path / "other").succeeded()
    view = Path(ran.out.strip()) / ".keras/ANTsXNet"
    assert {path.name for path in view.iterdir()} == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    record = json.loads((tmp_path / "other/identifiers/figshare/34821874.json").read_text("utf-8"))
    assert record["checks"] == ["digest"]


def test_an_origin_with_other_bytes_than_are_noted_is_refused(
    antscache: AntsCache, figshare: StandIn, noted: Path, tmp_path: Path
) -> None:
    digest = json.loads(noted.read_text("utf-8").splitlines()[0])["digest"]
    noted.write_text(noted.read_text("utf-8").replace(digest, f"sha256:{'0' * 64}"), "utf-8")
    ran = antscache("prefetch", "--from-record", noted, "--root", tmp_path / "other")
    assert ran.code == 5
    assert "34821874" in ran.err
    assert not (tmp_path / "other/identifiers/figshare/34821874.json").exists()
    assert figshare.downloads("34821874") > 0
    ran = antscache("prefetch", "--from-record", noted)  # where they are recorded
    assert (ran.code, digest in ran.err) == (5, True)


def test_a_note_that_is_none_is_an_error_that_names_the_line(antscache: AntsCache, noted: Path) -> None:
    with noted.open("a", encoding="utf-8") as file:
        file.write('{"release": "antspynet==0.3.2"}\n')
    ran = antscache("prefetch", "--from-record", noted)
    assert (ran.code, f"{noted}, line 4" in ran.err) == (3, True)
    assert antscache("prefetch", "--from-record", noted.with_name("none")).code == 3


def test_an_entry_that_the_release_does_not_have_is_an_error(antscache: AntsCache, noted: Path) -> None:
    noted.write_text(noted.read_text("utf-8").replace("figshare:34821874", "figshare:1"), "utf-8")
    ran = antscache("prefetch", "--from-record", noted)
    assert (ran.code, "figshare:1" in ran.err) == (3, True)


def test_a_release_of_its_own_is_what_the_note_says_it_is(antscache: AntsCache, noted: Path, tmp_path: Path) -> None:
    noted.write_text(noted.read_text("utf-8").replace("==0.3.2", "==0.3.2+0123abcd"), "utf-8")
    ran = antscache("prefetch", "--from-record", noted, "--root", tmp_path / "other").succeeded()
    assert ran.out.strip().endswith("views/antspynet-0.3.2+0123abcd")


@pytest.mark.parametrize("more", [["--accept", "figshare:1"], ["0.3.2"], ["--name", BRAIN], ["--kind", "data"]])
def test_a_note_says_itself_what_is_meant(antscache: AntsCache, noted: Path, more: list[str]) -> None:
    assert antscache("prefetch", "--from-record", noted, *more).code == 2


@given(st.binary(max_size=200))
def test_no_note_however_damaged_is_more_than_an_error(content: bytes) -> None:
    try:
        read = read_usage_log(content, "it")
    except ManifestError as error:
        assert "it, line " in str(error)  # noqa: PT017  either is right
    else:
        assert read == {}


def test_sizes_are_those_of_the_files(noted: Path) -> None:
    (uses,) = read_usage_log(noted.read_bytes(), "it").values()
    assert [(use.name, use.size) for use in uses] == [(BRAIN, SIZE), (TEMPLATE, SIZE)]
