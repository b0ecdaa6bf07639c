"""What is held of which release, and under which names: views, and what each release costs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache import view
from antscache.errors import StoreError, ViewError
from antscache.formats import FormError, form_of
from antscache.manifest import Entry, Manifest, Release, fetchable, home_directory
from antscache.plan import Status, select
from antscache.record import union

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.config import LinkMode
    from antscache.digest import Descriptor, Digest
    from antscache.manifest import Identifier, Kind
    from antscache.store import Store
    from antscache.view import Linked

    Held = tuple[tuple[Entry, Descriptor], ...]


@dataclass(frozen=True, slots=True)
class View:
    """The view of a release.

    Attributes:
        home: a directory in the shape of a home.
        selected: how many files belong in it.
        missing: the names of those that are not there.
    """

    home: Path
    selected: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
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
class Located:
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


class Presence:
    """What is held in `store` and below it; `mode` is how views are linked."""

    def __init__(self, store: Store, mode: LinkMode) -> None:
        self._store = store
        self._modes: tuple[LinkMode, ...] = view.INSIDE if mode == "auto" else (mode,)

    # Views

    def view(self, release: Release) -> View:
        """As `Cache.view` says."""
        refused = None
        for store in (self._store, *self._store.lowers):
            try:
                if found := view_in(store, release):
                    return found
            except StoreError as error:  # noqa: PERF203
                refused = refused or error
        raise refused or ViewError(f"nothing of {release} is held in {self._places()}", hint=prefetch_hint(release))

    def _places(self) -> str:
        """The root and its lower caches, in words."""
        lowers = [str(lower.layout.root) for lower in self._store.lowers]
        return f"{self._store.layout.root}{' or below it in ' if lowers else ''}{', '.join(lowers)}"

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """As `Cache.selected` says."""
        refused = None
        for store in (self._store, *self._store.lowers):
            try:
                if entries := union(store.refs.selections(release)):
                    return select(Manifest(release, entries), names, kinds)
            except StoreError as error:  # noqa: PERF203
                refused = refused or error
        raise refused or ViewError(f"nothing of {release} is held in {self._places()}", hint=prefetch_hint(release))

    def make_view(self, release: Release, wanted: Collection[Entry] = ()) -> Linked:
        """The release's view has what is selected of it and held, and the index says so.

        What of `wanted` is not held is lost.
        """
        entries = union(self._store.refs.selections(release))
        held = self._store.held(entries)
        directory = self._store.layout.view(release) / home_directory(release.package)
        here, below = files_of(self._store, held)
        linked = view.link(directory, here, self._modes, ours=True, below=below, shared=self._store.layout.shared_root)
        view.drop_dangling(directory, {entry.file for entry in entries} - here.keys() - below.keys())
        linked.lost += sorted({entry.file for entry in wanted} - here.keys() - below.keys())
        if not self._store.is_indexed(release, held):
            self._store.update_index()
        return linked

    def link(self, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
        """As `Cache.link` says."""
        held = self._store.held(entries)
        if len(held) < len(entries):  # an interrupted garbage collection may have left them in the trash
            self._store.restore(blob for _, blob in self._store.blobs_of(entries))
            held = self._store.held(entries)
        if len(held) < len(entries):
            raise ViewError(
                f"{len(entries) - len(held)} of {len(entries)} files are not held in {self._store.layout.root}",
                hint="run `antscache prefetch` again for the release, or link only some with --name or --kind",
            )
        modes: tuple[LinkMode, ...] = view.OUTSIDE if mode == "auto" else (mode,)
        here, below = files_of(self._store, held)
        linked = view.link(directory, here, modes, ours=False, below=below)
        if linked.lost:
            lost = f"{linked.lost[0]} was deleted meanwhile"
            raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
        return linked

    def located(self, manifest: Manifest) -> tuple[Located, ...]:
        """As `Cache.located` says."""
        release = manifest.release
        directories = [
            store.layout.view(release) / home_directory(release.package) for store in (self._store, *self._store.lowers)
        ]

        def locate(entry: Entry, identifier: Identifier) -> Located:
            record = self._store.record(identifier)
            views = (directory / entry.file for directory in directories)
            path = next((each for each in views if record and _size(each) == record.size), None)
            digest, size = (record.digest, record.size) if record else (None, None)
            return Located(release, entry.kind, entry.name, entry.file, identifier, digest, size, path)

        return tuple(locate(entry, entry.identifier) for entry in manifest.entries if entry.identifier)

    def brought(self, manifest: Manifest, kind: Kind, name: str) -> Located | None:
        """As `Cache.brought` says."""
        from antscache.hashing import hashed

        (entry,) = select(manifest, [name], [kind])
        form, record = form_of(entry.file), self._store.record(entry.identifier) if entry.identifier else None
        with suppress(OSError, RuntimeError, FormError):  # no home; no file; not whole
            path = Path.home() / home_directory(manifest.release.package) / entry.file
            blob = hashed(path, form.feed)
            form.finish()
            if entry.identifier and (record is None or record.descriptor == blob):
                release, identifier = manifest.release, entry.identifier
                return Located(release, kind, name, entry.file, identifier, blob.digest, blob.size, path)
        return None

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
        """Each entry of `manifest`, and whether its bytes are in the store."""
        held = dict(self._store.held(fetchable(manifest.entries)))
        return tuple(
            (entry, "unavailable" if entry.identifier is None else "present" if entry in held else "missing")
            for entry in manifest.entries
        )

    def usages(self) -> tuple[Usage, ...]:
        """What is held of each release in use, here or in a lower cache alone; that costs nothing here."""
        found = {usage.release: usage for usage in usages_in(self._store)}
        for lower in self._store.lowers:
            with suppress(StoreError):  # it is as good as not there
                for usage in usages_in(lower):
                    found.setdefault(usage.release, replace(usage, own=0, shared=0, below=usage.size))
        return tuple(sorted(found.values(), key=lambda usage: usage.release))


def usages_in(store: Store) -> tuple[Usage, ...]:
    """What is held of each release in use in `store`."""
    selected = {release: union(store.refs.selections(release)) for release in store.refs.releases()}
    held = {release: store.held(entries) for release, entries in selected.items()}
    blobs = {release: {blob for _, blob in pairs} for release, pairs in held.items()}
    users = Counter(blob for each in blobs.values() for blob in each)
    here = {blob for blob in users if not store.lowers or store.owns(blob)}
    return tuple(
        Usage(
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


def _size(path: Path) -> int | None:
    """How many bytes the file at `path` has; None if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def view_in(store: Store, release: Release) -> View | None:
    """The view of `release` in `store`; None if nothing of it is held for it there."""
    entries = union(store.refs.selections(release))
    held = store.held(entries)
    if not held:
        return None
    home = store.layout.view(release)
    here, below = files_of(store, held)
    absent = view.missing(home / home_directory(release.package), here | below)
    not_held = sorted({entry.file for entry in entries} - {entry.file for entry, _ in held})
    return View(home, len(entries), tuple(not_held + absent))


def files_of(store: Store, held: Held) -> tuple[dict[str, Path], dict[str, Path]]:
    """File names and where their blobs are: those in `store` itself, and those in its lower caches."""
    here, below = dict[str, Path](), dict[str, Path]()
    for entry, blob in held:
        if path := store.find(blob):
            (here if path.parent == store.layout.blobs else below)[entry.file] = path
    return here, below


def prefetch_hint(release: Release) -> str:
    """What to do where nothing of `release` is held."""
    return f"run `antscache prefetch {release}`"
