"""Removal: a release goes out of use with the names in its view that are ours, and nothing else goes."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, LUNG, TEMPLATE, AntsCache, snapshot
from support.users import ANN, BOB, LAB, everybodys, run_as

from antscache.cache import Cache
from antscache.core.manifest import Release
from antscache.errors import StoreError, ViewError
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.testing import StandIn

__all__ = ["everybodys"]

RELEASE, OTHER = Release("antspynet", "0.3.2"), Release("antspynet", "0.2.9")
NAMES = (BRAIN, LUNG, TEMPLATE)


@pytest.fixture
def cache(antscache: AntsCache, figshare: StandIn) -> Cache:
    """Return a cache with three files of a release in use, one of them by another release as well."""
    cache = Cache.open(antscache.root, origins=figshare.origins.split())
    cache.prefetch(cache.plan("0.3.2", names=NAMES))
    cache.prefetch(cache.plan("0.2.9", names=[BRAIN]))
    return cache


def antsxnet(cache: Cache, release: Release = RELEASE) -> Path:
    return cache.store.layout.view(release) / ".keras/ANTsXNet"


def tags(cache: Cache) -> list[str]:
    manifests = json.loads(cache.store.layout.index.read_bytes())["manifests"]
    return [each["annotations"]["org.opencontainers.image.ref.name"] for each in manifests]


def test_a_removed_release_has_no_view(cache: Cache) -> None:
    """It is no longer in use, and not in the index."""
    removed = cache.remove(RELEASE)
    assert removed.names == tuple(sorted(FEW.values()))
    assert (removed.kept, removed.others) == ((), 0)
    assert cache.store.refs.releases() == (OTHER,)
    assert not cache.store.layout.view(RELEASE).exists()
    assert tags(cache) == ["antspynet-0.2.9"]


def test_removed_bytes_stay_until_a_collection(cache: Cache, figshare: StandIn) -> None:
    """The other release keeps its own."""
    removed = cache.remove(RELEASE)
    assert removed.own == 8000  # two files of 4000; the third is in use
    assert cache.store.stored()[0] == 3 + 3  # and artifact manifests: of both releases, and their configuration
    cache.gc(grace=0)
    freed = cache.gc(grace=0).freed
    assert removed.own < freed < removed.own + 2000
    assert (antsxnet(cache, OTHER) / f"{BRAIN}.h5").read_bytes() == figshare.content("34821874")
    assert cache.view(OTHER).missing == ()


def test_a_removal_can_be_undone_offline(cache: Cache, figshare: StandIn) -> None:
    """Even after a collection, while its files wait in the trash."""
    cache.remove(RELEASE)
    cache.gc(grace=0)
    offline = Cache.open(cache.store.layout.root, offline=True)
    offline.prefetch(offline.plan("0.3.2", names=NAMES))
    assert {path.name: path.read_bytes() for path in antsxnet(cache).iterdir()} == {
        file: figshare.content(number) for number, file in FEW.items()
    }


@pytest.mark.parametrize("mode", [pytest.param("hardlink", marks=pytest.mark.hard_links), "symlink"])
def test_strange_files_in_a_view_stay(cache: Cache, tmp_path: Path, mode: str) -> None:
    """They are named in the result."""
    again = Cache.open(cache.store.layout.root, link_mode=mode)
    for path in antsxnet(cache).iterdir():
        path.unlink()
    again.prefetch(again.plan("0.3.2", names=NAMES))
    view = antsxnet(cache)
    (tmp_path / "precious").write_text("precious")
    (view / f"{LUNG}.h5").unlink()
    (view / f"{LUNG}.h5").write_text("trained on")
    (view / f"{TEMPLATE}.nii.gz").unlink()
    (view / f"{TEMPLATE}.nii.gz").symlink_to(tmp_path / "precious")
    (view / "mine.h5").write_text("mine")
    (view.parent / "keras.json").write_text("{}")
    (view / "directory").mkdir()
    (view / "directory/thesis.txt").write_text("precious")
    (view / "elsewhere").symlink_to(tmp_path)
    removed = cache.remove(RELEASE)
    assert removed.names == (f"{BRAIN}.h5",)
    kept = ["elsewhere", "mine.h5", f"{LUNG}.h5", f"{TEMPLATE}.nii.gz", "directory/thesis.txt"]
    assert set(removed.kept) == {".keras/keras.json", *(f".keras/ANTsXNet/{name}" for name in kept)}
    assert all(os.path.lexists(removed.home / name) for name in removed.kept)
    assert (view / f"{LUNG}.h5").read_text() == "trained on"
    assert cache.store.refs.releases() == (OTHER,)
    assert cache.remove(RELEASE).kept == removed.kept  # it may be asked again


def test_broken_links_in_a_view_are_removed(cache: Cache) -> None:
    path = antsxnet(cache) / f"{LUNG}.h5"
    path.unlink()
    path.symlink_to("../../../../blobs/sha256/nothing")
    assert f"{LUNG}.h5" in cache.remove(RELEASE).names
    assert not cache.store.layout.view(RELEASE).exists()


def test_names_of_condemned_blobs_are_removed(cache: Cache) -> None:
    """A collection was killed just there."""
    record = cache.store.record("figshare:41965818")
    assert record is not None
    Trash(cache.store.layout).condemn(record.digest)
    assert cache.remove(RELEASE).names == tuple(sorted(FEW.values()))


def test_a_name_being_made_is_left(cache: Cache) -> None:
    """It is not named either."""
    (antsxnet(cache) / ("0" * 32)).write_bytes(b"beginning")
    removed = cache.remove(RELEASE)
    assert (len(removed.names), removed.kept) == (3, ())
    assert (antsxnet(cache) / ("0" * 32)).exists()


def test_antspyx_files_leave_their_own_directory(cache: Cache) -> None:
    """Directories above it go only as far as they are empty."""
    cache.prefetch(cache.plan("antspyx==0.6.3", names=["r16"]))
    for each in (RELEASE, OTHER):
        cache.remove(each)
    removed = cache.remove(Release("antspyx", "0.6.3"))
    assert removed.names == ("r16slice.jpg",)
    assert list(cache.store.layout.views.iterdir()) == []
    assert list(cache.store.layout.refs.iterdir()) == []


def test_a_dry_run_returns_the_plan(cache: Cache) -> None:
    """It is what a run then does, and the dry run changes nothing."""
    (antsxnet(cache) / "mine.h5").write_text("mine")
    before = snapshot(cache.store.layout.root)
    planned = cache.remove(RELEASE, dry_run=True)
    assert snapshot(cache.store.layout.root) == before
    assert cache.remove(RELEASE) == planned


def test_an_unused_release_cannot_be_removed(cache: Cache) -> None:
    """The root is unchanged then."""
    before = snapshot(cache.store.layout.root)
    with pytest.raises(ViewError, match=r"nothing of antspynet==0\.3\.1 is in use") as caught:
        cache.remove(Release("antspynet", "0.3.1"))
    assert "antscache list" in caught.value.hint
    assert snapshot(cache.store.layout.root) == before


@pytest.mark.parametrize("release", [RELEASE, OTHER])
def test_a_damaged_selection_stops_a_removal(cache: Cache, release: Release) -> None:
    [ref] = cache.store.refs.of(release)
    ref.path.unlink()
    ref.path.write_text("{")
    before = snapshot(cache.store.layout.root)
    with pytest.raises(StoreError, match="is damaged") as caught:
        cache.remove(RELEASE)
    assert "antscache verify --repair" in caught.value.hint
    assert snapshot(cache.store.layout.root) == before


# The command


def test_the_command_reports_removed_and_kept_files(antscache: AntsCache, cache: Cache) -> None:
    """It hints at what gc can free."""
    (antsxnet(cache) / "mine.h5").write_text("mine")
    plan = antscache("rm", "0.3.2", "-n").succeeded()
    assert re.search(rf"^remove  {BRAIN}\.h5$", plan.out, re.MULTILINE)
    assert plan.out.splitlines()[-1] == "antspynet==0.3.2: 3 files would be removed from its view"
    assert "hint: `antscache gc --now` then frees 8.0 kB that no other release needs" in plan.err
    ran = antscache("rm", "antspynet==0.3.2").succeeded()
    assert ran.out == "antspynet==0.3.2: 3 files removed from its view\n"
    assert f"kept {antsxnet(cache) / 'mine.h5'}, which is another user's, or not antscache's\n" in ran.err
    assert "hint: `antscache gc --now` frees 8.0 kB that no other release needs" in ran.err


def test_json_has_the_same_facts(antscache: AntsCache, cache: Cache) -> None:
    (antsxnet(cache) / "mine.h5").write_text("mine")
    facts = antscache("rm", "0.3.2", "--json").succeeded().json
    assert facts == {
        "release": "antspynet==0.3.2",
        "removed": sorted(FEW.values()),
        "kept": [".keras/ANTsXNet/mine.h5"],
        "own": 8000,
    }


# Killed in the middle

KILLING_SCRIPT = """
import os, signal, sys
left = int(sys.argv[1])

