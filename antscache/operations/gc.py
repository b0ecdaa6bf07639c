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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache.store import Condemned, Trash, remove, stale_files
from antscache.views import stale_links

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from antscache.core import Descriptor
    from antscache.root import Root
    from antscache.store import Store, StoredBlob

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
    """

    condemned: tuple[StoredBlob, ...]
    deleted: tuple[Condemned, ...]
    restored: tuple[Condemned, ...]
    abandoned: tuple[Path, ...]
    young: int = 0
    waiting: int = 0
    left: int = 0

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

    Age counts in both directions, so that files with a time in the future, from a wrong clock, are collected as well.

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
    old = tuple(blob for blob in unreached if abs(now - blob.changed) >= grace)
    trash = tuple(trash)
    waste = [file for file in trash if file.blob not in reachable]
    deleted = tuple(file for file in waste if abs(now - file.since) >= grace)
    return Garbage(
        condemned=old,
        deleted=deleted,
        restored=tuple(file for file in trash if file.blob in reachable),
        abandoned=tuple(abandoned),
        young=len(unreached) - len(old),
        waiting=len(waste) - len(deleted),
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
    store, plan = root.store, _plan(root.store, time.time(), grace)
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
    )


def _plan(store: Store, now: float, grace: float) -> Garbage:
    reachable = store.reachable()  # before the blobs are listed: a blob that comes later is younger than the grace
    abandoned = [*stale_files(store.layout), *stale_links(store.layout.views)]
    files = (path for path in abandoned if path.is_symlink() or not path.is_dir())
    return plan_gc(store.blobs(), Trash(store.layout).contents(), reachable, files, now=now, grace=grace)
