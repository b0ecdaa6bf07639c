"""The hook in a user's interpreter: which file a call returns, which references it reaches, and how it fails.

Most processes here are of an interpreter that has no antscache; packages are in upstream's form (`upstreams.py`). The
home holds files of all names as well: a path into it was returned by upstream's own function.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, HANG_SECONDS, LUNG, SIZE, TEMPLATE, AntsCache, Ran, upstreams
from support.hooked import HOME, IMPORTS, INJECT, NEWEST, Lab
from support.upstreams import CHANGED, GENERATIONS, PYTHON, UNFETCHABLE, Upstream, older

from antscache.testing import StandIn
from antscache.testing.contents import content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMBERS = upstreams.NETWORKS | {TEMPLATE: "22597175"}


@pytest.fixture
def lab(antscache: AntsCache, tmp_path: Path, figshare: StandIn) -> Lab:
    return Lab(antscache, tmp_path, figshare)


# Who wins


@dataclass(frozen=True)
class Row:
    """An expression, and its value with the hook; None means the same value as without."""

    claim: str
    code: str
    expected: Any = None


VIEW_PATH = "{view}/" + BRAIN + ".h5"
OWN_PATH = "{own}/" + BRAIN + ".h5"
COMMON_ROWS = (
    Row("a name alone comes from the view", f"network({BRAIN!r})", VIEW_PATH),
    Row("a name by keyword comes from the view", f"network(file_id={BRAIN!r})", VIEW_PATH),
    Row("no file name is none of the caller's", f"network({BRAIN!r}, None)", VIEW_PATH),
    Row("data come from the view", f"data({TEMPLATE!r})", "{view}/" + TEMPLATE + ".nii.gz"),
    Row("a call within a function that imports comes from the view", "antspynet.brain_extraction()[0]", VIEW_PATH),
    Row("a call for data within it does", "antspynet.brain_extraction()[1]", "{view}/" + TEMPLATE + ".nii.gz"),
    Row(
        "a call of what a module imported comes from the view", "antspynet.lung_extraction()", "{view}/" + LUNG + ".h5"
    ),
    Row("the submodule behind the function asks too", f"submodule.get_pretrained_network({BRAIN!r})", VIEW_PATH),
    Row("another HOME does not matter", f"elsewhere(lambda: network({BRAIN!r}))", VIEW_PATH),
    Row("a file name of the caller's wins", f"network({BRAIN!r}, target_file_name='mine.h5')", "{home}/mine.h5"),
    Row("a file name by position wins", f"network({BRAIN!r}, 'mine.h5')", "{home}/mine.h5"),
    Row("show lists what there is", "network('show')"),
    Row("an unknown name is upstream's error", "network('nonsense')"),
    Row("what is no name is upstream's error", "network(['a', 'list'])"),
    Row("no name is upstream's error", "network()"),
    Row("a name of data is no network", f"network({TEMPLATE!r})"),
    Row("what cannot be fetched comes from the home", f"network({UNFETCHABLE!r})", "{home}/" + UNFETCHABLE + ".h5"),
    Row("an argument too many is upstream's error", f"network({BRAIN!r}, None, None, None)"),
    Row("an unknown argument is upstream's error", f"network({BRAIN!r}, cache_directory=None)"),
    Row("a name given twice is upstream's error", f"network({BRAIN!r}, file_id={LUNG!r})"),
)
PARAMETER_ROWS = (
    Row("no directory is none of the caller's", f"network({BRAIN!r}, antsxnet_cache_directory=None)", VIEW_PATH),
    Row("the literal is no directory", f"network({BRAIN!r}, antsxnet_cache_directory='ANTsXNet')", VIEW_PATH),
    Row("the literal by position is none", f"data({TEMPLATE!r}, None, 'ANTsXNet')", "{view}/" + TEMPLATE + ".nii.gz"),
    Row("a directory of the caller's wins", f"network({BRAIN!r}, antsxnet_cache_directory=own)", OWN_PATH),
    Row("a directory by position wins", f"network({BRAIN!r}, None, own)", OWN_PATH),
    Row("a directory that is passed on wins", "antspynet.brain_extraction(own)[0]", OWN_PATH),
    Row("the home's directory, if it is named, wins", f"network({BRAIN!r}, None, home)", "{home}/" + BRAIN + ".h5"),
)
SETTING_ROWS = (  # in this order
    Row(
        "a name of which releases have other bytes comes from the view",
        f"network({CHANGED!r})",
        "{view}/" + CHANGED + ".h5",
    ),
    Row("where the files are, as upstream says it, does not change", "antspynet.get_antsxnet_cache_directory()"),
    Row("the argument of older releases is an error", f"network({BRAIN!r}, antsxnet_cache_directory=own)"),
    Row("the argument of older releases by position is an error", f"network({BRAIN!r}, None, own)"),
    Row(
        "a directory that is set wins",
        f"(antspynet.set_antsxnet_cache_directory(own), network({BRAIN!r}))[1]",
        OWN_PATH,
    ),
    Row("a directory that is set wins in internal calls", "antspynet.brain_extraction()[0]", OWN_PATH),
    Row(
        "the home's directory, if it is set, wins",
        f"(antspynet.set_antsxnet_cache_directory(home), network({BRAIN!r}))[1]",
        "{home}/" + BRAIN + ".h5",
    ),
)
TABLE_CODE = """
rows, own, home = json.loads(sys.argv[1]), *sys.argv[2:]
submodule = sys.modules["antspynet.utilities.get_pretrained_network"]

