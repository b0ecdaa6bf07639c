"""An opened root: its settings, its store with the lower caches below it, and the catalog."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.catalog import Catalog
from antscache.core import Layout
from antscache.errors import StoreError
from antscache.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.config import Settings
    from antscache.core import Entry, Plan, PresentState


@dataclass(frozen=True, slots=True)
class UnusedLowerCache:
    """A lower cache that was named and cannot be used."""

    directory: Path
    why: str


@dataclass(frozen=True, slots=True)
class Root:
    """A root that is open, whether or not anything was ever written to it.

    Attributes:
        settings: those in force.
        store: its blobs, records and refs, and the stores of its lower caches.
        catalog: the manifests at hand.
        unused: the lower caches that were named and cannot be used, and why.
    """

    settings: Settings
    store: Store
    catalog: Catalog
    unused: tuple[UnusedLowerCache, ...] = ()

    @classmethod
    def open(cls, settings: Settings) -> Root:
        """Open the root that `settings` name. Nothing is written.

        Raises:
            StoreError: the root cannot be read, or has a newer layout. Where lower caches can do without it, one that
                you may not read is no error.
        """
        lowers, unused = _open_lower_caches(settings)
        store = Store(Path(settings.root), lowers)
        try:
            store.check()
        except StoreError as error:
            if not (lowers and isinstance(error.__cause__, PermissionError)):
                raise
        below = [lower.layout.catalog for lower in lowers]
        return cls(settings, store, Catalog(store.layout.catalog, offline=settings.offline, below=below), unused)

    @property
    def layout(self) -> Layout:
        """Where things are below it."""
        return self.store.layout

    def present_state(self, entries: Iterable[Entry]) -> PresentState:
        """Read what is recorded of `entries`, and which of their bytes are held, here or in a lower cache."""
        return self.store.present_state(entries)

    def is_selected(self, plan: Plan) -> bool:
        """Return whether all that `plan` selects is selected, by anybody."""
        return self.store.refs.is_selected(plan.selection)

    def select(self, plan: Plan) -> bool:
        """Keep alive what `plan` selects, from now on; make the root if it is not there.

        Returns:
            Whether something was written: False where you have selected it already and nothing is missing, and where
            somebody else has and the root cannot be written to.

        Raises:
            StoreError: the root cannot be written to, and something is missing or not selected.
        """
        if not plan.missing and self.store.refs.selects(plan.selection):
            return False
        try:
            self.store.create()
            self.catalog.save(plan.manifest, self.layout.staging)
            self.store.refs.select(plan.selection)
        except StoreError:
            if plan.missing or not self.is_selected(plan):
                raise
            return False
        return True


def lower_directories(settings: Settings) -> tuple[str, ...]:
    """Return where lower caches are: all that are named, and what an image holds, as far as that is there."""
    # One that may not be looked into is not there.
    held = (each for each in settings.baked if os.path.exists(Layout(Path(each)).description))  # noqa: PTH110
    return (*settings.site_dirs, *held)


def _open_lower_caches(settings: Settings) -> tuple[tuple[Store, ...], tuple[UnusedLowerCache, ...]]:
    """Open the lower caches that are there and that this antscache understands, each once; name the others."""
    found, unused = list[Store](), list[UnusedLowerCache]()
    taken = [Path(settings.root)]
    for directory in map(Path, lower_directories(settings)):
        lower = Store(directory)
        try:
            lower.check()
            there = lower.exists()
        except (StoreError, OSError) as error:
            unused.append(UnusedLowerCache(directory, str(error)))
            continue
        if not there:
            unused.append(UnusedLowerCache(directory, "no antscache root is there"))
        elif not any(_is_same(directory, other) for other in taken):
            taken.append(directory)
            found.append(lower)
    return tuple(found), tuple(unused)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
