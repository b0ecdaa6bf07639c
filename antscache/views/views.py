"""Make, find and copy views: directories in the shape of a home, with the names that a release gives its files."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import Manifest, PresentState, merge_selections, place_in_home, select
from antscache.errors import MAX_LISTED_ITEMS, StoreError, ViewError
from antscache.store import view_digest
from antscache.views import links

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from antscache.config import LinkMode
    from antscache.core import Descriptor, Digest, Entry, Kind, Package, Plan, Release
    from antscache.root import Root
    from antscache.store import Store
    from antscache.views.links import Linked, Unlinked


@dataclass(frozen=True, slots=True)
class View:
    """The view of a release.

    Attributes:
        home: a directory in the shape of a home.
        selected: the number of files that belong in it.
        missing: the names of those that are missing.
    """

    home: Path
    selected: int
    missing: tuple[str, ...]


def find_view(root: Root, release: Release) -> View:
    """Find the view of `release`: in `root`, else in the first lower cache that holds files of it.

    Raises:
        ViewError: nothing of the release is held.
        StoreError: the root cannot be read, and no lower cache has the release.
    """
    first_error = None
    for store in (root.store, *root.store.lowers):
        try:
            if view := view_in(store, release):
                return view
        except StoreError as error:  # noqa: PERF203
            first_error = first_error or error
    raise first_error or _nothing_held(root, release)


def view_in(store: Store, release: Release) -> View | None:
    """Return the view of `release` in `store`; None if none of its files is held."""
    entries = merge_selections(store.refs.selections(release))
    held = store.present_state(entries).held_entries(entries)
    if not held:
        return None
    home = store.layout.view(release)
    here, below = files_of(store, held, release.package)
    absent = links.missing(home, here | below)
    not_held = sorted({entry.file for entry in entries} - {entry.file for entry, _ in held})
    return View(home, len(entries), (*not_held, *(Path(name).name for name in absent)))


def home_below(root: Root, plan: Plan) -> Path | None:
    """Return the home of a lower cache's view that has all files of `plan`; None if there is none."""
    for lower in root.store.lowers:
        with suppress(StoreError):  # a lower cache that cannot be read is passed over
            view = view_in(lower, plan.release)
            if (
                view
                and not view.missing
                and set(plan.entries) <= set(merge_selections(lower.refs.selections(plan.release)))
            ):
                return view.home
    return None


def selected_entries(
    root: Root, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
) -> tuple[Entry, ...]:
    """Return the selected entries of `release`, in `root` or else in a lower cache.

    Args:
        root: to look in.
        release: in use.
        names: only entries of these names; without any, of all names.
        kinds: only entries of these kinds; without any, of all kinds.

    Raises:
        ViewError: nothing of the release is selected.
        ManifestError: no selected entry has such a name.
        StoreError: the root cannot be read, and no lower cache has the release.
    """
    first_error = None
    for store in (root.store, *root.store.lowers):
        try:
            if entries := merge_selections(store.refs.selections(release)):
                return select(Manifest(release, entries), names, kinds)
        except StoreError as error:  # noqa: PERF203
            first_error = first_error or error
    raise first_error or _nothing_held(root, release)


def digest_of_view(root: Root, release: Release) -> Digest:
    """Return the digest over the names and bytes of the selected files of `release`: equal views have equal digests.

    The files are in `root` or in its lower caches. They are not read again.

    Raises:
        ViewError: nothing of the release is selected, or a file is not held.
        StoreError: the root cannot be read.
    """
    entries = selected_entries(root, release)
    held = root.present_state(entries).held_entries(entries)
    if missing := sorted({entry.file for entry in entries} - {entry.file for entry, _ in held}):
        more = f" and {len(missing) - MAX_LISTED_ITEMS} more" if len(missing) > MAX_LISTED_ITEMS else ""
        raise ViewError(
            f"the view of {release} is not whole; missing: {', '.join(missing[:MAX_LISTED_ITEMS])}{more}",
            hint=prefetch_hint(release),
        )
    return view_digest((entry.file, blob) for entry, blob in held)


def make_view(
    root: Root,
    release: Release,
    entries: Iterable[Entry] = (),
    state: PresentState | None = None,
    *,
    renew_clones: bool = False,
) -> Linked:
    """Link the selected files of `release` that are held into its view, and bring the index up to date.

    Names in the view that lead to a blob that is gone are removed, and names whose bytes nobody vouches for. Copies of
    blobs are replaced by links.

    Args:
        root: of the view.
        release: in use.
        entries: the entries that must be in the view afterwards; the result names those that are not held as lost.
        state: of `entries`, if it was read a moment ago; the state of other selected entries is read now.
        renew_clones: replace clones too, because nobody can tell them from copies.

    Raises:
        StoreError: a selection cannot be read, or the disk refused to write the index.
        ViewError: the disk refused to link.
    """
    store, entries = root.store, frozenset(entries)
    selected = merge_selections(store.refs.selections(release))
    unread = [entry for entry in selected if state is None or entry not in entries]
    known = (state or PresentState()).merged_with(store.present_state(unread))
    held = known.held_entries(selected)
    home, package = root.layout.view(release), release.package
    here, below = files_of(store, held, package)
    mode = root.settings.link_mode
    modes: tuple[LinkMode, ...] = links.VIEW_LINK_MODES if mode == "auto" else (mode,)
    shared = root.layout.shared_root
    linked = links.link_view(home, here, modes, below=below, shared=shared, renew_clones=renew_clones)
    unlink_unvouched(store, release, (entry for entry in selected if entry.identifier not in known.records))
    not_linked = {entry for entry in (*selected, *entries) if place_in_home(package, entry) not in here | below}
    links.drop_dangling(home, {place_in_home(package, entry) for entry in not_linked.intersection(selected)})
    linked.lost += sorted({entry.file for entry in not_linked & entries})
    if not store.index.is_current(release, held):
        store.index.update()
    return linked


