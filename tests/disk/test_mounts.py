"""In a container, only directories that outlive it get files, and a user's own mount is used."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BRAIN, HANG_SECONDS, SIZE, AntsCache, Ran, cannot, require
from support.upstreams import make

from antscache.cache import Cache
from antscache.disk.mounts import Mount, mount_of, parse_mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from antscache.testing import StandIn

TABLE = r"""22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=a
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 8:1 /srv /home/user/my\040data rw master:1 shared:2 - ext4 /dev/sda1 rw
25 22 0:22 / /run rw - tmpfs tmpfs rw
26 24 0:23 / /home/user/my\040data rw - nfs4 host:/srv rw
nothing of the kind
"""


def test_the_kernels_mount_table_is_read() -> None:
    """The octal escapes in the table are replaced, and lines of another form are skipped."""
    assert parse_mounts(TABLE)[2] == Mount("/home/user/my data", "ext4")
    assert len(parse_mounts(TABLE)) == 5


@pytest.mark.parametrize(
    ("path", "point", "type_"),
    [
        ("/etc", "/", "overlay"),
        ("/", "/", "overlay"),
        ("/run", "/run", "tmpfs"),
        ("/running", "/", "overlay"),
        ("/home/user/my data/below", "/home/user/my data", "nfs4"),  # the one mounted over the other
        ("/home/user", "/", "overlay"),
    ],
)
def test_a_path_is_on_its_deepest_mount(path: str, point: str, type_: str) -> None:
    """Of two mounts at one place, the last one counts."""
    assert mount_of(path, TABLE) == Mount(point, type_)


@given(st.text(max_size=300))
def test_an_odd_mount_table_is_no_error(table: str) -> None:
    assert mount_of("/a", table) is None or table


# For real: what stands for a container is a mount namespace whose directories are mounted as an engine mounts them.


@pytest.fixture
def contained(antscache: AntsCache, tmp_path: Path) -> Callable[..., Ran]:
    """antscache in a mount namespace, in which the shell command `mount` runs first; it may use $HOME and $DIR."""
    require("unshare")
    probe = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    if os.geteuid() != 0 or probe.returncode:
        cannot("no mount namespace can be made here")
    (tmp_path / "host").mkdir()
    (antscache.home / ".keras").mkdir()

    def run(mount: str, *arguments: str, **environ: str) -> Ran:
        environment = {**antscache.environment(ANTSCACHE_MOUNTED="1", DIR=tmp_path / "host", **environ)}
        if "ANTSCACHE_DIR" not in environ:
            del environment["ANTSCACHE_DIR"]
        command = ["unshare", "--mount", "sh", "-ec", f'{mount}\nexec "$@"', "sh", *antscache.command(*arguments)]
        done = subprocess.run(
            command,
            env=environment,
            cwd=antscache.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def test_a_mounted_keras_directory_gets_verified_files(
    contained: Callable[..., Ran], antscache: AntsCache, tmp_path: Path
) -> None:
    ran = contained("mount --bind $DIR $HOME/.keras", "prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert ran.out.strip() == f"{antscache.home}/.keras/antscache/views/antspynet-0.3.2"
    kept = tmp_path / "host/antscache"
    assert (kept / f"views/antspynet-0.3.2/.keras/ANTsXNet/{BRAIN}.h5").stat().st_size == 4000
    assert list((antscache.home / ".keras").iterdir()) == []  # in the container's own layer there is nothing
    again = contained("mount --bind $DIR $HOME/.keras", "prefetch", "0.3.2", "--name", BRAIN, "--offline").succeeded()
    assert again.out == ran.out
    (path,) = [path for path in (kept / "blobs/sha256").iterdir() if path.stat().st_size == 4000]
    path.chmod(0o644)
    path.write_bytes(b"x" * 4000)
    assert contained("mount --bind $DIR $HOME/.keras", "verify").code == 5


@pytest.mark.parametrize("mount", ["true", "mount -t tmpfs tmpfs $ANTSCACHE_DIR"])
def test_nothing_is_fetched_into_a_containers_layer(contained: Callable[..., Ran], mount: str) -> None:
    """Nothing is fetched into a container's own layer or a tmpfs, which are lost with the container."""
    root = Path(f"/antscache-test-{os.urandom(4).hex()}")  # on the mount at /, as a container's own layer is
    if not os.access("/", os.W_OK):
        cannot("/ cannot be written to")
    findmnt = subprocess.run(["findmnt", "-no", "TARGET", "-T", "/"], capture_output=True, text=True, check=False)
    assert findmnt.stdout.strip() == "/"
    root.mkdir()
    try:
        ran = contained(mount, "prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_DIR=str(root))
        assert ran.code == 6
        assert f"{BRAIN}.h5" in ran.err
        assert f"`docker run -v DIR:{root} ...`" in ran.err
        assert list(root.iterdir()) == []
        mounted = f"mount --bind $DIR {root}"
        contained(mounted, "prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_DIR=str(root)).succeeded()
        assert list(root.iterdir()) == []
    finally:
        root.rmdir()


def test_an_unwritable_mount_is_named(contained: Callable[..., Ran], antscache: AntsCache) -> None:
    """The hint is not to mount a directory: one is mounted. The doctor does not send to prefetch, which refuses."""
    root = f"/antscache-test-{os.urandom(4).hex()}"
    read_only = "mount --bind $DIR $HOME/.keras; mount -o remount,bind,ro $HOME/.keras"
    ran = contained(read_only, "prefetch", "0.3.2", "--name", BRAIN, XDG_CACHE_HOME=root)
    assert ran.code == 6
    assert f"nothing is fetched into {antscache.home}/.keras, because you may not write there" in ran.err
    assert "docker run --user $(id -u):$(id -g)" in ran.err
    doctor = contained(read_only, "doctor", "--offline", XDG_CACHE_HOME=root).out
    assert "prefetch creates it" not in doctor
    assert f"mount a directory at {root}" in doctor


@pytest.mark.parametrize("writable", ["", "mount -o remount,bind,ro $HOME/.keras"])
def test_offline_whole_files_in_a_mount_are_used(
    contained: Callable[..., Ran], antscache: AntsCache, figshare: StandIn, tmp_path: Path, writable: str
) -> None:
    """If nothing can be fetched, a whole file in a user's mount is used, and a cut one is not."""
    mount = f"mount --bind $DIR $HOME/.keras; {writable}"
    upstream = make(tmp_path / "upstream", "0.3.2")

    def ask() -> Ran:
        return contained(mount, "hook", "fetch", "antspynet", str(upstream.directory), "network", BRAIN, "--offline")

    assert ask().code == 9
    theirs = tmp_path / f"host/ANTsXNet/{BRAIN}.h5"
    theirs.parent.mkdir()
    content = figshare.content("34821874")
    theirs.write_bytes(content[:-1])
    assert ask().code == 9  # it is cut
    theirs.write_bytes(content)
    ran = ask().succeeded()
    path = antscache.home / f".keras/ANTsXNet/{BRAIN}.h5"
    assert [(row["path"], row["size"]) for row in ran.json] == [(str(path), SIZE)]
    assert f"note: {path} is used as it is" in ran.err


def test_other_bytes_in_a_mount_are_not_used(contained: Callable[..., Ran], figshare: StandIn, tmp_path: Path) -> None:
    """A file in a user's mount is not used if its bytes differ from the recorded ones."""
    lower, upstream = tmp_path / "lower", make(tmp_path / "upstream", "0.3.2")
    cache = Cache.open(lower, origins=figshare.origins.split())
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    [blob] = [path for path in (lower / "blobs/sha256").iterdir() if path.stat().st_size == SIZE]
    blob.unlink()
    theirs = tmp_path / f"host/ANTsXNet/{BRAIN}.h5"
    theirs.parent.mkdir()
    ask = ["hook", "fetch", "antspynet", str(upstream.directory), "network", BRAIN, "--offline"]
    for number, code in ("34792930", 9), ("34821874", 0):  # as 0.1.7 has it; as it should be
        theirs.write_bytes(figshare.content(number))
        ran = contained("mount --bind $DIR $HOME/.keras", *ask, ANTSCACHE_SITE_DIRS=str(lower))
        assert ran.code == code, ran.err


def test_outside_containers_only_verified_files_are_used(
    antscache: AntsCache, figshare: StandIn, tmp_path: Path
) -> None:
    theirs = antscache.home / f".keras/ANTsXNet/{BRAIN}.h5"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(figshare.content("34821874"))
    upstream = make(tmp_path / "upstream", "0.3.2")
    ask = ["hook", "fetch", "antspynet", str(upstream.directory), "network", BRAIN, "--offline"]
    assert antscache(*ask).code == 9
    antscache(*ask, ANTSCACHE_MOUNTED="1").succeeded()
