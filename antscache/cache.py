"""The cache: the flow on one screen.

manifest -> plan -> fetch -> store -> view
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antscache import config, view
from antscache.catalog import Catalog
from antscache.errors import SHOWN, AntsCacheError, FetchError, IntegrityError, Offline, StoreError, ViewError
from antscache.events import Fetched, Listener, Present, nobody
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

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.config import LinkMode, Settings
    from antscache.digest import Descriptor
    from antscache.fetch import Fetching
    from antscache.view import Linked

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


class Cache:
    """A root and everything done with it.

    Reading never writes, but for manifests from the package index, which are kept. The root is made when it is first
    written to.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(Path(settings.root))
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
        known = self.store.known(entry.identifier for entry in entries if entry.identifier)
        held = {blob for blob in known.values() if self.store.holds(blob)}
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
        if plan.fetch and self.settings.offline:
            raise _offline(plan)
        selection = Selection(plan.release, plan.entries)
        fresh = not self.store.selects(selection)
        if fresh or plan.fetch:
            self.store.create()
            self.catalog.keep(plan.manifest, self.store.layout.ingest)
            self.store.select(selection)
        happened, error = self._fetch(plan, listen)
        held = self.store.held(union(self.store.selections(plan.release)))
        home = self.store.layout.view(plan.release)
        linked = self._link(plan.release, held, home)
        if not self.store.is_indexed(plan.release, held):
            self.store.update_index()
        if error:
            raise error
        fetched = tuple(event for event in happened if isinstance(event, Fetched))
        return Prefetched(home, fetched, tuple(event for event in happened if isinstance(event, Present)), linked)

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

    def _link(self, release: Release, held: Held, home: Path) -> Linked:
        mode = self.settings.link_mode
        modes: tuple[LinkMode, ...] = view.INSIDE if mode == "auto" else (mode,)
        return view.link(home / home_directory(release.package), self._files(held), modes, ours=True)

    # Views

    def view(self, release: Release) -> View:
        """The view of `release`.

        Raises:
            ViewError: nothing of the release is held.
        """
        entries = union(self.store.selections(release))
        held = self.store.held(entries)
        if not held:
            raise ViewError(f"nothing of {release} is held in {self.store.layout.root}", hint=_prefetch(release))
        home = self.store.layout.view(release)
        absent = view.missing(home / home_directory(release.package), self._files(held))
        not_held = sorted({entry.file for entry in entries} - {entry.file for entry, _ in held})
        return View(home, len(entries), tuple(not_held + absent))

    def selected(
        self, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
    ) -> tuple[Entry, ...]:
        """What is selected of `release`: of it, the entries of these names and kinds.

        Raises:
            ViewError: nothing is.
            ManifestError: nothing of such a name is.
        """
        entries = union(self.store.selections(release))
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
        return view.link(directory, self._files(held), modes, ours=False)

    def _files(self, held: Held) -> dict[str, Path]:
        return {entry.file: self.store.layout.blob(blob.digest) for entry, blob in held}

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
        selected = {release: union(self.store.selections(release)) for release in self.store.releases()}
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
