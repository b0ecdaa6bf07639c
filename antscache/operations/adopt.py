"""Adopt: take over an existing directory of ANTsPyNet's.

    look_at -> judge ->     confirm ->  scan_networks -> take_over
    (bytes,    (recognised, (origins)   (findings)       (store, records,
     forms)     taken, left)                              selection)

Only the last step changes anything. It takes a file only with the bytes that were judged, and leaves a file alone that
has changed since. The record of a file of unknown bytes that no origin has confirmed has the trust `adopted`: only a
user vouches for it, and an origin's word replaces it.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from antscache.core import (
    Layout,
    Record,
    Selection,
    escape,
    fetchable,
    identifiers_by_file,
    ignore_events,
    with_optional,
)
from antscache.disk import hash_file
from antscache.errors import IntegrityError, ManifestError, StoreError
from antscache.formats import Hdf5Scanner
from antscache.operations.adoptable import (
    Evidence,
    Judged,
    describe_record,
    files_to_adopt,
    is_unchanged,
    judge,
    look_at,
    place_of,
)
from antscache.operations.confirm import ask_about, confirm
from antscache.operations.scans import scan_networks
from antscache.store import IngestVanished
from antscache.views import make_view, renew_other_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from antscache.core import Identifier, Listener, Manifest, Package
    from antscache.operations.adoptable import SeenFile
    from antscache.root import Root
    from antscache.store import CopyMethod, Store

MAX_LINK_ATTEMPTS = 3  # a garbage collection may take a blob between the store and its name in the view


class _LeftAloneError(Exception):
    """A file must be left alone after all; `str()` says why."""


def adopt_directory(  # noqa: PLR0913  all but the first three by name
    root: Root,
    directory: Path,
    manifest: Manifest,
    *,
    identifiers: Mapping[str, Identifier] | None = None,
    move: bool = False,
    dry_run: bool = False,
    listen: Listener = ignore_events,
) -> tuple[Judged, ...]:
    """Store, record and link the files in `directory` that are of a release.

    Unless offline, origins are asked for the size and MD5 of each file that rests on the user's word.

    If it is interrupted, the next run goes on from there.

    Args:
        root: takes them over.
        directory: a home, its `.keras`, or the directory in which ANTsPyNet keeps its files.
        manifest: of the release; a file of unknown bytes is taken for the file of its name in there.
        identifiers: the identifiers of files, by their names in `directory`, on the user's word.
        move: take the files out of `directory`, and copy only those that cannot be moved.
        dry_run: change nothing.
        listen: hears how many bytes were read; and why networks are not scanned, if h5py is broken.

    Returns:
        The fate of each file in `directory`; with `dry_run`, the fate that it would have.

    Raises:
        ManifestError: one of `identifiers` is not of the release, or not of a file in `directory`.
        StoreError: the root or `directory` cannot be read, the disk refused, or the files to move are in an antscache
            root. Each file is where it was, or in the store.
        ViewError: the disk refused; the files are in the store.
    """
    release, store = manifest.release, root.store
    paths = files_to_adopt(directory, release.package)
    if move:
        _refuse_root(directory, release.package)
    evidence = _evidence(root, manifest, identifiers or {})
    _check_named(evidence.named, manifest, paths)
    judged = judge(look_at(paths, listen), manifest, evidence)
    judged = tuple(confirm(judged, ask_about(root, release, judged, listen), listen))
    with closing(Hdf5Scanner()) as scanner:
        judged = tuple(scan_networks(judged, scanner, release, root.hazard_policy(), listen))
    if dry_run:
        return judged
    if any(file.entries for file in judged):
        store.create()
        root.catalog.save(manifest, root.layout.staging)
        judged = take_over(store, manifest, judged, move=move, listen=listen)
    if store.refs.selections(release):
        entries = {entry for file in judged for entry in file.entries}
        for _ in range(MAX_LINK_ATTEMPTS):
            if not make_view(root, release, entries).lost:
                break
            store.restore(file.seen.blob for file in judged if file.entries and file.seen.blob)
        renew_other_views(root, release)
    return judged


def _evidence(root: Root, manifest: Manifest, named: Mapping[str, Identifier]) -> Evidence:
    """Gather the records here and in lower caches, and the names of all known releases of the package."""
    package = manifest.release.package
    manifests = root.catalog.manifests(package)
    return Evidence(tuple(root.store.layers.all()), identifiers_by_file([*manifests, manifest]), named)


def _check_named(named: Mapping[str, Identifier], manifest: Manifest, paths: Iterable[Path]) -> None:
    """Check that the user names files that are there, and identifiers of the release.

    Raises:
        ManifestError: they are not.
    """
    names, known = {path.name for path in paths}, {entry.identifier for entry in with_optional(manifest).entries}
    for file, identifier in named.items():
        if file not in names:
            raise ManifestError(f"no such file in the directory: {file}", hint="name a file that is there")
        if identifier not in known:
            hint = f"`antscache list {manifest.release}` prints its identifiers; name another release with --as"
            raise ManifestError(f"{manifest.release} does not ask for {identifier}", hint=hint)


def _refuse_root(directory: Path, package: Package) -> None:
    """Refuse to move files out of an antscache root: its views, its store, or a lower cache.

    Raises:
        StoreError: the files are in an antscache root.
    """
    place = place_of(directory, package).resolve()
    for root in (place, *place.parents):
        with suppress(OSError):
            if Layout(root).description.exists():
                what = f"{directory} is in the antscache root {root}"
                raise StoreError(what, hint="adopt it without --move")


def take_over(
    store: Store, manifest: Manifest, judged: Iterable[Judged], *, move: bool, listen: Listener
) -> tuple[Judged, ...]:
    """Store, record and select the files of `judged` that are recognised or taken; do not touch those that are left.

    The selection is written first. A file's name goes last, once its bytes and its record are durable.

    Raises:
        StoreError: the disk refused; every file is where it was or in the store.
    """
    judged = tuple(judged)
    entries = {entry for file in judged for entry in file.entries}
    order = tuple(entry for entry in fetchable(with_optional(manifest).entries) if entry in entries)
    if order:
        store.refs.select(Selection(manifest.release, order))
    return tuple(_take_over_file(store, file, move=move, listen=listen) if file.entries else file for file in judged)


def _take_over_file(store: Store, judged: Judged, *, move: bool, listen: Listener) -> Judged:
    """Store and record a file that is recognised or taken; return its fate: it may have to be left alone after all."""
    seen = judged.seen
    assert seen.blob is not None  # noqa: S101  a file with entries has bytes
    try:
        if move:
            _check_directory(seen)
        _check_records(store, judged)
        way = None
        # A file that is moved goes into the store even if a lower cache has it: a lower cache may go away.
        if not (store.owns(seen.blob) if move else store.holds(seen.blob)):
            way = _take(store, seen, move=move, listen=listen)
        elif move:
            _check_blob(store, seen)
        if way is None:  # the process that stored it may have been killed before it synced
            store.sync_blobs()
        _record(store, judged, here=move)
        return replace(judged, way=way, why=_remove(store, seen) if move else "")
    except _LeftAloneError as error:
        return Judged(seen, "left", why=str(error))


def _check_directory(seen: SeenFile) -> None:
    """Check that you may remove the file from its directory.

    Raises:
        _LeftAloneError: you may not, as far as modes say.
    """
    if not os.access(seen.path.parent, os.W_OK | os.X_OK):
        raise _LeftAloneError("you may not move it out of its directory")


def _take(store: Store, seen: SeenFile, *, move: bool, listen: Listener) -> CopyMethod:
    """Store the bytes of a file; return how they came there: cloned, hard-linked or copied.

    Raises:
        _LeftAloneError: they cannot be stored, and the file is as it was.
        StoreError: another process removed them while they were written.
    """
    try:
        with store.ingest() as ingest:
            way = ingest.take(seen.path, move=move, listen=listen)
            if ingest.descriptor != seen.blob:
                raise _LeftAloneError("it changed while it was read")
            ingest.publish()
    except IngestVanished:
        raise StoreError(f"{ingest.path} was removed while it was written", hint="run the command again") from None
    except OSError as error:
        raise _LeftAloneError(f"it cannot be taken: {error.strerror}") from None
    return way


def _check_blob(store: Store, seen: SeenFile) -> None:
    """Check that the store's copy has the right bytes, before the file itself is removed.

    Raises:
        _LeftAloneError: it has not, or cannot be read.
    """
    assert seen.blob is not None  # noqa: S101  see above
    path = store.layout.blob(seen.blob.digest)
    try:
        if path.samefile(seen.path) or hash_file(path) == seen.blob:
            return
    except OSError as error:
        raise _LeftAloneError(f"the store's copy cannot be read: {error.strerror}") from None
    raise _LeftAloneError("the store's copy is damaged: run `antscache verify --repair`, then this again")


def _check_records(store: Store, judged: Judged) -> None:
    """Check that nobody has recorded other bytes of the file's identifiers meanwhile.

    Raises:
        _LeftAloneError: somebody has.
    """
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        confirmed = record and record.is_adopted and judged.trust != "adopted"
        if record and record.descriptor != judged.seen.blob and not confirmed:
            raise _LeftAloneError(f"other bytes were recorded for {describe_record(record)} meanwhile")


def _record(store: Store, judged: Judged, *, here: bool) -> None:
    """Record the file's identifiers: with the trust that it was judged to have, where there is no better record.

    Args:
        store: the root's.
        judged: a file whose bytes are in the store.
        here: record them in `store` even if a lower cache has a record.

    Raises:
        _LeftAloneError: other bytes were recorded meanwhile.
    """
    blob = judged.seen.blob
    assert blob is not None  # noqa: S101  see above
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    source = judged.source or escape(judged.seen.path)
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        if judged.source or record is None:
            trust, checks, findings = judged.trust, judged.checks, judged.findings
            record = Record(identifier, blob.digest, blob.size, trust, source, now, checks, findings=findings)
        elif not here or store.layout.record(identifier).exists():
            continue
        try:
            store.records.remember(record)
        except IntegrityError:
            raise _LeftAloneError(f"other bytes were recorded for {identifier} meanwhile") from None
    _check_records(store, judged)


def _identifiers(judged: Judged) -> list[Identifier]:
    return sorted({entry.identifier for entry in judged.entries if entry.identifier})


def _remove(store: Store, seen: SeenFile) -> str:
    """Remove the file from its directory, unless it has changed; return why it is still there, empty if it is gone."""
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
