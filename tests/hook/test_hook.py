"""`antscache hook`: a whole environment, by one file in it. Environments here are real ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import BRAIN, FEW, REPOSITORY, SIZE, TEMPLATE, AntsCache, Ran, cannot, require, snapshot, upstreams
from support.upstreams import PYTHON, Upstream, older
from support.users import ANN, everybodys, run_as

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = ".keras/ANTsXNet"
FILE = "antscache_hook.pth"
ENOUGH = 60  # seconds after which a process hangs
ASK = f"import antspynet; print(antspynet.get_pretrained_network('{BRAIN}'))"
STATE = "import json, os, sys; print(json.dumps([sys.path, sorted(sys.modules), dict(os.environ), str(sys.meta_path)]))"

__all__ = ["everybodys"]  # the fixture of users.py


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return upstreams.make(tmp_path_factory.mktemp("upstream"), "0.3.2")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AntsCache:
    """antscache with what `ASK` asks for, and no origin. The home has a file of that name too."""
    place = tmp_path_factory.mktemp("held")
    (place / "home" / HOME).mkdir(parents=True)
    (place / "home" / HOME / f"{BRAIN}.h5").write_bytes(b"mine")
    antscache = AntsCache(place / "root", place / "home")
    with StandIn(FEW, size=SIZE) as standin:
        words = ("prefetch", "--from", upstream.directory, "--name", BRAIN)
        antscache(*words, ANTSCACHE_ORIGINS=standin.origins).succeeded()
    antscache.environ["ANTSCACHE_OFFLINE"] = "1"
    return antscache


def made(place: Path, upstream: Upstream, python: str = PYTHON) -> Path:
    """The interpreter of a new environment, which has antspynet."""
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True, timeout=ENOUGH)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "antspynet.pth").write_text(f"{upstream.directory}\n{upstream.beside}\n")
    return place / "bin" / "python"


@pytest.fixture
def python(tmp_path: Path, upstream: Upstream) -> Path:
    return made(tmp_path / "environment", upstream)


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory, held: AntsCache, upstream: Upstream) -> Path:
    """The interpreter of an environment where the hook is on; nobody changes it."""
    python = made(tmp_path_factory.mktemp("enabled") / "environment", upstream)
    held("hook", "enable", "--python", python).succeeded()
    return python


def hook_of(python: Path) -> Path:
    """Where the hook of an environment is, or would be."""
    [packages] = python.parent.parent.glob("lib/python*/site-packages")
    return packages / FILE


def run(held: AntsCache, python: Path, *arguments: str, **environ: str) -> Ran:
    done = subprocess.run(
        [python, *arguments],
        env=held.environment(**environ),
        cwd=held.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=ENOUGH,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def view(held: AntsCache) -> str:
    [path] = held.root.glob(f"views/*/{HOME}/{BRAIN}.h5")
    return f"{path}\n"


def at_home(held: AntsCache) -> str:
    return f"{held.home / HOME / BRAIN}.h5\n"


# On and off


@pytest.mark.parametrize("options", [[], ["-E"], ["-I", "-W", "error"]], ids=" ".join)
def test_where_it_is_on_every_process_sees_the_view(held: AntsCache, enabled: Path, options: list[str]) -> None:
    assert run(held, enabled, *options, "-c", ASK) == Ran(0, view(held), "")


def test_without_site_packages_there_is_no_hook(held: AntsCache, enabled: Path, upstream: Upstream) -> None:
    assert run(held, enabled, "-S", "-c", ASK, PYTHONPATH=upstream.path) == Ran(0, at_home(held), "")


def test_it_can_be_switched_off_for_a_process(held: AntsCache, enabled: Path) -> None:
    assert run(held, enabled, "-c", ASK, ANTSCACHE_HOOK="0") == Ran(0, at_home(held), "")
    state = json.loads(run(held, enabled, "-c", STATE, ANTSCACHE_HOOK="0").succeeded().out)
    assert "antscache_hook" not in state[3]


@pytest.mark.parametrize("command", [["/nonexistent/antscache"], ["/etc/passwd"]])
def test_an_antscache_that_the_environment_names_and_cannot_be_called_is_not_missed(
    held: AntsCache, enabled: Path, command: list[str]
) -> None:
    ran = run(held, enabled, "-c", ASK, ANTSCACHE_COMMAND=json.dumps(command))  # as of a container's host
    assert ran == Ran(0, view(held), "")


def test_the_environment_of_an_old_python_can_have_it(held: AntsCache, upstream: Upstream, tmp_path: Path) -> None:
    python = made(tmp_path / "environment", upstream, older(8))
    held("hook", "enable", "--python", python).succeeded()
    assert run(held, python, "-I", "-c", ASK) == Ran(0, view(held), "")


def test_off_again_nothing_of_it_is_left(held: AntsCache, python: Path) -> None:
    environment = python.parent.parent
    before = snapshot(environment)
    assert held("hook", "status", "--python", python).succeeded().out == f"off for {python}\n"
    on = held("hook", "enable", "--python", python).succeeded()
    assert on == held("hook", "status", "--python", python) == Ran(0, f"on for {python}: {hook_of(python)}\n", "")
    assert {path for path, content in snapshot(environment).items() if before.get(path) != content} == {
        str(hook_of(python).relative_to(environment))
    }
    assert held("hook", "disable", "--python", python).succeeded().out == f"off for {python}\n"
    assert snapshot(environment) == before
    assert run(held, python, "-c", ASK) == Ran(0, at_home(held), "")
    assert held("hook", "disable", "--python", python).succeeded().out == f"off for {python}\n"


def test_enabling_twice_is_enabling_once(held: AntsCache, python: Path) -> None:
    held("hook", "enable", "--python", python).succeeded()
    before = snapshot(python.parent.parent)
    held("hook", "enable", "--python", python).succeeded()
    assert snapshot(python.parent.parent) == before
    *_, finders = json.loads(run(held, python, "-c", STATE).succeeded().out)
    assert finders.count("antscache_hook") == 1


def test_in_a_run_an_environment_where_it_is_on_has_it_once(held: AntsCache, enabled: Path) -> None:
    *_, finders = held("run", enabled, "-c", STATE).succeeded().json
    assert finders.count("antscache_hook") == 1
    assert held("run", enabled, "-c", ASK).succeeded().out == view(held)


def test_the_current_environment_is_meant_where_none_is_named(held: AntsCache, python: Path) -> None:
    ran = held("hook", "enable", VIRTUAL_ENV=python.parent.parent).succeeded()
    assert ran.out == f"on for {python}: {hook_of(python)}\n"
    assert hook_of(python).is_file()


def test_what_is_printed_for_programs_says_the_same(held: AntsCache, python: Path) -> None:
    off = {"python": str(python), "file": str(hook_of(python)), "command": [], "works": False}
    assert held("hook", "status", "--python", python, "--json").succeeded().json == off
    on = held("hook", "enable", "--python", python, "--json").succeeded().json
    assert on == {**off, "command": on["command"], "works": True}
    said = subprocess.run([*on["command"], "--version"], capture_output=True, text=True, check=True, timeout=ENOUGH)
    assert said.stdout.startswith("antscache ")
    assert held("hook", "disable", "--python", python, "--json").succeeded().json == off


# What it costs who does not import antspynet


def test_nothing_else_is_imported_or_changed_where_nobody_imports_antspynet(
    held: AntsCache, enabled: Path, python: Path
) -> None:
    _, modules, environ, _ = json.loads(run(held, python, "-c", STATE).succeeded().out)
    path, with_modules, with_environ, finders = json.loads(run(held, enabled, "-c", STATE).succeeded().out)
    assert set(with_modules) - set(modules) <= {"antscache_hook", "__future__"}
    assert with_environ == environ
    assert "antscache_hook" in finders
    assert not [each for each in path if "inject" in each]


# An antscache of another environment, and what is left of it


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an environment with nothing but antscache, as uv and pipx make them, of a name; the antscache in it."""

    def make(name: str) -> Path:
        place = tmp_path / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=ENOUGH)
        [packages] = place.glob("lib/python*/site-packages")
        shutil.copytree(REPOSITORY / "antscache", packages / "antscache")
        (packages / "what_it_needs.pth").write_text(str(Path(msgspec.__file__).parent.parent))
        program = place / "bin" / "antscache"
        code = "from antscache.cli import main; main()"
        program.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/python" -I -c \'{code}\' "$@"\n')
        program.chmod(0o755)
        return program

    return make


