"""The root: whether it can be used, what is left over in it, and whether what is wanted has room."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import Description, Manifest
from antscache.doctor.finding import error, note, ok, size, warning
from antscache.doctor.host import nearest
from antscache.fetch import known_sizes, need
from antscache.operations import GRACE_SECONDS, make_plan
from antscache.root import Root
from antscache.store import Store, Trash, stale_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.core import Layout, Wanted
    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.fetch import Need

FEW_BYTES = 1_000_000_000  # a release of ANTsPyNet is many times as large
FEW_INODES = 1_000  # a release's files, its records and the links of its view are about as many
FILES_EACH = 4  # a blob, its record, its name in a view, its lock


def check_root(host: Host) -> Iterator[Finding]:
    """Whether the root is one that this antscache understands."""
    layout = host.layout
    if layout.root.is_symlink() and not layout.root.exists():
        told = f"{layout.root} is a link to {layout.root.readlink()}, which is not there"
        yield error(told, "mount what it leads to, or name another root with --root or ANTSCACHE_DIR")
        return
    Store(layout.root).check()
    if layout.description.exists():
        yield ok(f"the root is {layout.root}{', shared by a group' if is_shared(layout) else ''}")
    else:
        yield ok(f"the root is {layout.root}, which is not made yet")


def is_shared(layout: Layout) -> bool:
    """Whether the root is one for a group, as far as that can be read."""
    try:
        return msgspec.json.decode(disk.read(layout.description), type=Description).shared
    except (OSError, *disk.DAMAGED):
        return False


def check_leftovers(host: Host) -> Iterator[Finding]:
    """What lies in `ingest/` and `trash/`."""
    found = [*_ingests(host.layout), *_condemned(host.layout)]
    yield from found or [ok("nothing is left over in ingest/ and trash/")]


def _ingests(layout: Layout) -> Iterator[Finding]:
    files, others = dict[str, int](), []
    if layout.ingest.is_dir():
        with os.scandir(layout.ingest) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    files[entry.path] = entry.stat(follow_symlinks=False).st_size
                else:
                    others.append(entry.path)
    old = {str(path) for path in stale_files(layout)} & files.keys()
    if old:
        told = f"{len(old)} of {len(files)} files in ingest/ ({size(sum(files[path] for path in old))})"
        yield note(f"{told} have been written to by nobody for a day", "antscache gc")
    elif files:
        yield ok(f"{len(files)} files in ingest/ ({size(sum(files.values()))}) are being written, or gone on from")
    if others:
        yield warning(
            f"{others[0]} is not a file, and antscache did not put it there", f"rm -r {shlex.quote(others[0])}"
        )


def _condemned(layout: Layout) -> Iterator[Finding]:
    contents = Trash(layout).contents()
    old = [each for each in contents if abs(time.time() - each.since) > GRACE_SECONDS]
    if old:
        told = f"{len(old)} of {len(contents)} files in trash/ ({size(sum(each.size for each in old))})"
        yield note(f"{told} are condemned for longer than a day", "antscache gc")
    elif contents:
        yield ok(f"{len(contents)} files in trash/ ({size(sum(e.size for e in contents))}) wait for a gc in a day")
    names = {each.path.name for each in contents}
    others = sorted(path.name for path in _children(layout.trash) if path.name not in names)
    if others:
        there = shlex.quote(str(layout.trash / others[0]))
        yield warning(f"{there} is not antscache's, and stays where it is", f"rm -r {there}")


def _children(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def check_space(host: Host) -> Iterator[Finding]:
    """Whether what is selected and not held has room."""
    root = Root.open(host.settings)
    wanted = {each.identifier: each for each in _wanted(root)}
    fetch = tuple(wanted.values())
    cost = need(root, fetch, known_sizes(root, fetch))
    there = nearest(host.layout.root)
    if cost.free is None:
        yield note(f"the filesystem of {there} does not tell how much room it has")
        return
    yield _bytes(there, cost, cost.free, len(wanted))
    status = os.statvfs(there)
    if status.f_files and status.f_favail < max(FEW_INODES, FILES_EACH * len(wanted)):
        yield warning(
            f"the filesystem of {there} has room for {status.f_favail} more files", "remove small files there"
        )


def _wanted(root: Root) -> Iterator[Wanted]:
    """Yield what is selected and not held, of all releases."""
    for release in root.store.refs.releases():
        entries = root.store.refs.entries(release)
        yield from make_plan(root, Manifest(release, entries), entries).fetch


def _bytes(there: Path, cost: Need, free: int, count: int) -> Finding:
    room, wants = f"{size(free)} are free for {there}", ""
    if count:
        of = f" and more for {cost.unknown} of unknown size" if cost.unknown else ""
        wants = f"; {count} files that are selected and not held need {size(cost.room)}{of}"
    remedy = "antscache gc, or name a root on another filesystem with --root or ANTSCACHE_DIR"
    if cost.short:
        return error(room + wants, remedy)
    if free < FEW_BYTES:
        return warning(room + wants, remedy)
    return ok(room + wants)
