"""The cache: the flow on one screen.

manifest -> plan -> fetch -> store -> view
"""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antscache import config, operations
from antscache.catalog import Catalog
from antscache.core import (
    Entry,
    Identifier,
    Kind,
    Listener,
    Manifest,
    Package,
    Plan,
    Release,
    Status,
    check_usage,
    ignore_events,
    parse_release,
    select,
)
from antscache.errors import StoreError
from antscache.operations import GRACE, Prefetched, Prefetching, Removed
from antscache.store import Store
from antscache.views import EntryLocation, Presence, ReleaseUsage, View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from antscache.config import LinkMode, Settings
    from antscache.core import Descriptor, Digest, Record, UsageRecord
    from antscache.export import Contents, Target
    from antscache.fetch import Need
    from antscache.operations import Garbage, Judged, Repair, Verified
    from antscache.views import Linked

__all__ = ["Cache", "EntryLocation", "Prefetched", "ReleaseUsage", "Removed", "Unused", "View"]

TRIES = 3  # times that a name is linked whose blob a garbage collection may just have taken


@dataclass(frozen=True, slots=True)
class Unused:
    """A lower cache that was named and cannot be used."""

    directory: Path
    why: str


class Cache:
    """A root and everything done with it.

    Attributes:
        unused: the lower caches that were named and cannot be used, and why.

    Reading never writes, but for manifests from the package index, which are kept. The root is made when it is first
    written to.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        lowers, self.unused = _lowers(settings)
        self.store = Store(Path(settings.root), lowers)
        self._check()
        below = [lower.layout.catalog for lower in lowers]
        self.catalog = Catalog(self.store.layout.catalog, offline=settings.offline, below=below)
        self._presence = Presence(self.store, settings.link_mode)
        self._prefetching = Prefetching(settings, self.store, self.catalog, self._presence)

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None, **flags: Any) -> Cache:
        """The cache under `root`, set up by flags (`offline=True`, `jobs=4`, ...), environment and files.

        Raises:
            ConfigError: a setting cannot be used.
            StoreError: the root cannot be read, or has a newer layout.
        """
        return cls(config.load({"root": os.fspath(root) if root is not None else None, **flags}))

    def _check(self) -> None:
        """A root that may not be read is no error as long as lower caches have what is asked for."""
        try:
            self.store.check()
        except StoreError as error:
            if not (self.store.lowers and isinstance(error.__cause__, PermissionError)):
                raise

    # Which release

    def manifest(
        self,
        release: str | Release | None = None,
        *,
        package: Package = "antspynet",
        python: Path | None = None,
        source: Path | None = None,
    ) -> Manifest:
        """The manifest of `release`; or of the installation or source that is named; or of the current environment.

        Raises:
            ManifestError: there is none, or its source is not understood.
            Offline: it would have to be read from the package index.
        """
        if source:
            return self.catalog.source(source)
        if release is None:
            return self.catalog.installed(package, python)
        wanted = parse_release(release) if isinstance(release, str) else release
        return self.catalog.at_hand(wanted) or self._kept(self.catalog.manifest(wanted))

    def _kept(self, manifest: Manifest) -> Manifest:
        """`manifest`, which is at hand from now on unless the root cannot be written to."""
        with suppress(StoreError):
            self.store.create()
            self.catalog.keep(manifest, self.store.layout.staging)
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
        """How these entries of a release (all, without names and kinds) become present.

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
        told: Mapping[Identifier, Descriptor] | None = None,
    ) -> Plan:
        """How these `entries` of `manifest` become present; what somebody has `told` of identifiers holds.

        Raises:
            IntegrityError: something else is recorded.
        """
        return self._prefetching.plan(manifest, entries, accepted, told)

    def plan_uses(self, uses: Mapping[Release, Collection[UsageRecord]]) -> list[Plan]:
        """How what was asked for becomes present, with the same bytes.

        Raises:
            ManifestError: a release does not ask for it.
            IntegrityError: other bytes are recorded.
        """
        return [self._plan_uses(release, each) for release, each in uses.items()]

    def _plan_uses(self, release: Release, uses: Collection[UsageRecord]) -> Plan:
        entries = tuple(sorted({use.entry for use in uses}))
        manifest = self.catalog.at_hand(release) or Manifest(release, entries)
        check_usage(uses, manifest.entries, release)
        return self.plan_entries(manifest, entries, told={use.identifier: use.blob for use in uses})

    def pace(self, plan: Plan) -> float:
        """The seconds that `plan` takes at least, because an origin asks not to be asked more often."""
        return self._prefetching.pace(plan)

    def prefetch(self, plan: Plan, listen: Listener = ignore_events) -> Prefetched:
        """What `plan` selects is present, verified, and in the release's view.

        The selection is written first, so that nothing of it is ever deleted; then bytes, records, links, and the
        index. A plan that is carried out already writes nothing.

        Raises:
            Offline: something is missing, and nothing may be fetched.
            FetchError: no origin delivered some files; what was fetched is kept and linked.
            IntegrityError: an origin answered with other bytes than are recorded.
            StoreError, ViewError: the disk refused.
        """
        return self._prefetching.prefetch(plan, listen)

    def sized(self, plan: Plan, *, ask: bool = False) -> Plan:
        """`plan` with the sizes of what it fetches, as far as they are known.

        With `ask`, origins are asked for those that are not: for one byte of each file, at their pace.
        """
        return self._prefetching.sized(plan, ask=ask)

    def need(self, plan: Plan) -> Need:
        """What `plan` needs on the disk of the root, as far as sizes are known, and what there is."""
        return self._prefetching.need(plan)

    def check_space(self, plan: Plan) -> None:
        """The disk can hold what `plan` fetches, as far as sizes are known.

        Raises:
            StoreError: it cannot.
        """
        self._prefetching.check_space(plan)

    # Views

    def view(self, release: Release) -> View:
        """The view of `release`.

        Raises:
            ViewError: nothing of the release is held.
        """
        return self._presence.view(release)

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """What is selected of `release`: of it, the entries of these names and kinds.

        Raises:
            ViewError: nothing is.
            ManifestError: nothing of such a name is.
        """
        return self._presence.selected(release, names=names, kinds=kinds)

    def located(self, manifest: Manifest) -> tuple[EntryLocation, ...]:
        """Each entry of `manifest` that can be fetched, and where its file is in a view, here or in a lower cache.

        Whether the file is whole is told by its size.
        """
        return self._presence.located(manifest)

    def brought(self, manifest: Manifest, kind: Kind, name: str) -> EntryLocation | None:
        """The file of an entry where ANTsPyNet itself would look: in the user's own home, as a container may have it.

        It is whole, and has the bytes that are recorded, if any are. None if there is no such file.

        Raises:
            ManifestError: the release has no such entry, or cannot fetch it.
        """
        return self._presence.brought(manifest, kind, name)

    def link(self, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
        """The files of `entries` are in `directory`, and nothing there points out of it. What else is there is kept.

        Raises:
            ViewError: a file is not held, a name in `directory` is taken by other bytes (nothing was changed then), or
                the disk refused.
        """
        return self._presence.link(entries, directory, mode)

    # Upkeep

    def adopt(  # noqa: PLR0913  all but the first two by name
        self,
        directory: Path,
        manifest: Manifest,
        *,
        move: bool = False,
        dry_run: bool = False,
        heard: Callable[[int], object] = lambda _: None,
        listen: Listener = ignore_events,
    ) -> tuple[Judged, ...]:
        """The files in `directory` that are of a release are in the store, recorded, and in the release's view.

        Interrupted, it is gone on with by the next one.

        Args:
            directory: a home, its `.keras`, or where ANTsPyNet keeps its files.
            manifest: of the release that files of unknown bytes are taken for.
            move: what was taken over is no longer in `directory`, and not copied where that can be helped.
            dry_run: change nothing.
            heard: told how many bytes were read.
            listen: hears why networks are not walked, if h5py is there and does not work.

        Returns:
            What became of each file, or would.

        Raises:
            StoreError, ViewError: the disk refused; or the files to move are antscache's already.
        """
        from antscache import operations  # which nobody else needs
        from antscache.formats import Hdf5Scanner, is_h5py_installed

        package = manifest.release.package
        paths = operations.files_to_adopt(directory, package)
        if move:
            operations.refuse_root(directory, package)
        judged = operations.judge(operations.look(paths, heard), manifest, self._records())
        with closing(Hdf5Scanner()) as walker:
            judged = tuple(operations.walked(judged, walker if is_h5py_installed() else None, listen))
        if dry_run:
            return judged
        if any(each.entries for each in judged):
            self.store.create()
            self.catalog.keep(manifest, self.store.layout.staging)
            judged = tuple(operations.adopt_files(self.store, manifest, judged, move=move, heard=heard))
        if self.store.refs.selections(manifest.release):
            self._link_adopted(manifest.release, judged)
        return judged

    def _records(self) -> list[Record]:
        """What is recorded, here or in a lower cache; of several of an identifier, the last one counts."""
        records = [record for lower in reversed(self.store.lowers) for record in _records_below(lower)]
        return [*records, *self.store.records()]

    def _link_adopted(self, release: Release, judged: Collection[Judged]) -> None:
        """The release's view has what was adopted as well, whatever a garbage collection does meanwhile."""
        entries = {entry for each in judged for entry in each.entries}
        for _ in range(TRIES):
            if not self._presence.make_view(release, entries).lost:
                return
            self.store.restore(each.seen.blob for each in judged if each.entries and each.seen.blob)

    def plan_export(
        self,
        releases: Collection[Release],
        *,
        names: Collection[str] = (),
        kinds: Collection[Kind] = (),
        adopted: bool = False,
    ) -> Contents:
        """What is held of `releases` to be exported: what is selected of them, or of that these names and kinds.

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
        from antscache import export  # which nobody else needs

        return export.plan(
            self.store,
            self.catalog,
            self._presence,
            releases,
            names=names,
            kinds=kinds,
            adopted=adopted,
            seconds=config.source_date(),
        )

    def export(self, contents: Contents, target: Target, heard: Callable[[int], object] = lambda _: None) -> int:
        """`contents` are at `target`, whole, as a root that is a lower cache elsewhere; how many bytes that has.

        The same contents are the same bytes each time, but for what another version of a program makes of an image.

        Args:
            contents: as `plan_export` says.
            target: a directory or an image that is not there yet.
            heard: told how many bytes were read.

        Raises:
            IntegrityError: a blob is damaged; nothing is there, as after any error.
            StoreError: something is there already, a blob cannot be read, or the disk refused.
            AntsCacheError: a program that makes the image is missing.
        """
        from antscache import export

        return export.write(self.store, contents, target, heard)

    def remove(self, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
        """What you selected of `release` is no longer in use, and what nobody else selected is not in its view.

        The bytes stay until a garbage collection. Interrupted, it is gone on with by the next one.

        Args:
            release: in use.
            force: take away what others selected as well.
            dry_run: change nothing.

        Raises:
            ViewError: nothing of it is in use, and nothing was changed; or the disk refused.
            StoreError: all of it is selected by others, or theirs to take away, or a selection cannot be read, and
                nothing was changed; or the disk refused.
        """
        return operations.remove_release(self.store, release, force=force, dry_run=dry_run)

    def verify(
        self,
        releases: Collection[Release] = (),
        *,
        deep: bool = False,
        repair: bool = False,
        heard: Callable[[int], object] = lambda _: None,
        listen: Listener = ignore_events,
    ) -> Verified:
        """Everything is read again, or what `releases` use, and compared with what it should be.

        Lower caches are read for `releases` that are in use there alone, and whole where there is no root: in an image.

        Args:
            releases: in use; all, if there are none.
            deep: repeat the checks of form.
            repair: move what is damaged aside, fetch again what is missing then, and make views and index anew.
            heard: told how many bytes were read, from any thread.
            listen: hears what happens when something is fetched again.

        Raises:
            StoreError: the root cannot be read; or, repairing, not written to.
            ViewError: one of `releases` is not in use.
        """
        return self._repair().verify(releases, deep=deep, repair=repair, heard=heard, listen=listen)

    def sums(self, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
        """What `sha256sum -c` needs to come to the same verdict of blobs and views as `verify`.

        Raises:
            StoreError: the root cannot be read.
            ViewError: one of `releases` is not in use.
        """
        return self._repair().sums(releases)

    def _repair(self) -> Repair:
        from antscache.operations import Repair  # it reads with several threads, which nobody else needs

        return Repair(self.settings, self.store, self.catalog, self._presence, self._prefetching)

    def gc(self, *, grace: float = GRACE, dry_run: bool = False) -> Garbage:
        """What no ref reaches is condemned, and what was condemned longer ago than `grace` seconds is deleted.

        Args:
            grace: also how old a blob is at least that is condemned.
            dry_run: change nothing, and say what would be done.

        Raises:
            StoreError: a ref or record cannot be read, and nothing was done; or the disk refused.
        """
        now = time.time()
        if dry_run or not self.store.exists():
            return operations.plan_collection(self.store, now=now, grace=grace)
        return operations.collect_garbage(self.store, now=now, grace=grace)

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
        """Each entry of `manifest`, and whether its bytes are in the store."""
        return self._presence.statuses(manifest)

    def usages(self) -> tuple[ReleaseUsage, ...]:
        """What is held of each release in use."""
        return self._presence.usages()


def _lowers(settings: Settings) -> tuple[tuple[Store, ...], tuple[Unused, ...]]:
    """The lower caches that are there and that this antscache understands, each once; and the others."""
    found, unused = list[Store](), list[Unused]()
    taken = [Path(settings.root)]
    for directory in map(Path, settings.lowers):
        lower = Store(directory)
        try:
            lower.check()
            there = lower.exists()
        except (StoreError, OSError) as error:
            unused.append(Unused(directory, str(error)))
            continue
        if not there:
            unused.append(Unused(directory, "no antscache root is there"))
        elif not any(_is_same(directory, other) for other in taken):
            taken.append(directory)
            found.append(lower)
    return tuple(found), tuple(unused)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _records_below(lower: Store) -> list[Record]:
    """What is recorded in a lower cache; nothing, where that cannot be read."""
    try:
        return list(lower.records())
    except StoreError:
        return []
