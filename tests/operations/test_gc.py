"""Garbage collection: in two steps it deletes exactly the blobs that nobody needs, also beside other commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BRAIN, FEW, HANG_SECONDS, LUNG, TEMPLATE, AntsCache, snapshot
from support.held import Held
from support.users import ANN, BOB, everybodys, run_as

from antscache.cache import Cache
from antscache.core.digest import Descriptor, descriptor_of, digest_from_hex, hexadecimal
from antscache.core.manifest import Entry, Release
from antscache.core.record import Record, Selection
from antscache.errors import StoreError
from antscache.operations.gc import Garbage, plan_gc
from antscache.store.oci import EMPTY_BLOB
from antscache.store.store import Store, StoredBlob
from antscache.store.trash import Condemned, Trash

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.testing import StandIn

__all__ = ["everybodys"]

DAY_SECONDS = 24 * 60 * 60
RELEASE = Release("antspynet", "0.3.2")
BRAIN_NUMBER = "34821874"  # BRAIN's


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def age_blobs(cache: Cache, seconds: float = 2 * DAY_SECONDS) -> None:
    for found in cache.store.blobs():
        age(cache.store.layout.blob(found.digest), seconds)


def age_trash(cache: Cache, seconds: float = 2 * DAY_SECONDS) -> None:
    """Make everything in the trash look condemned `seconds` earlier."""
    for each in Trash(cache.store.layout).contents():
        each.path.rename(each.path.with_name(each.path.name.replace(f".{each.since}", f".{each.since - int(seconds)}")))


@pytest.fixture
def cache(antscache: AntsCache, figshare: StandIn) -> Cache:
    return Cache.open(antscache.root, origins=figshare.origins.split())


@pytest.fixture
def used(cache: Cache) -> Cache:
    """Return a cache with two files of a release, and a third that no release uses any more."""
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN, LUNG]))
    cache.prefetch(cache.plan("0.2.9", names=[TEMPLATE]))
    cache.remove(Release("antspynet", "0.2.9"))
    return cache


def prefetch(cache: Cache, *names: str) -> None:
    cache.prefetch(cache.plan("0.3.2", names=names))


def content_of(cache: Cache, name: str) -> bytes | None:
    path = cache.store.layout.view(RELEASE) / f".keras/ANTsXNet/{name}"
    return path.read_bytes() if path.exists() else None


def template(figshare: StandIn) -> Descriptor:
    return descriptor_of(figshare.content("22597175"))


def assert_right(cache: Cache, figshare: StandIn, *numbers: str) -> None:
    """Assert that the files of these numbers are held, linked and indexed."""
    for number in numbers:
        assert content_of(cache, FEW[number]) == figshare.content(number)
        record = cache.store.record(f"figshare:{number}")
        assert record is not None
        assert cache.store.owns(record.descriptor)
    for found in cache.store.blobs():
        assert descriptor_of(cache.store.layout.blob(found.digest).read_bytes()).digest == found.digest
    before = cache.store.layout.index.stat().st_ino
    cache.store.index.update()
    assert cache.store.layout.index.stat().st_ino == before  # it was right
    condemned = {each.blob for each in Trash(cache.store.layout).contents()}
    for blob in cache.store.reachable() & condemned:
        assert cache.store.owns(blob)  # an artifact manifest that was made again


# What is decided

BLOBS = [Descriptor(digest_from_hex(f"{number:064x}"), number) for number in range(6)]
blobs = st.lists(
    st.builds(
        lambda blob, changed: StoredBlob(blob.digest, blob.size, changed), st.sampled_from(BLOBS), st.floats(-9, 9)
    ),
    unique_by=lambda found: found.digest,
)


def condemned(blob: Descriptor | None, since: int, number: int, path: Path) -> Condemned:
    return Condemned(path / str(number), blob.digest if blob else None, since, blob.size if blob else 0)


@settings(deadline=None)
@given(
    blobs,
    st.lists(st.tuples(st.one_of(st.none(), st.sampled_from(BLOBS)), st.integers(-9, 9))),
    st.sets(st.sampled_from(BLOBS)),
    st.floats(0, 12),
)
def test_exactly_old_unreached_blobs_are_collected(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[StoredBlob],
    waiting: list[tuple[Descriptor | None, int]],
    reachable: set[Descriptor],
    grace: float,
) -> None:
    """Reached or young blobs are never condemned or deleted; all others always are. The future counts as now."""
    path = tmp_path_factory.getbasetemp()
    trash = [condemned(blob, since, number, path) for number, (blob, since) in enumerate(waiting)]
    plan = plan_gc(found, trash, reachable, [path], now=0.0, grace=grace)
    reached = {blob.digest for blob in reachable}
    assert set(plan.condemned) == {e for e in found if e.digest not in reached and max(0, -e.changed) >= grace}
    assert set(plan.restored) == {each for each in trash if each.blob in reachable}
    assert set(plan.deleted) == {e for e in trash if e.blob not in reachable and max(0, -e.since) >= grace}
    assert len(plan.condemned) + plan.young == sum(each.digest not in reached for each in found)
    assert len(plan.deleted) + plan.waiting + len(plan.restored) == len(trash)
    assert (plan.abandoned, plan.left) == ((path,), 0)


# What is done


def test_garbage_is_condemned_then_deleted_next_day(used: Cache, figshare: StandIn) -> None:
    blob = template(figshare)
    assert (used.gc().condemned, used.gc().young) == ((), 2)  # and the artifact manifest that named it
    age_blobs(used)
    first = used.gc()
    assert blob.digest in {each.digest for each in first.condemned}
    assert (first.deleted, used.store.owns(blob)) == ((), False)
    assert used.gc() == Garbage((), (), (), (), waiting=len(first.condemned))
    age_trash(used)
    last = used.gc()
    assert {each.blob for each in last.deleted} == {Descriptor(each.digest, each.size) for each in first.condemned}
    assert last.freed == sum(each.size for each in first.condemned)
    assert Trash(used.store.layout).contents() == []
    assert_right(used, figshare, BRAIN_NUMBER, "41965818")


def test_without_grace_two_collections_free_everything(used: Cache, figshare: StandIn) -> None:
    used.gc(grace=0)
    assert used.gc(grace=0).freed >= template(figshare).size
    assert list(used.store.layout.trash.iterdir()) == []
    assert_right(used, figshare, BRAIN_NUMBER, "41965818")


@pytest.mark.parametrize("grace", [0, DAY_SECONDS])
def test_a_dry_run_returns_the_plan(used: Cache, grace: float) -> None:
    """It is what a run then does, and the dry run changes nothing."""
    for _ in range(3):
        age_blobs(used)
        before = snapshot(used.store.layout.root)
        times = {path: path.stat().st_mtime_ns for path in used.store.layout.root.rglob("*")}
        plan = used.gc(grace=grace, dry_run=True)
        assert snapshot(used.store.layout.root) == before
        assert {path: path.stat().st_mtime_ns for path in used.store.layout.root.rglob("*")} == times
        assert used.gc(grace=grace) == plan
        age_trash(used)


def test_a_collection_without_garbage_writes_nothing(used: Cache) -> None:
    used.gc(grace=0)
    used.gc(grace=0)
    before = {path: path.stat().st_mtime_ns for path in used.store.layout.root.rglob("*")}
    assert used.gc(grace=0) == Garbage((), (), (), ())
    assert {path: path.stat().st_mtime_ns for path in used.store.layout.root.rglob("*")} == before


def test_a_collection_makes_no_root(cache: Cache) -> None:
    assert cache.gc(grace=0) == cache.gc(dry_run=True) == Garbage((), (), (), ())
    assert not cache.store.layout.root.exists()


def test_a_prefetch_restores_condemned_blobs_offline(used: Cache, figshare: StandIn) -> None:
    used.gc(grace=0)
    assert not used.store.owns(template(figshare))
    offline = Cache.open(used.store.layout.root, offline=True)
    requests = len(figshare.requests)
    offline.prefetch(offline.plan("0.3.2", names=[TEMPLATE]))
    assert len(figshare.requests) == requests
    assert_right(used, figshare, *FEW)


def test_adopted_blobs_are_restored_offline_too(used: Cache, figshare: StandIn) -> None:
    path = used.store.layout.record("figshare:22597175")
    record = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**record, "trust": "adopted"}))
    used.gc(grace=0)
    offline = Cache.open(used.store.layout.root, offline=True)
    offline.prefetch(offline.plan("0.3.2", names=[TEMPLATE]))
    assert_right(used, figshare, *FEW)


def test_a_collection_restores_blobs_in_use(used: Cache, figshare: StandIn) -> None:
    """A collection that was killed may have left them in the trash."""
    record = used.store.record(f"figshare:{BRAIN_NUMBER}")
    assert record is not None
    Trash(used.store.layout).condemn(record.digest)  # as one that was killed leaves it
    age_trash(used)
    assert [each.blob for each in used.gc().restored] == [record.descriptor]
    assert_right(used, figshare, BRAIN_NUMBER, "41965818")


def test_damaged_files_in_the_trash_never_return(used: Cache, figshare: StandIn) -> None:
    """They are deleted a day after they were moved there."""
    record = used.store.record(f"figshare:{BRAIN_NUMBER}")
    assert record is not None
    trash = Trash(used.store.layout)
    trash.set_aside(used.store.layout.blob(record.digest))
    assert (used.gc().restored, len(trash.contents())) == ((), 1)
    age_trash(used)
    assert len(used.gc().deleted) == 1
    assert not used.store.owns(record.descriptor)
    used.prefetch(used.plan("0.3.2", names=[BRAIN]))
    assert_right(used, figshare, BRAIN_NUMBER)


def test_abandoned_ingests_go_young_ones_stay(used: Cache) -> None:
    ingest = used.store.layout.ingest
    for name, seconds in (("0" * 32, 2 * DAY_SECONDS), ("1" * 32, 60)):
        (ingest / name).write_bytes(b"beginning")
        age(ingest / name, seconds)
    (ingest / "directory").mkdir()
    age(ingest / "directory", 2 * DAY_SECONDS)
    garbage = used.gc(grace=0)
    assert (garbage.abandoned, garbage.left) == ((ingest / ("0" * 32),), 0)
    assert sorted(path.name for path in ingest.iterdir()) == ["1" * 32, "directory"]


def test_strange_files_are_left_alone(used: Cache) -> None:
    layout = used.store.layout
    strange = [
        layout.blobs / "thesis.txt",
        layout.blobs / ("A" * 64),
        layout.refs / "thesis.txt",
        layout.root / "thesis",
    ]
    for path in strange:
        path.write_text("precious")
        age(path, 9 * DAY_SECONDS)
    (layout.blobs / ("0" * 64)).symlink_to(layout.root / "thesis")
    (layout.blobs / ("1" * 64)).mkdir()
    for _ in range(3):
        used.gc(grace=0)
    assert [path.read_text() for path in strange] == ["precious"] * len(strange)
    assert (layout.blobs / ("0" * 64)).is_symlink()
    assert (layout.blobs / ("1" * 64)).is_dir()


def test_a_lower_cache_is_not_collected(used: Cache, tmp_path: Path) -> None:
    lower = used.store.layout.root
    age_blobs(used)
    before = snapshot(lower)
    upper = Cache.open(tmp_path / "upper", site_dirs=(str(lower),), offline=True)
    upper.prefetch(upper.plan("0.3.2", names=[BRAIN]))
    for _ in range(2):
        assert (upper.gc(grace=0).condemned, upper.gc(grace=0).deleted) == ((), ())
    assert snapshot(lower) == before


# What cannot be read


@pytest.mark.parametrize("what", ["selection", "record", "release"])
def test_unreadable_refs_or_records_stop_a_collection(antscache: AntsCache, used: Cache, what: str) -> None:
    """The root is unchanged then, and the hint names the command to run."""
    layout = used.store.layout
    if what == "release":
        (layout.refs / "antspytorch/1.0").mkdir(parents=True)
        (layout.refs / "antspytorch/1.0/x.json").write_text("{}")
    else:
        path = used.store.refs.of(RELEASE)[0].path if what == "selection" else layout.record(f"figshare:{BRAIN_NUMBER}")
        path.unlink()
        path.write_text("{")
    layout.trash.mkdir()
    (layout.trash / f"{'0' * 64}.1.00000000").write_bytes(b"old")
    (layout.ingest / ("0" * 32)).write_bytes(b"beginning")
    age(layout.ingest / ("0" * 32), 2 * DAY_SECONDS)
    before = snapshot(layout.root)
    for arguments in ["gc", "--grace", "0"], ["gc", "-n"]:
        ran = antscache(*arguments)
        assert (ran.code, ran.out) == (6, "")
        remedy = "pip install -U antscache" if what == "release" else "antscache verify --repair"
        assert re.search(f"hint: .*`{remedy}`", ran.err), ran.err
    assert snapshot(layout.root) == before


def test_an_unneeded_damaged_record_stops_nothing(used: Cache) -> None:
    path = used.store.layout.record("figshare:22597175")
    path.unlink()
    path.write_text("{")
    assert len(used.gc(grace=0).condemned) == 2


GC_SCRIPT = """
cache = Cache(Settings(root=arguments[0]))
try:
    garbage = cache.gc(grace=float(arguments[1]))
    print(json.dumps([len(garbage.condemned), len(garbage.deleted), garbage.left]))
