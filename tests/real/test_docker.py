"""Images of the real ANTsPyNet: built by the real recipes, run by Docker without a network, as any user."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest
from images import ASK, NAMES, OTHER, Docker, Image, docker, files, mounted, plain, with_data
from support import BRAIN, LUNG, TEMPLATE, AntsCache, Ran, snapshot
from upstream import HERE, RELEASE, cut_off, python, weights

from antscache.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.testing import StandIn

__all__ = ["cut_off", "docker", "files", "plain", "python", "weights", "with_data"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.xdist_group("images"), pytest.mark.timeout(1800)]

WRITABLE, KERAS = "/var/cache/antscache", "/home/antspyuser/.keras"
BAKED, HELD = "/opt/antscache/views/antspynet-0.3.2", f"{WRITABLE}/views/antspynet-0.3.2"
SCRIPTS = mounted(HERE, "/scripts", read_only=True)
SHAPES = {"brain": (1, 40, 48, 40), "lung": (3, 120, 100)}
ANYBODY = ["--read-only", "--user", OTHER]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory that any user of a container may write to."""
    directory = tmp_path / "out"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def extracts(image: Image, organ: str, out: Path, *options: str | Path) -> None:
    """Run the real function in a container, as a user without a name, who can write to `out` only."""
    given = [*ANYBODY, *SCRIPTS, *mounted(out, "/out"), *options]
    image.run("/scripts/extract.py", organ, "/out/found.npy", options=given).succeeded()
    found = np.load(out / "found.npy")
    assert found.shape == SHAPES[organ]
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0


def path(ran: Ran) -> str:
    """Return the path that the program has printed last; TensorFlow may print other lines before."""
    return ran.succeeded().out.splitlines()[-1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, files: StandIn) -> Path:
    """A host's cache with the files of the two functions, which any user may read."""
    root = tmp_path_factory.mktemp("cache") / "root"
    opened = Cache.open(root, origins=files.origins.split())
    opened.prefetch(opened.plan(RELEASE, names=NAMES))
    for directory in root.parents[:3]:
        directory.chmod(0o755)
    return root


# With data


@pytest.mark.parametrize("organ", SHAPES)
def test_function_runs_read_only_without_a_network(with_data: Image, out: Path, organ: str) -> None:
    """With the image that has data."""
    extracts(with_data, organ, out)


def test_the_data_passes_verify_inside(with_data: Image) -> None:
    for user in "antspyuser", "root", OTHER:
        assert "blobs read" in with_data.antscache("verify", options=["--read-only", "--user", user]).succeeded().err
    listed = with_data.antscache("list", "--json").succeeded().json
    assert {each["release"]: each["present"] for each in listed} == {RELEASE: len(NAMES), "antspyx==0.6.3": 9}


def test_doctor_finds_nothing_wrong_with_an_image(with_data: Image) -> None:
    for user in "antspyuser", "root", OTHER:
        ran = with_data.antscache("doctor", "--offline", options=["--user", user])
        assert ran.code == 0
        assert not {"warning", "error"} & {line.split()[0] for line in ran.out.splitlines() if not line.startswith(" ")}


def test_image_has_labels_of_its_data(docker: Docker, with_data: Image) -> None:
    [found] = docker("image", "inspect", with_data.tag).succeeded().json
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "0.3.2"
    assert labels["org.antsx.antsxnet.release"] == RELEASE
    assert labels["org.antsx.antsxnet.selection"].split() == list(NAMES)


def test_home_shows_the_same_files(with_data: Image) -> None:
    ran = with_data.run(
        "-c", f"import os; print(os.path.realpath('{KERAS}/ANTsXNet'), *os.listdir('{KERAS}/ANTsXNet'))"
    )
    assert path(ran).split()[0] == f"{BAKED}/.keras/ANTsXNet"
    assert f"{BRAIN}.h5" in path(ran).split()


def test_missing_file_error_names_the_mount(with_data: Image) -> None:
    ran = with_data.get("mriSuperResolution", "--user", OTHER)
    assert ran.code == 1
    assert "antscache_getters.AntsCacheError" in ran.err
    assert "missing: mriSuperResolution.h5 (antspynet==0.3.2)" in ran.err
    assert f"docker run -v DIR:{WRITABLE}" in ran.err


