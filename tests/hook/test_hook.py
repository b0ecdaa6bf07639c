"""`antscache hook` switches the hook on for a whole environment, by one file in it. Environments here are real."""

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
from support.upstreams import PYTHON, UNFETCHABLE, Upstream, older
from support.users import ANN, everybodys, run_as

from antscache.core import KERAS_WEIGHTS
from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = ".keras/ANTsXNet"
FILE = "antscache_hook.pth"
TIMEOUT_SECONDS = 600  # no process takes longer, however loaded the machine is
ASK_CODE = f"import antspynet; print(antspynet.get_pretrained_network('{BRAIN}'))"
STATE_CODE = (
    "import json, os, sys; print(json.dumps([sys.path, sorted(sys.modules), dict(os.environ), str(sys.meta_path)]))"
)

__all__ = ["everybodys"]  # the fixture of users.py


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return upstreams.make(tmp_path_factory.mktemp("upstream"), "0.3.2")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AntsCache:
    """antscache with the network that `ASK_CODE` asks for, and offline. The home has a file of that name too."""
    place = tmp_path_factory.mktemp("held")
    (place / "home" / HOME).mkdir(parents=True)
    (place / "home" / HOME / f"{BRAIN}.h5").write_bytes(b"mine")
    antscache = AntsCache(place / "root", place / "home")
    with StandIn(FEW, size=SIZE) as standin:
        words = ("prefetch", "--from", upstream.directory, "--name", BRAIN)
        antscache(*words, ANTSCACHE_ORIGINS=standin.origins).succeeded()
    antscache.environ["ANTSCACHE_OFFLINE"] = "1"
    return antscache


def make_environment(place: Path, upstream: Upstream, python: str = PYTHON) -> Path:
    """Make an environment with antspynet, and return its interpreter."""
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True, timeout=TIMEOUT_SECONDS)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "antspynet.pth").write_text(f"{upstream.directory}\n{upstream.beside}\n")
    return place / "bin" / "python"


@pytest.fixture
def python(tmp_path: Path, upstream: Upstream) -> Path:
    return make_environment(tmp_path / "environment", upstream)


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory, held: AntsCache, upstream: Upstream) -> Path:
    """The interpreter of an environment where the hook is on. No test changes it."""
    python = make_environment(tmp_path_factory.mktemp("enabled") / "environment", upstream)
    held("hook", "enable", "--python", python).succeeded()
    return python


def hook_of(python: Path) -> Path:
    """Return the path of the hook in an environment, enabled or not."""
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
        timeout=TIMEOUT_SECONDS,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def view(held: AntsCache) -> str:
    [path] = held.root.glob(f"views/*/{HOME}/{BRAIN}.h5")
    return f"{path}\n"


def at_home(held: AntsCache) -> str:
    return f"{held.home / HOME / BRAIN}.h5\n"


# On and off


@pytest.mark.parametrize("options", [[], ["-E"], ["-I", "-W", "error"]], ids=" ".join)
def test_every_process_with_the_hook_sees_the_view(held: AntsCache, enabled: Path, options: list[str]) -> None:
    assert run(held, enabled, *options, "-c", ASK_CODE) == Ran(0, view(held), "")


def test_no_hook_without_site_packages(held: AntsCache, enabled: Path, upstream: Upstream) -> None:
    assert run(held, enabled, "-S", "-c", ASK_CODE, PYTHONPATH=upstream.path) == Ran(0, at_home(held), "")


def test_one_process_can_switch_the_hook_off(held: AntsCache, enabled: Path) -> None:
    assert run(held, enabled, "-c", ASK_CODE, ANTSCACHE_HOOK="0") == Ran(0, at_home(held), "")
    state = json.loads(run(held, enabled, "-c", STATE_CODE, ANTSCACHE_HOOK="0").succeeded().out)
    assert "antscache_hook" not in state[3]


@pytest.mark.parametrize("command", [["/nonexistent/antscache"], ["/etc/passwd"]])
def test_own_antscache_replaces_an_unusable_named_one(held: AntsCache, enabled: Path, command: list[str]) -> None:
    """ANTSCACHE_COMMAND may come from a container's host."""
    ran = run(held, enabled, "-c", ASK_CODE, ANTSCACHE_COMMAND=json.dumps(command))  # as of a container's host
    assert ran == Ran(0, view(held), "")