except AntsCacheError as error:
    print(json.dumps(str(error)))
"""
BLOB_AND_REF_SCRIPT = """
from antscache.core import Entry, Release
store = Store(Path(arguments[0])); store.create()
store.refs.select(Selection(Release("antspynet", "0.3.2"), (Entry("network", "a", "a.h5", "figshare:1"),)))
blob = store.add(b"needed")
from antscache.core import Record
store.records.remember(Record("figshare:1", blob.digest, blob.size, "origin", "host", "2026-01-01T00:00:00+00:00"))
"""


@pytest.mark.parametrize("part", ["refs/antspynet/0.3.2", "refs/antspynet", "identifiers/figshare/1.json"])
def test_unreadable_selections_of_others_stop_a_collection(everybodys: Path, part: str) -> None:
    """Ann's umask lets nobody read what she selected; Bob collects in the same root."""
    root = everybodys / "root"
    run_as(ANN, BLOB_AND_REF_SCRIPT, root)
    for directory in (root, *root.rglob("")):
        directory.chmod(0o777)
    (root / part).chmod(0o700)
    before = snapshot(root)
    message = run_as(BOB, GC_SCRIPT, root, "0")
    assert "Permission denied" in message
    assert snapshot(root) == before


def test_sticky_blobs_of_others_are_left(everybodys: Path) -> None:
    """In a directory with the sticky bit they are counted as left; each user collects their own."""
    root = everybodys / "root"
    run_as(ANN, "store = Store(Path(arguments[0])); store.create(); store.add(b'ann')", root)
    for directory in (root, *root.rglob("")):
        os.chown(directory, 0, 0)  # whose it is may delete there too
        directory.chmod(0o1777)
    run_as(BOB, "store = Store(Path(arguments[0])); store.add(b'bob'); store.add(b'robert')", root)
    theirs = {f"blobs/sha256/{hexadecimal(descriptor_of(word).digest)}" for word in (b"bob", b"robert")}
    assert run_as(ANN, GC_SCRIPT, root, "0") == [1, 0, 2]
    os.chown(root / "trash", 0, 0)
    (root / "trash").chmod(0o1777)
    assert run_as(ANN, GC_SCRIPT, root, "0") == [0, 1, 2]
    assert theirs <= snapshot(root).keys()
    assert run_as(BOB, GC_SCRIPT, root, "0") == [2, 0, 0]
    assert run_as(ANN, GC_SCRIPT, root, "0") == [0, 0, 2]
    assert run_as(BOB, GC_SCRIPT, root, "0") == [0, 2, 0]
    assert theirs.isdisjoint(snapshot(root).keys())