@pytest.mark.parametrize(
    "leaked",
    [
        {"ANTSCACHE_DIR": "/scratch/me/antscache"},
        {"ANTSCACHE_SITE_DIRS": "/cvmfs/lab/antscache", "XDG_CONFIG_DIRS": "/etc/of/the/host"},
        {"ANTSCACHE_COMMAND": '["/opt/venv/bin/antscache"]', "PYTHONPATH": "/opt/venv/antscache/inject"},
        {"HOME": "/home/me", "XDG_CACHE_HOME": "/scratch/cache"},
    ],
    ids=lambda leaked: next(iter(leaked)),
)
def test_host_variables_do_not_displace_the_data(with_data: Image, leaked: dict[str, str]) -> None:
    variables = [word for name, value in leaked.items() for word in ("--env", f"{name}={value}")]
    assert path(with_data.get(BRAIN, *variables, "--user", OTHER)).startswith(BAKED)


def test_data_enlarge_the_image_by_their_size(plain: Image, with_data: Image, files: StandIn) -> None:
    data = sum(len(files.content(number)) for number in ("34821874", "22597175", "41965818", "41965815"))
    assert data <= with_data.size() - plain.size() < data + 5_000_000


# Without data


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_functions_run_from_a_mounted_cache(plain: Image, cache: Path, out: Path, *, read_only: bool) -> None:
    """With the image without data."""
    for organ in SHAPES:
        extracts(plain, organ, out, *mounted(cache, WRITABLE, read_only=read_only))


@pytest.mark.parametrize("options", [[], ["--user", "root"], ANYBODY], ids=" ".join)
def test_no_data_and_no_cache_is_an_error(plain: Image, options: list[str]) -> None:
    ran = plain.get(BRAIN, *options)
    assert ran.code == 1
    assert f"missing: {BRAIN}.h5 (antspynet==0.3.2)" in ran.err
    assert f"docker run -v DIR:{WRITABLE}" in ran.err


def test_missing_files_are_fetched_into_the_mounted_cache(plain: Image, files: StandIn, out: Path) -> None:
    options = [*ANYBODY, "--env", f"ANTSCACHE_ORIGINS={files.origins}", *mounted(out, WRITABLE)]
    fetched = path(plain.run("-c", ASK.format(BRAIN), options=options, network="host"))
    assert fetched.startswith(HELD)
    assert path(plain.get(BRAIN, *ANYBODY, *mounted(out, WRITABLE, read_only=True))) == fetched


def test_empty_mount_over_keras_gets_verified_files(
    plain: Image, files: StandIn, antscache: AntsCache, out: Path
) -> None:
    options = ["--env", f"ANTSCACHE_ORIGINS={files.origins}", *mounted(out, KERAS)]
    fetched = path(plain.run("-c", ASK.format(BRAIN), options=options, network="host"))
    assert fetched.startswith(f"{KERAS}/antscache/views/antspynet-0.3.2/")
    antscache("verify", "--root", out / "antscache").succeeded()
    for read_only in False, True:
        assert path(plain.get(BRAIN, *mounted(out, KERAS, read_only=read_only))) == fetched


@pytest.fixture
def linked(antscache: AntsCache, cache: Path, tmp_path: Path) -> Path:
    """A `.keras` with a release's files, as upstream's image needs it."""
    home = tmp_path / "linked"
    antscache("link", RELEASE, "--home", home, "--mode", "copy", "--root", cache).succeeded()
    for directory in home, home / ".keras", home / ".keras/ANTsXNet":
        directory.chmod(0o777)
    return home / ".keras"


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_filled_mount_over_keras_is_used(plain: Image, linked: Path, *, read_only: bool) -> None:
    """A note says so."""
    before = snapshot(linked / "ANTsXNet")
    ran = plain.get(BRAIN, *mounted(linked, KERAS, read_only=read_only))
    assert path(ran) == f"{KERAS}/ANTsXNet/{BRAIN}.h5"
    assert f"{BRAIN}.h5 is used as it is" in ran.err
    assert snapshot(linked / "ANTsXNet") == before


# Volumes


@pytest.fixture
def volume(docker: Docker) -> Iterator[str]:
    name = f"antscache-test-{uuid.uuid4().hex[:8]}"
    docker("volume", "create", name).succeeded()
    yield name
    docker("volume", "rm", name)