def elsewhere(function):
    before = os.environ["HOME"]
    os.environ["HOME"] = own
    try:
        return function()
    finally:
        os.environ["HOME"] = before

print(json.dumps([outcome(lambda: eval(row)) for row in rows]))
"""


def rows(version: str) -> tuple[Row, ...]:
    return COMMON_ROWS + (PARAMETER_ROWS if upstreams.has_parameter(version) else SETTING_ROWS)


Answers = dict[str, tuple[Any, Any, Any]]  # claim: expected, with the hook, without


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All generations, each with its view; other files are in the home, in KERAS_HOME and in a user's directory."""
    place = tmp_path_factory.mktemp("settled")
    with StandIn(size=SIZE) as standin:
        antscache = AntsCache(place / "root", place / "home", standin.origins)
        antscache.environ["KERAS_HOME"] = str(place / "keras")
        for directory in place / "home" / HOME, place / "keras/ANTsXNet", place / "own":
            directory.mkdir(parents=True)
            for file in f"{BRAIN}.h5", f"{LUNG}.h5", f"{TEMPLATE}.nii.gz", f"{UNFETCHABLE}.h5", "mine.h5":
                (directory / file).write_bytes(content("1", file, SIZE))  # whole, and not of the release
        yield Lab(antscache, place, standin)


@pytest.fixture(scope="module")
def answers(settled: Lab) -> Callable[[str, str], Answers]:
    """Evaluate the table for a release under an interpreter, offline: once for each pair."""
    tables: dict[tuple[str, str], Answers] = {}

    def answers(version: str, python: str = PYTHON) -> Answers:
        if (version, python) not in tables:
            upstream = settled.upstream(version)
            places = {"view": settled.view(version), "own": settled.place / "own", "home": settled.home}
            arguments = json.dumps([row.code for row in rows(version)]), str(places["own"]), str(places["home"])
            hooked = settled.answer(upstream, TABLE_CODE, *arguments, ANTSCACHE_OFFLINE="1", PYTHON=python)
            plain = settled.plain(upstream, IMPORTS + TABLE_CODE, *arguments, PYTHON=python).succeeded().json
            expected = [row.expected.format(**places) if row.expected else None for row in rows(version)]
            claims = [row.claim for row in rows(version)]
            tables[version, python] = dict(zip(claims, zip(expected, hooked, plain, strict=True), strict=True))
        return tables[version, python]

    return answers


@pytest.mark.parametrize(
    ("version", "claim"), [(version, row.claim) for version in GENERATIONS for row in rows(version)]
)
def test_answers_are_as_in_the_table(answers: Callable[[str], Answers], version: str, claim: str) -> None:
    expected, hooked, plain = answers(version)[claim]
    assert hooked == (expected or plain)


@pytest.mark.parametrize("minor", [8, 9])
def test_old_pythons_get_the_same_answers(answers: Callable[[str, str], Answers], minor: int) -> None:
    table = answers(NEWEST, older(minor)).items()
    assert {claim: hooked for claim, (_, hooked, _) in table} == {
        claim: expected or plain for claim, (expected, _, plain) in table
    }


def test_releases_have_different_bytes_under_one_name(answers: Callable[[str], Answers], settled: Lab) -> None:
    for version, names in upstreams.CHANGES.items():
        _, path, _ = answers(version)["a name of which releases have other bytes comes from the view"]
        assert Path(path).read_bytes() == settled.figshare.content(names[CHANGED])


