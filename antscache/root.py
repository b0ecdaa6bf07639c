"""An opened root: its settings, its store with the lower caches below it, and the catalog."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antscache import config
from antscache.catalog import Catalog
from antscache.core import HazardPolicy, Layout, find_weights_only
from antscache.errors import StoreError
from antscache.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.config import Settings
    from antscache.core import Entry, Plan, PresentState


@dataclass(frozen=True, slots=True)
class UnusedLowerCache:
    """A lower cache that is named in the settings and cannot be used; `why` says the reason."""

    directory: Path
    why: str


@dataclass(frozen=True, slots=True)
class Root:
    """An opened root; it may not exist on disk yet.

    Attributes:
        settings: the settings in force.
        store: its blobs, records and refs, and the stores of its lower caches.
        catalog: the manifests at hand.
        unused: the lower caches that are named in the settings and cannot be used.
    """

    settings: Settings
    store: Store
    catalog: Catalog
    unused: tuple[UnusedLowerCache, ...] = ()

    @classmethod
    def open(cls, settings: Settings) -> Root:
        """Open the root that `settings` name. Nothing is written.

        Raises:
            StoreError: the root cannot be read, or has a newer layout. A root that you may not read is no error if
                there are lower caches to read instead.
        """
        lowers, unused = _open_lower_caches(settings)
        store = Store(Path(settings.root), lowers, state=config.state_directory())
        try:
            store.check()
        except StoreError as error:
            if not (lowers and isinstance(error.__cause__, PermissionError)):
                raise
        below = [lower.layout.catalog for lower in lowers]
        catalog = Catalog(store.layout.catalog, offline=settings.offline, allow_build=settings.allow_build, below=below)
        return cls(settings, store, catalog, unused)

    @property
    def layout(self) -> Layout:
        """The paths below the root."""
        return self.store.layout

    def present_state(self, entries: Iterable[Entry]) -> PresentState:
        """Read the records of `entries`, and find which of their blobs are held, here or in a lower cache."""
        return self.store.present_state(entries)

    def hazard_policy(self) -> HazardPolicy:
        """Return the decision which findings refuse a file: by the settings, and by what all releases at hand load."""
        return HazardPolicy(self.settings.strict, find_weights_only(self.catalog.manifests()))

    def is_selected(self, plan: Plan) -> bool:
        """Return True if everything that `plan` selects is selected, by anybody."""
        return self.store.refs.is_selected(plan.selection)

    def select(self, plan: Plan) -> bool:
        """Write the selection of `plan`, which keeps its blobs alive from now on; make the root if it is not there.

        Returns:
            True if the selection was written. False if nothing of `plan` is missing and you have selected it already;
            or if nothing is missing, somebody else has selected it, and the root cannot be written.

        Raises:
            StoreError: the root cannot be written, and some of `plan` is missing or not selected.
        """
        if not plan.missing and self.store.refs.selects(plan.selection):
            return False
        try:
            self.store.create()
            if plan.keeps_manifest:
                self.catalog.save(plan.manifest, self.layout.staging)
            self.store.refs.select(plan.selection)
        except StoreError:
            if plan.missing or not self.is_selected(plan):
                raise
            return False
        return True


def lower_directories(settings: Settings) -> tuple[str, ...]:
    """Return the directories of lower caches: all that `settings` name, then those of an image that exist."""
    # One that you may not look into counts as not there.
    baked = (root for root in settings.baked if os.path.exists(Layout(Path(root)).description))  # noqa: PTH110
    return (*settings.site_dirs, *baked)


def _open_lower_caches(settings: Settings) -> tuple[tuple[Store, ...], tuple[UnusedLowerCache, ...]]:
    """Open each lower cache once; return the stores of those that can be used, and the others with the reason."""
    stores, unused = list[Store](), list[UnusedLowerCache]()
    opened = [Path(settings.root)]
    for directory in map(Path, lower_directories(settings)):
        lower = Store(directory)
        try:
            lower.check()
            exists = lower.exists()
        except (StoreError, OSError) as error:
            unused.append(UnusedLowerCache(directory, str(error)))
            continue
        if not exists:
            unused.append(UnusedLowerCache(directory, "no antscache root is there"))
        elif not any(_is_same(directory, other) for other in opened):
            opened.append(directory)
            stores.append(lower)
    return tuple(stores), tuple(unused)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
