"""Exports are the same each time, they are whole or do not exist, and they work as lower caches on other hosts."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import BRAIN, HANG_SECONDS, LUNG, TEMPLATE, TRANSFORM, AntsCache, cannot, require
from support.commands import MANIFESTS, Export, import_ahead, killed_at
from support.users import ANN, everybodys, run_as

from antscache import disk
from antscache.cache import Cache
from antscache.config import Settings, read_source_date
from antscache.core.digest import descriptor_of
from antscache.core.manifest import Entry, Manifest, parse_release
from antscache.core.record import Record, Selection
from antscache.errors import AntsCacheError, ConfigError, IntegrityError, ManifestError, StoreError, ViewError
from antscache.export import Target, filesystem_images, format_of, tree
from antscache.export.contents import Tree, layer_of, tree_of
from antscache.export.filesystem_images import BLOCK_BYTES, PROGRAMS
from antscache.store.oci import EMPTY_CONTENT
from antscache.views import make_view

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from antscache.core.record import Check, Trust
    from antscache.export import Format
    from antscache.export.filesystem_images import Filesystem

__all__ = ["everybodys"]

RELEASE, EXAMPLES = parse_release("antspynet==0.3.2"), parse_release("antspyx==0.6.3")
FOUR = (BRAIN, LUNG, TEMPLATE, TRANSFORM)
FORMATS: tuple[Format, ...] = ("dir", "squashfs", "ext3")
DAY = 86_400
Listing = dict[str, tuple[int, int, "bytes | str"]]


def content_of(entry: Entry) -> bytes:
    """Return the content of the file: that of BRAIN takes more blocks than those of the others."""
    return f"{entry.identifier} ".encode() * (40_000 if entry.name == BRAIN else 100)


def hold(  # noqa: PLR0913  what may differ between two hosts
    root: Path,
    manifest: Manifest | None = None,
    names: Collection[str] = FOUR,
    *,
    trust: Trust = "origin",
    source: str = "api.figshare.com",
    recorded: str = "2026-01-01T00:00:00+00:00",
    checks: tuple[Check, ...] = ("length", "md5", "form", "walk"),
    apart: bool = False,
    content: Callable[[Entry], bytes] = content_of,
) -> Cache:
    """Return a cache that holds these entries of a release, in the order of `names`, in one selection or one each."""
    cache = Cache.open(root, offline=True)
    manifest = manifest or cache.manifest(RELEASE)
    by_name = {entry.name: entry for entry in manifest.entries if entry.identifier}
    entries = [by_name[name] for name in names or by_name]
    cache.store.create()
    cache.catalog.save(manifest, cache.store.layout.staging)
    for some in [[entry] for entry in entries] if apart else [entries]:
        cache.store.refs.select(Selection(manifest.release, tuple(some)))
    for entry in entries:
        assert entry.identifier
        blob = cache.store.add(content(entry))
        cache.store.records.remember(Record(entry.identifier, blob.digest, blob.size, trust, source, recorded, checks))
    make_view(cache.root, manifest.release)
    return cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return hold(tmp_path / "root")


def exported(cache: Cache, file: Path, *, layers: int = 0, **options: Any) -> Path:
    """Export the release, or `releases`, from `cache` to `file`, and return `file`."""
    releases = options.pop("releases", [RELEASE])
    cache.export(cache.plan_export(releases, **options), Target(file, format_of(file), layers))
    return file


def listing(root: Path) -> Listing:
    """Return everything that an export promises about a tree: names, modes, times and bytes."""
    entries: Listing = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content: bytes | str = b""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        entries[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return entries


def left(directory: Path) -> list[str]:
    """Return the names in `directory`, except the root and the home of a test."""
    return sorted(path.name for path in directory.iterdir() if path.name not in {"root", "home"})


def digests(*files: Path) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def mounted(where: Path, *arguments: str | Path) -> Iterator[Path]:
    where.mkdir()
    done = subprocess.run(["mount", *arguments, where], check=False, capture_output=True, text=True)
    if done.returncode:
        cannot(f"no mounts here: {done.stderr}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.fixture
def programs() -> None:
    for program in "mksquashfs", "unsquashfs":
        require(program)
    for program in "mke2fs", "e2fsck", "debugfs", "dumpe2fs":
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
            cannot(f"{program} is not installed")


images = pytest.mark.usefixtures("programs")


# Decided before anything is written: pure


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.sqsh", "squashfs"),
        ("a.sqfs", "squashfs"),
        ("a.b.SquashFS", "squashfs"),
        ("a.ext3", "ext3"),
        ("a.img", "ext3"),
        ("antspynet-0.3.2", "dir"),
        ("a.tar", "dir"),
        (".sqsh", "dir"),
    ],
)
def test_file_name_decides_the_format(name: str, format_: Format) -> None:
    assert format_of(Path("x") / name) == format_


@settings(deadline=None)
@given(st.text("abcXYZ019_.+-", max_size=40), st.integers(1, 100))
def test_every_file_has_its_layer(name: str, layers: int) -> None:
    assert 0 <= layer_of(name, layers) < layers


def test_layer_numbers_never_change() -> None:
    """The layer of a file is the same in every version of antscache."""
    names = [f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz", "é"]
    assert [layer_of(name, 16) for name in names] == [
        int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 16 for name in names
    ]
    assert layer_of(f"{TEMPLATE}.nii.gz", 16) == 15


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 0), ("", 0), ("0", 0), ("1700000000", 1_700_000_000), ("4294967295", 4294967295)]
)
def test_source_date_epoch_is_read(text: str | None, seconds: int) -> None:
    assert read_source_date({} if text is None else {"SOURCE_DATE_EPOCH": text}) == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "now", " 1", "1\n", "0x10", "1_0", "٣", "4294967296", "9" * 30])
def test_invalid_source_date_epoch_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        read_source_date({"SOURCE_DATE_EPOCH": text})


def test_blob_has_the_first_of_its_names(tmp_path: Path) -> None:
    manifest = MANIFESTS["antspynet==90.3"]  # has one identifier under two names
    cache = hold(tmp_path / "root", manifest, ())
    names = cache.plan_export([manifest.release]).names
    assert sorted(names.values()) == ["a.nii.gz", "b.nii.gz", "c.mat"]


# What is exported


def test_export_is_a_whole_root_and_nothing_else(cache: Cache, tmp_path: Path) -> None:
    out = exported(cache, tmp_path / "out")
    verified = Cache.open(out, offline=True).verify(deep=False)
    assert (verified.findings, verified.blobs) == ((), len(FOUR) + 2)
    top = {"CACHEDIR.TAG", "antscache.json", "blobs", "identifiers", "index.json", "oci-layout", "refs", "views"}
    assert {path.name for path in out.iterdir()} == top
    assert left(tmp_path) == ["out"]


def test_tree_is_as_planned(cache: Cache, tmp_path: Path) -> None:
    """The paths and sizes of an export are those of its plan."""
    hold(tmp_path / "root", MANIFESTS["antspynet==90.2"], ())
    releases = [RELEASE, MANIFESTS["antspynet==90.2"].release]
    contents = cache.plan_export(releases)
    planned, out = tree_of(contents), exported(cache, tmp_path / "out", releases=releases)
    paths = {path.relative_to(out): path for path in out.rglob("*")}
    links = {path: len(str(there.readlink())) for path, there in paths.items() if there.is_symlink()}
    files = {path: there.stat().st_size for path, there in paths.items() if there.is_file() and path not in links}
    assert (planned.files, planned.links) == (files, links)
    assert set(planned.directories) == {Path(), *(path for path, there in paths.items() if there.is_dir())}
    assert Target(out).size_of(contents) == sum(files.values())


def test_links_of_views_stay_in_the_tree(cache: Cache, tmp_path: Path) -> None:
    """The links of views are relative and lead to blobs, so an export can be moved."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (tmp_path / "link").symlink_to(place)
    out = exported(cache, tmp_path / "link/out")
    moved = out.rename(tmp_path / "moved")
    view = moved / "views/antspynet-0.3.2/.keras/ANTsXNet"
    assert len(list(view.iterdir())) == len(FOUR)
    for path in view.iterdir():
        assert str(path.readlink()).startswith("../../../../blobs/sha256/")
        assert path.resolve().parent == moved / "blobs/sha256"