def test_hook_works_in_old_pythons(held: AntsCache, upstream: Upstream, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment", upstream, older(8))
    held("hook", "enable", "--python", python).succeeded()
    assert run(held, python, "-I", "-c", ASK_CODE) == Ran(0, view(held), "")


def test_disabling_leaves_nothing_behind(held: AntsCache, python: Path) -> None:
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
    assert run(held, python, "-c", ASK_CODE) == Ran(0, at_home(held), "")
    assert held("hook", "disable", "--python", python).succeeded().out == f"off for {python}\n"


def test_enabling_twice_is_enabling_once(held: AntsCache, python: Path) -> None:
    held("hook", "enable", "--python", python).succeeded()
    before = snapshot(python.parent.parent)
    held("hook", "enable", "--python", python).succeeded()
    assert snapshot(python.parent.parent) == before
    *_, finders = json.loads(run(held, python, "-c", STATE_CODE).succeeded().out)
    assert finders.count("antscache_hook") == 1


def test_run_in_a_hooked_environment_hooks_once(held: AntsCache, enabled: Path) -> None:
    *_, finders = held("run", enabled, "-c", STATE_CODE).succeeded().json
    assert finders.count("antscache_hook") == 1
    assert held("run", enabled, "-c", ASK_CODE).succeeded().out == view(held)


def test_default_is_the_current_environment(held: AntsCache, python: Path) -> None:
    ran = held("hook", "enable", VIRTUAL_ENV=python.parent.parent).succeeded()
    assert ran.out == f"on for {python}: {hook_of(python)}\n"
    assert hook_of(python).is_file()


def test_json_has_the_same_facts(held: AntsCache, python: Path) -> None:
    off = {"python": str(python), "file": str(hook_of(python)), "command": [], "works": False}
    assert held("hook", "status", "--python", python, "--json").succeeded().json == off
    on = held("hook", "enable", "--python", python, "--json").succeeded().json
    assert on == {**off, "command": on["command"], "works": True}
    done = subprocess.run(
        [*on["command"], "--version"], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
    )
    assert done.stdout.startswith("antscache ")
    assert held("hook", "disable", "--python", python, "--json").succeeded().json == off


# Processes that do not import antspynet


def test_hook_alone_imports_and_changes_nothing_else(held: AntsCache, enabled: Path, python: Path) -> None:
    """In a process that does not import antspynet."""
    _, modules, environ, _ = json.loads(run(held, python, "-c", STATE_CODE).succeeded().out)
    path, with_modules, with_environ, finders = json.loads(run(held, enabled, "-c", STATE_CODE).succeeded().out)
    assert set(with_modules) - set(modules) <= {"antscache_hook", "__future__"}
    assert with_environ == environ
    assert "antscache_hook" in finders
    assert not [directory for directory in path if "inject" in directory]


# An antscache of another environment, whole or in part


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Path]:
    """Make an environment with nothing but antscache, as uv and pipx do, and return its program."""

    def make(name: str) -> Path:
        place = tmp_path / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=TIMEOUT_SECONDS)
        [packages] = place.glob("lib/python*/site-packages")
        shutil.copytree(REPOSITORY / "antscache", packages / "antscache")
        (packages / "dependencies.pth").write_text(str(Path(msgspec.__file__).parent.parent))
        program = place / "bin" / "antscache"
        code = "from antscache.cli import main; main()"
        program.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/python" -I -c \'{code}\' "$@"\n')
        program.chmod(0o755)
        return program

    return make


