"""The public object: one line of code a verb.

manifest -> plan -> fetch -> store -> view
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from antscache import config, export, fetch, operations, views
from antscache.core import Manifest, check_usage, ignore_events, parse_release, select
from antscache.errors import StoreError
from antscache.root import Root

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from antscache.catalog import Catalog
    from antscache.config import LinkMode, Settings
    from antscache.core import (
        Descriptor,
        Digest,
        Entry,
        Identifier,
        Kind,
        Listener,
        Package,
        Plan,
        Release,
        Status,
        UsageRecord,
    )
    from antscache.export import Contents, Target
    from antscache.fetch import Need
    from antscache.operations import Garbage, Judged, Prefetched, Removed, Verified
    from antscache.root import UnusedLowerCache
    from antscache.store import Store
    from antscache.views import EntryLocation, Linked, ReleaseUsage, View

    Sizes = Mapping[Identifier, int]  # in bytes


class Cache:
    """A root and everything done with it.

    Reading never writes, but for manifests from the package index, which are kept. The root is made when it is first
    written to. Errors are of `antscache.errors`: whatever reads or writes the root can raise a StoreError.
    """

    def __init__(self, settings: Settings) -> None:
        self.root = Root.open(settings)

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None, **flags: Any) -> Cache:
        """Open the cache under `root`, set up by flags (`offline=True`, `jobs=4`, ...), environment and files.

        Raises:
            ConfigError: a setting cannot be used.
            StoreError: the root cannot be read, or has a newer layout.
        """
        return cls(config.load({"root": os.fspath(root) if root is not None else None, **flags}))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.root.settings

    @property
    def store(self) -> Store:
        """The blobs, records and refs of the root."""
        return self.root.store

    @property
    def catalog(self) -> Catalog:
        """The manifests at hand."""
        return self.root.catalog

    @property
    def unused(self) -> tuple[UnusedLowerCache, ...]:
        """The lower caches that were named and cannot be used, and why."""
        return self.root.unused

    # Which release

    def manifest(
        self,
        release: str | Release | None = None,
        *,
        package: Package = "antspynet",
        python: Path | None = None,
        source: Path | None = None,
    ) -> Manifest:
        """Return the manifest of `release`, of the installation or source that is named, or of the environment's.

        Raises:
            ManifestError: there is none, or its source is not understood.
            Offline: it would have to be read from the package index.
        """
        if source:
            return self.catalog.source(source)
        if release is None:
            return self.catalog.installed(package, python)
        wanted = parse_release(release) if isinstance(release, str) else release
        return self.catalog.find(wanted) or self._saved(self.catalog.manifest(wanted))

    def _saved(self, manifest: Manifest) -> Manifest:
        """Keep `manifest` for the next time, unless the root cannot be written to."""
        with suppress(StoreError):
            self.store.create()
            self.catalog.save(manifest, self.store.layout.staging)
        return manifest

    # The flow

    def plan(
        self,
        release: str | Manifest | None = None,
        *,
        names: Collection[str] = (),
        kinds: Collection[Kind] = (),
        accepted: Collection[Identifier] = (),
    ) -> Plan:
        """Plan how these entries of a release (all, without names and kinds) become present.

        The bytes of the `accepted` identifiers are taken although their form is not what the file's name says.

        Raises:
            ManifestError: no such release or name; or a name that can never be fetched was asked for.
        """
        manifest = release if isinstance(release, Manifest) else self.manifest(release)
        return self.plan_entries(manifest, select(manifest, names, kinds), accepted)

    def plan_entries(
        self,
        manifest: Manifest,
        entries: Collection[Entry],
        accepted: Collection[Identifier] = (),
        expected: Mapping[Identifier, Descriptor] | None = None,
    ) -> Plan:
        """Plan how these `entries` of `manifest` become present, with the bytes that are `expected` of identifiers.

        Raises:
            IntegrityError: something else is recorded.
        """
        return operations.make_plan(self.root, manifest, entries, accepted, expected)

    def plan_usage(self, usage: Mapping[Release, Collection[UsageRecord]]) -> list[Plan]:
        """Plan how what was asked for becomes present, with the same bytes.

        Raises:
            ManifestError: a release does not ask for it.
            IntegrityError: other bytes are recorded.
        """
        return [self._plan_usage(release, records) for release, records in usage.items()]

    def _plan_usage(self, release: Release, records: Collection[UsageRecord]) -> Plan:
        entries = tuple(sorted({record.entry for record in records}))
        manifest = self.catalog.find(release) or Manifest(release, entries)
        check_usage(records, manifest.entries, release)
        return self.plan_entries(manifest, entries, expected={each.identifier: each.blob for each in records})

    def prefetch(self, plan: Plan, listen: Listener = ignore_events, sizes: Sizes | None = None) -> Prefetched:
        """Make what `plan` selects present, verified, and linked in the release's view.

        The selection is written first, so that nothing of it is ever deleted; then bytes, records, links, and the
        index. A plan that is carried out already writes nothing. With the `sizes` of what is missing, the room on the
        disk is checked by them.

        Raises:
            Offline: something is missing, and nothing may be fetched.
            FetchError: no origin delivered some files; what was fetched is kept and linked.
            IntegrityError: an origin answered with other bytes than are recorded.
            StoreError, ViewError: the disk refused.
        """
        return operations.prefetch_plan(self.root, plan, listen, sizes)

    def sizes(self, plan: Plan, *, ask: bool = False) -> Sizes:
        """Return the sizes of what `plan` fetches, in bytes, as far as they are known.

        With `ask`, origins are asked for those that are not: for one byte of each file, at their pace.
        """
        return fetch.find_sizes(self.root, plan.fetch, ask=ask)

    def need(self, plan: Plan, sizes: Sizes | None = None) -> Need:
        """Return what `plan` needs on the disk of the root, as far as sizes are known, and what there is."""
        return operations.plan_need(self.root, plan, sizes)

    def check_space(self, plan: Plan, sizes: Sizes | None = None) -> None:
        """Check that the disk can hold what `plan` fetches, as far as sizes are known.

        Raises:
            StoreError: it cannot.
        """
        operations.check_space(self.root, plan, sizes)

    def least_seconds(self, plan: Plan) -> float:
        """Return the least duration of fetching `plan`, in seconds, that an origin's rate limit imposes."""
        return fetch.least_seconds(self.root, plan.fetch)

    # Views

    def view(self, release: Release) -> View:
        """Find the view of `release`.

        Raises:
            ViewError: nothing of the release is held.
        """
        return views.find_view(self.root, release)

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """Return what is selected of `release`: of it, the entries of these names and kinds.

        Raises:
            ViewError: nothing is.
            ManifestError: nothing of such a name is.
        """
        return views.selected_entries(self.root, release, names=names, kinds=kinds)

    def locate(self, manifest: Manifest) -> tuple[EntryLocation, ...]:
        """Return each entry of `manifest` that can be fetched, and where its file is in a view, here or below.

        Whether the file is whole is told by its size.
        """
        return views.locate_entries(self.root, manifest)

    def find_in_user_home(self, manifest: Manifest, kind: Kind, name: str) -> EntryLocation | None:
        """Find a valid copy of an entry's file in the user's own `~/.keras/ANTsXNet`.

        Raises:
            ManifestError: the release has no such entry, or cannot fetch it.
        """
        return views.find_in_user_home(self.root, manifest, kind, name)

    def link(self, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
        """Give `directory` the files of `entries`, so that nothing there points out of it. What else is there is kept.

        Raises:
            ViewError: a file is not held, a name in `directory` is taken by other bytes (nothing was changed then), or
                the disk refused.
        """
        return views.materialise(self.root, entries, directory, mode)

    # Upkeep

    def adopt(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        move: bool = False,
        dry_run: bool = False,
        listen: Listener = ignore_events,
    ) -> tuple[Judged, ...]:
        """Store, record and link the files in `directory` that are of a release; return what became of each.

        Args:
            directory: a home, its `.keras`, or where ANTsPyNet keeps its files.
            manifest: of the release that files of unknown bytes are taken for.
            move: take them out of `directory`, and copy nothing where that can be helped.
            dry_run: change nothing.
            listen: hears how many bytes were read; and why networks are not scanned, if h5py does not work.

        Raises:
            StoreError, ViewError: the disk refused; or the files to move are antscache's already.
        """
        return operations.adopt_directory(self.root, directory, manifest, move=move, dry_run=dry_run, listen=listen)

    def plan_export(
        self,
        releases: Collection[Release],
        *,
        names: Collection[str] = (),
        kinds: Collection[Kind] = (),
        adopted: bool = False,
    ) -> Contents:
        """Plan to export what is held of `releases`: what is selected of them, or of that these names and kinds.

        Args:
            releases: in use; those that have none of the names and kinds are left out.
            names: each of at least one of the releases.
            kinds: of entries.
            adopted: also files that are known on a user's word alone.

        Raises:
            ViewError: a release or a name is not in use, or a file is not held.
            ManifestError: no release has such a name, or anything of these kinds.
            AntsCacheError: a file is known on a user's word alone.
            ConfigError: SOURCE_DATE_EPOCH is not a time.
        """
        return export.plan_export(self.root, releases, names=names, kinds=kinds, adopted=adopted)

    def export(self, contents: Contents, target: Target, listen: Listener = ignore_events) -> int:
        """Write `contents` to `target`, as a root that is a lower cache elsewhere; return how many bytes that has.

        The same contents are the same bytes each time, but for what another version of a program makes of an image.

        Args:
            contents: as `plan_export` says.
            target: a directory or an image that is not there yet.
            listen: hears how many bytes were read.

        Raises:
            IntegrityError: a blob is damaged; nothing is there, as after any error.
            StoreError: something is there already, a blob cannot be read, or the disk refused.
            AntsCacheError: a program that makes the image is missing.
        """
        return export.write_export(self.root, contents, target, listen)

    def remove(self, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
        """Take what you selected of `release` out of use, and what nobody else selected out of its view.

        Args:
            release: in use. Its bytes stay until a garbage collection.
            force: take away what others selected as well.
            dry_run: change nothing.

        Raises:
            ViewError: nothing of it is in use, and nothing was changed; or the disk refused.
            StoreError: all of it is selected by others, or theirs to take away, or a selection cannot be read, and
                nothing was changed; or the disk refused.
        """
        return operations.remove_release(self.root, release, force=force, dry_run=dry_run)

    def verify(
        self,
        releases: Collection[Release] = (),
        *,
        deep: bool = False,
        repair: bool = False,
        listen: Listener = ignore_events,
    ) -> Verified:
        """Read everything again, or what `releases` use, and compare it with what it should be.

        Lower caches are read for `releases` that are in use there alone, and whole where there is no root: in an image.

        Args:
            releases: in use; all, if there are none.
            deep: repeat the checks of form.
            repair: move what is damaged aside, fetch again what is missing then, and make views and index anew.
            listen: hears how many bytes were read, from any thread; and what happens when something is fetched again.

        Raises:
            StoreError: the root cannot be read; or, repairing, not written to.
            ViewError: one of `releases` is not in use.
        """
        verify = operations.repair_root if repair else operations.verify_root
        return verify(self.root, releases, deep=deep, listen=listen)

    def sums(self, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
        """Return what `sha256sum -c` needs to come to the same verdict of blobs and views as `verify`.

        Raises:
            StoreError: the root cannot be read.
            ViewError: one of `releases` is not in use.
        """
        return operations.list_sums(self.root, releases)

    def gc(self, *, grace: float = operations.GRACE_SECONDS, dry_run: bool = False) -> Garbage:
        """Condemn what no ref reaches, and delete what was condemned longer ago than `grace` seconds.

        Args:
            grace: also how old a blob is at least that is condemned.
            dry_run: change nothing, and say what would be done.

        Raises:
            StoreError: a ref or record cannot be read, and nothing was done; or the disk refused.
        """
        return operations.collect_garbage(self.root, grace=grace, dry_run=dry_run)

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
        """Return each entry of `manifest`, and whether its bytes are held."""
        return views.statuses(self.root, manifest)

    def usages(self) -> tuple[ReleaseUsage, ...]:
        """Return what is held of each release in use."""
        return views.usages(self.root)
