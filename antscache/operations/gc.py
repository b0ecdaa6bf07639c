"""Garbage collection: what no ref reaches is condemned, and deleted by a later collection.

Two phases, because nothing here may need a lock. A writer protects first and looks afterwards: it writes its ref,
then looks what is held, and looks again once it has linked. A collection condemns first and looks afterwards: it moves
what no ref reached to the trash, reads the refs again, and puts back what has become reachable. Whichever comes first,
one of the two sees the other; and what neither saw waits in the trash for whoever asks for it.

What is younger than the grace is left alone: a blob is there before the record that a ref reaches it by.
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
    from antscache.store import Found, Store

GRACE_SECONDS = 24 * 60 * 60  # seconds: as long as what is in ingest/ may still be somebody's


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a collection is about to do, or has done.

    Attributes:
        condemned: blobs that no ref reaches.
        deleted: what has been in the trash for longer than the grace.
        restored: what is in the trash and a ref reaches.
        abandoned: what nobody has written to for a day, of ingests and of names being made in views.
        young: how many blobs no ref reaches and are younger than the grace.
        waiting: how many files in the trash no ref reaches and have been there for less than the grace.
        left: how many of those named above were not ours to move or delete.
    """

    condemned: tuple[Found, ...]
    deleted: tuple[Condemned, ...]
    restored: tuple[Condemned, ...]
    abandoned: tuple[Path, ...]
    young: int = 0
    waiting: int = 0
    left: int = 0

    @property
    def freed(self) -> int:
        """The bytes that are deleted."""
        return sum(each.size for each in self.deleted)


def plan_gc(  # noqa: PLR0913  what it depends on, and nothing else
    blobs: Iterable[Found],
    trash: Iterable[Condemned],
    reachable: Collection[Descriptor],
    abandoned: Iterable[Path],
    *,
    now: float,
    grace: float,
) -> Garbage:
    """What to condemn, to delete and to put back when `reachable` is what refs reach: pure.

    Age counts in both directions, so that what a clock that was wrong has dated to the future goes as well.
    """
    needed = {blob.digest for blob in reachable}
    unreached = [blob for blob in blobs if blob.digest not in needed]
    old = tuple(blob for blob in unreached if abs(now - blob.changed) >= grace)
    trash = tuple(trash)
    waste = [each for each in trash if each.blob not in reachable]
    deleted = tuple(each for each in waste if abs(now - each.since) >= grace)
    return Garbage(
        condemned=old,
        deleted=deleted,
        restored=tuple(each for each in trash if each.blob in reachable),
        abandoned=tuple(abandoned),
        young=len(unreached) - len(old),
        waiting=len(waste) - len(deleted),
    )


def collect_garbage(root: Root, *, grace: float = GRACE_SECONDS, dry_run: bool = False) -> Garbage:
    """Condemn what no ref reaches, and delete what was condemned longer ago than `grace` seconds.

    What comes to be reached meanwhile is kept. Interrupted anywhere, it leaves blobs in the store or in the trash, from
    where the next command that needs them brings them back.

    Args:
        root: of the garbage.
        grace: also how old a blob is at least that is condemned.
        dry_run: change nothing, and say what would be done.

    Raises:
        StoreError: the root cannot be read, or a ref or a record that one names is damaged, so that nobody can tell
            what it reaches: nothing was done then, or nothing deleted; or the disk refused.
    """
    store, plan = root.store, _plan(root.store, time.time(), grace)
    if dry_run or not store.exists():
        return plan
    trash = Trash(store.layout)
    condemned = {blob for blob in plan.condemned if trash.condemn(blob.digest)}
    reachable = store.reachable()
    restored = store.restore(reachable)
    back = {blob.digest for blob in restored}
    doomed = [each for each in plan.deleted if each.blob not in reachable]
    deleted = {each for each in doomed if trash.delete(each)}
    for path in plan.abandoned:
        remove(path)
    gone = {path for path in plan.abandoned if not os.path.lexists(path)}
    left = [store.layout.blob(blob.digest) for blob in plan.condemned if blob not in condemned]
    left += [each.path for each in doomed if each not in deleted]
    left += [path for path in plan.abandoned if path not in gone]
    store.index.update()
    return Garbage(
        condemned=tuple(blob for blob in plan.condemned if blob in condemned and blob.digest not in back),
        deleted=tuple(each for each in plan.deleted if each in deleted),
        restored=tuple(each for each in plan.restored if each.blob in restored),
        abandoned=tuple(path for path in plan.abandoned if path in gone),
        young=plan.young,
        waiting=plan.waiting,
        left=sum(map(os.path.lexists, left)),
    )


def _plan(store: Store, now: float, grace: float) -> Garbage:
    reachable = store.reachable()  # before looking what there is: whatever comes later is younger
    abandoned = [*stale_files(store.layout), *stale_links(store.layout.views)]
    files = (path for path in abandoned if path.is_symlink() or not path.is_dir())
    return plan_gc(store.blobs(), Trash(store.layout).contents(), reachable, files, now=now, grace=grace)
