"""`antscache run`: CMD takes the place of antscache, and only its ANTsPyNet is redirected."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, FEW, REPOSITORY, SIZE, TEMPLATE, AntsCache, Ran, upstreams
from support.upstreams import PYTHON, Upstream

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INJECT = REPOSITORY / "antscache" / "inject"
HOME = ".keras/ANTsXNet"
HANG_SECONDS = 600  # a process that takes longer hangs
ASK_FOR_BRAIN = f"import antspynet; print(antspynet.get_pretrained_network('{BRAIN}'))"
PRINT_VARIABLES = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AntsCache:
    """antscache with the files that the tests ask for, and without an origin."""
    place = tmp_path_factory.mktemp("held")
    (place / "home").mkdir()
    antscache = AntsCache(place / "root", place / "home")
    with StandIn(FEW, size=SIZE) as standin:
        names = ("--name", BRAIN, "--name", TEMPLATE)
        antscache("prefetch", "--from", upstream.directory, *names, ANTSCACHE_ORIGINS=standin.origins).succeeded()
    antscache.environ |= {"PYTHONPATH": upstream.path, "ANTSCACHE_OFFLINE": "1"}
    return antscache


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return upstreams.make(tmp_path_factory.mktemp("upstream"), "0.3.2")


def written(place: Path, name: str, text: str) -> Path:
    path = place / name
    path.write_text(text)
    return path


# CMD behaves as it does without antscache


@pytest.mark.parametrize("code", [0, 42])
def test_exit_code_is_that_of_cmd(antscache: AntsCache, code: int) -> None:
    assert antscache("run", "--", "sh", "-c", f"exit {code}") == Ran(code, "", "")


def test_stdin_and_output_are_those_of_cmd(antscache: AntsCache) -> None:
    content = bytes(range(256)) * 1000
    done = subprocess.run(
        antscache.command("run", "--", "sh", "-c", "cat; echo said >&2"),
        env=antscache.environment(),
        input=content,
        capture_output=True,
        check=True,
        timeout=HANG_SECONDS,
    )
    assert (done.stdout, done.stderr) == (content, b"said\n")


@pytest.fixture
def started(antscache: AntsCache) -> Iterator[subprocess.Popen[str]]:
    """A CMD that prints its process number and waits for a signal."""
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    command = antscache.command("run", "--", PYTHON, "-c", code)
    with subprocess.Popen(
        command, env=antscache.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_ends_cmd_in_the_same_process(started: subprocess.Popen[str], name: str) -> None:
    """CMD keeps the process number of antscache, and a signal ends it as it would without antscache."""
    assert started.stdout
    assert int(started.stdout.readline()) == started.pid
    started.send_signal(signal.Signals[name])
    _, errors = started.communicate(timeout=HANG_SECONDS)
    assert started.returncode == -signal.Signals[name]
    assert ("KeyboardInterrupt" in errors) == (name == "SIGINT")
    assert "interrupted" not in errors  # antscache's own words


@pytest.mark.parametrize("name", ["PIPE", "XFSZ"])
def test_cmd_does_not_ignore_signals_that_python_ignores(antscache: AntsCache, name: str) -> None:
    ran = antscache("run", "--", "sh", "-c", f"kill -s {name} $$; echo it went on")
    assert (ran.code, ran.out) == (-signal.Signals[f"SIG{name}"], "")


def test_only_the_hooks_variables_change_for_cmd(antscache: AntsCache) -> None:
    before = antscache.environment(LC_ALL="C.UTF-8")
    ran = antscache("run", "--", PYTHON, "-c", PRINT_VARIABLES, LC_ALL="C.UTF-8").succeeded()
    after = ran.json
    assert {key: value for key, value in before.items() if after.get(key) != value} == {}
    assert after.keys() - before.keys() <= {"PYTHONPATH", "ANTSCACHE_COMMAND", "ANTSCACHE_HOOK"}


# The command line


def test_options_behind_cmd_go_to_cmd(antscache: AntsCache, tmp_path: Path) -> None:
    script = written(tmp_path, "x.py", "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))")
    words = ["--offline", "--root", "/x", "-q", "--help", "a b"]
    taken, environ = antscache("run", PYTHON, script, *words).succeeded().json
    assert taken == words
    assert "ANTSCACHE_OFFLINE" not in environ
    assert environ["ANTSCACHE_DIR"] == str(antscache.root)


def test_words_behind_two_dashes_go_to_cmd(antscache: AntsCache) -> None:
    """All words do, further `--` and antscache's own options among them."""
    ran = antscache("run", "--", "sh", "-c", 'printf "%s\\n" "$@"', "sh", "a", "--", "--offline").succeeded()
    assert ran.out.splitlines() == ["a", "--", "--offline"]


