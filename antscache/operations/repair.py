"""What `verify` found not to be as it should is made right, as far as it can be.

What is damaged is moved to `trash/`, from where it never comes back; of what is left whatever can be made is made; the
rest is fetched. Nothing that is right is moved, and no record that alone says what a release in use needs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import (
    Listener,
    Manifest,
    Release,
    Selection,
    fetchable,
    home_directory,
    ignore_events,
    parse_identifier,
)
from antscache.disk import READ_ONLY
from antscache.errors import AntsCacheError, StoreError, ViewError
from antscache.operations.verify import Finding, Verified, expected_of, sums, survey_of, verify
from antscache.store import IngestVanished, Trash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from antscache.catalog import Catalog
    from antscache.config import Settings
    from antscache.core import Digest
    from antscache.operations.prefetch import Prefetching
    from antscache.store import Store
    from antscache.views import Presence

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
        listen: Listener = ignore_events,
    ) -> Verified:
        """As `Cache.verify` says."""
        places = self._where(releases, () if repair else self._store.lowers)

        def look() -> Verified:
            each = [verify(store, named, deep=deep, jobs=self._settings.jobs, heard=heard) for store, named in places]
            findings = sorted(finding for one in each for finding in one.findings)
            return Verified(sum(one.blobs for one in each), sum(one.size for one in each), tuple(findings))

        first = last = look()
        if not repair or not first.findings:
            return first
        refused: tuple[str, ...] = ()
        for _ in range(TRIES):
            before = last
            refused = self._repair(before, releases, listen)
            last = look()
            known = {finding.place for finding in before.findings}
            new = (finding for finding in last.findings if finding not in before.findings)
            if not any(finding.remedy != "make" or finding.place not in known for finding in new):
                break  # nothing came to light that had been hidden behind something else
        remaining = {finding.place for finding in last.findings}
        repaired = tuple(finding for finding in first.findings if finding.place not in remaining)
        return replace(last, repaired=repaired, refused=refused)

    def sums(self, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
        """As `Cache.sums` says."""
        return tuple(each for store, named in self._where(releases, self._store.lowers) for each in sums(store, named))

    def _where(
        self, releases: Collection[Release], lowers: tuple[Store, ...]
    ) -> list[tuple[Store, Collection[Release]]]:
        """The stores to read, and the releases of each: the root, and `lowers` for what it has not in use.

        Raises:
            ViewError: one of `releases` is in use in none of them.
        """
        if not releases:
            return [(store, ()) for store in (lowers if lowers and not self._store.exists() else (self._store,))]
        found: dict[Store, list[Release]] = {}
        for release in dict.fromkeys(releases):
            store = next((each for each in (self._store, *lowers) if release in each.refs.releases()), None)
            if store is None:
                told = f"nothing of {release} is in use in {self._store.layout.root}"
                raise ViewError(told, hint="`antscache list` tells what is")
            found.setdefault(store, []).append(release)
        return [*found.items()]

    def _repair(self, verified: Verified, releases: Collection[Release], listen: Listener) -> tuple[str, ...]:
        """What can be made right of what was found is; what cannot, and why.

        Raises:
            StoreError: the disk refused.
        """
        restored = [self._restored_selection(release) for release in releases or self._store.refs.releases()]
        _clear(self._store, verified.findings, offline=self._settings.offline)
        self._store.create()  # not before: what it needs may have been damaged
        for selection in restored:
            if selection.entries:
                self._store.refs.select(selection)
        _salvage(self._store)
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


def _clear(store: Store, findings: Iterable[Finding], *, offline: bool) -> None:
    """What is damaged is no longer where it is looked for.

    What lower caches have is passed over, and disregarded unless nothing can be fetched instead. What is unreadable is
    made readable if it is ours, and else moved, unless nothing can be fetched instead.

    Raises:
        StoreError: the disk refused.
    """
    trash = Trash(store.layout)
    lowers = {lower.layout.blobs for lower in store.lowers}
    for finding in findings:
        path = Path(finding.path)
        if path.parent in lowers:
            if finding.remedy != "make" and not offline:
                store.disregard(f"sha256:{path.name}")
        elif finding.remedy == "open":
            if not _opened(path, shared=store.layout.shared) and not offline:
                trash.set_aside(path)
        elif finding.remedy == "move" and not (finding.part == "record" and _protects(store, path, offline=offline)):
            trash.set_aside(path)


def _opened(path: Path, *, shared: bool) -> bool:
    """Whether the file at `path` can be read, now that its mode is what a blob's is."""
    mask = os.umask(0o077)
    os.umask(mask)
    mode = READ_ONLY if shared else READ_ONLY & ~mask
    with suppress(OSError):
        if not path.is_symlink():
            path.chmod(mode)
    return os.access(path, os.R_OK)


def _protects(store: Store, path: Path, *, offline: bool) -> bool:
    """Whether the damaged record at `path` must stay until another takes its place.

    As long as it is there no garbage collection takes away what a release in use needs; a fetch writes over it.
    """
    identifier = parse_identifier(path.stem)
    used = {entry.identifier for release in store.refs.releases() for entry in store.refs.entries(release)}
    if identifier is None or identifier not in used or not path.is_file() or path.is_symlink():
        return False
    return offline or store.record(identifier) is None


def _salvage(store: Store) -> None:
    """What is not in the store and waits in the trash, or is whole in a view, is in the store again.

    Raises:
        StoreError: the disk refused.
    """
    survey = survey_of(store, ())
    expected = expected_of(store, survey, deep=False, everything=False)
    missing = {each.digest for each in expected if each.part == "blob" and not os.path.lexists(each.path)}
    blobs = {record.descriptor for record in survey.records.values() if record.digest in missing}
    if not blobs:
        return
    missing -= {blob.digest for blob in Trash(store.layout).restore(blobs)}
    for each in expected:
        if each.part == "view" and each.digest in missing and (path := Path(each.path)).is_file():
            with suppress(OSError, IngestVanished), store.ingest() as ingest:  # of no use, then
                ingest.take(path, move=False)
                if ingest.descriptor.digest == each.digest:
                    ingest.publish()
                    missing.discard(each.digest)
