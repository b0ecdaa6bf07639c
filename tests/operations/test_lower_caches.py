"""Lower caches: used in place, never written, never locked; also where there is no other cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, HANG_SECONDS, LUNG, SIZE, TEMPLATE, TRANSFORM, AntsCache, Ran, cannot, require

from antscache.cache import Cache
from antscache.config import load
from antscache.core.digest import descriptor_of
from antscache.core.manifest import parse_release
from antscache.store.store import Store
from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from antscache.testing import StandIn

RELEASE = parse_release("0.3.2")
STRANGER_UID = 12345  # a user id that is nobody's here
NUMBERS = {BRAIN: "34821874", LUNG: "41965818", TEMPLATE: "22597175", TRANSFORM: "41052575"}


def name(*names: str) -> list[str]:
    return [each for one in names for each in ("--name", one)]


def antsxnet(home: str) -> Path:
    return Path(home.strip()) / ".keras/ANTsXNet"


def is_own(path: Path, root: Path) -> bool:
    """Return True if a name in a view of `root` has a blob of `root`: names from lower caches are absolute symlinks."""
    absolute = path.is_symlink() and path.readlink().is_absolute()
    return not absolute and path.resolve().is_relative_to(root.resolve())


def listing(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that can be seen of a tree, except when it was read."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        s = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        times = (s.st_mtime_ns, s.st_ctime_ns)
        found[str(path)] = (s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size, *times, content)
    return found


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Make a directory that every user may look into; pytest's own is for its owner alone."""
    directory = Path(tempfile.mkdtemp(prefix="antscache-layers-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def lower(figshare: StandIn, tmp_path: Path) -> Path:
    """Make a root with two files of the release and a view of them."""
    return made(figshare, tmp_path / "lower", BRAIN, TEMPLATE)


def made(figshare: StandIn, root: Path, *names: str) -> Path:
    cache = Cache.open(root, origins=figshare.origins.split())
    cache.prefetch(cache.plan("0.3.2", names=names))
    return root


@pytest.fixture
def layered(antscache: AntsCache, lower: Path) -> AntsCache:
    """Return antscache with an upper root that does not exist yet, and `lower` below it."""
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(lower)
    return antscache


@pytest.fixture
def unprivileged(antscache: AntsCache) -> Callable[..., Ran]:
    """Return antscache as a process of another user, who may do only what modes allow."""

    def run(*arguments: str | Path, **environ: str | Path) -> Ran:
        require("setpriv")
        command = ["setpriv", f"--reuid={STRANGER_UID}", f"--regid={STRANGER_UID}", "--clear-groups", "--inh-caps=-all"]
        done = subprocess.run(
            [*command, *antscache.command(*arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=antscache.unmeasured(**environ),
            cwd="/",
            timeout=HANG_SECONDS,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    if os.geteuid():
        cannot("only root becomes another user")
    return run


@pytest.fixture
def bound(lower: Path) -> Iterator[Path]:
    """Mount `lower` read-only at another place."""
    where = lower.parent / "bound"
    where.mkdir()
    if os.geteuid() or subprocess.run(["mount", "--bind", lower, where], check=False, capture_output=True).returncode:
        cannot("no mounts here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", where], check=True)
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


# Used in place


def test_files_of_a_lower_cache_are_not_copied(layered: AntsCache, figshare: StandIn, lower: Path) -> None:
    """They are used in place, and nothing is fetched."""
    asked = len(figshare.requests)
    ran = layered("prefetch", "0.3.2", *name(BRAIN, TEMPLATE)).succeeded()
    view = antsxnet(ran.out)
    assert view.is_relative_to(layered.root)
    assert (view / f"{BRAIN}.h5").readlink().parent == lower / "blobs/sha256"
    assert not [path for path in layered.root.glob("blobs/sha256/*") if path.stat().st_size == 4000]
    assert len(figshare.requests) == asked
    assert "2 files used in place from lower caches" in ran.err
    assert layered("path", "0.3.2").succeeded().err == ""


def test_the_upper_cache_holds_the_rest(layered: AntsCache, figshare: StandIn) -> None:
    before = figshare.downloads(NUMBERS[BRAIN]), figshare.downloads(NUMBERS[LUNG])
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded().out)
    assert (figshare.downloads(NUMBERS[BRAIN]), figshare.downloads(NUMBERS[LUNG])) == (before[0], before[1] + 1)
    assert (view / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])
    assert (view / f"{LUNG}.h5").read_bytes() == figshare.content(NUMBERS[LUNG])
    [usage] = layered("list", "--json").succeeded().json
    assert (usage["size"], usage["own"], usage["shared"], usage["below"]) == (8000, 4000, 0, 4000)


def test_a_second_prefetch_writes_nothing(layered: AntsCache) -> None:
    layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded()
    before = listing(layered.root)
    layered("prefetch", "0.3.2", *name(BRAIN, LUNG), "--offline").succeeded()
    assert listing(layered.root) == before


def test_the_first_lower_cache_wins(layered: AntsCache, figshare: StandIn, lower: Path) -> None:
    second = made(figshare, lower.parent / "second", TEMPLATE, LUNG)
    layered.environ["ANTSCACHE_SITE_DIRS"] = f"{lower}{os.pathsep}{second}"
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, TEMPLATE, LUNG), "--offline").succeeded().out)
    roots = {path.name.partition(".")[0]: path.readlink().parents[2] for path in view.iterdir()}
    assert roots == {BRAIN: lower, TEMPLATE: lower, LUNG: second}