def test_export_of_an_export_is_the_same(cache: Cache, tmp_path: Path) -> None:
    out = exported(cache, tmp_path / "out")
    assert listing(exported(Cache.open(out, offline=True), tmp_path / "again")) == listing(out)


def test_records_keep_promises_and_omit_the_host(tmp_path: Path) -> None:
    cache = hold(tmp_path / "root", trust="mirror", source="mirror.example.org")
    before = cache.store.record("figshare:34821874")
    out = exported(cache, tmp_path / "out")
    record = json.loads((out / "identifiers/figshare/34821874.json").read_bytes())
    assert before
    assert record == {
        "identifier": "figshare:34821874",
        "digest": before.digest,
        "size": before.size,
        "trust": "mirror",
        "source": "export",
        "recorded": "1970-01-01T00:00:00+00:00",
        "checks": ["digest", "walk"],
        "accepted": "",
        "findings": [],
    }


def test_names_and_kinds_choose_across_releases(cache: Cache, tmp_path: Path) -> None:
    """A name or kind chooses entries of every given release that has it."""
    other = MANIFESTS["antspyx==90.1"].release
    hold(tmp_path / "root", MANIFESTS["antspyx==90.1"], ())

    def chosen(**options: Any) -> dict[str, list[str]]:
        contents = cache.plan_export([other, RELEASE], **options)
        return {str(part.release): [entry.name for entry, _ in part.files] for part in contents.parts}

    assert chosen(names=[TEMPLATE, "a"]) == {"antspynet==0.3.2": [TEMPLATE], "antspyx==90.1": ["a"]}
    assert chosen(names=["d"]) == {"antspyx==90.1": ["d"]}
    assert chosen(kinds=["network"]) == {"antspynet==0.3.2": [BRAIN, LUNG]}
    assert chosen()["antspyx==90.1"] == ["a", "d"]
    with pytest.raises(ManifestError, match=r"no such name in antspyx==90.1 or antspynet==0.3.2: S_template4"):
        chosen(names=["a", "S_template4"])
    with pytest.raises(ManifestError, match=r"no file of kind network is selected in antspyx==90.1"):
        cache.plan_export([other], kinds=["network"])


def test_unselected_name_is_an_error_with_a_hint(cache: Cache) -> None:
    with pytest.raises(ViewError, match=r"not selected in antspynet==0.3.2: mni152") as caught:
        cache.plan_export([RELEASE], names=[TEMPLATE, "mni152"])
    assert caught.value.hint == "run `antscache prefetch antspynet==0.3.2 --name mni152`"


def test_release_not_in_use_is_an_error(cache: Cache) -> None:
    with pytest.raises(ViewError, match=r"nothing of antspyx==0.6.3 is held") as caught:
        cache.plan_export([RELEASE, EXAMPLES])
    assert "antscache prefetch antspyx==0.6.3" in caught.value.hint


def test_missing_file_is_an_error_unless_left_out(cache: Cache, tmp_path: Path) -> None:
    """A selected file that is not held is an error, unless --name leaves it out."""
    blob = descriptor_of(content_of(entry_of(cache, LUNG)))
    cache.store.layout.blob(blob.digest).unlink()
    with pytest.raises(ViewError, match=rf"missing in .*: {LUNG}.h5 \(1 of 4 files of {RELEASE}\)") as caught:
        cache.plan_export([RELEASE])
    assert caught.value.hint == f"run `antscache prefetch antspynet==0.3.2 --name {LUNG}`"
    exported(cache, tmp_path / "out", names=[BRAIN])
    assert left(tmp_path) == ["out"]


def entry_of(cache: Cache, name: str) -> Entry:
    return next(entry for entry in cache.manifest(RELEASE).entries if entry.name == name)


def test_blob_deleted_during_export_is_an_error(cache: Cache, tmp_path: Path) -> None:
    """A blob that is deleted before it is taken is an error, and nothing is left behind."""
    contents = cache.plan_export([RELEASE])
    cache.store.layout.blob(descriptor_of(content_of(entry_of(cache, LUNG))).digest).unlink()
    with pytest.raises(StoreError, match=f"{LUNG}.h5 was deleted"):
        cache.export(contents, Target(tmp_path / "out"))
    assert left(tmp_path) == []


def test_adopted_files_are_refused_by_default(cache: Cache, tmp_path: Path) -> None:
    """Adopted files are refused unless they are asked for; an export never names the path they came from."""
    names = ["mni152", "adni"]
    hold(tmp_path / "root", names=names, trust="adopted", source="/home/ann/.keras/ANTsXNet/mni152.nii.gz")
    expected = r"^adopted, .*: adni.nii.gz of antspynet==0.3.2 and 1 more(\nhint: |$)"
    with pytest.raises(AntsCacheError, match=expected) as caught:
        cache.plan_export([RELEASE])
    assert type(caught.value) is AntsCacheError
    assert "--adopted" in caught.value.hint
    assert "antscache --root DIR prefetch antspynet==0.3.2" in caught.value.hint
    cache.plan_export([RELEASE], names=[BRAIN])
    out = exported(cache, tmp_path / "out", adopted=True)
    assert not [path for path in out.rglob("*") if path.is_file() and b"/home/ann" in path.read_bytes()]
    assert json.loads((out / "identifiers/figshare/25516349.json").read_bytes())["trust"] == "adopted"


