"""Adopt: take over an existing directory of ANTsPyNet's.

    look -> judge -> scanned -> take over
    (bytes,  (whose    (hazards)  (store, records,
     forms)   they are)            selection)

Nothing is changed before the last step, which goes by the bytes that were judged: what has changed since is left alone.
The record of a file of unknown bytes says that a user's word is all there is, and an origin's word replaces it.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from antscache.core import Layout, Record, Selection, fetchable, ignore_events
from antscache.disk import hash_file
from antscache.errors import IntegrityError, StoreError
from antscache.formats import Hdf5Scanner, is_h5py_installed
from antscache.operations.adoptable import (
    Judged,
    files_to_adopt,
    is_unchanged,
    judge,
    look,
    place_of,
    scanned,
    shown,
    told,
)
from antscache.store import IngestVanished
from antscache.views import make_view

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from antscache.core import Identifier, Listener, Manifest, Package
    from antscache.operations.adoptable import Seen
    from antscache.root import Root
    from antscache.store import CopyMethod, Store

MAX_LINKINGS = 3  # of a name whose blob a garbage collection may just have taken


class _LeftError(Exception):
    """A file is left alone after all; `str()` says why."""


def adopt_directory(  # noqa: PLR0913  all but the first three by name
    root: Root,
    directory: Path,
    manifest: Manifest,
    *,
    move: bool = False,
    dry_run: bool = False,
    listen: Listener = ignore_events,
) -> tuple[Judged, ...]:
    """Store, record and link the files in `directory` that are of a release.

    If it is interrupted, the next one goes on from there.

    Args:
        root: that takes them over.
        directory: a home, its `.keras`, or where ANTsPyNet keeps its files.
        manifest: of the release that files of unknown bytes are taken for.
        move: take them out of `directory`, and copy nothing where that can be helped.
        dry_run: change nothing.
        listen: hears how many bytes were read; and why networks are not scanned, if h5py is there and does not work.

    Returns:
        What became of each file, or would.

    Raises:
        StoreError, ViewError: the disk refused; or the files to move are antscache's already.
    """
    release, store = manifest.release, root.store
    paths = files_to_adopt(directory, release.package)
    if move:
        _refuse_root(directory, release.package)
    judged = judge(look(paths, listen), manifest, _records(root))
    with closing(Hdf5Scanner()) as scanner:
        judged = tuple(scanned(judged, scanner if is_h5py_installed() else None, listen))
    if dry_run:
        return judged
    if any(each.entries for each in judged):
        store.create()
        root.catalog.save(manifest, root.layout.staging)
        judged = take_over(store, manifest, judged, move=move, listen=listen)
    if store.refs.selections(release):
        entries = {entry for each in judged for entry in each.entries}
        for _ in range(MAX_LINKINGS):
            if not make_view(root, release, entries).lost:
                break
            store.restore(each.seen.blob for each in judged if each.entries and each.seen.blob)
    return judged


def _records(root: Root) -> list[Record]:
    """Return what is recorded, here or in a lower cache; of several of an identifier, the last one counts."""
    records = list[Record]()
    for lower in reversed(root.store.lowers):
        with suppress(StoreError):  # it is as good as not there
            records += lower.records.readable()
    return [*records, *root.store.records.readable()]


def _refuse_root(directory: Path, package: Package) -> None:
    """Refuse to move files out of what antscache keeps: a view, a store, or a lower cache.

    Raises:
        StoreError: the files are in an antscache root.
    """
    place = place_of(directory, package).resolve()
    for root in (place, *place.parents):
        with suppress(OSError):
            if Layout(root).description.exists():
                what = f"{shown(directory)} is in the antscache root {shown(root)}"
                raise StoreError(what, hint="adopt it without --move")


def take_over(
    store: Store, manifest: Manifest, judged: Iterable[Judged], *, move: bool, listen: Listener
) -> tuple[Judged, ...]:
    """Store, record and select what of `judged` is recognised or taken; what is left is untouched.

    The selection is written first. A file's name goes last, once its bytes and its record are durable.

    Raises:
        StoreError: the disk refused; every file is where it was or in the store.
    """
    judged = tuple(judged)
    entries = {entry for each in judged for entry in each.entries}
    order = tuple(entry for entry in fetchable(manifest.entries) if entry in entries)
    if order:
        store.refs.select(Selection(manifest.release, order))
    return tuple(_adopted(store, each, move=move, listen=listen) if each.entries else each for each in judged)


def _adopted(store: Store, judged: Judged, *, move: bool, listen: Listener) -> Judged:
    """What became of a file that is to be taken over."""
    seen = judged.seen
    assert seen.blob is not None  # noqa: S101  what has entries has bytes
    try:
        if move:
            _check_directory(seen)
        _check_records(store, judged)
        way = None
        # What is moved is in the store itself: a lower cache may go.
        if not (store.owns(seen.blob) if move else store.holds(seen.blob)):
            way = _take(store, seen, move=move, listen=listen)
        elif move:
            _check_blob(store, seen)
        if way is None:  # whoever put it there may have been killed just then
            store.sync_blobs()
        _record(store, judged, here=move)
        return replace(judged, way=way, why=_remove(store, seen) if move else "")
    except _LeftError as left:
        return Judged(seen, "left", why=str(left))


def _check_directory(seen: Seen) -> None:
    """The name can be taken away.

    Raises:
        _LeftError: it cannot, as far as that can be told.
    """
    if not os.access(seen.path.parent, os.W_OK | os.X_OK):
        raise _LeftError("it cannot be moved out of a directory that is not yours to change")


def _take(store: Store, seen: Seen, *, move: bool, listen: Listener) -> CopyMethod:
    """The bytes are in the store: how they came there.

    Raises:
        _LeftError: they are not, and the file is as it was.
    """
    try:
        with store.ingest() as ingest:
            way = ingest.take(seen.path, move=move, listen=listen)
            if ingest.descriptor != seen.blob:
                raise _LeftError("it changed while it was read")
            ingest.publish()
    except IngestVanished:
        raise StoreError(f"{ingest.path} was removed while it was written", hint="run the command again") from None
    except OSError as error:
        raise _LeftError(f"it cannot be taken: {error.strerror}") from None
    return way


def _check_blob(store: Store, seen: Seen) -> None:
    """The store's copy is as good as the one that is about to go.

    Raises:
        _LeftError: it is not.
    """
    assert seen.blob is not None  # noqa: S101  see above
    path = store.layout.blob(seen.blob.digest)
    try:
        if path.samefile(seen.path) or hash_file(path) == seen.blob:
            return
    except OSError as error:
        raise _LeftError(f"the store's copy cannot be read: {error.strerror}") from None
    raise _LeftError("the store's copy is damaged: run `antscache verify --repair`, then this again")


def _check_records(store: Store, judged: Judged) -> None:
    """No other bytes are recorded by now.

    Raises:
        _LeftError: there are.
    """
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        if record and record.descriptor != judged.seen.blob:
            raise _LeftError(f"other bytes were recorded of {told(record)} meanwhile")


def _record(store: Store, judged: Judged, *, here: bool) -> None:
    """The identifiers are recorded: on the user's word, where there is no better one.

    Args:
        store: the root.
        judged: a file whose bytes are in the store.
        here: not only in a lower cache.

    Raises:
        _LeftError: other bytes were recorded meanwhile.
    """
    blob = judged.seen.blob
    assert blob is not None  # noqa: S101  see above
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    source = shown(judged.seen.path)
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        if record and (not here or store.layout.record(identifier).exists()):
            continue
        try:
            store.records.remember(
                record or Record(identifier, blob.digest, blob.size, "adopted", source, now, judged.checks)
            )
        except IntegrityError:
            raise _LeftError(f"other bytes were recorded of {identifier} meanwhile") from None
    _check_records(store, judged)


def _identifiers(judged: Judged) -> list[Identifier]:
    return sorted({entry.identifier for entry in judged.entries if entry.identifier})


def _remove(store: Store, seen: Seen) -> str:
    """The name is gone from the directory, unless it has other bytes by now: why it is still there; empty if not."""
    assert seen.blob is not None  # noqa: S101  see above
    try:
        if not is_unchanged(seen) and not seen.path.samefile(store.layout.blob(seen.blob.digest)):
            return "in the store, but it changed meanwhile"
        seen.path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"in the store, but it cannot be removed: {error.strerror}"
    return ""
