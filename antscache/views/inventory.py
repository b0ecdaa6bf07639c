"""The files that are held of each release: their places, and the space that they take."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import Descriptor, fetchable, merge_selections
from antscache.errors import StoreError
from antscache.views.names import compare_name
from antscache.views.views import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from antscache.core import Digest, Entry, Identifier, Kind, Manifest, Record, Release, Status
    from antscache.root import Root
    from antscache.store import Store


@dataclass(frozen=True, slots=True)
class ReleaseUsage:
    """The space that the held files of a release in use take. Sizes are in bytes.

    Attributes:
        release: in use.
        entries: the number of its selected entries.
        offered: the number of all entries that the release can fetch, as far as its manifest is at hand.
        present: the number of the selected ones that are held.
        size: the size of all its blobs, as if no other release shared them.
        own: the size of its blobs that no other release in use shares.
        shared: the size of its blobs that other releases in use share.
        below: the size of its blobs that only lower caches have, and that take no space here.
        adopted: the number of its held entries of which a user's word alone says that these are their bytes.
        home: its view.
    """

    release: Release
    entries: int
    offered: int
    present: int
    size: int
    own: int
    shared: int
    below: int
    adopted: int
    home: Path


@dataclass(frozen=True, slots=True)
class NameApart:
    """A name in a view that has right bytes, but is a file of its own.

    Attributes:
        path: of the name.
        size: in bytes.
        inode: of the file.
        may_be_clone: False if the filesystem certainly has no reflinks, so that the file is a copy of its blob.
    """

    path: Path
    size: int
    inode: int
    may_be_clone: bool


@dataclass(frozen=True, slots=True)
class Names:
    """The names in a root's views that have the bytes of their blobs.

    Attributes:
        count: their number.
        apart: those that are files of their own.
    """

    count: int
    apart: tuple[NameApart, ...]

    @property
    def copies(self) -> tuple[NameApart, ...]:
        """Those that are certainly copies, which take space beside their blobs."""
        return tuple(name for name in self.apart if not name.may_be_clone)

    @property
    def clones(self) -> int:
        """The number of those that are clones, which share their blobs' space, or copies: nobody can tell which."""
        return len(self.apart) - len(self.copies)


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """An entry with its status, and the record of its bytes if they are held, else None."""

    entry: Entry
    status: Status
    record: Record | None


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry, and its file.

    Attributes:
        name: empty if none of the getter's names can be read.
        identifier: None if the entry cannot be fetched, or cannot be read in the source.
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


def statuses(root: Root, manifest: Manifest) -> tuple[EntryStatus, ...]:
    """Return each entry of `manifest` with its status; read each record once.

    It is present, missing, unavailable (the release itself has no URL for it), or unreadable (antscache cannot tell its
    bytes from the source).
    """
    state = root.present_state(fetchable(manifest.entries))

    def status(entry: Entry) -> EntryStatus:
        if entry.identifier is None:
            return EntryStatus(entry, "unavailable" if entry.reason else "unreadable", None)
        if state.blob(entry) is None:
            return EntryStatus(entry, "missing", None)
        return EntryStatus(entry, "present", state.records[entry.identifier])

    return tuple(map(status, manifest.entries))


def locate_entries(root: Root, manifest: Manifest) -> tuple[EntryLocation, ...]:
    """Return each entry of `manifest` that can be fetched, with the path of its whole file in a view.

    The view may be in the root or in a lower cache. A file counts as whole if it has the recorded size; it is not read.
    An entry that antscache cannot read in the source has no path; nor has a getter, which is an entry without a name.
    """
    release, records = manifest.release, root.present_state(manifest.entries).records
    entries = (
        _locate(root, release, entry, records.get(entry.identifier) if entry.identifier else None)
        for entry in manifest.entries
        if not entry.reason
    )
    unread = (EntryLocation(release, getter.kind, "", "", None, None, None, None) for getter in manifest.unread)
    return (*entries, *unread)


def locate_entry(root: Root, release: Release, entry: Entry) -> EntryLocation:
    """Return one entry of `release`, as `locate_entries` does."""
    return _locate(root, release, entry, root.store.record(entry.identifier) if entry.identifier else None)


def _locate(root: Root, release: Release, entry: Entry, record: Record | None) -> EntryLocation:
    if record is None:
        return EntryLocation.of(release, entry)
    paths = (store.layout.place_in_view(release, entry) for store in (root.store, *root.store.lowers))
    path = next((path for path in paths if _file_size(path) == record.size), None)
    return EntryLocation.of(release, entry, record.descriptor, path)


def usages(root: Root) -> tuple[ReleaseUsage, ...]:
    """Return the usage of each release in use here or in a lower cache, sorted by release.

    A release that is in use in a lower cache alone takes no space here.
    """
    by_release = {usage.release: usage for usage in _usages_in(root.store, root.catalog.find)}
    for lower in root.store.lowers:
        with suppress(StoreError):  # a lower cache that cannot be read is passed over
            for usage in _usages_in(lower, root.catalog.find):
                by_release.setdefault(usage.release, replace(usage, own=0, shared=0, below=usage.size))
    return tuple(sorted(by_release.values(), key=lambda usage: usage.release))


def names_in_views(store: Store, releases: Collection[Release] = ()) -> Names:
    """Look at the names in the views of `releases` in `store`, or of all in use; read no file.

    Raises:
        StoreError: a selection or a record cannot be read.
    """
    count, apart = 0, list[NameApart]()
    for release in releases or store.refs.releases():
        entries = merge_selections(store.refs.selections(release))
        here, below = files_of(store, store.present_state(entries).held_entries(entries), release.package)
        home, may_clone = store.layout.view(release), None
        for name, blob in (here | below).items():
            kind = compare_name(path := home / name, blob)
            count += kind != "other"
            with suppress(FileNotFoundError):
                if kind == "apart":
                    status = path.stat()
                    may_clone = disk.may_clone(path) if may_clone is None else may_clone
                    apart.append(NameApart(path, status.st_size, status.st_ino, may_clone))
    return Names(count, tuple(apart))


def _offered(manifest: Manifest | None, selected: Collection[Entry]) -> int:
    """Count the entries that can be fetched, and selected ones beside them: Keras's own weights."""
    return len({*fetchable(manifest.entries if manifest else ()), *selected})


def _usages_in(store: Store, find: Callable[[Release], Manifest | None]) -> tuple[ReleaseUsage, ...]:
    """Return the usage of each release in use in `store`; `find` returns its manifest, if that is at hand."""
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
            offered=_offered(find(release), entries),
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
