"""Space: sizes that are known, fetches that are refused before they start, and a disk that fills up in the middle."""

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
from antscache.fetch.protocol import FileFacts, Refusal, read_facts
from antscache.fetch.sizes import RESERVE_BYTES, ask_origins, count_need
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
    """The root as a filesystem of its own, of 8 MiB; `enlarge` changes its size."""
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


# The room that a fetch needs: pure


def test_need_is_whole_blocks_and_a_reserve() -> None:
    need = count_need([1, 4096, 4097], [0, 0, 0], free=10 * MEGABYTE, jobs=8)
    assert (need.download, need.unknown, need.room, need.short) == (8194, 0, 4 * 4096 + RESERVE_BYTES, 0)


def test_partials_cost_only_while_they_are_copied() -> None:
    held = [40 * 4096, 60 * 4096, 0]
    rooms = [count_need([100 * 4096] * 3, held, free=0, jobs=jobs).room - RESERVE_BYTES for jobs in (1, 2, 3)]
    assert rooms == [(300 - 40) * 4096, 300 * 4096, 300 * 4096]


def test_unknown_sizes_are_counted_and_refuse_nothing() -> None:
    need = count_need([None, None], [0, 0], free=0, jobs=8)
    assert (need.download, need.unknown, need.room, need.short) == (0, 2, 0, 0)


def test_unknown_free_space_refuses_nothing() -> None:
    assert count_need([1 << 50], [0], free=None, jobs=8).short == 0


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 1 << 40), st.integers(0, 1 << 40)), max_size=9),
    st.integers(0, 1 << 42),
    st.integers(1, 9),
)
def test_partials_never_raise_the_need(files: list[tuple[int | None, int]], there: int, jobs: int) -> None:
    sizes, held = [size for size, _ in files], [left for _, left in files]
    with_, without = count_need(sizes, held, there, jobs), count_need(sizes, [0] * len(files), there, jobs)
    assert with_.short <= without.short
    assert with_.room >= max([0, *(size for size in sizes if size is not None)])


def test_missing_directory_has_the_disk_of_its_parent(tmp_path: Path) -> None:
    filesystem = os.statvfs(tmp_path)
    free = free_space(tmp_path / "a/b/c")
    assert free is not None
    assert abs(free - filesystem.f_bavail * filesystem.f_frsize) < 100 * MEGABYTE
    (tmp_path / "file").write_text("")
    assert free_space(tmp_path / "file/x") is not None


# Sizes from origins


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
def test_size_comes_only_from_answers_with_the_file(status: int, headers: Mapping[str, str], size: int | None) -> None:
    try:
        assert read_facts(status, headers) == FileFacts(size or 0, None)
    except Refusal:
        assert size is None


@pytest.mark.parametrize(
    ("etag", "md5"),
    [(f'"{"A1" * 16}"', "a1" * 16), (f'"{"a1" * 16}-2"', None), (f'W/"{"a1" * 16}"', None), ("", None)],
)
def test_md5_comes_with_the_size(etag: str, md5: str | None) -> None:
    assert read_facts(206, {"Content-Range": "bytes 0-0/7", "ETag": etag}) == FileFacts(7, md5)


def asked(root: Root) -> dict[str, int]:
    told = ask_origins(root, [wanted(int(number)) for number in SIZES])
    return {identifier: answer.facts.size for identifier, answer in told.items()}


def test_sizes_are_asked_for_with_one_byte_each(sized: StandIn, tmp_path: Path) -> None:
    sizes = asked(root_of(tmp_path, *sized.origins.split()))
    assert sizes == {f"figshare:{number}": size for number, size in SIZES.items()}
    ranges = [request.range for request in sized.requests if request.route == "storage"]
    assert ranges == ["bytes=0-0"] * 3


def test_next_origin_is_asked_for_unknown_sizes(sized: StandIn, tmp_path: Path) -> None:
    for number, how in zip(SIZES, (Misbehaviour.RANGE_IGNORED, Misbehaviour.MISSING, Misbehaviour.HTML), strict=True):
        sized.misbehave(number, how)
    with StandIn(FEW, size=4444) as second:
        root = root_of(tmp_path, sized.origins.split()[0], second.origins.split()[0])
        sizes = asked(root)
    assert sizes == {"figshare:34821874": 5 * MEGABYTE, "figshare:41965818": 4444, "figshare:22597175": 4444}