def test_a_flag_overrules_the_site_variable(tmp_path: Path) -> None:
    site = {"ANTSCACHE_SITE_DIRS": f"/a{os.pathsep}{os.pathsep}~/b"}
    assert load({}, site).site_dirs == ("/a", str(Path("~/b").expanduser()))
    assert load({"site_dirs": (str(tmp_path),)}, site).site_dirs == (str(tmp_path),)
    assert load({}, {}).site_dirs == ()


def test_the_flag_names_several_and_stands_anywhere(antscache: AntsCache, lower: Path) -> None:
    some = name(BRAIN)
    antscache("--site-dir", "/nowhere", "--site-dir", lower, "prefetch", "0.3.2", *some, "--offline").succeeded()
    antscache("prefetch", "0.3.2", *some, "--offline", "--site-dir", lower).succeeded()


# Never changed


def every_command(antscache: AntsCache, figshare: StandIn, directory: Path) -> None:
    """Run every command that writes, above a lower cache; some of them are refused."""
    some = name(BRAIN, TEMPLATE, LUNG)
    antscache("prefetch", "0.3.2", *some).succeeded()
    antscache("prefetch", "0.2.9", *name(BRAIN)).succeeded()
    antscache("link", "0.3.2", "--home", directory / "out").succeeded()
    antscache("verify", "--deep", "--repair").succeeded()
    files = directory / "files"
    files.mkdir()
    (files / f"{BRAIN}.h5").write_bytes(figshare.content(NUMBERS[BRAIN]))
    antscache("adopt", files, "--as", "0.3.2").succeeded()
    antscache("rm", "0.2.9").succeeded()
    antscache("rm", "0.3.2", "--force").succeeded()
    for _ in range(2):
        antscache("gc", "--grace", "0").succeeded()
    assert antscache("path", "0.2.9").code == 7


def test_no_command_changes_a_lower_cache(layered: AntsCache, figshare: StandIn, lower: Path, tmp_path: Path) -> None:
    before = listing(lower)
    every_command(layered, figshare, tmp_path)
    assert listing(lower) == before


def test_a_lower_cache_may_be_mounted_read_only(
    layered: AntsCache, figshare: StandIn, bound: Path, tmp_path: Path
) -> None:
    layered.environ["ANTSCACHE_SITE_DIRS"] = str(bound)
    before = listing(bound)
    every_command(layered, figshare, tmp_path)
    assert listing(bound) == before


@pytest.mark.usefixtures("layered")
def test_another_users_directory_serves_as_a_lower_cache(
    lower: Path, tmp_path: Path, unprivileged: Callable[..., Ran]
) -> None:
    for path in [lower, *lower.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)
    before = listing(lower)
    mine = tmp_path / "mine"
    mine.mkdir()
    os.chown(mine, STRANGER_UID, STRANGER_UID)
    upper = {"ANTSCACHE_DIR": mine / "root", "HOME": mine}
    home = unprivileged("prefetch", "0.3.2", *name(BRAIN, LUNG), **upper).succeeded().out
    assert (antsxnet(home) / f"{BRAIN}.h5").readlink().is_relative_to(lower)
    linked = unprivileged("link", "0.3.2", "--home", mine / "out", **upper).succeeded().out
    assert not [path for path in antsxnet(linked).iterdir() if path.is_symlink()]
    unprivileged("rm", "0.3.2", **upper).succeeded()
    unprivileged("gc", "--grace", "0", **upper).succeeded()
    assert listing(lower) == before


