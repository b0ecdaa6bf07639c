"""Make, find and copy views: directories in the shape of a home, with a release's names for the bytes it asks for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import Manifest, PresentState, select, union
from antscache.errors import StoreError, ViewError
from antscache.views import links

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from antscache.config import LinkMode
    from antscache.core import Descriptor, Entry, Kind, Plan, Release
    from antscache.root import Root
    from antscache.store import Store
    from antscache.views.links import Linked


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


def find_view(root: Root, release: Release) -> View:
    """Find the view of `release`, in `root` or a lower cache.

    Raises:
        ViewError: nothing of the release is held.
        StoreError: the root cannot be read.
    """
    refused = None
    for store in (root.store, *root.store.lowers):
        try:
            if found := view_in(store, release):
                return found
        except StoreError as error:  # noqa: PERF203
            refused = refused or error
    raise refused or _nothing_held(root, release)


def view_in(store: Store, release: Release) -> View | None:
    """Return the view of `release` in `store`; None if nothing of it is held for it there."""
    entries = union(store.refs.selections(release))
    held = store.present_state(entries).held_of(entries)
    if not held:
        return None
    home = store.layout.view(release)
    here, below = files_of(store, held)
    absent = links.missing(store.layout.directory_in_view(release), here | below)
    not_held = sorted({entry.file for entry in entries} - {entry.file for entry, _ in held})
    return View(home, len(entries), tuple(not_held + absent))


def home_below(root: Root, plan: Plan) -> Path | None:
    """Return the view of a lower cache that has all of `plan`, if there is one."""
    for lower in root.store.lowers:
        with suppress(StoreError):  # it is as good as not there
            view = view_in(lower, plan.release)
            if view and not view.missing and set(plan.entries) <= set(union(lower.refs.selections(plan.release))):
                return view.home
    return None


def selected_entries(
    root: Root, release: Release, *, names: Collection[str] = (), kinds: Collection[Kind] = ()
) -> tuple[Entry, ...]:
    """Return what is selected of `release`, in `root` or a lower cache: of it, the entries of these names and kinds.

    Raises:
        ViewError: nothing is.
        ManifestError: nothing of such a name is.
        StoreError: the root cannot be read.
    """
    refused = None
    for store in (root.store, *root.store.lowers):
        try:
            if entries := union(store.refs.selections(release)):
                return select(Manifest(release, entries), names, kinds)
        except StoreError as error:  # noqa: PERF203
            refused = refused or error
    raise refused or _nothing_held(root, release)


def make_view(root: Root, release: Release, entries: Iterable[Entry] = (), state: PresentState | None = None) -> Linked:
    """Link what is selected of `release` and held in the release's view, and have the index say so.

    Args:
        root: of the view.
        release: in use.
        entries: those of them that are to be there afterwards; what is not held is named in the result as lost.
        state: of `entries`, where it was read a moment ago; what else is selected is read now.

    Raises:
        StoreError, ViewError: the disk refused.
    """
    store, entries = root.store, frozenset(entries)
    selected = union(store.refs.selections(release))
    unread = [entry for entry in selected if state is None or entry not in entries]
    held = (state or PresentState()).and_state(store.present_state(unread)).held_of(selected)
    directory = root.layout.directory_in_view(release)
    here, below = files_of(store, held)
    mode = root.settings.link_mode
    modes: tuple[LinkMode, ...] = links.INSIDE if mode == "auto" else (mode,)
    linked = links.link_view(directory, here, modes, below=below, shared=root.layout.shared_root)
    links.drop_dangling(directory, {entry.file for entry in selected} - here.keys() - below.keys())
    linked.lost += sorted({entry.file for entry in entries} - here.keys() - below.keys())
    if not store.index.says(release, held):
        store.index.update()
    return linked


def materialise(root: Root, entries: Collection[Entry], directory: Path, mode: LinkMode = "auto") -> Linked:
    """Give `directory` the files of `entries`, so that nothing there points out of it. What else is there is kept.

    Raises:
        ViewError: a file is not held, a name in `directory` is taken by other bytes (nothing was changed then), or the
            disk refused.
        StoreError: the root cannot be read.
    """
    store = root.store
    held = store.present_state(entries).held_of(entries)
    if len(held) < len(entries):  # an interrupted garbage collection may have left them in the trash
        store.restore(blob for _, blob in store.blobs_of(entries))
        held = store.present_state(entries).held_of(entries)
    if len(held) < len(entries):
        raise ViewError(
            f"{len(entries) - len(held)} of {len(entries)} files are not held in {root.layout.root}",
            hint="run `antscache prefetch` again for the release, or link only some with --name or --kind",
        )
    modes: tuple[LinkMode, ...] = links.OUTSIDE if mode == "auto" else (mode,)
    here, below = files_of(store, held)
    linked = links.link_home(directory, here, modes, below=below)
    if linked.lost:
        lost = f"{linked.lost[0]} was deleted meanwhile"
        raise ViewError(f"cannot link into {directory}: {lost}", hint="run `antscache prefetch`, then try again")
    return linked


def files_of(store: Store, held: Iterable[tuple[Entry, Descriptor]]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return file names and where their blobs are: those in `store` itself, and those in its lower caches."""
    here, below = dict[str, Path](), dict[str, Path]()
    for entry, blob in held:
        if path := store.find(blob):
            (here if path.parent == store.layout.blobs else below)[entry.file] = path
    return here, below


def prefetch_hint(release: Release) -> str:
    """Say what to do where nothing of `release` is held."""
    return f"run `antscache prefetch {release}`"


def _nothing_held(root: Root, release: Release) -> ViewError:
    lowers = [str(lower.layout.root) for lower in root.store.lowers]
    places = f"{root.layout.root}{' or below it in ' if lowers else ''}{', '.join(lowers)}"
    return ViewError(f"nothing of {release} is held in {places}", hint=prefetch_hint(release))