def test_unreachable_origin_leaves_sizes_unknown(tmp_path: Path) -> None:
    """It is set aside soon: 199 files do not cost 199 timeouts."""
    assert ask_origins(root_of(tmp_path, "http://127.0.0.1:9/{id}"), [wanted(number) for number in range(1, 200)]) == {}


def test_requests_for_sizes_keep_the_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    class Counted(Pacer):
        def reserve_start(self) -> float:
            turns.append(time.time() + super().reserve_start())
            return 0.0

    monkeypatch.setattr("antscache.fetch.pacer.Pacer", Counted)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # so that nothing leaves this host
    root = root_of(tmp_path, "https://api.figshare.com/v2/file/download/{id}", timeout=0.01, pace=100.0)
    root.layout.locks.mkdir()
    ask_origins(root, [wanted(number) for number in range(1, 9)])
    turns.sort()
    assert len(turns) > 1
    assert all(later > earlier + 50 for earlier, later in itertools.pairwise(turns))


# Sizes in the output


def test_dry_run_shows_sizes_with_the_option(roomy: AntsCache, sized: StandIn) -> None:
    """Without --sizes they are unknown, and no origin is asked."""
    plan = ["prefetch", "0.3.2", *name(BRAIN, LUNG, TEMPLATE), "-n"]
    assert roomy(*plan).succeeded().out.splitlines()[-1].startswith("antspynet==0.3.2: 3 to fetch (of unknown size), ")
    assert not sized.requests
    ran = roomy(*plan, "--sizes").succeeded()
    assert ran.out.splitlines()[-1].startswith("antspynet==0.3.2: 3 to fetch (8.4 MB), 0 present")
    assert re.search(rf"{BRAIN}\.h5 +figshare:34821874 +5\.2 MB", ran.out)
    [facts] = roomy(*plan, "--sizes", "--json").succeeded().json
    assert (facts["size"], facts["unknown"], facts["short"]) == (sum(SIZES.values()), 0, 0)
    assert not roomy.root.exists()


def test_files_of_unknown_size_are_counted(roomy: AntsCache, sized: StandIn) -> None:
    sized.misbehave(NUMBERS[LUNG], Misbehaviour.MISSING)
    ran = roomy("prefetch", "0.3.2", *name(BRAIN, LUNG), "-n", "--sizes").succeeded()
    assert "2 to fetch (5.2 MB, and 1 of unknown size)" in ran.out


def test_records_and_disk_mirrors_know_sizes(roomy: AntsCache, sized: StandIn, tmp_path: Path) -> None:
    """No origin is asked for them."""
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    [blob] = [path for path in roomy.root.glob("blobs/sha256/*") if path.stat().st_size == 4000]
    blob.unlink()
    (tmp_path / "41965818").write_bytes(b"x" * 777)
    requests = len(sized.requests)
    ran = roomy("prefetch", "0.3.2", *name(TEMPLATE, LUNG), "-n", "--mirror", f"file://{tmp_path}/{{id}}").succeeded()
    assert "2 to fetch (4.8 kB)" in ran.out
    assert len(sized.requests) == requests


def test_offline_no_origin_is_asked_for_sizes(roomy: AntsCache, sized: StandIn) -> None:
    roomy("prefetch", "0.3.2", *name(BRAIN), "-n", "--sizes", "--offline").succeeded()
    assert not sized.requests


def test_status_shows_free_own_and_shared_bytes(antscache: AntsCache) -> None:
    other = "DeepAtroposHcpT1Weights"  # other bytes in each of the two
    antscache("prefetch", "0.2.9", "0.3.2", *name(BRAIN, other)).succeeded()
    status = antscache("status", "--json").succeeded().json
    costs = {each["release"]: (each["size"], each["own"], each["shared"]) for each in status["releases"]}
    assert costs == dict.fromkeys(("antspynet==0.2.9", "antspynet==0.3.2"), (8000, 4000, 4000))
    assert status["free"] > 0
    output = antscache("status").succeeded().out
    assert " free" in output
    assert "4.0 kB of its own  4.0 kB shared" in output


# Fetches that do not fit


def test_fetch_larger_than_the_disk_is_refused(roomy: AntsCache, sized: StandIn, tmpfs: Path) -> None:
    """The refusal comes before anything is fetched or written."""
    enlarge(tmpfs, "7m")
    some = ["prefetch", "0.3.2", *name(BRAIN, LUNG), "--sizes"]
    for arguments in ([*some, "-n"], some):
        ran = roomy(*arguments)
        assert ran.code == 6
        error = f"the disk of {tmpfs} has 7,340,032: {2 * MEGABYTE:,} bytes more are needed, and nothing was fetched"
        assert error in ran.err
        assert "hint: free some space" in ran.err
        assert snapshot(tmpfs) == {}
    assert not [request for request in sized.requests if request.route == "storage" and request.range != "bytes=0-0"]
    enlarge(tmpfs, "10m")
    roomy(*some).succeeded()


