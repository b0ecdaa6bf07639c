"""Real releases of ANTsPyNet, old and new, at the same time and in one home: each uses its own view.

    0.3.2    the environment of the other tests here
    0.2.9    a pure wheel, unpacked on PYTHONPATH over the same environment
    0.2.3    an environment of its own, with TensorFlow 2.21 and Keras 3
    0.1.9    an environment of its own, with TensorFlow 2.15 and Keras 2

0.2.9 and 0.3.2 differ on six networks, and the functions that need them are too expensive for a test: the cheapest,
mouse_brain_parcellation, takes a minute of processor time and 3.6 GB, most of it for a registration, and does not give
the same result twice. So these tests compare the predictions of the six networks, each built by its release's own code,
with the weights at the path that the release's own getter returns: `releases/conflicting.py`.

The functions of the old releases that are called here call the getters in all three ways: with "ANTsXNet" for a
directory, with None, and with no directory at all.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pytest
from support import BRAIN, TEMPLATE, AntsCache, Ran
from upstream import HERE, RUN_TIMEOUT_SECONDS, TENSORFLOW, VENV, cut_off, environment, python, run, unpacked

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["cut_off", "python"]  # fixtures

# One process for all of them; the first tests of all install 8 GB.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

RELEASES = HERE / "releases"
OLD, NEW = "0.2.9", "0.3.2"  # they have different bytes under six names
OLDER = ("0.1.9", "0.2.3")  # their getters take a directory
CHEST, PRIORS = "lungCtWithPriorsSegmentationWeights", "luna16LungPriors"
NEEDS = {  # the entries that extract.py's functions ask for, and their Figshare numbers
    "brain": {BRAIN: "34821874", TEMPLATE: "22597175"},
    "chest": {CHEST: "28357818", PRIORS: "28253796"},
}
SHAPES = {"brain": (1, 40, 48, 40), "chest": (4, 24, 20, 16)}


@dataclass(frozen=True)
class Installed:
    """A real release, and the Python that runs it."""

    version: str
    python: Path
    path: str = ""  # PYTHONPATH

    @property
    def release(self) -> str:
        return f"antspynet=={self.version}"


@dataclass(frozen=True)
class Made:
    """The six networks of a release: weights that it made, and its predictions with them, by explicit paths."""

    weights: Path
    expected: Mapping[str, NDArray[np.float32]]


def requirements(version: str) -> Path:
    return RELEASES / f"antspynet-{version}.txt"


def installed(version: str) -> Installed:
    return Installed(version, environment(VENV.with_name(f"antspynet-{version}"), requirements(version)))


@pytest.fixture(scope="session")
def two(python: Path) -> tuple[Installed, Installed]:
    """0.2.9 and 0.3.2."""
    return Installed(OLD, python, str(unpacked(OLD, python))), Installed(NEW, python)


@pytest.fixture(scope="session", params=OLDER)
def old(request: pytest.FixtureRequest) -> Installed:
    """A release with an environment of its own."""
    return installed(request.param)


@pytest.fixture(scope="session", params=[*OLDER, OLD, NEW])
def any_one(request: pytest.FixtureRequest) -> Installed:
    if request.param in (OLD, NEW):
        two: tuple[Installed, Installed] = request.getfixturevalue("two")
        return two[request.param == NEW]
    return installed(request.param)


@pytest.fixture(scope="session")
def old_files(old: Installed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Figshare number to the file that stands in for it, made by `old`."""
    home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("files")
    run(old.python, HERE / "make_weights.py", directory, home=home).succeeded()
    return {path.parent.name: path for path in directory.glob("*/*")}


