"""The verbs: each is a file, and help and completion list it."""

from __future__ import annotations

import pkgutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from antscache.cli import commands

if TYPE_CHECKING:
    from support import AntsCache


def test_each_file_is_a_verb() -> None:
    files = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    assert files == [verb.replace("-", "_") for verb in sorted(commands.VERBS)]


@pytest.mark.parametrize("verb", commands.VERBS)
def test_a_command_has_the_name_of_its_verb(verb: str) -> None:
    assert commands.load(verb).name == verb


def test_help_lists_each_verb_once(antscache: AntsCache) -> None:
    listed = antscache("--help").succeeded().out.partition("\nCommands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == sorted(commands.VERBS)


@pytest.mark.parametrize(("word", "verbs"), [("", sorted(commands.VERBS)), ("p", ["path", "prefetch"])])
def test_completion_lists_all_verbs(antscache: AntsCache, word: str, verbs: list[str]) -> None:
    environment = antscache.environment(
        _ANTSCACHE_COMPLETE="bash_complete", COMP_WORDS=f"antscache {word}", COMP_CWORD="1"
    )
    done = subprocess.run(antscache.command(), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"plain,{verb}" for verb in verbs]


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        (["prefech"], "antscache prefetch"),
        (["pull"], "antscache prefetch"),
        (["hook", "enabel"], "antscache hook enable"),
        (["hook", "remove"], ""),
        (["hook", "entrie"], ""),
    ],
)
def test_misspelt_verb_gets_a_suggestion(antscache: AntsCache, typed: list[str], suggestion: str) -> None:
    """Only verbs that the group has, and that people are to use, are suggested, as they are typed."""
    ran = antscache(*typed)
    hint = f": did you mean `{suggestion}`?" if suggestion else "."
    assert (ran.code, f"No such command '{typed[-1]}'{hint}" in ran.err) == (2, True)
