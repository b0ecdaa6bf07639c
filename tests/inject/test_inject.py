"""What runs in the user's interpreter: who wins, what every caller sees, and how it fails.

Most processes here are of an interpreter that has no antscache; packages are in upstream's form (`upstreams.py`). The
home holds files of all names as well: what comes from there was decided by upstream's own function.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, LUNG, REPOSITORY, SIZE, TEMPLATE, AntsCache, Ran, upstreams
from support.upstreams import CHANGED, GENERATIONS, NOTHING, PYTHON, Upstream, older

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = ".keras/ANTsXNet"
INJECT = REPOSITORY / "antscache" / "inject"
NEWEST = GENERATIONS[-1]
NUMBERS = upstreams.NETWORKS | {TEMPLATE: "22597175"}

# How a script begins.
IMPORTS = """
import json, os, sys
import antspynet
from antspynet import get_antsxnet_data as data, get_pretrained_network as network

def told(function):
    try:
        value = function()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return list(value) if isinstance(value, tuple) else value
"""


@dataclass
class Lab:
    """antscache, and users of ANTsPyNet who do not know of it."""

    antscache: AntsCache
    place: Path
    figshare: StandIn
    made: dict[str, Upstream] = field(default_factory=dict)
    views: dict[str, Path] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.antscache.home / HOME

    def upstream(self, version: str = NEWEST) -> Upstream:
        if version not in self.made:
            self.made[version] = upstreams.make(self.place, version)
        return self.made[version]

    def view(self, version: str = NEWEST, *names: str) -> Path:
        """Where the view of a release has its files, which are there: all of them, or some."""
        if version not in self.views:
            some = [word for name in names for word in ("--name", name)]
            ran = self.antscache("prefetch", "--from", self.upstream(version).directory, *some)
            self.views[version] = Path(ran.succeeded().out.strip(), HOME)
        return self.views[version]

    def hooked(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Ran:
        """`code`, in a process with the hook, as `antscache run` starts it."""
        called = json.dumps(self.antscache.command())
        path = f"{INJECT}:{environ.pop('PYTHONPATH', upstream.path)}"
        return self.plain(upstream, code, *arguments, **{"ANTSCACHE_COMMAND": called, "PYTHONPATH": path, **environ})

    def asked(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Any:
        """What it prints last, as JSON."""
        return json.loads(self.hooked(upstream, IMPORTS + code, *arguments, **environ).succeeded().out.splitlines()[-1])

    def plain(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Ran:
        """`code`, in a process that nobody has put a hook into; a warning in it is an error. PYTHON runs it."""
        environ = {"PYTHONPATH": upstream.path, **environ}
        done = subprocess.run(
            [environ.pop("PYTHON", PYTHON), "-W", "error", "-c", code, *arguments],
            env=self.antscache.environment(**environ),
            cwd=self.antscache.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def lab(antscache: AntsCache, tmp_path: Path, figshare: StandIn) -> Lab:
    return Lab(antscache, tmp_path, figshare)


# Who wins


@dataclass(frozen=True)
class Row:
    """An expression, and what it is with the hook; nothing: what it is without."""

    claim: str
    code: str
    expected: Any = None


VIEW = "{view}/" + BRAIN + ".h5"
OWN = "{own}/" + BRAIN + ".h5"
EVERY = (
    Row("a name alone comes from the view", f"network({BRAIN!r})", VIEW),
    Row("a name by keyword comes from the view", f"network(file_id={BRAIN!r})", VIEW),
    Row("no file name is none of the caller's", f"network({BRAIN!r}, None)", VIEW),
    Row("data come from the view", f"data({TEMPLATE!r})", "{view}/" + TEMPLATE + ".nii.gz"),
    Row("a call within a function that imports comes from the view", "antspynet.brain_extraction()[0]", VIEW),
    Row("a call for data within it does", "antspynet.brain_extraction()[1]", "{view}/" + TEMPLATE + ".nii.gz"),
    Row(
        "a call of what a module imported comes from the view", "antspynet.lung_extraction()", "{view}/" + LUNG + ".h5"
    ),
    Row("the submodule behind the function asks too", f"submodule.get_pretrained_network({BRAIN!r})", VIEW),
    Row("another HOME does not matter", f"elsewhere(lambda: network({BRAIN!r}))", VIEW),
    Row("a file name of the caller's wins", f"network({BRAIN!r}, target_file_name='mine.h5')"),
    Row("a file name by position wins", f"network({BRAIN!r}, 'mine.h5')"),
    Row("show lists what there is", "network('show')"),
    Row("an unknown name is upstream's error", "network('nonsense')"),
    Row("what is no name is upstream's error", "network(['a', 'list'])"),
    Row("no name is upstream's error", "network()"),
    Row("a name of data is no network", f"network({TEMPLATE!r})"),
    Row("what cannot be fetched is upstream's file", f"network({NOTHING!r})"),
    Row(
        "what cannot be fetched and is not there is upstream's error",
        f"without({NOTHING + '.h5'!r}, lambda: network({NOTHING!r}))",
    ),
    Row("an argument too many is upstream's error", f"network({BRAIN!r}, None, None, None)"),
    Row("an unknown argument is upstream's error", f"network({BRAIN!r}, cache_directory=None)"),
    Row("a name given twice is upstream's error", f"network({BRAIN!r}, file_id={LUNG!r})"),
)
WITH_PARAMETER = (
    Row("no directory is none of the caller's", f"network({BRAIN!r}, antsxnet_cache_directory=None)", VIEW),
    Row("the literal is no directory", f"network({BRAIN!r}, antsxnet_cache_directory='ANTsXNet')", VIEW),
    Row("the literal by position is none", f"data({TEMPLATE!r}, None, 'ANTsXNet')", "{view}/" + TEMPLATE + ".nii.gz"),
    Row("a directory of the caller's wins", f"network({BRAIN!r}, antsxnet_cache_directory=own)", OWN),
    Row("a directory by position wins", f"network({BRAIN!r}, None, own)", OWN),
    Row("a directory that is passed on wins", "antspynet.brain_extraction(own)[0]", OWN),
    Row("the home's directory, if it is named, wins", f"network({BRAIN!r}, None, home)", "{home}/" + BRAIN + ".h5"),
)
WITH_SETTING = (  # in this order
    Row(
        "a name of which releases have other bytes comes from the view",
        f"network({CHANGED!r})",
        "{view}/" + CHANGED + ".h5",
    ),
    Row("where the files are, as upstream says it, does not change", "antspynet.get_antsxnet_cache_directory()"),
    Row("the argument of older releases is an error", f"network({BRAIN!r}, antsxnet_cache_directory=own)"),
    Row("the argument of older releases by position is an error", f"network({BRAIN!r}, None, own)"),
    Row("a directory that is set wins", f"(antspynet.set_antsxnet_cache_directory(own), network({BRAIN!r}))[1]", OWN),
    Row("a directory that is set wins in internal calls", "antspynet.brain_extraction()[0]", OWN),
    Row(
        "the home's directory, if it is set, wins",
        f"(antspynet.set_antsxnet_cache_directory(home), network({BRAIN!r}))[1]",
        "{home}/" + BRAIN + ".h5",
    ),
)
TABLE = """
rows, own, home = json.loads(sys.argv[1]), *sys.argv[2:]
submodule = sys.modules["antspynet.utilities.get_pretrained_network"]

