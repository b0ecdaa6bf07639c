"""The real ANTsPyNet, unmodified and in a Python of its own, finds its files in a view instead of downloading them.

Its networks are stand-ins of its own making, small and meaningless: `make_weights.py`. antscache fetches them over HTTP
from a stand-in for Figshare; then ANTsPyNet runs with no network at all, in a network namespace that has no route.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from support import BRAIN, LUNG, TEMPLATE
from upstream import HERE, RELEASE, TENSORFLOW, VENV, ANTsPyNet, antspynet, cut_off, figshare, python, run, weights

from antscache.core import digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from support import AntsCache

    from antscache.testing import StandIn

__all__ = ["antspynet", "cut_off", "figshare", "python", "weights"]  # fixtures

# One process for all of them; the first test of all installs 2.7 GB.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

OLD = "antspynet==0.1.7"  # with other bytes behind one name
PRIORS = "xrayLungPriors"


def prefetched(antscache: AntsCache, release: str, *names: str) -> Path:
    """Prefetch some names of a release, and return the home that antscache prints."""
    chosen = [argument for name in names for argument in ("--name", name)]
    return Path(antscache("prefetch", release, *chosen).succeeded().out.strip())


def present(antscache: AntsCache, release: str) -> set[str]:
    entries = antscache("list", release, "--json").succeeded().json
    return {entry["name"] for entry in entries if entry["status"] == "present"}


def read(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def identity(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[key] for key in ("kind", "name", "file", "identifier"))


def assert_probabilities(found: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    assert found.shape == shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0


def test_the_cut_off_network_reaches_nothing(cut_off: tuple[str, ...], figshare: StandIn, tmp_path: Path) -> None:
    server = urlsplit(figshare.url)
    connect = f"import socket; socket.create_connection(({server.hostname!r}, {server.port})).close()"
    run(sys.executable, "-c", connect, home=tmp_path).succeeded()
    ran = run(*cut_off, sys.executable, "-c", connect, home=tmp_path)
    assert ran.code != 0
    assert "Network is unreachable" in ran.err


def test_brain_extraction_uses_files_of_the_view(
    antspynet: ANTsPyNet, antscache: AntsCache, figshare: StandIn, tmp_path: Path
) -> None:
    """It leaves them unchanged."""
    home = prefetched(antscache, RELEASE, BRAIN, TEMPLATE)
    outputs = [tmp_path / "first.npy", tmp_path / "second.npy"]
    for output in outputs:
        antspynet.extract("brain", home, output).succeeded()
    first, second = map(np.load, outputs)
    assert_probabilities(first, (1, 40, 48, 40))
    assert np.array_equal(first, second)
    assert read(home / ".keras/ANTsXNet") == {
        f"{BRAIN}.h5": figshare.content("34821874"),
        f"{TEMPLATE}.nii.gz": figshare.content("22597175"),
    }
    assert present(antscache, RELEASE) == {BRAIN, TEMPLATE}


def test_one_call_runs_on_what_for_fetches(
    antspynet: ANTsPyNet, antscache: AntsCache, figshare: StandIn, tmp_path: Path
) -> None:
    """Offline, after `prefetch --for` alone; the citations of its record and of its lockfile name the same bytes."""
    antscache.environ |= TENSORFLOW
    antscache("prefetch", RELEASE, "--for", "brain_extraction:modality=t1").succeeded()
    record, output, lockfile = tmp_path / "used.jsonl", tmp_path / "brain.npy", tmp_path / "antscache.lock"
    command: tuple[str | Path, ...] = (*antspynet.cut_off, antspynet.python, HERE / "extract.py", "brain", output)
    antscache("run", "--offline", "--record", record, "--", *command).succeeded()
    assert_probabilities(np.load(output), (1, 40, 48, 40))
    antscache("lock", "--from-record", record, "-o", lockfile).succeeded()
    digests = {digest_of(figshare.content(number)) for number in ("34821874", "22597175")}
    for words in (("--record", record), ("--lock", lockfile)):
        [cited] = antscache("cite", *words, "--json").succeeded().json
        assert {file["digest"] for file in cited["files"]} == digests
        assert cited["view"] == antscache("path", RELEASE, "--digest").succeeded().out.strip()


def test_lung_extraction_finds_its_files_in_the_view(
    antspynet: ANTsPyNet, antscache: AntsCache, tmp_path: Path
) -> None:
    home, output = prefetched(antscache, RELEASE, LUNG, PRIORS), tmp_path / "lung.npy"
    antspynet.extract("lung", home, output).succeeded()
    found = np.load(output)
    assert_probabilities(found, (3, 120, 100))
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)


def test_brain_extraction_would_download_with_empty_home(antspynet: ANTsPyNet, tmp_path: Path) -> None:
    home, output = tmp_path / "empty", tmp_path / "brain.npy"
    home.mkdir()
    ran = antspynet.extract("brain", home, output)
    assert ran.code != 0
    assert "URL fetch failure on https://ndownloader.figshare.com/files/34821874" in ran.err
    assert not output.exists()


def test_two_releases_see_their_own_bytes(
    antspynet: ANTsPyNet, antscache: AntsCache, figshare: StandIn, tmp_path: Path
) -> None:
    """They share one root."""
    homes = [prefetched(antscache, release, BRAIN, TEMPLATE) for release in (RELEASE, OLD)]
    outputs = [tmp_path / "new.npy", tmp_path / "old.npy"]
    with ThreadPoolExecutor() as pool:
        for ran in pool.map(antspynet.extract, ["brain", "brain"], homes, outputs):
            ran.succeeded()
    new, old = map(np.load, outputs)
    assert_probabilities(old, new.shape)
    assert not np.allclose(new, old, atol=1e-3)
    held = [read(home / ".keras/ANTsXNet")[f"{BRAIN}.h5"] for home in homes]
    assert held == [figshare.content("34821874"), figshare.content("34792930")]


def test_installed_package_matches_the_shipped_manifest(python: Path, antscache: AntsCache) -> None:
    shipped = json.loads(files("antscache").joinpath("catalog/manifests/antspynet-0.3.2.json").read_bytes())["entries"]
    installed = antscache("list", "--python", python, "--json").succeeded().json
    assert len(installed) == 211
    assert sorted(map(identity, installed)) == sorted(map(identity, shipped))


def test_prefetch_uses_the_installed_release(python: Path, antscache: AntsCache) -> None:
    ran = antscache("prefetch", "--python", python, "--name", BRAIN, "-n", "--json").succeeded()
    assert [(plan["release"], plan["missing"]) for plan in ran.json] == [(RELEASE, [BRAIN])]


def test_the_installed_package_is_read_and_not_imported(python: Path, antscache: AntsCache, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    antscache("list", "--python", python, PYTHONPATH=HERE / "recorder", RECORDED=recorded).succeeded()
    processes = [path.read_text(encoding="utf-8").splitlines() for path in recorded.iterdir()]
    assert {prefix for prefix, *_ in processes} == {sys.prefix, str(VENV)}  # antscache, and the Python that it asked
    imported = {module for _, *modules in processes for module in modules}
    assert "importlib.metadata" in imported  # so the recorder works
    assert not imported & {"antspynet", "ants", "keras", "tensorflow"}
