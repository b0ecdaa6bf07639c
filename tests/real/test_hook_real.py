"""The hook in the real ANTsPyNet 0.3.2: who sees the view, many at once, what goes wrong, and what is left of it.

What is fetched comes from a stand-in, and its bytes mean nothing: what is tested is which path ANTsPyNet gets, and what
is there then. The programs that ask are in `hooked/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hooked.parent import PATIENCE, Answer, Crowd, Group, children, until
from hooked.table import CASES, HEAD, READ_ONLY, SIZE, Case, Side, is_right, measure, row
from support import BRAIN, REPOSITORY, TEMPLATE, AntsCache, Ran, require, snapshot
from upstream import HERE, RELEASE, cut_off, python

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["cut_off", "python"]  # fixtures

# One process for all of them; the first test of all installs 2.7 GB.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

HOOKED = HERE / "hooked"
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
NETWORK, DATA = f"network/{BRAIN}", f"data/{TEMPLATE}"
NUMBER = "34821874"  # of BRAIN
FILE = f"{BRAIN}.h5"


def numbers() -> dict[str, str]:
    """The networks of 0.3.2, and Figshare's numbers of them."""
    entries = json.loads(files("antscache").joinpath("catalog/manifests/antspynet-0.3.2.json").read_bytes())["entries"]
    return {
        entry["name"]: entry["identifier"].removeprefix("figshare:")
        for entry in entries
        if entry["kind"] == "network" and entry["identifier"]
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def view(antscache: AntsCache) -> Path:
    return antscache.root / "views/antspynet-0.3.2/.keras/ANTsXNet"


def plain(home: Path, **more: str | Path) -> dict[str, str]:
    """The environment of somebody who has never heard of antscache."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **QUIET, **{key: str(value) for key, value in more.items()}}


def packages(python: Path) -> Path:
    """The site-packages of an environment, which the Python of these tests has made."""
    return python.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def ran(command: Sequence[str | Path], environ: Mapping[str, str]) -> Ran:
    home = environ["HOME"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, cwd=home, timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def last(ran: Ran) -> Any:
    """The last line of what a program of `hooked/` prints: others print there too."""
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
    """What a program was answered, and what it left in its home; the home's own path is ~ in both.

    Lines are sorted: matplotlib's list of fonts has another order each time.
    """

    answers: list[dict[str, Any]]
    home: dict[str, list[bytes]]


@dataclass
class Hooked:
    """What was seen in an environment of its own, that has ANTsPyNet, before the hook, with it, and afterwards.

    Attributes:
        seen: by how ANTsPyNet was run.
        finders: of modules, and the path, by how Python was run.
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
    """ANTsPyNet's own environment is on its path, and has no part in this: others use it meanwhile."""
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
        """Ask for a file that the home has, and for one that it has not."""
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
def test_where_the_hook_is_enabled_python_sees_the_view_even_with_dash_i(hooked: Hooked, how: str) -> None:
    data, network = hooked.seen[how].answers
    assert data["path"] == str(hooked.view / f"{TEMPLATE}.nii.gz")
    assert data["sha256"] != sha256(OWN)
    assert network["path"] == str(hooked.view / FILE)


def test_without_the_hook_antspynet_takes_what_is_in_the_home_and_wants_to_download_the_rest(hooked: Hooked) -> None:
    data, network = hooked.seen["never"].answers
    assert data["path"] == f"~/.keras/ANTsXNet/{TEMPLATE}.nii.gz"
    assert data["sha256"] == sha256(OWN)
    assert "URL fetch failure on https://ndownloader.figshare.com/files/34821874" in network["error"]
    assert {".keras/keras.json", f".keras/ANTsXNet/{TEMPLATE}.nii.gz"} <= hooked.seen["never"].home.keys()


@pytest.mark.parametrize("how", ["run, and switched off", "run, and isolated", "enabled, and switched off", "disabled"])
def test_with_the_hook_off_antspynet_answers_and_leaves_what_it_does_without_antscache(
    hooked: Hooked, how: str
) -> None:
    assert hooked.seen[how] == hooked.seen["never"]


@pytest.mark.parametrize("how", ["enabled, and switched off", "disabled"])
def test_a_hook_that_is_off_changes_neither_the_path_nor_who_finds_modules(hooked: Hooked, how: str) -> None:
    assert hooked.finders[how] == hooked.finders["never"]


def test_enabling_makes_one_file_and_disabling_leaves_nothing(hooked: Hooked) -> None:
    before, enabled, disabled = hooked.trees
    assert [Path(name).name for name in enabled.keys() - before.keys()] == ["antscache_hook.pth"]
    assert enabled | before == enabled
    assert disabled == before


# Many at once


@pytest.fixture(scope="module")
def crowd(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """ANTsPyNet under `antscache run`, and whoever is forked from it: each brings a root and an origin of its own."""
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
    """A download takes two seconds."""
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
    """How many processes have said that they have antscache get BRAIN."""
    return crowd.said.count(f"antscache: getting {FILE}")


def environment(antscache: AntsCache, **more: str) -> dict[str, str | Path]:
    return {"ANTSCACHE_DIR": antscache.root, "ANTSCACHE_ORIGINS": antscache.origins, **more}


def assert_all_right(answers: Sequence[Answer], antscache: AntsCache, origin: StandIn, count: int) -> None:
    """Each of them has the path in the view, and found there what the origin has."""
    assert {(each.path, each.sha256, each.error) for each in answers} == {
        (str(view(antscache) / FILE), sha256(origin.content(NUMBER)), "")
    }
    assert len({each.pid for each in answers}) == count


def test_sixteen_processes_that_ask_at_once_for_a_file_that_is_not_there_cost_one_download(
    crowd: Crowd, theirs: AntsCache, origin: StandIn
) -> None:
    before = getting(crowd)
    group = crowd.ask(DATA, NETWORK, count=16, environ=environment(theirs))
    assert_all_right(group.answers(), theirs, origin, 16)
    assert getting(crowd) - before == 16  # so to each of them it was not there
    assert origin.downloads(NUMBER) == 1


@pytest.mark.parametrize("victim", ["antscache", "who asks", "both"])
def test_when_the_process_that_downloads_is_killed_midway_the_others_finish(
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


def test_who_asked_is_told_that_antscache_was_killed(crowd: Crowd, theirs: AntsCache, origin: StandIn) -> None:
    first, _ = held_download(crowd, theirs, origin, others=0, timeout="600")
    os.kill(antscache_of(first.pids[0]), signal.SIGKILL)
    [told] = first.answers()
    assert re.match(r"AntsCacheError: \w.*(SIGKILL|-9|signal 9)", told.error)


def held_download(
    crowd: Crowd, theirs: AntsCache, origin: StandIn, *, others: int, timeout: str
) -> tuple[Group, Group | None]:
    """One process has antscache get BRAIN, of which half has come and no more does; others want it as well."""
    origin.misbehave(NUMBER, Misbehaviour.STALL_HALF)
    before = getting(crowd)
    environ = environment(theirs, ANTSCACHE_TIMEOUT=timeout)
    first = crowd.ask(NETWORK, environ=environ)
    until(lambda: origin.sent(NUMBER), "bytes of the download")
    group = crowd.ask(DATA, NETWORK, count=others, environ=environ) if others else None
    until(lambda: getting(crowd) - before == 1 + others, "all ask")
    return first, group


def antscache_of(asking: int) -> int:
    """The antscache that a process has started."""
    [found] = children(asking)
    return found


# What goes wrong, before and after


DOCUMENT = REPOSITORY / "docs/before-and-after.md"


@pytest.fixture(scope="module")
def humble() -> tuple[str, ...]:
    """A command that runs another one to which a read-only directory is read-only, even as root."""
    if os.geteuid() != 0:
        return ()
    dropped = "-dac_override,-dac_read_search"
    return (require("setpriv"), "--inh-caps=-all", f"--bounding-set={dropped}")


@pytest.fixture(scope="module")
def redirected(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, StandIn]]:
    """A directory with the real ANTsPyNet, which asks a stand-in instead of Figshare. Nothing else of it is changed."""
    place = tmp_path_factory.mktemp("redirected")
    shutil.copytree(packages(python) / "antspynet", place / "antspynet", ignore=shutil.ignore_patterns("__pycache__"))
    with StandIn({number: f"{name}.h5" for name, number in numbers().items()}, size=SIZE) as standin:
        for getter in "get_antsxnet_data", "get_pretrained_network":
            path = place / f"antspynet/utilities/{getter}.py"
            source = path.read_text("utf-8").replace("https://ndownloader.figshare.com/", f"{standin.url}/")
            assert "https://" not in source
            path.write_text(source, "utf-8")
        yield place, standin


@pytest.fixture(scope="module")
def sides(
    python: Path,
    crowd: Crowd,
    redirected: tuple[Path, StandIn],
    humble: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Side, Side]]:
    """ANTsPyNet alone, and with antscache: all cases are measured."""
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
    """Nothing can be made in it any more, nor in what is below it."""
    for each in (directory, *directory.rglob("*")):
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o555)


