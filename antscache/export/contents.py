"""Decide the contents of an export, and plan its tree, before anything is written.

The same selection and the same bytes give the same tree, on any host, for any user, on any day. So those parts of a
record that differ between hosts, users and days are left out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache import catalog, config
from antscache.core import (
    CACHEDIR_TAG,
    Description,
    Descriptor,
    Digest,
    Layout,
    Record,
    Selection,
    as_told,
    descriptor_of,
    fetchable,
    needed_layout,
    unknown_names,
    with_optional,
)
from antscache.errors import MAX_LISTED_ITEMS, AntsCacheError, IntegrityError, ManifestError, ViewError
from antscache.store import EMPTY_BLOB, OCI_LAYOUT, artifact_manifest, index_document, view_digest
from antscache.views import prefetch_hint, selected_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.catalog import Catalog
    from antscache.core import Entry, Kind, LockedRelease, Lockfile, Manifest, Release
    from antscache.root import Root
    from antscache.store import Store

    Selected = Mapping[Release, tuple[Entry, ...]]


@dataclass(frozen=True, slots=True)
class ExportedRelease:
    """A release, and those of its files that are exported.

    Attributes:
        files: the exported entries, sorted, each with its record.
        manifest: the manifest of the whole release; None if every antscache is shipped with it.
    """

    release: Release
    files: tuple[tuple[Entry, Record], ...]
    manifest: Manifest | None = None

    @property
    def selection(self) -> Selection:
        """The selection of the exported entries."""
        return Selection(self.release, tuple(entry for entry, _ in self.files))

    @property
    def document(self) -> bytes:
        """The artifact manifest of the release, as bytes."""
        return artifact_manifest((entry.file, record.descriptor) for entry, record in self.files)

    @property
    def digest(self) -> Digest:
        """The digest of the artifact manifest, which the index names: equal views have equal digests."""
        return view_digest((entry.file, record.descriptor) for entry, record in self.files)


@dataclass(frozen=True, slots=True)
class Contents:
    """The exported releases, and the modification time of everything in the export, in seconds since 1970."""

    parts: tuple[ExportedRelease, ...]
    seconds: int = 0

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all exported files, each identifier once, sorted, as they count for readers."""
        records = {record.identifier: as_told(record) for part in self.parts for _, record in part.files}
        return tuple(records[identifier] for identifier in sorted(records))

    @property
    def names(self) -> dict[Descriptor, str]:
        """The blobs of all exported files, each with the first of its sorted file names."""
        names = sorted((entry.file, record.descriptor) for part in self.parts for entry, record in part.files)
        return {blob: name for name, blob in reversed(names)}

    @property
    def size(self) -> int:
        """The bytes of the blobs of all exported files."""
        return sum(blob.size for blob in self.names)


