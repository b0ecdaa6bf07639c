"""Garbage collection: what no ref reaches is condemned, and deleted by a later collection.

Two phases, because nothing here may need a lock. A writer protects first and looks afterwards: it writes its ref,
then looks what is held, and looks again once it has linked. A collection condemns first and looks afterwards: it moves
what no ref reached to the trash, reads the refs again, and puts back what has become reachable. Whichever comes first,
one of the two sees the other; and what neither saw waits in the trash for whoever asks for it.

What is younger than the grace is left alone: a blob is there before the record that a ref reaches it by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache import ingest, view
from antscache.trash import Condemned, Trash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from antscache.digest import Digest
    from antscache.store import Found, Store

GRACE = 24 * 60 * 60  # seconds: as long as what is in ingest/ may still be somebody's


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a collection is about to do, or has done.

    Attributes:
        condemned: blobs that no ref reaches.
        deleted: what has been in the trash for longer than the grace.
        restored: what is in the trash and a ref reaches.
        abandoned: what nobody has written to for a day, of ingests and of names being made in views.
        young: how many blobs no ref reaches and are younger than the grace.
        left: how many of those named above were not ours to move or delete.
    """

    condemned: tuple[Found, ...]
    deleted: tuple[Condemned, ...]
    restored: tuple[Condemned, ...]
    abandoned: tuple[Path, ...]
    young: int = 0
    left: int = 0

    @property
    def freed(self) -> int:
        """The bytes that are deleted."""
        return sum(each.size for each in self.deleted)


def plan_gc(  # noqa: PLR0913  what it depends on, and nothing else
    blobs: Iterable[Found],
    trash: Iterable[Condemned],
    reachable: Collection[Digest],
    abandoned: Iterable[Path],
    *,
    now: float,
    grace: float,
) -> Garbage:
    """What to condemn, to delete and to put back when `reachable` is what refs reach: pure.

    Age counts in both directions, so that what a clock that was wrong has dated to the future goes as well.
    """
    unreached = [blob for blob in blobs if blob.digest not in reachable]
    trash = tuple(trash)
    old = [blob for blob in unreached if abs(now - blob.changed) >= grace]
    return Garbage(
        condemned=tuple(old),
        deleted=tuple(each for each in trash if each.digest not in reachable and abs(now - each.since) >= grace),
        restored=tuple(each for each in trash if each.digest in reachable),
        abandoned=tuple(abandoned),
        young=len(unreached) - len(old),
    )


def plan_for(store: Store, *, now: float, grace: float) -> Garbage:
    """What a collection would do now.

    Raises:
        StoreError: the root cannot be read; or a ref, or a record that one names, is damaged, so that nobody can tell
            what it reaches.
    """
    reachable = store.reachable()
    abandoned = [*ingest.abandoned(store.layout), *view.abandoned(store.layout.views)]
    return plan_gc(store.blobs(), Trash(store.layout).contents(), reachable, abandoned, now=now, grace=grace)


def collect(store: Store, *, now: float, grace: float) -> Garbage:
    """What was planned is done; what came to be reached meanwhile is kept.

    Interrupted anywhere, it leaves blobs in the store or in the trash, from where the next command that needs them
    brings them back.

    Raises:
        StoreError: as `plan_for`, and nothing was done then; or the disk refused.
    """
    plan, trash = plan_for(store, now=now, grace=grace), Trash(store.layout)
    condemned = [blob for blob in plan.condemned if trash.condemn(blob.digest)]
    reachable = store.reachable()
    restored = trash.restore(reachable)
    doomed = [each for each in plan.deleted if each.digest not in reachable]
    deleted = [each for each in doomed if trash.delete(each)]
    for path in plan.abandoned:
        ingest.remove(path)
    store.update_index()
    return Garbage(
        condemned=tuple(blob for blob in condemned if blob.digest not in restored),
        deleted=tuple(deleted),
        restored=tuple(each for each in plan.restored if each.digest in restored),
        abandoned=plan.abandoned,
        young=plan.young,
        left=len(plan.condemned) - len(condemned) + len(doomed) - len(deleted),
    )