def test_a_home_is_independent_of_lower_caches(
    layered: AntsCache, figshare: StandIn, lower: Path, tmp_path: Path
) -> None:
    """It has bytes of its own, which stay when the lower cache is deleted."""
    before = listing(lower)
    ran = layered("link", "0.3.2", "--home", tmp_path / "out").succeeded()
    files = {path.name: path for path in antsxnet(ran.out).iterdir()}
    assert set(files) == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in files.values())
    assert files[f"{BRAIN}.h5"].read_bytes() == figshare.content(NUMBERS[BRAIN])
    assert listing(lower) == before
    assert not layered.root.exists()
    shutil.rmtree(lower)
    assert files[f"{BRAIN}.h5"].read_bytes() == figshare.content(NUMBERS[BRAIN])


def test_nothing_is_hard_linked_to_a_lower_cache(layered: AntsCache, lower: Path, tmp_path: Path) -> None:
    before = listing(lower)
    ran = layered("link", "0.3.2", "--home", tmp_path / "out", "--mode", "hardlink")
    assert (ran.code, "is in a lower cache, and a hard link would change it" in ran.err) == (7, True)
    assert listing(lower) == before


def test_no_lock_is_taken_in_a_lower_cache(layered: AntsCache, lower: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [require("strace"), "-f", "-e", "trace=openat,open,fcntl,flock", "-o", str(trace)]
    some = ["prefetch", "0.3.2", *name(BRAIN, LUNG)]
    done = subprocess.run(
        [*command, *layered.command(*some)],
        check=False,
        env=layered.environment(),
        capture_output=True,
        timeout=HANG_SECONDS,
    )
    if b"PTRACE" in done.stderr:
        cannot("no ptrace here")
    assert done.returncode == 0, done.stderr
    opened = [line for line in trace.read_text().splitlines() if f'"{lower}' in line]
    assert opened
    assert not [line for line in opened if "O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line]
    assert not [line for line in opened if "/locks" in line]


def test_a_damaged_blob_below_is_repaired_above(layered: AntsCache, figshare: StandIn, lower: Path) -> None:
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN)).succeeded().out)
    blob = (view / f"{BRAIN}.h5").readlink()
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    before = listing(lower)
    assert layered("verify").code == 5
    layered("verify", "--repair").succeeded()
    assert listing(lower) == before
    assert (view / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])
    layered("verify").succeeded()


def test_without_a_root_lower_caches_are_verified(layered: AntsCache, lower: Path) -> None:
    """They are listed, too."""
    listed = layered("list", "--json").succeeded().json
    assert [(each["release"], each["present"], each["own"], each["below"]) for each in listed] == [
        ("antspynet==0.3.2", 2, 0, 8000)
    ]
    assert "4 blobs read" in layered("verify").succeeded().err  # two files, the artifact, the empty configuration
    sums = layered("verify", "--sums").succeeded().out
    assert sums.count(str(lower / "views")) == 2
    damage(lower)
    assert layered("verify").code == 5
    assert layered("verify", "0.3.2").code == 5


def test_a_release_below_is_verified_there(layered: AntsCache, lower: Path) -> None:
    layered("prefetch", "antspyx==0.6.3", "--name", "r16").succeeded()
    layered("verify", "0.3.2", "antspyx==0.6.3").succeeded()
    damage(lower)
    assert layered("verify", "0.3.2").code == 5
    assert layered("verify", "antspyx==0.6.3").code == 0
    assert layered("verify", "0.2.9").code == 7


def damage(root: Path) -> None:
    """Give one of its blobs other bytes."""
    blob = next(path for path in (root / "blobs/sha256").iterdir() if path.stat().st_size == SIZE)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * SIZE)