def at(volume: str, destination: str = WRITABLE) -> list[str]:
    return ["--mount", f"source={volume},destination={destination}"]


def test_two_users_share_a_volume(plain: Image, files: StandIn, volume: str) -> None:
    options = [*at(volume), "--env", f"ANTSCACHE_ORIGINS={files.origins}", "--user", OTHER]
    plain.antscache("prefetch", RELEASE, "--name", BRAIN, options=options, network="host").succeeded()
    for user in "4343:4343", "antspyuser", "root":
        assert path(plain.get(BRAIN, *at(volume), "--user", user)).startswith(HELD)


def test_volume_is_filled_from_the_image(plain: Image, with_data: Image, volume: str) -> None:
    """With the image that has data."""
    with_data.run("-c", "pass", options=at(volume, "/opt/antscache")).succeeded()
    assert path(plain.get(BRAIN, *at(volume), *ANYBODY)).startswith(HELD)


def test_volume_is_filled_by_docker_cp(docker: Docker, plain: Image, cache: Path, volume: str) -> None:
    container = docker("create", "--network", "none", *at(volume), plain.tag).succeeded().out.strip()
    docker("cp", f"{cache}/.", f"{container}:{WRITABLE}").succeeded()
    docker("rm", container).succeeded()
    assert path(plain.get(BRAIN, *at(volume), *ANYBODY)).startswith(HELD)


def test_old_volume_hides_no_newer_data(with_data: Image, volume: str, files: StandIn) -> None:
    options = [*at(volume), "--env", f"ANTSCACHE_ORIGINS={files.origins}"]
    with_data.antscache("prefetch", "antspynet==0.2.9", "--name", BRAIN, options=options, network="host").succeeded()
    assert path(with_data.get(LUNG, *at(volume), *ANYBODY)).startswith(BAKED)


# Commands of upstream's images


def test_pip_freeze_lists_the_release_in_an_image(plain: Image) -> None:
    assert "antspynet==0.3.2" in plain.run("-m", "pip", "freeze").succeeded().out


def test_antspys_example_data_is_in_every_image(plain: Image) -> None:
    code = "import ants, os; print(len(os.listdir('/home/antspyuser/.antspy')), ants.get_data('r16'))"
    for user in "antspyuser", OTHER:
        ran = plain.run("-c", code, options=["--user", user, "--read-only"])
        assert path(ran) == "9 /opt/antscache-examples/views/antspyx-0.6.3/.antspy/r16slice.jpg"


def test_upstreams_download_script_fills_a_directory(plain: Image, files: StandIn, out: Path) -> None:
    (out / "names.txt").write_text(f"{TEMPLATE}\n")
    script = ["/opt/bin/download_antsxnet_data.py", "--cache-dir", "/data", "--data-key-file", "/data/names.txt"]
    options = ["--env", f"ANTSCACHE_ORIGINS={files.origins}", *mounted(out, "/data")]
    ran = plain.run(*script, "--strict", "--verbose", options=options, network="host")
    assert path(ran) == f"/data/{TEMPLATE}.nii.gz"
    assert (out / f"{TEMPLATE}.nii.gz").read_bytes() == files.content("22597175")


def test_derived_image_bakes_by_upstreams_script(plain: Image, files: StandIn, tmp_path: Path) -> None:
    (tmp_path / "selected_data.txt").write_text(f"{TEMPLATE}\n")
    (tmp_path / "selected_networks.txt").write_text(f"{BRAIN}\n")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {plain.tag}\nUSER root\nARG ANTSCACHE_ORIGINS\nCOPY *.txt ./\n"
        "RUN /opt/bin/get_antsxnet_data.py /home/antspyuser/.keras 1 selected_data.txt selected_networks.txt\n"
        "USER antspyuser\n"
    )
    derived = Image(plain.docker, "antscache-test:derived")
    plain.docker.build(derived.tag, files.origins, {}, recipe="Dockerfile", context=tmp_path).succeeded()
    try:
        assert f"/{BRAIN}.h5" in path(derived.get(BRAIN, *ANYBODY))
        assert derived.get(LUNG).code == 1
    finally:
        plain.docker("rmi", derived.tag)
