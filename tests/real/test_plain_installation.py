"""A plain `pip install` of this repository, with no extras: what it refuses needs nothing that only developers have."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import REPOSITORY, AntsCache
from support.networks import CODE, LEADING_OUT, write_network
from upstream import packages, pip

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.networks import Write

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("plain"), pytest.mark.timeout(600)]

LOADED, NUMBER = "brainAgeDeepBrainNet", "23573402"  # by load_model, in every release


@dataclass
class Plain(AntsCache):
    """antscache of an environment of its own."""

    python: Path = Path()

    def command(self, *arguments: str | Path) -> list[str]:
        return [str(self.python), "-m", "antscache", *map(str, arguments)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with antscache and what it needs."""
    venv = tmp_path_factory.mktemp("plain") / "venv"
    pip(venv, [sys.executable, "-m", "venv", str(venv)])
    pip(venv, [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", str(REPOSITORY)])
    return venv / "bin/python"


@pytest.fixture
def plain(antscache: AntsCache, python: Path) -> Plain:
    return Plain(antscache.root, antscache.home, python=python)


@pytest.fixture
def serving(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A stand-in with the network that the test's parameter writes."""
    write: Write = request.param
    path = write_network(tmp_path / "network.h5", write)
    with StandIn({NUMBER: f"{LOADED}.h5"}, contents={NUMBER: path}) as standin:
        yield standin


def assert_refused(plain: Plain, **environ: Any) -> None:
    ran = plain("prefetch", "0.3.2", "--name", LOADED, **environ)
    assert (ran.code, "an HDF5 file with " in ran.err) == (4, True), ran.err
    assert not (plain.root / f"identifiers/figshare/{NUMBER}.json").exists()


def test_it_is_not_the_repository(plain: Plain) -> None:
    code = "import antscache; print(antscache.__file__)"
    done = subprocess.run([plain.python, "-c", code], capture_output=True, text=True, check=True, cwd=plain.home)
    assert Path(done.stdout.strip()) == packages(plain.python) / "antscache/__init__.py"


@pytest.mark.parametrize("serving", (CODE | LEADING_OUT).values(), ids=CODE | LEADING_OUT, indirect=True)
def test_no_mirrors_network_may_harm(plain: Plain, serving: StandIn) -> None:
    """Figshare has nothing."""
    with StandIn({}) as nothing:
        mirror = f"{serving.url}/files/{{id}}"
        assert_refused(plain, ANTSCACHE_MIRRORS=mirror, ANTSCACHE_ORIGINS=nothing.origins)


@pytest.mark.parametrize("serving", LEADING_OUT.values(), ids=LEADING_OUT, indirect=True)
def test_not_even_figshares_network_leads_out(plain: Plain, serving: StandIn) -> None:
    assert_refused(plain, ANTSCACHE_ORIGINS=serving.origins)