def test_the_index_names_only_own_blobs(layered: AntsCache) -> None:
    layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded()
    [manifest] = json.loads((layered.root / "index.json").read_text())["manifests"]
    document = json.loads((layered.root / "blobs" / manifest["digest"].replace(":", "/")).read_text())
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in document["layers"]]
    assert titles == [f"{LUNG}.h5"]
    assert all((layered.root / "blobs" / layer["digest"].replace(":", "/")).exists() for layer in document["layers"])
    if shutil.which("skopeo"):
        copied = ["skopeo", "copy", f"oci:{layered.root}:antspynet-0.3.2", f"oci:{layered.home}/fresh:x"]
        done = subprocess.run(copied, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# What is no lower cache


def gone(lower: Path) -> None:
    shutil.rmtree(lower)


def a_file(lower: Path) -> None:
    shutil.rmtree(lower)
    lower.write_text("not a directory")


def newer(lower: Path) -> None:
    (lower / "antscache.json").chmod(0o644)
    (lower / "antscache.json").write_text('{"layout": 99}')


def damaged(lower: Path) -> None:
    (lower / "antscache.json").chmod(0o644)
    (lower / "antscache.json").write_text('{"layout": ')


def not_a_root(lower: Path) -> None:
    (lower / "antscache.json").unlink()


def a_loop(lower: Path) -> None:
    shutil.rmtree(lower)
    lower.symlink_to(lower)


@pytest.mark.parametrize(
    ("becomes", "why"),
    [
        (gone, "no antscache root is there"),
        (a_file, "Not a directory"),
        (newer, "has layout 99"),
        (damaged, "is damaged"),
        (not_a_root, "no antscache root is there"),
        (a_loop, "is damaged"),
    ],
)
def test_an_unusable_lower_cache_is_noted(
    layered: AntsCache, figshare: StandIn, lower: Path, becomes: Callable[[Path], None], why: str
) -> None:
    """The command fetches its files instead."""
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded().out)
    becomes(lower)
    ran = layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded()
    assert f"note: the lower cache {lower} is not used: " in ran.err
    assert why in ran.err
    assert why in layered("status").succeeded().out
    assert (view / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])
    assert is_own(view / f"{BRAIN}.h5", layered.root)
    layered("verify").succeeded()


@pytest.mark.usefixtures("layered")
def test_an_unreadable_lower_cache_is_passed_over(
    lower: Path, tmp_path: Path, unprivileged: Callable[..., Ran]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    os.chown(mine, STRANGER_UID, STRANGER_UID)
    upper = {"ANTSCACHE_DIR": mine / "root", "HOME": mine}
    lower.chmod(0o700)
    ran = unprivileged("prefetch", "0.3.2", *name(BRAIN), **upper).succeeded()
    assert "Permission denied" in ran.err
    assert is_own(antsxnet(ran.out) / f"{BRAIN}.h5", mine / "root")


@pytest.mark.usefixtures("layered")
def test_unreadable_blobs_below_are_fetched(lower: Path, tmp_path: Path, unprivileged: Callable[..., Ran]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    os.chown(mine, STRANGER_UID, STRANGER_UID)
    for blob in lower.glob("blobs/sha256/*"):
        blob.chmod(0o400)
    ran = unprivileged("prefetch", "0.3.2", *name(BRAIN), ANTSCACHE_DIR=mine / "root", HOME=mine).succeeded()
    assert is_own(antsxnet(ran.out) / f"{BRAIN}.h5", mine / "root")
    assert (antsxnet(ran.out) / f"{BRAIN}.h5").stat().st_uid == STRANGER_UID


@pytest.mark.parametrize("how", ["same", "slash", "link", "twice"])
def test_a_root_below_itself_is_one_root(antscache: AntsCache, tmp_path: Path, how: str) -> None:
    antscache("prefetch", "0.3.2", *name(BRAIN)).succeeded()
    (tmp_path / "link").symlink_to(antscache.root)
    named = {"same": antscache.root, "slash": f"{antscache.root}/.", "link": tmp_path / "link"}.get(
        how, f"{antscache.root}{os.pathsep}{antscache.root}"
    )
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(named)
    view = antsxnet(antscache("prefetch", "0.2.9", *name(BRAIN), "--offline").succeeded().out)
    assert is_own(view / f"{BRAIN}.h5", antscache.root)
    status = antscache("status", "--json").succeeded().json
    assert status["lowers"] == []
    antscache("rm", "0.2.9").succeeded()
    antscache("rm", "0.3.2").succeeded()


def test_the_same_lower_cache_named_twice_is_one(layered: AntsCache, lower: Path) -> None:
    layered.environ["ANTSCACHE_SITE_DIRS"] = f"{lower}{os.pathsep}{lower}/"
    assert [each["root"] for each in layered("status", "--json").succeeded().json["lowers"]] == [str(lower)]


def test_a_lower_cache_may_be_inside_the_root(layered: AntsCache, lower: Path) -> None:
    layered("prefetch", "0.3.2", *name(LUNG)).succeeded()
    inside = layered.root / "locks/lower"
    lower.rename(inside)
    layered.environ["ANTSCACHE_SITE_DIRS"] = str(inside)
    before = listing(inside)
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, LUNG), "--offline").succeeded().out)
    assert (view / f"{BRAIN}.h5").readlink().is_relative_to(inside)
    layered("verify").succeeded()
    layered("rm", "0.3.2").succeeded()
    layered("gc", "--grace", "0").succeeded()
    assert listing(inside) == before


