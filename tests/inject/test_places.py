"""Programs that name a directory or a file of their own: which bytes they get, and where.

A place is `own/<state>/FILE`, or `~/.keras/ANTsXNet/<state>.h5` where the program names a file alone. The state is what
lies there before. Nothing here may reach upstream's own downloader: it says "would download".
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, SIZE, TEMPLATE, AntsCache, Ran, upstreams
from support.hooked import IMPORTS, NEWEST, Lab
from support.upstreams import CHANGED, CHANGES, EXAMPLE, EXAMPLES, GENERATIONS, UNFETCHABLE, older

from antscache.testing import StandIn
from antscache.testing.contents import content

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE, NUMBER = f"{LUNG}.h5", upstreams.NETWORKS[LUNG]
OWN = content("1", FILE, SIZE)  # whole, and not of any release
RIGHT = content(NUMBER, FILE, SIZE)
PAGE = b"<!doctype html><title>challenge</title>" * 9
STATES: dict[str, bytes | None] = {
    "absent": None,
    "empty": b"",
    "cut": RIGHT[: SIZE // 2],
    "page": PAGE,
    "right": RIGHT,
    "other": OWN,
    "text": b"version https://git-lfs.github.com/spec/v1",
    "dangling": None,
    "taken": None,
}
FEW = ("absent", "cut", "other", "text")  # where a program names a file: each state is a call of antscache
KEPT = {"right", "other"}  # whole, and the caller's own
LEFT = {"text", "taken"}  # the view's file is used, and theirs stays

CODE = """
def ask(name, directory=None, target=None, function=network):
    named = {}
    if target is not None:
        named["target_file_name"] = target
    if directory is not None and hasattr(antspynet, "set_antsxnet_cache_directory"):
        antspynet.set_antsxnet_cache_directory(directory)
    elif directory is not None:
        named["antsxnet_cache_directory"] = directory
    return outcome(lambda: function(name, **named))

