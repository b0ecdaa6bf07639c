"""Remove: take a release out of use. Its view goes, and the blobs that only it needed become garbage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import home_directories, merge_selections, place_in_home
from antscache.errors import StoreError, ViewError
from antscache.store import Trash
from antscache.views import unlink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from antscache.core import Descriptor, Entry, Release
    from antscache.root import Root
    from antscache.store import Store


@dataclass(frozen=True, slots=True)
class Removed:
    """The result of a removal.

    Attributes:
        names: the names that are gone from the view.
        kept: the files that stay in the view because they are not ours, as paths in `home`.
        home: the view.
        others: the number of selections of the release that others have made.
        own: the bytes that nothing in use needs any more: garbage collections free them.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    home: Path
    others: int
    own: int


def remove_release(root: Root, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
    """Take your selections of `release` out of use, and remove the files that nobody else selected from its view.

    Their bytes stay until a garbage collection. If it is interrupted, the next run goes on from there.

    Args:
        root: the release is in use there.
        release: in use.
        force: take the selections of others out of use as well.
        dry_run: change nothing.

    Raises:
        ViewError: nothing of the release is in use, and nothing was changed; or the disk refused.
        StoreError: only others have selected the release, only they can take their selections away, or a selection
            cannot be read, and nothing was changed; or the disk refused.
    """
    store = root.store
    store.check_disk()
    refs, home = store.refs.of(release), store.layout.view(release)
    if not refs and not home.is_dir() and not store.index.names(release):
        raise ViewError(
            f"nothing of {release} is in use in {store.layout.root}", hint="`antscache list` prints what is in use"
        )
    ours = [ref for ref in refs if force or ref.is_ours]
    others = merge_selections(ref.selection for ref in refs if ref not in ours)
    if others and not ours:
        owners = ", ".join(sorted({disk.owner_of(ref.path) for ref in refs}))
        hint = f"ask them to run `antscache rm {release}`"
        if all(map(store.refs.can_deselect, refs)):
            hint += f", or take their selections away: `antscache rm {release} --force`"
        raise StoreError(f"{release} is in use by others ({owners}), and not by you", hint=hint)
    for ref in ours:
        if not store.refs.can_deselect(ref):
            hint = f"ask them to run `antscache rm {release}` themselves"
            raise StoreError(f"cannot remove {ref.path}: it is {disk.owner_of(ref.path)}'s", hint=hint)
    gone = set(merge_selections(ref.selection for ref in ours)) - set(others)
    blobs = dict(store.blobs_of(gone))
    own = set(blobs.values()) - _in_use(store, release, others)
    names = {entry: place_in_home(release.package, entry) for entry in (*gone, *others)}
    condemned = {file.blob: file.path for file in Trash(store.layout).contents()}
    paths = {  # a damaged blob counts as not held, but its name in the view still leads to it
        names[entry]: store.find(blob) or condemned.get(blob) or store.layout.blob(blob.digest)
        for entry, blob in blobs.items()
    }
    unlinked = unlink(
        home,
        home_directories(release.package),
        dict.fromkeys(names[entry] for entry in gone) | paths,
        dry_run=dry_run,
        shared=store.layout.shared_root,
    )
    kept = set(unlinked.kept) - {names[entry] for entry in others}
    if not dry_run:
        for ref in ours:  # after the view: without its selections nobody knows which names in it are ours
            store.refs.deselect(ref)
        store.index.update()
    freed = sum(blob.size for blob in own if store.owns(blob))
    files = tuple(sorted(PurePosixPath(name).name for name in unlinked.gone))
    return Removed(files, tuple(sorted(kept)), home, len(refs) - len(ours), freed)


def _in_use(store: Store, release: Release, others: Iterable[Entry]) -> set[Descriptor]:
    """Return the blobs of the entries that `others` selected of `release`, and of all other releases."""
    used = {blob for _, blob in store.blobs_of(others)}
    for other in set(store.refs.releases()) - {release}:
        used.update(blob for _, blob in store.blobs_of(merge_selections(store.refs.selections(other))))
    return used
