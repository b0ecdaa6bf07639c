"""A release taken out of use: its view goes, and what only it needed becomes garbage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import home_directory, union
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


def remove_release(root: Root, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
    """Take what you selected of `release` out of use, and what nobody else selected out of its view.

    The bytes stay until a garbage collection. If it is interrupted, the next one goes on from there.

    Args:
        root: of the release.
        release: in use.
        force: take away what others selected as well.
        dry_run: change nothing.

    Raises:
        ViewError: nothing of it is in use, and nothing was changed; or the disk refused.
        StoreError: all of it is selected by others, or theirs to take away, or a selection cannot be read, and
            nothing was changed; or the disk refused.
    """
    store = root.store
    refs, home = store.refs.of(release), store.layout.view(release)
    if not refs and not home.is_dir() and not store.index.names(release):
        raise ViewError(f"nothing of {release} is in use in {store.layout.root}", hint="`antscache list` tells")
    ours = [ref for ref in refs if force or ref.is_ours]
    others = union(ref.selection for ref in refs if ref not in ours)
    if others and not ours:
        raise StoreError(f"others selected {release}, and you did not", hint="take it from them with --force")
    for ref in ours:
        if not store.refs.can_deselect(ref):
            hint = "they can run `antscache rm` themselves"
            raise StoreError(f"cannot remove {ref.path}: it is {disk.owner_of(ref.path)}'s", hint=hint)
    gone = set(union(ref.selection for ref in ours)) - set(others)
    blobs = dict(store.blobs_of(gone))
    own = set(blobs.values()) - _in_use(store, release, others)
    files = {entry.file: blobs[entry] for entry in gone if entry in blobs}
    condemned = {each.blob: each.path for each in Trash(store.layout).contents()}
    paths = {  # a blob that was cut is no blob, and still what its name in the view leads to
        file: store.find(blob) or condemned.get(blob) or store.layout.blob(blob.digest) for file, blob in files.items()
    }
    unlinked = unlink(
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
        store.index.update()
    freed = sum(blob.size for blob in own if store.owns(blob))
    return Removed(unlinked.gone, tuple(sorted(kept)), home, len(refs) - len(ours), freed)


def _in_use(store: Store, release: Release, others: Iterable[Entry]) -> set[Descriptor]:
    """The blobs that `others` of `release`, and the other releases, use."""
    used = {blob for _, blob in store.blobs_of(others)}
    for other in set(store.refs.releases()) - {release}:
        used.update(blob for _, blob in store.blobs_of(union(store.refs.selections(other))))
    return used