def test_hook_calls_the_antscache_that_enabled_it(held: AntsCache, python: Path, tool: Callable[[str], Path]) -> None:
    """antscache may be in an environment of its own."""
    program = tool("it's a tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    assert held("hook", "status", "--python", python, "--json").succeeded().json["command"] == [str(program)]
    assert run(held, python, "-c", ASK_CODE) == Ran(0, view(held), "")


def test_hook_of_a_removed_antscache_does_nothing(held: AntsCache, python: Path, tool: Callable[[str], Path]) -> None:
    """Status warns of it, and enabling again mends it."""
    before = run(held, python, "-c", STATE_CODE).succeeded()
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    assert run(held, python, "-c", STATE_CODE).out != before.out
    shutil.rmtree(program.parent.parent)
    assert run(held, python, "-c", STATE_CODE) == before
    assert run(held, python, "-c", ASK_CODE) == Ran(0, at_home(held), "")
    ran = held("hook", "status", "--python", python).succeeded()
    assert ran.out == f"on for {python}: {hook_of(python)}\n"
    assert re.fullmatch(
        rf"warning: {program.parent.parent}/\S+ no longer exists\nhint: run `antscache hook enable` again\n",
        ran.err,
    )
    assert held("hook", "status", "--python", python, "--json").succeeded().json["works"] is False
    held("hook", "enable", "--python", python).succeeded()
    assert run(held, python, "-c", ASK_CODE) == Ran(0, view(held), "")


def test_status_warns_of_a_missing_hook_module(held: AntsCache, python: Path, tool: Callable[[str], Path]) -> None:
    """As when a tool's environment is made again with a newer Python: `bin/antscache` is the same, the rest moves."""
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    [packages] = program.parent.parent.glob("lib/python*/site-packages")
    packages.rename(packages.with_name("of a newer one"))
    assert run(held, python, "-c", ASK_CODE) == Ran(0, at_home(held), "")
    ran = held("hook", "status", "--python", python).succeeded()
    assert "warning: " in ran.err
    assert "hint: run `antscache hook enable` again" in ran.err
    assert held("hook", "status", "--python", python, "--json").succeeded().json["works"] is False


def test_hook_without_its_program_is_an_error(held: AntsCache, python: Path, tool: Callable[[str], Path]) -> None:
    program = tool("tool")
    run(held, program, "hook", "enable", "--python", str(python)).succeeded()
    shutil.rmtree(program.parent)
    ran = run(held, python, "-c", ASK_CODE)
    assert ran.code == 1
    *_, error, hint = ran.err.splitlines()
    assert error.startswith("antscache_getters.AntsCacheError: antscache cannot be called: ")
    assert str(program) in error
    assert hint == "hint: install it again, or go without it: ANTSCACHE_HOOK=0"


def test_non_ascii_paths_work_in_an_ascii_locale(held: AntsCache, python: Path, tool: Callable[[str], Path]) -> None:
    """Python reads `.pth` files in the locale's encoding, and does not start where it cannot."""
    run(held, tool("Wörkzeug"), "hook", "enable", "--python", str(python), LC_ALL="C.UTF-8").succeeded()
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run(held, python, "-c", ASK_CODE, **ascii_alone) == Ran(0, view(held), "")


# Environments that cannot have it


def fake_python(place: Path, text: str, code: int = 0) -> Path:
    """Make a program that calls itself Python, prints `text` and ends with `code`."""
    path = place / "python"
    path.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("enable", "missing"),
        ("disable", "failing"),
        ("status", "a directory"),
        ("enable", "printing text"),
        ("status", "printing half"),
    ],
)
def test_unusable_python_is_an_error_with_a_hint(held: AntsCache, tmp_path: Path, verb: str, kind: str) -> None:
    python = {
        "missing": lambda: tmp_path / "nothing",
        "a directory": lambda: tmp_path,
        "failing": lambda: fake_python(tmp_path, '[[3, 11], "/"]', 1),
        "printing text": lambda: fake_python(tmp_path, "hello"),
        "printing half": lambda: fake_python(tmp_path, "[[3, 11]]"),
    }[kind]()
    ran = held("hook", verb, "--python", python)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"error: {python} does not run as a Python: ")
    assert ran.err.endswith("hint: give --python the interpreter of your environment\n")