"""
TABLE = """
name, own, few, states = sys.argv[1:3] + [words.split() for words in sys.argv[3:]]
answers = {"file": {state: ask(name, None, state + ".h5") for state in few}}
answers["directory"] = {state: ask(name, os.path.join(own, state)) for state in states}
answers["both"] = {state: ask(name, os.path.join(own, state), "mine.h5") for state in few}
answers["nowhere"] = {"unwritable": ask(name, "/sys/kernel")}
answers["again"] = {state: ask(name, os.path.join(own, state)) for state in states}
print(json.dumps(answers))
"""
WAYS = {"file": FEW, "directory": tuple(STATES), "both": FEW, "again": tuple(STATES)}


@dataclass
class Places:
    """The places that programs name, before they ask; and their answers."""

    lab: Lab
    version: str
    own: Path
    view: Path
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    err: str = ""

    def place(self, way: str, state: str) -> Path:
        if way == "file":
            return self.lab.home / f"{state}.h5"
        return self.own / state / ("mine.h5" if way == "both" else FILE)

    def fill(self) -> None:
        for way in "file", "directory", "both":
            for state in WAYS[way]:
                path, before = self.place(way, state), STATES[state]
                path.parent.mkdir(parents=True, exist_ok=True)
                if before is not None:
                    path.write_bytes(before)
                elif state == "dangling":
                    path.symlink_to(self.own / "target-that-is-not-there")
                elif state == "taken":
                    path.mkdir()

    def ask(self, **environ: str) -> Places:
        words = LUNG, str(self.own), " ".join(FEW), " ".join(STATES)
        ran = self.lab.hooked(self.lab.upstream(self.version), IMPORTS + CODE + TABLE, *words, **environ)
        self.answers, self.err = json.loads(ran.succeeded().out.splitlines()[-1]), ran.err
        return self


def make_lab(place: Path, standin: StandIn) -> Lab:
    (place / "home").mkdir(parents=True)
    return Lab(AntsCache(place / "root", place / "home", standin.origins), place, standin)


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with StandIn(size=SIZE) as standin:
        yield standin


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(version, marks=pytest.mark.xdist_group(f"places of {version}"))  # one worker for each
        for version in (*GENERATIONS, f"{NEWEST} in Python 3.8")
    ],
)
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, standin: StandIn) -> Places:
    """The answers of a release whose files are held, offline."""
    version, _, python = request.param.partition(" in Python 3.")
    lab = make_lab(tmp_path_factory.mktemp("held"), standin)
    places = Places(lab, version, lab.place / "own", lab.view(version, LUNG))
    places.fill()
    return places.ask(ANTSCACHE_OFFLINE="1", **({"PYTHON": older(int(python))} if python else {}))


@pytest.mark.parametrize(("way", "state"), [(way, state) for way, states in WAYS.items() for state in states])
def test_program_gets_whole_files_at_its_place(held: Places, way: str, state: str) -> None:
    place, answer = held.place(way, state), Path(held.answers[way][state])
    assert answer == (held.view / FILE if state in LEFT else place)
    assert answer.read_bytes() == (OWN if state == "other" else RIGHT)
    if state in LEFT:
        assert place.is_dir() if state == "taken" else place.read_bytes() == STATES[state]


def test_unwritable_place_gives_the_views_path(held: Places) -> None:
    assert held.answers["nowhere"]["unwritable"] == str(held.view / FILE)
    assert f"note: cannot write /sys/kernel/{FILE}: " in held.err


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("empty", "was replaced: an empty file"),
        ("cut", "was replaced: a cut HDF5 file"),
        ("page", "was replaced: an HTML page"),
        ("other", f"is used as it is: its bytes are not those recorded for figshare:{NUMBER}"),
        ("text", "is left alone: not an HDF5 file"),
        ("taken", "is left alone: not a file"),
    ],
)
def test_what_happened_at_a_place_is_said_once(held: Places, state: str, text: str) -> None:
    for way in "file", "directory", "both":
        assert held.err.count(f"{held.place(way, state)} {text}") == (state in WAYS[way])


def test_usual_files_are_not_remarked_on(held: Places) -> None:
    for way, state in ("file", "absent"), ("directory", "right"), ("both", "absent"):
        assert str(held.place(way, state)) not in held.err


def test_nothing_else_is_left_at_a_place(held: Places) -> None:
    for state in STATES:
        names = {path.name for path in (held.own / state).iterdir()}
        assert names == ({FILE, "mine.h5"} if state in FEW else {FILE})
    assert not (held.own / "target-that-is-not-there").exists()


@pytest.mark.parametrize("version", GENERATIONS)
def test_offline_only_missing_bytes_are_an_error(tmp_path: Path, standin: StandIn, version: str) -> None:
    lab = make_lab(tmp_path, standin)
    places = Places(lab, version, tmp_path / "own", Path())
    places.fill()
    before = standin.downloads(NUMBER)
    places.ask(ANTSCACHE_OFFLINE="1")
    for way in "file", "directory", "both":
        for state, answer in places.answers[way].items():
            if state in KEPT:
                assert answer == str(places.place(way, state))
            else:
                assert answer.startswith("AntsCacheError: ")
                assert f"error: missing and offline: {FILE}" in answer
    assert "is not used: a cut HDF5 file" in places.answers["directory"]["cut"]
    assert places.place("directory", "cut").read_bytes() == STATES["cut"]
    assert standin.downloads(NUMBER) == before


@pytest.mark.parametrize("version", ["0.2.8", NEWEST])
def test_missing_files_are_fetched_into_their_place(lab: Lab, figshare: StandIn, version: str) -> None:
    """Once, however many places a program names."""
    before = figshare.downloads(NUMBER)
    code = CODE + "print(json.dumps([ask(sys.argv[1], sys.argv[2] + each) for each in 'abc']))"
    own = lab.place / "own"
    ran = lab.hooked(lab.upstream(version), IMPORTS + code, LUNG, f"{own}/").succeeded()
    assert ran.json == [str(own / each / FILE) for each in "abc"]
    assert {Path(path).read_bytes() for path in ran.json} == {RIGHT}
    assert figshare.downloads(NUMBER) == before + 1
    assert ran.err.count("antscache: getting") == 1
    assert not lab.home.exists()


@pytest.fixture
def lab(antscache: AntsCache, tmp_path: Path, figshare: StandIn) -> Lab:
    return Lab(antscache, tmp_path, figshare)


def test_known_files_cost_no_further_call(lab: Lab) -> None:
    """antscache is called for the entries and for each file once; and again for a file that has changed."""
    upstream, log = lab.upstream(), lab.place / "log"
    lab.view(NEWEST, LUNG)
    command = shlex.join(lab.antscache.command())
    counting = ["sh", "-c", f'echo "$2" >> {shlex.quote(str(log))}; exec {command} "$@"', "antscache"]
    code = """
first, second = sys.argv[2] + "/a", sys.argv[2] + "/b"
paths = [ask(sys.argv[1], directory) for directory in (first, second, first, second, first)]
os.unlink(paths[0])
with open(paths[0], "wb") as file:
    file.write(bytes.fromhex(sys.argv[3]))
