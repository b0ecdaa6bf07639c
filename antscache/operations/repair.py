"""Repair: make right what `verify` found not to be as it should, as far as it can be.

What is damaged is moved to `trash/`, from where it never comes back; of what is left whatever can be made is made; the
rest is fetched. Nothing that is right is moved, and no record that alone says what a release in use needs.
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
    parse_identifier,
)
from antscache.disk import READ_ONLY
from antscache.errors import AntsCacheError, StoreError
from antscache.operations.prefetch import carry_out, make_plan, restore_condemned
from antscache.operations.survey import expected_of, survey_of
from antscache.operations.verify import verify_root
from antscache.store import IngestVanished, Trash
from antscache.views import make_view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from antscache.core import Listener, Release
    from antscache.operations.survey import Discrepancy
    from antscache.operations.verify import Verified
    from antscache.root import Root
    from antscache.store import Store

MAX_REPAIRS = 3  # of what comes to light behind something else


def repair_root(
    root: Root, releases: Collection[Release] = (), *, deep: bool = False, listen: Listener = ignore_events
) -> Verified:
    """Verify, and make right what is not as it should be, as far as it can be.

    Moves what is damaged aside, fetches again what is missing then, and makes views and index anew. Lower caches are
    not read.

    Args:
        root: to repair.
        releases: in use; all, if there are none.
        deep: repeat the checks of form.
        listen: hears how many bytes were read, from any thread; and what happens when something is fetched again.

    Raises:
        StoreError: the root cannot be read, or not written to.
        ViewError: one of `releases` is not in use.
    """
    first = last = verify_root(root, releases, deep=deep, below=False, listen=listen)
    refused: tuple[str, ...] = ()
    for _ in range(MAX_REPAIRS if first.findings else 0):
        before = last
        refused = _repair(root, before, releases, listen)
        last = verify_root(root, releases, deep=deep, below=False, listen=listen)
        known = {finding.place for finding in before.findings}
        new = (finding for finding in last.findings if finding not in before.findings)
        if not any(finding.remedy != "make" or finding.place not in known for finding in new):
            break  # nothing came to light that had been hidden behind something else
    remaining = {finding.place for finding in last.findings}
    repaired = tuple(finding for finding in first.findings if finding.place not in remaining)
    return replace(last, repaired=repaired, refused=refused)


def _repair(root: Root, verified: Verified, releases: Collection[Release], listen: Listener) -> tuple[str, ...]:
    """Make right what can be made right of what was found; return what cannot, and why.

    Raises:
        StoreError: the disk refused.
    """
    store = root.store
    restored = [_restored_selection(root, release) for release in releases or store.refs.releases()]
    _clear(store, verified.findings, offline=root.settings.offline)
    store.create()  # not before: what it needs may have been damaged
    for selection in restored:
        if selection.entries:
            store.refs.select(selection)
    _salvage(store)
    refused = []
    for release in releases or store.refs.releases():
        try:
            _make_right(root, release, listen)
        except AntsCacheError as error:  # noqa: PERF203  the other releases first
            refused.append(str(error))
    try:
        store.index.update()
    except StoreError as error:
        refused.append(str(error))
    return tuple(dict.fromkeys(refused))


def _restored_selection(root: Root, release: Release) -> Selection:
    """Return what damaged selections of `release` will have said: what was linked and recorded.

    Nothing, if none is damaged.
    """
    manifest = root.catalog.find(release)
    if manifest is None or not any(root.store.refs.damaged([release])):
        return Selection(release, ())
    layout, home = root.layout, root.layout.directory_in_view(release)
    linked = [entry for entry in fetchable(manifest.entries) if os.path.lexists(home / entry.file)]
    recorded = [e for e in linked if e.identifier and os.path.lexists(layout.record(e.identifier))]
    return Selection(release, tuple(recorded))


def _make_right(root: Root, release: Release, listen: Listener) -> None:
    """Fetch what is selected of `release` and missing, unless offline; and link what is held.

    Raises:
        AntsCacheError: the disk or an origin refused; what could be done was.
    """
    entries = root.store.refs.entries(release)
    plan = restore_condemned(root, make_plan(root, Manifest(release, entries), entries))
    if plan.missing and not root.settings.offline:
        carry_out(root, plan, listen, protect=False)
    else:
        make_view(root, release)


def _clear(store: Store, findings: Iterable[Discrepancy], *, offline: bool) -> None:
    """What is damaged is no longer where it is looked for.

    What lower caches have is passed over, and disregarded unless nothing can be fetched instead. What is unreadable is
    made readable if it is ours, and else moved, unless nothing can be fetched instead.

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
            if not _opened(path, shared=store.layout.shared) and not offline:
                trash.set_aside(path)
        elif finding.remedy == "move" and not (finding.part == "record" and _protects(store, path, offline=offline)):
            trash.set_aside(path)


def _opened(path: Path, *, shared: bool) -> bool:
    """Whether the file at `path` can be read, now that its mode is what a blob's is."""
    mask = os.umask(0o077)
    os.umask(mask)
    mode = READ_ONLY if shared else READ_ONLY & ~mask
    with suppress(OSError):
        if not path.is_symlink():
            path.chmod(mode)
    return os.access(path, os.R_OK)


def _protects(store: Store, path: Path, *, offline: bool) -> bool:
    """Whether the damaged record at `path` must stay until another takes its place.

    As long as it is there no garbage collection takes away what a release in use needs; a fetch writes over it.
    """
    identifier = parse_identifier(path.stem)
    used = {entry.identifier for release in store.refs.releases() for entry in store.refs.entries(release)}
    if identifier is None or identifier not in used or not path.is_file() or path.is_symlink():
        return False
    return offline or store.record(identifier) is None


def _salvage(store: Store) -> None:
    """What is not in the store and waits in the trash, or is whole in a view, is in the store again.

    Raises:
        StoreError: the disk refused.
    """
    survey = survey_of(store, ())
    expected = expected_of(store, survey, deep=False, everything=False)
    missing = {each.digest for each in expected if each.part == "blob" and not os.path.lexists(each.path)}
    blobs = {record.descriptor for record in survey.records.values() if record.digest in missing}
    if not blobs:
        return
    missing -= {blob.digest for blob in Trash(store.layout).restore(blobs)}
    for each in expected:
        if each.part == "view" and each.digest in missing and (path := Path(each.path)).is_file():
            with suppress(OSError, IngestVanished), store.ingest() as ingest:  # of no use, then
                ingest.take(path, move=False)
                if ingest.descriptor.digest == each.digest:
                    ingest.publish()
                    missing.discard(each.digest)
