"""The hook in the real ANTsPyNet 0.3.2: in child processes, in many at once, with faults, and after it was disabled.

Files come from a stand-in, and their bytes mean nothing: the tests check the path that ANTsPyNet gets, and the bytes
there. The programs that ask are in `hooked/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hooked.parent import WAIT_TIMEOUT_SECONDS, Answer, Crowd, Group, children, until
from hooked.table import CASES, HEAD, READ_ONLY, SIZE, Case, Side, is_right, measure, row
from support import BRAIN, REPOSITORY, TEMPLATE, AntsCache, Ran, snapshot
from upstream import HERE, RELEASE, cut_off, humble, numbers, packages, python, redirected

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["cut_off", "humble", "python", "redirected"]  # fixtures

# One process for all of them; the first test of all installs 2.7 GB.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

HOOKED = HERE / "hooked"
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
NETWORK, DATA = f"network/{BRAIN}", f"data/{TEMPLATE}"
NUMBER = "34821874"  # of BRAIN
FILE = f"{BRAIN}.h5"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def view(antscache: AntsCache) -> Path:
    return antscache.root / "views/antspynet-0.3.2/.keras/ANTsXNet"


def plain(home: Path, **more: str | Path) -> dict[str, str]:
    """Return the environment variables of a user without antscache."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **QUIET, **{key: str(value) for key, value in more.items()}}


