"""A prefetch looks four times at what is there, because other processes work beside it.

It looks when it plans, when it has selected, under the lock of each file, and when it has linked; each time everything
counts that another process has done until then. Here one process is held in between, and a second one runs to its end.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, LUNG, TEMPLATE, AntsCache, snapshot
from support.held import Held

from antscache import Cache
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NUMBERS = {file.partition(".")[0]: number for number, file in FEW.items()}
SILENCE_SECONDS = 300  # that a held process waits for an origin: as long as a test may take
GC_COMMAND = ["gc", "--grace", "0"]  # the first condemns, the second deletes


def named(*names: str) -> list[str]:
    return [word for name in names for word in ("--name", name)]


def opened(antscache: AntsCache, *, offline: bool = False) -> Cache:
    return Cache.open(antscache.root, origins=antscache.origins.split(), offline=offline)


# The first process, held


@contextmanager
def held_in_fetch(antscache: AntsCache, name: str, *others: str) -> Iterator[None]:
    """Hold a prefetch of `name` and `others` in the fetch of `name`; in the end it succeeds.

    It fetches one file after the other, networks first. An origin takes the request for `name`, says nothing, and is
    closed in the end; the next origin has the file.
    """
    number = NUMBERS[name]
    with StandIn({number: FEW[number]}) as silent:
        silent.misbehave(number, Misbehaviour.STALL_HEADERS)
        options = ["--jobs", "1", "--timeout", str(SILENCE_SECONDS)]
        with subprocess.Popen(
            antscache.command("prefetch", "0.3.2", *named(name, *others), *options),
            env=antscache.environment(ANTSCACHE_ORIGINS=f"{silent.origins.split()[0]} {antscache.origins}"),
            cwd=antscache.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                while not any(request.route == "storage" for request in silent.requests):
                    assert process.poll() is None, process.communicate()[1]
                    time.sleep(0.01)
                yield
            finally:
                silent.close()
            _, err = process.communicate()
            assert process.returncode == 0, err


HOLDING_SCRIPT = """
import os, sys
from antscache.cli import main

places = sys.argv[1].split(":")

def hold(event, arguments):
    if event in {"os.link", "os.rename"} and places and os.fspath(arguments[1]).startswith(places[0]):
        del places[0]
        print("held", flush=True)
        sys.stdin.readline()