def test_named_release_wins_over_the_imported_one(settled: Lab) -> None:
    code = f"print(json.dumps(network({LUNG!r})))"
    path = settled.answer(settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.3.1")
    assert path == str(settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5")


def test_named_release_without_the_name_is_an_error(settled: Lab) -> None:
    """Upstream's own function is not asked."""
    code = f"print(json.dumps([outcome(lambda: network({CHANGED!r})), outcome(lambda: network('show'))[-1]]))"
    error, shown = settled.answer(settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.1.1")
    assert error.startswith(f"AntsCacheError: antspynet==0.1.1 has no network {CHANGED} that can be fetched")
    assert shown == "show"


CHEXNET_CODE = """
import os, sys
import antspynet.utilities.chexnet
chexnet = sys.modules["antspynet.utilities.chexnet"].chexnet
try:
    print(chexnet("image"))
except Exception as error:
    print(type(error).__name__)
    print(error)
"""


def test_unexpected_function_is_left_alone(lab: Lab) -> None:
    upstream = upstreams.make(lab.place, NEWEST)
    source = "import functools\nchexnet = functools.partial(str.upper)\n"
    (upstream.directory / "antspynet/utilities/chexnet.py").write_text(source)
    assert lab.hooked(upstream, CHEXNET_CODE, ANTSCACHE_OFFLINE="1").succeeded().out == "IMAGE\n"


FINDER_IN_FRONT = """
import sys
from importlib.machinery import PathFinder
class Alone:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path, target) if name.startswith("antspynet") else None
sys.meta_path.insert(0, Alone())
"""


def test_hook_gets_before_a_later_first_finder(settled: Lab) -> None:
    """The first finder of sys.meta_path may ask no other one."""
    code = f"{FINDER_IN_FRONT}{IMPORTS}print(json.dumps(network({BRAIN!r})))"
    view = settled.view()
    assert settled.hooked(settled.upstream(), code).succeeded().json == str(view / f"{BRAIN}.h5")


EXAMPLES_CODE = """
import ants
own = sys.argv[1]
calls = [
    lambda: ants.get_data("r16"),
    lambda: ants.get_ants_data(file_id="mni"),
    lambda: ants.get_data("r16", antsx_cache_directory=own + "/"),
    lambda: ants.get_data("r16", own + "/mine.jpg"),
    lambda: ants.get_data("show"),
    lambda: ants.get_data(),
]
print(json.dumps([outcome(call) for call in calls]))
"""


def test_antspyx_examples_come_from_their_view(settled: Lab) -> None:
    """A directory or a file name of the caller's wins."""
    own = settled.place / "examples"
    own.mkdir()
    for file in "r16slice.jpg", "mine.jpg":
        (own / file).write_bytes(content("1", file, SIZE))
    slice_, image, theirs, named, *shown = settled.answer(settled.upstream(), EXAMPLES_CODE, str(own))
    [view] = settled.antscache.root.glob("views/antspyx-*")
    assert (slice_, image) == (str(view / ".antspy/r16slice.jpg"), str(view / ".antspy/mni.nii.gz"))
    assert Path(slice_).read_bytes() == settled.figshare.content(upstreams.EXAMPLES["r16"])
    assert (theirs, named) == (str(own / "r16slice.jpg"), str(own / "mine.jpg"))
    assert shown == [[*upstreams.EXAMPLES, "show"]] * 2


@pytest.mark.parametrize("off", ["0", "False", "no", "OFF"])
def test_switched_off_hook_does_nothing(settled: Lab, off: str) -> None:
    code = f"{IMPORTS}print(json.dumps([network({BRAIN!r}), 'antscache_hook' in str(sys.meta_path)]))"
    ran = settled.hooked(settled.upstream(), code, ANTSCACHE_HOOK=off).succeeded()
    assert ran.json == [str(settled.home / f"{BRAIN}.h5"), False]


# Files that are not there, or not whole


def test_missing_file_is_fetched_on_request(lab: Lab, figshare: StandIn) -> None:
    """Once, with a word on stderr, and not into the home."""
    upstream = lab.upstream()
    before = figshare.downloads(NUMBERS[BRAIN])
    ran = lab.hooked(upstream, IMPORTS + f"print(json.dumps([network({BRAIN!r}) for _ in range(2)]))").succeeded()
    [path] = set(ran.json)
    assert Path(path).read_bytes() == figshare.content(NUMBERS[BRAIN])
    assert figshare.downloads(NUMBERS[BRAIN]) == before + 1
    assert ran.err.count("antscache: getting") == 1  # a message at the first call alone
    assert f"getting {BRAIN}.h5 of antspynet=={upstream.version}" in ran.err
    assert not (lab.antscache.home / ".keras").exists()


@pytest.mark.parametrize("before", ["", "import antspynet\n"], ids=["before the import", "after it"])
def test_a_cleared_environment_changes_nothing(lab: Lab, before: str) -> None:
    upstream = lab.upstream()
    code = f"import os\n{before}os.environ.clear()\n{IMPORTS}print(json.dumps(network({BRAIN!r})))"
    ran = lab.hooked(upstream, code, ANTSCACHE_RELEASE="antspynet==0.3.1").succeeded()
    assert ran.json.endswith(f"views/antspynet-0.3.1/.keras/ANTsXNet/{BRAIN}.h5")


CUT_CODE = """
path = network(sys.argv[1])
if sys.argv[2] == "the file":
    os.chmod(path, 0o644)
    os.truncate(path, 100)
else:
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(bytes(100))
print(json.dumps([path, outcome(lambda: network(sys.argv[1]))]))
"""


@pytest.mark.parametrize(("part", "mode"), [("the file", "hardlink"), ("the name", "symlink")])
def test_truncated_file_is_fetched_again_before_use(lab: Lab, figshare: StandIn, part: str, mode: str) -> None:
    cut, path = lab.answer(lab.upstream(), CUT_CODE, BRAIN, part, ANTSCACHE_LINK_MODE=mode)
    assert path == cut
    assert Path(path).read_bytes() == figshare.content(NUMBERS[BRAIN])


def test_offline_truncated_file_is_an_error(lab: Lab) -> None:
    upstream = lab.upstream()
    lab.view(NEWEST, BRAIN)
    cut, answer = lab.answer(upstream, CUT_CODE, BRAIN, "the file", ANTSCACHE_OFFLINE="1")
    assert Path(cut).stat().st_size == 100
    assert answer.startswith("AntsCacheError: error: ")
    assert f"{BRAIN}.h5" in answer


@pytest.mark.parametrize("release", ["", "antspynet==0.3.1"])
def test_offline_missing_file_error_names_working_command(lab: Lab, release: str) -> None:
    upstream = lab.upstream()
    code = f"print(json.dumps(outcome(lambda: network({BRAIN!r}))))"
    offline = {"ANTSCACHE_OFFLINE": "1"} | ({"ANTSCACHE_RELEASE": release} if release else {})
    error = lab.answer(upstream, code, **offline)
    assert error.startswith("AntsCacheError: error: ")
    assert f"{BRAIN}.h5" in error
    assert (release or f"antspynet=={upstream.version}") in error
    assert "getting" not in lab.hooked(upstream, IMPORTS + f"outcome(lambda: network({BRAIN!r}))", **offline).err
    hint = re.search(r"^hint: .*`antscache (.*?)`", error, re.MULTILINE)
    assert hint
    lab.antscache(*shlex.split(hint[1])).succeeded()
    assert lab.answer(upstream, code, **offline).endswith(f"{HOME}/{BRAIN}.h5")


# A broken antscache

ENTRY = {
    "release": "antspynet==0.3.2", "kind": "network", "name": BRAIN, "file": f"{BRAIN}.h5",
    "identifier": f"figshare:{NUMBERS[BRAIN]}", "digest": "sha256:" + "0" * 64, "size": 5, "path": None,
}  # fmt: skip


def shell(script: str) -> list[str]:
    return ["sh", "-c", script, "antscache"]


def answering(fetched: list[Any]) -> list[str]:
    """Return a command in place of antscache, which has one entry and prints `fetched` for its fetch."""
    return shell(f"case $2 in entries) echo '{json.dumps([ENTRY])}';; *) echo '{json.dumps(fetched)}';; esac")


BROKEN_COMMANDS: dict[str, str | list[str]] = {
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
COMMANDS_CODE = """
def answer(command):
    os.environ["ANTSCACHE_COMMAND"] = command if isinstance(command, str) else json.dumps(command)
    try:
        return ["nothing", network(sys.argv[2]), False]
    except BaseException as error:
        hidden = error.__suppress_context__ or error.__context__ is None
        return [type(error).__module__ + "." + type(error).__name__, str(error), hidden]

answers = []
for command in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()  # so that no entries are known yet
    if child == 0:
        with os.fdopen(write, "w") as file:
            json.dump(answer(command), file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answers.append(json.load(file))
    os.waitpid(child, 0)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def broken(settled: Lab) -> dict[str, list[Any]]:
    """The answer to a request with each of these commands, from one process."""
    commands = json.dumps([*BROKEN_COMMANDS.values()])
    ran = settled.hooked(settled.upstream(), IMPORTS + COMMANDS_CODE, commands, BRAIN).succeeded()
    return dict(zip(BROKEN_COMMANDS, ran.json, strict=True))


@pytest.mark.parametrize("how", BROKEN_COMMANDS)
def test_broken_antscache_is_one_clear_error(broken: dict[str, list[Any]], how: str) -> None:
    [kind, text, alone] = broken[how]
    assert kind == "antscache_getters.AntsCacheError"
    assert "antscache" in text
    assert alone, "another traceback stands before it"


WAITING_CODE = """
import antscache_getters
antscache_getters.LONG_WAIT_SECONDS = 0.1
try:
    network(sys.argv[1])
except Exception as error:
    print(json.dumps(str(error)))
"""


def test_hanging_antscache_is_named(settled: Lab, tmp_path: Path) -> None:
    """It hangs here until the word about it has been read."""
    read = tmp_path / "read"
    command = json.dumps(shell(f"while [ ! -e {shlex.quote(str(read))} ]; do sleep 0.05; done; exit 3"))
    path = f"{INJECT}:{settled.upstream().path}"
    environ = settled.antscache.environment(ANTSCACHE_COMMAND=command, PYTHONPATH=path)
    with subprocess.Popen(
        [PYTHON, "-c", IMPORTS + WAITING_CODE, BRAIN],
        env=environ,
        cwd=settled.antscache.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        said = process.stderr.readline()
        read.touch()
        process.communicate(timeout=HANG_SECONDS)
    assert re.match(r"antscache: still waiting for process \d+ after 0.1 s \(Ctrl-C ends it\): 'sh' '-c' ", said)
    assert process.returncode == 0


def test_error_is_the_message_of_antscache(settled: Lab) -> None:
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


# Sources that antscache cannot read


def change_source(upstream: Upstream, module: str, before: str, after: str) -> None:
    path = upstream.directory / f"antspynet/utilities/{module}.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


LOOKS_ODD = 'url = switch_names(file_id)\n    url = url + ""'
FIGSHARE_URL = "https://ndownloader.figshare.com/files/"


def test_unreadable_url_is_an_error_of_its_name(lab: Lab) -> None:
    """Upstream's downloader is not asked for it; other names come from the view, "show" from upstream."""
    upstream = lab.upstream()
    change_source(upstream, "get_pretrained_network", FIGSHARE_URL + NUMBERS[LUNG], "ftp://host.org/lung.h5")
    answer = lab.answer(
        upstream,
        f"""
print(json.dumps([
    outcome(lambda: network({BRAIN!r})), outcome(lambda: network({LUNG!r})), outcome(lambda: network("show"))
]))""",
    )
    assert answer[0].endswith(f"/{BRAIN}.h5")
    assert answer[1].startswith("AntsCacheError: error: antscache cannot read all of antspynet==0.3.2+")
    assert f"{LUNG}: line " in answer[1]
    assert "'ftp://host.org/lung.h5' cannot be an identifier" in answer[1]
    assert "ANTSCACHE_HOOK=0" in answer[1]
    assert "would download" not in answer[1]
    assert LUNG in answer[2]


def test_unread_getter_leaves_the_other_one(lab: Lab) -> None:
    """Each of its names is an error that names the file and line, and the way out; upstream is not asked."""
    upstream = lab.upstream()
    change_source(upstream, "get_pretrained_network", "url = switch_names(file_id)", LOOKS_ODD)
    answer = lab.answer(
        upstream,
        f"""
print(json.dumps([
    outcome(lambda: data({TEMPLATE!r})), outcome(lambda: network({BRAIN!r})), outcome(lambda: network("show"))
]))""",
    )
    assert answer[0].endswith(f"/{TEMPLATE}.nii.gz")
    assert "all names of kind network: antspynet/utilities/get_pretrained_network.py, line " in answer[1]
    assert "ANTSCACHE_HOOK=0" in answer[1]
    assert LUNG in answer[2]


@pytest.mark.parametrize("offline", ["0", "1"])
def test_source_without_readable_entries_is_an_error(lab: Lab, offline: str) -> None:
    """It says what is wrong with the source, and not with antscache; ANTSCACHE_HOOK=0 leaves the user to upstream."""
    upstream = lab.upstream()
    for module in "get_pretrained_network", "get_antsxnet_data":
        change_source(upstream, module, "url = switch_names(file_id)", LOOKS_ODD)
    ask = f"print(json.dumps(outcome(lambda: network({BRAIN!r}))))"
    answer = lab.answer(upstream, ask, ANTSCACHE_OFFLINE=offline)
    assert answer.startswith(f"AntsCacheError: error: cannot read antspynet in {upstream.directory}: antspynet/util")
    assert "install it again" not in answer
    assert "or go without antscache: ANTSCACHE_HOOK=0" in answer
    assert "would download" in lab.answer(upstream, ask, ANTSCACHE_HOOK="0")


def test_source_without_any_url_is_an_error(lab: Lab) -> None:
    upstream = lab.upstream()
    for module in "get_pretrained_network", "get_antsxnet_data":
        path = upstream.directory / f"antspynet/utilities/{module}.py"
        path.write_text(re.sub(f"'{FIGSHARE_URL}[0-9]+'", "''", path.read_text()))
    answer = lab.answer(upstream, f"print(json.dumps(outcome(lambda: network({BRAIN!r}))))")
    assert answer.startswith("AntsCacheError: error: no name of antspynet==0.3.2+")
    assert "ANTSCACHE_HOOK=0" in answer


def test_antscache_ignores_the_users_python_variables(settled: Lab) -> None:
    theirs = settled.place / "theirs"
    theirs.mkdir()
    (theirs / "click.py").write_text("raise ImportError('the wrong click')\n")
    upstream = settled.upstream()
    code = f"os.environ['PYTHONHOME'] = '/nonexistent'; print(json.dumps(network({BRAIN!r})))"
    assert settled.answer(upstream, code, PYTHONPATH=f"{theirs}:{upstream.path}") == str(settled.view() / f"{BRAIN}.h5")


# Packages in other forms than expected

ODD_GETTERS = {
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


@pytest.mark.parametrize("odd", ODD_GETTERS)
def test_unexpected_getter_is_an_import_error(lab: Lab, odd: str) -> None:
    """It says how to go without the hook."""
    upstream = upstreams.make(lab.place, NEWEST, more=ODD_GETTERS[odd])
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
    """Return True if `ran` printed a path in the view, or its import failed: any other path would be a silent one."""
    if ran.code == 0:
        return bool(ran.json == str(view / f"{BRAIN}.h5"))
    return "ImportError: antscache cannot direct" in ran.err


@pytest.mark.parametrize("python", ["this", "3.9", "3.8"])
def test_package_in_an_archive_never_bypasses_the_hook(settled: Lab, python: str) -> None:
    """It is redirected, or its import is an error."""
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
def test_other_import_hooks_never_bypass_the_hook(settled: Lab, finder: str) -> None:
    """The package is redirected, or its import is an error."""
    upstream = settled.upstream()
    view = settled.view()
    ran = settled.hooked(upstream, OTHER_FINDERS[finder] + IMPORTS + f"print(json.dumps(network({BRAIN!r})))")
    assert redirected_or_refused(ran, view), ran


RELOAD_CODE = """
import importlib
importlib.reload(sys.modules["antspynet.utilities." + sys.argv[1]])
modules = [sys.modules["antspynet.utilities." + each] for each in ("get_antsxnet_data", "get_pretrained_network")]
print(json.dumps([
    network(sys.argv[2]), data(sys.argv[3]),
    modules[1].get_pretrained_network(sys.argv[2]), modules[0].get_antsxnet_data(sys.argv[3])
]))
"""


@pytest.mark.parametrize("module", ["get_antsxnet_data", "get_pretrained_network"])
def test_reloaded_getter_is_redirected_again(settled: Lab, module: str) -> None:
    """The other getter stays redirected."""
    upstream = settled.upstream("0.2.9")
    view = settled.view("0.2.9")
    paths = settled.hooked(upstream, IMPORTS + RELOAD_CODE, module, BRAIN, TEMPLATE).succeeded().json
    assert paths == [str(view / f"{BRAIN}.h5"), str(view / f"{TEMPLATE}.nii.gz")] * 2


# Threads and processes

THREADS_CODE = """
import json, sys, threading
paths, start = [None, None], threading.Barrier(2)

def ask(number):
    start.wait()
    import antspynet
    paths[number] = antspynet.get_pretrained_network(sys.argv[1])

threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([*paths, threading.active_count()]))
"""


def test_two_threads_cause_one_download(lab: Lab, figshare: StandIn) -> None:
    before = figshare.downloads(NUMBERS[LUNG])
    first, second, threads = lab.hooked(lab.upstream(), THREADS_CODE, LUNG).succeeded().json
    assert first == second
    assert Path(first).read_bytes() == figshare.content(NUMBERS[LUNG])
    assert figshare.downloads(NUMBERS[LUNG]) == before + 1
    assert threads == 1


FORK_CODE = """
first = network(sys.argv[1])
read, write = os.pipe()
child = os.fork()
if child == 0:
    with os.fdopen(write, "w") as file:
        json.dump(outcome(lambda: network(sys.argv[2])), file)
    os._exit(0)
os.close(write)
with os.fdopen(read) as file:
    print(json.dumps([first, json.load(file), os.waitpid(child, 0)[1]]))
"""


def test_forked_process_gets_its_own_file(lab: Lab, figshare: StandIn) -> None:
    first, second, status = lab.hooked(lab.upstream(), IMPORTS + FORK_CODE, BRAIN, LUNG).succeeded().json
    assert status == 0
    assert Path(first).parent == Path(second).parent
    assert Path(second).read_bytes() == figshare.content(NUMBERS[LUNG])


# The record of the entries that were asked for

RECORD_CODE = """
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
            os.read(read, 1)  # until all have been started
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


def test_many_processes_write_whole_lines_to_one_record(settled: Lab) -> None:
    upstream, record = settled.upstream(), settled.place / "record"
    view = settled.view()
    names = " ".join(sorted(upstream.files, key=lambda name: name != BRAIN))
    settled.answer(upstream, RECORD_CODE, names, "16", ANTSCACHE_RECORD=str(record))
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(lines) == 1 + 16 * (len(upstream.files) - 1)
    numbers = upstream.networks | upstream.data
    assert {line["name"]: line for line in lines} == {
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


def test_each_process_may_have_its_own_record(
    settled: Lab,
) -> None:
    """Its file has the process's number in its name."""
    record = settled.place / "records/of-%p"
    record.parent.mkdir()
    children = settled.answer(settled.upstream(), RECORD_CODE, f"{BRAIN} {LUNG}", "2", ANTSCACHE_RECORD=str(record))
    lines = {
        path.name: [json.loads(line)["name"] for line in path.read_text().splitlines()]
        for path in record.parent.iterdir()
    }
    own = {f"of-{child}": [BRAIN, LUNG] for child in children}
    assert {name: lines.pop(name) for name in own} == own
    assert [*lines.values()] == [[BRAIN]]  # the process that forked them


def test_unwritable_record_is_only_a_warning(settled: Lab) -> None:
    code = IMPORTS + f"print(json.dumps(network({BRAIN!r})))"
    ran = settled.hooked(settled.upstream(), code, ANTSCACHE_RECORD="/nonexistent/record").succeeded()
    assert ran.json.endswith(f"{HOME}/{BRAIN}.h5")
    assert ran.err.startswith("antscache: cannot write the record of used entries: ")


# The hook's own traces in a process


@pytest.mark.parametrize("file", sorted(INJECT.glob("*.py")), ids=lambda path: path.name)
def test_injected_files_need_python_3_8_only(file: Path) -> None:
    """They import the standard library alone, and nothing of threads or networks."""
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if file.name == "sitecustomize.py":
        imported -= {"antscache_hook", "sitecustomize"}
    tops = {name.partition(".")[0] for name in imported}
    assert tops <= sys.stdlib_module_names
    assert tops.isdisjoint({"asyncio", "concurrent", "http", "multiprocessing", "socket", "threading", "urllib"})


def test_hook_alone_imports_nothing_else(settled: Lab) -> None:
    """In a process that does not import antspynet."""

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
    assert more <= {"antscache_hook", "sitecustomize", "__future__"}  # __future__ is for annotations, and cheap


def test_hook_leaves_paths_modules_and_variables_alone(settled: Lab) -> None:
    code = "import json, os, sys; print(json.dumps([sys.path, sorted(sys.modules), dict(os.environ)]))"
    upstream = settled.upstream()
    path, modules, environ = settled.plain(upstream, code).succeeded().json
    with_path, with_modules, with_environ = settled.hooked(upstream, code).succeeded().json
    assert with_path == path
    assert set(with_modules) - set(modules) <= {"antscache_hook", "sitecustomize", "__future__"}
    differ = {key for key in environ | with_environ if environ.get(key) != with_environ.get(key)}
    assert differ == {"PYTHONPATH", "ANTSCACHE_COMMAND"}


# activate() in a process of its own


def activated(lab: Lab, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Any:
    """Run `code` in an interpreter that has antscache as well, and return the last line that it prints, as JSON."""
    ran = lab.plain(upstream, code, *arguments, PYTHON=sys.executable, **environ).succeeded()
    return json.loads(ran.out.splitlines()[-1])


def test_later_imports_use_the_view_after_activate(settled: Lab) -> None:
    upstream = settled.upstream()
    code = "import antscache; antscache.activate(offline=True)" + IMPORTS + f"print(json.dumps(network({BRAIN!r})))"
    assert activated(settled, upstream, code) == str(settled.view() / f"{BRAIN}.h5")


def test_errors_after_activate_are_antscaches_own(lab: Lab) -> None:
    code = """
import antscache
antscache.activate(offline=True)
try:
    network(sys.argv[1])
except antscache.AntsCacheError as error:
    print(json.dumps([isinstance(error, RuntimeError), str(error)]))
"""
    runtime, text = activated(lab, lab.upstream(), IMPORTS + code, BRAIN)
    assert (runtime, f"missing and offline: {BRAIN}.h5" in text) == (True, True)


REFERENCES_CODE = """
import functools, importlib, inspect, pickle
from antspynet.utilities.get_pretrained_network import get_pretrained_network as renamed

def closed(function):
    return lambda: function(sys.argv[1])

class Holder:
    getter = staticmethod(network)

def by_default(function=network):
    return function(sys.argv[1])

def appearance():
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
before = appearance()
import antscache
for _ in range(2):
    antscache.activate(offline=True)
finders = sum(type(finder).__module__ == "antscache_hook" for finder in sys.meta_path)
print(json.dumps([[outcome(reference) for reference in references], before, appearance(), finders]))
"""


@pytest.fixture(scope="module")
def referred(settled: Lab) -> list[Any]:
    return list(activated(settled, settled.upstream(), IMPORTS + REFERENCES_CODE, BRAIN))


def test_earlier_references_use_the_view_after_activate(settled: Lab, referred: list[Any]) -> None:
    assert referred[0] == [str(settled.view() / f"{BRAIN}.h5")] * 8


def test_redirected_getter_looks_like_upstreams(referred: list[Any]) -> None:
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


ACTIVATE_TWICE = """
import antscache
antscache.activate({first})
first = outcome(lambda: network(sys.argv[1]))
antscache.activate({second})
print(json.dumps([first, outcome(lambda: network(sys.argv[1]))]))
"""


def test_second_activate_may_name_another_release(settled: Lab) -> None:
    named = settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5"
    code = IMPORTS + ACTIVATE_TWICE.format(first="", second="'0.3.1'")
    assert activated(settled, settled.upstream(), code, LUNG) == [str(settled.view() / f"{LUNG}.h5"), str(named)]


def test_activating_again_with_another_root_leads_there(settled: Lab) -> None:
    other = settled.place / "other"
    code = IMPORTS + ACTIVATE_TWICE.format(first="", second=f"root={str(other)!r}")
    first, second = activated(settled, settled.upstream(), code, BRAIN)
    assert first == str(settled.view() / f"{BRAIN}.h5")
    assert Path(second).is_relative_to(other)


def test_activate_keeps_the_release_of_a_run(settled: Lab) -> None:
    code = f"import antscache; antscache.activate(){IMPORTS}print(json.dumps(network({LUNG!r})))"
    path = activated(settled, settled.upstream(), code, ANTSCACHE_RELEASE="antspynet==0.3.1")
    assert path == str(settled.antscache.root / "views/antspynet-0.3.1" / HOME / f"{LUNG}.h5")


def test_activate_can_keep_a_record(settled: Lab) -> None:
    record = settled.place / "noted"
    code = f"import antscache; antscache.activate(record=sys.argv[1]); print(json.dumps(network({BRAIN!r})))"
    activated(settled, settled.upstream(), IMPORTS + code, str(record))
    assert [json.loads(line)["name"] for line in record.read_text().splitlines()] == [BRAIN]


CHILDREN_CODE = """
import multiprocessing, subprocess
import antscache
antscache.activate(offline=True)
paths = []
for method in "spawn", "forkserver", "fork":
    with multiprocessing.get_context(method).Pool(1) as pool:
        paths.append(pool.apply(network, (sys.argv[1],)))
code = "import antspynet, sys; print(antspynet.get_pretrained_network(sys.argv[1]))"
paths.append(subprocess.check_output([sys.argv[2], "-c", code, sys.argv[1]], text=True).strip())
print(json.dumps(paths))
"""


def test_child_processes_see_the_view_after_activate(settled: Lab) -> None:
    upstream = settled.upstream()
    paths = activated(settled, upstream, IMPORTS + CHILDREN_CODE, BRAIN, PYTHON)
    assert paths == [str(settled.view() / f"{BRAIN}.h5")] * 4


REFUSED_ACTIVATE_CODE = """
import antscache
before = dict(os.environ), list(sys.meta_path)
try:
    antscache.activate(*json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
except (ImportError, TypeError, antscache.AntsCacheError) as error:
    message = str(error)
print(json.dumps([message, dict(os.environ) == before[0], sys.meta_path == before[1], data(sys.argv[3])]))
"""


def test_failed_activate_changes_nothing(lab: Lab) -> None:
    """An imported getter cannot be redirected."""
    upstream = upstreams.make(lab.place, NEWEST, more=ODD_GETTERS["wrapped"])
    lab.home.mkdir(parents=True)
    (lab.home / f"{TEMPLATE}.nii.gz").write_bytes(b"mine")
    script = IMPORTS + REFUSED_ACTIVATE_CODE
    message, same_environ, same_finders, path = activated(lab, upstream, script, "[]", "{}", TEMPLATE)
    assert "get_pretrained_network is not the function that was expected" in message
    assert "ANTSCACHE_HOOK=0" in message
    assert path == str(lab.home / f"{TEMPLATE}.nii.gz")  # else some files would be of the view, and others not
    assert (same_environ, same_finders) == (True, True)


@pytest.mark.parametrize(
    ("values", "named"), [([], {"jobs": 0}), ([], {"nonsense": 1}), (["no release"], {}), (["antspyx==0.6.3==1"], {})]
)
def test_activate_refuses_unusable_settings(settled: Lab, values: list[str], named: dict[str, int]) -> None:
    """It changes nothing then."""
    arguments = json.dumps(values), json.dumps(named), TEMPLATE
    script = IMPORTS + REFUSED_ACTIVATE_CODE
    message, same_environ, same_finders, path = activated(settled, settled.upstream(), script, *arguments)
    assert message
    assert (same_environ, same_finders, path) == (True, True, str(settled.home / f"{TEMPLATE}.nii.gz"))