@pytest.fixture(scope="session")
def made(two: tuple[Installed, Installed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """The weights and predictions of each release, made without antscache."""

    def make(one: Installed) -> Made:
        home, weights = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("weights")
        output = weights.with_suffix(".npz")
        script = (one.python, RELEASES / "conflicting.py", "make", weights, output)
        run("env", f"PYTHONPATH={one.path}", *script, home=home).succeeded()
        return Made(weights, np.load(output))

    with ThreadPoolExecutor() as pool:
        return dict(zip((one.version for one in two), pool.map(make, two), strict=True))


@contextmanager
def served(antscache: AntsCache, files: Mapping[str, Path]) -> Iterator[AntsCache]:
    """Yield `antscache` with a stand-in for its origin that has these files and no others."""
    with StandIn({}, contents=files) as standin:
        yield replace(antscache, origins=standin.origins)


def prefetched(antscache: AntsCache, release: str, *names: str) -> Path:
    """Prefetch some names of a release, and return the directory of its files in the view."""
    chosen = [argument for name in names for argument in ("--name", name)]
    home = antscache("prefetch", release, *chosen, timeout=RUN_TIMEOUT_SECONDS).succeeded().out.strip()
    return Path(home) / ".keras/ANTsXNet"


@dataclass(frozen=True)
class Process:
    """A command to run, with a view or without one, on a host without a network. It names no release."""

    command: list[str]
    environ: dict[str, str]
    home: Path

    def ended(self, question: str = "") -> Ran:
        done = subprocess.run(
            self.command,
            input=question,
            capture_output=True,
            text=True,
            check=False,
            env=self.environ,
            cwd=self.home,
            timeout=RUN_TIMEOUT_SECONDS,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Host:
    """A host without a network, where processes of all releases share one HOME, and antscache has one root."""

    antscache: AntsCache
    cut_off: tuple[str, ...]

    def without_a_view(self, release: Installed, *script: str | Path) -> Process:
        command = [*self.cut_off, str(release.python), *map(str, script)]
        environ = self.antscache.environment(**TENSORFLOW, PYTHONPATH=release.path)
        return Process(command, environ, self.antscache.home)

    def with_its_view(self, release: Installed, record: Path, *script: str | Path) -> Process:
        """Return the process as a user runs it with antscache."""
        run = self.antscache.command("run", "--offline", "--record", record, "--", release.python, *script)
        return replace(self.without_a_view(release), command=[*self.cut_off, *run])

    def made_a_cache_in_home(self) -> bool:
        return (self.antscache.home / ".keras/ANTsXNet").exists()


@pytest.fixture
def host(antscache: AntsCache, cut_off: tuple[str, ...]) -> Host:
    return Host(antscache, cut_off)


def changed(antscache: AntsCache) -> dict[str, dict[str, str]]:
    """Return release -> network -> Figshare number, for the networks on which the two releases differ."""
    entries = antscache("diff", OLD, NEW, "--json").succeeded().json["changed"]
    return {
        version: {entry["name"]: entry[side].removeprefix("figshare:") for entry in entries}
        for version, side in ((OLD, "old"), (NEW, "new"))
    }


def recorded(file: Path) -> set[tuple[str, str, str, str]]:
    """Return the release, name, identifier and digest of each line of a record."""
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {tuple(line[key] for key in ("release", "name", "identifier", "digest")) for line in lines}


def asked(release: str, numbers: Mapping[str, str], files: Mapping[str, Path]) -> set[tuple[str, str, str, str]]:
    """Return the same facts for the expected entries: `numbers` by name, and `files` by number."""
    return {
        (release, name, f"figshare:{number}", f"sha256:{hashlib.sha256(files[number].read_bytes()).hexdigest()}")
        for name, number in numbers.items()
    }


def same(some: NDArray[np.float32], others: NDArray[np.float32], within: float) -> bool:
    return some.shape == others.shape and bool(np.allclose(some, others, atol=within))


def together(processes: list[Process]) -> list[dict[str, str]]:
    """Run some `conflicting.py predict` to their successful end, and return the last line of each, as JSON.

    None starts to predict before all are ready, and none ends before all are done.
    """
    with ExitStack() as stack:
        started = [stack.enter_context(_started(process)) for process in processes]
        for word in ("ready", "done"):
            assert [_told(*each) for each in started] == [f"{word}\n"] * len(started)
            for process, _ in started:
                assert process.stdin is not None
                print(file=process.stdin, flush=True)
        answers = [json.loads(_told(*each)) for each in started]
        assert [process.wait(RUN_TIMEOUT_SECONDS) for process, _ in started] == [0] * len(started)
        return answers


@contextmanager
def _started(process: Process) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start a process, yield it with the file of its stderr, and kill it at the end of the block."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            process.command,
            env=process.environ,
            cwd=process.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as running,
    ):
        try:
            yield running, errors
        finally:
            running.kill()


def _told(process: subprocess.Popen[str], errors: IO[str]) -> str:
    """Return the next line of the process; fail with its stderr if it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        errors.seek(0)  # it has ended
        pytest.fail(errors.read())
    return line


def test_two_releases_compute_with_their_own_bytes(
    two: tuple[Installed, Installed], made: dict[str, Made], host: Host, tmp_path: Path
) -> None:
    """At the same time, with one home."""
    conflicts = changed(host.antscache)
    assert len(conflicts[NEW]) == 6
    files = {
        number: made[version].weights / f"{name}.h5"
        for version, networks in conflicts.items()
        for name, number in networks.items()
    }
    assert len(files) == 12
    with served(host.antscache, files) as antscache:
        views = {version: prefetched(antscache, version, *networks) for version, networks in conflicts.items()}

    outputs = {one.version: tmp_path / f"{one.version}.npz" for one in two}
    records = {one.version: tmp_path / f"{one.version}.jsonl" for one in two}
    script = RELEASES / "conflicting.py"
    named = together(
        [host.with_its_view(one, records[one.version], script, "predict", outputs[one.version]) for one in two]
    )

    for one, paths in zip(two, named, strict=True):
        networks, view = conflicts[one.version], views[one.version]
        assert paths == {name: str(view / f"{name}.h5") for name in networks}
        assert recorded(records[one.version]) == asked(one.release, networks, files)
        found, expected = np.load(outputs[one.version]), made[one.version].expected
        assert set(found) == set(expected)
        assert [each for each in expected if not same(found[each], expected[each], 1e-5)] == []
    of_old, of_new = (np.load(outputs[version]) for version in (OLD, NEW))
    assert [each for each in of_new if same(of_old[each], of_new[each], 1e-2)] == []
    assert not host.made_a_cache_in_home()


@pytest.mark.parametrize("organ", NEEDS)
def test_old_release_computes_with_its_view(
    organ: str, old: Installed, old_files: dict[str, Path], host: Host, tmp_path: Path
) -> None:
    """The requests come from its own functions."""
    with served(host.antscache, old_files) as antscache:
        prefetched(antscache, old.version, *NEEDS[organ])
    output, record = tmp_path / "output.npy", tmp_path / "record.jsonl"
    host.with_its_view(old, record, HERE / "extract.py", organ, output).ended().succeeded()
    found = np.load(output)
    assert found.shape == SHAPES[organ]
    assert found.std() > 0
    assert recorded(record) == asked(old.release, NEEDS[organ], old_files)
    assert not host.made_a_cache_in_home()


def test_old_functions_name_no_real_directory(old: Installed) -> None:
    """They pass None, or a literal that is no directory."""
    (utilities,) = old.python.parent.parent.glob("lib/python3*/site-packages/antspynet/utilities")
    brain, chest = ((utilities / f"{organ}_extraction.py").read_text("utf-8") for organ in ("brain", "lung"))
    literal = 'antsxnet_cache_directory = "ANTsXNet"'
    assert [literal in source for source in (brain, chest)] == [old.version == "0.1.9"] * 2
    passed = r"get_pretrained_network\([^()]+,\s+antsxnet_cache_directory=antsxnet_cache_directory\)"
    assert all(re.search(passed, source) for source in (brain, chest))
    assert f'get_antsxnet_data("{PRIORS}")' in chest


def test_old_release_without_view_would_download(old: Installed, host: Host, tmp_path: Path) -> None:
    ran = host.without_a_view(old, HERE / "extract.py", "brain", tmp_path / "output.npy").ended()
    assert ran.code != 0
    assert "URL fetch failure on https://" in ran.err
    assert host.made_a_cache_in_home()


def test_every_request_is_answered_from_the_view(
    any_one: Installed, host: Host, figshare: StandIn, tmp_path: Path
) -> None:
    """In each way of making it."""
    view = prefetched(host.antscache, any_one.version)
    entries = host.antscache("list", any_one.release, "--json").succeeded().json
    entries = [entry for entry in entries if entry["status"] == "present"]
    assert len(entries) > 100
    names = {kind: [entry["name"] for entry in entries if entry["kind"] == kind] for kind in ("data", "network")}
    directories = [None, "ANTsXNet"] if any_one.version in OLDER else []
    process = host.with_its_view(any_one, tmp_path / "record.jsonl", RELEASES / "ask.py")
    answer = process.ended(json.dumps({"names": names, "directories": directories})).succeeded().json
    for entry in entries:
        (path,) = map(Path, answer[entry["kind"]][entry["name"]])
        assert path == view / entry["file"]
        assert path.read_bytes() == figshare.content(entry["identifier"].removeprefix("figshare:"))
    assert not host.made_a_cache_in_home()