sys.addaudithook(hold)
main(sys.argv[2:])
"""


def held_before_naming(antscache: AntsCache, paths: Sequence[str], *command: str) -> Held:
    """Hold a command before it puts a file at the first of `paths` of the root, or below it; then at the next."""
    return Held(antscache, HOLDING_SCRIPT, ":".join(str(antscache.root / path) for path in paths), *command)


# What there is afterwards


def downloads(figshare: StandIn) -> Counter[str]:
    """Return how often each file was downloaded so far."""
    return Counter({name: figshare.downloads(number) for name, number in NUMBERS.items()})


def blobs(antscache: AntsCache) -> set[bytes]:
    return {path.read_bytes() for path in (antscache.root / "blobs/sha256").iterdir()}


def indexed(antscache: AntsCache) -> dict[str, set[str]]:
    """Return the files of each release that `index.json` names."""
    found = {}
    for release in json.loads((antscache.root / "index.json").read_bytes())["manifests"]:
        blob = antscache.root / "blobs/sha256" / release["digest"].removeprefix("sha256:")
        layers = json.loads(blob.read_bytes())["layers"]
        files = {layer["annotations"]["org.opencontainers.image.title"] for layer in layers if "annotations" in layer}
        found[release["annotations"]["org.opencontainers.image.ref.name"]] = files
    return found


def state(root: Path) -> tuple[dict[str, bytes | str], dict[Path, tuple[int, int]]]:
    """Return what files hold; and inode and time of change of files and directories, but for locks."""
    paths = [root, *(path for path in root.rglob("*") if "locks" not in path.parts)]
    return snapshot(root), {path: ((found := path.lstat()).st_ino, found.st_mtime_ns) for path in paths}


def assert_whole(antscache: AntsCache, figshare: StandIn, *names: str) -> None:
    """Assert that the release is in use with these names, there and indexed, and nothing is wrong with the root."""
    view = antscache.root / "views/antspynet-0.3.2/.keras/ANTsXNet"
    found = {path.name: path.read_bytes() for path in view.iterdir()}
    assert found == {FEW[number]: figshare.content(number) for number in (NUMBERS[name] for name in names)}
    assert indexed(antscache)["antspynet-0.3.2"] == found.keys()
    assert opened(antscache).verify().findings == ()


# When it plans


@pytest.mark.parametrize("offline", [False, True])
def test_a_plan_another_carried_out_writes_nothing(antscache: AntsCache, figshare: StandIn, *, offline: bool) -> None:
    """It does not ask an origin either, and needs no network."""
    cache = opened(antscache, offline=offline)
    plan = cache.plan("0.3.2", names=[BRAIN, TEMPLATE])
    antscache("prefetch", "0.3.2", *named(BRAIN, TEMPLATE)).succeeded()
    requests, before = len(figshare.requests), state(antscache.root)
    cache.prefetch(plan)
    assert len(figshare.requests) == requests
    assert state(antscache.root) == before
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)


def test_what_another_release_fetched_is_not_fetched(antscache: AntsCache, figshare: StandIn) -> None:
    """It was fetched after the plan was made, and is linked and indexed for both."""
    cache = opened(antscache)
    plan = cache.plan("0.3.2", names=[BRAIN, TEMPLATE])
    antscache("prefetch", "0.2.9", *named(BRAIN, TEMPLATE)).succeeded()
    requests = len(figshare.requests)
    cache.prefetch(plan)
    assert len(figshare.requests) == requests
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)
    assert indexed(antscache)["antspynet-0.2.9"] == indexed(antscache)["antspynet-0.3.2"]


# When it has selected

FETCHED_AGAIN = pytest.mark.parametrize(("collections", "fetched"), [(1, []), (2, [BRAIN, TEMPLATE])])


@pytest.fixture
def unused(antscache: AntsCache) -> AntsCache:
    """Return antscache with two files in its root that no release uses any more."""
    antscache("prefetch", "0.3.2", *named(BRAIN, TEMPLATE)).succeeded()
    antscache("rm", "0.3.2").succeeded()
    return antscache


@FETCHED_AGAIN
def test_a_collection_after_the_plan_is_undone(
    unused: AntsCache, figshare: StandIn, collections: int, fetched: list[str]
) -> None:
    """The plan's files are brought back from the trash, or fetched again once they are deleted."""
    cache = opened(unused)
    plan = cache.plan("0.3.2", names=[BRAIN, TEMPLATE])
    assert plan.missing == ()
    for _ in range(collections):
        unused(*GC_COMMAND).succeeded()
    before = downloads(figshare)
    cache.prefetch(plan)
    assert downloads(figshare) - before == Counter(fetched)
    assert_whole(unused, figshare, BRAIN, TEMPLATE)


@FETCHED_AGAIN
def test_a_collection_just_before_selecting_is_undone(
    unused: AntsCache, figshare: StandIn, collections: int, fetched: list[str]
) -> None:
    """It comes after every look but those that follow the selection."""
    before = downloads(figshare)
    with held_before_naming(unused, ["refs"], "prefetch", "0.3.2", *named(BRAIN, TEMPLATE)):
        for _ in range(collections):
            unused(*GC_COMMAND).succeeded()
    assert downloads(figshare) - before == Counter(fetched)
    assert_whole(unused, figshare, BRAIN, TEMPLATE)


def test_collections_beside_a_fetch_take_nothing(antscache: AntsCache, figshare: StandIn) -> None:
    """The files fetched so far are selected, although no view and no index names them yet."""
    before = downloads(figshare)
    with held_in_fetch(antscache, TEMPLATE, BRAIN, LUNG):
        for _ in range(2):
            antscache(*GC_COMMAND).succeeded()
        assert {figshare.content(NUMBERS[name]) for name in (BRAIN, LUNG)} <= blobs(antscache)
    assert downloads(figshare) - before == Counter([BRAIN, LUNG, TEMPLATE])
    assert_whole(antscache, figshare, BRAIN, LUNG, TEMPLATE)