def test_the_document_says_what_was_measured(sides: tuple[Side, Side]) -> None:
    measured = HEAD + "\n".join(row(case, *sides) for case in CASES) + "\n"
    assert measured in DOCUMENT.read_text("utf-8"), f"what was measured:\n{measured}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_with_antscache_what_goes_wrong_ends_in_the_right_bytes_or_a_clear_error(
    case: Case, sides: tuple[Side, Side]
) -> None:
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
    """It says which file of which release, of what origins each, and why, and what to do next."""
    assert error.startswith("AntsCacheError: error: no origin delivered figshare:"), error
    assert f"{case.file} of {RELEASE}" in error
    assert re.search(r"\nhint: \w", error)


def test_in_the_view_are_no_bytes_but_the_right_ones(sides: tuple[Side, Side]) -> None:
    _, helped = sides
    assert {path.name: path.read_bytes() for path in helped.directory.iterdir()} == {
        case.file: helped.content(case) for case in CASES
    }


def test_a_read_only_root_serves_what_it_has_and_what_it_has_not_is_named(
    theirs: AntsCache, python: Path, humble: tuple[str, ...]
) -> None:
    read_only(theirs.root)
    command = [*humble, *theirs.command("run", "--", python, HOOKED / "ask.py", DATA, NETWORK)]
    data, network = answers(last(ran(command, theirs.environment(**QUIET))))
    assert data.path == str(view(theirs) / f"{TEMPLATE}.nii.gz")
    assert network.error.startswith("AntsCacheError: error: ")
    assert FILE in network.error
    assert RELEASE in network.error
    assert re.search(r"\nhint: \w", network.error)
