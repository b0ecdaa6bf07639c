"""The cache: the flow on one screen.

manifest -> plan -> fetch -> store -> view
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antscache import config, durable, gc, view
from antscache.catalog import Catalog
from antscache.errors import SHOWN, AntsCacheError, FetchError, IntegrityError, Offline, StoreError, ViewError
from antscache.events import Fetched, Listener, Present, Started, nobody
from antscache.gc import GRACE
from antscache.manifest import (
    Entry,
    Identifier,
    Kind,
    Manifest,
    Package,
    Release,
    fetchable,
    home_directory,
    parse_release,
)
from antscache.plan import Plan, Status, plan_prefetch, select, with_sizes
from antscache.record import Record, Selection, union
from antscache.store import Store
from antscache.trash import Trash
from antscache.view import Linked

TRIES = 3  # times that a prefetch looks whether a garbage collection has taken what it had found

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from antscache.adopt import Judged
    from antscache.config import LinkMode, Settings
    from antscache.digest import Descriptor, Digest
    from antscache.fetch import Fetching
    from antscache.gc import Garbage
    from antscache.record import Record
    from antscache.space import Need
    from antscache.verify import Verified

    Held = tuple[tuple[Entry, Descriptor], ...]


@dataclass(frozen=True, slots=True)
class Prefetched:
    """What a prefetch did.

    Attributes:
        home: the view: a directory in the shape of a home.
        fetched: what came from an origin.
        elsewhere: what another process fetched meanwhile.
        linked: how the view's names were made.
    """

    home: Path
    fetched: tuple[Fetched, ...]
    elsewhere: tuple[Present, ...]
    linked: Linked


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
class Unused:
    """A lower cache that was named and cannot be used."""

    directory: Path
    why: str


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did.

    Attributes:
        names: what is gone from the view.
        kept: what is there and not ours, as paths in `home`.
        home: the view.
        others: how many selections of others the release has.
        own: bytes that nothing in use needs now, and that garbage collections free.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    home: Path
    others: int
    own: int


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

    def _check(self) -> None:
        """A root that may not be read is no error as long as lower caches have what is asked for."""
        try:
            self.store.check()
        except StoreError as error:
            if not (self.store.lowers and isinstance(error.__cause__, PermissionError)):
                raise

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None, **flags: Any) -> Cache:
        """The cache under `root`, set up by flags (`offline=True`, `jobs=4`, ...), environment and files.

        Raises:
            ConfigError: a setting cannot be used.
            StoreError: the root cannot be read, or has a newer layout.
        """
        return cls(config.load({"root": os.fspath(root) if root is not None else None, **flags}))

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
        self, manifest: Manifest, entries: Collection[Entry], accepted: Collection[Identifier] = ()
    ) -> Plan:
        """How these `entries` of `manifest` become present."""
        records = [self.store.record(entry.identifier) for entry in entries if entry.identifier]
        held = {record.descriptor for record in records if record and self.store.holds(record.descriptor)}
        # What a user's word alone says of bytes that are not here is no reason to refuse an origin's.
        known = {
            record.identifier: record.descriptor
            for record in records
            if record and (record.descriptor in held or record.trust != "adopted")
        }
        return plan_prefetch(manifest, entries, known, held, accepted)

    def pace(self, plan: Plan) -> float:
        """The seconds that `plan` takes at least, because an origin asks not to be asked more often."""
        from antscache.origin import parse_origins

        first = parse_origins(self.settings.mirrors, self.settings.origins)[0]
        return self.settings.pace * max(0, len(plan.fetch) - 1) if first.paced else 0.0

    def prefetch(self, plan: Plan, listen: Listener = nobody) -> Prefetched:
        """What `plan` selects is present, verified, and in the release's view.

        The selection is written first, so that nothing of it is ever deleted; then bytes, records, links, and the
        index. A plan that is carried out already writes nothing.

        Raises:
            Offline: something is missing, and nothing may be fetched.
            FetchError: no origin delivered some files; what was fetched is kept and linked.
            IntegrityError: an origin answered with other bytes than are recorded.
            StoreError, ViewError: the disk refused.
        """
        try:
            plan = self._restored(plan)
        except StoreError as error:
            raise _unwritable(plan, error) from error
        if plan.fetch and self.settings.offline:
            self._mend(plan.release)
            raise _offline(plan)
        plan = self.sized(plan)
        self.check_space(plan)
        try:
            self._protect(plan)
        except StoreError as error:
            if plan.fetch:
                raise _unwritable(plan, error) from error
            if home := self._home_below(plan):
                return Prefetched(home, (), (), Linked())
            raise
        return self._carry_out(plan, listen, Selection(plan.release, plan.entries))

    def _mend(self, release: Release) -> None:
        """The view of `release` leads nowhere that has gone, as far as the disk allows."""
        with suppress(StoreError, ViewError):
            if self.store.refs.selections(release):
                self._make_view(release)

    def sized(self, plan: Plan, *, ask: bool = False) -> Plan:
        """`plan` with the sizes of what it fetches, as far as they are known.

        With `ask`, origins are asked for those that are not: for one byte of each file, at their pace.
        """
        if all(wanted.size is not None for wanted in plan.fetch):
            return plan
        from antscache import space
        from antscache.origin import parse_origins

        settings = self.settings
        origins = parse_origins(settings.mirrors, settings.origins)
        plan = with_sizes(plan, space.sizes_at_hand(plan.fetch, self.store.layout, origins))
        if ask and not settings.offline:
            from antscache.pace import Pace

            pace = Pace(self.store.layout.pace, settings.pace)
            asking = space.Asking(origins, pace, settings.jobs, settings.timeout, config.tokens())
            plan = with_sizes(plan, asking.sizes(plan.fetch))
        return plan

    def need(self, plan: Plan) -> Need:
        """What `plan` needs on the disk of the root, as far as sizes are known, and what there is."""
        from antscache import space

        return space.need(plan.fetch, self.store.layout, self.settings.jobs)

    def check_space(self, plan: Plan) -> None:
        """The disk can hold what `plan` fetches, as far as sizes are known.

        Raises:
            StoreError: it cannot.
        """
        if plan.fetch and (need := self.need(plan)).short:
            raise _too_large(plan, need, self.store.layout.root)

    def _carry_out(self, plan: Plan, listen: Listener, selection: Selection | None = None) -> Prefetched:
        """Fetch, link, and look again; with a `selection`, also whether somebody removed that meanwhile."""
        happened: list[Fetched | Present] = []
        for _ in range(TRIES):
            some, error = self._fetch(plan, listen)
            happened += some
            try:
                linked = self._make_view(plan.release, plan.entries)
            except (StoreError, ViewError):
                if error:
                    raise error from None
                raise
            if error:
                raise error
            plan = self._again(plan)  # a garbage collection may have been at work
            removed = selection is not None and not self.store.refs.is_selected(selection)
            if not plan.fetch and not linked.lost and not removed:
                break
            if removed:
                self._protect(plan)
            plan = self._restored(plan)
            if plan.fetch and self.settings.offline:
                raise _offline(plan)
        else:
            raise StoreError(
                f"other commands took away what {plan.release} needs, again and again",
                hint="run the command again, and `antscache gc` beside it with a longer --grace",
            )
        fetched = tuple(event for event in happened if isinstance(event, Fetched))
        elsewhere = tuple(event for event in happened if isinstance(event, Present))
        return Prefetched(self.store.layout.view(plan.release), fetched, elsewhere, linked)

    def _restored(self, plan: Plan) -> Plan:
        """`plan`, once what of it was condemned and is not gone yet is held again."""
        records = (self.store.record(wanted.identifier) for wanted in plan.fetch)
        recorded = [record.descriptor for record in records if record]
        if not recorded:
            return plan
        self.store.restore(recorded)
        return self._again(plan)

    def _again(self, plan: Plan) -> Plan:
        """`plan`, as things are now."""
        accepted = {wanted.identifier for wanted in plan.fetch if wanted.accepted}
        sizes = {wanted.identifier: wanted.size for wanted in plan.fetch if wanted.size is not None}
        return with_sizes(self.plan_entries(plan.manifest, (*plan.entries, *plan.unavailable), accepted), sizes)

    def _protect(self, plan: Plan) -> None:
        """What `plan` selects is kept alive from now on.

        Raises:
            StoreError: there is something to write, and the root cannot be written to.
        """
        selection = Selection(plan.release, plan.entries)
        if not plan.fetch and self.store.refs.selects(selection):
            return
        try:
            self.store.create()
            self.catalog.keep(plan.manifest, self.store.layout.staging)
            self.store.refs.select(selection)
        except StoreError:  # somebody else's root, where they have selected it: their word has to do
            if plan.fetch or not self.store.refs.is_selected(selection):
                raise

    def _home_below(self, plan: Plan) -> Path | None:
        """The view of a lower cache that has all of `plan`, if there is one."""
        for lower in self.store.lowers:
            with suppress(StoreError):
                view_ = _view_in(lower, plan.release)
                if view_ and not view_.missing and set(plan.entries) <= set(union(lower.refs.selections(plan.release))):
                    return view_.home
        return None

    def _fetch(self, plan: Plan, listen: Listener) -> tuple[list[Fetched | Present], AntsCacheError | None]:
        """Fetch what is missing: what came, and what to raise once it has been linked."""
        happened: list[Fetched | Present] = []
        if not plan.fetch:
            return happened, None
        from antscache.fetch import Fetching  # urllib3 takes a tenth of a second to import
        from antscache.origin import parse_origins
        from antscache.pace import Pace
        from antscache.walk import Walker, at_hand

        settings = self.settings
        origins = parse_origins(settings.mirrors, settings.origins)
        pace = Pace(self.store.layout.pace, settings.pace)
        with closing(Walker()) as walker:
            fetching = Fetching(
                plan.fetch,
                origins,
                self.store,
                settings.jobs,
                settings.timeout,
                pace,
                config.tokens(),
                walker if at_hand() else None,
            )
            sizes: dict[Identifier, int] = {}
            try:
                for event in fetching:
                    if isinstance(event, Fetched | Present):
                        happened.append(event)
                    if isinstance(event, Started) and event.size is not None:
                        sizes[event.identifier] = event.size
                    listen(event)
            except StoreError as error:
                if not durable.is_full(error):
                    raise
                return happened, self._full(with_sizes(plan, sizes), error)
        return happened, _error(fetching, plan.release)

    def _full(self, plan: Plan, error: StoreError) -> StoreError:
        """`error`, which says that the disk is full, with how much is missing for the rest of `plan`."""
        rest = self.sized(self._again(plan))
        need = self.need(rest)
        unknown = f" ({need.unknown} of unknown size)" if need.unknown else ""
        if need.short:
            more = f": at least {need.short:,} bytes more are needed"
        elif need.room:  # a quota that the disk does not speak of; or space was made meanwhile
            more = f": they need {need.room:,} bytes at least, and the disk does not say how many of them are missing"
        else:
            more = ""
        told = f"{error}; {len(rest.fetch)} of {len(plan.fetch)} files are still to be fetched{unknown}{more}"
        return StoreError(told, hint=error.hint)

    def _make_view(self, release: Release, wanted: Collection[Entry] = ()) -> Linked:
        """The release's view has what is selected of it and held, and the index says so.

        What of `wanted` is not held is lost.
        """
        entries = union(self.store.refs.selections(release))
        held = self.store.held(entries)
        mode = self.settings.link_mode
        modes: tuple[LinkMode, ...] = view.INSIDE if mode == "auto" else (mode,)
        directory = self.store.layout.view(release) / home_directory(release.package)
        here, below = _files(self.store, held)
        linked = view.link(directory, here, modes, ours=True, below=below, shared=self.store.layout.shared_root)
        view.drop_dangling(directory, {entry.file for entry in entries} - here.keys() - below.keys())
        linked.lost += sorted({entry.file for entry in wanted} - here.keys() - below.keys())
        if not self.store.is_indexed(release, held):
            self.store.update_index()
        return linked

    # Views

    def view(self, release: Release) -> View:
        """The view of `release`.

        Raises:
            ViewError: nothing of the release is held.
        """
        refused = None
        for store in (self.store, *self.store.lowers):
            try:
                if found := _view_in(store, release):
                    return found
            except StoreError as error:  # noqa: PERF203
                refused = refused or error
        raise refused or ViewError(f"nothing of {release} is held in {self._places()}", hint=_prefetch(release))

    def _places(self) -> str:
        """The root and its lower caches, in words."""
        lowers = [str(lower.layout.root) for lower in self.store.lowers]
        return f"{self.store.layout.root}{' or below it in ' if lowers else ''}{', '.join(lowers)}"

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """What is selected of `release`: of it, the entries of these names and kinds.

        Raises:
            ViewError: nothing is.
            ManifestError: nothing of such a name is.
        """
        refused = None
        for store in (self.store, *self.store.lowers):
            try:
                if entries := union(store.refs.selections(release)):
                    return select(Manifest(release, entries), names, kinds)
            except StoreError as error:  # noqa: PERF203
                refused = refused or error
        raise refused or ViewError(f"nothing of {release} is held in {self._places()}", hint=_prefetch(release))

    def link(self, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
        """The files of `entries` are in `directory`, and nothing there points out of it. What else is there is kept.

        Raises:
            ViewError: a file is not held, a name in `directory` is taken by other bytes (nothing was changed then), or
                the disk refused.
        """
        if len(held := self.store.held(entries)) < len(entries):
            self.store.restore(self._recorded(entries).values())  # an interrupted garbage collection has left it there
            held = self.store.held(entries)
        if len(held) < len(entries):
            raise ViewError(
                f"{len(entries) - len(held)} of {len(entries)} files are not held in {self.store.layout.root}",
                hint="run `antscache prefetch` again for the release, or link only some with --name or --kind",
            )
        modes: tuple[LinkMode, ...] = view.OUTSIDE if mode == "auto" else (mode,)
        here, below = _files(self.store, held)
        linked = view.link(directory, here, modes, ours=False, below=below)
        if linked.lost:
            lost = f"{linked.lost[0]} was deleted meanwhile"
            raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
        return linked

    def adopt(  # noqa: PLR0913  all but the first two by name
        self,
        directory: Path,
        manifest: Manifest,
        *,
        move: bool = False,
        dry_run: bool = False,
        heard: Callable[[int], object] = lambda _: None,
        listen: Listener = nobody,
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
        from antscache import adopt  # which nobody else needs
        from antscache.walk import Walker, at_hand

        package = manifest.release.package
        paths = adopt.files(directory, package)
        if move:
            adopt.refuse_root(directory, package)
        judged = adopt.judge(adopt.look(paths, heard), manifest, self._records())
        with closing(Walker()) as walker:
            judged = tuple(adopt.walked(judged, walker if at_hand() else None, listen))
        if dry_run:
            return judged
        if any(each.entries for each in judged):
            self.store.create()
            self.catalog.keep(manifest, self.store.layout.staging)
            judged = tuple(adopt.adopt(self.store, manifest, judged, move=move, heard=heard))
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
            if not self._make_view(release, entries).lost:
                return
            self.store.restore(each.seen.blob for each in judged if each.entries and each.seen.blob)

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
        store, refs, home = self.store, self.store.refs.of(release), self.store.layout.view(release)
        if not refs and not home.is_dir() and not store.is_named(release):
            raise ViewError(f"nothing of {release} is in use in {store.layout.root}", hint="`antscache list` tells")
        ours = [ref for ref in refs if force or ref.is_ours]
        others = union(ref.selection for ref in refs if ref not in ours)
        if others and not ours:
            raise StoreError(f"others selected {release}, and you did not", hint="take it from them with --force")
        for ref in ours:
            if not store.refs.can_deselect(ref):
                hint = "they can run `antscache rm` themselves"
                raise StoreError(f"cannot remove {ref.path}: it is {durable.owner(ref.path)}'s", hint=hint)
        gone = set(union(ref.selection for ref in ours)) - set(others)
        blobs = self._recorded(gone)
        own = set(blobs.values()) - self._in_use(release, others)
        files = {entry.file: blobs[entry] for entry in gone if entry in blobs}
        condemned = {each.blob: each.path for each in Trash(store.layout).contents()}
        paths = {  # a blob that was cut is no blob, and still what its name in the view leads to
            file: store.find(blob) or condemned.get(blob) or store.layout.blob(blob.digest)
            for file, blob in files.items()
        }
        unlinked = view.unlink(
            home,
            home_directory(release.package),
            dict.fromkeys(entry.file for entry in gone) | paths,
            dry_run=dry_run,
            shared=store.layout.shared_root,
        )
        within = home_directory(release.package)
        kept = set(unlinked.kept) - {str(within / entry.file) for entry in others}
        if not dry_run:
            for ref in ours:  # after the view, because they say what in it is ours
                store.refs.deselect(ref)
            store.update_index()
        freed = sum(blob.size for blob in own if store.owns(blob))
        return Removed(unlinked.gone, tuple(sorted(kept)), home, len(refs) - len(ours), freed)

    def _recorded(self, entries: Iterable[Entry]) -> dict[Entry, Descriptor]:
        """What those of `entries` that have a record are."""
        pairs = ((entry, self.store.record(entry.identifier)) for entry in entries if entry.identifier)
        return {entry: record.descriptor for entry, record in pairs if record}

    def _in_use(self, release: Release, others: Iterable[Entry]) -> set[Descriptor]:
        """The blobs that `others` of `release`, and the other releases, use."""
        used = set(self._recorded(others).values())
        for other in set(self.store.refs.releases()) - {release}:
            used.update(self._recorded(union(self.store.refs.selections(other))).values())
        return used

    def verify(
        self,
        releases: Collection[Release] = (),
        *,
        deep: bool = False,
        repair: bool = False,
        heard: Callable[[int], object] = lambda _: None,
        listen: Listener = nobody,
    ) -> Verified:
        """Everything is read again, or what `releases` use, and compared with what it should be.

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
        from antscache.verify import verify  # it reads with several threads, which nobody else needs

        self._check_in_use(releases)

        def look() -> Verified:
            return verify(self.store, releases, deep=deep, jobs=self.settings.jobs, heard=heard)

        first = last = look()
        if not repair or not first.findings:
            return first
        refused: tuple[str, ...] = ()
        for _ in range(TRIES):
            before = last
            refused = self._repair(before, releases, listen)
            last = look()
            places = {finding.place for finding in before.findings}
            new = (finding for finding in last.findings if finding not in before.findings)
            if not any(finding.remedy != "make" or finding.place not in places for finding in new):
                break  # nothing came to light that had been hidden behind something else
        remaining = {finding.place for finding in last.findings}
        repaired = tuple(finding for finding in first.findings if finding.place not in remaining)
        return replace(last, repaired=repaired, refused=refused)

    def sums(self, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
        """What `sha256sum -c` needs to come to the same verdict of blobs and views as `verify`.

        Raises:
            StoreError: the root cannot be read.
            ViewError: one of `releases` is not in use.
        """
        from antscache.verify import sums

        self._check_in_use(releases)
        return tuple(sums(self.store, releases))

    def _check_in_use(self, releases: Collection[Release]) -> None:
        for release in sorted({*releases}.difference(self.store.refs.releases() if releases else ())):
            told = f"nothing of {release} is in use in {self.store.layout.root}"
            raise ViewError(told, hint="`antscache list` tells what is")

    def _repair(self, verified: Verified, releases: Collection[Release], listen: Listener) -> tuple[str, ...]:
        """What can be made right of what was found is; what cannot, and why.

        Raises:
            StoreError: the disk refused.
        """
        from antscache.verify import clear, salvage

        restored = [self._restored_selection(release) for release in releases or self.store.refs.releases()]
        clear(self.store, verified.findings, offline=self.settings.offline)
        self.store.create()  # not before: what it needs may have been damaged
        for selection in restored:
            if selection.entries:
                self.store.refs.select(selection)
        salvage(self.store)
        refused = []
        for release in releases or self.store.refs.releases():
            try:
                self._make_right(release, listen)
            except AntsCacheError as error:  # noqa: PERF203  the other releases first
                refused.append(str(error))
        try:
            self.store.update_index()
        except StoreError as error:
            refused.append(str(error))
        return tuple(dict.fromkeys(refused))

    def _restored_selection(self, release: Release) -> Selection:
        """What was selected of `release`, as far as its damaged selections do not tell: what was linked and recorded.

        Nothing, if none is damaged.
        """
        manifest = self.catalog.at_hand(release)
        if manifest is None or not any(self.store.refs.damaged([release])):
            return Selection(release, ())
        layout, home = self.store.layout, self.store.layout.view(release) / home_directory(release.package)
        linked = [entry for entry in fetchable(manifest.entries) if os.path.lexists(home / entry.file)]
        recorded = [e for e in linked if e.identifier and os.path.lexists(layout.record(e.identifier))]
        return Selection(release, tuple(recorded))

    def _make_right(self, release: Release, listen: Listener) -> None:
        """What is selected of `release` and missing is fetched, unless offline; and its view has what is held.

        Raises:
            AntsCacheError: the disk or an origin refused; what could be done was.
        """
        entries = self.store.refs.entries(release)
        plan = self._restored(self.plan_entries(Manifest(release, entries), entries))
        if plan.fetch and not self.settings.offline:
            self._carry_out(plan, listen)
        else:
            self._make_view(release)

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
            return gc.plan_for(self.store, now=now, grace=grace)
        return gc.collect(self.store, now=now, grace=grace)

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[tuple[Entry, Status], ...]:
        """Each entry of `manifest`, and whether its bytes are in the store."""
        held = dict(self.store.held(fetchable(manifest.entries)))
        return tuple(
            (entry, "unavailable" if entry.identifier is None else "present" if entry in held else "missing")
            for entry in manifest.entries
        )

    def usages(self) -> tuple[Usage, ...]:
        """What is held of each release in use."""
        selected = {release: union(self.store.refs.selections(release)) for release in self.store.refs.releases()}
        held = {release: self.store.held(entries) for release, entries in selected.items()}
        blobs = {release: {blob for _, blob in pairs} for release, pairs in held.items()}
        users = Counter(blob for each in blobs.values() for blob in each)
        here = {blob for blob in users if not self.store.lowers or self.store.owns(blob)}
        return tuple(
            Usage(
                release=release,
                entries=len(entries),
                present=len(held[release]),
                size=sum(blob.size for blob in blobs[release]),
                own=sum(blob.size for blob in blobs[release] & here if users[blob] == 1),
                shared=sum(blob.size for blob in blobs[release] & here if users[blob] > 1),
                below=sum(blob.size for blob in blobs[release] - here),
                home=self.store.layout.view(release),
            )
            for release, entries in selected.items()
        )


def _lowers(settings: Settings) -> tuple[tuple[Store, ...], tuple[Unused, ...]]:
    """The lower caches that are there and that this antscache understands, each once; and the others."""
    found, unused = list[Store](), list[Unused]()
    taken = [Path(settings.root)]
    for directory in map(Path, settings.site_dirs):
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


def _view_in(store: Store, release: Release) -> View | None:
    """The view of `release` in `store`; None if nothing of it is held for it there."""
    entries = union(store.refs.selections(release))
    held = store.held(entries)
    if not held:
        return None
    home = store.layout.view(release)
    here, below = _files(store, held)
    absent = view.missing(home / home_directory(release.package), here | below)
    not_held = sorted({entry.file for entry in entries} - {entry.file for entry, _ in held})
    return View(home, len(entries), tuple(not_held + absent))


def _files(store: Store, held: Held) -> tuple[dict[str, Path], dict[str, Path]]:
    """File names and where their blobs are: those in `store` itself, and those in its lower caches."""
    here, below = dict[str, Path](), dict[str, Path]()
    for entry, blob in held:
        if path := store.find(blob):
            (here if path.parent == store.layout.blobs else below)[entry.file] = path
    return here, below


def _prefetch(release: Release) -> str:
    return f"run `antscache prefetch {release}`"


def _missing(plan: Plan) -> str:
    """The files that are missing, the first few by name."""
    more = f" and {len(plan.missing) - SHOWN} more" if len(plan.missing) > SHOWN else ""
    return ", ".join(entry.file for entry in plan.missing[:SHOWN]) + more


def _unwritable(plan: Plan, error: StoreError) -> StoreError:
    """`error`, which keeps `plan` from being carried out, with what is missing."""
    return StoreError(f"{error}; missing of {plan.release}: {_missing(plan)}", hint=error.hint)


def _too_large(plan: Plan, need: Need, root: Path) -> StoreError:
    unknown = f", not counting what is of unknown size ({need.unknown})" if need.unknown else ""
    return StoreError(
        f"what is missing of {plan.release} needs {need.room:,} bytes{unknown}, and the disk of {root} has "
        f"{need.free:,}: {need.short:,} bytes more are needed, and nothing was fetched",
        hint="free some space, name another root with --root, or fetch some with --name or --kind",
    )


def _offline(plan: Plan) -> Offline:
    names = "" if len(plan.missing) > SHOWN else "".join(f" --name {entry.name}" for entry in plan.missing)
    return Offline(
        f"{len(plan.missing)} of {len(plan.entries)} files of {plan.release} are missing, and offline nothing is "
        f"fetched: {_missing(plan)}",
        hint=f"run `antscache prefetch {plan.release}{names}` where there is network access",
    )


def _error(fetching: Fetching, release: Release) -> AntsCacheError | None:
    """What to raise for what `fetching` did not get."""
    if not fetching.failures:
        return None
    kept = f"what was fetched is kept: `antscache prefetch {release}` goes on from there"
    if fetching.mismatched:
        told = "\n".join(map(str, fetching.mismatched))
        return IntegrityError(
            f"origins answer with other bytes than are recorded\n{told}",
            hint="an identifier's bytes never change: do not trust that origin; " + kept,
        )
    if fetching.malformed:
        accept = " ".join(f"--accept {failure.identifier}" for failure in fetching.malformed[:SHOWN])
        hint = f"an origin's bytes do not look like the file: if you know better, add {accept}; {kept}"
        return FetchError(fetching.failures, hint=hint)
    return FetchError(
        fetching.failures,
        hint=f"set ANTSCACHE_MIRRORS to another place with these files, or try again later; {kept}",
    )