def elsewhere(function):
    before = os.environ["HOME"]
    os.environ["HOME"] = own
    try:
        return function()
    finally:
        os.environ["HOME"] = before

def without(file, function):
    paths = [os.path.join(place, file) for place in (home, os.path.join(os.environ["KERAS_HOME"], "ANTsXNet"))]
    for path in paths:
        os.rename(path, path + ".away")
    try:
        return function()
    finally:
        for path in paths:
            os.rename(path + ".away", path)

print(json.dumps([told(lambda: eval(row)) for row in rows]))
"""


def rows(version: str) -> tuple[Row, ...]:
    return EVERY + (WITH_PARAMETER if upstreams.has_parameter(version) else WITH_SETTING)


Answers = dict[str, tuple[Any, Any, Any]]  # claim: expected, with the hook, without


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All generations, each with its view; in the home, in KERAS_HOME and in a directory of the user's, other files."""
    place = tmp_path_factory.mktemp("settled")
    with StandIn(size=SIZE) as standin:
        antscache = AntsCache(place / "root", place / "home", standin.origins)
        antscache.environ["KERAS_HOME"] = str(place / "keras")
        for directory in place / "home" / HOME, place / "keras/ANTsXNet", place / "own":
            directory.mkdir(parents=True)
            for file in f"{BRAIN}.h5", f"{LUNG}.h5", f"{TEMPLATE}.nii.gz", f"{NOTHING}.h5", "mine.h5":
                (directory / file).write_bytes(b"not of the release")
        yield Lab(antscache, place, standin)


@pytest.fixture(scope="module")
def answers(settled: Lab) -> Callable[[str, str], Answers]:
    """What the table says for a release under an interpreter: asked once, offline."""
    found: dict[tuple[str, str], Answers] = {}

    def answers(version: str, python: str = PYTHON) -> Answers:
        if (version, python) not in found:
            upstream = settled.upstream(version)
            places = {"view": settled.view(version), "own": settled.place / "own", "home": settled.home}
            arguments = json.dumps([row.code for row in rows(version)]), str(places["own"]), str(places["home"])
            hooked = settled.asked(upstream, TABLE, *arguments, ANTSCACHE_OFFLINE="1", PYTHON=python)
            plain = settled.plain(upstream, IMPORTS + TABLE, *arguments, PYTHON=python).succeeded().json
            expected = [row.expected.format(**places) if row.expected else None for row in rows(version)]
            claims = [row.claim for row in rows(version)]
            found[version, python] = dict(zip(claims, zip(expected, hooked, plain, strict=True), strict=True))
        return found[version, python]

    return answers


@pytest.mark.parametrize(
    ("version", "claim"), [(version, row.claim) for version in GENERATIONS for row in rows(version)]
)
def test_who_wins_is_as_the_table_says(answers: Callable[[str], Answers], version: str, claim: str) -> None:
    expected, hooked, plain = answers(version)[claim]
    assert hooked == (expected or plain)