def test_a_release_stands_before_two_dashes(antscache: AntsCache, upstream: Upstream) -> None:
    ran = antscache("run", "0.3.1", "--", PYTHON, "-c", ASK_FOR_BRAIN, PYTHONPATH=upstream.path).succeeded()
    assert ran.out.strip() == str(antscache.root / "views/antspynet-0.3.1" / HOME / f"{BRAIN}.h5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no CMD to run"),
        (["0.3.2", "--"], "no CMD to run"),
        (["0.3.1", "0.3.2", "--", "true"], "give at most one RELEASE before --, not 0.3.1 0.3.2"),
        (["--nonsense", "true"], "No such option"),
    ],
)
def test_wrong_command_line_is_a_usage_error(antscache: AntsCache, words: list[str], message: str) -> None:
    ran = antscache("run", *words)
    assert ran.code == 2
    assert "Usage: antscache run [OPTIONS] [RELEASE] -- CMD..." in ran.err
    assert message in ran.err


def test_unknown_release_stops_before_cmd_runs(antscache: AntsCache, tmp_path: Path) -> None:
    ran = antscache("run", "no release", "--", "touch", tmp_path / "ran")
    assert (ran.code, (tmp_path / "ran").exists()) == (3, False)
    assert ran.err.startswith("error: ")


def test_wrong_setting_stops_before_cmd_runs(antscache: AntsCache, tmp_path: Path) -> None:
    ran = antscache("run", "--", "touch", tmp_path / "ran", ANTSCACHE_JOBS="many")
    assert (ran.code, (tmp_path / "ran").exists()) == (2, False)
    assert "ANTSCACHE_JOBS" in ran.err


@pytest.mark.parametrize("command", ["no-such-program", "./no-such-program", ""])
def test_cmd_not_found_exits_with_127(antscache: AntsCache, command: str) -> None:
    ran = antscache("run", "--", command)
    assert (ran.code, ran.out) == (127, "")
    assert ran.err == f"error: cannot run {command}: No such file or directory\n"


@pytest.mark.parametrize("kind", ["a file that is no program", "a directory"])
def test_cmd_not_executable_exits_with_126(antscache: AntsCache, tmp_path: Path, kind: str) -> None:
    command = tmp_path / "command"
    if kind == "a directory":
        command.mkdir()
    else:
        command.write_text("#!/bin/sh\n")
    ran = antscache("run", "--", command)
    assert (ran.code, ran.out) == (126, "")
    assert ran.err == f"error: cannot run {command}: Permission denied\n"


# The path that CMD inherits


def path_of(ran: Ran) -> list[str]:
    path: list[str] = ran.succeeded().json["PYTHONPATH"].split(os.pathsep)
    return path


def test_users_pythonpath_stays_behind_the_hook(antscache: AntsCache) -> None:
    """Its directories keep their order."""
    ran = antscache("run", PYTHON, "-c", PRINT_VARIABLES, PYTHONPATH="/b:/a")
    assert path_of(ran) == [str(INJECT), "/b", "/a"]


@pytest.mark.parametrize("path", ["", "/a:", ":/a::/b"])
def test_sys_path_is_the_same_as_without_run(antscache: AntsCache, tmp_path: Path, path: str) -> None:
    script = written(tmp_path, "paths.py", "import json, sys; print(json.dumps(sys.path))")
    environ = antscache.environment(PYTHONPATH=path)
    plain = subprocess.run(
        [PYTHON, script], env=environ, cwd=antscache.home, capture_output=True, check=True, timeout=HANG_SECONDS
    )
    assert antscache("run", PYTHON, script, PYTHONPATH=path).succeeded().json == json.loads(plain.stdout)


def test_run_in_a_run_keeps_path_and_settings(antscache: AntsCache) -> None:
    """The hook is on the path once, and the inner run has the outer run's settings."""
    inner = antscache.command("run", PYTHON, "-c", PRINT_VARIABLES)
    ran = antscache("run", "--offline", "0.3.1", "--", *inner, PYTHONPATH="/a")
    assert path_of(ran) == [str(INJECT), "/a"]
    assert (ran.json["ANTSCACHE_OFFLINE"], ran.json["ANTSCACHE_RELEASE"]) == ("1", "antspynet==0.3.1")


def test_run_in_a_run_may_change_the_release(antscache: AntsCache) -> None:
    inner = antscache.command("run", "0.2.9", "--", PYTHON, "-c", PRINT_VARIABLES)
    assert antscache("run", "0.3.1", "--", *inner).succeeded().json["ANTSCACHE_RELEASE"] == "antspynet==0.2.9"


def test_run_switches_a_disabled_hook_on_again(held: AntsCache) -> None:
    assert f"{held.root}/views/" in held("run", PYTHON, "-c", ASK_FOR_BRAIN, ANTSCACHE_HOOK="0").succeeded().out


def test_cmd_can_switch_the_hook_off_again(held: AntsCache) -> None:
    home = held.home / HOME
    home.mkdir(parents=True)
    written(home, f"{BRAIN}.h5", "mine")
    assert held("run", "env", "ANTSCACHE_HOOK=0", PYTHON, "-c", ASK_FOR_BRAIN).succeeded().out == f"{home}/{BRAIN}.h5\n"


# The next sitecustomize; antscache's own process has none


def site(place: Path, text: str) -> Path:
    written(place, "sitecustomize.py", f"import os, sys\nif 'OF_CMD' in os.environ:\n    {text}\n")
    return place