def test_unshipped_manifest_is_exported(tmp_path: Path) -> None:
    """A manifest that is not shipped is exported, and found by a root above the export."""
    manifest = MANIFESTS["antspynet==90.2"]
    cache = hold(tmp_path / "root", manifest, ("a", "b"))
    out = exported(cache, tmp_path / "out", releases=[manifest.release])
    above = Cache.open(tmp_path / "above", offline=True, site_dirs=(str(out),))
    assert above.manifest(manifest.release) == manifest
    assert [path.name for path in (out / "catalog").iterdir()] == ["antspynet-90.2.json"]


def test_unwritable_manifest_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = MANIFESTS["antspynet==90.2"]
    cache = hold(tmp_path / "root", manifest, ())
    contents = cache.plan_export([manifest.release])
    monkeypatch.setattr("antscache.catalog.catalog.Catalog.save", lambda *_: None)
    with pytest.raises(StoreError, match=r"cannot write the manifest of antspynet==90.2"):
        cache.export(contents, Target(tmp_path / "out"))
    assert left(tmp_path) == []


def test_export_has_one_selection_per_release(tmp_path: Path) -> None:
    """An export has one selection per release, however many the root has."""
    cache = hold(tmp_path / "root", apart=True)
    out = exported(cache, tmp_path / "out")
    [selection] = (out / "refs/antspynet/0.3.2").iterdir()
    assert [entry["name"] for entry in json.loads(selection.read_bytes())["entries"]] == sorted(
        FOUR, key=lambda name: (entry_of(cache, name).kind, name)
    )


