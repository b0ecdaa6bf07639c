"""The version before identifiers could be URLs refuses a root that has some, says why, and leaves it as it is.

That version is taken out of git, and its command line runs with this environment's dependencies.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from support import HANG_SECONDS, REPOSITORY, AntsCache, Ran, cannot
from support.sources import DATA, NETWORKS, getter, tree

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., Ran]

COMMIT = "1a81871"  # the last version of layout 1
NUMBER = "101"  # at a server that is not Figshare
TEMPLATE_NUMBER = 22597175  # of S_template3
EARLIER_VERSION = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import antscache
from antscache.cli import main
assert antscache.__file__.startswith(sys.path[0]), antscache.__file__
main()
"""
COMMANDS = [
    "list",
    "list 0.3.2",
    "status",
    "releases",
    "path 0.3.2",
    "verify",
    "verify --repair",
    "gc --grace 0",
    "rm 0.3.2",
    "prefetch 0.3.2 --name S_template3",
    "prefetch 0.3.2 --offline",
]


@pytest.fixture(scope="module")
def earlier_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the earlier version."""
    place = tmp_path_factory.mktemp("earlier")
    done = subprocess.run(["git", "archive", COMMIT, "antscache"], cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode:
        cannot(f"{COMMIT} cannot be taken out of git: {done.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extraction_filter = lambda member, _: member
        files.extractall(place)  # noqa: S202  our own archive
    return place


@pytest.fixture
def earlier(earlier_tree: Path, antscache: AntsCache) -> Run:
    """The earlier version's command line, on the same root."""

    def run(*arguments: str | Path, **environ: str | Path) -> Ran:
        command = [sys.executable, "-c", EARLIER_VERSION, str(earlier_tree), *map(str, arguments)]
        done = subprocess.run(
            command,
            env=antscache.environment(**environ),
            cwd=antscache.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """The source of an antspynet with a file at Figshare and one elsewhere."""
    with StandIn({NUMBER: "net.h5"}, size=4_000) as server:
        more = {
            DATA: getter("get_antsxnet_data", ".nii.gz", {"S_template3": TEMPLATE_NUMBER}),
            NETWORKS: getter("get_pretrained_network", ".h5", {"net": f"{server.url}/files/{NUMBER}"}),
        }
        yield tree(tmp_path / "source", "0.9.9", more)


def listing(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return each path below `root`, with mode, size and time of change."""
    paths = (path for path in [root, *root.rglob("*")])
    return {str(path): (s.st_mode, s.st_size, s.st_mtime_ns) for path in paths for s in [path.lstat()]}


def test_earlier_version_refuses_a_root_with_urls(antscache: AntsCache, earlier: Run, source: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", "S_template3").succeeded()
    earlier("prefetch", "0.3.2", "--name", "S_template3", "--offline").succeeded()
    antscache("prefetch", "--from", source).succeeded()
    before = listing(antscache.root)
    for command in COMMANDS:
        ran = earlier(*command.split())
        assert ran.code == 6, command
        assert "has layout 2, and this antscache knows layouts up to 1" in ran.err
        assert "hint: update antscache (`pip install -U antscache`)" in ran.err
    assert listing(antscache.root) == before
    antscache("verify").succeeded()


def test_earlier_version_goes_on_without_urls(antscache: AntsCache, earlier: Run, source: Path) -> None:
    """Both versions use one root as long as it has no URLs, although a manifest with URLs is kept in it."""
    antscache("prefetch", "--from", source, "--name", "S_template3").succeeded()
    earlier("verify").succeeded()
    earlier("prefetch", "0.3.2", "--name", "S_template3", "--offline").succeeded()
    earlier("gc", "--grace", "0").succeeded()
    antscache("prefetch", "--from", source, "--name", "S_template3", "--offline").succeeded()


def test_earlier_version_passes_over_such_lower_caches(antscache: AntsCache, earlier: Run, source: Path) -> None:
    lower = antscache.root.with_name("lower")
    antscache("prefetch", "--from", source, "--root", lower).succeeded()
    before = listing(lower)
    ran = earlier("prefetch", "0.3.2", "--name", "S_template3", ANTSCACHE_SITE_DIRS=lower).succeeded()
    assert f"the lower cache {lower} is not used: the root {lower} has layout 2" in ran.err
    assert listing(lower) == before


def test_manifests_of_the_earlier_version_keep_their_release(antscache: AntsCache, earlier: Run, source: Path) -> None:
    """The earlier version called the file elsewhere unavailable; the installation stays the release that it was."""
    home = earlier("prefetch", "--from", source).succeeded().out
    assert "1 unavailable" in earlier("prefetch", "--from", source).err
    ran = antscache("prefetch", "--from", source).succeeded()
    assert ran.out == home
    assert "2 files present, 1 fetched" in ran.err