# A lower cache that has gone


def test_offline_links_to_missing_caches_are_removed(layered: AntsCache, lower: Path) -> None:
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded().out)
    lower.rename(lower.parent / "elsewhere")
    assert (view / f"{BRAIN}.h5").is_symlink()
    ran = layered("prefetch", "0.3.2", *name(BRAIN, LUNG), "--offline")
    assert (ran.code, f"{BRAIN}.h5" in ran.err) == (9, True)
    assert {path.name for path in view.iterdir()} == {f"{LUNG}.h5"}


def test_failed_fetches_leave_no_broken_links(layered: AntsCache, figshare: StandIn, lower: Path) -> None:
    """Links to a lower cache that has gone are removed even if no origin delivers the files."""
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, LUNG)).succeeded().out)
    lower.rename(lower.parent / "elsewhere")
    origins = figshare.misbehaving_origins(Misbehaviour.MISSING)
    assert layered("prefetch", "0.3.2", *name(BRAIN), ANTSCACHE_ORIGINS=origins).code == 4
    assert {path.name for path in view.iterdir()} == {f"{LUNG}.h5"}


def test_a_lower_cache_that_has_moved_is_followed(layered: AntsCache, lower: Path) -> None:
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN)).succeeded().out)
    moved = lower.rename(lower.parent / "elsewhere")
    layered.environ["ANTSCACHE_SITE_DIRS"] = str(moved)
    assert "missing from the view" in layered("path", "0.3.2").err
    layered("prefetch", "0.3.2", *name(BRAIN), "--offline").succeeded()
    assert (view / f"{BRAIN}.h5").readlink().is_relative_to(moved)


def test_rm_removes_all_links_to_lower_caches(layered: AntsCache, figshare: StandIn, lower: Path) -> None:
    """Also those that lead to another cache by now, or to nothing."""
    view = antsxnet(layered("prefetch", "0.3.2", *name(BRAIN, TEMPLATE)).succeeded().out)
    second = made(figshare, lower.parent / "second", BRAIN)
    layered.environ["ANTSCACHE_SITE_DIRS"] = str(second)  # one that leads to another cache now, and one to nowhere
    shutil.copytree(lower, lower.parent / "kept")
    (view / f"{TEMPLATE}.nii.gz").readlink().unlink()
    ran = layered("rm", "0.3.2").succeeded()
    assert "kept" not in ran.err
    assert not view.exists()


# No writable upper cache


