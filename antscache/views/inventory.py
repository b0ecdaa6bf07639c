"""What is held of which release, and what each release costs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import fetchable, home_directory, select, union
from antscache.errors import StoreError
from antscache.formats import inspect

if TYPE_CHECKING:
    from antscache.core import Digest, Entry, Identifier, Kind, Manifest, Release, Status
    from antscache.root import Root
    from antscache.store import Store


@dataclass(frozen=True, slots=True)
class ReleaseUsage:
    """What is held of a release in use; sizes in bytes.

    Attributes:
        size: of all of it: what it costs alone.
        own: what of it no other release in use shares.
        shared: what of it others share.
        below: what of it lower caches have, and costs nothing here.
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
    """An entry that can be fetched, and what is known of its file.

    Attributes:
        path: where a view has it, whole; None where none has.
        digest: as it is recorded, and its `size` in bytes; None where nothing is.
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
    """Return each entry of `manifest`, and whether its bytes are held."""
    state = root.present_state(fetchable(manifest.entries))
    return tuple(
        (entry, "unavailable" if entry.identifier is None else "present" if state.blob(entry) else "missing")
        for entry in manifest.entries
    )


def locate_entries(root: Root, manifest: Manifest) -> tuple[EntryLocation, ...]:
    """Return each entry of `manifest` that can be fetched, and where its file is in a view, here or in a lower cache.

    Whether the file is whole is told by its size.
    """
    release = manifest.release
    directories = [store.layout.directory_in_view(release) for store in (root.store, *root.store.lowers)]

    def locate(entry: Entry, identifier: Identifier) -> EntryLocation:
        record = root.store.record(identifier)
        paths = (directory / entry.file for directory in directories)
        path = next((each for each in paths if record and _size_at(each) == record.size), None)
        digest, size = (record.digest, record.size) if record else (None, None)
        return EntryLocation(release, entry.kind, entry.name, entry.file, identifier, digest, size, path)

    return tuple(locate(entry, entry.identifier) for entry in manifest.entries if entry.identifier)


def find_in_user_home(root: Root, manifest: Manifest, kind: Kind, name: str) -> EntryLocation | None:
    """Find a valid copy of an entry's file in the user's own `~/.keras/ANTsXNet`, as a container may have it.

    It is whole, and has the bytes that are recorded, if any are. None if there is no such file.

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
    """Return what is held of each release in use, here or in a lower cache alone; that costs nothing here."""
    found = {usage.release: usage for usage in _usages_in(root.store)}
    for lower in root.store.lowers:
        with suppress(StoreError):  # it is as good as not there
            for usage in _usages_in(lower):
                found.setdefault(usage.release, replace(usage, own=0, shared=0, below=usage.size))
    return tuple(sorted(found.values(), key=lambda usage: usage.release))


def _usages_in(store: Store) -> tuple[ReleaseUsage, ...]:
    """What is held of each release in use in `store`."""
    selected = {release: union(store.refs.selections(release)) for release in store.refs.releases()}
    held = {release: store.present_state(entries).held_of(entries) for release, entries in selected.items()}
    blobs = {release: {blob for _, blob in pairs} for release, pairs in held.items()}
    users = Counter(blob for each in blobs.values() for blob in each)
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


def _size_at(path: Path) -> int | None:
    """How many bytes the file at `path` has; None if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