# The command


def test_the_command_reports_and_hints(antscache: AntsCache, used: Cache) -> None:
    young = antscache("gc").succeeded()
    assert young.out == "deleted: 0 files (0 B); condemned: 0 files (0 B)\n"
    assert "too young to condemn: 2 files that no release needs" in young.err
    ran = antscache("gc", "--grace", "0").succeeded()
    assert re.fullmatch(r"deleted: 0 files \(0 B\); condemned: 2 files \(4\.\d kB\)\n", ran.out)
    assert "hint: a gc deletes condemned files from now on" in ran.err
    waiting = antscache("gc").succeeded()
    assert "condemned earlier, and too recently to delete: 2 files" in waiting.err
    assert "hint: a gc deletes condemned files 1 day after they were condemned" in waiting.err
    age_trash(used)
    last = antscache("gc").succeeded()
    assert re.fullmatch(r"deleted: 2 files \(4\.\d kB\); condemned: 0 files \(0 B\)\n", last.out)
    assert last.err == ""


def test_gc_now_frees_what_rm_left(antscache: AntsCache, cache: Cache) -> None:
    """The hints of rm and of gc say when the space comes."""
    prefetch(cache, BRAIN, TEMPLATE)
    removed = antscache("rm", "0.3.2").succeeded()
    assert re.search(r"hint: `antscache gc --now` frees 8\.\d kB .*; without --now, in a day", removed.err)
    assert "hint: `antscache gc --now` deletes them at once" in antscache("gc").succeeded().err
    planned = antscache("gc", "--now", "-n").succeeded().out
    assert re.match(r"would be deleted: \d files \(8", planned.splitlines()[-1])
    freed = antscache("gc", "--now").succeeded()
    assert re.fullmatch(r"deleted: \d files \(8\.\d kB\); condemned: 0 files \(0 B\)\n", freed.out)
    assert [blob.digest for blob in cache.store.blobs()] == [EMPTY_BLOB.digest]
    assert antscache("gc", "--now", "--grace", "1d").code == 2