def test_an_antscache_of_another_environment_is_called_from_there(
    held: AntsCache, python: Path, tool: Callable[[str], Path]
) -> None:
    program = tool("it's a tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    assert held("hook", "status", "--python", python, "--json").succeeded().json["command"] == [str(program)]
    assert run(held, python, "-c", ASK) == Ran(0, view(held), "")


def test_an_environment_whose_antscache_has_gone_is_as_without_it(
    held: AntsCache, python: Path, tool: Callable[[str], Path]
) -> None:
    before = run(held, python, "-c", STATE).succeeded()
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    assert run(held, python, "-c", STATE).out != before.out
    shutil.rmtree(program.parent.parent)
    assert run(held, python, "-c", STATE) == before
    assert run(held, python, "-c", ASK) == Ran(0, at_home(held), "")
    ran = held("hook", "status", "--python", python).succeeded()
    assert ran.out == f"on for {python}: {hook_of(python)}\n"
    assert re.fullmatch(
        rf"warning: {program.parent.parent}/\S+ is not there any more\nhint: run `antscache hook enable` again\n",
        ran.err,
    )
    assert held("hook", "status", "--python", python, "--json").succeeded().json["works"] is False
    held("hook", "enable", "--python", python).succeeded()
    assert run(held, python, "-c", ASK) == Ran(0, view(held), "")


def test_status_warns_where_antscache_is_there_and_the_hook_is_not(
    held: AntsCache, python: Path, tool: Callable[[str], Path]
) -> None:
    """As when a tool's environment is made again with a newer Python: `bin/antscache` is the same, the rest moves."""
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    [packages] = program.parent.parent.glob("lib/python*/site-packages")
    packages.rename(packages.with_name("of a newer one"))
    assert run(held, python, "-c", ASK) == Ran(0, at_home(held), "")
    ran = held("hook", "status", "--python", python).succeeded()
    assert "warning: " in ran.err
    assert "hint: run `antscache hook enable` again" in ran.err
    assert held("hook", "status", "--python", python, "--json").succeeded().json["works"] is False


def test_a_hook_that_is_there_and_whose_antscache_is_not_is_a_clear_error(
    held: AntsCache, python: Path, tool: Callable[[str], Path]
) -> None:
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    shutil.rmtree(program.parent)
    ran = run(held, python, "-c", ASK)
    assert ran.code == 1
    *_, error, hint = ran.err.splitlines()
    assert error.startswith("antscache_getters.AntsCacheError: antscache cannot be called: ")
    assert str(program) in error
    assert hint == "hint: install it again, or go without it: ANTSCACHE_HOOK=0"


def test_a_name_beyond_ascii_harms_nobody_in_a_locale_without_it(
    held: AntsCache, python: Path, tool: Callable[[str], Path]
) -> None:
    """Python reads `.pth` files in the locale's encoding, and does not start where it cannot."""
    run(held, tool("Wörkzeug"), "hook", "enable", "--python", str(python), LC_ALL="C.UTF-8").succeeded()
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run(held, python, "-c", ASK, **ascii_alone) == Ran(0, view(held), "")


# Environments that cannot have it


def saying(place: Path, text: str, code: int = 0) -> Path:
    """What calls itself Python, and prints `text` whatever it is asked."""
    path = place / "python"
    path.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("enable", "nothing"),
        ("disable", "what fails"),
        ("status", "a directory"),
        ("enable", "what talks"),
        ("status", "what says half"),
    ],
)
def test_what_is_no_python_is_an_error_with_the_way_out(held: AntsCache, tmp_path: Path, verb: str, what: str) -> None:
    python = {
        "nothing": lambda: tmp_path / "nothing",
        "a directory": lambda: tmp_path,
        "what fails": lambda: saying(tmp_path, '[[3, 11], "/"]', 1),
        "what talks": lambda: saying(tmp_path, "hello"),
        "what says half": lambda: saying(tmp_path, "[[3, 11]]"),
    }[what]()
    ran = held("hook", verb, "--python", python)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"error: {python} does not run as a Python: ")
    assert ran.err.endswith("hint: give --python the interpreter of the environment that is meant\n")


