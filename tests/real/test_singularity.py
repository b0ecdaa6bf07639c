"""Images of the real ANTsPyNet under Singularity or Apptainer: built by the real recipe, run in every home there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import BRAIN, LUNG, REPOSITORY, TEMPLATE, AntsCache, Ran, cannot, require
from images import ASK, BUILDING, NAMES, RUNNING, docker, files, plain
from upstream import HERE, RELEASE, cut_off, python, weights

from antscache.cache import Cache
from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from images import Image

    from antscache.testing import StandIn

__all__ = ["cut_off", "docker", "files", "plain", "python", "weights"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.xdist_group("images"), pytest.mark.timeout(1800)]

RECIPE = "singularity/antspynet.def"
WRITABLE, BAKED = "/var/cache/antscache", "/opt/antscache/views/antspynet-0.3.2"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
PRIVATE = ("--net", "--network", "none")
FAST = "-noD -noF -noI -noX"  # what is built for a test is not worth compressing


@dataclass(frozen=True)
class Sif:
    """An image in a file, and who runs it."""

    file: Path
    who: tuple[str, ...] = ()

    def __call__(self, verb: str, *command: str, options: tuple[str, ...] = (), **environ: str) -> Ran:
        """`apptainer VERB` of this image, without a network unless the options say otherwise."""
        given = options if "--net" in options or "host" in options else (*PRIVATE, *options)
        given = tuple(word for word in given if word != "host")
        line = [*self.who, "apptainer", verb, *(() if self.who else ("--no-privs",)), *given, self.file, *command]
        kept = {key: value for key, value in os.environ.items() if key.startswith(("PATH", "APPTAINER"))}
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            check=False,
            env={**kept, "HOME": "/nonexistent" if self.who else "/root", **environ},
            cwd="/",
            timeout=RUNNING,
            stdin=subprocess.DEVNULL,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def get(self, network: str, *options: str, **environ: str) -> Ran:
        """Have ANTsPyNet ask for the file of a network and print where it is."""
        return self("run", "-c", ASK.format(network), options=options, **environ)


def built(file: Path, **arguments: str) -> Ran:
    """Build the recipe."""
    told = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    fakeroot = ["--fakeroot"] if os.geteuid() == 0 else []
    done = subprocess.run(
        ["apptainer", "build", *fakeroot, "--mksquashfs-args", FAST, *told, file, RECIPE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILDING,
        stdin=subprocess.DEVNULL,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user may look into, unlike pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="antscache-singularity-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def without_data(plain: Image, place: Path) -> Path:
    require("apptainer")
    if subprocess.run([*NOBODY, "true"], check=False).returncode:
        cannot("tests cannot run programs as another user here")
    file = place / "plain.sif"
    built(file, BOOTSTRAP="docker-daemon", FROM=plain.tag).succeeded()
    return file


@pytest.fixture(scope="module")
def with_data(without_data: Path, place: Path, files: StandIn) -> Path:
    file = place / "with-data.sif"
    data = {"install_antsxnet_data": "1", "ANTSXNET_NAMES": " ".join(NAMES), "ANTSCACHE_ORIGINS": files.origins}
    built(file, BOOTSTRAP="localimage", FROM=str(without_data), **data).succeeded()
    return file


@pytest.fixture(scope="module")
def cache(place: Path, files: StandIn) -> Path:
    """A host's cache that has what the two functions ask for."""
    opened = Cache.open(place / "root", origins=files.origins.split())
    opened.prefetch(opened.plan(RELEASE, names=NAMES))
    return place / "root"


@pytest.fixture(params=[(), NOBODY], ids=["root", "nobody"])
def who(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def everybodys(place: Path) -> Path:
    """A directory that anybody may write to."""
    directory = Path(tempfile.mkdtemp(dir=place))
    directory.chmod(0o777)
    return directory


@pytest.fixture
def linked(everybodys: Path, antscache: AntsCache, cache: Path) -> Path:
    """A home that `antscache link` has made."""
    home = everybodys / "linked"
    antscache("link", RELEASE, "--home", home, "--mode", "copy", "--root", cache).succeeded()
    for directory in home, *home.rglob("*"):
        directory.chmod(0o777 if directory.is_dir() else 0o644)
    return home


def extracts(image: Sif, out: Path, *options: str) -> None:
    """The real function runs."""
    script = [f"{HERE}/extract.py", "lung", f"{out}/found.npy"]
    image("run", *script, options=("--bind", f"{HERE}:{HERE}:ro", "--bind", f"{out}:{out}", *options)).succeeded()
    found = np.load(out / "found.npy")
    assert found.shape == (3, 120, 100)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)


HOMES = {
    "the home of the image's user, which hides what is below": "--home /home/antspyuser",
    "one that antscache has linked": "--home {linked}:/home/antspyuser",
    "the user's own, with files of another release": "--home {own}",
    "upstream's": "--containall --no-home --home /home/antspyuser",
}


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest, everybodys: Path, linked: Path) -> tuple[str, ...]:
    """The options that give a container its home."""
    wrong = everybodys / f"own/.keras/ANTsXNet/{LUNG}.h5"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"cut, or other bytes under the same name")
    for directory in wrong.parents[:3]:
        directory.chmod(0o777)
    return tuple(word.format(linked=linked, own=everybodys / "own") for word in HOMES[request.param].split())