def test_gc_now_keeps_what_is_needed(cache: Cache, figshare: StandIn) -> None:
    prefetch(cache, BRAIN)
    assert cache.gc(now=True).deleted == ()
    assert_right(cache, figshare, BRAIN_NUMBER)


def test_dry_run_and_json_list_each_file(antscache: AntsCache, used: Cache, figshare: StandIn) -> None:
    digest = template(figshare).digest
    ran = antscache("gc", "-n", "--grace", "0s").succeeded()
    assert re.search(rf"^condemn  {digest} +4\.0 kB$", ran.out, re.MULTILINE)
    assert ran.out.splitlines()[-1].startswith("would be deleted: 0 files (0 B); would be condemned: 2 files")
    facts = antscache("gc", "-n", "--grace", "0s", "--json").succeeded().json
    assert {"digest": digest, "size": 4000} in facts["condemned"]
    assert antscache("gc", "--grace", "0s", "--json").succeeded().json == facts
    assert used.store.owns(template(figshare)) is False


def test_prune_is_an_unlisted_alias_of_gc(antscache: AntsCache, used: Cache) -> None:
    assert antscache("prune", "-n", "--grace", "0").succeeded().out == antscache("gc", "-n", "--grace", "0").out
    listed = re.findall(r"^  (\w+)  ", antscache("--help").succeeded().out, re.MULTILINE)
    assert listed.count("gc") == 1
    assert "prune" not in listed
    assert "Usage: antscache prune" in antscache("prune", "--help").succeeded().out
    assert used.store.stored()[0] > 0