@pytest.mark.parametrize("unwritable", ["home", "unreadable", "root"])
def test_without_a_writable_root_lower_caches_serve(
    layered: AntsCache, lower: Path, tmp_path: Path, unprivileged: Callable[..., Ran], unwritable: str
) -> None:
    """Files that no lower cache has are an error that names them."""
    upper = tmp_path / "upper"
    upper.mkdir(mode=0o700 if unwritable == "unreadable" else 0o755)
    if unwritable == "root":
        layered("prefetch", "0.3.2", *name(LUNG), "--root", upper / "root").succeeded()
        layered("rm", "0.3.2", "--root", upper / "root").succeeded()
    environ = {"ANTSCACHE_DIR": upper / "root", "HOME": upper}
    ran = unprivileged("prefetch", "0.3.2", *name(BRAIN, TEMPLATE), **environ).succeeded()
    home = lower / "views/antspynet-0.3.2"
    assert ran.out == f"{home}\n"
    assert "nothing to fetch" in ran.err
    assert unprivileged("path", "0.3.2", **environ).succeeded().out == f"{home}\n"
    assert all(is_own(path, lower) for path in antsxnet(ran.out).iterdir())
    ran = unprivileged("prefetch", "0.3.2", *name(BRAIN, TRANSFORM), **environ)
    assert ran.code == 6
    assert f"missing: {TRANSFORM}.mat (1 of 2 files of antspynet==0.3.2)" in ran.err
    assert "hint: you have no permission: ask its owner, or name another root with --root" in ran.err
    ran = unprivileged("prefetch", "0.3.2", *name(BRAIN, TRANSFORM), "--offline", **environ)
    assert (ran.code, f"{TRANSFORM}.mat" in ran.err) == (9, True)


def test_a_read_only_root_may_have_lower_caches(layered: AntsCache, lower: Path, tmp_path: Path) -> None:
    """It serves the files that it or the lower cache holds."""
    if os.geteuid():
        cannot("no mounts here")
    upper = tmp_path / "upper"
    layered("prefetch", "0.3.2", *name(LUNG, BRAIN), "--root", upper).succeeded()
    if subprocess.run(["mount", "--bind", upper, upper], check=False, capture_output=True).returncode:
        cannot("no mounts here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", upper], check=True)
        ran = layered("prefetch", "0.3.2", *name(LUNG, BRAIN), "--root", upper).succeeded()
        assert Path(ran.out.strip()) == upper / "views/antspynet-0.3.2"
        ran = layered("prefetch", "0.3.2", *name(TRANSFORM), "--root", upper)
        assert (ran.code, "Read-only file system" in ran.err, f"{TRANSFORM}.mat" in ran.err) == (6, True, True)
        # Below, there is a view of all of it.
        ran = layered("prefetch", "0.3.2", *name(TEMPLATE), "--root", upper).succeeded()
        assert Path(ran.out.strip()) == lower / "views/antspynet-0.3.2"
    finally:
        subprocess.run(["umount", upper], check=True)


def test_manifests_of_lower_caches_are_found(layered: AntsCache, lower: Path) -> None:
    own = (Path(__file__).parents[2] / "antscache/catalog/manifests/antspynet-0.3.2.json").read_text()
    catalog = lower / "catalog"
    catalog.mkdir(exist_ok=True)
    (catalog / "antspynet-0.3.99.json").write_text(own.replace('"version":"0.3.2"', '"version":"0.3.99"'))
    layered("prefetch", "0.3.99", *name(BRAIN), "--offline").succeeded()


# Records


def say_otherwise(root: Path, number: str, content: bytes, trust: str) -> tuple[str, str]:
    """Let the record of `number` in `root` name other bytes, which are there; return the digests before and now."""
    path = root / f"identifiers/figshare/{number}.json"
    record = json.loads(path.read_text())
    with Store(root).ingest() as ingest:
        ingest.write(content)
        blob = ingest.publish()
    path.unlink()
    path.write_text(json.dumps({**record, "digest": blob.digest, "size": blob.size, "trust": trust}))
    return record["digest"], blob.digest


@pytest.mark.parametrize("own", ["mirror", "origin", "lockfile"])
@pytest.mark.parametrize("other", ["mirror", "origin", "lockfile", "sigstore"])
def test_a_lower_cache_displaces_no_verified_bytes(
    antscache: AntsCache, figshare: StandIn, lower: Path, own: str, other: str
) -> None:
    """It is an error that names both digests; nothing is changed, and `verify` and the doctor name it too."""
    number = NUMBERS[BRAIN]
    root = made(figshare, antscache.root, BRAIN)
    path = root / f"identifiers/figshare/{number}.json"
    record = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**record, "trust": own}))
    ours, theirs = say_otherwise(lower, number, figshare.content(NUMBERS[LUNG]), other)
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(lower)
    before = listing(root / "views")
    ran = antscache("prefetch", "0.3.2", *name(BRAIN))
    assert (ran.code, ours in ran.err, theirs in ran.err, str(lower) in ran.err) == (5, True, True, True)
    assert f"antscache forget figshare:{number}" in ran.err
    assert listing(root / "views") == before
    assert antscache("path", "0.3.2").succeeded().out.strip() == str(root / "views/antspynet-0.3.2")
    ran = antscache("verify")
    assert (ran.code, ours in ran.out, theirs in ran.out) == (5, True, True)
    findings = json.loads(antscache("doctor", "--json", "--offline").out)
    assert [one["level"] for one in findings if one["check"] == "records" and theirs in one["what"]] == ["error"]
    for verb in (["list"], ["status"], ["gc"], ["rm", "0.3.2"]):
        antscache(*verb).succeeded()


