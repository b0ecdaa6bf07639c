"""The files that are held of each release: their places, and the space that they take."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import fetchable, home_directory, merge_selections, select
from antscache.errors import StoreError
from antscache.formats import inspect

if TYPE_CHECKING:
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
        adopted: the number of its held entries of which a user's word alone says that these are their bytes.
        home: its view.
    """

    release: Release
    entries: int
    present: int
    size: int
    own: int
    shared: int
    below: int
    adopted: int
    home: Path


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry that can be fetched, and its file.

    Attributes:
        digest: the recorded digest; None without a record.
        size: the recorded size in bytes; None without a record.
        path: the whole file in a view; None if no view has it.
    """

    release: Release
    kind: Kind
    name: str
    file: str
    identifier: Identifier
    digest: Digest | None
    size: int | None
    path: Path | None


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
    release = manifest.release
    directories = [store.layout.directory_in_view(release) for store in (root.store, *root.store.lowers)]
    records = root.present_state(manifest.entries).records

    def locate(entry: Entry, identifier: Identifier) -> EntryLocation:
        record = records.get(identifier)
        paths = (directory / entry.file for directory in directories)
        path = next((path for path in paths if record and _file_size(path) == record.size), None)
        digest, size = (record.digest, record.size) if record else (None, None)
        return EntryLocation(release, entry.kind, entry.name, entry.file, identifier, digest, size, path)

    return tuple(locate(entry, entry.identifier) for entry in manifest.entries if entry.identifier)


def find_in_user_home(root: Root, manifest: Manifest, kind: Kind, name: str) -> EntryLocation | None:
    """Find a valid copy of an entry's file in the user's own `~/.keras/ANTsXNet`; None if there is none.

    A container may mount that home. A valid copy has the form that its name says, and the recorded bytes if there is a
    record.

    Raises:
        ManifestError: the release has no such entry, or cannot fetch it.
    """
    (entry,) = select(manifest, [name], [kind])
    record = root.store.record(entry.identifier) if entry.identifier else None
    with suppress(OSError, RuntimeError):  # no home; no file
        path = Path.home() / home_directory(manifest.release.package) / entry.file
        blob, problem = inspect(path, entry.file)
        if entry.identifier and not problem and (record is None or record.descriptor == blob):
            release, identifier = manifest.release, entry.identifier
            return EntryLocation(release, kind, name, entry.file, identifier, blob.digest, blob.size, path)
    return None


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
    states = {release: store.present_state(entries) for release, entries in selected.items()}
    held = {release: states[release].held_entries(entries) for release, entries in selected.items()}
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
            adopted=sum(states[release].records[str(entry.identifier)].is_adopted for entry, _ in held[release]),
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