# Under the lock of each file


def test_a_file_is_looked_for_under_its_lock(antscache: AntsCache, figshare: StandIn) -> None:
    """Another process fetches it between the selection of the first and its turn; the first does not fetch it again."""
    before = downloads(figshare)
    with held_in_fetch(antscache, BRAIN, TEMPLATE):
        assert downloads(figshare) == before
        antscache("prefetch", "0.3.2", *named(TEMPLATE)).succeeded()
        assert downloads(figshare) - before == Counter([TEMPLATE])
    assert downloads(figshare) - before == Counter([BRAIN, TEMPLATE])
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)


# When it has linked


def use_others(antscache: AntsCache) -> None:
    """Fetch another name of the release, and another release that shares nothing with it."""
    antscache("prefetch", "0.3.2", *named(TEMPLATE)).succeeded()
    antscache("prefetch", "antspyx==0.6.3", *named("r16")).succeeded()


def test_what_is_recorded_during_a_fetch_is_indexed(antscache: AntsCache, figshare: StandIn) -> None:
    """The process that ends last names in `index.json` the files of the others as well."""
    with held_in_fetch(antscache, BRAIN):
        use_others(antscache)
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)
    assert indexed(antscache)["antspyx-0.6.3"] == {"r16slice.jpg"}


def test_an_outdated_index_is_written_again(antscache: AntsCache, figshare: StandIn) -> None:
    """In the end it names the files that others recorded after it was computed, and before it replaced theirs."""
    antscache("init").succeeded()  # which names the index for the first time
    with held_before_naming(antscache, ["index.json"], "prefetch", "0.3.2", *named(BRAIN)):
        use_others(antscache)
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)
    assert indexed(antscache)["antspyx-0.6.3"] == {"r16slice.jpg"}


@pytest.mark.parametrize(("collections", "again"), [(0, []), (2, [BRAIN])])
def test_a_removal_during_a_fetch_is_undone(
    antscache: AntsCache, figshare: StandIn, collections: int, again: list[str]
) -> None:
    """If what was fetched by then is collected as well, it is fetched again."""
    before = downloads(figshare)
    with held_in_fetch(antscache, TEMPLATE, BRAIN):
        antscache("rm", "0.3.2").succeeded()
        for _ in range(collections):
            antscache(*GC_COMMAND).succeeded()
    assert downloads(figshare) - before == Counter([BRAIN, TEMPLATE, *again])
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)


@pytest.mark.parametrize(("collections", "again"), [(0, []), (2, [BRAIN, TEMPLATE])])
def test_a_removal_after_linking_is_undone(
    antscache: AntsCache, figshare: StandIn, collections: int, again: list[str]
) -> None:
    """If what was linked is collected as well, it is fetched again."""
    antscache("init").succeeded()
    before = downloads(figshare)
    with held_before_naming(antscache, ["index.json"], "prefetch", "0.3.2", *named(BRAIN, TEMPLATE)):
        antscache("rm", "0.3.2").succeeded()
        for _ in range(collections):
            antscache(*GC_COMMAND).succeeded()
    assert downloads(figshare) - before == Counter([BRAIN, TEMPLATE, *again])
    assert_whole(antscache, figshare, BRAIN, TEMPLATE)


def test_what_is_taken_after_linking_comes_back(unused: AntsCache, figshare: StandIn) -> None:
    """A collection that decided before the selection takes it, and is killed before it looks and brings it back."""
    before = downloads(figshare)
    with (
        held_before_naming(unused, ["trash", "blobs"], *GC_COMMAND) as collection,
        held_before_naming(unused, ["index.json"], "prefetch", "0.3.2", *named(BRAIN, TEMPLATE)),
    ):
        collection.go_to_the_next()
        collection.kill()
        assert figshare.content(NUMBERS[BRAIN]) not in blobs(unused)
    assert downloads(figshare) == before
    assert_whole(unused, figshare, BRAIN, TEMPLATE)
