"""Garbage collection: condemn the blobs that no ref reaches, and delete those that an earlier collection condemned.

Two phases, because nothing here may need a lock. A writer protects first and looks afterwards: it writes its ref,
then looks which blobs are held, and looks again once it has linked. A collection condemns first and looks afterwards:
it moves the blobs that no ref reached to the trash, reads the refs again, and restores those that have become
reachable. Whichever comes first, one of the two sees the other; and a blob that neither saw waits in the trash, from
where the next command that needs it restores it.

Blobs younger than the grace are left alone: a writer stores a blob before the record through which a ref reaches it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import age, is_misdated
from antscache.store import Condemned, StoredBlob, Trash, remove, remove_stale, stale_files
from antscache.views import stale_links

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from antscache.core import Descriptor
    from antscache.root import Root
    from antscache.store import Store

GRACE_SECONDS = 24 * 60 * 60  # as long as a file in ingest/ may still be being written


@dataclass(frozen=True, slots=True)
class Garbage:
    """The plan of a collection, or its result.

    Attributes:
        condemned: the blobs that no ref reaches, and that are older than the grace.
        deleted: the files in the trash that no ref reaches, and that were condemned longer ago than the grace.
        restored: the blobs in the trash that a ref reaches.
        abandoned: ingests and names being made in views that nobody has written to for a day.
        young: the number of blobs that no ref reaches and that are younger than the grace.
        waiting: the number of files in the trash that no ref reaches and that were condemned more recently.
        left: the number of the files above that you may not move or delete.
        misdated: the blobs and the files in the trash that count as young and get the time of now, because theirs, from
            a wrong clock, is far in the future.
    """

    condemned: tuple[StoredBlob, ...]
    deleted: tuple[Condemned, ...]
    restored: tuple[Condemned, ...]
    abandoned: tuple[Path, ...]
    young: int = 0
    waiting: int = 0
    left: int = 0
    misdated: tuple[StoredBlob | Condemned, ...] = ()

    @property
    def freed(self) -> int:
        """The number of bytes deleted."""
        return sum(file.size for file in self.deleted)


def plan_gc(  # noqa: PLR0913  pure: everything that it depends on is an argument
    blobs: Iterable[StoredBlob],
    trash: Iterable[Condemned],
    reachable: Collection[Descriptor],
    abandoned: Iterable[Path],
    *,
    now: float,
    grace: float,
) -> Garbage:
    """Decide which blobs to condemn, to delete and to restore when refs reach `reachable`: pure.

    A time in the future, from a wrong clock, counts as now (`core/clocks.py`).

    Args:
        blobs: those in the store.
        trash: the files in the trash.
        reachable: the blobs that refs reach.
        abandoned: files that nobody writes to any more.
        now: in seconds since 1970.
        grace: in seconds.
    """
    needed = {blob.digest for blob in reachable}
    unreached = [blob for blob in blobs if blob.digest not in needed]
    old = tuple(blob for blob in unreached if age(blob.changed, now) >= grace)
    trash = tuple(trash)
    waste = [file for file in trash if file.blob not in reachable]
    deleted = tuple(file for file in waste if age(file.since, now) >= grace)
    misdated_blobs = (blob for blob in unreached if blob not in old and is_misdated(blob.changed, now))
    misdated_waste = (file for file in waste if file not in deleted and is_misdated(file.since, now))
    return Garbage(
        condemned=old,
        deleted=deleted,
        restored=tuple(file for file in trash if file.blob in reachable),
        abandoned=tuple(abandoned),
        young=len(unreached) - len(old),
        waiting=len(waste) - len(deleted),
        misdated=(*misdated_blobs, *misdated_waste),
    )


def collect_garbage(root: Root, *, grace: float = GRACE_SECONDS, dry_run: bool = False) -> Garbage:
    """Condemn the blobs that no ref reaches, and delete the files that were condemned longer ago than `grace` seconds.

    A blob that a ref comes to reach meanwhile is kept. Interrupted anywhere, it leaves each blob in the store or in the
    trash, from where the next command that needs it restores it.

    Args:
        root: to collect the garbage of.
        grace: in seconds; younger blobs are not condemned either.
        dry_run: change nothing, and return the plan.

    Raises:
        StoreError: the root cannot be read, or a ref, or a record that it needs, is damaged, so that it is unknown
            which blobs it reaches: nothing was deleted. Or the disk refused.
    """
    root.store.check_disk()
    store, plan = root.store, _plan(root.store, grace, dry_run=dry_run)
    if dry_run or not store.exists():
        return plan
    store.check_parts()
    trash = Trash(store.layout)
    condemned = {blob for blob in plan.condemned if trash.condemn(blob.digest)}
    reachable = store.reachable()
    restored = store.restore(reachable)
    restored_digests = {blob.digest for blob in restored}
    to_delete = [file for file in plan.deleted if file.blob not in reachable]
    deleted = {file for file in to_delete if trash.delete(file)}
    for path in plan.abandoned:
        remove(path)
    _date_anew(store, trash, plan.misdated)
    remove_stale(store.layout)  # by the filesystem's clock, and with the dates of a wrong one
    removed = {path for path in plan.abandoned if not os.path.lexists(path)}
    left = [store.layout.blob(blob.digest) for blob in plan.condemned if blob not in condemned]
    left += [file.path for file in to_delete if file not in deleted]
    left += [path for path in plan.abandoned if path not in removed]
    store.index.update()
    return Garbage(
        condemned=tuple(blob for blob in plan.condemned if blob in condemned and blob.digest not in restored_digests),
        deleted=tuple(file for file in plan.deleted if file in deleted),
        restored=tuple(file for file in plan.restored if file.blob in restored),
        abandoned=tuple(path for path in plan.abandoned if path in removed),
        young=plan.young,
        waiting=plan.waiting,
        left=sum(map(os.path.lexists, left)),
        misdated=plan.misdated,
    )


def collect_now(root: Root, *, dry_run: bool = False) -> Garbage:
    """Condemn and delete at once all that no ref reaches, however young.

    The refs are read again before anything is deleted, as ever. A prefetch that has stored a blob, and not yet recorded
    it, fetches that file again.

    Args:
        root: to collect the garbage of.
        dry_run: change nothing, and return the plan.

    Raises:
        StoreError: as `collect_garbage` does.
    """
    first = collect_garbage(root, grace=0, dry_run=dry_run)
    if dry_run:
        now = int(time.time())
        condemned = (
            Condemned(root.store.layout.blob(blob.digest), blob.digest, now, blob.size) for blob in first.condemned
        )
        return replace(first, deleted=(*first.deleted, *condemned), condemned=())
    second = collect_garbage(root, grace=0)
    return replace(
        second,
        deleted=(*first.deleted, *second.deleted),
        restored=(*first.restored, *second.restored),
        abandoned=(*first.abandoned, *second.abandoned),
    )


def _date_anew(store: Store, trash: Trash, misdated: Iterable[StoredBlob | Condemned]) -> None:
    """Give what a wrong clock has dated the time of now."""
    for file in misdated:
        if isinstance(file, Condemned):
            trash.date_anew(file)
        else:
            disk.date_anew(store.layout.blob(file.digest))


def _plan(store: Store, grace: float, *, dry_run: bool) -> Garbage:
    """Plan a collection by the filesystem's clock if anything could be garbage; a dry run, by this host's."""
    plan = _plan_at(store, time.time(), grace)
    if dry_run or plan == Garbage((), (), (), ()):
        return plan
    return _plan_at(store, disk.filesystem_time(store.layout.ingest), grace)


def _plan_at(store: Store, now: float, grace: float) -> Garbage:
    reachable = store.reachable()  # before the blobs are listed: a blob that comes later is younger than the grace
    abandoned = [*stale_files(store.layout, now), *stale_links(store.layout.views, now)]
    files = (path for path in abandoned if path.is_symlink() or not path.is_dir())
    return plan_gc(store.blobs(), Trash(store.layout).contents(), reachable, files, now=now, grace=grace)