def test_a_python_that_is_too_old_is_an_error_that_says_from_which_on(held: AntsCache, tmp_path: Path) -> None:
    python = saying(tmp_path, json.dumps([[3, 7], str(tmp_path)]))
    ran = held("hook", "enable", "--python", python)
    assert (ran.code, ran.err) == (3, f"error: {python} is Python 3.7\nhint: the hook needs 3.8 or later\n")
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("version", ["2.7", "3.7"])
def test_real_pythons_that_are_too_old_say_so_themselves(held: AntsCache, version: str) -> None:
    python = next(iter(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")), None)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    ran = held("hook", "status", "--python", python)
    assert (ran.code, f"is Python {version}\n" in ran.err) == (3, True)


def test_site_packages_that_are_not_there_are_an_error(held: AntsCache, tmp_path: Path) -> None:
    ran = held("hook", "enable", "--python", saying(tmp_path, '[[3, 11], "/nonexistent"]'))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: cannot write /nonexistent/{FILE}: No such file or directory\nhint: ")


AS_ANOTHER = """
from antscache import hook
def told(function):
    try:
        return str(function(Path(arguments[0])).command)
    except AntsCacheError as error:
        return [str(error), error.hint, error.exit_code]
print(json.dumps([told(hook.enable), told(hook.disable)]))
"""


def test_site_packages_of_another_user_are_an_error_with_the_way_out(everybodys: Path) -> None:
    packages = everybodys / "site-packages"
    packages.mkdir(mode=0o755)
    (packages / FILE).write_text("# of its owner\n")
    found = run_as(ANN, AS_ANOTHER, saying(everybodys, json.dumps([[3, 11], str(packages)])))
    hint = "use `antscache run` instead, or ask whoever owns the environment"
    assert found == [[f"cannot write {packages / FILE}: Permission denied", hint, 1]] * 2
    assert [path.name for path in packages.iterdir()] == [FILE]


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_an_environment_on_a_read_only_filesystem_is_an_error_with_the_way_out(
    held: AntsCache, tmp_path: Path, verb: str
) -> None:
    """As in a container whose root is read-only."""
    unshare = require("unshare")
    if subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        cannot("no mount namespaces here")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    script = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    words = ("hook", verb, "--python", saying(tmp_path, json.dumps([[3, 11], str(packages)])))
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, packages, *held.command(*words)],
        env=held.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=ENOUGH,
    )
    if verb == "disable":  # where it is not on there is nothing to do
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: cannot write {packages / FILE}: Read-only file system\nhint: ")