def renew_other_views(root: Root, done: Release) -> None:
    """Link the views of other releases again in which a name has other bytes than are recorded now.

    So it is after a user's word was replaced by an origin's, or turned out to be about another identifier's bytes.

    Raises:
        StoreError: a selection cannot be read, or the disk refused to write the index.
        ViewError: the disk refused to link.
    """
    for release in set(root.store.refs.releases()) - {done}:
        if _has_wrong_names(root.store, release):
            make_view(root, release)


def _has_wrong_names(store: Store, release: Release) -> bool:
    """Return True if a name in the view of `release` does not lead to the blob that its record names, or has none."""
    entries, home = merge_selections(store.refs.selections(release)), store.layout.view(release)
    state = store.present_state(entries)
    here, below = files_of(store, state.held_entries(entries), release.package)
    unvouched = [place_in_home(release.package, entry) for entry in entries if entry.identifier not in state.records]
    return any(os.path.lexists(home / name) for name in (*links.missing(home, here | below), *unvouched))


def unlink_unvouched(store: Store, release: Release, entries: Iterable[Entry], *, dry_run: bool = False) -> Unlinked:
    """Remove from a release's view the names of `entries`, whose records do not count, if they lead to a blob.

    A name stays if its record is there and cannot be read: it may be all that tells which bytes the file has.

    Raises:
        ViewError: the disk refused.
    """

    def is_readable(entry: Entry) -> bool:
        path = store.layout.record(str(entry.identifier))
        return not os.path.lexists(path) or store.record(str(entry.identifier)) is not None

    names = sorted({place_in_home(release.package, entry) for entry in entries if is_readable(entry)})
    return links.unlink_blobs(store.layout.view(release), names, store.is_blob, dry_run=dry_run)


def materialise(
    root: Root,
    entries: Collection[Entry],
    directory: Path,
    mode: LinkMode = "auto",
    *,
    home_of: Package | None = None,
) -> Linked:
    """Put the files of `entries` into `directory`, which is in somebody's home, so that nothing points out of it.

    Other files in `directory` stay as they are. If it is the home of a process that uses the package `home_of`, the
    files get their places in it.

    Raises:
        ViewError: a file is not held, or a name in `directory` is taken by other bytes, and nothing was changed; or the
            disk refused.
        StoreError: the root cannot be read.
    """
    store = root.store
    held = store.present_state(entries).held_entries(entries)
    if len(held) < len(entries):  # an interrupted garbage collection may have left them in the trash
        store.restore(blob for _, blob in store.blobs_of(entries))
        held = store.present_state(entries).held_entries(entries)
    if len(held) < len(entries):
        raise ViewError(
            f"{len(entries) - len(held)} of {len(entries)} files are not held in {root.layout.root}",
            hint="run `antscache prefetch` again for the release, or link only some with --name or --kind",
        )
    modes: tuple[LinkMode, ...] = links.HOME_LINK_MODES if mode == "auto" else (mode,)
    here, below = files_of(store, held, home_of)
    linked = links.link_home(directory, here, modes, below=below)
    if linked.lost:
        lost = f"{linked.lost[0]} was deleted meanwhile"
        raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
    return linked


def files_of(
    store: Store, held: Iterable[tuple[Entry, Descriptor]], package: Package | None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the path of each file's blob, by its place in a view of `package`; without a package, by its file name.

    The first mapping has the blobs in `store` itself, the second those in lower caches.
    """
    here, below = dict[str, Path](), dict[str, Path]()
    for entry, blob in held:
        if path := store.find(blob):
            name = place_in_home(package, entry) if package else entry.file
            (here if path.parent == store.layout.blobs else below)[name] = path
    return here, below


def prefetch_hint(release: Release) -> str:
    """Return the hint for a release of which nothing is held."""
    return f"run `antscache prefetch {release}`"


def _nothing_held(root: Root, release: Release) -> ViewError:
    lowers = [str(lower.layout.root) for lower in root.store.lowers]
    places = f"{root.layout.root}{' or its lower caches ' if lowers else ''}{', '.join(lowers)}"
    return ViewError(f"nothing of {release} is held in {places}", hint=prefetch_hint(release))
