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

import msgspec

from antscache import config, gc, view
from antscache.catalog import Catalog
from antscache.errors import SHOWN, AntsCacheError, FetchError, IntegrityError, Offline, StoreError, ViewError
from antscache.events import Fetched, Listener, Present, nobody
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
from antscache.plan import Plan, Status, plan_prefetch, select
from antscache.record import Selection, union
from antscache.store import Store
from antscache.trash import Trash
from antscache.view import Linked

TRIES = 3  # times that a prefetch looks whether a garbage collection has taken what it had found

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from antscache.adopt import Adopted
    from antscache.config import LinkMode, Settings
    from antscache.digest import Descriptor
    from antscache.fetch import Fetching
    from antscache.gc import Garbage
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
        own: what no other release in use shares.
    """

    release: Release
    entries: int
    present: int
    size: int
    own: int
    home: Path


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did.

    Attributes:
        names: what is gone from the view.
        kept: what is there and not antscache's, in `directory`.
        others: how many selections of others the release has.
        own: bytes that no other release in use shares, and that a garbage collection can free now.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    directory: Path
    others: int
    own: int


class Cache:
    """A root and everything done with it.

    Reading never writes, but for manifests from the package index, which are kept. The root is made when it is first
    written to.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(Path(settings.root), _lowers(settings))
        self.store.check()
        self.catalog = Catalog(self.store.layout.catalog, offline=settings.offline)

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
            self.catalog.keep(manifest, self.store.layout.ingest)
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
        plan = self._restored(plan)
        if plan.fetch and self.settings.offline:
            raise _offline(plan)
        try:
            self._protect(plan)
        except StoreError:
            if plan.fetch or (home := self._home_below(plan)) is None:
                raise
            return Prefetched(home, (), (), Linked())
        return self._carry_out(plan, listen)

    def _carry_out(self, plan: Plan, listen: Listener) -> Prefetched:
        """Fetch, link, and look again."""
        happened: list[Fetched | Present] = []
        for _ in range(TRIES):
            some, error = self._fetch(plan, listen)
            happened += some
            linked = self._make_view(plan.release)
            if error:
                raise error
            plan = self._restored(self._again(plan))  # a garbage collection may have been at work
            if not plan.fetch and not linked.lost:
                break
        fetched = tuple(event for event in happened if isinstance(event, Fetched))
        elsewhere = tuple(event for event in happened if isinstance(event, Present))
        return Prefetched(self.store.layout.view(plan.release), fetched, elsewhere, linked)

    def _restored(self, plan: Plan) -> Plan:
        """`plan`, once what of it was condemned and is not gone yet is held again."""
        known = [wanted.known for wanted in plan.fetch if wanted.known]
        return self._again(plan) if known and self.store.restore(known) else plan

    def _again(self, plan: Plan) -> Plan:
        """`plan`, as things are now."""
        accepted = {wanted.identifier for wanted in plan.fetch if wanted.accepted}
        return self.plan_entries(plan.manifest, (*plan.entries, *plan.unavailable), accepted)

    def _protect(self, plan: Plan) -> None:
        """What `plan` selects is kept alive from now on.

        Raises:
            StoreError: there is something to write, and the root cannot be written to.
        """
        selection = Selection(plan.release, plan.entries)
        if plan.fetch or not self.store.refs.selects(selection):
            self.store.create()
            self.catalog.keep(plan.manifest, self.store.layout.ingest)
            self.store.refs.select(selection)

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
            for event in fetching:
                if isinstance(event, Fetched | Present):
                    happened.append(event)
                listen(event)
        return happened, _error(fetching, plan.release)

    def _make_view(self, release: Release) -> Linked:
        """The release's view has what is selected of it and held, and the index says so."""
        entries = union(self.store.refs.selections(release))
        held = self.store.held(entries)
        mode = self.settings.link_mode
        modes: tuple[LinkMode, ...] = view.INSIDE if mode == "auto" else (mode,)
        directory = self.store.layout.view(release) / home_directory(release.package)
        here, below = _files(self.store, held)
        linked = view.link(directory, here, modes, ours=True, below=below)
        view.drop_dangling(directory, {entry.file for entry in entries} - here.keys() - below.keys())
        if not self.store.is_indexed(release, held):
            self.store.update_index()
        return linked

    # Views

    def view(self, release: Release) -> View:
        """The view of `release`.

        Raises:
            ViewError: nothing of the release is held.
        """
        for store in (self.store, *self.store.lowers):
            if found := _view_in(store, release):
                return found
        raise ViewError(f"nothing of {release} is held in {self.store.layout.root}", hint=_prefetch(release))

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """What is selected of `release`: of it, the entries of these names and kinds.

        Raises:
            ViewError: nothing is.
            ManifestError: nothing of such a name is.
        """
        entries = union(self.store.refs.selections(release))
        if not entries:
            raise ViewError(f"nothing of {release} is held in {self.store.layout.root}", hint=_prefetch(release))
        return select(Manifest(release, entries), names, kinds)

    def link(self, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
        """The files of `entries` are in `directory`, and nothing there points out of it. What else is there is kept.

        Raises:
            ViewError: a file is not held, a name in `directory` is taken by other bytes (nothing was changed then), or
                the disk refused.
        """
        held = self.store.held(entries)
        if len(held) < len(entries):
            raise ViewError(
                f"{len(entries) - len(held)} of {len(entries)} files are not held in {self.store.layout.root}",
                hint="run `antscache prefetch` again for the release, or link only some with --name or --kind",
            )
        modes: tuple[LinkMode, ...] = view.OUTSIDE if mode == "auto" else (mode,)
        here, below = _files(self.store, held)
        linked = view.link(directory, here | below, modes, ours=False)
        if linked.lost:
            lost = f"{linked.lost[0]} was deleted meanwhile"
            raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
        return linked

    def adopt(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        move: bool = False,
        dry_run: bool = False,
        heard: Callable[[int], object] = lambda _: None,
    ) -> Adopted:
        """The files in `directory` that are of a release are in the store, recorded, and in the release's view.

        Args:
            directory: a home, its `.keras`, or where ANTsPyNet keeps its files.
            manifest: of the release that files of unknown bytes are taken for.
            move: what was taken over is no longer in `directory`, and not copied where that can be helped.
            dry_run: change nothing.
            heard: told how many bytes were read.

        Raises:
            StoreError, ViewError: the disk refused.
            IntegrityError: other bytes were recorded for an identifier meanwhile.
        """
        from antscache import adopt

        records = [record for store in (*self.store.lowers, self.store) for record in store.records()]
        judged = adopt.judge(adopt.look(directory, manifest.release.package, heard), manifest, records)
        adopted = adopt.Adopted(judged)
        if dry_run or not adopted.entries:
            return adopted
        self.store.create()
        self.catalog.keep(manifest, self.store.layout.ingest)
        adopted = adopt.adopt(self.store, manifest, judged, move=move)
        self._make_view(manifest.release)
        return adopted

    def remove(self, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
        """What you selected of `release` is no longer in use, and what nobody else selected is not in its view.

        The bytes stay until a garbage collection. Interrupted, it is gone on with by the next one.

        Args:
            release: in use.
            force: take away what others selected as well.
            dry_run: change nothing.

        Raises:
            ViewError: nothing of it is in use; or the disk refused.
            StoreError: all of it is selected by others; or the disk refused.
        """
        selections = self.store.refs.selections(release)
        directory = self.store.layout.view(release) / home_directory(release.package)
        if not selections and not directory.is_dir():
            raise ViewError(
                f"nothing of {release} is in use in {self.store.layout.root}", hint="`antscache list` tells"
            )
        ours = [each for each in selections if force or self.store.refs.owner(each) == os.getuid()]
        others = [each for each in selections if each not in ours]
        if others and not ours:
            raise StoreError(f"others selected {release}, and you did not", hint="take it from them with --force")
        gone = set(union(selections)) - set(union(others))
        own = {usage.release: usage.own for usage in self.usages()}.get(release, 0)
        blobs = dict(self.store.held(gone))
        files = {entry.file: self.store.find(blobs[entry]) if entry in blobs else None for entry in gone}
        removed, kept = view.unlink(directory, files, dry_run=dry_run)
        kept = sorted(set(kept) - {entry.file for entry in union(others)})
        if not dry_run:
            for selection in ours:
                self.store.refs.deselect(selection)
            self.store.update_index()
        return Removed(tuple(removed), tuple(kept), directory, len(others), 0 if others else own)

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
            FetchError, IntegrityError: repairing, no origin delivered what is missing.
        """
        from antscache.verify import verify  # it reads with several threads, which nobody else needs

        def look() -> Verified:
            return verify(self.store, releases, deep=deep, jobs=self.settings.jobs, heard=heard)

        first = look()
        if not repair or not first.findings:
            return first
        self.store.create()
        trash = Trash(self.store.layout)
        for finding in first.findings:
            if finding.damaged:
                trash.set_aside(Path(finding.path))
        error = None
        for release in releases or self.store.refs.releases():
            entries = self.store.refs.entries(release)
            plan = self._restored(self.plan_entries(Manifest(release, entries), entries))
            try:
                self._carry_out(msgspec.structs.replace(plan, fetch=()) if self.settings.offline else plan, listen)
            except (FetchError, IntegrityError) as failed:  # the other releases first
                error = error or failed
        self.store.update_index()
        if error:
            raise error
        last = look()
        return replace(last, repaired=tuple(each for each in first.findings if each not in last.findings))

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
        return tuple(
            Usage(
                release=release,
                entries=len(entries),
                present=len(held[release]),
                size=sum(blob.size for blob in blobs[release]),
                own=sum(blob.size for blob in blobs[release] if users[blob] == 1),
                home=self.store.layout.view(release),
            )
            for release, entries in selected.items()
        )


def _lowers(settings: Settings) -> tuple[Store, ...]:
    """The lower caches that are there and that this antscache understands; of the others `antscache doctor` tells."""
    found = []
    for directory in settings.site_dirs:
        lower = Store(Path(directory))
        with suppress(StoreError):
            lower.check()
            if lower.exists() and directory != settings.root:
                found.append(lower)
    return tuple(found)


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
            (here if path.is_relative_to(store.layout.root) else below)[entry.file] = path
    return here, below


def _prefetch(release: Release) -> str:
    return f"run `antscache prefetch {release}`"


def _offline(plan: Plan) -> Offline:
    shown = ", ".join(entry.file for entry in plan.missing[:SHOWN])
    more = f" and {len(plan.missing) - SHOWN} more" if len(plan.missing) > SHOWN else ""
    names = "" if more else "".join(f" --name {entry.name}" for entry in plan.missing)
    return Offline(
        f"{len(plan.missing)} of {len(plan.entries)} files of {plan.release} are missing, and offline nothing is "
        f"fetched: {shown}{more}",
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
