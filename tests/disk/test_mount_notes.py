"""A directory is missed when the disk that it was on is not mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, SIZE, AntsCache, cannot
from support.upstreams import make

from antscache.disk import find_lost_mount, note_mount
from antscache.testing import content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATE = ".local/state/antscache/mounts"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is mounted."""
    if sys.platform != "linux" or os.geteuid() != 0:
        cannot("only root on Linux can mount")
    point = tmp_path / "disk"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], capture_output=True, check=False).returncode:
        cannot("this container may not mount")
    yield point
    subprocess.run(["umount", "-l", point], capture_output=True, check=False)


@pytest.fixture
def lost(antscache: AntsCache, disk: Path) -> AntsCache:
    """antscache with a root that it wrote to, on a disk that is not mounted any more."""
    antscache.root = disk / "root"
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    subprocess.run(["umount", disk], check=True)
    return antscache


FETCH = ("hook", "fetch", "antspynet", "antspynet-0.3.2", "network", BRAIN)


@pytest.mark.parametrize(
    "command",
    [
        ("prefetch", "0.3.2", "--name", BRAIN),
        ("adopt", "files", "--as", "0.3.2"),
        ("verify",),
        ("verify", "--repair"),
        ("rm", "0.3.2"),
        ("gc",),
        ("gc", "--now"),
        ("init",),
        ("init", "--shared"),
        FETCH,
        (*FETCH, "--to", "place/mine.h5"),
    ],
    ids=" ".join,
)
def test_lost_root_is_not_made_anew(lost: AntsCache, disk: Path, command: tuple[str, ...]) -> None:
    """Nor does any command end as if there were nothing to do."""
    make(lost.home, "0.3.2")
    (lost.home / "files").mkdir()
    (lost.home / f"files/{BRAIN}.h5").write_bytes(content("34821874", f"{BRAIN}.h5", SIZE))
    ran = lost(*command)
    assert (ran.code, ran.out, list(disk.iterdir())) == (6, "", [])
    assert f"the one that you wrote to was on the disk at {disk}" in ran.err
    assert f"`antscache init --root {lost.root}`" in ran.err
    assert not (lost.home / "place").exists()


def test_the_doctor_misses_a_lost_root(lost: AntsCache, disk: Path) -> None:
    ran = lost("doctor", "--offline")
    assert f"the one that you wrote to was on the disk at {disk}" in ran.out
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["--shared"]])
def test_init_makes_a_new_root(lost: AntsCache, flags: list[str]) -> None:
    lost("init", *flags, "--root", lost.root).succeeded()
    lost("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    (lost.root / "antscache.json").unlink()
    lost("prefetch", "0.3.2", "--name", BRAIN).succeeded()


def test_deleted_root_is_made_again(antscache: AntsCache) -> None:
    """A cache may be deleted: its disk is still there."""
    for _ in range(2):
        antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
        antscache.root.rename(antscache.root.with_name(f"deleted-{os.urandom(4).hex()}"))


def test_reading_notes_nothing(antscache: AntsCache) -> None:
    antscache("status").succeeded()
    antscache("list", "0.3.2").succeeded()
    assert not (antscache.home / STATE).exists()


def test_unwritable_state_is_ignored(antscache: AntsCache) -> None:
    """There a file stands in its way."""
    antscache.environ["XDG_STATE_HOME"] = str(antscache.home / "state")
    (antscache.home / "state").touch()
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()


def test_note_of_bytes_without_text_is_read(tmp_path: Path, disk: Path) -> None:
    """Nobody else's note is believed to be longer than a path, or a text."""
    note_mount(tmp_path, disk / "root")
    (note,) = (tmp_path / "mounts").iterdir()
    assert find_lost_mount(tmp_path, disk / "root") is None
    note.write_bytes(b"/mnt/\xff" + bytes(10_000))
    assert str(find_lost_mount(tmp_path, disk / "root")).startswith("/mnt/")


def test_note_goes_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root on `/`, which is always mounted, has no note: not even where one was on another disk before."""
    for point, notes in (("/", 0), ("/mnt/disk", 1), ("/", 0)):
        monkeypatch.setattr("antscache.disk.mount_notes.mount_point", lambda _, point=point: point)
        note_mount(tmp_path, tmp_path / "root")
        assert len(list(tmp_path.glob("mounts/*"))) == notes
