"""A command that is killed, or loses its power, at any step leaves a box that the same command completes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import REPOSITORY, Ran, cannot

from faults.__main__ import IMPOSSIBLE_EXIT_CODE
from faults.disk import Directory, Disk, File, Operation, Tree, shape
from faults.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Sequence


def faults(*arguments: str) -> Ran:
    """Run the harness as a program of its own: it forks, and must have no threads."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}  # forks are killed
    done = subprocess.run(
        [sys.executable, "-m", "faults", *arguments],
        env={**environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == IMPOSSIBLE_EXIT_CODE:
        cannot(done.stderr)
    return Ran(done.returncode, done.stdout, done.stderr)


# Real commands

SHORT_SCENES = {"prefetch into a view with a wrong name"}  # they change the disk a few times


def test_interrupted_prefetch_is_completed_by_the_next() -> None:
    """Killed or without power at any step, it leaves nothing that is not as it must be."""
    faults("--quick", "--every", "9", "--", "prefetch").succeeded()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [scene.name for scene in SCENES if scene.quick])
def test_interrupted_command_is_completed_by_the_next(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed or without power at any step, it leaves nothing that is not as it must be."""
    ran = faults("--quick", "--", scene)
    with capsys.disabled():
        sys.stdout.write(f"\n{ran.err.strip()}\n")
    ran.succeeded()


@pytest.mark.parametrize(
    ("plant", "scene", "finding"),
    [
        ("no-sync-of-blobs", "adopt", "has other bytes"),
        pytest.param("no-sync-of-directories", "prefetch", "is not durable", marks=pytest.mark.slow),
        ("no-sync-of-directories", "prefetch of a URL", "has a URL, and the root has layout 1"),
        ("no-sync-of-replaced-files", "adopt of what was adopted offline", "the word of an origin"),
        ("names-replaced-in-two-steps", "prefetch into a view with a wrong name", "is not there"),
        pytest.param("written-in-place", "prefetch", "cannot be read", marks=pytest.mark.slow),
        pytest.param("record-first", "prefetch", "was never durable", marks=pytest.mark.slow),
        pytest.param("moved-too-early", "adopt --move", "are lost", marks=pytest.mark.slow),
        pytest.param("nothing-reached", "gc", "not there", marks=pytest.mark.slow),
    ],
)
def test_harness_finds_planted_defects(plant: str, scene: str, finding: str) -> None:
    every = "1" if scene in SHORT_SCENES else "5"
    ran = faults("--quick", "--every", every, "--plant", plant, "--", scene)
    assert ran.code == 1
    assert finding in ran.err


# The simulated disk

START: Tree = {"d": Directory(0o755), "d/a": File(b"old", 0o644, 1), "e": Directory(0o755)}
INODES = {"": 10, "d": 11, "d/a": 12, "e": 13}
WRITTEN = [Operation("create", "d/b", inode=14, mode=0o644), Operation("write", "d/b", inode=14, content=b"content")]
SYNCED_FILE = Operation("sync", "d/b", inode=14)
SYNCED_DIRECTORY = Operation("sync", "d", inode=11)


def cuts(*operations: Operation) -> list[dict[str, object]]:
    """Return the contents that a power cut behind `operations` may leave: each by path."""
    disk = after(operations)
    return [contents(tree) for tree in disk.after_power_cut(200, seed=1)]


def after(operations: Sequence[Operation]) -> Disk:
    disk = Disk(START, INODES)
    for operation in operations:
        disk.apply(operation)
    return disk


def contents(tree: Tree) -> dict[str, object]:
    return {path: each.content for path, each in tree.items() if isinstance(each, File)}


def test_unsynced_file_may_be_lost_or_damaged() -> None:
    """It may be complete, missing, empty, of zeros or cut."""
    assert {left.get("d/b") for left in cuts(*WRITTEN)} == {None, b"", b"\0" * 7, b"con", b"content"}


def test_synced_file_keeps_its_bytes() -> None:
    """Under each name that is left."""
    assert {left.get("d/b") for left in cuts(*WRITTEN, SYNCED_FILE)} == {None, b"content"}


def test_a_name_stays_once_its_directory_was_synced() -> None:
    assert {left.get("d/b") for left in cuts(*WRITTEN, SYNCED_FILE, SYNCED_DIRECTORY)} == {b"content"}


def test_moved_file_may_have_any_names() -> None:
    """It may be in one place, in both or in none."""
    left = {("d/a" in each, "e/a" in each) for each in cuts(Operation("rename", "d/a", "e/a"))}
    assert left == {(True, False), (False, True), (True, True), (False, False)}


def test_replaced_file_is_the_old_or_new() -> None:
    replaced = [*WRITTEN, SYNCED_FILE, Operation("rename", "d/b", "d/a")]
    assert {left.get("d/a") for left in cuts(*replaced)} == {b"old", b"content"}


operations = st.lists(
    st.sampled_from(
        [
            Operation("write", "d/a", inode=12, at=1, content=b"new"),
            Operation("truncate", "d/a", inode=12, at=2),
            Operation("sync", "d/a", inode=12),
            Operation("sync", "d", inode=11),
            Operation("sync", "e", inode=13),
            Operation("chmod", "d/a", mode=0o444),
        ]
    ),
    max_size=12,
)


@given(done=operations, seed=st.integers(0, 1000))
def test_power_cut_keeps_all_synced_files(done: list[Operation], seed: int) -> None:
    everything = [Operation("sync", path, inode=inode) for path, inode in INODES.items()]
    disk = after([*done, *everything])
    assert {str(shape(tree)) for tree in disk.after_power_cut(20, seed)} == {str(shape(disk.tree()))}
    assert shape(disk.durable()) == shape(disk.tree())