def test_disk_full_in_the_middle_names_missing_bytes(roomy: AntsCache, tmpfs: Path) -> None:
    """A file of unknown size is begun; with so many bytes more the next run resumes it."""
    enlarge(tmpfs, "4m")
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    ran = roomy("prefetch", "0.3.2", *name(BRAIN, TEMPLATE))
    assert ran.code == 6
    assert ran.err.count("error: ") == 1
    match = re.search(
        r"No space left on device; 1 of 1 files .* fetched: at least ([\d,]+) bytes more are needed", ran.err
    )
    assert match, ran.err
    # Everything goes on, and room can be made.
    roomy("prefetch", "0.3.2", *name(TEMPLATE)).succeeded()
    assert f"missing from the view, such as {BRAIN}.h5" in roomy("path", "0.3.2").succeeded().err
    roomy("verify", "0.3.2")
    # The number of bytes that the error named is enough.
    missing = int(match[1].replace(",", ""))
    enlarge(tmpfs, str(4 * MEGABYTE + missing))
    ran = roomy("prefetch", "0.3.2", *name(BRAIN)).succeeded()
    assert f"resumed {BRAIN}.h5" in ran.err
    assert not [path for path in (tmpfs / "ingest").iterdir() if path.suffix != ".notes"]


def test_second_run_on_a_full_disk_asks_nobody(roomy: AntsCache, sized: StandIn, tmpfs: Path) -> None:
    """The size is known by then, and the fetch is refused before it starts."""
    enlarge(tmpfs, "4m")
    assert roomy("prefetch", "0.3.2", *name(BRAIN)).code == 6
    requests = len(sized.requests)
    ran = roomy("prefetch", "0.3.2", *name(BRAIN))
    assert (ran.code, "bytes more are needed, and nothing was fetched" in ran.err) == (6, True)
    assert len(sized.requests) == requests


def test_rm_and_gc_work_on_a_full_disk(roomy: AntsCache, tmpfs: Path) -> None:
    enlarge(tmpfs, "4m")
    roomy("prefetch", "0.3.2", *name(LUNG, TEMPLATE)).succeeded()
    assert roomy("prefetch", "0.2.9", *name(BRAIN)).code == 6
    roomy("rm", "0.3.2").succeeded()
    for _ in range(2):
        roomy("gc", "--grace", "0").succeeded()
    assert not [path for path in tmpfs.glob("blobs/sha256/*") if path.stat().st_size == SIZES["41965818"]]


def test_files_fetched_before_a_full_disk_are_linked(antscache: AntsCache, tmpfs: Path) -> None:
    enlarge(tmpfs, "4m")
    with StandIn(FEW, sizes=SIZES | {NUMBERS[BRAIN]: 4000, NUMBERS[LUNG]: 5 * MEGABYTE}) as standin:
        ran = antscache("prefetch", "0.3.2", *name(BRAIN, LUNG), "-j1", ANTSCACHE_ORIGINS=standin.origins)
    assert (ran.code, "1 of 2 files are still to be fetched" in ran.err) == (6, True)
    assert [path.name for path in (tmpfs / "views/antspynet-0.3.2/.keras/ANTsXNet").iterdir()] == [f"{BRAIN}.h5"]


def test_full_disk_keeps_no_partial_without_digest(roomy: AntsCache, tmpfs: Path) -> None:
    """A full disk may have lost bytes of it, and nothing would show that."""
    enlarge(tmpfs, "4m")
    with StandIn(FEW, sizes=SIZES) as standin:
        origins = standin.misbehaving_origins(Misbehaviour.MULTIPART_ETAG)
        assert roomy("prefetch", "0.3.2", *name(BRAIN), ANTSCACHE_ORIGINS=origins).code == 6
    assert list((tmpfs / "ingest").iterdir()) == []


# A quota


@pytest.mark.slow
def test_exceeded_quota_is_named(roomy: AntsCache, tmp_path: Path) -> None:
    """A quota of btrfs, because the kernel of the test machine may not know those of ext4 and xfs."""
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
