"""The usage log of `run --record`, and what `prefetch --from-record` fetches by it."""

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
def usage_log(antscache: AntsCache, tmp_path: Path) -> Path:
    """A log of two entries of 0.3.2, one of them twice, whose bytes are in the store."""
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


def test_only_recorded_entries_are_fetched(antscache: AntsCache, usage_log: Path, tmp_path: Path) -> None:
    ran = antscache("prefetch", "--from-record", usage_log, "--root", tmp_path / "other").succeeded()
    view = Path(ran.out.strip()) / ".keras/ANTsXNet"
    assert {path.name for path in view.iterdir()} == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    record = json.loads((tmp_path / "other/identifiers/figshare/34821874.json").read_text("utf-8"))
    assert record["checks"] == ["digest", "walk"]


def test_other_bytes_than_recorded_ones_are_refused(
    antscache: AntsCache, figshare: StandIn, usage_log: Path, tmp_path: Path
) -> None:
    digest = json.loads(usage_log.read_text("utf-8").splitlines()[0])["digest"]
    usage_log.write_text(usage_log.read_text("utf-8").replace(digest, f"sha256:{'0' * 64}"), "utf-8")
    ran = antscache("prefetch", "--from-record", usage_log, "--root", tmp_path / "other")
    assert ran.code == 5
    assert "34821874" in ran.err
    assert not (tmp_path / "other/identifiers/figshare/34821874.json").exists()
    assert figshare.downloads("34821874") > 0
    ran = antscache("prefetch", "--from-record", usage_log)  # where they are recorded
    assert (ran.code, digest in ran.err) == (5, True)


def test_the_error_names_the_unreadable_line(antscache: AntsCache, usage_log: Path) -> None:
    with usage_log.open("a", encoding="utf-8") as file:
        file.write('{"release": "antspynet==0.3.2"}\n')
    ran = antscache("prefetch", "--from-record", usage_log)
    assert (ran.code, f"{usage_log}, line 4" in ran.err) == (3, True)
    assert antscache("prefetch", "--from-record", usage_log.with_name("none")).code == 3


def test_an_entry_of_another_release_is_refused(antscache: AntsCache, usage_log: Path) -> None:
    """A record whose entry the release does not have is an error that names the identifier."""
    usage_log.write_text(usage_log.read_text("utf-8").replace("figshare:34821874", "figshare:1"), "utf-8")
    ran = antscache("prefetch", "--from-record", usage_log)
    assert (ran.code, "figshare:1" in ran.err) == (3, True)


def test_a_local_version_gets_its_own_view(antscache: AntsCache, usage_log: Path, tmp_path: Path) -> None:
    """An unpublished release is fetched as the usage log describes it."""
    usage_log.write_text(usage_log.read_text("utf-8").replace("==0.3.2", "==0.3.2+0123abcd"), "utf-8")
    ran = antscache("prefetch", "--from-record", usage_log, "--root", tmp_path / "other").succeeded()
    assert ran.out.strip().endswith("views/antspynet-0.3.2+0123abcd")


@pytest.mark.parametrize("more", [["--accept", "figshare:1"], ["0.3.2"], ["--name", BRAIN], ["--kind", "data"]])
def test_from_record_excludes_other_selections(antscache: AntsCache, usage_log: Path, more: list[str]) -> None:
    """`--from-record` with a release, names, kinds or `--accept` is a usage error."""
    assert antscache("prefetch", "--from-record", usage_log, *more).code == 2


@given(st.binary(max_size=200))
def test_a_damaged_log_is_one_error(content: bytes) -> None:
    """Any bytes are either an empty log or a ManifestError that names the line."""
    try:
        read = read_usage_log(content, "it")
    except ManifestError as error:
        assert "it, line " in str(error)  # noqa: PT017  either is right
    else:
        assert read == {}


def test_recorded_sizes_are_those_of_the_files(usage_log: Path) -> None:
    (records,) = read_usage_log(usage_log.read_bytes(), "it").values()
    assert [(record.name, record.size) for record in records] == [(BRAIN, SIZE), (TEMPLATE, SIZE)]
