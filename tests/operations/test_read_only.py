"""A complete root on a read-only mount: reading commands work as on a writable one; writing commands say why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import (
    BRAIN,
    HANG_SECONDS,
    LUNG,
    TEMPLATE,
    TRANSFORM,
    AntsCache,
    Ran,
    cannot,
    mirror_of_pcasl,
    require,
    upstreams,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from antscache.testing import StandIn

    Run = Callable[..., Ran]

MOUNT_SCRIPT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
READING_COMMANDS = [
    "path 0.3.2",
    "path --root",
    "list",
    "list 0.3.2",
    "list --json",
    "status",
    "releases",
    f"show {BRAIN}",
    "diff 0.2.9 0.3.2",
    "verify",
    "verify 0.3.2 --deep",
    "verify --sums",
    "verify --repair",
    "gc -n",
    "gc -n --grace 0",
    "rm -n 0.3.2",
    "prefetch antspyx==0.6.3",
    "prefetch antspyx==0.6.3 --json",
    f"prefetch 0.3.2 --name {BRAIN} --name {LUNG} --name {TEMPLATE} --offline",
    "prefetch -n 0.3.2",
    "prefetch -n antspyx==0.6.3",
    "adopt -n FILES --as 0.3.2",
    "init",
    "run 0.3.2 -- true",
    f"hook status --python {sys.executable}",
    "hook entries antspynet SOURCE/antspynet-0.3.2",
]
WRITING_COMMANDS = [f"prefetch 0.3.2 --name {TRANSFORM}", "rm 0.3.2", "gc --grace 0", "adopt FILES --as 0.2.9"]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> AntsCache:
    """Return antscache with a root that has some of two releases, all of a third, and garbage of a fourth."""
    home = tmp_path_factory.mktemp("home")
    antscache = AntsCache(tmp_path_factory.mktemp("held") / "root", home, _figshare.origins)
    antscache("prefetch", "antspyx==0.6.3", ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", LUNG, "--name", TEMPLATE).succeeded()
    antscache("prefetch", "0.2.9", "--name", BRAIN).succeeded()
    antscache("prefetch", "0.3.0", "--name", TRANSFORM).succeeded()
    antscache("rm", "0.3.0").succeeded()
    upstreams.make(home / "SOURCE", "0.3.2")
    (home / "FILES").mkdir()
    (home / "FILES" / f"{LUNG}.h5").write_bytes(_figshare.content("41965818"))
    return antscache


@pytest.fixture(scope="module")
def read_only(held: AntsCache) -> Run:
    """Return antscache as a process that has the root mounted read-only, even for the user root."""
    apart = [require("unshare"), "-m" if os.geteuid() == 0 else "-rm", "sh", "-ec"]
    probe = f'{MOUNT_SCRIPT}; ! touch "$0/file"'
    if subprocess.run([*apart, probe, held.root], check=False, capture_output=True).returncode:
        cannot("no read-only mount can be made here")

    def run(*words: str | Path) -> Ran:
        done = subprocess.run(
            [*apart, f'{MOUNT_SCRIPT}; exec "$@"', held.root, *held.command(*words)],
            env=held.environment(),
            cwd=held.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def listing(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return every name below `root` with its mode, size and mtime."""
    statuses = {str(path): path.lstat() for path in [root, *root.rglob("*")]}
    return {path: (status.st_mode, status.st_size, status.st_mtime_ns) for path, status in statuses.items()}


def printed(ran: Ran) -> str:
    """Return the output without the free space, which a read-only filesystem does not have."""
    return re.sub(r", [0-9.]+ .?B free", "", ran.out)


@pytest.mark.parametrize("words", READING_COMMANDS)
def test_reading_commands_work_on_a_read_only_root(held: AntsCache, read_only: Run, words: str) -> None:
    """They print the same as on a writable root, and write to neither."""
    before = listing(held.root)
    there, here = held(*words.split()).succeeded(), read_only(*words.split()).succeeded()
    assert printed(here) == printed(there)
    assert listing(held.root) == before


def test_some_selected_names_can_be_prefetched(held: AntsCache, read_only: Run) -> None:
    ran = read_only("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert ran.out == held("path", "0.3.2").out
    assert "1 file present, nothing to fetch" in ran.err


def test_a_home_linked_elsewhere_has_its_bytes(
    held: AntsCache, read_only: Run, figshare: StandIn, tmp_path: Path
) -> None:
    before = listing(held.root)
    assert read_only("link", "0.3.2", "--home", tmp_path).succeeded().out == f"{tmp_path}\n"
    files = {path.name: path.read_bytes() for path in (tmp_path / ".keras/ANTsXNet").iterdir()}
    assert set(files) == {f"{BRAIN}.h5", f"{LUNG}.h5", f"{TEMPLATE}.nii.gz"}
    assert files[f"{BRAIN}.h5"] == figshare.content("34821874")
    assert listing(held.root) == before


def test_the_doctor_notes_the_read_only_root(held: AntsCache, read_only: Run) -> None:
    """It finds no error."""
    before = listing(held.root)
    ran = read_only("doctor").succeeded()
    assert f"{held.root} is on a read-only filesystem: you can use its files" in ran.out
    assert listing(held.root) == before


@pytest.mark.parametrize("words", WRITING_COMMANDS)
def test_writing_commands_fail_with_the_reason(held: AntsCache, read_only: Run, words: str) -> None:
    before = listing(held.root)
    ran = read_only(*words.split())
    assert (ran.code in {6, 7}, "Read-only file system" in ran.err) == (True, True), ran
    assert listing(held.root) == before
