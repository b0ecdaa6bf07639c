"""Repair: mend what `verify` found, as far as possible.

Damaged files are moved to `trash/`, from where they never come back. Then everything is made again that can be made
from what is left, and the rest is fetched. A sound file is never moved, nor is a damaged record that keeps the blobs of
a release in use alive.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import (
    Listener,
    Manifest,
    Release,
    Selection,
    fetchable,
    ignore_events,
    with_optional,
)
from antscache.disk import READ_ONLY_MODE
from antscache.errors import AntsCacheError, StoreError, ViewError
from antscache.operations.prefetch import carry_out, make_plan, restore_condemned
from antscache.operations.scans import find_held_networks, scan_held
from antscache.operations.survey import expected_files, survey_store
from antscache.operations.verify import verify_root
from antscache.store import IngestVanished, Trash
from antscache.views import make_view, names_in_views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from antscache.core import Listener, Release
    from antscache.operations.survey import Discrepancy, RootPart
    from antscache.operations.verify import Verified
    from antscache.root import Root
    from antscache.store import Store

MAX_REPAIR_ROUNDS = 3  # a finding may hide another, which comes to light once the first is repaired


def repair_root(
    root: Root, releases: Collection[Release] = (), *, deep: bool = False, listen: Listener = ignore_events
) -> Verified:
    """Verify, and mend what is found, as far as possible.

    It moves damaged files aside, fetches missing files again unless offline, and makes views and index anew. Names in
    views that are files of their own, as a copied root has them, become links or clones of their blobs, damaged or not.
    Lower caches are not read. With `deep`, networks that nobody has scanned are scanned, and their records say so then.
    The result says what is repaired, what is not, and why.

    Args:
        root: to repair.
        releases: in use; without any, all that are in use.
        deep: repeat the checks of form and the scan of networks.
        listen: hears how many bytes were read, from any thread; and each event of a fetch.

    Raises:
        StoreError: the root cannot be read or written.
        ViewError: one of `releases` is not in use.
    """
    before_repair = _names_apart(root, releases)
    first = last = verify_root(root, releases, deep=deep, below=False, listen=listen)
    refused: tuple[str, ...] = ()
    for _ in range(MAX_REPAIR_ROUNDS if first.findings else 0):
        before = last
        refused = _repair(root, before, releases, listen)
        last = verify_root(root, releases, deep=deep, below=False, listen=listen)
        known = {finding.place for finding in before.findings}
        new = (finding for finding in last.findings if finding not in before.findings)
        if not any(finding.remedy != "make" or finding.place not in known for finding in new):
            break  # no hidden finding came to light
    remaining = {finding.place for finding in last.findings}
    repaired = tuple(finding for finding in first.findings if finding.place not in remaining)
    if deep:
        refused += _record_scans(root, releases, remaining)
    refused += _relink(root, releases)
    relinked = len(before_repair - _names_apart(root, releases))
    return replace(last, repaired=repaired, refused=tuple(dict.fromkeys(refused)), relinked=relinked)


def _record_scans(
    root: Root, releases: Collection[Release], wrong: Collection[tuple[RootPart, str]]
) -> tuple[str, ...]:
    """Scan the networks here that nobody has scanned, and record it; return the errors of what could not be done.

    Args:
        root: to repair.
        releases: in use; without any, all that are in use.
        wrong: the part and the place of all that is still damaged or refused.
    """
    store = root.store
    survey = survey_store(store, releases)
    entries = [entry for selected in survey.selected.values() for entry in selected]
    networks = [
        network
        for network in find_held_networks(store, entries, survey.records)
        if not network.record.is_scanned and ("blob", network.path.name) not in wrong
    ]
    refused = []
    for network, scanned in scan_held(networks, root.hazard_policy(), ignore_events) if networks else ():
        if scanned.complete:
            try:
                store.records.add_scan(network.record_with(scanned))
            except StoreError as error:
                refused.append(str(error))
    return tuple(refused)


def _names_apart(root: Root, releases: Collection[Release]) -> set[tuple[Path, int]]:
    """Return the path and inode of each name in views that is a file of its own; none where refs cannot be read."""
    try:
        return {(name.path, name.inode) for name in names_in_views(root.store, releases).apart}
    except StoreError:
        return set()


def _relink(root: Root, releases: Collection[Release]) -> tuple[str, ...]:
    """Make the names in views that are files of their own again; return the errors of what could not be done."""
    refused = []
    for release in releases or root.store.refs.releases():
        try:
            if names_in_views(root.store, [release]).apart:
                make_view(root, release, renew_clones=True)
        except (StoreError, ViewError) as error:  # noqa: PERF203  the other releases first
            refused.append(str(error))
    return tuple(refused)


def _repair(root: Root, verified: Verified, releases: Collection[Release], listen: Listener) -> tuple[str, ...]:
    """Mend the findings of `verified` as far as possible; return the errors of what could not be done.

    Raises:
        StoreError: the disk refused.
    """
    store = root.store
    reconstructed = [_reconstruct_selection(root, release) for release in releases or store.refs.releases()]
    _set_damaged_aside(store, verified.findings, offline=root.settings.offline)
    store.create()  # only now: the files that it reads may have been damaged
    for selection in reconstructed:
        if selection.entries:
            store.refs.select(selection)
    _salvage(store)
    refused = []
    for release in releases or store.refs.releases():
        try:
            _fetch_and_link(root, release, listen)
        except AntsCacheError as error:  # noqa: PERF203  the other releases first
            refused.append(str(error))
    try:
        store.index.update()
    except StoreError as error:
        refused.append(str(error))
    return tuple(dict.fromkeys(refused))


def _reconstruct_selection(root: Root, release: Release) -> Selection:
    """Return the selection that replaces damaged ones of `release`: the entries that are linked and recorded.

    It is empty if none is damaged.
    """
    manifest = root.catalog.find(release)
    if manifest is None or not any(root.store.refs.damaged([release])):
        return Selection(release, ())
    layout, entries = root.layout, fetchable(with_optional(manifest).entries)
    linked = [entry for entry in entries if os.path.lexists(layout.place_in_view(release, entry))]
    recorded = [e for e in linked if e.identifier and os.path.lexists(layout.record(e.identifier))]
    return Selection(release, tuple(recorded))


def _fetch_and_link(root: Root, release: Release, listen: Listener) -> None:
    """Fetch the missing files of `release`, unless offline, and link those that are held.

    Raises:
        AntsCacheError: the disk or an origin refused; the files that arrived are kept and linked.
    """
    entries = root.store.refs.entries(release)
    plan = restore_condemned(root, make_plan(root, Manifest(release, entries), entries))
    if plan.missing and not root.settings.offline:
        carry_out(root, plan, listen, protect=False)
    else:
        make_view(root, release)


def _set_damaged_aside(store: Store, findings: Iterable[Discrepancy], *, offline: bool) -> None:
    """Move damaged files to the trash, so that nothing finds them any more.

    A damaged blob of a lower cache stays where it is; unless offline, `store` ignores it from now on. An unreadable
    file is made readable if it is ours; if it is not, it is moved, unless offline.

    Raises:
        StoreError: the disk refused.
    """
    trash = Trash(store.layout)
    lowers = {lower.layout.blobs for lower in store.lowers}
    for finding in findings:
        path = Path(finding.path)
        if path.parent in lowers:
            if finding.remedy != "make" and not offline:
                store.disregard(f"sha256:{path.name}")
        elif finding.remedy == "open":
            if not _make_readable(path, shared=store.layout.shared) and not offline:
                trash.set_aside(path)
        elif finding.remedy == "move" and not (finding.part == "record" and _must_stay(store, path, offline=offline)):
            trash.set_aside(path)


def _make_readable(path: Path, *, shared: bool) -> bool:
    """Give the file at `path` the mode of a blob, if you may; return whether it can be read then."""
    mask = os.umask(0o077)
    os.umask(mask)
    mode = READ_ONLY_MODE if shared else READ_ONLY_MODE & ~mask
    with suppress(OSError):
        if not path.is_symlink():
            path.chmod(mode)
    return os.access(path, os.R_OK)


def _must_stay(store: Store, path: Path, *, offline: bool) -> bool:
    """Return True if the damaged record at `path` must stay until another takes its place.

    As long as a record that a release in use needs is damaged, no garbage collection deletes anything; a fetch replaces
    the record.
    """
    used = {entry.identifier for release in store.refs.releases() for entry in store.refs.entries(release)}
    identifier = next((each for each in used if each and store.layout.record(each) == path), None)
    if identifier is None or not path.is_file() or path.is_symlink():
        return False
    return offline or store.record(identifier) is None


def _salvage(store: Store) -> None:
    """Bring missing blobs back into the store: condemned ones from the trash, others from a view that has them whole.

    Raises:
        StoreError: the disk refused.
    """
    survey = survey_store(store, ())
    expected = expected_files(store, survey, deep=False, everything=False)
    missing = {file.digest for file in expected if file.part == "blob" and not os.path.lexists(file.path)}
    blobs = {record.descriptor for record in survey.records.values() if record.digest in missing}
    if not blobs:
        return
    missing -= {blob.digest for blob in Trash(store.layout).restore(blobs)}
    for file in expected:
        if file.part == "view" and file.digest in missing and (path := Path(file.path)).is_file():
            with suppress(OSError, IngestVanished), store.ingest() as ingest:  # then it is fetched instead
                ingest.take(path, move=False)
                if ingest.descriptor.digest == file.digest:
                    ingest.publish()
                    missing.discard(file.digest)