@pytest.mark.parametrize("grace", ["-1", "soon", "1y", "inf", "nan", ""])
def test_a_wrong_grace_is_refused(antscache: AntsCache, used: Cache, grace: str) -> None:
    before = snapshot(used.store.layout.root)
    assert antscache("gc", f"--grace={grace}").code == 2
    assert snapshot(used.store.layout.root) == before


# Beside others

HOLDING_SCRIPT = """
import sys, threading
from contextlib import nullcontext
from antscache.disk import Locks
from antscache.store import index, records, store, trash
from antscache.views import links
from antscache.cli import main
from antscache.store.refs import Refs

if sys.argv[1] == "False":
    Locks.attempt = lambda *_: nullcontext(True)
OWNERS = {
    "select": Refs, "remember": records.Records, "link_view": links, "update": index.Index, "reachable": store.Store,
    "condemn": trash.Trash, "restore": store.Store, "delete": trash.Trash,
}

def hold(moment, name):
    act, once = getattr(OWNERS[name], name), threading.Lock()

    def wait():
        if once.acquire(blocking=False):
            print("held", flush=True)
            sys.stdin.readline()

    def held(*arguments, **options):
        if moment == "before":
            wait()
        result = act(*arguments, **options)
        if moment == "after":
            wait()
        return result

    setattr(OWNERS[name], name, held)

for where in sys.argv[2].split(", "):
    hold(*where.split())
main(sys.argv[3:])
"""


def held_at(antscache: AntsCache, where: str, *command: str, locks: bool = True) -> Held:
    """Hold a command before or after it does something, once at each place."""
    return Held(antscache, HOLDING_SCRIPT, str(locks), where, *command)


PREFETCH_COMMAND = ["prefetch", "0.3.2", "--name", BRAIN]


HOLD_PLACES = [
    "after select",
    "before remember",
    "after remember",
    "before link_view",
    "after link_view",
    "before update",
]