def test_next_sitecustomize_runs_once_and_is_imported(antscache: AntsCache, tmp_path: Path) -> None:
    site(tmp_path, "print(__name__); value = 7")
    code = "import sitecustomize, sys; print(sitecustomize.value, 'antscache_hook' in sys.modules)"
    ran = antscache("run", "env", "OF_CMD=1", PYTHON, "-c", code, PYTHONPATH=tmp_path)
    assert ran == Ran(0, "sitecustomize\n7 True\n", "")


@pytest.mark.parametrize("raising", ["raise RuntimeError('of the site')", "import no_such_module"])
def test_failing_sitecustomize_leaves_the_hook_on(
    held: AntsCache, upstream: Upstream, tmp_path: Path, raising: str
) -> None:
    """Python reports its error as it does without antscache."""
    path = f"{site(tmp_path, raising)}:{upstream.path}"
    environ = held.environment(PYTHONPATH=path, OF_CMD="1")
    plain = subprocess.run(
        [PYTHON, "-c", "pass"], env=environ, capture_output=True, text=True, check=True, timeout=HANG_SECONDS
    )
    assert plain.stderr
    ran = held("run", "env", "OF_CMD=1", PYTHON, "-c", ASK_FOR_BRAIN, PYTHONPATH=path).succeeded()
    assert ran.err == plain.stderr
    assert f"{held.root}/views/" in ran.out


def test_without_sitecustomize_run_prints_nothing(antscache: AntsCache) -> None:
    assert antscache("run", PYTHON, "-c", "print('here')") == Ran(0, "here\n", "")


# Its own options


def test_offline_holds_for_cmd(antscache: AntsCache, upstream: Upstream, figshare: StandIn) -> None:
    asked = len(figshare.requests)
    done = subprocess.run(
        antscache.command("run", "--offline", PYTHON, "-c", ASK_FOR_BRAIN),
        env=antscache.environment(PYTHONPATH=upstream.path),
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 1
    assert "antscache_getters.AntsCacheError: error: " in done.stderr
    assert len(figshare.requests) == asked
    assert not antscache.root.exists()


@pytest.mark.parametrize("words", [["--root", "another root", "run"], ["run", "--root", "another root"]])
def test_root_stays_where_cmd_changes_directory(antscache: AntsCache, words: list[str]) -> None:
    """A relative --root becomes an absolute path."""
    environ = antscache(*words, PYTHON, "-c", PRINT_VARIABLES).succeeded().json
    assert environ["ANTSCACHE_DIR"] == f"{antscache.home}/another root"


def test_lower_caches_stay_where_cmd_changes_directory(antscache: AntsCache) -> None:
    """A relative --site-dir becomes an absolute path."""
    words = ["run", "--site-dir", "lower", "--site-dir", "/lowest", PYTHON, "-c", PRINT_VARIABLES]
    assert antscache(*words).succeeded().json["ANTSCACHE_SITE_DIRS"] == f"{antscache.home}/lower:/lowest"


def test_configured_root_stays_for_another_home(held: AntsCache, tmp_path: Path) -> None:
    """The root in the user's antscache.toml stays the root for a CMD with another HOME."""
    environ = held.environment(HOME=tmp_path)
    del environ["ANTSCACHE_DIR"]
    (tmp_path / ".config/antscache").mkdir(parents=True)
    written(tmp_path, ".config/antscache/antscache.toml", f"root = '{held.root}'\n")
    done = subprocess.run(
        held.command("run", "env", "HOME=/nonexistent", PYTHON, "-c", ASK_FOR_BRAIN),
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_SECONDS,
    )
    assert done.stdout.startswith(f"{held.root}/views/")


def recorded(path: Path) -> list[Any]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def test_record_stays_where_cmd_changes_directory(held: AntsCache) -> None:
    code = f"import os; os.chdir('/'); {ASK_FOR_BRAIN}; antspynet.get_antsxnet_data('{TEMPLATE}')"
    held("run", "--record", "uses", PYTHON, "-c", code).succeeded()
    assert recorded(held.home / "uses") == [BRAIN, TEMPLATE]


def test_percent_p_gives_each_process_its_record(held: AntsCache) -> None:
    shell = f'"{PYTHON}" -c "$0"; "{PYTHON}" -c "$0"'
    ran = held(
        "run", "--record", "of-%p", "--", "sh", "-c", shell, f"import os; print(os.getpid()); {ASK_FOR_BRAIN}"
    ).succeeded()
    processes = ran.out.splitlines()[::2]
    assert {path.name: recorded(path) for path in held.home.glob("of-*")} == {
        f"of-{process}": [BRAIN] for process in processes
    }
    assert len(set(processes)) == 2


def test_isolated_interpreter_is_out_of_reach(antscache: AntsCache) -> None:
    """`python -I` reads no PYTHONPATH, so that run cannot reach it."""
    code = "import sys; print('antscache_hook' in sys.modules)"
    assert antscache("run", PYTHON, "-I", "-c", code).succeeded().out == "False\n"
