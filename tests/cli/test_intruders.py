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
COMMANDS = (
    "list",
    "list 0.3.2",
    "releases",
    "status",
    f"show {BRAIN}",
    "path 0.3.2",
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
        pattern = PLACES[place]
        for path in list(antscache.root.glob(pattern)) or [antscache.root / pattern]:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            INTRUDERS[intruder](path)
        ran = run_within(shlex.split(command), environ, antscache.home)
        assert ran.code in EXIT_CODES, (command, ran.err)
        assert "internal error" not in ran.err, (command, ran.err)