@pytest.mark.parametrize("where", HOLD_PLACES)
def test_collections_beside_a_prefetch_lose_nothing(
    antscache: AntsCache, cache: Cache, figshare: StandIn, where: str
) -> None:
    """The prefetch is held in the middle; a blob that is published and not recorded yet is condemned and deleted."""
    held = held_at(antscache, where, *PREFETCH_COMMAND, "--link-mode", "symlink", locks=False)
    for _ in range(2):
        cache.gc(grace=0)
    held.go_on()
    assert_right(cache, figshare, BRAIN_NUMBER)


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("grace", [DAY_SECONDS, 0])
def test_collections_all_along_a_prefetch_lose_nothing(
    antscache: AntsCache, cache: Cache, figshare: StandIn, grace: float, locks: bool
) -> None:
    places = HOLD_PLACES[:-1]  # the collections have updated the index by then
    held = held_at(antscache, ", ".join(places), *PREFETCH_COMMAND, locks=locks)
    for place in places:
        for _ in range(2):
            cache.gc(grace=grace)
        if place != places[-1]:
            held.go_to_the_next()
    held.go_on()
    assert_right(cache, figshare, BRAIN_NUMBER)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("where", ["before select", "after select", "before link_view"])
def test_a_prefetch_keeps_old_blobs_it_found(
    antscache: AntsCache, cache: Cache, figshare: StandIn, where: str, times: int
) -> None:
    """It is condemned, or condemned and deleted, after the prefetch saw that there is nothing to fetch."""
    prefetch(cache, BRAIN)
    cache.remove(RELEASE)
    age_blobs(cache)
    held = held_at(antscache, where, *PREFETCH_COMMAND, "--link-mode", "symlink")
    for _ in range(times):
        cache.gc()
        age_trash(cache)
    held.go_on()
    assert_right(cache, figshare, BRAIN_NUMBER)


def test_blobs_restored_during_a_prefetch_are_linked(antscache: AntsCache, cache: Cache, figshare: StandIn) -> None:
    """A collection puts them back just after the prefetch missed them."""
    prefetch(cache, BRAIN)
    cache.remove(RELEASE)
    record = cache.store.record(f"figshare:{BRAIN_NUMBER}")
    assert record is not None
    age(cache.store.layout.blob(record.digest), 2 * DAY_SECONDS)
    prefetching = held_at(antscache, "before select, after link_view", *PREFETCH_COMMAND)
    collecting = held_at(antscache, "after condemn", "gc")
    prefetching.go_to_the_next()
    collecting.go_on()
    prefetching.go_on()
    assert_right(cache, figshare, BRAIN_NUMBER)


@pytest.mark.parametrize("then", ["goes on", "is killed"])
@pytest.mark.parametrize("where", ["after reachable", "after condemn", "before restore", "before update"])
def test_a_prefetch_beside_a_collection_loses_nothing(
    antscache: AntsCache, cache: Cache, figshare: StandIn, where: str, then: str
) -> None:
    """The collection is held, or killed, after it decided that nobody needs what the prefetch then needs."""
    prefetch(cache, BRAIN)
    cache.remove(RELEASE)
    held = held_at(antscache, where, "gc", "--grace", "0")
    offline = Cache.open(antscache.root, offline=True, link_mode="symlink")
    offline.prefetch(offline.plan("0.3.2", names=[BRAIN]))
    if then == "goes on":
        held.go_on()
    else:
        held.kill()
        offline.prefetch(offline.plan("0.3.2", names=[BRAIN]))
    assert_right(cache, figshare, BRAIN_NUMBER)


@pytest.mark.parametrize("where", ["after reachable", "before delete", "after delete"])
def test_a_prefetch_beside_a_deletion_loses_nothing(
    antscache: AntsCache, cache: Cache, figshare: StandIn, where: str
) -> None:
    prefetch(cache, BRAIN)
    cache.remove(RELEASE)
    cache.gc(grace=0)
    held = held_at(antscache, where, "gc", "--grace", "0")
    prefetch(cache, BRAIN)
    held.go_on()
    assert_right(cache, figshare, BRAIN_NUMBER)


