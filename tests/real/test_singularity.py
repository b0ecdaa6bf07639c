"""Images of the real ANTsPyNet under Singularity or Apptainer: built by the real recipe, run in each kind of home."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from images import NAMES, docker, files, plain
from sifs import NOBODY, Sif, built, place, sif, sif_with_data
from support import BRAIN, LUNG, TEMPLATE, AntsCache
from upstream import HERE, RELEASE, cut_off, python, weights

from antscache.cache import Cache
from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from antscache.testing import StandIn

__all__ = ["cut_off", "docker", "files", "place", "plain", "python", "sif", "sif_with_data", "weights"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.xdist_group("images"), pytest.mark.timeout(1800)]

WRITABLE, BAKED = "/var/cache/antscache", "/opt/antscache/views/antspynet-0.3.2"


@pytest.fixture(scope="module")
def cache(place: Path, files: StandIn) -> Path:
    """A host's cache with the files of the two functions."""
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
    """Run the real function, and check its result."""
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


def test_function_runs_in_every_home(
    sif_with_data: Path, everybodys: Path, who: tuple[str, ...], home: tuple[str, ...]
) -> None:
    """With the image that has data."""
    extracts(Sif(sif_with_data, who), everybodys, *home)


def test_function_runs_from_a_bound_cache(
    sif: Path, cache: Path, everybodys: Path, who: tuple[str, ...], home: tuple[str, ...]
) -> None:
    """In every home, with the image without data."""
    extracts(Sif(sif, who), everybodys, *home, "--bind", f"{cache}:{WRITABLE}:ro")


def test_the_data_passes_verify_inside(sif_with_data: Path, who: tuple[str, ...]) -> None:
    ran = Sif(sif_with_data, who)("exec", "antscache", "verify").succeeded()
    assert "blobs read" in ran.err
    Sif(sif_with_data, who)("test").succeeded()


def test_neither_data_nor_cache_is_an_error(sif: Path, who: tuple[str, ...]) -> None:
    ran = Sif(sif, who).get(BRAIN, "--containall", "--no-home", "--home", "/home/antspyuser")
    assert ran.code == 1
    assert f"missing: {BRAIN}.h5 (antspynet==0.3.2)" in ran.err
    assert f"apptainer run --bind DIR:{WRITABLE}" in ran.err


def test_host_variables_displace_no_data_or_cache(sif_with_data: Path, sif: Path, cache: Path) -> None:
    leaked = {
        "ANTSCACHE_DIR": "/scratch/me/antscache",
        "ANTSCACHE_SITE_DIRS": "/cvmfs/lab/antscache",
        "ANTSCACHE_COMMAND": '["/opt/venv/bin/antscache"]',
        "XDG_CONFIG_DIRS": "/etc/of/the/host",
    }
    assert Sif(sif_with_data, NOBODY).get(BRAIN, **leaked).succeeded().out.splitlines()[-1].startswith(BAKED)
    ran = Sif(sif, NOBODY).get(BRAIN, "--bind", f"{cache}:{WRITABLE}:ro", **leaked).succeeded()
    assert ran.out.splitlines()[-1].startswith(f"{WRITABLE}/views/")


def test_data_file_is_used_like_baked_data(
    sif: Path, antscache: AntsCache, cache: Path, everybodys: Path, who: tuple[str, ...]
) -> None:
    data = everybodys / "data.sqsh"
    antscache("export", RELEASE, data, "--root", cache).succeeded()
    options = ("--bind", f"{data}:/opt/antscache:image-src=/", "--home", "/home/antspyuser")
    extracts(Sif(sif, who), everybodys, *options)
    Sif(sif, who)("exec", "antscache", "verify", RELEASE, options=options).succeeded()


def test_missing_files_are_fetched_into_the_bound_cache(sif: Path, files: StandIn, everybodys: Path) -> None:
    bound = ("--bind", f"{everybodys}:{WRITABLE}")
    fetched = Sif(sif, NOBODY).get(BRAIN, "host", *bound, ANTSCACHE_ORIGINS=files.origins).succeeded()
    again = Sif(sif, NOBODY).get(BRAIN, *bound).succeeded()
    assert fetched.out.splitlines()[-1] == again.out.splitlines()[-1]
    assert again.out.splitlines()[-1].startswith(f"{WRITABLE}/views/antspynet-0.3.2/")


def test_upstreams_download_script_fills_a_directory(
    sif: Path, files: StandIn, everybodys: Path, who: tuple[str, ...]
) -> None:
    (everybodys / "names.txt").write_text(f"{TEMPLATE}\n")
    (everybodys / "names.txt").chmod(0o644)
    script = ["/opt/bin/download_antsxnet_data.py", "--cache-dir", "/data", "--data-key-file", "/data/names.txt"]
    bound = ("host", "--bind", f"{everybodys}:/data")
    Sif(sif, who)("run", *script, options=bound, ANTSCACHE_ORIGINS=files.origins).succeeded()
    assert (everybodys / f"{TEMPLATE}.nii.gz").read_bytes() == files.content("22597175")


def test_arguments_reach_the_program_as_they_are(sif_with_data: Path) -> None:
    text = "$HOME `id` \\ 'a b' \"c\" *"
    ran = Sif(sif_with_data)("run", "-c", "import sys; print(sys.argv[1])", text).succeeded()
    assert ran.out == f"{text}\n"


def test_wrong_file_fails_the_build(sif: Path, place: Path, files: StandIn) -> None:
    """No image is left."""
    files.misbehave("35290684", Misbehaviour.CORRUPT)
    file = place / "wrong.sif"
    data = {"install_antsxnet_data": "1", "ANTSXNET_NAMES": "mriSuperResolution", "ANTSCACHE_ORIGINS": files.origins}
    try:
        ran = built(file, BOOTSTRAP="localimage", FROM=str(sif), **data)
    finally:
        files.behave("35290684")
    assert ran.code != 0
    assert "mriSuperResolution.h5" in ran.err + ran.out
    assert not file.exists()