def test_export_to_nfs_has_one_selection(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is the same on a disk, as NFS, where files belong to another user than who wrote them."""
    contents, user = cache.plan_export([RELEASE]), os.geteuid() + 7
    with monkeypatch.context() as patch:  # as for root on NFS
        patch.setattr(os, "geteuid", lambda: user)
        cache.export(contents, Target(tmp_path / "squashed"))
    assert listing(tmp_path / "squashed") == listing(exported(cache, tmp_path / "out"))


# The same bytes each time


def another(root: Path) -> Cache:
    """Return the cache of another host: the same files, fetched in another order, elsewhere, later, less checked."""
    names = tuple(reversed(FOUR))
    recorded = "2030-12-31T23:59:59+00:00"
    cache = hold(
        root, names=names, source="ndownloader.figshare.com", recorded=recorded, checks=("form", "walk"), apart=True
    )
    hold(root, MANIFESTS["antspynet==90.1"], ())  # and something else
    return cache


@images
@pytest.mark.parametrize("format_", FORMATS)
def test_two_hosts_export_the_same_bytes(tmp_path: Path, format_: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts export the same bytes, under any umask, at any time."""
    made = []
    for number, (mask, fill) in enumerate([(0o022, hold), (0o077, another), (0o000, hold), (0o027, another)]):
        with umask(mask):
            cache = fill(tmp_path / f"host-{number}")
            for path in cache.store.layout.blobs.iterdir():  # times that are another's, and later than ours
                os.utime(path, (number * DAY, (number - 1) * 10**9))
                with suppress(OSError):  # not every filesystem has them
                    os.setxattr(path, "user.host", f"{number}".encode())
            file = tmp_path / f"{number}.{format_}"
            monkeypatch.setenv("MKE2FS_CONFIG", "/nonexistent")
            cache.export(cache.plan_export([RELEASE]), Target(file, format_))
            made.append(file)
    if format_ == "dir":
        assert listing(made[0]) == listing(made[1]) == listing(made[2]) == listing(made[3])
    else:
        assert len(digests(*made)) == 1


def test_modes_and_times_are_fixed(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories are 0755, files 0444, and all times are SOURCE_DATE_EPOCH."""
    for number, seconds in enumerate([0, 1_700_000_000]):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(seconds))
        out = exported(cache, tmp_path / f"out-{number}")
        for mode, time, _ in listing(out).values():
            assert time == seconds * 10**9
            assert stat.S_IMODE(mode) == (0o755 if stat.S_ISDIR(mode) else 0o777 if stat.S_ISLNK(mode) else 0o444)
        record = json.loads((out / "identifiers/figshare/34821874.json").read_bytes())
        assert record["recorded"] == ("2023-11-14T22:13:20+00:00" if seconds else "1970-01-01T00:00:00+00:00")


@images
@pytest.mark.parametrize("format_", ["squashfs", "ext3"])
def test_times_in_images_are_source_date_epoch(
    cache: Cache, tmp_path: Path, format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(30 * DAY))
    image, out = tmp_path / f"out.{format_}", exported(cache, tmp_path / "out")
    cache.export(cache.plan_export([RELEASE]), Target(image, format_))
    with mounted(tmp_path / "mnt", "-o", "loop,ro", image) as where:
        assert without_lost_and_found(listing(where)) == listing(out)


def without_lost_and_found(entries: Listing) -> Listing:
    return {name: facts for name, facts in entries.items() if name != "lost+found"}


@images
def test_ordinary_user_exports_the_same_as_root(everybodys: Path) -> None:
    code = """
from antscache.export import Target
from antscache.core import parse_release
root, place = arguments
cache = Cache.open(root, offline=True)
for format_ in "dir", "squashfs", "ext3":
    cache.export(cache.plan_export([parse_release("0.3.2")]), Target(Path(place) / format_, format_))
"""
    cache = hold(everybodys / "root")
    mine, hers = everybodys / "mine", everybodys / "hers"
    hers.mkdir()
    os.chown(hers, ANN, ANN)
    mine.mkdir()
    for format_ in FORMATS:
        cache.export(cache.plan_export([RELEASE]), Target(mine / format_, format_))
    run_as(ANN, code, everybodys / "root", hers, umask=0o077)
    assert listing(hers / "dir") == listing(mine / "dir")
    assert (hers / "dir").lstat().st_uid == ANN
    for format_ in FORMATS[1:]:
        assert len(digests(mine / format_, hers / format_)) == 1
    assert left(hers) == sorted(FORMATS)


@images
def test_shared_and_copied_files_give_equal_images(cache: Cache, tmp_path: Path) -> None:
    root = cache.store.layout.root
    above = Cache.open(tmp_path / "above", offline=True, site_dirs=(str(root),))  # to which nothing is linked
    for suffix in "sqsh", "ext3":
        one, other = exported(cache, tmp_path / f"one.{suffix}"), exported(above, tmp_path / f"other.{suffix}")
        assert len(digests(one, other)) == 1


@images
def test_directory_order_does_not_change_exports(cache: Cache, tmp_path: Path) -> None:
    """Filesystems list names in different orders, and exports are the same."""
    with mounted(tmp_path / "memory", "-t", "tmpfs", "tmpfs") as memory:
        assert listing(exported(cache, memory / "out")) == listing(exported(cache, tmp_path / "out"))
        for suffix in "sqsh", "ext3":
            name = f"data.{suffix}"
            assert len(digests(exported(cache, memory / name), exported(cache, tmp_path / name))) == 1


def test_export_leaves_the_root_unchanged(cache: Cache, tmp_path: Path) -> None:
    root = cache.store.layout.root
    before = listing(root)
    for format_ in FORMATS:
        cache.export(cache.plan_export([RELEASE]), Target(tmp_path / f"out.{format_}", format_))
    assert listing(root) == before
    assert not [path for path in root.glob("blobs/*/*") if path.stat().st_nlink > 2]  # its own, and its view's


# Lower caches


def test_files_of_lower_caches_are_exported(cache: Cache, tmp_path: Path) -> None:
    """Files in lower caches are exported, and lower caches are not changed."""
    root = cache.store.layout.root

    def seen() -> list[tuple[int, int, int]]:
        return [(s.st_ino, s.st_nlink, s.st_ctime_ns) for s in map(Path.lstat, sorted(root.rglob("*")))]

    before = seen()
    above = Cache.open(tmp_path / "above", offline=True, site_dirs=(str(root),))
    above.store.create()
    part = [entry_of(above, name) for name in (BRAIN, TEMPLATE)]
    above.store.refs.select(Selection(RELEASE, tuple(part)))
    for number, format_ in enumerate(FORMATS):
        above.export(above.plan_export([RELEASE]), Target(tmp_path / str(number), format_))
    assert seen() == before
    assert listing(tmp_path / "0") == listing(exported(cache, tmp_path / "out", names=[BRAIN, TEMPLATE]))


def test_export_works_as_a_lower_cache(antscache: AntsCache, cache: Cache, tmp_path: Path) -> None:
    """An export works as a lower cache for users who have no writable root."""
    out = exported(cache, tmp_path / "out")
    antscache.root = Path("/sys/nothing")
    for command in ["path", "0.3.2"], ["prefetch", "0.3.2", "--name", BRAIN, "--offline"]:
        home = antscache(*command, ANTSCACHE_SITE_DIRS=out).succeeded().out.strip()
        assert home == str(out / "views/antspynet-0.3.2")
        assert (Path(home) / f".keras/ANTsXNet/{BRAIN}.h5").read_bytes() == content_of(entry_of(cache, BRAIN))


@images
@pytest.mark.parametrize("suffix", ["sqsh", "ext3"])
def test_mounted_image_works_as_a_lower_cache(antscache: AntsCache, cache: Cache, tmp_path: Path, suffix: str) -> None:
    """A mounted image is a whole root, and works as a lower cache."""
    image, out = exported(cache, tmp_path / f"data.{suffix}"), exported(cache, tmp_path / "out")
    with mounted(tmp_path / "mnt", "-o", "loop,ro", image) as where:
        assert "6 blobs read" in antscache("--root", where, "verify").succeeded().err
        antscache.root = Path("/sys/nothing")
        home = antscache("path", "0.3.2", ANTSCACHE_SITE_DIRS=where).succeeded().out.strip()
        assert home == str(where / "views/antspynet-0.3.2")
        assert (Path(home) / f".keras/ANTsXNet/{BRAIN}.h5").read_bytes() == content_of(entry_of(cache, BRAIN))
        assert without_lost_and_found(listing(where)) == listing(out)
        assert {path.lstat().st_uid for path in where.rglob("*")} == {0}
        assert {path.lstat().st_gid for path in where.rglob("*")} == {0}


# Images


def checked(image: Path) -> str:
    """Check an ext3 with e2fsck, and return its output."""
    done = subprocess.run(["/sbin/e2fsck", "-fn", image], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


names = st.text("abcdefghijklmnop.-_+0", min_size=1, max_size=200).filter(lambda name: name not in {".", ".."})
sizes = st.integers(0, 100) | st.integers(0, 600_000)
trees = st.builds(
    lambda files, links: Tree({Path(name): size for name, size in files.items()}, links),
    st.dictionaries(st.lists(names, min_size=1, max_size=3).map(lambda parts: "/".join(["d", *parts, "f"])), sizes),
    st.dictionaries(names.map(lambda name: Path("l") / name), st.integers(1, 120), max_size=20),
)
many = {Path(f"blobs/sha256/{number:064}"): 1 for number in range(1000)}


def laid_down(planned: Tree, root: Path) -> None:
    for path in planned.directories:
        (root / path).mkdir(parents=True, exist_ok=True)
    for path, size in planned.files.items():
        (root / path).write_bytes(b"\1" * size)  # zeros would be holes
    for path, size in planned.links.items():
        (root / path).symlink_to("x" * size)
    (root / "index.json").touch()


unhurried = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def image_of(planned: Tree, filesystem: Filesystem, place: Path) -> Path:
    """Return the image of the tree that is laid down in `root` of `place`."""
    filesystem_images.make(filesystem, planned, place / "root", place / filesystem, 0)
    return place / filesystem


def image_of_holes(planned: Tree, filesystem: Filesystem, place: Path) -> Path:
    """Return the image of files that have their sizes and are not written: large ones take no time."""
    root = place / "root"
    root.mkdir()
    for path, size in planned.files.items():
        (root / path).touch()
        os.truncate(root / path, size)
    return image_of(planned, filesystem, place)


def facts(image: Path) -> dict[str, str]:
    """Return what the superblock of an ext3 says."""
    done = subprocess.run(["/sbin/dumpe2fs", "-h", image], check=True, capture_output=True, text=True)
    return dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)


def of_a_release(sizes: Collection[int], name_length: int = 30) -> Tree:
    """Return a tree with a blob of each size, and a record and a link for it."""
    files, links = {Path("index.json"): 0}, {}
    for number, size in enumerate(sizes):
        files |= {Path(f"blobs/sha256/{number:064}"): size, Path(f"identifiers/figshare/{number}.json"): 300}
        links[Path(f"views/v/{number:0{name_length}}")] = 90
    return Tree(files, links)


@images
@unhurried
@given(planned=trees)
@example(planned=Tree({}, {}))
@example(planned=Tree(many, {}))
@example(planned=Tree({}, dict.fromkeys((Path(f"{number}") for number in range(507)), 1)))
@example(planned=Tree({}, dict.fromkeys((Path(f"{number:0200}") for number in range(1200)), 120)))
@example(planned=Tree({Path(str(number)): 13 * BLOCK_BYTES for number in range(200)}, {}))
def test_image_has_the_predicted_size(planned: Tree) -> None:
    """An ext3 exactly; a squashfs is smaller by less than 384 bytes a name, one byte in 10,000 and a block."""
    planned = Tree({**planned.files, Path("index.json"): 0}, planned.links)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        laid_down(planned, place / "root")
        size = image_of(planned, "squashfs", place).stat().st_size
        names = len(planned.files) + len(planned.links) + len(planned.directories)
        predicted = filesystem_images.size_of("squashfs", planned)
        assert size <= predicted < size + 384 * names + planned.size / 10_000 + BLOCK_BYTES

        image = image_of(planned, "ext3", place)
        assert image.stat().st_size == filesystem_images.size_of("ext3", planned)
        checked(image)
        assert "has_journal" in facts(image)["Filesystem features"]


@images
def test_large_squashfs_has_the_predicted_size(tmp_path: Path) -> None:
    planned = Tree({Path("index.json"): 0, Path("large"): 200 << 20}, {})
    image = image_of_holes(planned, "squashfs", tmp_path)
    assert 0 <= filesystem_images.size_of("squashfs", planned) - image.stat().st_size < 0.0002 * planned.size


@images
@pytest.mark.parametrize(
    "planned",
    [
        pytest.param(of_a_release([20_000_000]), id="one file"),
        pytest.param(of_a_release([number * 200_000 for number in range(20)]), id="some files"),
        pytest.param(of_a_release([20_000] * 500), id="many small files"),
        pytest.param(of_a_release([13 * BLOCK_BYTES] * 400, name_length=200), id="long names"),
    ],
)
def test_predicted_sizes_are_within_5_percent(planned: Tree, tmp_path: Path) -> None:
    laid_down(planned, tmp_path / "root")
    for filesystem in PROGRAMS:
        image = image_of(planned, filesystem, tmp_path)
        assert filesystem_images.size_of(filesystem, planned) == pytest.approx(image.stat().st_size, rel=0.05)


large = st.lists(st.integers(2000 * BLOCK_BYTES, 1 << 33), min_size=1, max_size=4)


@images
@unhurried
@given(sizes=large)
@example(sizes=[1 << 36])
def test_an_ext3_has_room_for_gigabytes(sizes: list[int]) -> None:
    """Blocks are free for those of files and for those that point to them (one in 1,000, and three), and few more."""
    planned = Tree({Path("index.json"): 0, **{Path(str(number)): size for number, size in enumerate(sizes)}}, {})
    with tempfile.TemporaryDirectory() as place:
        free = int(facts(image_of_holes(planned, "ext3", Path(place)))["Free blocks"])
    needed = sum(size // BLOCK_BYTES + 1 + size // BLOCK_BYTES // 1000 + 3 for size in sizes)
    assert needed <= free < needed * 1.01 + 100


@images
def test_ext3_has_room_without_dropped_blocks(tmp_path: Path) -> None:
    """A last group of blocks that is too small for it is not in the filesystem, and there is room without it."""
    group, given_up = 8 * BLOCK_BYTES, []
    for content in range(group - 1280, group - 1120, 8):
        planned = Tree({Path("index.json"): 0, Path("large"): content * BLOCK_BYTES}, {})
        place = tmp_path / str(content)
        place.mkdir()
        made = facts(image_of_holes(planned, "ext3", place))
        given_up.append(filesystem_images.size_of("ext3", planned) // BLOCK_BYTES - int(made["Block count"]))
        assert int(made["Free blocks"]) >= content + content // 1000 + 3
    assert max(given_up) > 40


@images
def test_holes_in_files_do_not_change_images(tmp_path: Path) -> None:
    """A file of zeros gives the same image if the disk stores it as a hole."""
    planned = Tree({Path("zeros"): 3 << 20, Path("index.json"): 0}, {})
    for name, zeros in ("written", b"\0" * (3 << 20)), ("left-out", b""):
        laid_down(planned, tmp_path / name)
        (tmp_path / name / "zeros").write_bytes(zeros)
        os.truncate(tmp_path / name / "zeros", 3 << 20)
        for filesystem in PROGRAMS:
            filesystem_images.make(filesystem, planned, tmp_path / name, tmp_path / f"{name}.{filesystem}", 0)
    for filesystem in PROGRAMS:
        one, other = (tmp_path / f"{name}.{filesystem}" for name in ("written", "left-out"))
        assert len(digests(one, other)) == 1
        assert 0 <= filesystem_images.size_of(filesystem, planned) - one.stat().st_size <= BLOCK_BYTES


@images
def test_host_configuration_does_not_change_images(few: AntsCache, tmp_path: Path) -> None:
    configuration = tmp_path / "mke2fs.conf"
    configuration.write_text(
        "[defaults]\nerrors = panic\nhash_alg = tea\nenable_periodic_fsck = 1\nreserved_ratio = 9\n"
        "default_mntopts = nobarrier\n[fs_types]\next3 = {\nfeatures = has_journal,dir_index\n}\n"
    )
    if not Path("/etc/mke2fs.conf").exists():
        cannot("this host has no /etc/mke2fs.conf to put another in place of")
    command: list[str | Path] = [
        require("unshare"),
        "-m",
        "sh",
        "-c",
        'mount --bind "$0" /etc/mke2fs.conf && exec "$@"',
        configuration,
    ]
    done = subprocess.run(
        [*command, *few.command("export", "0.3.2", tmp_path / "a.ext3")],
        env=few.environment(MKE2FS_CONFIG=configuration),
        check=False,
        capture_output=True,
        text=True,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        cannot(f"no mounts here: {done.stderr}")
    few("export", "0.3.2", tmp_path / "b.ext3").succeeded()
    assert len(digests(tmp_path / "a.ext3", tmp_path / "b.ext3")) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 1 << 36), max_size=30), st.integers(0, 1 << 36))
def test_more_files_predict_a_larger_image(sizes: list[int], more: int) -> None:
    files = {Path(str(number)): size for number, size in enumerate(sizes)}
    for filesystem in PROGRAMS:
        with_more = filesystem_images.size_of(filesystem, Tree({**files, Path("more"): more}, {}))
        assert with_more >= filesystem_images.size_of(filesystem, Tree(files, {}))
        assert with_more >= sum(sizes) + more


@images
def test_squashfs_has_the_content_of_the_directory(cache: Cache, tmp_path: Path) -> None:
    image, out = exported(cache, tmp_path / "data.sqsh"), exported(cache, tmp_path / "out")
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "got", image], check=True, capture_output=True)
    assert listing(tmp_path / "got") == listing(out)


@images
@pytest.mark.parametrize("processors", ["1", "2", "7"])
def test_processor_count_does_not_change_a_squashfs(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: str
) -> None:
    run, first = filesystem_images._run, exported(cache, tmp_path / "first.sqsh")  # noqa: SLF001  a flag more

    def with_processors(filesystem: Any, program: str, arguments: list[str], *more: Any) -> str:
        return run(filesystem, program, [*arguments, "-processors", processors], *more)

    monkeypatch.setattr(filesystem_images, "_run", with_processors)
    assert len(digests(first, exported(cache, tmp_path / "second.sqsh"))) == 1


@pytest.mark.parametrize(("suffix", "package"), [("sqsh", "squashfs-tools"), ("img", "e2fsprogs")])
def test_missing_program_is_named_with_its_package(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(filesystem_images, "ADMIN_DIRECTORIES", ())
    with pytest.raises(AntsCacheError, match="is not installed") as caught:
        exported(cache, tmp_path / f"data.{suffix}")
    assert f"apt-get install {package}" in caught.value.hint
    assert "--format dir" in caught.value.hint
    assert left(tmp_path) == []


@images
def test_programs_in_sbin_are_found_with_any_path(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    checked(exported(cache, tmp_path / "data.ext3"))


@pytest.mark.parametrize(("filesystem", "script"), [("squashfs", "echo no >&2; exit 1"), ("ext3", "exit 3")])
def test_failing_program_is_an_error_with_its_message(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filesystem: Any, script: str
) -> None:
    fake(tmp_path / "bin", PROGRAMS[filesystem][0], script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(StoreError, match=r"could not make the image: (no|exit code 3)(\nhint: |$)") as caught:
        cache.export(cache.plan_export([RELEASE]), Target(tmp_path / "data", filesystem))
    assert caught.value.hint
    assert left(tmp_path) == ["bin"]


def fake(directory: Path, program: str, script: str) -> None:
    directory.mkdir()
    (directory / program).write_text(f"#!/bin/sh\n{script}\n")
    (directory / program).chmod(0o755)


@images
def test_error_of_debugfs_is_an_error(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = filesystem_images._inode_fields  # noqa: SLF001  the one thing that may go wrong
    monkeypatch.setattr(filesystem_images, "_inode_fields", lambda *some: [*fields(*some), "/nothing uid 0"])
    with pytest.raises(StoreError, match="debugfs could not make the image: /nothing: File not found"):
        exported(cache, tmp_path / "data.ext3")
    assert left(tmp_path) == []


# Layers


def laid_over(layers: Path) -> Listing:
    """Return the listing of an image with all layers, one laid over the other."""
    entries: Listing = {}
    for layer in sorted(layers.iterdir()):
        entries |= listing(layer)
    return entries


def test_layers_together_are_the_tree(cache: Cache, tmp_path: Path) -> None:
    out, layers = exported(cache, tmp_path / "out"), exported(cache, tmp_path / "bake", layers=3)
    assert [path.name for path in sorted(layers.iterdir())] == ["00", "01", "02", "rest"]
    place = tree.LOWER_CACHE_IN_IMAGES.strip("/")
    above = {name for name in laid_over(layers) if not name.startswith(place)}
    assert above == {".", "opt"}
    assert {
        str(Path(name).relative_to(place)): seen for name, seen in laid_over(layers).items() if name not in above
    } == listing(out)
    for layer in layers.iterdir():
        for mode, time, _ in listing(layer).values():
            assert time == 0
            assert stat.S_IMODE(mode) == (0o755 if stat.S_ISDIR(mode) else 0o777 if stat.S_ISLNK(mode) else 0o444)


def test_name_decides_the_layer_of_a_blob(cache: Cache, tmp_path: Path) -> None:
    """A blob is in the layer of its name, and everything else is in `rest`."""
    layers = exported(cache, tmp_path / "bake", layers=16)
    for entry in (entry_of(cache, name) for name in FOUR):
        digits = hashlib.sha256(content_of(entry)).hexdigest()
        number = int(hashlib.sha256(entry.file.encode()).hexdigest()[:8], 16) % 16
        assert (layers / f"{number:02}/opt/antscache/blobs/sha256/{digits}").read_bytes() == content_of(entry)
    numbered = [path for layer in layers.iterdir() if layer.name != "rest" for path in layer.rglob("*")]
    assert len([path for path in numbered if path.is_file()]) == len(FOUR)
    assert (layers / f"rest/opt/antscache/blobs/sha256/{hashlib.sha256(EMPTY_CONTENT).hexdigest()}").is_file()
    assert len(list(layers.iterdir())) == 17


@pytest.mark.parametrize("changed", FOUR)
def test_changed_file_changes_only_its_layer(cache: Cache, tmp_path: Path, changed: str) -> None:
    """A file that changes changes its layer and `rest`, and no other layer."""

    def other(entry: Entry) -> bytes:
        return content_of(entry) + (b"!" if entry.name == changed else b"")

    before = exported(cache, tmp_path / "before", layers=16)
    after = exported(hold(tmp_path / "other", content=other), tmp_path / "after", layers=16)
    differ = {layer.name for layer in before.iterdir() if listing(layer) != listing(after / layer.name)}
    assert differ == {f"{layer_of(entry_of(cache, changed).file, 16):02}", "rest"}


# Where it goes


@pytest.mark.parametrize("format_", FORMATS)
def test_existing_target_is_never_overwritten(cache: Cache, tmp_path: Path, format_: Format) -> None:
    full, file, link, dangling = (tmp_path / name for name in ("full", "file", "link", "dangling"))
    full.mkdir()
    (full / "mine").write_text("mine")
    file.write_text("mine")
    link.symlink_to(full)
    dangling.symlink_to(tmp_path / "out")
    before = listing(tmp_path)
    for there in full, file, link, dangling:
        with pytest.raises(StoreError, match=f"{there} already exists") as caught:
            cache.export(cache.plan_export([RELEASE]), Target(there, format_))
        assert "remove it first" in caught.value.hint
    assert listing(tmp_path) == before


def test_empty_directory_is_filled(cache: Cache, tmp_path: Path) -> None:
    """An empty directory is filled, not replaced, and its content is the same as that of a new one."""
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    inode = empty.stat().st_ino
    exported(cache, empty)
    assert empty.stat().st_ino == inode  # it may be a mount
    assert listing(empty) == listing(exported(cache, tmp_path / "out"))
    layers = tmp_path / "bake"
    layers.mkdir()
    assert listing(exported(cache, layers, layers=5)) == listing(exported(cache, tmp_path / "new", layers=5))


def test_failed_export_leaves_an_empty_directory_empty(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, rename, count = tmp_path / "empty", Path.rename, itertools.count()
    empty.mkdir()

    def refusing(path: Path, target: Path) -> Path:
        if Path(target).parent == empty and next(count) == 3:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(StoreError, match=f"cannot write {empty}: Input/output error"):
        exported(cache, empty)
    assert next(count) > 3
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere/out", "file/out", "nowhere/out.sqsh"])
def test_missing_parent_is_an_error_naming_the_target(cache: Cache, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StoreError, match=f"cannot write {tmp_path / name}: (No such file or|Not a) directory"
    ) as caught:
        exported(cache, tmp_path / name)
    assert "check that its directory exists" in caught.value.hint
    assert left(tmp_path) == ["file"]


def test_file_created_meanwhile_is_not_overwritten(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, make = tmp_path / "data.sqsh", filesystem_images.make

    def meanwhile(*arguments: Any) -> None:
        make(*arguments)
        file.write_text("mine")

    monkeypatch.setattr(filesystem_images, "make", meanwhile)
    with pytest.raises(StoreError, match=f"another program created {file} during the export"):
        exported(cache, file)
    assert (file.read_text(), left(tmp_path)) == ("mine", [file.name])


# Faults


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("below", [False, True])
def test_damaged_blob_is_never_exported(cache: Cache, tmp_path: Path, format_: Format, below: bool) -> None:
    entry = entry_of(cache, TEMPLATE)
    path = cache.store.layout.blob(descriptor_of(content_of(entry)).digest)
    path.chmod(0o644)
    path.write_bytes(b"?" + content_of(entry)[1:])
    if below:
        cache = Cache.open(tmp_path / "root/none", offline=True, site_dirs=(str(cache.store.layout.root),))
    with pytest.raises(IntegrityError, match=rf"{path} \({TEMPLATE}.nii.gz\) is damaged") as caught:
        cache.export(cache.plan_export([RELEASE]), Target(tmp_path / "out", format_))
    assert "antscache verify --repair" in caught.value.hint
    assert left(tmp_path) == []


def test_unreadable_blob_is_an_error_that_names_it(everybodys: Path) -> None:
    cache = hold(everybodys / "root")
    path = cache.store.layout.blob(descriptor_of(content_of(entry_of(cache, TEMPLATE))).digest)
    path.chmod(0)
    code = """
from antscache.export import Target
from antscache.core import parse_release
cache = Cache.open(arguments[0], offline=True)
try:
    cache.export(cache.plan_export([parse_release("0.3.2")]), Target(Path(arguments[1]) / "out"))
except AntsCacheError as error:
    print(json.dumps([error.exit_code, str(error)]))
"""
    hers = everybodys / "hers"
    hers.mkdir()
    os.chown(hers, ANN, ANN)
    assert run_as(ANN, code, everybodys / "root", hers) == [6, f"cannot read {path}: Permission denied"]
    assert left(hers) == []


@images
@pytest.mark.parametrize("format_", FORMATS)
def test_too_small_disk_is_refused(cache: Cache, tmp_path: Path, format_: Format) -> None:
    """An export that the disk cannot hold is refused, and leaves nothing behind."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=300k", "tmpfs") as small:
        with pytest.raises(
            StoreError, match=r"not enough disk space: [\d,]+ bytes are needed and [\d,]+ are free, [\d,]+ too few"
        ):
            cache.export(cache.plan_export([RELEASE]), Target(small / "out", format_))
        assert left(small) == []


@images
@pytest.mark.parametrize("suffix", ["sqsh", "ext3"])
def test_image_of_shared_files_needs_its_own_size(
    cache: Cache, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of shared files needs free space for itself alone, checked before anything is written."""
    contents, target = cache.plan_export([RELEASE]), Target(tmp_path / "out", format_of(Path(f"x.{suffix}")))
    room = target.size_of(contents)
    monkeypatch.setattr(disk, "free_space", lambda _: room - 1)
    monkeypatch.setattr(Path, "mkdir", None)
    with pytest.raises(StoreError, match=f"{room:,} bytes are needed and {room - 1:,} are free, 1 too few"):
        cache.export(contents, target)
    monkeypatch.undo()
    monkeypatch.setattr(disk, "free_space", lambda _: room)
    cache.export(contents, target)


@images
def test_image_on_another_disk_needs_both_sizes(cache: Cache, tmp_path: Path) -> None:
    """An image on another disk than its files needs free space for a copy of them and for itself."""
    size = cache.plan_export([RELEASE]).size
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", f"size={size * 3 // 2}", "tmpfs") as small:
        with pytest.raises(StoreError, match="not enough disk space"):
            exported(cache, small / "data.sqsh")
        assert left(small) == []
        exported(cache, small / "data")  # a directory fits


@images
@pytest.mark.parametrize(
    ("format_", "size"),
    [("dir", "100k"), ("dir", "500k"), ("squashfs", "100k"), ("squashfs", "900k"), ("ext3", "900k"), ("ext3", "1200k")],
)
def test_disk_full_in_the_middle_leaves_nothing(
    cache: Cache, tmp_path: Path, format_: Format, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_space", lambda _: None)  # it does not say
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as small:
        with pytest.raises(StoreError, match=r"cannot write .*/out: No space|could not make the image: .") as caught:
            cache.export(cache.plan_export([RELEASE]), Target(small / "out", format_))
        assert "space" in caught.value.hint
        assert left(small) == []


def test_filesystem_without_links_is_refused(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refusing)
    with pytest.raises(StoreError, match="symlink refused: Operation not permitted") as caught:
        exported(cache, tmp_path / "out")
    assert "a filesystem that supports links" in caught.value.hint
    assert left(tmp_path) == []


@pytest.fixture(scope="session")
def _forks() -> None:
    import_ahead()


@images
@pytest.mark.usefixtures("_forks")
@pytest.mark.parametrize("format_", FORMATS)
def test_kill_leaves_no_file_or_a_whole_one(cache: Cache, tmp_path: Path, format_: Format) -> None:
    whole, place = tmp_path / "whole", tmp_path / "place"
    cache.export(cache.plan_export([RELEASE]), Target(whole, format_))
    place.mkdir()
    configured, file = Settings(root=str(cache.store.layout.root), offline=True), place / "out"
    for step in itertools.chain(range(1, 400, 13), itertools.count(400, 40)):
        outcome = killed_at(step, Export(str(RELEASE), str(file), format_), configured, place)
        if os.path.lexists(file):
            assert listing(file) == listing(whole) if format_ == "dir" else len(digests(file, whole)) == 1
            break
        assert outcome.code is None
    assert step > 50
    assert outcome.code == 0
    stages = [path for path in place.iterdir() if path != file]
    assert all(path.name.startswith(".antscache-") for path in stages)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "where",
    ["antscache.store.records.Records.remember", "antscache.export.tree.make_view", "antscache.disk.move_new"],
)
def test_interrupted_export_leaves_nothing(
    cache: Cache, tmp_path: Path, format_: Format, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.export(cache.plan_export([RELEASE]), Target(tmp_path / "out", format_))
    assert left(tmp_path) == []


def test_ctrl_c_ends_the_program_too(antscache: AntsCache, cache: Cache, tmp_path: Path) -> None:
    """Ctrl-C also ends the program that makes the image, and leaves nothing behind."""
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    fake(tmp_path / "bin", "mksquashfs", f"echo $$ > {begun}; exec sleep 600")
    process = subprocess.Popen(
        antscache.command("export", "0.3.2", tmp_path / "data.sqsh"),
        env=antscache.environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    number = int(begun.read_text())
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1][0] != "S":
        pass  # it has not noticed yet that the program runs
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, "interrupted" in errors, "Traceback" in errors) == (130, True, False)
    assert cache.store.exists()
    assert not Path(f"/proc/{number}").exists()
    assert left(tmp_path) == ["begun", "bin"]


# The command


@pytest.fixture
def few(antscache: AntsCache, tmp_path: Path) -> AntsCache:
    hold(tmp_path / "root")
    return antscache


def test_command_prints_only_the_file_on_stdout(few: AntsCache, tmp_path: Path) -> None:
    ran = few("export", "0.3.2", "out").succeeded()
    assert ran.out == f"{few.home / 'out'}\n"
    [planned, done, release] = ran.err.splitlines()
    size = sum(
        path.stat().st_size for path in (few.home / "out").rglob("*") if not path.is_symlink() and path.is_file()
    )
    index = json.loads((few.home / "out/index.json").read_bytes())["manifests"]
    assert planned.startswith("4 files, ")
    assert "; the directory will take " in planned
    assert done.startswith("written and verified: ")
    assert release == f"antspynet==0.3.2 is {index[0]['digest']}"
    ran = few("export", "0.3.2", tmp_path / "again", "--json", "-q").succeeded()
    assert ran.json == {
        "file": str(tmp_path / "again"),
        "format": "dir",
        "size": size,
        "releases": [{"release": "antspynet==0.3.2", "digest": index[0]["digest"]}],
    }
    assert ran.err == ""


@images
def test_command_prints_the_size_of_an_image(few: AntsCache, tmp_path: Path) -> None:
    """The command prints the size of an image before and after it is written."""
    for arguments in ["data.sqsh"], ["--format", "ext3", "data.x"]:
        ran = few("export", "antspynet==0.3.2", *arguments, "--json").succeeded()
        assert ran.json["size"] == (few.home / arguments[-1]).stat().st_size
        assert "the image will take" in ran.err
    assert left(tmp_path) == []


def test_dry_run_prints_the_plan_and_writes_nothing(few: AntsCache, tmp_path: Path) -> None:
    before = listing(tmp_path)
    ran = few("export", "0.3.2", "out", "--name", TEMPLATE, "-n").succeeded()
    assert f"export  antspynet==0.3.2  data  {TEMPLATE}.nii.gz  1.8 kB\n1 file, 1.8 kB; the directory will" in ran.out
    ran_json = few("export", "0.3.2", "out", "-n", "--json").succeeded().json
    assert listing(tmp_path) == before
    assert few("export", "0.3.2", "out", "--json").succeeded().json == ran_json
    ran = few("export", "0.3.2", "out", "-n")
    assert (ran.code, "already exists" in ran.err) == (6, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["0.3.2"], 2, "give at least one RELEASE, and then FILE"),
        ([], 2, "give at least one RELEASE, and then FILE"),
        (["0.3.2", "x.sqsh", "--layers", "4"], 2, "--layers is for directories, and x.sqsh becomes a squashfs"),
        (["0.3.2", "x", "--layers", "0"], 2, "--layers"),
        (["0.3.2", "x", "--layers", "101"], 2, "--layers"),
        (["0.3.2", "x", "--format", "tar"], 2, "--format"),
        (["nonsense", "x"], 3, "not a version"),
        (["0.3.2", "0.3.1", "x"], 7, "nothing of antspynet==0.3.1 is held"),
        (["0.3.2", "x", "--name", "S_template"], 3, "did you mean S_template3"),
        (["0.3.2", "nowhere/x"], 6, "cannot write"),
        (["0.3.2", "/"], 6, "/ already exists, and is not an empty directory"),
    ],
)
def test_bad_input_gives_the_documented_code(few: AntsCache, arguments: list[str], code: int, message: str) -> None:
    ran = few("export", *arguments)
    assert (ran.code, message in ran.err, ran.out) == (code, True, ""), ran.err
    assert "will take" not in ran.err
    assert left(few.home) == []


def test_command_refuses_an_invalid_source_date_epoch(few: AntsCache) -> None:
    ran = few("export", "0.3.2", "x", SOURCE_DATE_EPOCH="yesterday")
    assert (ran.code, "error: the environment (SOURCE_DATE_EPOCH)" in ran.err) == (2, True)
    assert left(few.home) == []


def test_target_name_may_be_any_bytes(few: AntsCache) -> None:
    file = os.fsdecode(b"\xff\n.d")
    done = subprocess.run(
        few.command("export", "0.3.2", file), env=few.environment(), cwd=few.home, capture_output=True, check=True
    )
    assert done.stdout == os.fsencode(few.home / file) + b"\n"
    assert few("export", "0.3.2", file).code == 6
    assert few("export", "0.3.2", f"{file}2", "--json").succeeded().json["file"].endswith("\\xff\n.d2")


def test_release_without_chosen_files_is_left_out(few: AntsCache, tmp_path: Path) -> None:
    manifest = Cache.open("/nowhere", offline=True).manifest(EXAMPLES)
    hold(tmp_path / "root", manifest, ("r16",))
    ran = few("export", "antspyx==0.6.3", "0.3.2", "out", "--kind", "network").succeeded()
    assert "note: antspyx==0.6.3 is left out: it has none of the chosen entries" in ran.err
    assert [path.name for path in (few.home / "out/views").iterdir()] == ["antspynet-0.3.2"]


def test_layers_are_as_many_as_asked_for(few: AntsCache) -> None:
    """There are as many numbered layers as asked for, and `rest`."""
    few("export", "0.3.2", "--layers", "100", "bake").succeeded()
    assert left(few.home / "bake") == [*(f"{number:02}" for number in range(100)), "rest"]