@pytest.mark.parametrize("where", ["after reachable", "after condemn", "before delete"])
def test_concurrent_collections_delete_nothing_needed(
    antscache: AntsCache, cache: Cache, figshare: StandIn, where: str
) -> None:
    prefetch(cache, BRAIN, LUNG)
    cache.remove(RELEASE)
    cache.gc(grace=0)
    prefetch(cache, TEMPLATE)
    cache.store.add(b"garbage")
    held = held_at(antscache, where, "gc", "--grace", "0")
    for _ in range(3):
        cache.gc(grace=0)
    held.go_on()
    assert_right(cache, figshare, "22597175")
    assert len(cache.store.blobs()) == 3  # the file, the artifact manifest, its configuration


def test_a_removal_does_not_undo_a_prefetch(antscache: AntsCache, cache: Cache, figshare: StandIn) -> None:
    """The prefetch ends with the release in use, although another process removed it meanwhile."""
    for where in ("after select", "before link_view", "after link_view"):
        held = held_at(antscache, where, *PREFETCH_COMMAND)
        cache.remove(RELEASE)
        held.go_on()
        assert [entry.name for entry in cache.selected(RELEASE)] == [BRAIN]
        assert_right(cache, figshare, BRAIN_NUMBER)
        cache.remove(RELEASE)


def test_link_restores_blobs_from_the_trash(
    antscache: AntsCache, cache: Cache, figshare: StandIn, tmp_path: Path
) -> None:
    """A killed collection may have left them there."""
    prefetch(cache, BRAIN)
    record = cache.store.record(f"figshare:{BRAIN_NUMBER}")
    assert record is not None
    Trash(cache.store.layout).condemn(record.digest)
    antscache("link", "0.3.2", "--home", tmp_path / "out", "--mode", "copy", "--offline").succeeded()
    assert (tmp_path / f"out/.keras/ANTsXNet/{FEW[BRAIN_NUMBER]}").read_bytes() == figshare.content(BRAIN_NUMBER)


@pytest.mark.slow
def test_gc_now_beside_32_prefetches_loses_nothing(antscache: AntsCache, cache: Cache, figshare: StandIn) -> None:
    """Each is held between its blob and the record. It fetches the file again."""
    entries = [entry for entry in cache.manifest("0.3.2").entries if entry.identifier][:32]
    held = [held_at(antscache, "before remember", "prefetch", "0.3.2", "--name", entry.name) for entry in entries]
    antscache("gc", "--now").succeeded()
    for process in held:
        process.go_on()
    antscache("verify").succeeded()
    for entry in entries:
        path = cache.store.layout.place_in_view(RELEASE, entry)
        assert path.read_bytes() == figshare.content(str(entry.identifier).removeprefix("figshare:"))


def test_many_prefetches_and_collections_at_once_end_well(
    antscache: AntsCache, cache: Cache, figshare: StandIn
) -> None:
    commands = [
        [*PREFETCH_COMMAND], ["gc", "--grace", "0"], ["prefetch", "0.3.2", "--name", LUNG], ["gc", "--grace", "0"],
        ["prefetch", "0.3.2", "--name", TEMPLATE], ["gc"],
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            antscache.command(*command), env=antscache.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for command in commands * 2
    ]
    for process in processes:
        _, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 0, err.decode()
    assert_right(cache, figshare, *FEW)


def test_a_ref_damaged_during_a_collection_keeps_everything(
    antscache: AntsCache, cache: Cache, figshare: StandIn
) -> None:
    prefetch(cache, BRAIN)
    cache.store.add(b"garbage")
    cache.gc(grace=0)
    cache.store.add(b"more")
    held = held_at(antscache, "after condemn", "gc", "--grace", "0")
    [ref] = cache.store.refs.of(RELEASE)
    ref.path.unlink()
    ref.path.write_text("{")
    with pytest.raises(AssertionError, match="verify --repair"):
        held.go_on()
    with pytest.raises(StoreError, match="is damaged"):
        cache.gc()
    assert cache.store.holds(descriptor_of(figshare.content(BRAIN_NUMBER)))
    assert {each.size for each in Trash(cache.store.layout).contents()} >= {len(b"garbage"), len(b"more")}


def test_missing_blobs_count_as_reachable(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.create()
    blob = descriptor_of(b"absent")
    store.refs.select(Selection(RELEASE, (Entry("network", "a", "a.h5", "figshare:1"),)))
    store.records.remember(Record("figshare:1", blob.digest, blob.size, "origin", "host", "2026-01-01T00:00:00+00:00"))
    assert blob in store.reachable()
