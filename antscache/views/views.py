"""What is held of which release, and under which names: views, and what each release costs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import Entry, Manifest, Release, Status, fetchable, home_directory, select, union
from antscache.errors import StoreError, ViewError
from antscache.formats import FormError, form_of
from antscache.views import links
from antscache.views.inventory import EntryLocation, ReleaseUsage, size_at, usages_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.config import LinkMode
    from antscache.core import Descriptor, Identifier, Kind
    from antscache.store import Store
    from antscache.views.links import Linked

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


class Presence:
    """What is held in `store` and below it; `mode` is how views are linked."""

    def __init__(self, store: Store, mode: LinkMode) -> None:
        self._store = store
        self._modes: tuple[LinkMode, ...] = links.INSIDE if mode == "auto" else (mode,)

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
        linked = links.link(directory, here, self._modes, ours=True, below=below, shared=self._store.layout.shared_root)
        links.drop_dangling(directory, {entry.file for entry in entries} - here.keys() - below.keys())
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
        modes: tuple[LinkMode, ...] = links.OUTSIDE if mode == "auto" else (mode,)
        here, below = files_of(self._store, held)
        linked = links.link(directory, here, modes, ours=False, below=below)
        if linked.lost:
            lost = f"{linked.lost[0]} was deleted meanwhile"
            raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
        return linked

    def located(self, manifest: Manifest) -> tuple[EntryLocation, ...]:
        """As `Cache.located` says."""
        release = manifest.release
        directories = [
            store.layout.view(release) / home_directory(release.package) for store in (self._store, *self._store.lowers)
        ]

        def locate(entry: Entry, identifier: Identifier) -> EntryLocation:
            record = self._store.record(identifier)
            views = (directory / entry.file for directory in directories)
            path = next((each for each in views if record and size_at(each) == record.size), None)
            digest, size = (record.digest, record.size) if record else (None, None)
            return EntryLocation(release, entry.kind, entry.name, entry.file, identifier, digest, size, path)

        return tuple(locate(entry, entry.identifier) for entry in manifest.entries if entry.identifier)

    def brought(self, manifest: Manifest, kind: Kind, name: str) -> EntryLocation | None:
        """As `Cache.brought` says."""
        from antscache.disk import hash_file

        (entry,) = select(manifest, [name], [kind])
        form, record = form_of(entry.file), self._store.record(entry.identifier) if entry.identifier else None
        with suppress(OSError, RuntimeError, FormError):  # no home; no file; not whole
            path = Path.home() / home_directory(manifest.release.package) / entry.file
            blob = hash_file(path, form.feed)
            form.finish()
            if entry.identifier and (record is None or record.descriptor == blob):
                release, identifier = manifest.release, entry.identifier
                return EntryLocation(release, kind, name, entry.file, identifier, blob.digest, blob.size, path)
        return None

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
        """Each entry of `manifest`, and whether its bytes are in the store."""
        held = dict(self._store.held(fetchable(manifest.entries)))
        return tuple(
            (entry, "unavailable" if entry.identifier is None else "present" if entry in held else "missing")
            for entry in manifest.entries
        )

    def usages(self) -> tuple[ReleaseUsage, ...]:
        """What is held of each release in use, here or in a lower cache alone; that costs nothing here."""
        found = {usage.release: usage for usage in usages_in(self._store)}
        for lower in self._store.lowers:
            with suppress(StoreError):  # it is as good as not there
                for usage in usages_in(lower):
                    found.setdefault(usage.release, replace(usage, own=0, shared=0, below=usage.size))
        return tuple(sorted(found.values(), key=lambda usage: usage.release))


def view_in(store: Store, release: Release) -> View | None:
    """The view of `release` in `store`; None if nothing of it is held for it there."""
    entries = union(store.refs.selections(release))
    held = store.held(entries)
    if not held:
        return None
    home = store.layout.view(release)
    here, below = files_of(store, held)
    absent = links.missing(home / home_directory(release.package), here | below)
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