@pytest.mark.parametrize("minor", [8, 9])
def test_an_old_python_sees_the_same(answers: Callable[[str, str], Answers], minor: int) -> None:
    found = answers(NEWEST, older(minor)).items()
    assert {claim: hooked for claim, (_, hooked, _) in found} == {
        claim: expected or plain for claim, (expected, _, plain) in found
    }


def test_each_release_has_its_own_bytes_under_one_name(answers: Callable[[str], Answers], settled: Lab) -> None:
    for version, names in upstreams.CHANGES.items():
        _, path, _ = answers(version)["a name of which releases have other bytes comes from the view"]
        assert Path(path).read_bytes() == settled.figshare.content(names[CHANGED])


def test_the_release_that_is_named_wins_over_the_one_that_is_imported(settled: Lab) -> None:
    code = f"print(json.dumps(network({LUNG!r})))"
    path = settled.asked(settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.3.1")
    assert path == str(settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5")


def test_a_name_that_the_named_release_does_not_have_is_an_error_and_not_upstreams_business(settled: Lab) -> None:
    code = f"print(json.dumps([told(lambda: network({CHANGED!r})), told(lambda: network('show'))[-1]]))"
    told, shown = settled.asked(settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.1.1")
    assert told.startswith(f"AntsCacheError: antspynet==0.1.1 has no network {CHANGED} that can be fetched")
    assert shown == "show"


CHEXNET = """
import os, sys
import antspynet.utilities.chexnet
chexnet = sys.modules["antspynet.utilities.chexnet"].chexnet
try:
    print(chexnet("image"))
except Exception as error:
    print(type(error).__name__)
    print(error)
"""


def test_what_is_no_such_function_is_left_as_it_is(lab: Lab) -> None:
    upstream = upstreams.make(lab.place, NEWEST)
    source = "import functools\nchexnet = functools.partial(str.upper)\n"
    (upstream.directory / "antspynet/utilities/chexnet.py").write_text(source)
    assert lab.hooked(upstream, CHEXNET, ANTSCACHE_OFFLINE="1").succeeded().out == "IMAGE\n"


IN_FRONT = """
import sys
from importlib.machinery import PathFinder
class Alone:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path, target) if name.startswith("antspynet") else None
sys.meta_path.insert(0, Alone())
"""


def test_a_finder_in_front_that_asks_nobody_does_not_hide_it(settled: Lab) -> None:
    code = f"{IN_FRONT}{IMPORTS}print(json.dumps(network({BRAIN!r})))"
    view = settled.view()
    assert settled.hooked(settled.upstream(), code).succeeded().json == str(view / f"{BRAIN}.h5")


EXAMPLES = """
import ants
own = sys.argv[1]
asked = [
    lambda: ants.get_data("r16"),
    lambda: ants.get_ants_data(file_id="mni"),
    lambda: ants.get_data("r16", antsx_cache_directory=own + "/"),
    lambda: ants.get_data("r16", own + "/mine.jpg"),
    lambda: ants.get_data("show"),
    lambda: ants.get_data(),
]
print(json.dumps([told(each) for each in asked]))
"""


def test_the_example_files_of_antspyx_come_from_their_view_unless_a_place_is_named(settled: Lab) -> None:
    own = settled.place / "examples"
    own.mkdir()
    for file in "r16slice.jpg", "mine.jpg":
        (own / file).write_bytes(b"mine")
    slice_, image, theirs, named, *shown = settled.asked(settled.upstream(), EXAMPLES, str(own))
    [view] = settled.antscache.root.glob("views/antspyx-*")
    assert (slice_, image) == (str(view / ".antspy/r16slice.jpg"), str(view / ".antspy/mni.nii.gz"))
    assert Path(slice_).read_bytes() == settled.figshare.content(upstreams.EXAMPLES["r16"])
    assert (theirs, named) == (str(own / "r16slice.jpg"), str(own / "mine.jpg"))
    assert shown == [[*upstreams.EXAMPLES, "show"]] * 2


@pytest.mark.parametrize("off", ["0", "False", "no", "OFF"])
def test_a_hook_that_is_switched_off_is_none(settled: Lab, off: str) -> None:
    code = f"{IMPORTS}print(json.dumps([network({BRAIN!r}), 'antscache_hook' in str(sys.meta_path)]))"
    ran = settled.hooked(settled.upstream(), code, ANTSCACHE_HOOK=off).succeeded()
    assert ran.json == [str(settled.home / f"{BRAIN}.h5"), False]


# Files that are not there, or not whole


def test_a_file_that_is_not_there_is_fetched_when_it_is_asked_for(lab: Lab, figshare: StandIn) -> None:
    upstream = lab.upstream()
    before = figshare.downloads(NUMBERS[BRAIN])
    ran = lab.hooked(upstream, IMPORTS + f"print(json.dumps([network({BRAIN!r}) for _ in range(2)]))").succeeded()
    [path] = set(ran.json)
    assert Path(path).read_bytes() == figshare.content(NUMBERS[BRAIN])
    assert figshare.downloads(NUMBERS[BRAIN]) == before + 1
    assert ran.err.count("antscache: getting") == 1
    assert f"getting {BRAIN}.h5 of antspynet=={upstream.version}" in ran.err
    assert not (lab.antscache.home / ".keras").exists()


CUT = """
path = network(sys.argv[1])
if sys.argv[2] == "the file":
    os.chmod(path, 0o644)
    os.truncate(path, 100)
else:
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(bytes(100))
print(json.dumps([path, told(lambda: network(sys.argv[1]))]))
"""


@pytest.mark.parametrize(("what", "mode"), [("the file", "hardlink"), ("the name", "symlink")])
def test_a_file_that_is_cut_while_it_is_in_use_is_made_right_before_it_is_used_again(
    lab: Lab, figshare: StandIn, what: str, mode: str
) -> None:
    cut, path = lab.asked(lab.upstream(), CUT, BRAIN, what, ANTSCACHE_LINK_MODE=mode)
    assert path == cut
    assert Path(path).read_bytes() == figshare.content(NUMBERS[BRAIN])


def test_offline_a_file_that_was_cut_is_an_error_and_never_used(lab: Lab) -> None:
    upstream = lab.upstream()
    lab.view(NEWEST, BRAIN)
    cut, answer = lab.asked(upstream, CUT, BRAIN, "the file", ANTSCACHE_OFFLINE="1")
    assert Path(cut).stat().st_size == 100
    assert answer.startswith("AntsCacheError: error: ")
    assert f"{BRAIN}.h5" in answer


@pytest.mark.parametrize("release", ["", "antspynet==0.3.1"])
def test_offline_a_file_that_is_not_there_is_an_error_with_the_command_that_gets_it(lab: Lab, release: str) -> None:
    upstream = lab.upstream()
    code = f"print(json.dumps(told(lambda: network({BRAIN!r}))))"
    offline = {"ANTSCACHE_OFFLINE": "1"} | ({"ANTSCACHE_RELEASE": release} if release else {})
    error = lab.asked(upstream, code, **offline)
    assert error.startswith("AntsCacheError: error: ")
    assert f"{BRAIN}.h5" in error
    assert (release or f"antspynet=={upstream.version}") in error
    hint = re.search(r"^hint: .*`antscache (.*?)`", error, re.MULTILINE)
    assert hint
    lab.antscache(*shlex.split(hint[1])).succeeded()
    assert lab.asked(upstream, code, **offline).endswith(f"{HOME}/{BRAIN}.h5")


KERAS = """
from antspynet.utilities import chexnet
file = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
answers = [told(chexnet)]
os.environ["ANTSCACHE_OFFLINE"] = "1"
answers += [told(chexnet)]
place = os.path.join(os.path.expanduser("~"), ".keras", "models")
os.makedirs(place)
open(os.path.join(place, file), "wb").close()
print(json.dumps([*answers, told(chexnet)]))
"""


def test_what_keras_would_download_itself_is_said_and_offline_an_error(lab: Lab) -> None:
    ran = lab.hooked(lab.upstream(), IMPORTS + KERAS).succeeded()
    online, offline, there = ran.json
    assert online == there == "weights of Keras's own"
    [said] = ran.err.splitlines()
    for text in said, offline:
        assert "chexnet() needs densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5" in text
        assert str(lab.antscache.home / ".keras/models") in text
    assert offline.startswith("AntsCacheError: ")


# An antscache that is not what it should be

ENTRY = {
    "release": "antspynet==0.3.2", "kind": "network", "name": BRAIN, "file": f"{BRAIN}.h5",
    "identifier": f"figshare:{NUMBERS[BRAIN]}", "digest": "sha256:" + "0" * 64, "size": 5, "path": None,
}  # fmt: skip


def shell(script: str) -> list[str]:
    return ["sh", "-c", script, "antscache"]


def answering(fetched: list[Any]) -> list[str]:
    """A command that has an entry, and answers `fetched` when it is to fetch it."""
    return shell(f"case $2 in entries) echo '{json.dumps([ENTRY])}';; *) echo '{json.dumps(fetched)}';; esac")


BROKEN: dict[str, str | list[str]] = {
    "it is gone": ["/nonexistent/bin/antscache"],
    "it is no program": [str(INJECT / "antscache_hook.py")],
    "it is a directory": ["/"],
    "it says nothing": ["true"],
    "it talks": shell("echo All is well."),
    "it prints what is no text": shell(r"printf '\377\376'"),
    "it prints an object": shell("echo '{}'"),
    "it prints no entries": shell("echo '[]'"),
    "it prints numbers": shell("echo '[1, 2]'"),
    "it prints entries without names": shell("echo '[{}]'"),
    "it fails without a word": shell("exit 3"),
    "it is killed": shell("kill -9 $$"),
    "it knows no path": answering([{key: value for key, value in ENTRY.items() if key != "path"}]),
    "it fetches nothing": answering([]),
    "it fetches elsewhere": answering([{**ENTRY, "path": "/nonexistent"}]),
    "it fetches half": answering([{**ENTRY, "path": "/etc/passwd"}]),
    "the variable is no JSON": "antscache hook",
    "the variable is a text": '"antscache"',
    "the variable is a number": "5",
    "the variable is empty": "",
}
COMMANDS = """
def answer(command):
    os.environ["ANTSCACHE_COMMAND"] = command if isinstance(command, str) else json.dumps(command)
    try:
        return ["nothing", network(sys.argv[2]), False]
    except BaseException as error:
        hidden = error.__suppress_context__ or error.__context__ is None
        return [type(error).__module__ + "." + type(error).__name__, str(error), hidden]

found = []
for command in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()  # nothing is known yet, each time
    if child == 0:
        with os.fdopen(write, "w") as file:
            json.dump(answer(command), file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        found.append(json.load(file))
    os.waitpid(child, 0)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def broken(settled: Lab) -> dict[str, list[Any]]:
    """What a request is with each of these commands, in one process."""
    ran = settled.hooked(settled.upstream(), IMPORTS + COMMANDS, json.dumps([*BROKEN.values()]), BRAIN).succeeded()
    return dict(zip(BROKEN, ran.json, strict=True))


@pytest.mark.parametrize("how", BROKEN)
def test_an_antscache_that_does_not_work_is_a_clear_error(broken: dict[str, list[Any]], how: str) -> None:
    [kind, text, alone] = broken[how]
    assert kind == "antscache_getters.AntsCacheError"
    assert "antscache" in text
    assert alone, "another traceback stands before it"


def test_what_antscache_says_is_wrong_is_the_error(settled: Lab) -> None:
    command = json.dumps(shell("echo 'error: the disk is full' >&2; echo 'hint: free some space' >&2; exit 6"))
    ran = settled.hooked(
        settled.upstream(), "import antspynet; antspynet.brain_extraction()", ANTSCACHE_COMMAND=command
    )
    assert ran.code == 1
    assert ran.err.count("Traceback") == 1
    assert ran.err.splitlines()[-2:] == [
        "antscache_getters.AntsCacheError: error: the disk is full",
        "hint: free some space",
    ]


def test_what_is_set_for_the_users_python_does_not_reach_antscache(settled: Lab) -> None:
    theirs = settled.place / "theirs"
    theirs.mkdir()
    (theirs / "click.py").write_text("raise ImportError('the wrong click')\n")
    upstream = settled.upstream()
    code = f"os.environ['PYTHONHOME'] = '/nonexistent'; print(json.dumps(network({BRAIN!r})))"
    assert settled.asked(upstream, code, PYTHONPATH=f"{theirs}:{upstream.path}") == str(settled.view() / f"{BRAIN}.h5")


# Packages that are not as expected

ODD = {
    "wrapped": "\nimport functools\nget_pretrained_network = functools.lru_cache(get_pretrained_network)\n",
    "with a closure": """
def _decorated(function):
    def get_pretrained_network(*values, **named):
        return function(*values, **named)
    return get_pretrained_network

get_pretrained_network = _decorated(get_pretrained_network)
""",
    "an object": """
class Getter:
    def __call__(self, file_id=None):
        return file_id

get_pretrained_network = Getter()
""",
}


@pytest.mark.parametrize("odd", ODD)
def test_a_getter_that_cannot_be_redirected_is_an_import_error_that_says_how_to_go_without(lab: Lab, odd: str) -> None:
    upstream = upstreams.make(lab.place, NEWEST, more=ODD[odd])
    ran = lab.hooked(upstream, "import antspynet")
    assert ran.code == 1
    *_, error, hint = ran.err.splitlines()
    assert error.startswith("ImportError: antscache cannot direct antspynet.utilities.get_pretrained_network")
    assert "ANTSCACHE_HOOK=0" in hint
    lab.hooked(upstream, "import antspynet", ANTSCACHE_HOOK="0").succeeded()


def archive(upstream: Upstream) -> Path:
    path = upstream.directory.with_suffix(".whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for file in sorted(upstream.directory.rglob("*")):
            wheel.write(file, file.relative_to(upstream.directory))
    return path


def redirected_or_refused(ran: Ran, view: Path) -> bool:
    """Whether what `ran` printed is from the view, or its import was an error: never another place without a word."""
    if ran.code == 0:
        return bool(ran.json == str(view / f"{BRAIN}.h5"))
    return "ImportError: antscache cannot direct" in ran.err


@pytest.mark.parametrize("python", ["this", "3.9", "3.8"])
def test_a_package_in_an_archive_asks_too_or_is_an_import_error(settled: Lab, python: str) -> None:
    upstream = settled.upstream()
    view = settled.view()
    path = f"{archive(upstream)}:{upstream.beside}"
    interpreter = PYTHON if python == "this" else older(int(python[2:]))
    ran = settled.hooked(
        upstream, IMPORTS + f"print(json.dumps(network({BRAIN!r})))", PYTHONPATH=path, PYTHON=interpreter
    )
    assert redirected_or_refused(ran, view), ran


OTHER_FINDERS = {
    "one that asks all the others": """
import importlib.util, sys

class Asks:
    asking = False

    def find_spec(self, name, path=None, target=None):
        if self.asking or not name.startswith("antspynet.utilities."):
            return None
        self.asking = True
        try:
            return importlib.util.find_spec(name)
        finally:
            self.asking = False

sys.meta_path.insert(0, Asks())
""",
    "one whose loader is of an older kind": """
import importlib.machinery, importlib.util, sys, types, warnings
warnings.simplefilter("ignore")

class Loads:
    def __init__(self, path):
        self.path = path

    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        module.__file__, module.__package__ = self.path, name.rpartition(".")[0]
        with open(self.path) as source:
            exec(compile(source.read(), self.path, "exec"), module.__dict__)
        return module

class Finds:
    def find_spec(self, name, path=None, target=None):
        if name != "antspynet.utilities.get_pretrained_network":
            return None
        return importlib.util.spec_from_loader(name, Loads(path[0] + "/get_pretrained_network.py"))

sys.meta_path.insert(1, Finds())
""",
    "one whose loader cannot be changed": """
import importlib.util, sys

class Loads:
    __slots__ = ("path",)

    def __init__(self, path):
        self.path = path

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = self.path
        with open(self.path) as source:
            exec(compile(source.read(), self.path, "exec"), module.__dict__)

class Finds:
    def find_spec(self, name, path=None, target=None):
        if name != "antspynet.utilities.get_pretrained_network":
            return None
        return importlib.util.spec_from_loader(name, Loads(path[0] + "/get_pretrained_network.py"))

sys.meta_path.insert(1, Finds())
""",
}


@pytest.mark.parametrize("finder", OTHER_FINDERS)
def test_other_peoples_import_hooks_do_not_go_past_it(settled: Lab, finder: str) -> None:
    upstream = settled.upstream()
    view = settled.view()
    ran = settled.hooked(upstream, OTHER_FINDERS[finder] + IMPORTS + f"print(json.dumps(network({BRAIN!r})))")
    assert redirected_or_refused(ran, view), ran


RELOADED = """
import importlib
importlib.reload(sys.modules["antspynet.utilities." + sys.argv[1]])
modules = [sys.modules["antspynet.utilities." + each] for each in ("get_antsxnet_data", "get_pretrained_network")]
print(json.dumps([
    network(sys.argv[2]), data(sys.argv[3]),
    modules[1].get_pretrained_network(sys.argv[2]), modules[0].get_antsxnet_data(sys.argv[3])
]))
"""


@pytest.mark.parametrize("module", ["get_antsxnet_data", "get_pretrained_network"])
def test_a_getter_that_is_loaded_again_asks_again_and_so_does_the_other(settled: Lab, module: str) -> None:
    upstream = settled.upstream("0.2.9")
    view = settled.view("0.2.9")
    paths = settled.hooked(upstream, IMPORTS + RELOADED, module, BRAIN, TEMPLATE).succeeded().json
    assert paths == [str(view / f"{BRAIN}.h5"), str(view / f"{TEMPLATE}.nii.gz")] * 2


# Threads and processes

THREADS = """
import json, sys, threading
found, start = [None, None], threading.Barrier(2)

def ask(number):
    start.wait()
    import antspynet
    found[number] = antspynet.get_pretrained_network(sys.argv[1])

threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(json.dumps([*found, threading.active_count()]))
"""


def test_two_threads_that_import_and_ask_at_once_get_one_file_fetched_once(lab: Lab, figshare: StandIn) -> None:
    before = figshare.downloads(NUMBERS[LUNG])
    first, second, threads = lab.hooked(lab.upstream(), THREADS, LUNG).succeeded().json
    assert first == second
    assert Path(first).read_bytes() == figshare.content(NUMBERS[LUNG])
    assert figshare.downloads(NUMBERS[LUNG]) == before + 1
    assert threads == 1


FORKED = """
first = network(sys.argv[1])
read, write = os.pipe()
child = os.fork()
if child == 0:
    with os.fdopen(write, "w") as file:
        json.dump(told(lambda: network(sys.argv[2])), file)
    os._exit(0)
os.close(write)
with os.fdopen(read) as file:
    print(json.dumps([first, json.load(file), os.waitpid(child, 0)[1]]))
"""


def test_a_forked_process_asks_for_itself(lab: Lab, figshare: StandIn) -> None:
    first, second, status = lab.hooked(lab.upstream(), IMPORTS + FORKED, BRAIN, LUNG).succeeded().json
    assert status == 0
    assert Path(first).parent == Path(second).parent
    assert Path(second).read_bytes() == figshare.content(NUMBERS[LUNG])


# What is noted of what was asked for

NOTED = """
names, children = sys.argv[1].split(), int(sys.argv[2])
network(names[0])
read, write = os.pipe()
pids = []
for _ in range(children):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(write)
            os.read(read, 1)  # until all are there
            for name in names:
                (data if name.startswith(("S_", "maget")) else network)(name)
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
os.close(read)
os.close(write)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * children
print(json.dumps(pids))
"""


def test_many_processes_note_what_they_ask_for_in_one_file_whose_lines_are_whole(settled: Lab) -> None:
    upstream, record = settled.upstream(), settled.place / "record"
    view = settled.view()
    names = " ".join(sorted(upstream.files, key=lambda name: name != BRAIN))
    settled.asked(upstream, NOTED, names, "16", ANTSCACHE_RECORD=str(record))
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(lines) == 1 + 16 * (len(upstream.files) - 1)
    numbers = upstream.networks | upstream.data
    assert {each["name"]: each for each in lines} == {
        name: {
            "release": f"antspynet=={view.parent.parent.name.removeprefix('antspynet-')}",
            "kind": "network" if name in upstream.networks else "data",
            "name": name,
            "file": file,
            "identifier": f"figshare:{numbers[name]}",
            "digest": f"sha256:{hashlib.sha256((view / file).read_bytes()).hexdigest()}",
            "size": (view / file).stat().st_size,
        }
        for name, file in upstream.files.items()
    }


def test_each_process_notes_all_that_it_asks_for_in_a_file_of_its_own_where_the_name_has_its_number(
    settled: Lab,
) -> None:
    record = settled.place / "records/of-%p"
    record.parent.mkdir()
    children = settled.asked(settled.upstream(), NOTED, f"{BRAIN} {LUNG}", "2", ANTSCACHE_RECORD=str(record))
    noted = {
        path.name: [json.loads(line)["name"] for line in path.read_text().splitlines()]
        for path in record.parent.iterdir()
    }
    own = {f"of-{child}": [BRAIN, LUNG] for child in children}
    assert {name: noted.pop(name) for name in own} == own
    assert [*noted.values()] == [[BRAIN]]  # the process that forked them


def test_a_record_that_cannot_be_written_is_said_and_stops_nobody(settled: Lab) -> None:
    code = IMPORTS + f"print(json.dumps(network({BRAIN!r})))"
    ran = settled.hooked(settled.upstream(), code, ANTSCACHE_RECORD="/nonexistent/record").succeeded()
    assert ran.json.endswith(f"{HOME}/{BRAIN}.h5")
    assert ran.err.startswith("antscache: cannot record what is used: ")


# What is there of it in a process


@pytest.mark.parametrize("file", sorted(INJECT.glob("*.py")), ids=lambda path: path.name)
def test_the_injected_files_are_of_python_3_8s_grammar_and_import_the_standard_library_alone(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if file.name == "sitecustomize.py":
        imported -= {"antscache_hook", "sitecustomize"}
    tops = {name.partition(".")[0] for name in imported}
    assert tops <= sys.stdlib_module_names
    assert tops.isdisjoint({"asyncio", "concurrent", "http", "multiprocessing", "socket", "threading", "urllib"})


def test_nothing_else_is_imported_where_nobody_imports_antspynet(settled: Lab) -> None:
    def imported(path: str) -> set[str]:
        done = subprocess.run(
            [PYTHON, "-X", "importtime", "-c", "pass"],
            env=settled.antscache.environment(PYTHONPATH=path),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        return {line.rsplit("|", 1)[1].strip() for line in lines}

    more = imported(str(INJECT)) - imported(str(settled.place))
    assert "antscache_hook" in more
    assert more <= {"antscache_hook", "sitecustomize", "__future__"}  # the last for annotations, which cost nothing


def test_paths_modules_and_variables_are_as_without_it(settled: Lab) -> None:
    code = "import json, os, sys; print(json.dumps([sys.path, sorted(sys.modules), dict(os.environ)]))"
    upstream = settled.upstream()
    path, modules, environ = settled.plain(upstream, code).succeeded().json
    with_path, with_modules, with_environ = settled.hooked(upstream, code).succeeded().json
    assert with_path == path
    assert set(with_modules) - set(modules) <= {"antscache_hook", "sitecustomize", "__future__"}
    differ = {key for key in environ | with_environ if environ.get(key) != with_environ.get(key)}
    assert differ == {"PYTHONPATH", "ANTSCACHE_COMMAND"}


# What a process does to itself: activate()


def activated(lab: Lab, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Any:
    """What `code` prints last, as JSON, in an interpreter that has antscache as well."""
    ran = lab.plain(upstream, code, *arguments, PYTHON=sys.executable, **environ).succeeded()
    return json.loads(ran.out.splitlines()[-1])


def test_what_is_imported_after_activate_asks(settled: Lab) -> None:
    upstream = settled.upstream()
    code = "import antscache; antscache.activate(offline=True)" + IMPORTS + f"print(json.dumps(network({BRAIN!r})))"
    assert activated(settled, upstream, code) == str(settled.view() / f"{BRAIN}.h5")


REFERENCES = """
import functools, importlib, inspect, pickle
from antspynet.utilities.get_pretrained_network import get_pretrained_network as renamed

def closed(function):
    return lambda: function(sys.argv[1])

class Holder:
    getter = staticmethod(network)

def by_default(function=network):
    return function(sys.argv[1])

def looks():
    return [str(inspect.signature(network)), inspect.getsource(network), network.__doc__, network.__name__,
            network.__qualname__, network.__module__]

references = [
    lambda: renamed(sys.argv[1]),
    closed(network),
    functools.partial(network, sys.argv[1]),
    functools.partial(network, file_id=sys.argv[1]),
    lambda: Holder.getter(sys.argv[1]),
    by_default,
    lambda: [*map(network, [sys.argv[1]])][0],
    lambda: pickle.loads(pickle.dumps(network))(sys.argv[1]),
]
before = looks()
import antscache
for _ in range(2):
    antscache.activate(offline=True)
finders = sum(type(each).__module__ == "antscache_hook" for each in sys.meta_path)
print(json.dumps([[told(each) for each in references], before, looks(), finders]))
"""


@pytest.fixture(scope="module")
def referred(settled: Lab) -> list[Any]:
    return list(activated(settled, settled.upstream(), IMPORTS + REFERENCES, BRAIN))


def test_every_reference_from_before_activate_asks_after_it(settled: Lab, referred: list[Any]) -> None:
    assert referred[0] == [str(settled.view() / f"{BRAIN}.h5")] * 8


def test_a_getter_that_asks_looks_like_upstreams(referred: list[Any]) -> None:
    _, before, after, _ = referred
    assert after == before


def test_activating_twice_is_activating_once(referred: list[Any]) -> None:
    assert referred[3] == 1


def test_a_directory_that_was_set_before_activate_wins(settled: Lab) -> None:
    code = "antspynet.set_antsxnet_cache_directory(sys.argv[1])\nimport antscache; antscache.activate()\n"
    code += f"print(json.dumps([network({BRAIN!r}), antspynet.brain_extraction()[1]]))"
    own = settled.place / "own"
    answer = activated(settled, settled.upstream("0.2.9"), IMPORTS + code, str(own))
    assert answer == [str(own / f"{BRAIN}.h5"), str(own / f"{TEMPLATE}.nii.gz")]


AGAIN = """
import antscache
antscache.activate({first})
first = told(lambda: network(sys.argv[1]))
antscache.activate({second})
print(json.dumps([first, told(lambda: network(sys.argv[1]))]))
"""


def test_activating_again_for_another_release_leads_to_its_view(settled: Lab) -> None:
    named = settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5"
    code = IMPORTS + AGAIN.format(first="", second="'0.3.1'")
    assert activated(settled, settled.upstream(), code, LUNG) == [str(settled.view() / f"{LUNG}.h5"), str(named)]


def test_activating_again_with_another_root_leads_there(settled: Lab) -> None:
    other = settled.place / "other"
    code = IMPORTS + AGAIN.format(first="", second=f"root={str(other)!r}")
    first, second = activated(settled, settled.upstream(), code, BRAIN)
    assert first == str(settled.view() / f"{BRAIN}.h5")
    assert Path(second).is_relative_to(other)


def test_activate_within_a_run_for_a_release_keeps_to_it(settled: Lab) -> None:
    code = f"import antscache; antscache.activate(){IMPORTS}print(json.dumps(network({LUNG!r})))"
    path = activated(settled, settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.3.1")
    assert path == str(settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5")


def test_what_is_asked_for_after_activate_is_noted(settled: Lab) -> None:
    record = settled.place / "noted"
    code = f"import antscache; antscache.activate(record=sys.argv[1]); print(json.dumps(network({BRAIN!r})))"
    activated(settled, settled.upstream(), IMPORTS + code, str(record))
    assert [json.loads(line)["name"] for line in record.read_text().splitlines()] == [BRAIN]


CHILDREN = """
import multiprocessing, subprocess
import antscache
antscache.activate(offline=True)
found = []
for method in "spawn", "forkserver", "fork":
    with multiprocessing.get_context(method).Pool(1) as pool:
        found.append(pool.apply(network, (sys.argv[1],)))
code = "import antspynet, sys; print(antspynet.get_pretrained_network(sys.argv[1]))"
found.append(subprocess.check_output([sys.argv[2], "-c", code, sys.argv[1]], text=True).strip())
print(json.dumps(found))
"""


def test_processes_that_a_notebook_starts_after_activate_see_the_view(settled: Lab) -> None:
    upstream = settled.upstream()
    paths = activated(settled, upstream, IMPORTS + CHILDREN, BRAIN, PYTHON)
    assert paths == [str(settled.view() / f"{BRAIN}.h5")] * 4


HALF = """
import antscache
before = dict(os.environ), list(sys.meta_path)
try:
    antscache.activate(*json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
except (ImportError, antscache.AntsCacheError) as error:
    told_ = str(error)
print(json.dumps([told_, dict(os.environ) == before[0], sys.meta_path == before[1], data(sys.argv[3])]))
"""


def test_activate_after_an_import_that_cannot_be_directed_raises_and_changes_nothing(lab: Lab) -> None:
    upstream = upstreams.make(lab.place, NEWEST, more=ODD["wrapped"])
    lab.home.mkdir(parents=True)
    (lab.home / f"{TEMPLATE}.nii.gz").write_bytes(b"mine")
    told, same_environ, same_finders, path = activated(lab, upstream, IMPORTS + HALF, "[]", "{}", TEMPLATE)
    assert "get_pretrained_network is not the function that was expected" in told
    assert "ANTSCACHE_HOOK=0" in told
    assert path == str(lab.home / f"{TEMPLATE}.nii.gz")  # or some files would be of the view, and others not
    assert (same_environ, same_finders) == (True, True)


@pytest.mark.parametrize(
    ("values", "named"), [([], {"jobs": 0}), ([], {"nonsense": 1}), (["no release"], {}), (["antspyx==0.6.3==1"], {})]
)
def test_activate_with_what_cannot_be_used_raises_and_changes_nothing(
    settled: Lab, values: list[str], named: dict[str, int]
) -> None:
    arguments = json.dumps(values), json.dumps(named), TEMPLATE
    told, same_environ, same_finders, path = activated(settled, settled.upstream(), IMPORTS + HALF, *arguments)
    assert told
    assert (same_environ, same_finders, path) == (True, True, str(settled.home / f"{TEMPLATE}.nii.gz"))
