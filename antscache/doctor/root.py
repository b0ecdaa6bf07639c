"""Check the root: is it usable, are there leftovers or copies, and is there enough disk space."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING

import msgspec

from antscache import config, disk
from antscache.core import Description, Manifest, age, describe_twin, find_twins
from antscache.doctor.finding import count_files, error, format_size, list_names, note, ok, warning
from antscache.doctor.host import nearest_existing
from antscache.fetch import collect_known_sizes, measure_need
from antscache.operations import GRACE_SECONDS, find_held_networks, make_plan
from antscache.root import Root
from antscache.store import Store, Trash, stale_files
from antscache.views import names_in_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from antscache.core import Identifier, Layout, Record, Wanted
    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.fetch import Need

MIN_FREE_BYTES = 1_000_000_000  # a release of ANTsPyNet is larger
MIN_FREE_INODES = 1_000  # about as many as the blobs, the records and the view of a release need
INODES_PER_FILE = 4  # its blob, its record, its name in a view, its lock


def check_root(host: Host) -> Iterator[Finding]:
    """Check that this antscache understands the root, and that files can be moved between its parts."""
    layout = host.layout
    if layout.root.is_symlink() and not layout.root.exists():
        what = f"{layout.root} is a link to {layout.root.readlink()}, which does not exist"
        yield error(what, "mount the directory that it leads to, or name another root with --root or ANTSCACHE_DIR")
        return
    store = Store(layout.root, state=config.state_directory())
    store.check()
    store.check_disk()
    store.check_parts()
    if layout.description.exists():
        yield ok(f"the root is {layout.root}{', shared by a group' if is_shared(layout) else ''}")
    else:
        yield ok(f"the root is {layout.root}; antscache has not created it yet")


def is_shared(layout: Layout) -> bool:
    """Return True if the root is shared by a group; False also if that cannot be read."""
    try:
        return msgspec.json.decode(disk.read(layout.description), type=Description).shared
    except (OSError, *disk.DECODE_ERRORS):
        return False


def check_records(host: Host) -> Iterator[Finding]:
    """Check for files that are held on a user's word alone, for bytes under two names, and for caches that disagree."""
    root = Root.open(host.settings)
    records = root.store.layers.all()
    best = {record.identifier: choice for record in records if (choice := root.store.record(record.identifier))}
    adopted = sorted(identifier for identifier, record in best.items() if record.is_adopted)
    if adopted:
        what = f"{count_files(len(adopted))} held on a user's word alone (adopted): {list_names(adopted)}"
        yield note(what, f"to take a word back: antscache forget {adopted[0]}")
    yield from _check_scans(root, best)
    for identifier, other in find_twins(records).items():
        if best[identifier].is_adopted:
            what = f"{identifier} was adopted, and has the same bytes as {describe_twin(other)}"
            yield warning(what, f"if its file had a wrong name: antscache forget {identifier}")
    for identifier in sorted(best):
        for conflict in root.store.layers.conflicts(identifier):
            other_way = "" if conflict.root else f", or run antscache forget {identifier}"
            yield error(f"{conflict}: one of the two is wrong", f"leave out the lower cache that is wrong{other_way}")
    if not adopted:
        yield ok(f"{len(best)} identifiers are recorded, none on a user's word alone")


def _check_scans(root: Root, best: Mapping[Identifier, Record]) -> Iterator[Finding]:
    """Check for findings in files that did not refuse them, and for networks that nobody has scanned."""
    found = [f"{identifier} ({'; '.join(one.findings)})" for identifier, one in sorted(best.items()) if one.findings]
    if found:
        what = f"{count_files(len(found))} with findings that did not refuse them: {list_names(found)}"
        yield note(what, "to refuse such files from now on: export ANTSCACHE_STRICT=1")
    refs = root.store.refs
    entries = {entry for release in refs.releases() for entry in refs.entries(release)}
    networks = find_held_networks(root.store, entries, best)
    if unscanned := sorted(network.record.identifier for network in networks if not network.record.is_scanned):
        what = f"never scanned for code and for links to other files: {list_names(unscanned)}"
        yield note(what, "antscache verify --deep --repair")


def check_leftovers(host: Host) -> Iterator[Finding]:
    """Check for old files in `ingest/` and `trash/`, and for things there that antscache did not create."""
    findings = [*_check_ingest(host.layout), *_check_trash(host.layout)]
    yield from findings or [ok("nothing is left over in ingest/ and trash/")]


