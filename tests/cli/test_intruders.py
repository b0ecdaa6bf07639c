"""Things below a root that antscache has not put there: no command waits for them, reads them for ever, or breaks."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, AntsCache
from support.within import EXIT_CODES, run_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Ran

    from antscache.testing import StandIn

NUMBER = "34821874"
PLACES = {
    "description": "antscache.json",
    "index": "index.json",
    "layout": "oci-layout",
    "record": f"identifiers/figshare/{NUMBER}.json",
    "selection": "refs/antspynet/0.3.2/*.json",
    "manifest": "catalog/antspynet-9.9.json",
    "blob": "blobs/sha256/*",
    "name": f"views/antspynet-0.3.2/.keras/ANTsXNet/{BRAIN}.h5",
    "notes": "ingest/0123456789abcdef.notes",
    "condemned": "trash/0123456789abcdef",
    "lock": "locks/*",
    "package": "refs/antspynet",
    "records": "identifiers",
    "view": "views/antspynet-0.3.2",
}
HUGE_BYTES = 100 << 20  # more than is read of any small file


def _make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, HUGE_BYTES)


INTRUDERS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "huge": _make_huge,
    "empty": Path.touch,
    "noise": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "directory": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
}
HARMFUL = ("pipe", "endless", "huge", "deep", "directory", "loop")
COMMANDS = (
    "list",
    "list 0.3.2",
    "releases",
    "status",
    f"show {BRAIN}",
    "path 0.3.2",
    "cite 0.3.2",
    "verify",
    "gc -n",
    "rm -n 0.3.2",
    f"prefetch 0.3.2 --name {BRAIN} --offline",
    "link 0.3.2",
    "container-args docker",
    f"export --name {BRAIN} 0.3.2 out",
    f"forget figshare:{NUMBER}",
    "init",
)
# Of a lower cache nobody reads the index, the views, or what is for writers.
READ_BELOW = ("description", "record", "selection", "manifest", "blob", "package")
PLACES_BELOW = {place: f"lower/{PLACES[place]}" for place in READ_BELOW} | {
    "root": "lower",
    "records": "lower/identifiers/figshare",
    "refs": "lower/refs",
    "blobs": "lower/blobs/sha256",
    "manifests": "lower/catalog",
}
UNHARMED = ("list", "list 0.3.2", "releases", "status", f"show {BRAIN}", "gc -n")  # they need none of its files
COMMANDS_ABOVE = (
    *UNHARMED,
    "path 0.3.2",
    "cite 0.3.2",
    "verify",
    "link 0.3.2 --home one",
    f"export --name {BRAIN} 0.3.2 exported-from-below",
    f"prefetch 0.3.2 --name {BRAIN} --offline",
    "verify --repair --offline",
    *UNHARMED,
    "rm -n 0.3.2",
    "link 0.3.2 --home two",
    f"export --name {BRAIN} 0.3.2 exported",
    "container-args docker",
    f"forget -n figshare:{NUMBER}",
    "adopt -n one --as 0.3.2 --offline",
)


@pytest.fixture(scope="module")
def prefetched(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> Path:
    """A root with one file."""
    base = tmp_path_factory.mktemp("prefetched")
    antscache = AntsCache(base / "root", base, _figshare.origins)
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    return antscache.root


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("intruder", INTRUDERS)
def test_intruder_stops_no_command(antscache: AntsCache, prefetched: Path, intruder: str, place: str) -> None:
    """Each command ends with a documented code, and no internal error."""
    environ = antscache.environment()
    for command in COMMANDS:
        shutil.rmtree(antscache.root, ignore_errors=True)
        shutil.copytree(prefetched, antscache.root, symlinks=True)
        put_in_place(antscache.root, PLACES[place], INTRUDERS[intruder])
        run_soundly(command, environ, antscache.home)


@pytest.mark.parametrize("place", PLACES_BELOW)
@pytest.mark.parametrize("intruder", HARMFUL)
def test_intruder_below_stops_no_command(antscache: AntsCache, prefetched: Path, intruder: str, place: str) -> None:
    """The same in a lower cache, which stays as it is; and what does not need its files succeeds."""
    lower = antscache.root.with_name("lower")
    environ = antscache.environment(ANTSCACHE_SITE_DIRS=lower)
    shutil.copytree(prefetched, lower, symlinks=True)
    put_in_place(lower.parent, PLACES_BELOW[place], INTRUDERS[intruder])
    before = state_of(lower)
    for command in COMMANDS_ABOVE:
        ran = run_soundly(command, environ, antscache.home)
        assert ran.code == 0 or command not in UNHARMED, (command, ran.err)
    assert state_of(lower) == before


@pytest.mark.parametrize("intruder", HARMFUL)
def test_intruders_below_stop_no_check(antscache: AntsCache, prefetched: Path, intruder: str) -> None:
    """The doctor examines a lower cache for each of the places."""
    lowers = [antscache.root.with_name(f"below-{number}") / "lower" for number, _ in enumerate(PLACES_BELOW)]
    for lower, pattern in zip(lowers, PLACES_BELOW.values(), strict=True):
        shutil.copytree(prefetched, lower, symlinks=True)
        put_in_place(lower.parent, pattern, INTRUDERS[intruder])
    environ = antscache.environment(ANTSCACHE_SITE_DIRS=os.pathsep.join(map(str, lowers)))
    ran = run_soundly("doctor --offline", environ, antscache.home)
    assert "this check" not in ran.out  # did not end, or stopped
    assert all(str(lower) in ran.out for lower in lowers)


def put_in_place(directory: Path, pattern: str, make: Callable[[Path], object]) -> None:
    """Make an intruder in the place of each path in `directory` that matches `pattern`, or else at that path."""
    for path in list(directory.glob(pattern)) or [directory / pattern]:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        make(path)


def run_soundly(command: str, environ: dict[str, str], home: Path) -> Ran:
    """Run `command`, and check that it has ended as documented."""
    ran = run_within(shlex.split(command), environ, home)
    assert ran.code in EXIT_CODES, (command, ran.err)
    assert "internal error" not in ran.err, (command, ran.err)
    return ran


def state_of(root: Path) -> dict[Path, tuple[int, int, int]]:
    """Return the number, the time of the last write and the mode of all paths below `root`."""
    states = {path: path.lstat() for path in (root, *root.rglob("*"))}
    return {path: (state.st_ino, state.st_mtime_ns, state.st_mode) for path, state in states.items()}
