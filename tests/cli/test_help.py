"""The help of every verb: whole lines on a terminal of 80 columns, and a sentence for each option."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from unittest import mock

import click
import pytest
from click.testing import CliRunner

from antscache.cli.lazy_group import ALIASES, antscache
from antscache.cli.options import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 80
SOURCES = re.compile(r" \[(env|default): [^]]+\]$")  # of an option's value: behind its sentence


def walk(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield `command` and all its verbs, hidden ones too, with the words that call them."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            assert verb
            yield from walk(verb, (*words, name))


VERBS = {" ".join(words): command for words, command in walk(antscache)}
each_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb or "antscache")


def help_of(verb: str) -> list[str]:
    """Return the lines of a verb's help, as a terminal of 80 columns shows them."""
    with mock.patch.dict(os.environ, COLUMNS=str(COLUMNS)):
        result = CliRunner().invoke(antscache, [*verb.split(), "--help"], prog_name="antscache", obj=Invocation())
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_the_walk_finds_every_verb() -> None:
    assert {"", "prefetch", "container-args", "hook", "hook enable", "hook entries"} <= VERBS.keys()
    assert len(VERBS) > 20
    assert VERBS.keys().isdisjoint(ALIASES)


@each_verb
def test_help_fits_a_terminal(verb: str) -> None:
    """No line is longer than 80 columns, and click cuts no text with an ellipsis."""
    lines = help_of(verb)
    assert lines[0].startswith(f"Usage: antscache {verb}".rstrip())
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert [line for line in lines[1:] if line.endswith("...")] == []


@each_verb
def test_help_begins_with_an_imperative_sentence(verb: str) -> None:
    """It tells the reader what to do ("Print", not "Prints"), and is the verb's line in the list of commands."""
    first = re.split(r"\n\n", VERBS[verb].help or "")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z][a-z-]*[a-rt-z] .*\.", first)
    listed, _, name = verb.rpartition(" ")
    if verb and not VERBS[verb].hidden:
        assert re.search(rf"^  {name} +{re.escape(first)}$", "\n".join(help_of(listed)), re.MULTILINE)


@each_verb
def test_each_option_has_a_sentence(verb: str) -> None:
    """Its variable and its default stand in brackets behind the full stop."""
    for option in VERBS[verb].params:
        if isinstance(option, click.Option):
            assert re.fullmatch(r"[A-Z].*\.", SOURCES.sub("", option.help or "")), option.name