def ran(command: Sequence[str | Path], environ: Mapping[str, str]) -> Ran:
    home = environ["HOME"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, cwd=home, timeout=WAIT_TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def last(ran: Ran) -> Any:
    """Return the last line of a program of `hooked/`, as JSON: libraries print other lines before."""
    return json.loads(ran.succeeded().out.splitlines()[-1])


def answers(told: Any) -> list[Answer]:
    return msgspec.convert(told, list[Answer])


@pytest.fixture
def prefetched(antscache: AntsCache) -> AntsCache:
    """A root that has a network and a template of 0.3.2."""
    antscache("prefetch", RELEASE, "--name", BRAIN, "--name", TEMPLATE).succeeded()
    return antscache


# Children


@pytest.mark.parametrize("means", ["fork", "spawn", "forkserver", "joblib", "subprocess", "notebook"])
def test_under_run_a_child_process_sees_the_view(
    means: str, prefetched: AntsCache, python: Path, cut_off: tuple[str, ...]
) -> None:
    command = [*cut_off, *prefetched.command("run", "--", python, HOOKED / "children.py", means, NETWORK, DATA)]
    told = last(ran(command, prefetched.environment(**QUIET)))
    network, data = answers(told["answers"])
    assert told["parent"] not in {network.pid, data.pid}
    assert [network.error, data.error] == ["", ""]
    assert [Path(network.path), Path(data.path)] == [
        view(prefetched) / FILE,
        view(prefetched) / f"{TEMPLATE}.nii.gz",
    ]
    assert not (prefetched.home / ".keras/ANTsXNet").exists()


# The hook of an environment, and the hook that is off


@dataclass
class Seen:
    """The answers to a program, and the files that it left in its home; the home's own path is ~ in both.

    Lines are sorted: matplotlib's list of fonts has another order each time.
    """

    answers: list[dict[str, Any]]
    home: dict[str, list[bytes]]


@dataclass
class Hooked:
    """Observations in an environment of its own with ANTsPyNet: before the hook, with it, and afterwards.

    Attributes:
        seen: the observations by the way of running ANTsPyNet.
        finders: sys.path and sys.meta_path by the way of running Python.
        trees: all files of the environment, before, with the hook, and afterwards.
    """

    view: Path
    seen: dict[str, Seen]
    finders: dict[str, Any]
    trees: list[dict[str, bytes | str]]


OWN = b"the user's own template"
FINDERS = "import json, sys; print(json.dumps([sys.path, [getattr(f, '__name__', repr(f)) for f in sys.meta_path]]))"


@pytest.fixture(scope="module")
def hooked(python: Path, cut_off: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Hooked:
    """All observations. ANTsPyNet's own environment is on the path, and stays unchanged: other tests use it."""
    place = tmp_path_factory.mktemp("hooked")
    made, found = place / "environment", Hooked(Path(), {}, {}, [])
    subprocess.run([python, "-m", "venv", "--without-pip", made], check=True)
    interpreter = made / "bin/python"
    (packages(interpreter) / "packages.pth").write_text(f"{packages(python)}\n")
    (place / "home").mkdir()
    with StandIn({NUMBER: FILE, "22597175": f"{TEMPLATE}.nii.gz"}, size=4_000) as standin:
        antscache = AntsCache(place / "root", place / "home", standin.origins)
        antscache("prefetch", RELEASE, "--name", BRAIN, "--name", TEMPLATE).succeeded()
    found.view = view(antscache)
    run = antscache.command("run", "--")

    def look(how: str, *command: str | Path, **more: str) -> None:
        """Ask for a file that the home has, and for one that it lacks."""
        home = place / how.replace(" ", "-")
        (home / ".keras/ANTsXNet").mkdir(parents=True)
        (home / f".keras/ANTsXNet/{TEMPLATE}.nii.gz").write_bytes(OWN)
        environ = plain(home, ANTSCACHE_DIR=antscache.root, **more)
        told = last(ran([*cut_off, *command, HOOKED / "ask.py", DATA, NETWORK], environ))
        for each in told:
            del each["pid"]
        text = json.dumps(told).replace(str(home), "~")
        left = {
            name: sorted(os.fsencode(content).replace(os.fsencode(home), b"~").splitlines())
            for name, content in snapshot(home).items()
        }
        found.seen[how] = Seen(json.loads(text), left)

    def look_at_finders(how: str, **more: str) -> None:
        found.finders[how] = ran([interpreter, "-c", FINDERS], plain(place, **more)).succeeded().json

    found.trees.append(snapshot(made))
    look("never", interpreter)
    look_at_finders("never")
    look("run, and switched off", *run, "env", "ANTSCACHE_HOOK=0", interpreter)
    look("run, and isolated", *run, interpreter, "-I")
    antscache("hook", "enable", "--python", interpreter).succeeded()
    found.trees.append(snapshot(made))
    look("enabled", interpreter)
    look("enabled, and isolated", interpreter, "-I")
    look("enabled, and switched off", interpreter, ANTSCACHE_HOOK="0")
    look_at_finders("enabled, and switched off", ANTSCACHE_HOOK="0")
    antscache("hook", "disable", "--python", interpreter).succeeded()
    found.trees.append(snapshot(made))
    look("disabled", interpreter)
    look_at_finders("disabled")
    return found


@pytest.mark.parametrize("how", ["enabled", "enabled, and isolated"])
def test_enabled_hook_shows_the_view(hooked: Hooked, how: str) -> None:
    """Also with `python -I`."""
    data, network = hooked.seen[how].answers
    assert data["path"] == str(hooked.view / f"{TEMPLATE}.nii.gz")
    assert data["sha256"] != sha256(OWN)
    assert network["path"] == str(hooked.view / FILE)


def test_antspynet_without_the_hook_uses_the_home(hooked: Hooked) -> None:
    """It would download the files that are not there."""
    data, network = hooked.seen["never"].answers
    assert data["path"] == f"~/.keras/ANTsXNet/{TEMPLATE}.nii.gz"
    assert data["sha256"] == sha256(OWN)
    assert "URL fetch failure on https://ndownloader.figshare.com/files/34821874" in network["error"]
    assert {".keras/keras.json", f".keras/ANTsXNet/{TEMPLATE}.nii.gz"} <= hooked.seen["never"].home.keys()


@pytest.mark.parametrize("how", ["run, and switched off", "run, and isolated", "enabled, and switched off", "disabled"])
def test_switched_off_hook_changes_no_answer(hooked: Hooked, how: str) -> None:
    assert hooked.seen[how] == hooked.seen["never"]


@pytest.mark.parametrize("how", ["enabled, and switched off", "disabled"])
def test_switched_off_hook_changes_no_import(hooked: Hooked, how: str) -> None:
    """Neither sys.path nor sys.meta_path."""
    assert hooked.finders[how] == hooked.finders["never"]


def test_enabling_makes_one_file_and_disabling_leaves_nothing(hooked: Hooked) -> None:
    before, enabled, disabled = hooked.trees
    assert [Path(name).name for name in enabled.keys() - before.keys()] == ["antscache_hook.pth"]
    assert enabled | before == enabled
    assert disabled == before


# Many at once


@pytest.fixture(scope="module")
def crowd(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """ANTsPyNet under `antscache run`, with processes forked from it that get a root and an origin of their own."""
    place = tmp_path_factory.mktemp("crowd")
    (place / "home").mkdir()
    antscache = AntsCache(place / "root", place / "home", "http://127.0.0.1:9/{id}")  # where nobody listens
    command = antscache.command("run", "--", python, HOOKED / "crowd.py")
    with Crowd(command, antscache.environment(**QUIET), place / "home", place / "log") as crowd:
        yield crowd
    assert not (place / "home/.keras/ANTsXNet").exists()
    assert not (place / "root").exists()


@pytest.fixture
def origin() -> Iterator[StandIn]:
    """An origin from which a download takes two seconds."""
    with StandIn({NUMBER: FILE, "22597175": f"{TEMPLATE}.nii.gz"}, size=SIZE, rate=SIZE / 2) as standin:
        yield standin


@pytest.fixture
def theirs(tmp_path: Path, origin: StandIn) -> AntsCache:
    """A root that has a template and no network."""
    home = tmp_path / "home"
    home.mkdir()
    antscache = AntsCache(tmp_path / "root", home, origin.origins)
    antscache("prefetch", RELEASE, "--name", TEMPLATE).succeeded()
    return antscache


def getting(crowd: Crowd) -> int:
    """Return the number of processes that have reported that antscache gets BRAIN for them."""
    return crowd.said.count(f"antscache: getting {FILE}")


def environment(antscache: AntsCache, **more: str) -> dict[str, str | Path]:
    return {"ANTSCACHE_DIR": antscache.root, "ANTSCACHE_ORIGINS": antscache.origins, **more}


def assert_all_right(answers: Sequence[Answer], antscache: AntsCache, origin: StandIn, count: int) -> None:
    """Check that each process got the path in the view, with the origin's bytes there."""
    assert {(each.path, each.sha256, each.error) for each in answers} == {
        (str(view(antscache) / FILE), sha256(origin.content(NUMBER)), "")
    }
    assert len({each.pid for each in answers}) == count


def test_sixteen_processes_cause_one_download(crowd: Crowd, theirs: AntsCache, origin: StandIn) -> None:
    before = getting(crowd)
    group = crowd.ask(DATA, NETWORK, count=16, environ=environment(theirs))
    assert_all_right(group.answers(), theirs, origin, 16)
    assert getting(crowd) - before == 16  # so to each of them it was not there
    assert origin.downloads(NUMBER) == 1


@pytest.mark.parametrize("victim", ["antscache", "who asks", "both"])
def test_others_finish_when_the_downloader_is_killed(
    victim: str, crowd: Crowd, theirs: AntsCache, origin: StandIn
) -> None:
    timeout = "10" if victim == "who asks" else "600"  # an antscache that lives on asks the silent origin again
    first, others = held_download(crowd, theirs, origin, others=15, timeout=timeout)
    [asking] = first.pids
    assert others
    origin.behave(NUMBER)
    if victim == "both":
        first.kill(signal.SIGKILL)
    else:
        os.kill(antscache_of(asking) if victim == "antscache" else asking, signal.SIGKILL)
    assert_all_right(others.answers(), theirs, origin, 15)
    assert [each.path for each in first.answers()] == ([""] if victim == "antscache" else [])
    if victim != "who asks":
        assert origin.downloads(NUMBER) == 2  # that which was held, and one for all others


def test_caller_learns_that_antscache_was_killed(crowd: Crowd, theirs: AntsCache, origin: StandIn) -> None:
    first, _ = held_download(crowd, theirs, origin, others=0, timeout="600")
    os.kill(antscache_of(first.pids[0]), signal.SIGKILL)
    [told] = first.answers()
    assert re.match(r"AntsCacheError: \w.*(SIGKILL|-9|signal 9)", told.error)


def held_download(
    crowd: Crowd, theirs: AntsCache, origin: StandIn, *, others: int, timeout: str
) -> tuple[Group, Group | None]:
    """Start a process whose download of BRAIN stalls at half, and others that ask for BRAIN as well."""
    origin.misbehave(NUMBER, Misbehaviour.STALL_HALF)
    before = getting(crowd)
    environ = environment(theirs, ANTSCACHE_TIMEOUT=timeout)
    first = crowd.ask(NETWORK, environ=environ)
    until(lambda: origin.sent(NUMBER), "bytes of the download")
    group = crowd.ask(DATA, NETWORK, count=others, environ=environ) if others else None
    until(lambda: getting(crowd) - before == 1 + others, "all ask")
    return first, group


def antscache_of(asking: int) -> int:
    """Return the number of the antscache process that a process has started."""
    [found] = children(asking)
    return found


# Faults, without antscache and with it


DOCUMENT = REPOSITORY / "docs/before-and-after.md"


@pytest.fixture(scope="module")
def sides(
    python: Path,
    crowd: Crowd,
    redirected: tuple[Path, StandIn],
    humble: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Side, Side]]:
    """ANTsPyNet alone, and with antscache, with all cases measured."""
    place = tmp_path_factory.mktemp("sides")
    source, its_origin = redirected
    its, ours = place / "its", place / "ours"  # homes
    its.mkdir()
    ours.mkdir()
    environ = plain(its, PYTHONPATH=source, no_proxy="*")
    with (
        Crowd([python, HOOKED / "crowd.py"], environ, its, place / "log") as lonely,
        StandIn({number: f"{name}.h5" for name, number in numbers().items()}, size=SIZE) as our_origin,
    ):
        alone = Side(lonely, its_origin, its / ".keras/ANTsXNet", numbers())
        antscache = AntsCache(place / "root", ours, our_origin.origins)
        theirs = environment(antscache, ANTSCACHE_TIMEOUT="1")
        helped = Side(crowd, our_origin, view(antscache), numbers(), theirs)
        measure(alone, helped)
        ask: list[str | Path] = [python, HOOKED / "ask.py", READ_ONLY.asked, READ_ONLY.asked]
        for side, home, command, variables in (
            (alone, its, ask, environ),
            (helped, ours, antscache.command("run", "--", *ask), antscache.environment(**QUIET)),
        ):
            (home / ".keras/ANTsXNet").mkdir(parents=True, exist_ok=True)
            read_only(home / ".keras")
            side.heard[READ_ONLY] = [*answers(last(ran([*humble, *command], variables)))]
        yield alone, helped


def read_only(directory: Path) -> None:
    """Make `directory`, and all directories below it, read-only."""
    for each in (directory, *directory.rglob("*")):
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o555)


def test_document_has_the_measured_table(sides: tuple[Side, Side]) -> None:
    measured = HEAD + "\n".join(row(case, *sides) for case in CASES) + "\n"
    assert measured in DOCUMENT.read_text("utf-8"), f"what was measured:\n{measured}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_faults_end_in_right_bytes_or_errors(case: Case, sides: tuple[Side, Side]) -> None:
    """With antscache."""
    _, helped = sides
    first, again = helped.heard[case]
    if first is None:
        assert case.end
    elif first.error:
        assert_clear(first.error, case)
    else:
        assert is_right(first, helped.content(case))
    assert again
    assert again.error == ""
    assert Path(again.path) == helped.directory / case.file
    assert is_right(again, helped.content(case))


def assert_clear(error: str, case: Case) -> None:
    """Check that an error names the file, its release and the origins, and has a hint."""
    assert error.startswith("AntsCacheError: error: no origin delivered figshare:"), error
    assert f"{case.file} of {RELEASE}" in error
    assert re.search(r"\nhint: \w", error)


def test_view_has_right_bytes_only(sides: tuple[Side, Side]) -> None:
    _, helped = sides
    assert {path.name: path.read_bytes() for path in helped.directory.iterdir()} == {
        case.file: helped.content(case) for case in CASES
    }


def test_read_only_root_serves_its_files(theirs: AntsCache, python: Path, humble: tuple[str, ...]) -> None:
    """An error names a file that it does not have."""
    read_only(theirs.root)
    command = [*humble, *theirs.command("run", "--", python, HOOKED / "ask.py", DATA, NETWORK)]
    data, network = answers(last(ran(command, theirs.environment(**QUIET))))
    assert data.path == str(view(theirs) / f"{TEMPLATE}.nii.gz")
    assert network.error.startswith("AntsCacheError: error: ")
    assert FILE in network.error
    assert RELEASE in network.error
    assert re.search(r"\nhint: \w", network.error)