print(json.dumps([*paths, ask(sys.argv[1], first), ask(sys.argv[1], first)]))
"""
    words = LUNG, str(lab.place / "own"), OWN.hex()
    paths = lab.answer(upstream, CODE + code, *words, ANTSCACHE_COMMAND=json.dumps(counting))
    assert {*paths} == {str(lab.place / "own" / directory / FILE) for directory in "ab"}
    assert Path(paths[0]).read_bytes() == OWN
    assert log.read_text().split() == ["entries", "fetch", "fetch", "fetch"]


CROWD = """
read, write = os.pipe()
pids = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)  # until all have been started
        path = ask(sys.argv[1], sys.argv[2])
        with open(path, "rb") as file:
            os._exit(file.read() != bytes.fromhex(sys.argv[3]))
    pids.append(pid)
os.close(read)
os.close(write)
print(json.dumps([os.waitpid(pid, 0)[1] for pid in pids]))
"""


@pytest.mark.parametrize("before", [None, RIGHT[:9]], ids=["absent", "cut"])
def test_many_processes_see_whole_files_only(lab: Lab, figshare: StandIn, before: bytes | None) -> None:
    own, downloads = lab.place / "own", figshare.downloads(NUMBER)
    own.mkdir()
    if before is not None:
        (own / FILE).write_bytes(before)
    assert lab.answer(lab.upstream(), CODE + CROWD, LUNG, str(own), RIGHT.hex()) == [0] * 8
    assert [path.name for path in own.iterdir()] == [FILE]
    assert figshare.downloads(NUMBER) == downloads + 1


def test_writing_at_a_place_changes_no_blob(lab: Lab) -> None:
    """Not even as root, who may write to a read-only file."""
    code = """
path = ask(sys.argv[1], sys.argv[2])
os.chmod(path, 0o644)
with open(path, "r+b") as file:
    file.write(b"changed")