def test_disagreeing_lower_caches_are_named(
    antscache: AntsCache, figshare: StandIn, lower: Path, tmp_path: Path
) -> None:
    """The first one counts; `prefetch` says so, `verify` and the doctor too, until the wrong one is left out."""
    other = made(figshare, tmp_path / "other", BRAIN)
    digests = say_otherwise(other, NUMBERS[BRAIN], figshare.content(NUMBERS[LUNG]), "origin")
    antscache.environ["ANTSCACHE_SITE_DIRS"] = f"{lower}:{other}"
    ran = antscache("prefetch", "0.3.2", *name(BRAIN), "--offline").succeeded()
    assert (antsxnet(ran.out) / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])
    verified, doctor = antscache("verify"), json.loads(antscache("doctor", "--json", "--offline").out)
    assert (verified.code, "do as the findings say" in verified.err) == (5, True)
    [found] = [one["what"] for one in doctor if one["check"] == "records" and one["level"] == "error"]
    for text in ran.err, verified.out, found:
        assert all(word in text for word in (*digests, str(lower), str(other)))
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(lower)
    antscache("verify").succeeded()


def test_forget_gives_way_to_the_lower_cache(antscache: AntsCache, figshare: StandIn, lower: Path) -> None:
    made(figshare, antscache.root, BRAIN)
    say_otherwise(antscache.root, NUMBERS[BRAIN], figshare.content(NUMBERS[LUNG]), "mirror")
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(lower)
    assert antscache("prefetch", "0.3.2", *name(BRAIN)).code == 5
    antscache("forget", f"figshare:{NUMBERS[BRAIN]}").succeeded()
    view = antsxnet(antscache("prefetch", "0.3.2", *name(BRAIN), "--offline").succeeded().out)
    assert (view / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])


def test_trust_read_below_is_a_mirrors_at_most(
    layered: AntsCache, figshare: StandIn, lower: Path, tmp_path: Path
) -> None:
    """Also in the record that `adopt --move` copies from below."""
    files = tmp_path / "files"
    files.mkdir()
    (files / f"{BRAIN}.h5").write_bytes(figshare.content(NUMBERS[BRAIN]))
    assert {row["trust"] for row in layered("show", BRAIN, "--json").json} == {"mirror", None}
    layered("adopt", files, "--as", "0.3.2", "--move", "--offline").succeeded()
    path = f"identifiers/figshare/{NUMBERS[BRAIN]}.json"
    assert json.loads((lower / path).read_text())["trust"] == "origin"
    assert json.loads((layered.root / path).read_text())["trust"] == "mirror"


def test_a_lower_cache_displaces_a_users_word_aloud(layered: AntsCache, figshare: StandIn, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / f"{BRAIN}.h5").write_bytes(figshare.content(NUMBERS[LUNG]))
    layered(
        "adopt",
        files,
        "--as",
        "0.3.2",
        "--offline",
        "--identifier",
        f"{BRAIN}.h5={NUMBERS[BRAIN]}",
        "--site-dir",
        tmp_path,
    ).succeeded()
    ran = layered("prefetch", "0.3.2", *name(BRAIN), "--offline").succeeded()
    assert (antsxnet(ran.out) / f"{BRAIN}.h5").read_bytes() == figshare.content(NUMBERS[BRAIN])
    for content in (figshare.content(NUMBERS[LUNG]), figshare.content(NUMBERS[BRAIN])):
        assert descriptor_of(content).digest in ran.err
    layered("forget", f"figshare:{NUMBERS[BRAIN]}").succeeded()
    assert layered("prefetch", "0.3.2", *name(BRAIN), "--offline").succeeded().err.count("sha256:") == 0
