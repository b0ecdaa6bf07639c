"""All texts that users meet, printed into `tests/texts/`: a change of one is seen, and read, in a review.

    messages.txt   errors, hints, warnings and the doctor's findings, by module; what is filled in is in braces
    help.txt       the help of every verb, as wide as a terminal of 80 columns

`ANTSCACHE_TESTS_UPDATE=1 .venv/bin/pytest tests/test_texts.py` writes them anew.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from support import REPOSITORY

from antscache.cli.lazy_group import antscache
from antscache.cli.options import Invocation
from antscache.errors import AntsCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXTS = Path(__file__).parent / "texts"
PACKAGE = REPOSITORY / "antscache"
SPEAKS = {  # functions whose first text is read by users, beside the errors' classes
    "antscache": {
        "print_line",
        "say",
        "store_errors",
        "FormError",
        "CutFile",
        "NoFile",
        "ScannerError",
        "AttemptFailed",
        "_error",
        "Remarked",
    },
    "antscache/doctor": {"error", "note", "ok", "warning", "wrong"},
}
RELATIVE = {"what", "whatever", "whether", "who", "whoever", "whose", "which"}


def families(kind: type[AntsCacheError] = AntsCacheError) -> Iterator[str]:
    """Yield the names of an error and of those that are made of it."""
    yield kind.__name__
    for more in kind.__subclasses__():
        yield from families(more)


def template(node: ast.expr) -> str:
    """Return the text that an expression makes, with braces around what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(template, values))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left) + template(right)
        case ast.IfExp(body=body, orelse=orelse):
            return f"[{template(body)}|{template(orelse)}]"
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case _:
            return f"{{{ast.unparse(node)}}}"


def called(call: ast.Call) -> str:
    """Return the last part of the name of a function that is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def assigned(function: ast.AST) -> dict[str, str]:
    """Return the texts that a function gives to its variables, several by turns."""
    texts: dict[str, list[str]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                texts.setdefault(name, []).append(template(value))
    return {name: " | ".join(dict.fromkeys(found)) for name, found in texts.items()}


def messages_of(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the function, the text and the hint of each message in a module, from top to bottom."""
    speaks = {name for folder, names in SPEAKS.items() if file.is_relative_to(REPOSITORY / folder) for name in names}
    speaks |= {*families()}
    module = ast.parse(file.read_text("utf-8"))
    variables = {
        id(call): texts  # of the innermost function: the last to be walked
        for function in ast.walk(module)
        if isinstance(function, ast.FunctionDef)
        for texts in [assigned(function)]
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
    }
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        texts = variables.get(id(call), {})
        hint = next((keyword.value for keyword in call.keywords if keyword.arg == "hint"), None)
        told = [template(part) if part else "" for part in (next(iter(call.args), None), hint)]
        text, remedy = (texts.get(words[1:-1], words) if words[:1] == "{" else words for words in told)
        if called(call) in speaks or remedy:
            yield called(call), text, remedy


def messages() -> str:
    """Return all messages, by module."""
    lines: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if found := list(messages_of(file)):
            lines.append(f"\n{file.relative_to(REPOSITORY)}")
            for name, text, hint in found:
                lines.append(f"  {name}: {text}")
                if hint:
                    lines.append(f"    hint: {hint}")
    return "\n".join(lines).strip() + "\n"


def verbs(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command below `group`, with what is typed to call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from verbs(command, (*words, name))


def helps() -> str:
    """Return the help of every verb."""
    texts: list[str] = []
    for words, command in ((("antscache",), antscache), *verbs(antscache, ("antscache",))):
        names = antscache.context_settings["help_option_names"]  # commands keep those that they are first asked with
        context = click.Context(command, info_name=" ".join(words), terminal_width=80, help_option_names=names)
        texts.append(f"$ {' '.join(words)} --help\n{command.get_help(context)}\n")
    return "\n".join(texts)


@pytest.mark.parametrize(("name", "printed"), [("messages.txt", messages), ("help.txt", helps)])
def test_every_text_is_kept_for_review(name: str, printed: Callable[[], str]) -> None:
    if os.environ.get("ANTSCACHE_TESTS_UPDATE") == "1":
        (TEXTS / name).write_text(printed(), "utf-8")
    assert printed() == (TEXTS / name).read_text("utf-8"), (
        "read the new text, and write it with ANTSCACHE_TESTS_UPDATE=1"
    )


def test_no_message_begins_with_a_relative_word() -> None:
    texts = [text for file in PACKAGE.rglob("*.py") for _, *both in messages_of(file) for text in both]
    assert len(texts) > 300
    assert not [text for text in texts if text.split(" ", 1)[0].lower() in RELATIVE]


COMMAND = re.compile(r"`antscache ([^`]*)`")
FILLED_IN = {"release": "0.3.2", "named": "0.3.2", "RELEASE": "0.3.2", "identifier": "figshare:1"}  # else "x"


def commands_in_hints() -> list[str]:
    """Return the commands in all hints, with something in place of what is filled in."""
    lines = (TEXTS / "messages.txt").read_text("utf-8").splitlines()
    found = {command for line in lines if "hint: " in line for command in COMMAND.findall(line)}

    def fill(match: re.Match[str]) -> str:
        return next((value for name, value in FILLED_IN.items() if name in match[0]), "x")

    return sorted(re.sub(r"\{[^{}]*\}|\bRELEASE\b", fill, command) for command in found)


@pytest.mark.parametrize("command", commands_in_hints())
def test_every_command_in_a_hint_parses(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()  # a directory that adopt takes
    words = shlex.split(command)
    if words[0] == "--root":
        words = [*words[2:], *words[:2]]
    verb = antscache.get_command(click.Context(antscache), words[0])
    assert verb is not None
    while isinstance(verb, click.Group):
        verb, words = verb.commands[words[1]], words[1:]
    verb.make_context(words[0], words[1:], obj=Invocation())