def hook(event, arguments):
    global left
    if event in {"os.remove", "os.rmdir", "os.rename", "os.link"} and sys.argv[2] in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

from antscache.cli import main
sys.addaudithook(hook)
main(sys.argv[3:])
"""


def killed_at(antscache: AntsCache, step: int, *arguments: str) -> bool:
    """Run antscache and kill it after it has changed `step` names in the root; return True if it was killed."""
    command = [sys.executable, "-c", KILLING_SCRIPT, str(step), str(antscache.root), *arguments]
    done = subprocess.run(command, env=antscache.environment(), cwd=antscache.home, capture_output=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("then", ["rm", "prefetch", "another"])
def test_a_removal_killed_anywhere_can_be_completed(
    antscache: AntsCache, cache: Cache, figshare: StandIn, then: str
) -> None:
    """The next command puts everything right."""
    requests = len(figshare.requests)
    for step in itertools.count():
        if not killed_at(antscache, step, "rm", "0.3.2"):
            break
        if then == "rm":
            with suppress(ViewError):  # it was killed when all was done
                cache.remove(RELEASE)
            assert cache.store.refs.releases() == (OTHER,)
            assert not cache.store.layout.view(RELEASE).exists()
        elif then == "prefetch":
            cache.prefetch(cache.plan("0.3.2", names=NAMES))
            assert cache.view(RELEASE).missing == ()
        else:
            cache.prefetch(cache.plan("0.2.9", names=[BRAIN]))
        before = cache.store.layout.index.stat().st_ino
        cache.store.index.update()
        assert cache.store.layout.index.stat().st_ino == before  # it was right
        assert "antspynet-0.2.9" in tags(cache)
        cache.prefetch(cache.plan("0.3.2", names=NAMES))
    assert step > 5
    assert len(figshare.requests) == requests


# Other users

PREFETCH_SCRIPT = """
cache = Cache(Settings(root=arguments[0], origins=tuple(arguments[1].split()), offline=not arguments[1]))
cache.prefetch(cache.plan("0.3.2", names=arguments[2:]))
"""
SHARE_SCRIPT = f"""
Store(Path(arguments[0])).share({LAB})
"""
REMOVE_SCRIPT = """
from antscache.core import parse_release
cache = Cache(Settings(root=arguments[0]))
try:
    removed = cache.remove(parse_release("0.3.2"), force="force" in arguments)
    print(json.dumps({"names": removed.names, "kept": removed.kept, "others": removed.others, "own": removed.own}))
