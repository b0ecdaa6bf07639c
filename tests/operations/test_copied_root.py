"""A copied root: what has become a copy of its blob is said, and linked again."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, SIZE, AntsCache, cannot, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.testing import StandIn

RELEASES = "0.2.9", "0.3.2"
NAMES = ["--name", BRAIN, "--name", LUNG]  # the same bytes in both releases
FILES = {f"{BRAIN}.h5": "34821874", f"{LUNG}.h5": "41965818"}


def view(root: Path, release: str) -> Path:
    return root / f"views/antspynet-{release}/.keras/ANTsXNet"


def names(root: Path) -> list[Path]:
    return [view(root, release) / file for release in RELEASES for file in FILES]


def inodes(root: Path) -> set[int]:
    """Return the inodes of all files with the bytes of data: those of blobs and of names in views."""
    paths = [*names(root), *(root / "blobs/sha256").iterdir()]
    return {path.stat().st_ino for path in paths if path.stat().st_size == SIZE}


@pytest.fixture
def filled(antscache: AntsCache) -> AntsCache:
    """Return antscache with a root whose views are hard links."""
    fill(antscache)
    if len(inodes(antscache.root)) != len(FILES):
        cannot("views are clones here")
    return antscache


def views_of(antscache: AntsCache) -> dict[str, int]:
    facts: dict[str, int] = antscache("status", "--json").succeeded().json["views"]
    return facts


def fill(antscache: AntsCache) -> None:
    for release in RELEASES:
        antscache("prefetch", release, *NAMES).succeeded()


def copy(root: Path, to: Path, *options: str) -> None:
    subprocess.run(["cp", *options, root, to], check=True)


def assert_right(root: Path, figshare: StandIn) -> None:
    for path in names(root):
        assert path.read_bytes() == figshare.content(FILES[path.name])
    for place in (root / "ingest", *(view(root, release) for release in RELEASES)):
        assert {path.name for path in place.iterdir()} <= FILES.keys()


@pytest.fixture
def copied(filled: AntsCache, tmp_path: Path) -> AntsCache:
    """Return antscache with a root that was copied without its hard links, as by `rsync -a`: each file three times."""
    copy(filled.root, tmp_path / "copied", "-rp")
    assert len(inodes(tmp_path / "copied")) == 3 * len(FILES)
    return AntsCache(tmp_path / "copied", filled.home, filled.origins)


@pytest.mark.hard_links
def test_status_tells_what_a_copy_takes(copied: AntsCache) -> None:
    assert views_of(copied) == {"names": 4, "copies": 4, "copied": 4 * SIZE, "clones": 0}
    assert "4 of them copies of blobs (16.0 kB)" in copied("status").succeeded().out


@pytest.mark.hard_links
def test_doctor_warns_of_copies(copied: AntsCache) -> None:
    findings = {finding["check"]: finding for finding in copied("doctor", "--json").json}
    assert (findings["views"]["level"], findings["views"]["remedy"]) == ("warning", "antscache verify --repair")
    assert "4 files in views are copies of blobs" in findings["views"]["what"]


@pytest.mark.hard_links
def test_the_next_prefetch_links_copies_again(copied: AntsCache, figshare: StandIn) -> None:
    """It fetches nothing, and a second one changes nothing."""
    for release in RELEASES:
        ran = copied("prefetch", release, *NAMES, "--offline").succeeded()
        assert "2 files in the view were copies of their blobs, and are links again" in ran.err
    assert len(inodes(copied.root)) == len(FILES)
    assert_right(copied.root, figshare)
    assert views_of(copied)["copies"] == 0
    before = {path: path.stat().st_ctime_ns for path in copied.root.rglob("*")}
    assert "links again" not in copied("prefetch", "0.3.2", *NAMES, "--offline").succeeded().err
    assert {path: path.stat().st_ctime_ns for path in copied.root.rglob("*")} == before


@pytest.mark.hard_links
def test_repair_links_copies_again(copied: AntsCache, figshare: StandIn) -> None:
    assert "linked to their blobs again: 4 files in views" in copied("verify", "--repair", "--offline").succeeded().err
    assert len(inodes(copied.root)) == len(FILES)
    assert_right(copied.root, figshare)
    assert "linked to" not in copied("verify", "--repair", "--offline").succeeded().err


@pytest.mark.hard_links
def test_a_whole_copy_mends_its_damaged_blob(copied: AntsCache, figshare: StandIn) -> None:
    """Repair takes the bytes from the view before it links."""
    blob = next(path for path in (copied.root / "blobs/sha256").iterdir() if path.stat().st_size == SIZE)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * SIZE)
    copied("verify", "--repair", "--offline").succeeded()
    assert len(inodes(copied.root)) == len(FILES)
    assert_right(copied.root, figshare)


@pytest.mark.hard_links
def test_copies_that_cannot_be_replaced_stay(copied: AntsCache, figshare: StandIn) -> None:
    """A root that you may only read is used as it is."""
    if os.geteuid() != 0:
        cannot("only root can make a directory that its owner cannot change")
    directories = [view(copied.root, release) for release in RELEASES]
    try:
        for directory in directories:
            if subprocess.run(["chattr", "+i", directory], check=False, capture_output=True).returncode:
                cannot("this filesystem has no immutable directories")
        copied("prefetch", "0.3.2", *NAMES, "--offline").succeeded()
        copied("verify", "--repair", "--offline").succeeded()
        assert views_of(copied)["copies"] == 4
    finally:
        for directory in directories:
            subprocess.run(["chattr", "-i", directory], check=False, capture_output=True)
    assert_right(copied.root, figshare)


@pytest.mark.hard_links
def test_a_copy_with_hard_links_stays_small(filled: AntsCache, tmp_path: Path) -> None:
    """As docs/upkeep.md says how to copy a root."""
    copy(filled.root, tmp_path / "one", "-a")
    (tmp_path / "two").mkdir()
    archive = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", filled.root, "-cf", archive, "."], check=True)
    subprocess.run(["tar", "-C", tmp_path / "two", "-xf", archive], check=True)
    for copied in "one", "two":
        assert len(inodes(tmp_path / copied)) == len(FILES)
        there = AntsCache(tmp_path / copied, filled.home, filled.origins)
        assert views_of(there) == {"names": 4, "copies": 0, "copied": 0, "clones": 0}
        there("verify").succeeded()


def test_a_root_without_views_gets_them_again(antscache: AntsCache, tmp_path: Path, figshare: StandIn) -> None:
    """As docs/upkeep.md says how to copy a root to any filesystem."""
    fill(antscache)
    copy(antscache.root, tmp_path / "copied", "-rp")
    shutil.rmtree(tmp_path / "copied/views")
    there = AntsCache(tmp_path / "copied", antscache.home, antscache.origins)
    there("verify", "--repair", "--offline").succeeded()
    assert_right(there.root, figshare)
    there("verify").succeeded()


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem with reflinks."""
    image, where = tmp_path / "image", tmp_path / "mounted"
    where.mkdir()
    with image.open("wb") as file:
        file.truncate(200 << 20)
    subprocess.run([require("mkfs.btrfs"), "-q", image], check=True, capture_output=True)
    if os.geteuid() or subprocess.run(["mount", "-o", "loop", image, where], check=False).returncode:
        cannot("no filesystem can be mounted here")
    yield where
    subprocess.run(["umount", where], check=True)


def test_clones_are_not_called_copies(antscache: AntsCache, btrfs: Path, figshare: StandIn) -> None:
    """Nobody can tell them from copies, so that prefetch leaves them, and only a repair makes them again."""
    there = AntsCache(btrfs / "root", antscache.home, antscache.origins)
    fill(there)
    before = {path: path.stat().st_ino for path in names(there.root)}
    there("prefetch", "0.3.2", *NAMES, "--offline").succeeded()
    assert {path: path.stat().st_ino for path in names(there.root)} == before
    assert views_of(there) == {"names": 4, "copies": 0, "copied": 0, "clones": 4}
    assert "4 of them clones" in there("status").succeeded().out
    copy(there.root, btrfs / "copied", "-rp", "--reflink=never")
    copied = AntsCache(btrfs / "copied", antscache.home, antscache.origins)
    assert "4 files in views" in copied("verify", "--repair", "--offline").succeeded().err
    assert_right(copied.root, figshare)
