"""A root after years of use: how the work of commands grows with what is in it, and a fault nowhere in a large one.

Work is counted in calls of functions, which depend on no machine's speed.
"""

from __future__ import annotations

import pstats
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.years import make_root

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

FEW_RELEASES, MANY_RELEASES, FILES_PER_RELEASE = 2, 12, 20
BLOBS_ADDED = (MANY_RELEASES - FEW_RELEASES) * FILES_PER_RELEASE
RELEASE = "antspynet==9.1"  # one that both roots have
CALLS_PER_RELEASE = 100  # of another release: its ref is read
# A fifth more than is made; a blob brings a twentieth of a release with it.
CALLS_PER_BLOB = {"status": 360, "list": 130, "gc -n": 170}
RECORDS_OPENED_PER_BLOB = {"status": 2, "list": 1, "gc -n": 1}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A root with few releases in use, and one with many more of the same size."""
    few, many = (tmp_path_factory.mktemp("years") / name for name in ("few", "many"))
    make_root(few, 2_000, FEW_RELEASES, FILES_PER_RELEASE)
    make_root(many, 2_000, MANY_RELEASES, FILES_PER_RELEASE)
    return few, many


def count_calls(antscache: AntsCache, root: Path, command: str, function: str = "") -> int:
    """Count the calls of a function in a command, or of all functions."""
    out = antscache.home / "calls"
    subprocess.run(
        [sys.executable, "-m", "cProfile", "-o", str(out), "-m", "antscache", *command.split()],
        env=antscache.environment(ANTSCACHE_DIR=root),
        cwd=antscache.home,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    stats: dict[tuple[str, int, str], tuple[int, ...]] = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    return sum(calls for (_, _, name), (_, calls, *_) in stats.items() if function in name)


@pytest.mark.parametrize("command", [f"path {RELEASE}", f"list {RELEASE}", f"prefetch {RELEASE} --offline"])
def test_other_releases_cost_next_to_nothing(antscache: AntsCache, roots: tuple[Path, Path], command: str) -> None:
    few, many = (count_calls(antscache, root, command) for root in roots)
    assert many - few < (MANY_RELEASES - FEW_RELEASES) * CALLS_PER_RELEASE


@pytest.mark.parametrize("command", CALLS_PER_BLOB)
def test_whole_root_costs_few_calls_per_blob(antscache: AntsCache, roots: tuple[Path, Path], command: str) -> None:
    few, many = (count_calls(antscache, root, command) for root in roots)
    assert many - few < BLOBS_ADDED * CALLS_PER_BLOB[command]


@pytest.mark.parametrize("command", RECORDS_OPENED_PER_BLOB)
def test_whole_root_opens_each_record_once(antscache: AntsCache, roots: tuple[Path, Path], command: str) -> None:
    few, many = (count_calls(antscache, root, command, "posix.open>") for root in roots)
    releases = MANY_RELEASES - FEW_RELEASES  # of each, a ref, and its manifest in one of two places
    assert many - few <= BLOBS_ADDED * RECORDS_OPENED_PER_BLOB[command] + 4 * releases


@pytest.mark.slow
def test_verify_finds_no_fault_in_large_root(antscache: AntsCache, tmp_path: Path) -> None:
    large = tmp_path / "large"
    make_root(large, 20_000)
    ran = antscache("verify", ANTSCACHE_DIR=large).succeeded()
    assert "blobs read" in ran.err
    assert len(list((large / "blobs/sha256").iterdir())) > 10_000