print(json.dumps(path))
"""
    path = lab.answer(lab.upstream(), CODE + code, LUNG, str(lab.place / "own"))
    assert Path(path).read_bytes() != RIGHT
    lab.antscache("verify").succeeded()


def test_place_in_the_view_is_the_view(lab: Lab) -> None:
    view = lab.view(NEWEST, LUNG)
    code = CODE + "print(json.dumps([ask(each, sys.argv[1]) for each in sys.argv[2:]]))"
    assert lab.answer(lab.upstream(), code, str(view), LUNG, BRAIN) == [str(view / FILE), str(view / f"{BRAIN}.h5")]
    lab.antscache("verify").succeeded()


def test_own_file_of_another_release_is_named(lab: Lab) -> None:
    """Its name has other bytes there, and the right ones are not recorded."""
    file, own = f"{CHANGED}.h5", lab.place / "own"
    older_, newest = CHANGES["0.2.9"][CHANGED], CHANGES[NEWEST][CHANGED]
    lab.view("0.2.9", CHANGED)
    own.mkdir()
    (own / file).write_bytes(lab.figshare.content(older_))
    code = IMPORTS + CODE + "print(json.dumps(ask(sys.argv[1], sys.argv[2])))"
    ran = lab.hooked(lab.upstream(), code, CHANGED, str(own), ANTSCACHE_OFFLINE="1").succeeded()
    assert ran.json == str(own / file)
    assert f"{own / file} is used as it is: it is figshare:{older_}, not figshare:{newest}" in ran.err


# How upstream finds a place


def test_relative_directories_are_upstreams(lab: Lab) -> None:
    """Keras makes them below ~/.keras; one in the working directory counts if it has the file."""
    lab.view("0.2.8", LUNG)
    here = lab.antscache.home / "here"
    here.mkdir(parents=True)
    (here / FILE).write_bytes(OWN)
    code = CODE + "print(json.dumps([ask(sys.argv[1], 'here'), ask(sys.argv[1], 'there')]))"
    answers = lab.answer(lab.upstream("0.2.8"), code, LUNG, ANTSCACHE_OFFLINE="1")
    assert answers == [f"here/{FILE}", str(lab.antscache.home / ".keras/there" / FILE)]
    assert Path(answers[1]).read_bytes() == RIGHT


def test_absolute_file_name_needs_no_directory(lab: Lab) -> None:
    target = lab.place / "elsewhere/weights.keras"
    code = CODE + "print(json.dumps(ask(sys.argv[1], None, sys.argv[2])))"
    assert lab.answer(lab.upstream(), code, LUNG, str(target)) == str(target)
    assert target.read_bytes() == RIGHT


def test_place_that_is_no_path_is_an_error(lab: Lab) -> None:
    code = CODE + "print(json.dumps([ask(sys.argv[1], None, 5), outcome(lambda: ants.get_data('r16', 5))]))"
    answers = lab.answer(lab.upstream(), f"import ants\n{code}", LUNG, ANTSCACHE_OFFLINE="1")
    assert [answer.partition(":")[0] for answer in answers] == ["TypeError"] * 2


def test_path_objects_name_places_too(lab: Lab) -> None:
    code = CODE + "from pathlib import Path\nprint(json.dumps(ask(sys.argv[1], Path(sys.argv[2]), Path('mine'))))"
    answer = lab.answer(lab.upstream("0.2.8"), code, LUNG, str(lab.place / "own"))
    assert answer == str(lab.place / "own/mine")


def test_places_may_have_any_bytes_in_their_names(lab: Lab) -> None:
    code = CODE + r"print(json.dumps(ask(sys.argv[1], sys.argv[2] + '/\udcff')))"
    answer = lab.answer(lab.upstream(), code, LUNG, str(lab.place / "own"))
    assert answer == str(lab.place / "own" / "\udcff" / FILE)
    assert Path(answer).read_bytes() == RIGHT


ANTSPYX = """
import ants
own = sys.argv[1]
calls = [
    lambda: ants.get_data("r16", antsx_cache_directory=own + "/"),
    lambda: ants.get_data("r16", antsx_cache_directory=own + "/in-front-"),
    lambda: ants.get_data("r16", target_file_name=own + "/mine.jpg"),
    lambda: ants.get_data("r16", "mine.jpg", own),
]
print(json.dumps([outcome(call) for call in calls]))
"""


def test_antspyx_puts_examples_where_it_would(lab: Lab) -> None:
    """Its directory is a prefix of its own file names, and does not count for others."""
    own = lab.place / "own"
    answers = lab.answer(lab.upstream(), ANTSPYX, str(own))
    assert answers == [f"{own}/r16slice.jpg", f"{own}/in-front-r16slice.jpg", f"{own}/mine.jpg", "mine.jpg"]
    right = lab.figshare.content(EXAMPLES[EXAMPLE])
    assert {(lab.antscache.home / answer).read_bytes() for answer in answers} == {right}


# Names that cannot be fetched


@pytest.mark.parametrize("version", GENERATIONS)
def test_unavailable_name_is_an_error_with_its_reason(lab: Lab, version: str) -> None:
    code = CODE + "print(json.dumps([ask(sys.argv[1]), ask(sys.argv[1], sys.argv[2])]))"
    for answer in lab.answer(lab.upstream(version), code, UNFETCHABLE, str(lab.place / "own")):
        assert answer.startswith("AntsCacheError: error: these names of antspynet==")
        assert f"{UNFETCHABLE}: the release has an empty URL for it" in answer


def test_own_file_of_an_unavailable_name_is_used(lab: Lab) -> None:
    """No record is made of it: there is no identifier to fetch it by."""
    own, record = lab.place / "own", lab.place / "record"
    own.mkdir()
    (own / f"{UNFETCHABLE}.h5").write_bytes(OWN)
    code = CODE + "print(json.dumps(ask(sys.argv[1], sys.argv[2])))"
    answer = lab.answer(lab.upstream(), code, UNFETCHABLE, str(own), ANTSCACHE_RECORD=str(record))
    assert answer == str(own / f"{UNFETCHABLE}.h5")
    assert not record.exists()


# Whole files in the user's home


def ask_offline(lab: Lab, *names: str) -> Ran:
    calls = f"[outcome(lambda: data(name) if name == {TEMPLATE!r} else network(name)) for name in sys.argv[1:]]"
    code = f"{IMPORTS}print(json.dumps({calls}))"
    return lab.hooked(lab.upstream(), code, *names, ANTSCACHE_OFFLINE="1").succeeded()


def test_offline_whole_files_in_the_home_are_used(lab: Lab) -> None:
    """A file of a name that has one content in all releases is used, and the way to adopt it is named once."""
    lab.home.mkdir(parents=True)
    for name, file in (LUNG, FILE), (TEMPLATE, f"{TEMPLATE}.nii.gz"):
        number = NUMBER if name == LUNG else "22597175"
        (lab.home / file).write_bytes(lab.figshare.content(number))
    ran = ask_offline(lab, LUNG, TEMPLATE, LUNG)
    assert ran.json == [str(lab.home / FILE), str(lab.home / f"{TEMPLATE}.nii.gz"), str(lab.home / FILE)]
    assert ran.err.count(f"note: {lab.home / FILE} is used as it is") == 1
    assert ran.err.count(f"`antscache adopt {lab.home} --as antspynet==") == 1


def test_home_files_of_ambiguous_names_are_not_used(lab: Lab) -> None:
    """Without a record nobody knows of which release they are."""
    lab.home.mkdir(parents=True)
    (lab.home / f"{BRAIN}.h5").write_bytes(lab.figshare.content("34821874"))
    [answer] = ask_offline(lab, BRAIN).json
    assert answer.startswith("AntsCacheError: ")
    assert f"{lab.home / BRAIN}.h5 is not used: releases have 2 different files of that name" in answer


def test_recorded_bytes_in_the_home_are_used(lab: Lab) -> None:
    """The store has lost them; other bytes are not used."""
    view = lab.view(NEWEST, BRAIN)
    for path in (view / f"{BRAIN}.h5").resolve(), *(lab.antscache.root / "blobs/sha256").iterdir():
        if path.stat().st_size == SIZE:
            path.unlink()
    lab.home.mkdir(parents=True)
    for number, used in ("34792930", False), ("34821874", True):
        (lab.home / f"{BRAIN}.h5").write_bytes(lab.figshare.content(number))
        [answer] = ask_offline(lab, BRAIN).json
        assert (answer == str(lab.home / f"{BRAIN}.h5")) == used
        assert used or "is not used: its bytes are not those recorded for figshare:34821874" in answer


def test_cut_file_in_the_home_is_called_cut(lab: Lab) -> None:
    lab.home.mkdir(parents=True)
    (lab.home / FILE).write_bytes(RIGHT[:-1])
    [answer] = ask_offline(lab, LUNG).json
    assert f"{lab.home / FILE} is not used: a cut HDF5 file: {SIZE - 1} of {SIZE} bytes" in answer


def test_home_file_goes_where_the_program_wants_it(lab: Lab) -> None:
    lab.home.mkdir(parents=True)
    (lab.home / FILE).write_bytes(RIGHT)
    code = CODE + "print(json.dumps(ask(sys.argv[1], sys.argv[2])))"
    answer = lab.answer(lab.upstream(), code, LUNG, str(lab.place / "own"), ANTSCACHE_OFFLINE="1")
    assert answer == str(lab.place / "own" / FILE)
    assert Path(answer).read_bytes() == RIGHT


# Filled beforehand


def test_linked_directory_serves_a_program_offline(lab: Lab) -> None:
    """Without a word, and without a call for anything but a look."""
    release = f"antspynet=={lab.view(NEWEST, LUNG).parts[-3].removeprefix('antspynet-')}"
    own = lab.place / "own"
    linked = lab.antscache("link", release, "--directory", own, "--json").succeeded()
    assert linked.json == {"release": release, "directory": str(own), "linked": 1, "already": 0}
    code = IMPORTS + CODE + "print(json.dumps(ask(sys.argv[1], sys.argv[2])))"
    ran = lab.hooked(lab.upstream(), code, LUNG, str(own), ANTSCACHE_OFFLINE="1").succeeded()
    assert (ran.json, ran.err) == (str(own / FILE), "")
    assert lab.antscache("link", release, "--directory", own).succeeded().out == f"{own}\n"


@pytest.mark.parametrize("places", [[], ["--home", "a", "--directory", "b"]])
def test_link_needs_exactly_one_place(lab: Lab, places: list[str]) -> None:
    assert lab.antscache("link", "0.3.2", *places).code == 2


def ask_prefetch(lab: Lab, *flags: str) -> str:
    return lab.antscache("prefetch", "0.3.2", "--name", LUNG, "--name", BRAIN, *flags).succeeded().err


def test_prefetch_mentions_files_in_the_home_once(lab: Lab) -> None:
    """Not with --quiet or --json, and not if nothing is missing."""
    lab.home.mkdir(parents=True)
    (lab.home / FILE).write_bytes(RIGHT)
    text = f"{lab.home} has 1 of these files: `antscache adopt {lab.home} --as antspynet==0.3.2` takes them over"
    for flags, times in (["-n"], 1), (["-n", "--quiet"], 0), (["-n", "--json"], 0), ([], 1), ([], 0):
        assert ask_prefetch(lab, *flags).count(text) == times