except AntsCacheError as error:
    print(json.dumps([str(error), error.hint]))
"""


@pytest.fixture
def common(everybodys: Path, figshare: StandIn) -> Cache:
    """Return a root that Ann shares with Bob, in which both may delete; he uses one more file than she does."""
    root = everybodys / "root"
    run_as(ANN, SHARE_SCRIPT, root)
    run_as(ANN, PREFETCH_SCRIPT, root, figshare.origins, BRAIN, umask=0)
    run_as(BOB, PREFETCH_SCRIPT, root, figshare.origins, BRAIN, LUNG, umask=0)
    for directory in (root, *root.rglob("")):
        directory.chmod(directory.stat().st_mode & ~stat.S_ISVTX)
    return Cache.open(root)


def test_selections_of_another_user_stay(common: Cache) -> None:
    removed = run_as(ANN, REMOVE_SCRIPT, common.store.layout.root)
    assert removed == {"names": [], "kept": [], "others": 1, "own": 0}
    assert common.view(RELEASE).missing == ()
    message, hint = run_as(ANN, REMOVE_SCRIPT, common.store.layout.root)
    assert message == f"antspynet==0.3.2 is in use by others (user {BOB}), and not by you"
    assert hint.endswith("`antscache rm antspynet==0.3.2 --force`")
    assert common.view(RELEASE).missing == ()


def test_only_your_own_files_are_removed(common: Cache) -> None:
    """Files that others selected as well stay."""
    removed = run_as(BOB, REMOVE_SCRIPT, common.store.layout.root)
    assert removed == {"names": [f"{LUNG}.h5"], "kept": [], "others": 1, "own": 4000}
    assert [entry.name for entry in common.selected(RELEASE)] == [BRAIN]
    assert common.view(RELEASE).missing == ()


def test_files_stay_until_both_users_remove(common: Cache, figshare: StandIn) -> None:
    run_as(ANN, PREFETCH_SCRIPT, common.store.layout.root, figshare.origins, BRAIN, LUNG, umask=0)
    assert run_as(BOB, REMOVE_SCRIPT, common.store.layout.root)["names"] == []
    assert len(common.selected(RELEASE)) == 2
    assert len(run_as(ANN, REMOVE_SCRIPT, common.store.layout.root)["names"]) == 2
    assert common.store.refs.releases() == ()


def test_force_removes_selections_of_others(common: Cache) -> None:
    removed = run_as(ANN, REMOVE_SCRIPT, common.store.layout.root, "force")
    assert (len(removed["names"]), removed["others"], removed["own"]) == (2, 0, 8000)
    assert common.store.refs.releases() == ()


def test_force_fails_where_only_owners_delete(common: Cache) -> None:
    """The error names the owner, and nothing is changed."""
    for directory in (common.store.layout.root, *common.store.layout.root.rglob("")):
        os.chown(directory, 0, 0)
        directory.chmod(0o1777)
    before = snapshot(common.store.layout.root)
    message, hint = run_as(ANN, REMOVE_SCRIPT, common.store.layout.root, "force")
    assert re.search(rf"cannot remove .*/refs/antspynet/0\.3\.2/\w+\.json: it is user {BOB}'s", message)
    assert "ask them to run `antscache rm antspynet==0.3.2` themselves" in hint
    assert snapshot(common.store.layout.root) == before


def test_anothers_complete_root_is_not_written(common: Cache) -> None:
    root = common.store.layout.root
    for directory in (root, *root.rglob("")):
        directory.chmod(0o755)
    before = snapshot(root)
    run_as(BOB + 1, PREFETCH_SCRIPT, root, "", BRAIN)
    assert snapshot(root) == before


def test_ownership_counts_in_shared_roots_alone(everybodys: Path, figshare: StandIn) -> None:
    """As on a network filesystem that says another owner than the only user."""
    root = everybodys / "root"
    run_as(ANN, PREFETCH_SCRIPT, root, figshare.origins, BRAIN, umask=0)
    run_as(ANN, "import os; os.chmod(arguments[0], 0o777)", root)
    for path in (root, *root.rglob("*")):
        os.chown(path, BOB, BOB, follow_symlinks=False)
    assert run_as(ANN, REMOVE_SCRIPT, root)["names"] == [f"{BRAIN}.h5"]


def test_a_reader_is_told_whom_to_ask(common: Cache) -> None:
    root = common.store.layout.root
    for directory in (root, *root.rglob("")):
        directory.chmod(0o755)
    message, hint = run_as(BOB + 1, REMOVE_SCRIPT, root)
    assert message == f"antspynet==0.3.2 is in use by others (user {ANN}, user {BOB}), and not by you"
    assert hint == "ask them to run `antscache rm antspynet==0.3.2`"
