"""What the root's filesystem can do, found out by doing it: with files of random names in `ingest/`."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from antscache import disk
from antscache.doctor.finding import error, note, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host

CONTENT = b"antscache doctor" * 256  # a block: some filesystems keep less in the inode, and clone none of it
LOCKED = 3  # what the other process exits with where it does not get the lock
STARTING = 30  # seconds for it to start
TRY_LOCK = f"""
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
except (BlockingIOError, PermissionError):
    sys.exit({LOCKED})
"""


def check_abilities(host: Host) -> Iterator[Finding]:
    """Reflinks, hard links, symbolic links, locks, upper and lower case."""
    ingest = host.layout.ingest
    if not ingest.is_dir():
        yield note("the filesystem is not looked at, because the root is not made yet", "antscache prefetch makes it")
        return
    try:
        with _files(ingest) as make:
            probe = make()
            descriptor = disk.create(probe, 0o600)
            try:
                os.write(descriptor, CONTENT)
                yield from _links(probe, make)
                yield _locks(make(".lock"))
            finally:
                os.close(descriptor)
            yield from _case(probe)
    except OSError as refused:
        told = f"the filesystem is not looked at, because {ingest} cannot be written to: {refused.strerror}"
        yield note(told, "see what is said of owners and space")


@contextmanager
def _files(directory: Path) -> Iterator[Callable[..., Path]]:
    """What makes up names in `directory`; none of them is there in the end."""
    made: list[Path] = []

    def make(suffix: str = "") -> Path:
        made.append(disk.temporary(directory).with_suffix(suffix))
        return made[-1]

    try:
        yield make
    finally:
        for path in made:
            with suppress(OSError):
                path.unlink()


def _links(probe: Path, make: Callable[[], Path]) -> Iterator[Finding]:
    """How views can be made."""
    ways: dict[str, Callable[[Path], None]] = {
        "reflinks": lambda path: _reflink(probe, path),
        "hard links": lambda path: os.link(probe, path),
        "symbolic links": lambda path: path.symlink_to(probe.name),
    }
    refused = {way: why for way, link in ways.items() if (why := _refusal(link, make()))}
    if "hard links" in refused and "symbolic links" in refused and "reflinks" in refused:
        told = f"the filesystem makes no links ({refused['symbolic links']}), and views are made of them"
        yield error(told, "name a root on another filesystem with --root or ANTSCACHE_DIR")
    elif "reflinks" not in refused:
        yield ok("the filesystem makes reflinks: a view's files are of their own, and share their bytes")
    elif "hard links" not in refused:
        yield ok("the filesystem makes hard links and no reflinks: a view's files are the blobs themselves")
    else:
        told = f"the filesystem makes no hard links ({refused['hard links']}): a view's files are symbolic links"
        yield note(told, "mount a view together with its root")


def _refusal(link: Callable[[Path], None], path: Path) -> str:
    try:
        link(path)
    except OSError as refused:
        return refused.strerror or str(refused)
    return ""


def _reflink(probe: Path, path: Path) -> None:
    source, target = os.open(probe, os.O_RDONLY), -1
    try:
        target = disk.create(path, 0o600)
        disk.clone(source, target)
    finally:
        for descriptor in source, target:
            if descriptor >= 0:
                os.close(descriptor)


def _locks(path: Path) -> Finding:
    """Tell whether a lock of one process, on `path`, keeps another one out."""
    command = [sys.executable, "-I", "-S", "-c", TRY_LOCK, str(path)]
    locks = disk.Locks(path.parent, shared=False)
    with locks.attempt(path.stem):
        asked = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=STARTING)
    if locks.refusal or not asked.returncode:
        why = f" ({locks.refusal})" if locks.refusal else ""
        told = f"locks do nothing on this filesystem{why}: two processes may fetch the same file at once"
        return note(f"{told}; nothing becomes wrong", "run one prefetch at a time")
    if asked.returncode == LOCKED:
        return ok("locks work: two processes do not fetch the same file")
    return warning("nothing can be said of locks: another Python did not start", f"try {sys.executable} -I -S")


def _case(probe: Path) -> Iterator[Finding]:
    if probe.with_name(probe.name.upper()).exists():
        yield note("the filesystem takes upper and lower case for the same: put nothing of your own into a view")