def _check_ingest(layout: Layout) -> Iterator[Finding]:
    files, others = dict[str, int](), []
    if layout.ingest.is_dir():
        with os.scandir(layout.ingest) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    files[entry.path] = entry.stat(follow_symlinks=False).st_size
                else:
                    others.append(entry.path)
    old = {str(path) for path in stale_files(layout, time.time())} & files.keys()
    if old:
        total = format_size(sum(files[path] for path in old))
        what = f"ingest/: {len(old)} of {count_files(len(files))} ({total}) unchanged for a day"
        yield note(what, "antscache gc")
    elif files:
        total = format_size(sum(files.values()))
        yield ok(f"ingest/: {count_files(len(files))} ({total}) being written, or to be resumed")
    if others:
        what = f"{others[0]} is not a file, and antscache did not create it"
        yield warning(what, f"rm -r {shlex.quote(others[0])}")


def _check_trash(layout: Layout) -> Iterator[Finding]:
    contents = Trash(layout).contents()
    old = [condemned for condemned in contents if age(condemned.since, time.time()) > GRACE_SECONDS]
    if old:
        total = format_size(sum(condemned.size for condemned in old))
        what = f"trash/: {len(old)} of {count_files(len(contents))} ({total}) condemned more than a day ago"
        yield note(what, "antscache gc")
    elif contents:
        total = format_size(sum(condemned.size for condemned in contents))
        yield ok(f"trash/: {count_files(len(contents))} ({total}) condemned; antscache gc deletes them after a day")
    names = {condemned.path.name for condemned in contents}
    others = sorted(path.name for path in _children(layout.trash) if path.name not in names)
    if others:
        path = shlex.quote(str(layout.trash / others[0]))
        yield warning(f"antscache did not create {path}, and never deletes it", f"rm -r {path}")


def _children(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def check_views(host: Host) -> Iterator[Finding]:
    """Check whether the files of views share the space of blobs, as links do, or are copies, as in a copied root."""
    names = names_in_views(Store(host.layout.root))
    if names.copies:
        total = format_size(sum(name.size for name in names.copies))
        what = f"{count_files(len(names.copies))} in views are copies of blobs ({total}), as in a root that was copied"
        yield warning(what, "antscache verify --repair")
    if names.clones:
        what = f"{count_files(names.clones)} in views share the space of blobs, unless the root was copied"
        yield note(what, "after you have copied the root: antscache verify --repair")
    if not names.apart:
        yield ok(f"{count_files(names.count)} in views, sharing the space of blobs")


def check_space(host: Host) -> Iterator[Finding]:
    """Check that the disk has room for the files that are selected and not held."""
    root = Root.open(host.settings)
    wanted = {file.identifier: file for file in _missing_files(root)}
    fetch = tuple(wanted.values())
    cost = measure_need(root, fetch, collect_known_sizes(root, fetch))
    place = nearest_existing(host.layout.root)
    if cost.free is None:
        yield note(f"the filesystem of {place} does not tell its free space")
        return
    yield _check_bytes(place, cost, cost.free, len(wanted))
    status = os.statvfs(place)
    if status.f_files and status.f_favail < max(MIN_FREE_INODES, INODES_PER_FILE * len(wanted)):
        what = f"the filesystem of {place} has room for only {status.f_favail} more files"
        yield warning(what, "delete small files there")


def _missing_files(root: Root) -> Iterator[Wanted]:
    """Yield the files that are selected and not held, of all releases."""
    for release in root.store.refs.releases():
        entries = root.store.refs.entries(release)
        yield from make_plan(root, Manifest(release, entries), entries).fetch


def _check_bytes(place: Path, cost: Need, free: int, count: int) -> Finding:
    """Check that the `count` files that are not held fit into the `free` bytes, and that enough remain."""
    what = f"{format_size(free)} free in {place}"
    if count:
        unknown = f", and more for {cost.unknown} of unknown size" if cost.unknown else ""
        what += f"; still to fetch: {count_files(count)}, {format_size(cost.room)}{unknown}"
    remedy = "antscache gc, or name a root on another filesystem with --root or ANTSCACHE_DIR"
    if cost.short:
        return error(what, remedy)
    if free < MIN_FREE_BYTES:
        return warning(what, remedy)
    return ok(what)
