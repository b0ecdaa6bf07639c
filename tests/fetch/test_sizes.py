"""Space: what is known of sizes, what is refused before it starts, and a disk that is full in the middle."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BRAIN, FEW, LUNG, TEMPLATE, AntsCache, cannot, require, snapshot

from antscache.config import Settings
from antscache.core.manifest import parse_release
from antscache.core.plan import Wanted
from antscache.disk.space import free_space
from antscache.fetch.pacer import Pacer
from antscache.fetch.protocol import Refusal, read_size
from antscache.fetch.sizes import RESERVE_BYTES, ask_sizes, count_need
from antscache.root import Root
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RELEASE = parse_release("0.3.2")
MEGABYTE = 1 << 20
NUMBERS = {BRAIN: "34821874", LUNG: "41965818", TEMPLATE: "22597175"}
SIZES = {"34821874": 5 * MEGABYTE, "41965818": 3 * MEGABYTE, "22597175": 4000}


def name(*names: str) -> list[str]:
    return [each for one in names for each in ("--name", one)]


@pytest.fixture
def tmpfs(antscache: AntsCache) -> Iterator[Path]:
    """The root is a small filesystem of its own, of 8 MiB; its size can be changed."""
    antscache.root.mkdir()
    with mounted(antscache.root, "-t", "tmpfs", "-o", "size=8m", "tmpfs") as where:
        yield where


@contextmanager
def mounted(where: Path, *arguments: str | Path) -> Iterator[Path]:
    done = subprocess.run(["mount", *arguments, where], check=False, capture_output=True, text=True)
    if done.returncode:
        cannot(f"no mounts here: {done.stderr}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def enlarge(where: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", where], check=True)


@pytest.fixture
def sized() -> Iterator[StandIn]:
    """A stand-in with files of 5 MiB, 3 MiB and 4 kB."""
    with StandIn(FEW, sizes=SIZES) as standin:
        yield standin


@pytest.fixture
def roomy(antscache: AntsCache, sized: StandIn) -> AntsCache:
    antscache.origins = sized.origins
    return antscache


def wanted(number: int) -> Wanted:
    return Wanted(f"figshare:{number}", f"{number}.h5", RELEASE)


def root_of(directory: Path, *origins: str, **settings: Any) -> Root:
    return Root.open(Settings(root=str(directory), origins=origins, **{"pace": 0.0, "jobs": 4, **settings}))


# What a fetch needs: pure


def test_what_a_fetch_needs_is_what_the_files_take_and_a_reserve() -> None:
    need = count_need([1, 4096, 4097], [0, 0, 0], free=10 * MEGABYTE, jobs=8)
    assert (need.download, need.unknown, need.room, need.short) == (8194, 0, 4 * 4096 + RESERVE_BYTES, 0)


def test_what_is_left_over_is_no_cost_but_for_what_is_copied_at_once() -> None:
    held = [40 * 4096, 60 * 4096, 0]
    rooms = [count_need([100 * 4096] * 3, held, free=0, jobs=jobs).room - RESERVE_BYTES for jobs in (1, 2, 3)]
    assert rooms == [(300 - 40) * 4096, 300 * 4096, 300 * 4096]


def test_unknown_sizes_are_counted_and_refuse_nothing() -> None:
    need = count_need([None, None], [0, 0], free=0, jobs=8)
    assert (need.download, need.unknown, need.room, need.short) == (0, 2, 0, 0)


def test_a_disk_that_does_not_say_how_much_is_free_refuses_nothing() -> None:
    assert count_need([1 << 50], [0], free=None, jobs=8).short == 0


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 1 << 40), st.integers(0, 1 << 40)), max_size=9),
    st.integers(0, 1 << 42),
    st.integers(1, 9),
)
def test_what_fits_with_leftovers_counted_never_needs_more_than_what_fits_without(
    files: list[tuple[int | None, int]], there: int, jobs: int
) -> None:
    sizes, held = [size for size, _ in files], [left for _, left in files]
    with_, without = count_need(sizes, held, there, jobs), count_need(sizes, [0] * len(files), there, jobs)
    assert with_.short <= without.short
    assert with_.room >= max([0, *(size for size in sizes if size is not None)])


def test_the_disk_of_a_directory_that_is_not_there_is_that_of_its_parent(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    told = free_space(tmp_path / "a/b/c")
    assert told is not None
    assert abs(told - found.f_bavail * found.f_frsize) < 100 * MEGABYTE
    (tmp_path / "file").write_text("")
    assert free_space(tmp_path / "file/x") is not None


# What an origin tells


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        (206, {"Content-Range": "bytes 0-0/5242880", "Content-Length": "1"}, 5242880),
        (200, {"Content-Length": "77"}, 77),
        (200, {}, None),
        (200, {"Content-Length": "0"}, None),
        (206, {"Content-Range": "bytes 0-0/*"}, None),
        (206, {}, None),
        (200, {"Content-Length": "77", "Content-Type": "text/html; charset=utf-8"}, None),
        (202, {"Content-Length": "77"}, None),
        (404, {"Content-Length": "77"}, None),
        (416, {"Content-Range": "bytes */77"}, None),
    ],
)
def test_a_size_is_told_by_an_answer_with_the_file_or_by_none(
    status: int, headers: Mapping[str, str], size: int | None
) -> None:
    try:
        assert read_size(status, headers) == size
    except Refusal:
        assert size is None


def test_sizes_are_asked_for_with_one_byte_each(sized: StandIn, tmp_path: Path) -> None:
    found = ask_sizes(root_of(tmp_path, *sized.origins.split()), [wanted(int(number)) for number in SIZES])
    assert found == {f"figshare:{number}": size for number, size in SIZES.items()}
    ranges = [request.range for request in sized.requests if request.route == "storage"]
    assert ranges == ["bytes=0-0"] * 3


def test_an_origin_that_does_not_tell_is_followed_by_the_next(sized: StandIn, tmp_path: Path) -> None:
    for number, how in zip(SIZES, (Misbehaviour.RANGE_IGNORED, Misbehaviour.MISSING, Misbehaviour.HTML), strict=True):
        sized.misbehave(number, how)
    with StandIn(FEW, size=4444) as second:
        root = root_of(tmp_path, sized.origins.split()[0], second.origins.split()[0])
        found = ask_sizes(root, [wanted(int(number)) for number in SIZES])
    assert found == {"figshare:34821874": 5 * MEGABYTE, "figshare:41965818": 4444, "figshare:22597175": 4444}


def test_nobody_who_is_out_of_reach_is_asked_for_long_and_unknown_stays_unknown(tmp_path: Path) -> None:
    assert ask_sizes(root_of(tmp_path, "http://127.0.0.1:9/{id}"), [wanted(number) for number in range(1, 200)]) == {}


def test_the_pace_holds_for_asking_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    class Counted(Pacer):
        def reserve_start(self) -> float:
            turns.append(time.time() + super().reserve_start())
            return 0.0

    monkeypatch.setattr("antscache.fetch.pacer.Pacer", Counted)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # so that nothing leaves this host
    root = root_of(tmp_path, "https://api.figshare.com/v2/file/download/{id}", timeout=0.01, pace=1.0)
    root.layout.locks.mkdir()
    ask_sizes(root, [wanted(number) for number in range(1, 9)])
    turns.sort()
    assert len(turns) > 1
    assert all(later > earlier + 0.9 for earlier, later in itertools.pairwise(turns))


# What is said


def test_a_dry_run_says_what_is_unknown_and_with_sizes_how_much_it_is(roomy: AntsCache, sized: StandIn) -> None:
    plan = ["prefetch", "0.3.2", *name(BRAIN, LUNG, TEMPLATE), "-n"]
    assert roomy(*plan).succeeded().out.splitlines()[-1].startswith("antspynet==0.3.2: 3 to fetch (of unknown size), ")
    assert not sized.requests
    ran = roomy(*plan, "--sizes").succeeded()
    assert ran.out.splitlines()[-1].startswith("antspynet==0.3.2: 3 to fetch (8.4 MB), 0 present")
    assert re.search(rf"{BRAIN}\.h5 +figshare:34821874 +5\.2 MB", ran.out)
    [facts] = roomy(*plan, "--sizes", "--json").succeeded().json
    assert (facts["size"], facts["unknown"], facts["short"]) == (sum(SIZES.values()), 0, 0)
    assert not roomy.root.exists()


def test_sizes_that_nobody_tells_are_counted(roomy: AntsCache, sized: StandIn) -> None:
    sized.misbehave(NUMBERS[LUNG], Misbehaviour.MISSING)
    ran = roomy("prefetch", "0.3.2", *name(BRAIN, LUNG), "-n", "--sizes").succeeded()
    assert "2 to fetch (5.2 MB, and 1 of unknown size)" in ran.out


def test_mirrors_on_this_host_and_records_tell_sizes_unasked(roomy: AntsCache, sized: StandIn, tmp_path: Path) -> None:
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    [blob] = [path for path in roomy.root.glob("blobs/sha256/*") if path.stat().st_size == 4000]
    blob.unlink()
    (tmp_path / "41965818").write_bytes(b"x" * 777)
    asked = len(sized.requests)
    ran = roomy("prefetch", "0.3.2", *name(TEMPLATE, LUNG), "-n", "--mirror", f"file://{tmp_path}/{{id}}").succeeded()
    assert "2 to fetch (4.8 kB)" in ran.out
    assert len(sized.requests) == asked


def test_offline_nobody_is_asked_for_sizes(roomy: AntsCache, sized: StandIn) -> None:
    roomy("prefetch", "0.3.2", *name(BRAIN), "-n", "--sizes", "--offline").succeeded()
    assert not sized.requests


def test_status_tells_what_is_free_and_what_releases_cost_alone_and_shared(antscache: AntsCache) -> None:
    other = "DeepAtroposHcpT1Weights"  # other bytes in each of the two
    antscache("prefetch", "0.2.9", "0.3.2", *name(BRAIN, other)).succeeded()
    status = antscache("status", "--json").succeeded().json
    costs = {each["release"]: (each["size"], each["own"], each["shared"]) for each in status["releases"]}
    assert costs == dict.fromkeys(("antspynet==0.2.9", "antspynet==0.3.2"), (8000, 4000, 4000))
    assert status["free"] > 0
    told = antscache("status").succeeded().out
    assert " free" in told
    assert "4.0 kB of its own  4.0 kB shared" in told


# What does not fit


def test_what_the_disk_cannot_hold_is_refused_before_it_starts(roomy: AntsCache, sized: StandIn, tmpfs: Path) -> None:
    enlarge(tmpfs, "7m")
    some = ["prefetch", "0.3.2", *name(BRAIN, LUNG), "--sizes"]
    for arguments in ([*some, "-n"], some):
        ran = roomy(*arguments)
        assert ran.code == 6
        told = f"the disk of {tmpfs} has 7,340,032: {2 * MEGABYTE:,} bytes more are needed, and nothing was fetched"
        assert told in ran.err
        assert "hint: free some space" in ran.err
        assert snapshot(tmpfs) == {}
    assert not [request for request in sized.requests if request.route == "storage" and request.range != "bytes=0-0"]
    enlarge(tmpfs, "10m")
    roomy(*some).succeeded()


def test_what_is_of_unknown_size_is_begun_and_a_full_disk_in_the_middle_says_how_much_is_missing(
    roomy: AntsCache, tmpfs: Path
) -> None:
    enlarge(tmpfs, "4m")
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    ran = roomy("prefetch", "0.3.2", *name(BRAIN, TEMPLATE))
    assert ran.code == 6
    assert ran.err.count("error: ") == 1
    found = re.search(
        r"No space left on device; 1 of 1 files .* fetched: at least ([\d,]+) bytes more are needed", ran.err
    )
    assert found, ran.err
    # Everything goes on, and room can be made.
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    assert f"missing from it, such as {BRAIN}.h5" in roomy("path", "0.3.2").succeeded().err
    roomy("verify", "0.3.2")
    # As much as was said is as much as is needed.
    missing = int(found[1].replace(",", ""))
    enlarge(tmpfs, str(4 * MEGABYTE + missing))
    ran = roomy("prefetch", "0.3.2", *name(BRAIN)).succeeded()
    assert f"resumed {BRAIN}.h5" in ran.err
    assert not [path for path in (tmpfs / "ingest").iterdir() if path.suffix != ".notes"]


def test_with_a_disk_that_is_still_too_small_the_next_run_refuses_before_it_starts(
    roomy: AntsCache, sized: StandIn, tmpfs: Path
) -> None:
    enlarge(tmpfs, "4m")
    assert roomy("prefetch", "0.3.2", *name(BRAIN)).code == 6
    asked = len(sized.requests)
    ran = roomy("prefetch", "0.3.2", *name(BRAIN))
    assert (ran.code, "bytes more are needed, and nothing was fetched" in ran.err) == (6, True)
    assert len(sized.requests) == asked


def test_a_full_disk_can_be_told_to_make_room(roomy: AntsCache, tmpfs: Path) -> None:
    enlarge(tmpfs, "4m")
    roomy("prefetch", "0.3.2", *name(LUNG, TEMPLATE)).succeeded()
    assert roomy("prefetch", "0.2.9", *name(BRAIN)).code == 6
    roomy("rm", "0.3.2").succeeded()
    for _ in range(2):
        roomy("gc", "--grace", "0").succeeded()
    assert not [path for path in tmpfs.glob("blobs/sha256/*") if path.stat().st_size == SIZES["41965818"]]


def test_what_was_fetched_before_the_disk_was_full_is_linked(antscache: AntsCache, tmpfs: Path) -> None:
    enlarge(tmpfs, "4m")
    with StandIn(FEW, sizes=SIZES | {NUMBERS[BRAIN]: 4000, NUMBERS[LUNG]: 5 * MEGABYTE}) as standin:
        ran = antscache("prefetch", "0.3.2", *name(BRAIN, LUNG), "-j1", ANTSCACHE_ORIGINS=standin.origins)
    assert (ran.code, "1 of 2 files are still to be fetched" in ran.err) == (6, True)
    assert [path.name for path in (tmpfs / "views/antspynet-0.3.2/.keras/ANTsXNet").iterdir()] == [f"{BRAIN}.h5"]


def test_a_partial_that_nothing_is_compared_with_is_not_kept_by_a_full_disk(roomy: AntsCache, tmpfs: Path) -> None:
    enlarge(tmpfs, "4m")
    with StandIn(FEW, sizes=SIZES) as standin:
        origins = standin.misbehaving_origins(Misbehaviour.MULTIPART_ETAG)
        assert roomy("prefetch", "0.3.2", *name(BRAIN), ANTSCACHE_ORIGINS=origins).code == 6
    assert list((tmpfs / "ingest").iterdir()) == []


# A quota


@pytest.mark.slow
def test_a_quota_is_named_as_one(roomy: AntsCache, tmp_path: Path) -> None:
    """A quota of btrfs's, because the kernel that tests run on need not know those of ext4 and xfs."""
    for program in ("mkfs.btrfs", "btrfs"):
        require(program)
    image, disk = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(160 * MEGABYTE)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    disk.mkdir()
    with mounted(disk, "-o", "loop", image):
        roomy.root = disk / "root"
        for command in (
            ["quota", "enable", disk],
            ["subvolume", "create", roomy.root],
            ["qgroup", "limit", str(4 * MEGABYTE), roomy.root],
        ):
            subprocess.run(["btrfs", *map(str, command)], check=True, capture_output=True)
        roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
        ran = roomy("prefetch", "0.3.2", *name(BRAIN))
        assert ran.code == 6
        assert "Disk quota exceeded" in ran.err
        assert "hint: your quota is used up" in ran.err
        assert re.search(r"they need [\d,]+ bytes at least", ran.err)
        subprocess.run(["btrfs", "qgroup", "limit", "none", roomy.root], check=True)
        # Not gone on from: under its quota btrfs does not even make a file shorter, so that it was removed instead.
        roomy("prefetch", "0.3.2", *name(BRAIN)).succeeded()