def test_with_data_the_real_function_runs_in_every_home(
    with_data: Path, everybodys: Path, who: tuple[str, ...], home: tuple[str, ...]
) -> None:
    extracts(Sif(with_data, who), everybodys, *home)


def test_without_data_the_real_function_runs_in_every_home_from_a_bound_cache(
    without_data: Path, cache: Path, everybodys: Path, who: tuple[str, ...], home: tuple[str, ...]
) -> None:
    extracts(Sif(without_data, who), everybodys, *home, "--bind", f"{cache}:{WRITABLE}:ro")


def test_the_data_passes_verify_inside(with_data: Path, who: tuple[str, ...]) -> None:
    ran = Sif(with_data, who)("exec", "antscache", "verify").succeeded()
    assert "blobs read" in ran.err
    Sif(with_data, who)("test").succeeded()


def test_without_data_and_a_cache_there_is_a_clear_error(without_data: Path, who: tuple[str, ...]) -> None:
    ran = Sif(without_data, who).get(BRAIN, "--containall", "--no-home", "--home", "/home/antspyuser")
    assert ran.code == 1
    assert f"missing of antspynet==0.3.2: {BRAIN}.h5" in ran.err
    assert f"apptainer run --bind DIR:{WRITABLE}" in ran.err


def test_what_leaks_in_from_a_host_displaces_neither_the_data_nor_a_bound_cache(
    with_data: Path, without_data: Path, cache: Path, who: tuple[str, ...]
) -> None:
    leaked = {
        "ANTSCACHE_DIR": "/scratch/me/antscache",
        "ANTSCACHE_SITE_DIRS": "/cvmfs/lab/antscache",
        "ANTSCACHE_COMMAND": '["/opt/venv/bin/antscache"]',
        "XDG_CONFIG_DIRS": "/etc/of/the/host",
    }
    assert Sif(with_data, who).get(BRAIN, **leaked).succeeded().out.splitlines()[-1].startswith(BAKED)
    ran = Sif(without_data, who).get(BRAIN, "--bind", f"{cache}:{WRITABLE}:ro", **leaked).succeeded()
    assert ran.out.splitlines()[-1].startswith(f"{WRITABLE}/views/")


def test_data_in_a_file_of_its_own_is_used_where_an_image_has_its(
    without_data: Path, antscache: AntsCache, cache: Path, everybodys: Path, who: tuple[str, ...]
) -> None:
    data = everybodys / "data.sqsh"
    antscache("export", RELEASE, data, "--root", cache).succeeded()
    options = ("--bind", f"{data}:/opt/antscache:image-src=/", "--home", "/home/antspyuser")
    extracts(Sif(without_data, who), everybodys, *options)
    assert Sif(without_data, who).get(BRAIN, *options).succeeded().out.splitlines()[-1].startswith(BAKED)
    Sif(without_data, who)("exec", "antscache", "verify", RELEASE, options=options).succeeded()


def test_what_is_missing_is_fetched_into_the_cache_that_is_bound(
    without_data: Path, files: StandIn, everybodys: Path, who: tuple[str, ...]
) -> None:
    bound = ("--bind", f"{everybodys}:{WRITABLE}")
    fetched = Sif(without_data, who).get(BRAIN, "host", *bound, ANTSCACHE_ORIGINS=files.origins).succeeded()
    again = Sif(without_data, who).get(BRAIN, *bound).succeeded()
    assert fetched.out.splitlines()[-1] == again.out.splitlines()[-1]
    assert again.out.splitlines()[-1].startswith(f"{WRITABLE}/views/antspynet-0.3.2/")


def test_upstreams_download_script_fills_a_directory(
    without_data: Path, files: StandIn, everybodys: Path, who: tuple[str, ...]
) -> None:
    (everybodys / "names.txt").write_text(f"{TEMPLATE}\n")
    (everybodys / "names.txt").chmod(0o644)
    script = ["/opt/bin/download_antsxnet_data.py", "--cache-dir", "/data", "--data-key-file", "/data/names.txt"]
    bound = ("host", "--bind", f"{everybodys}:/data")
    Sif(without_data, who)("run", *script, options=bound, ANTSCACHE_ORIGINS=files.origins).succeeded()
    assert (everybodys / f"{TEMPLATE}.nii.gz").read_bytes() == files.content("22597175")


def test_arguments_reach_the_program_as_they_are(with_data: Path) -> None:
    text = "$HOME `id` \\ 'a b' \"c\" *"
    ran = Sif(with_data)("run", "-c", "import sys; print(sys.argv[1])", text).succeeded()
    assert ran.out == f"{text}\n"


def test_a_wrong_file_fails_the_build_and_leaves_no_image(without_data: Path, place: Path, files: StandIn) -> None:
    files.misbehave("35290684", Misbehaviour.WRONG_TYPE)
    file = place / "wrong.sif"
    data = {"install_antsxnet_data": "1", "ANTSXNET_NAMES": "mriSuperResolution", "ANTSCACHE_ORIGINS": files.origins}
    try:
        ran = built(file, BOOTSTRAP="localimage", FROM=str(without_data), **data)
    finally:
        files.behave("35290684")
    assert ran.code != 0
    assert "mriSuperResolution.h5" in ran.err + ran.out
    assert not file.exists()
