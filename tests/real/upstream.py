"""Environments with the real ANTsPyNet, and a stand-in with files that ANTsPyNet made for itself.

    .venvs/antspynet-0.3.2/                  2.7 GB, made once from `requirements.txt`, with nothing of antscache
    .venvs/antspynet-0.3.2/requirements.txt  a copy, written last: it marks a complete installation
    .venvs/antspynet-<version>/              another release, the same way: `releases/antspynet-<version>.txt`

Fixtures are for test modules beside this one, which import them by name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from support import REPOSITORY, Ran, cannot, require

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
VENV = REPOSITORY / ".venvs" / "antspynet-0.3.2"
RELEASE = "antspynet==0.3.2"
RUN_TIMEOUT_SECONDS = 240  # for one run of ANTsPyNet, which takes about ten
TENSORFLOW = {
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN may sum in another order on another run
}


@dataclass(frozen=True)
class ANTsPyNet:
    """A Python that has the real ANTsPyNet and not antscache."""

    python: Path
    cut_off: tuple[str, ...]  # a command that runs another one without a network

    def extract(self, organ: str, home: Path, output: Path) -> Ran:
        """Call {organ}_extraction with `home` as HOME, cut off from the network."""
        return run(*self.cut_off, self.python, HERE / "extract.py", organ, output, home=home)


def run(
    *command: str | Path,
    home: Path,
    environ: Mapping[str, str] | None = None,
    timeout: float = RUN_TIMEOUT_SECONDS,
) -> Ran:
    environ = environ or {"PATH": os.environ["PATH"], "HOME": str(home), **TENSORFLOW}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=home, timeout=timeout)
    return Ran(done.returncode, done.stdout, done.stderr)


def install(interpreter: Path, requirements: Path = REQUIREMENTS) -> None:
    """Make the environment of `interpreter` anew, without the remains of an earlier one."""
    venv = interpreter.parent.parent
    pip(venv, [sys.executable, "-m", "venv", "--clear", str(venv)])
    pip(venv, [str(interpreter), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)])


def pip(directory: Path, command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        cannot(f"{directory.name} cannot be installed in {directory}:\n{done.stdout}{done.stderr}")


def ensure(directory: Path, requirements: Path, proof: Path, make: Callable[[], None]) -> None:
    """Make `directory` from `requirements`, unless it is complete and has `proof` in it. The first process makes it."""
    whole = directory / REQUIREMENTS.name
    directory.parent.mkdir(exist_ok=True)
    with FileLock(f"{directory}.lock"):
        made = proof.exists() and whole.exists()
        if not made or whole.read_bytes() != requirements.read_bytes():
            make()
            whole.write_bytes(requirements.read_bytes())


def environment(venv: Path, requirements: Path) -> Path:
    """Return the interpreter of `venv`; make the environment if it is incomplete or of other requirements."""
    interpreter = venv / "bin" / "python"
    ensure(venv, requirements, interpreter, lambda: install(interpreter, requirements))
    return interpreter


def unpacked(version: str, python: Path) -> Path:
    """Return the directory of a release that is pure Python, and runs over the environment of `python`."""
    directory, requirements = VENV.with_name(f"antspynet-{version}"), HERE / f"releases/antspynet-{version}.txt"

    def unpack() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        what = ("--no-deps", "--only-binary", ":all:", "--target", str(directory), "-r", str(requirements))
        pip(directory, [str(python), "-m", "pip", "install", "--quiet", *what])

    ensure(directory, requirements, directory / "antspynet", unpack)
    return directory


def numbers() -> dict[str, str]:
    """Return the networks of 0.3.2, each with its Figshare number."""
    entries = json.loads(files("antscache").joinpath("catalog/manifests/antspynet-0.3.2.json").read_bytes())["entries"]
    return {
        entry["name"]: entry["identifier"].removeprefix("figshare:")
        for entry in entries
        if entry["kind"] == "network" and entry["identifier"]
    }


def packages(python: Path) -> Path:
    """Return the site-packages of an environment that was made by the Python of these tests."""
    return python.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of `VENV`, made from `REQUIREMENTS` if necessary."""
    return environment(VENV, REQUIREMENTS)


@pytest.fixture(scope="session")
def cut_off() -> tuple[str, ...]:
    """A command that runs another one in a network namespace of its own: nothing is reachable, not even this host."""
    command = (require("unshare"), "-n" if os.geteuid() == 0 else "-rn")
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        cannot(f"no network namespace can be made here: {done.stderr}")
    return command


@pytest.fixture(scope="session")
def humble() -> tuple[str, ...]:
    """A command that runs another one without root's right to write to read-only directories."""
    if os.geteuid() != 0:
        return ()
    dropped = "-dac_override,-dac_read_search"
    return (require("setpriv"), "--inh-caps=-all", f"--bounding-set={dropped}")


@pytest.fixture(scope="session")
def redirected(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, StandIn]]:
    """A directory with the real ANTsPyNet, changed only to ask a stand-in instead of Figshare."""
    place = tmp_path_factory.mktemp("redirected")
    shutil.copytree(packages(python) / "antspynet", place / "antspynet", ignore=shutil.ignore_patterns("__pycache__"))
    with StandIn({number: f"{name}.h5" for name, number in numbers().items()}, size=200_000) as standin:
        for getter in "get_antsxnet_data", "get_pretrained_network":
            path = place / f"antspynet/utilities/{getter}.py"
            source = path.read_text("utf-8").replace("https://ndownloader.figshare.com/", f"{standin.url}/")
            assert "https://" not in source
            path.write_text(source, "utf-8")
        yield place, standin


@pytest.fixture(scope="session")
def antspynet(python: Path, cut_off: tuple[str, ...]) -> ANTsPyNet:
    return ANTsPyNet(python, cut_off)


@pytest.fixture(scope="session")
def weights(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Figshare number to the file that stands in for it."""
    home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("weights")
    run(python, HERE / "make_weights.py", directory, home=home).succeeded()
    return {path.parent.name: path for path in directory.glob("*/*")}


@pytest.fixture(scope="session")
def figshare(weights: dict[str, Path]) -> Iterator[StandIn]:
    """A stand-in with these files and no others; the fixture `antscache` fetches from it."""
    with StandIn({}, contents=weights) as standin:
        yield standin
