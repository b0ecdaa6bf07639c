"""The files that are held of each release: their places, and the space that they take."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache.core import Descriptor, fetchable, merge_selections
from antscache.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Digest, Entry, Identifier, Kind, Manifest, Release, Status
    from antscache.root import Root
    from antscache.store import Store


@dataclass(frozen=True, slots=True)
class ReleaseUsage:
    """The space that the held files of a release in use take. Sizes are in bytes.

    Attributes:
        release: in use.
        entries: the number of its selected entries.
        present: the number of those that are held.
        size: the size of all its blobs, as if no other release shared them.
        own: the size of its blobs that no other release in use shares.
        shared: the size of its blobs that other releases in use share.
        below: the size of its blobs that only lower caches have, and that take no space here.
        home: its view.
    """

    release: Release
    entries: int
    present: int
    size: int
    own: int
    shared: int
    below: int
    home: Path


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry, and its file.

    Attributes:
        identifier: None if the entry cannot be fetched.
        digest: the digest of the file, or else the recorded one; None without a file and a record.
        size: the same for its size in bytes.
        path: the whole file, in a view or where else it was found; None if there is none.
    """

    release: Release
    kind: Kind
    name: str
    file: str
    identifier: Identifier | None
    digest: Digest | None
    size: int | None
    path: Path | None

    @classmethod
    def of(
        cls, release: Release, entry: Entry, blob: Descriptor | None = None, path: Path | None = None
    ) -> EntryLocation:
        """Return the location of an entry of `release`: the file at `path`, which is `blob`."""
        digest, size = (blob.digest, blob.size) if blob else (None, None)
        return cls(release, entry.kind, entry.name, entry.file, entry.identifier, digest, size, path)

    @property
    def blob(self) -> Descriptor | None:
        """The digest and size; None if they are unknown."""
        return None if self.digest is None or self.size is None else Descriptor(self.digest, self.size)


def statuses(root: Root, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
    """Return each entry of `manifest` with its status: present, missing, or unavailable, if it can never be fetched."""
    state = root.present_state(fetchable(manifest.entries))
    return tuple(
        (entry, "unavailable" if entry.identifier is None else "present" if state.blob(entry) else "missing")
        for entry in manifest.entries
    )


def locate_entries(root: Root, manifest: Manifest) -> tuple[EntryLocation, ...]:
    """Return each entry of `manifest` that can be fetched, with the path of its whole file in a view.

    The view may be in the root or in a lower cache. A file counts as whole if it has the recorded size; it is not read.
    """
    return tuple(locate_entry(root, manifest.release, entry) for entry in fetchable(manifest.entries))


def locate_entry(root: Root, release: Release, entry: Entry) -> EntryLocation:
    """Return one entry of `release`, as `locate_entries` does."""
    record = root.store.record(entry.identifier) if entry.identifier else None
    if record is None:
        return EntryLocation.of(release, entry)
    directories = (store.layout.directory_in_view(release) for store in (root.store, *root.store.lowers))
    paths = (directory / entry.file for directory in directories)
    path = next((path for path in paths if _file_size(path) == record.size), None)
    return EntryLocation.of(release, entry, record.descriptor, path)


def usages(root: Root) -> tuple[ReleaseUsage, ...]:
    """Return the usage of each release in use here or in a lower cache, sorted by release.

    A release that is in use in a lower cache alone takes no space here.
    """
    by_release = {usage.release: usage for usage in _usages_in(root.store)}
    for lower in root.store.lowers:
        with suppress(StoreError):  # a lower cache that cannot be read is passed over
            for usage in _usages_in(lower):
                by_release.setdefault(usage.release, replace(usage, own=0, shared=0, below=usage.size))
    return tuple(sorted(by_release.values(), key=lambda usage: usage.release))


def _usages_in(store: Store) -> tuple[ReleaseUsage, ...]:
    """Return the usage of each release in use in `store`."""
    selected = {release: merge_selections(store.refs.selections(release)) for release in store.refs.releases()}
    held = {release: store.present_state(entries).held_entries(entries) for release, entries in selected.items()}
    blobs = {release: {blob for _, blob in pairs} for release, pairs in held.items()}
    users = Counter(blob for of_release in blobs.values() for blob in of_release)
    here = {blob for blob in users if not store.lowers or store.owns(blob)}
    return tuple(
        ReleaseUsage(
            release=release,
            entries=len(entries),
            present=len(held[release]),
            size=sum(blob.size for blob in blobs[release]),
            own=sum(blob.size for blob in blobs[release] & here if users[blob] == 1),
            shared=sum(blob.size for blob in blobs[release] & here if users[blob] > 1),
            below=sum(blob.size for blob in blobs[release] - here),
            home=store.layout.view(release),
        )
        for release, entries in selected.items()
    )


def _file_size(path: Path) -> int | None:
    """Return the size of the file at `path` in bytes; None if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