# What the hook asks


def test_entries_are_what_the_installation_asks_for_and_where_it_is(held: AntsCache, upstream: Upstream) -> None:
    found = held("hook", "entries", "antspynet", upstream.directory).succeeded().json
    assert {each["name"]: each["file"] for each in found} == upstream.files
    paths: dict[str, Any] = {each["name"]: (each["path"], each["size"]) for each in found}
    assert paths.pop(BRAIN) == (view(held).strip(), SIZE)
    assert set(paths.values()) == {(None, None)}


def test_an_entry_that_is_fetched_is_the_only_answer(
    antscache: AntsCache, upstream: Upstream, figshare: StandIn
) -> None:
    [found] = antscache("hook", "fetch", "antspynet", upstream.directory, "data", TEMPLATE).succeeded().json
    assert (found["kind"], found["name"]) == ("data", TEMPLATE)
    assert Path(found["path"]).read_bytes() == figshare.content("22597175")


@pytest.mark.parametrize(
    ("release", "code", "told"),
    [("no release", 2, "the environment (ANTSCACHE_RELEASE): "), ("0.9.9", 9, "antspynet==0.9.9")],
)
def test_a_release_that_cannot_be_had_is_the_error_of_whoever_asks(
    held: AntsCache, upstream: Upstream, release: str, code: int, told: str
) -> None:
    ran = held("hook", "entries", "antspynet", upstream.directory, ANTSCACHE_RELEASE=release)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_a_directory_without_the_package_is_an_error(held: AntsCache, tmp_path: Path) -> None:
    ran = held("hook", "entries", "antspynet", tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert f"no antspynet in {tmp_path}" in ran.err
