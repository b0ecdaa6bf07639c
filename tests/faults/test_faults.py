"""Killed anywhere, or cut off from its power anywhere, a command leaves what the same command makes whole again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import REPOSITORY, Ran, cannot

from faults.__main__ import IMPOSSIBLE
from faults.disk import Directory, Disk, File, Operation, Tree, shape
from faults.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Sequence


def faults(*arguments: str) -> Ran:
    """The harness, as a program of its own: it forks, and must have no threads."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}  # its forks just end
    done = subprocess.run(
        [sys.executable, "-m", "faults", *arguments],
        env={**environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == IMPOSSIBLE:
        cannot(done.stderr)
    return Ran(done.returncode, done.stdout, done.stderr)


# Real commands


def test_a_prefetch_that_ends_anywhere_leaves_no_lie_and_the_next_one_mends_it() -> None:
    faults("--quick", "--every", "9", "--", "prefetch").succeeded()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [scene.name for scene in SCENES if scene.quick])
def test_a_command_that_ends_anywhere_leaves_no_lie_and_the_next_one_mends_it(
    scene: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = faults("--quick", "--", scene)
    with capsys.disabled():
        sys.stdout.write(f"\n{ran.err.strip()}\n")
    ran.succeeded()


@pytest.mark.parametrize(
    ("plant", "scene", "finding"),
    [
        ("no-sync-of-blobs", "adopt", "has other bytes"),
        pytest.param("no-sync-of-directories", "prefetch", "is not durable", marks=pytest.mark.slow),
        pytest.param("written-in-place", "prefetch", "cannot be read", marks=pytest.mark.slow),
        pytest.param("record-first", "prefetch", "never was durable", marks=pytest.mark.slow),
        pytest.param("moved-too-early", "adopt --move", "are lost", marks=pytest.mark.slow),
        pytest.param("nothing-reached", "gc", "not there", marks=pytest.mark.slow),
    ],
)
def test_the_harness_finds_a_defect_that_is_planted(plant: str, scene: str, finding: str) -> None:
    ran = faults("--quick", "--every", "5", "--plant", plant, "--", scene)
    assert ran.code == 1
    assert finding in ran.err


# The simulated disk

START: Tree = {"d": Directory(0o755), "d/a": File(b"old", 0o644, 1), "e": Directory(0o755)}
INODES = {"": 10, "d": 11, "d/a": 12, "e": 13}
WRITTEN = [Operation("create", "d/b", inode=14, mode=0o644), Operation("write", "d/b", inode=14, content=b"content")]
SYNCED_FILE = Operation("sync", "d/b", inode=14)
SYNCED_DIRECTORY = Operation("sync", "d", inode=11)


def cuts(*operations: Operation) -> list[dict[str, object]]:
    """What may be left by a power cut behind `operations`: content by path."""
    disk = after(operations)
    return [contents(tree) for tree in disk.after_power_cut(200, seed=1)]


def after(operations: Sequence[Operation]) -> Disk:
    disk = Disk(START, INODES)
    for operation in operations:
        disk.apply(operation)
    return disk


def contents(tree: Tree) -> dict[str, object]:
    return {path: each.content for path, each in tree.items() if isinstance(each, File)}


def test_what_was_not_synced_may_be_there_be_gone_be_empty_be_zeros_or_be_cut() -> None:
    assert {left.get("d/b") for left in cuts(*WRITTEN)} == {None, b"", b"\0" * 7, b"con", b"content"}


def test_a_synced_file_has_its_bytes_under_whatever_names_are_left() -> None:
    assert {left.get("d/b") for left in cuts(*WRITTEN, SYNCED_FILE)} == {None, b"content"}


def test_a_name_stays_once_its_directory_was_synced() -> None:
    assert {left.get("d/b") for left in cuts(*WRITTEN, SYNCED_FILE, SYNCED_DIRECTORY)} == {b"content"}


def test_a_file_that_is_moved_may_be_left_in_one_place_in_both_or_in_none() -> None:
    left = {("d/a" in each, "e/a" in each) for each in cuts(Operation("rename", "d/a", "e/a"))}
    assert left == {(True, False), (False, True), (True, True), (False, False)}


def test_what_replaces_a_file_leaves_the_old_or_the_new_one() -> None:
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
def test_a_power_cut_never_takes_away_what_was_synced(done: list[Operation], seed: int) -> None:
    everything = [Operation("sync", path, inode=inode) for path, inode in INODES.items()]
    disk = after([*done, *everything])
    assert {str(shape(tree)) for tree in disk.after_power_cut(20, seed)} == {str(shape(disk.tree()))}
    assert shape(disk.durable()) == shape(disk.tree())