def test_too_old_python_error_names_the_oldest_usable(held: AntsCache, tmp_path: Path) -> None:
    python = fake_python(tmp_path, json.dumps([[3, 7], str(tmp_path)]))
    ran = held("hook", "enable", "--python", python)
    assert (ran.code, ran.err) == (3, f"error: {python} is Python 3.7\nhint: the hook needs 3.8 or later\n")
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("version", ["2.7", "3.7"])
def test_real_too_old_pythons_are_refused(held: AntsCache, version: str) -> None:
    python = next(iter(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")), None)
    if python is None:
        cannot(f"no Python {version} on this machine")
    ran = held("hook", "status", "--python", python)
    assert (ran.code, f"is Python {version}\n" in ran.err) == (3, True)


def test_missing_site_packages_are_an_error(held: AntsCache, tmp_path: Path) -> None:
    ran = held("hook", "enable", "--python", fake_python(tmp_path, '[[3, 11], "/nonexistent"]'))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: cannot write /nonexistent/{FILE}: No such file or directory\nhint: ")


AS_ANOTHER_USER = """
from antscache import hook
def outcome(function):
    try:
        return str(function(Path(arguments[0])))
    except AntsCacheError as error:
        return [str(error), error.hint, error.exit_code]
print(json.dumps([outcome(hook.enable), outcome(hook.disable)]))
"""


def test_site_packages_of_another_user_are_an_error(everybodys: Path) -> None:
    packages = everybodys / "site-packages"
    packages.mkdir(mode=0o755)
    (packages / FILE).write_text("# of its owner\n")
    outcomes = run_as(ANN, AS_ANOTHER_USER, fake_python(everybodys, json.dumps([[3, 11], str(packages)])))
    hint = "use `antscache run` instead, or ask the owner of the environment"
    assert outcomes == [[f"cannot write {packages / FILE}: Permission denied", hint, 1]] * 2
    assert [path.name for path in packages.iterdir()] == [FILE]


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_read_only_environment_is_an_error(held: AntsCache, tmp_path: Path, verb: str) -> None:
    """As in a container whose root is read-only."""
    unshare = require("unshare")
    if subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        cannot("no mount namespaces here")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    script = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    words = ("hook", verb, "--python", fake_python(tmp_path, json.dumps([[3, 11], str(packages)])))
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, packages, *held.command(*words)],
        env=held.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if verb == "disable":  # the hook is not on, so there is nothing to write
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: cannot write {packages / FILE}: Read-only file system\nhint: ")


# The commands that the hook calls


def test_entries_have_files_and_paths_of_the_installation(held: AntsCache, upstream: Upstream) -> None:
    entries = held("hook", "entries", "antspynet", upstream.directory).succeeded().json
    files = upstream.files | {weights.entry.name: weights.entry.file for weights in KERAS_WEIGHTS}
    assert {entry["name"]: entry["file"] for entry in entries if entry["identifier"]} == files
    assert [entry["name"] for entry in entries if not entry["identifier"]] == [UNFETCHABLE]
    paths: dict[str, Any] = {entry["name"]: (entry["path"], entry["size"]) for entry in entries}
    assert paths.pop(BRAIN) == (view(held).strip(), SIZE)
    assert set(paths.values()) == {(None, None)}


def test_fetch_prints_only_the_fetched_entry(antscache: AntsCache, upstream: Upstream, figshare: StandIn) -> None:
    [entry] = antscache("hook", "fetch", "antspynet", upstream.directory, "data", TEMPLATE).succeeded().json
    assert (entry["kind"], entry["name"]) == ("data", TEMPLATE)
    assert Path(entry["path"]).read_bytes() == figshare.content("22597175")


@pytest.mark.parametrize(
    ("release", "code", "text"),
    [("no release", 2, "the environment (ANTSCACHE_RELEASE): "), ("0.9.9", 9, "antspynet==0.9.9")],
)
def test_unavailable_release_is_an_error(
    held: AntsCache, upstream: Upstream, release: str, code: int, text: str
) -> None:
    ran = held("hook", "entries", "antspynet", upstream.directory, ANTSCACHE_RELEASE=release)
    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err


def test_a_directory_without_the_package_is_an_error(held: AntsCache, tmp_path: Path) -> None:
    ran = held("hook", "entries", "antspynet", tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert f"no antspynet in {tmp_path}" in ran.err
