"""Forget: a record is taken back in one step, and nothing keeps its bytes under a release's name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, AntsCache, snapshot

from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.testing import StandIn

BRAIN_ID, LUNG_ID = "figshare:34821874", "figshare:41965818"
WRONG = b"another network's bytes"


def antsxnet(root: Path, version: str = "0.3.2") -> Path:
    return root / f"views/antspynet-{version}/.keras/ANTsXNet"


def record_path(root: Path, identifier: str) -> Path:
    return root / f"identifiers/figshare/{identifier.removeprefix('figshare:')}.json"


@pytest.fixture
def used(antscache: AntsCache) -> AntsCache:
    """antscache with two networks of one release, and one of them in use by another release."""
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", LUNG).succeeded()
    antscache("prefetch", "0.3.1", "--name", BRAIN).succeeded()
    return antscache


def test_forget_takes_record_and_names(used: AntsCache, figshare: StandIn) -> None:
    """The blob and the selections stay; the next prefetch fetches the file again."""
    blobs, downloads = snapshot(used.root / "blobs"), figshare.downloads("34821874")
    ran = used("forget", BRAIN_ID).succeeded()
    assert ran.out.startswith(f"{BRAIN_ID}, recorded as sha256:")
    assert ran.out.endswith("forgotten, 2 files in views\n")
    assert not record_path(used.root, BRAIN_ID).exists()
    assert [path.name for path in antsxnet(used.root).iterdir()] == [f"{LUNG}.h5"]
    assert list(antsxnet(used.root, "0.3.1").iterdir()) == []
    assert blobs.items() <= snapshot(used.root / "blobs").items()
    assert BRAIN not in (used.root / "index.json").read_text()
    ran = used("prefetch", "0.3.2", "--name", BRAIN, "--offline")
    assert (ran.code, f"missing and offline: {BRAIN}.h5" in ran.err) == (9, True)
    used("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert figshare.downloads("34821874") == downloads + 1
    assert (antsxnet(used.root) / f"{BRAIN}.h5").read_bytes() == figshare.content("34821874")


def test_a_forgotten_blob_is_garbage(used: AntsCache) -> None:
    digest = json.loads(record_path(used.root, BRAIN_ID).read_text())["digest"].removeprefix("sha256:")
    used("forget", BRAIN_ID).succeeded()
    used("gc", "--grace", "0").succeeded()
    assert not (used.root / "blobs/sha256" / digest).exists()


def test_a_dry_run_prints_and_changes_nothing(used: AntsCache) -> None:
    before = snapshot(used.root)
    ran = used("forget", BRAIN_ID.removeprefix("figshare:"), "-n").succeeded()
    assert [line.split() for line in ran.out.splitlines()[:-1]] == [
        ["remove", str(antsxnet(used.root, version) / f"{BRAIN}.h5")] for version in ("0.3.1", "0.3.2")
    ]
    assert ran.out.splitlines()[-1].endswith("would be forgotten, 2 files in views")
    assert snapshot(used.root) == before


def test_json_gives_the_record_and_the_names(used: AntsCache) -> None:
    forgotten = used("forget", BRAIN_ID, "--json").succeeded().json
    assert (forgotten["identifier"], forgotten["record"]["trust"], forgotten["kept"]) == (BRAIN_ID, "origin", [])
    assert len(forgotten["names"]) == 2


def test_users_own_files_are_kept(used: AntsCache) -> None:
    path = antsxnet(used.root) / f"{BRAIN}.h5"
    path.unlink()
    path.write_bytes(b"mine")
    used("forget", BRAIN_ID).succeeded()
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("command", ["forget", "prefetch"])
def test_an_interrupted_forget_goes_on(used: AntsCache, command: str) -> None:
    """Once the record is gone, the next forget or prefetch takes the names."""
    record_path(used.root, BRAIN_ID).unlink()
    rest = [BRAIN_ID] if command == "forget" else ["0.3.2", "--name", LUNG]
    used(command, *rest).succeeded()
    assert [path.name for path in antsxnet(used.root).iterdir()] == [f"{LUNG}.h5"]


def test_a_damaged_record_can_be_forgotten(used: AntsCache) -> None:
    path = record_path(used.root, BRAIN_ID)
    path.chmod(0o644)
    path.write_text("{")
    assert used("forget", BRAIN_ID).succeeded().out == f"{BRAIN_ID}: forgotten, 2 files in views\n"
    assert not path.exists()


def test_nothing_recorded_is_an_error(antscache: AntsCache) -> None:
    ran = antscache("forget", BRAIN_ID)
    assert (ran.code, f"nothing is recorded for {BRAIN_ID} in {antscache.root}" in ran.err) == (6, True)
    assert not antscache.root.exists()


def test_records_of_lower_caches_stay(used: AntsCache, tmp_path: Path) -> None:
    before = snapshot(used.root)
    ran = used("forget", BRAIN_ID, "--root", tmp_path / "upper", "--site-dir", used.root)
    assert (ran.code, f"recorded in the lower cache {used.root}" in ran.err) == (6, True)
    assert f"antscache --root {used.root} forget {BRAIN_ID}" in ran.err
    assert (snapshot(used.root), (tmp_path / "upper").exists()) == (before, False)


def test_forget_gets_rid_of_a_wrong_record(antscache: AntsCache, figshare: StandIn) -> None:
    """A record with a wrong digest does not blame the origin for ever."""
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    path = record_path(antscache.root, BRAIN_ID)
    right = json.loads(path.read_text())
    path.unlink()
    wrong = right["digest"][:-4] + ("0000" if right["digest"][-4:] != "0000" else "1111")
    path.write_text(json.dumps({**right, "digest": wrong, "source": "elsewhere", "trust": "mirror"}))
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN)
    assert ran.code == 5
    assert right["digest"] in ran.err
    assert f"{BRAIN_ID} as {wrong} (from elsewhere, mirror)" in ran.err
    assert "the record cannot be right, because the origin confirms other bytes by their MD5" in ran.err
    assert f"antscache forget {BRAIN_ID}" in ran.err
    antscache("forget", BRAIN_ID).succeeded()
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert json.loads(path.read_text())["digest"] == right["digest"]
    assert (antsxnet(antscache.root) / f"{BRAIN}.h5").read_bytes() == figshare.content("34821874")


@pytest.mark.parametrize(
    ("checks", "text"),
    [
        (["length", "md5"], "either the record or the origin is wrong: if you trust the origin, run `antscache forget"),
        (["length"], "the record cannot be right, because the origin confirms other bytes by their MD5: run `"),
    ],
)
def test_the_error_says_which_is_wrong(
    antscache: AntsCache, figshare: StandIn, tmp_path: Path, checks: list[str], text: str
) -> None:
    """A mirror that answers with other bytes than an origin has confirmed is wrong, and the origin is asked then."""
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    path = record_path(antscache.root, BRAIN_ID)
    record = json.loads(path.read_text())
    (antscache.root / "blobs/sha256" / record["digest"].removeprefix("sha256:")).unlink()
    (tmp_path / "34821874").write_bytes(bytes(reversed(figshare.content("34821874"))))
    mirror, gone = f"file://{tmp_path}/{{id}}", figshare.misbehaving_origins(Misbehaviour.MISSING)
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_MIRRORS=mirror, ANTSCACHE_ORIGINS=gone)
    assert ran.code == 5
    assert "the answer cannot be right, because the origin confirmed the recorded bytes by their MD5" in ran.err
    antscache("prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_MIRRORS=mirror).succeeded()
    path.unlink()
    path.write_text(json.dumps({**record, "digest": f"sha256:{'0' * 64}", "checks": checks}))
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN)
    assert (ran.code, text in ran.err) == (5, True)


@pytest.mark.parametrize("change", [{"trust": "sigstore"}, {"checks": ["digest", "signature"]}, {"more": [1]}])
def test_a_newer_antscaches_record_is_kept(antscache: AntsCache, figshare: StandIn, change: dict[str, object]) -> None:
    """Its bytes are used, and neither fetched again nor replaced."""
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    path, downloads = record_path(antscache.root, BRAIN_ID), figshare.downloads("34821874")
    record = json.loads(path.read_text())
    newer = json.dumps({**record, **change})
    path.unlink()
    path.write_text(newer)
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--offline").succeeded()
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert figshare.downloads("34821874") == downloads
    antscache("verify").succeeded()
    # Its file is lost: what comes again is compared with it, and it stays as it is.
    (antscache.root / "blobs/sha256" / record["digest"].removeprefix("sha256:")).unlink()
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert path.read_text() == newer
