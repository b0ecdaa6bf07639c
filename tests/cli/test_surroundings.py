"""Surroundings: names that are no UTF-8, limits of the process, and what a command says before it starts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, TEMPLATE, AntsCache
from support.hooked import IMPORTS, Lab

from antscache.config import Settings
from antscache.errors import AntsCacheError, ConfigError
from antscache.hook import hook

if TYPE_CHECKING:
    from antscache.testing import StandIn

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def odd(antscache: AntsCache, tmp_path: Path) -> AntsCache:
    """antscache with a root whose name is no UTF-8."""
    return AntsCache(tmp_path / os.fsdecode(b"n\xf6n"), antscache.home, antscache.origins)


# Names that are no UTF-8

JSON_CALLS = [
    "status", "list", "list 0.3.2", "cite 0.3.2", "verify", "gc", "releases", f"show {BRAIN}", "diff 0.2.9 0.3.2",
    f"prefetch 0.3.2 --name {LUNG}", "link 0.3.2 --home out", "forget figshare:34821874 -n", "doctor --offline",
    "rm 0.3.2 -n",
]  # fmt: skip


@pytest.mark.parametrize("call", JSON_CALLS)
@pytest.mark.parametrize("locale", [{}, C_LOCALE], ids=["UTF-8", "C"])
def test_json_holds_any_path(odd: AntsCache, call: str, locale: dict[str, str]) -> None:
    odd("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    odd.environ |= locale
    ran = odd(*shlex.split(call), "--json").succeeded()
    assert [json.loads(line) for line in ran.out.splitlines()] if call.startswith("prefetch") else ran.json is not None
    assert ran.out.isascii()


@pytest.mark.parametrize("name", [b"n\xf6n", "nön".encode()])
@pytest.mark.parametrize("locale", [{}, C_LOCALE], ids=["UTF-8", "C"])
def test_path_prints_the_bytes_of_names(
    antscache: AntsCache, tmp_path: Path, name: bytes, locale: dict[str, str]
) -> None:
    root = tmp_path / os.fsdecode(name)
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--root", root).succeeded()
    done = subprocess.run(
        antscache.command("path", "0.3.2"),
        env=antscache.environment(ANTSCACHE_DIR=root, **locale),
        capture_output=True,
        check=True,
    )
    assert done.stdout == os.fsencode(root) + b"/views/antspynet-0.3.2\n"


def test_the_hook_answers_with_any_path(odd: AntsCache, tmp_path: Path, figshare: StandIn) -> None:
    lab = Lab(odd, tmp_path, figshare)
    ran = lab.hooked(lab.upstream(), IMPORTS + f"print(json.dumps(network({BRAIN!r})))").succeeded()
    assert os.fsencode(json.loads(ran.out)).startswith(os.fsencode(odd.root))


def test_a_path_that_no_variable_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMD would silently not use its view."""
    monkeypatch.setattr(hook, "INJECT_DIRECTORY", Path("/opt/a:b/inject"))
    with pytest.raises(ConfigError, match="PYTHONPATH cannot name /opt/a:b/inject"):
        hook.environment({})


# Limits


@pytest.mark.parametrize(
    ("limit", "hint"), [("-n 12", "`ulimit -n 1024`"), ("-f 8", "`ulimit -f unlimited`")], ids=["files", "size"]
)
def test_a_limit_is_named(antscache: AntsCache, limit: str, hint: str) -> None:
    """The disk cannot help, and nobody is sent to look at it."""
    command = shlex.join(antscache.command("prefetch", "0.3.2", "--kind", "data"))
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; {command}"],
        env=antscache.environment(PYTHONDONTWRITEBYTECODE="1"),  # Python would cut its files of bytecode as well
        cwd=antscache.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert hint in done.stderr
    assert "check the disk" not in done.stderr


@pytest.mark.parametrize("most", [0, 1])
def test_few_threads_are_enough(tmp_path: Path, figshare: StandIn, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """None is an error that says what to change."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("antscache-fetch"):
            if len(started) == most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    from antscache.cache import Cache

    cache = Cache(Settings(root=str(tmp_path / "root"), origins=tuple(figshare.origins.split())))
    monkeypatch.setattr(threading.Thread, "start", limited)
    plan = cache.plan("0.3.2", names=[BRAIN, LUNG, TEMPLATE])
    if most:
        assert len(cache.prefetch(plan).fetched) == 3
    else:
        with pytest.raises(AntsCacheError, match="the system starts no thread") as caught:
            cache.prefetch(plan)
        assert "ulimit -u" in caught.value.hint


# Before the command


def test_a_release_before_the_command_needs_dashes(antscache: AntsCache) -> None:
    ran = antscache("run", "0.3.2", "python", "x y.py")
    assert (ran.code, "antscache run 0.3.2 -- python 'x y.py'" in ran.err) == (2, True)


@pytest.mark.parametrize("held", [True, False])
def test_run_offline_says_that_nothing_is_held(antscache: AntsCache, held: bool) -> None:
    if held:
        antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    ran = antscache("run", "0.3.2", "--offline", "--", sys.executable, "-c", "print('ran')").succeeded()
    assert ran.out == "ran\n"
    assert ("warning: nothing of antspynet==0.3.2 is held in" in ran.err) is not held


def test_versions_are_those_of_pep_440(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3", "--name", TEMPLATE).succeeded()
    assert antscache("path", "v0.3.0").succeeded().out.endswith("views/antspynet-0.3.0\n")
    antscache("verify", "0.3").succeeded()


def test_an_empty_root_says_what_to_do(antscache: AntsCache) -> None:
    for verb in "list", "status":
        assert "hint: `antscache releases` lists those" in antscache(verb).succeeded().err
        assert antscache(verb, "-q").succeeded().err == ""


def test_a_partial_release_shows_how_much_it_is(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    for verb in "list", "status":
        assert "antspynet==0.3.2  1 of 211 files" in antscache(verb).succeeded().out


@pytest.mark.parametrize("kind", ["data", "network"])
def test_the_hint_keeps_the_kind(antscache: AntsCache, kind: str) -> None:
    ran = antscache("prefetch", "0.3.2", "--kind", kind, "--offline")
    assert f"hint: run `antscache prefetch antspynet==0.3.2 --kind {kind}` where" in ran.err


def test_a_name_of_another_kind_is_told(antscache: AntsCache) -> None:
    ran = antscache("prefetch", "0.3.2", "--kind", "data", "--name", BRAIN)
    assert (ran.code, f"{BRAIN} is of kind network" in ran.err) == (3, True)
