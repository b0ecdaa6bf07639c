"""Parts of a root on other disks, by link or mount: an error before the first byte, or all well."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, TEMPLATE, AntsCache, cannot

from antscache.cache import Cache
from antscache.core.manifest import Release
from antscache.doctor.host import Host
from antscache.doctor.root import check_root
from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from antscache.testing import StandIn

MEMORY_DIRECTORY = Path("/dev/shm")  # noqa: S108  another filesystem than the tests' own
TOGETHER = ["blobs", "identifiers", "refs", "ingest", "trash", "catalog"]  # files are renamed between them
FREE = ["views", "locks"]
PARTS = [*TOGETHER, *FREE]
RELEASE = Release("antspynet", "0.3.2")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> Path:
    """Make a root that has all its parts, a file in use, and garbage."""
    root = tmp_path_factory.mktemp("prepared") / "root"
    cache = Cache.open(root, origins=_figshare.origins.split())
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    cache.prefetch(cache.plan("0.2.9", names=[LUNG]))
    cache.remove(Release("antspynet", "0.2.9"))
    for part in "trash", "catalog":
        (root / part).mkdir()
    return root


@pytest.fixture
def filled(antscache: AntsCache, prepared: Path) -> AntsCache:
    subprocess.run(["cp", "-a", prepared, antscache.root], check=True)
    return antscache


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    if not MEMORY_DIRECTORY.is_dir() or MEMORY_DIRECTORY.stat().st_dev == tmp_path.stat().st_dev:
        cannot("there is no second filesystem at /dev/shm")
    place = Path(tempfile.mkdtemp(dir=MEMORY_DIRECTORY, prefix="antscache-test-"))
    yield place
    shutil.rmtree(place)


def link(part: Path, disk: Path) -> None:
    """Put `part` on another disk, and a link in its place."""
    shutil.move(part, disk / part.name)
    part.symlink_to(disk / part.name)


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Yield a function that puts a part elsewhere on the same disk, and mounts it in its place."""
    mounted: list[Path] = []

    def mount(part: Path) -> None:
        shutil.move(part, tmp_path / f"mounted-{part.name}")
        part.mkdir()
        command: list[str | Path] = ["mount", "--bind", tmp_path / f"mounted-{part.name}", part]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            cannot("this system does not mount")
        mounted.append(part)

    yield mount
    for part in mounted:
        subprocess.run(["umount", part], check=True)


def open_cache(antscache: AntsCache) -> Cache:
    return Cache.open(antscache.root, origins=antscache.origins.split())


def assert_refused(antscache: AntsCache, figshare: StandIn) -> None:
    """Assert that what needs moves is refused before the first request, and that what is there can be used."""
    requests, cache = len(figshare.requests), open_cache(antscache)
    with pytest.raises(StoreError, match="are on different filesystems or mounts") as caught:
        cache.prefetch(cache.plan("0.3.2", names=[TEMPLATE]))
    assert "move the whole root to one filesystem" in caught.value.hint
    with pytest.raises(StoreError, match="are on different filesystems or mounts"):
        cache.gc(grace=0)
    assert len(figshare.requests) == requests
    with pytest.raises(StoreError, match="are on different filesystems or mounts"):
        list(check_root(Host(cache.settings)))
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    assert not cache.verify().findings


def assert_well(antscache: AntsCache, figshare: StandIn) -> None:
    """Assert that each command that writes does what it should."""
    cache = open_cache(antscache)
    cache.prefetch(cache.plan("0.3.2", names=[TEMPLATE]))
    name = cache.store.layout.view(RELEASE) / f".keras/ANTsXNet/{BRAIN}.h5"
    name.unlink()
    name.write_bytes(b"other bytes")
    assert len(cache.verify().findings) == 1
    assert not cache.verify(repair=True).findings
    assert name.read_bytes() == figshare.content("34821874")
    cache.remove(RELEASE)
    for _ in range(2):
        cache.gc(grace=0)
    assert cache.store.stored()[0] <= 1


@pytest.mark.parametrize("part", TOGETHER)
def test_a_part_on_another_disk_is_refused(filled: AntsCache, figshare: StandIn, other_disk: Path, part: str) -> None:
    link(filled.root / part, other_disk)
    assert_refused(filled, figshare)


@pytest.mark.parametrize("part", TOGETHER)
def test_a_part_under_another_mount_is_refused(
    filled: AntsCache, figshare: StandIn, bind: Callable[[Path], None], part: str
) -> None:
    """Also of the same filesystem: files cannot be renamed across mounts."""
    bind(filled.root / part)
    assert_refused(filled, figshare)


@pytest.mark.parametrize("part", FREE)
def test_views_and_locks_may_be_elsewhere(filled: AntsCache, figshare: StandIn, other_disk: Path, part: str) -> None:
    link(filled.root / part, other_disk)
    assert_well(filled, figshare)


@pytest.mark.parametrize("part", FREE)
def test_views_and_locks_may_be_mounts(
    filled: AntsCache, figshare: StandIn, bind: Callable[[Path], None], part: str
) -> None:
    bind(filled.root / part)
    assert_well(filled, figshare)


@pytest.mark.parametrize("part", PARTS)
def test_links_on_one_disk_are_well(filled: AntsCache, figshare: StandIn, tmp_path: Path, part: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link(filled.root / part, tmp_path / "elsewhere")
    assert_well(filled, figshare)


@pytest.mark.parametrize("part", PARTS)
def test_a_lost_part_is_an_error(filled: AntsCache, figshare: StandIn, tmp_path: Path, part: str) -> None:
    """Its disk is not mounted. Nothing is taken for garbage, and all is well once it is back."""
    (tmp_path / "elsewhere").mkdir()
    link(filled.root / part, tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "gone")
    requests, blobs = len(figshare.requests), sorted(filled.root.glob("blobs/sha256/*"))
    for command in ("prefetch", "gc --grace 0", "verify --repair"):
        ran = filled(*command.split())
        assert (ran.code, f"{part} is a link to " in ran.err) == (6, True), ran.err
        assert "mount the disk" in ran.err
    assert len(figshare.requests) == requests
    assert sorted(filled.root.glob("blobs/sha256/*")) == blobs
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    assert_well(filled, figshare)


@pytest.mark.parametrize(
    "part", ["blobs", "blobs/sha256", "identifiers", "identifiers/figshare", "refs", "views", "ingest", "locks"]
)
def test_a_file_in_a_parts_place_is_named(filled: AntsCache, part: str) -> None:
    """The disk and the name of the root are all right."""
    shutil.rmtree(filled.root / part)
    (filled.root / part).write_text("mine")
    ran = filled("prefetch", "0.3.2", "--name", LUNG)
    assert (ran.code, f"error: {filled.root / part} is not a directory" in ran.err) == (6, True)
    assert "hint: move it away" in ran.err
    assert (filled.root / part).read_text() == "mine"


def test_a_lost_root_is_an_error(filled: AntsCache) -> None:
    filled.root.rename(filled.root.with_name("moved"))
    filled.root.symlink_to("nowhere")
    ran = filled("prefetch", "0.3.2")
    assert (ran.code, "is a link to nowhere, which is not there" in ran.err) == (6, True)
