"""What was found not to be as it should is made right, as far as it can be."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from antscache.errors import AntsCacheError, StoreError, ViewError
from antscache.events import Listener, nobody
from antscache.manifest import Manifest, Release, fetchable, home_directory
from antscache.record import Selection
from antscache.verify import Verified, clear, salvage, sums, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from antscache.catalog import Catalog
    from antscache.config import Settings
    from antscache.digest import Digest
    from antscache.prefetching import Prefetching
    from antscache.presence import Presence
    from antscache.store import Store

TRIES = 3  # times that it is repaired what comes to light behind something else


class Repair:
    """What verifies and repairs one root."""

    def __init__(
        self, settings: Settings, store: Store, catalog: Catalog, presence: Presence, prefetching: Prefetching
    ) -> None:
        self._settings, self._store, self._catalog = settings, store, catalog
        self._presence, self._prefetching = presence, prefetching

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
        self._check_in_use(releases)

        def look() -> Verified:
            return verify(self._store, releases, deep=deep, jobs=self._settings.jobs, heard=heard)

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
        self._check_in_use(releases)
        return tuple(sums(self._store, releases))

    def _check_in_use(self, releases: Collection[Release]) -> None:
        for release in sorted({*releases}.difference(self._store.refs.releases() if releases else ())):
            told = f"nothing of {release} is in use in {self._store.layout.root}"
            raise ViewError(told, hint="`antscache list` tells what is")

    def _repair(self, verified: Verified, releases: Collection[Release], listen: Listener) -> tuple[str, ...]:
        """What can be made right of what was found is; what cannot, and why.

        Raises:
            StoreError: the disk refused.
        """
        restored = [self._restored_selection(release) for release in releases or self._store.refs.releases()]
        clear(self._store, verified.findings, offline=self._settings.offline)
        self._store.create()  # not before: what it needs may have been damaged
        for selection in restored:
            if selection.entries:
                self._store.refs.select(selection)
        salvage(self._store)
        refused = []
        for release in releases or self._store.refs.releases():
            try:
                self._make_right(release, listen)
            except AntsCacheError as error:  # noqa: PERF203  the other releases first
                refused.append(str(error))
        try:
            self._store.update_index()
        except StoreError as error:
            refused.append(str(error))
        return tuple(dict.fromkeys(refused))

    def _restored_selection(self, release: Release) -> Selection:
        """What was selected of `release`, as far as its damaged selections do not tell: what was linked and recorded.

        Nothing, if none is damaged.
        """
        manifest = self._catalog.at_hand(release)
        if manifest is None or not any(self._store.refs.damaged([release])):
            return Selection(release, ())
        layout, home = self._store.layout, self._store.layout.view(release) / home_directory(release.package)
        linked = [entry for entry in fetchable(manifest.entries) if os.path.lexists(home / entry.file)]
        recorded = [e for e in linked if e.identifier and os.path.lexists(layout.record(e.identifier))]
        return Selection(release, tuple(recorded))

    def _make_right(self, release: Release, listen: Listener) -> None:
        """What is selected of `release` and missing is fetched, unless offline; and its view has what is held.

        Raises:
            AntsCacheError: the disk or an origin refused; what could be done was.
        """
        entries = self._store.refs.entries(release)
        plan = self._prefetching.restored(self._prefetching.plan(Manifest(release, entries), entries))
        if plan.fetch and not self._settings.offline:
            self._prefetching.carry_out(plan, listen)
        else:
            self._presence.make_view(release)
