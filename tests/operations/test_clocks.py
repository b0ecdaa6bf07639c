"""Times of other clocks: nothing is taken for old too early, and nothing lives until a wrong time has come."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, TEMPLATE, TRANSFORM, AntsCache

from antscache.cache import Cache
from antscache.core.manifest import Release
from antscache.core.plan import Wanted
from antscache.core.record import Partial
from antscache.fetch import other_processes
from antscache.fetch.other_processes import OtherProcesses
from antscache.operations.gc import plan_gc
from antscache.store.ingest import Ingest
from antscache.store.partials import Notes
from antscache.store.store import Store, StoredBlob
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 60 * 60
FAR = 400 * DAY
RELEASE = Release("antspynet", "0.3.2")


@pytest.fixture
def cache(antscache: AntsCache) -> Cache:
    """Return a cache with a file in use, and one that no release uses any more."""
    cache = Cache.open(antscache.root, origins=antscache.origins.split())
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    cache.prefetch(cache.plan("0.2.9", names=[LUNG]))
    cache.remove(Release("antspynet", "0.2.9"))
    return cache


def date(path: Path, seconds: float) -> None:
    """Give `path` a time that is `seconds` in the future."""
    os.utime(path, (time.time() + seconds,) * 2, follow_symlinks=False)


def unreached(cache: Cache) -> list[Path]:
    needed = {blob.digest for blob in cache.store.reachable()}
    return [cache.store.layout.blob(blob.digest) for blob in cache.store.blobs() if blob.digest not in needed]


def date_trash(cache: Cache, seconds: float) -> None:
    for file in Trash(cache.store.layout).contents():
        name = file.path.name.replace(f".{file.since}", f".{int(time.time() + seconds)}")
        file.path.rename(file.path.with_name(name))


def leftover(cache: Cache, seconds: float) -> Path:
    path = cache.store.layout.ingest / ("0" * 32)
    path.write_bytes(b"beginning")
    date(path, seconds)
    return path


def set_clock(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let this process's clock differ from that of the filesystem, as where a file server has its own."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + days * DAY)


# Times in the future


@pytest.mark.parametrize("seconds", [DAY / 4, 3 * DAY, FAR])
def test_trash_of_the_future_waits_the_grace(cache: Cache, seconds: float) -> None:
    """It counts as new, and is deleted a day after a collection has seen it."""
    cache.gc(grace=0)
    date_trash(cache, seconds)
    files = len(Trash(cache.store.layout).contents())
    for grace in DAY, DAY / 12:
        garbage = cache.gc(grace=grace)
        assert (garbage.deleted, garbage.waiting) == ((), files)
    since = [file.since for file in Trash(cache.store.layout).contents()]
    assert all(then <= time.time() + DAY for then in since)
    date_trash(cache, -2 * DAY)
    assert len(cache.gc().deleted) == files > 0


def test_a_blob_of_the_future_waits_the_grace(cache: Cache) -> None:
    blobs = unreached(cache)
    for path in blobs:
        date(path, FAR)
    garbage = cache.gc()
    assert (garbage.condemned, garbage.young) == ((), len(blobs))
    assert all(path.stat().st_mtime <= time.time() + 1 for path in blobs)
    for path in blobs:
        date(path, -2 * DAY)
    assert len(cache.gc().condemned) == len(blobs) > 0


@pytest.mark.parametrize("by", ["gc", "prefetch"])
def test_a_leftover_of_the_future_goes_next_day(cache: Cache, by: str) -> None:
    path = leftover(cache, FAR)

    def collect(name: str) -> None:
        if by == "gc":
            cache.gc()
        else:
            cache.prefetch(cache.plan("0.3.2", names=[name]))

    collect(TRANSFORM)
    assert path.stat().st_mtime <= time.time() + 1
    date(path, -2 * DAY)
    collect(TEMPLATE)
    assert not path.exists()


def test_a_dry_run_dates_nothing_anew(cache: Cache) -> None:
    path = leftover(cache, FAR)
    cache.gc(dry_run=True)
    assert path.stat().st_mtime > time.time() + DAY


def test_without_grace_the_future_is_no_excuse(cache: Cache) -> None:
    """With --grace 0 two collections delete all garbage."""
    for path in unreached(cache):
        date(path, FAR)
    assert cache.gc(grace=0).condemned
    date_trash(cache, FAR)
    assert cache.gc(grace=0).deleted


def test_only_far_future_times_are_misdated() -> None:
    blobs = [StoredBlob(f"sha256:{number:064x}", 1, changed) for number, changed in enumerate([-9.0, 9.0, DAY + 9.0])]
    plan = plan_gc(blobs, (), (), (), now=0.0, grace=5.0)
    assert (plan.condemned, plan.misdated, plan.young) == ((blobs[0],), (blobs[2],), 2)


# A host whose clock is not the filesystem's


@pytest.mark.parametrize("days", [-3, 3])
def test_a_wrong_clock_takes_nothing_for_old(cache: Cache, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Neither a file being written, nor a young blob."""
    with closing(Notes(cache.store.layout)) as notes, Ingest(cache.store.layout) as ingest:
        notes.add(ingest.path, Partial("figshare:1", 1000, '"state"', "origin", "boot"))
        ingest.write(b"beginning")
        set_clock(monkeypatch, days)
        garbage = cache.gc()
        cache.prefetch(cache.plan("0.3.2", names=[TEMPLATE]))
        assert (garbage.condemned, garbage.abandoned) == ((), ())
        assert ingest.path.exists()


@pytest.mark.parametrize("days", [-3, 3])
def test_hosts_agree_on_the_grace_of_trash(cache: Cache, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """What one with a wrong clock condemns, one with a right clock does not delete early, nor never."""
    with monkeypatch.context() as patch:
        set_clock(patch, days)
        condemned = len(cache.gc(grace=0).condemned)
    assert cache.gc().waiting == condemned > 0
    date_trash(cache, -2 * DAY)
    assert len(cache.gc().deleted) == condemned


@pytest.mark.parametrize("days", [-3, 3])
def test_a_wrong_clock_finds_what_is_old(cache: Cache, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    path = leftover(cache, -2 * DAY)
    set_clock(monkeypatch, days)
    cache.gc()
    assert not path.exists()


# Waiting for another process


@pytest.mark.parametrize("days", [-3, 0, 3])
def test_progress_is_seen_by_any_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """A process that writes is waited for, one that does not is not."""
    monkeypatch.setattr(other_processes, "LEFT_FILE_POLL_SECONDS", 0.0)
    store = Store(tmp_path / "root")
    store.create()
    others = OtherProcesses(store.layout, 0.0, lambda _: None)
    wanted = Wanted("figshare:1", "a.h5", RELEASE)
    with closing(Notes(store.layout)) as notes, Ingest(store.layout) as ingest:
        ingest.write(b"begin")
        notes.add(ingest.path, Partial("figshare:1", 1000, '"state"', "origin", "boot"))
        date(ingest.path, days * DAY)
        others.leave(wanted, None)
        left = others.next_due()
        assert left
        ingest.write(b"ning")
        date(ingest.path, days * DAY)
        assert not others.has_stalled(left)
        assert others.has_stalled(left)
