"""The abilities of the root's filesystem, tried out with files of random names in `ingest/`."""

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

PROBE_CONTENT = b"antscache doctor" * 256  # a block: some filesystems keep less in the inode, and do not clone that
LOCKED_EXIT_CODE = 3  # of the other process, if it does not get the lock
OTHER_PROCESS_TIMEOUT_SECONDS = 30
TRY_LOCK_SCRIPT = f"""
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
except (BlockingIOError, PermissionError):
    sys.exit({LOCKED_EXIT_CODE})
"""


def check_abilities(host: Host) -> Iterator[Finding]:
    """Check links, locks, and upper and lower case, by trying them."""
    ingest = host.layout.ingest
    if not ingest.is_dir():
        what = "the filesystem was not tested: antscache has not created the root yet"
        lost = host.settings.mounted and not disk.is_persistent(host.layout.root)
        remedy = f"mount a directory at {host.layout.root}" if lost else "antscache prefetch creates it"
        yield note(what, remedy)
        return
    try:
        with _temporary_files(ingest) as make:
            probe = make()
            descriptor = disk.create(probe, 0o600)
            try:
                os.write(descriptor, PROBE_CONTENT)
                yield from _check_links(probe, make)
                yield _check_locks(make(".lock"))
            finally:
                os.close(descriptor)
            yield from _check_case(probe)
    except OSError as refused:
        what = f"the filesystem was not tested: cannot write to {ingest}: {refused.strerror}"
        yield note(what, "see the findings about owners and space")


@contextmanager
def _temporary_files(directory: Path) -> Iterator[Callable[..., Path]]:
    """Yield a function that makes up a new path in `directory`; at the end, remove the files at all these paths."""
    made: list[Path] = []

    def make(suffix: str = "") -> Path:
        made.append(disk.temporary_path(directory).with_suffix(suffix))
        return made[-1]

    try:
        yield make
    finally:
        for path in made:
            with suppress(OSError):
                path.unlink()


def _check_links(probe: Path, make: Callable[[], Path]) -> Iterator[Finding]:
    """Check which links to `probe` can be made, because views consist of links."""
    kinds: dict[str, Callable[[Path], None]] = {
        "reflinks": lambda path: _reflink(probe, path),
        "hard links": lambda path: os.link(probe, path),
        "symbolic links": lambda path: path.symlink_to(probe.name),
    }
    refused = {kind: reason for kind, link in kinds.items() if (reason := _try_link(link, make()))}
    if "hard links" in refused and "symbolic links" in refused and "reflinks" in refused:
        what = f"the filesystem supports no links ({refused['symbolic links']}), and views consist of links"
        yield error(what, "name a root on another filesystem with --root or ANTSCACHE_DIR")
    elif "reflinks" not in refused:
        yield ok("the filesystem supports reflinks: new views are clones, which share the space of blobs")
    elif "hard links" not in refused:
        yield ok("the filesystem supports hard links, but no reflinks: new views are names of blobs")
    else:
        what = f"the filesystem supports no hard links ({refused['hard links']})"
        remedy = "if you mount a view into a container, mount its root too"
        yield note(f"{what}: new views are symbolic links", remedy)


def _try_link(link: Callable[[Path], None], path: Path) -> str:
    """Make a link at `path` by `link`, and return why that was refused; empty if it was not."""
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


def _check_locks(path: Path) -> Finding:
    """Check that a lock on `path`, held by this process, keeps another process out."""
    command = [sys.executable, "-I", "-S", "-c", TRY_LOCK_SCRIPT, str(path)]
    locks = disk.Locks(path.parent, shared=False)
    with locks.attempt(path.stem):
        other = subprocess.run(
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=OTHER_PROCESS_TIMEOUT_SECONDS
        )
    if locks.refusal or not other.returncode:
        reason = f" ({locks.refusal})" if locks.refusal else ""
        what = f"locks have no effect on this filesystem{reason}: two processes may fetch the same file at once"
        return note(f"{what}; the files are still right", "run one prefetch at a time")
    if other.returncode == LOCKED_EXIT_CODE:
        return ok("locks work: two processes do not fetch the same file")
    what = "locks could not be tested: the second Python process that should try one failed"
    return warning(what, f"see what this prints: {sys.executable} -I -S -c 'import fcntl'")


def _check_case(probe: Path) -> Iterator[Finding]:
    """Check that the name of `probe` in upper case is another name."""
    if probe.with_name(probe.name.upper()).exists():
        what = "the filesystem does not distinguish upper and lower case"
        yield note(what, "put no files of your own into a view")