@dataclass(frozen=True, slots=True)
class Tree:
    """The plan of a tree: the sizes in bytes of its files and its links, by their paths in it."""

    files: Mapping[Path, int]
    links: Mapping[Path, int]

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories, the tree itself first, each after its parent."""
        return tuple(sorted({above for path in (*self.files, *self.links) for above in path.parents}))

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(self.files.values())


# The contents


def plan_export(
    root: Root,
    releases: Iterable[Release],
    *,
    names: Collection[str] = (),
    kinds: Collection[Kind] = (),
    adopted: bool = False,
) -> Contents:
    """Plan the export of the selected files of `releases`, or of those that have the given names and kinds.

    Args:
        root: a root that holds the files, itself or in its lower caches.
        releases: releases in use.
        names: names of entries; each must be one of at least one release. If empty, every name is exported.
        kinds: kinds of entries. If empty, every kind is exported.
        adopted: export adopted files too.

    Raises:
        ViewError: a release is not in use, a name is not selected, or a file is not held.
        ManifestError: no release has an entry of such a name, or of these kinds.
        AntsCacheError: a file was adopted, and `adopted` is False.
        StoreError: a selection or a record cannot be read.
        ConfigError: SOURCE_DATE_EPOCH is not a time.
    """
    manifests, seconds = root.catalog, config.read_source_date()
    selected = {release: selected_entries(root, release) for release in releases}
    _refuse_unselected(selected, manifests, names)
    parts = []
    for release, entries in choose(selected, names, kinds).items():
        files = tuple((entry, anonymous(record, seconds)) for entry, record in _held(root.store, release, entries))
        parts.append(ExportedRelease(release, files, _unshipped(manifests.find(release))))
    contents = Contents(tuple(sorted(parts, key=lambda part: part.release)), seconds)
    if not adopted:
        _refuse_adopted(contents)
    return contents


def plan_locked_export(root: Root, lockfile: Lockfile, *, adopted: bool = False) -> Contents:
    """Plan the export of exactly the files of `lockfile`, in use or not.

    Args:
        root: a root that holds the files, itself or in its lower caches.
        lockfile: of the files.
        adopted: export adopted files too.

    Raises:
        ViewError: a file is not held.
        IntegrityError: other bytes are recorded than are locked.
        AntsCacheError: a file was adopted, and `adopted` is False.
        StoreError: a record cannot be read.
        ConfigError: SOURCE_DATE_EPOCH is not a time.
    """
    seconds = config.read_source_date()
    parts = []
    for locked in lockfile.releases:
        release, entries = locked.release, tuple(each.entry for each in locked.entries)
        _refuse_other_bytes(root.store, locked)
        files = tuple((entry, anonymous(record, seconds)) for entry, record in _held(root.store, release, entries))
        parts.append(ExportedRelease(release, files, _unshipped(root.catalog.find(release))))
    contents = Contents(tuple(parts), seconds)
    if not adopted:
        _refuse_adopted(contents)
    return contents


def _refuse_other_bytes(store: Store, locked: LockedRelease) -> None:
    """Refuse a record that names other bytes than are locked, whether or not these are held.

    Raises:
        IntegrityError: there is one.
    """
    for each in locked.entries:
        record = store.record(each.identifier)
        if record and record.descriptor != each.blob:
            raise IntegrityError(
                f"{each.identifier} is recorded as {record.describe()}, but {each.digest} is locked",
                hint="an identifier's bytes never change: one of the two is wrong; if it is the record, "
                f"run `antscache forget {each.identifier}` and prefetch again",
            )


def choose(selected: Selected, names: Collection[str], kinds: Collection[Kind]) -> Selected:
    """Return those `selected` entries that have the given names and kinds, of the releases that have any: pure.

    Raises:
        ManifestError: none of the releases has an entry of such a name, or of these kinds.
    """
    where = " or ".join(map(str, selected))
    of_kind = {
        release: [entry for entry in entries if not kinds or entry.kind in kinds]
        for release, entries in selected.items()
    }
    known = {entry.name for entries in of_kind.values() for entry in entries}
    if not known:
        hint = "`antscache list RELEASE` prints the entries of a release with their kinds"
        raise ManifestError(f"no file of kind {' or '.join(kinds)} is selected in {where}", hint=hint)
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        raise unknown_names(unknown, known, where, str(next(iter(selected))))
    chosen = {
        release: tuple(entry for entry in entries if not names or entry.name in names)
        for release, entries in of_kind.items()
    }
    return {release: entries for release, entries in chosen.items() if entries}


def anonymous(record: Record, seconds: int) -> Record:
    """Return `record` without anything that depends on the host, the user or the day.

    Of its checks only the digest stays, which the export itself compares. The other checks depend on the answers of the
    origin, and on the programs that the host has installed.
    """
    recorded = dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")
    checks = ("digest", "walk") if "walk" in record.checks else ("digest",)
    return msgspec.structs.replace(record, source="export", recorded=recorded, checks=checks)


def _refuse_unselected(selected: Selected, manifests: Catalog, names: Collection[str]) -> None:
    """Refuse names that a release has but that are not selected, with a hint that tells them from misspelt ones.

    Raises:
        ViewError: one of `names` is not selected.
    """
    selected_names = {entry.name for entries in selected.values() for entry in entries}
    for release in selected:
        manifest = manifests.find(release)
        available = {e.name for e in fetchable(with_optional(manifest).entries)} if manifest else set()
        if unselected := [name for name in dict.fromkeys(names) if name in available - selected_names]:
            message = f"not selected in {release}: {', '.join(unselected)}"
            raise ViewError(message, hint=_prefetch_hint(release, unselected))


def _held(store: Store, release: Release, entries: Collection[Entry]) -> list[tuple[Entry, Record]]:
    """Return each of `entries` with its record.

    Raises:
        ViewError: `store` does not hold the bytes of all of them.
    """
    held: list[tuple[Entry, Record]] = []
    missing: list[Entry] = []
    for entry in entries:
        record = store.record(entry.identifier) if entry.identifier else None
        if record and store.holds(record.descriptor):
            held.append((entry, record))
        else:
            missing.append(entry)
    if missing:
        files = ", ".join(entry.file for entry in missing[:MAX_LISTED_ITEMS])
        more = f" and {len(missing) - MAX_LISTED_ITEMS} more" if len(missing) > MAX_LISTED_ITEMS else ""
        count = f"{len(missing)} of {len(entries)} files"
        raise ViewError(
            f"missing in {store.layout.root}: {files}{more} ({count} of {release})",
            hint=_prefetch_hint(release, [entry.name for entry in missing]),
        )
    return held


def _prefetch_hint(release: Release, names: Collection[str]) -> str:
    """Return a hint that fetches these names of `release`, or the whole release if they are many."""
    if len(names) > MAX_LISTED_ITEMS:
        return prefetch_hint(release)
    return f"run `antscache prefetch {release}{''.join(f' --name {name}' for name in names)}`"


def _refuse_adopted(contents: Contents) -> None:
    """Refuse adopted files: a user says what they are, and no origin has confirmed it.

    Raises:
        AntsCacheError: a file of `contents` was adopted.
    """
    adopted = [(part.release, entry) for part in contents.parts for entry, record in part.files if record.is_adopted]
    if adopted:
        release, entry = adopted[0]
        files = len({entry.identifier for _, entry in adopted})
        more = f" and {files - 1} more" if files > 1 else ""
        raise AntsCacheError(
            f"adopted, and not confirmed by an origin: {entry.file} of {release}{more}",
            hint="add --adopted to export such files too, or fetch the release into another root and export that: "
            f"`antscache --root DIR prefetch {release}`",
        )


def _unshipped(manifest: Manifest | None) -> Manifest | None:
    """Return `manifest`, or None if every antscache is shipped with it."""
    return manifest if manifest and catalog.shipped_manifest(manifest.release) != manifest else None


# The tree


def tree_of(contents: Contents) -> Tree:
    """Plan the tree of `contents`."""
    layout = Layout(Path())
    documents = {part.release: descriptor_of(part.document) for part in contents.parts}
    files = {
        layout.tag: len(CACHEDIR_TAG),
        layout.description: len(_line(Description(needed_layout(each.identifier for each in contents.records)))),
        layout.oci: len(OCI_LAYOUT),
        layout.index: len(index_document(documents.items())),
    }
    files |= {layout.blob(blob.digest): blob.size for blob in (EMPTY_BLOB, *documents.values(), *contents.names)}
    files |= {layout.record(record.identifier): len(_line(record)) for record in contents.records}
    for part in contents.parts:
        selection, kept = part.selection, part.manifest
        files[layout.selections(part.release) / f"{selection.name}.json"] = len(selection.encode())
        if kept:
            files[layout.catalog / f"{kept.release.slug}.json"] = len(catalog.encode_manifest(kept))
    return Tree(files, {link: size for part in contents.parts for link, size in _links(layout, part)})


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _links(layout: Layout, part: ExportedRelease) -> Iterable[tuple[Path, int]]:
    """Yield the path of each link in a release's view, and the length of its target in bytes."""
    target = len(str(layout.blob(EMPTY_BLOB.digest)))
    places = (layout.place_in_view(part.release, entry) for entry, _ in part.files)
    return ((place, len("../") * (len(place.parts) - 1) + target) for place in places)


def layer_of(name: str, layers: int) -> int:
    """Return the number of the layer, below `layers`, that the file called `name` belongs to.

    The number depends on the name alone: a file stays in its layer when its bytes change, and no other layer changes.
    """
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % layers
