"""What real functions ask for is within what antscache reads in their source, for three releases.

    0.3.2    the environment of the other tests here
    0.2.9    a pure wheel, unpacked on PYTHONPATH over the same environment
    0.1.9    an environment of its own, with TensorFlow 2.15 and Keras 2

Each public function that asks for files is called with its defaults and with combinations of the arguments that decide
(`needs_calls.py`). The real code runs, without downloads and slow computations (`record_needs.py`).
`ANTSCACHE_TESTS_UPDATE=1` writes the figures into docs/functions-measured.md.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from needs_calls import Static, calls_of, dimension, static, written
from support import REPOSITORY
from test_releases import installed, two
from upstream import HERE, TENSORFLOW, cut_off, python

from antscache.catalog import shipped_manifest
from antscache.core import KERAS_WEIGHTS, parse_release

if TYPE_CHECKING:
    from pathlib import Path

    from test_releases import Installed


__all__ = ["cut_off", "python", "two"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(7200)]

VERSIONS = (
    ("0.3.2", "0.2.9", "0.1.9") if os.environ.get("ANTSCACHE_TESTS_UPDATE") else ("0.3.2",)
)  # the others take long
KERAS_NAMES = {weights.entry.file: weights.entry.name for weights in KERAS_WEIGHTS}
PAGE = REPOSITORY / "docs/functions-measured.md"


@dataclass(frozen=True)
class Answer:
    """The static and the real answer to a call."""

    function: str
    call: str
    static: Static
    asked: frozenset[tuple[str, str]]
    error: str | None

    @property
    def outside(self) -> frozenset[tuple[str, str]]:
        """What is asked for and is not in the static answer."""
        return self.asked - self.static.names

    @property
    def excess(self) -> int:
        return len(self.static.names - self.asked)


def measure(one: Installed, cut_off: tuple[str, ...], home: Path) -> list[Answer]:
    """Return the answers to the calls of the functions of a release."""
    manifest = shipped_manifest(parse_release(one.release))
    assert manifest is not None
    assert manifest.functions
    calls = [(function, arguments) for function in manifest.functions for arguments in calls_of(function)]
    question = [(function.name, arguments, dimension(function, arguments)) for function, arguments in calls]
    done = subprocess.run(
        [*cut_off, str(one.python), str(HERE / "record_needs.py")],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": one.path, **TENSORFLOW},
        cwd=home,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    real = map(json.loads, done.stdout.splitlines())
    return [
        Answer(
            function.name,
            written(function.name, arguments),
            static(manifest, function, arguments),
            frozenset((kind, KERAS_NAMES.get(name, name)) for kind, name in each["asked"]),
            each["error"],
        )
        for (function, arguments), each in zip(calls, real, strict=True)
    ]


def section(release: str, answers: list[Answer]) -> str:
    """Return what the page says of a release."""
    rows = [row(name, list(some)) for name, some in groupby(answers, lambda answer: answer.function)]
    errors = Counter((answer.function, answer.error) for answer in answers if answer.error)
    return "\n".join(
        [
            f"## {release}\n",
            "| function | calls | returned | raised | recorded | static | exact calls | most excess |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            row("all", answers),
            "\nThe calls that raised:\n",
            *(f"- `{function}`, {count}: `{one_line(error)}`" for (function, error), count in errors.items()),
            "",
        ]
    )


def row(name: str, answers: list[Answer]) -> str:
    """Return a row of the table: of the calls that returned, the entries of all of them, and their excess."""
    returned = [answer for answer in answers if answer.error is None]
    recorded = {(answer.function, *entry) for answer in returned for entry in answer.asked}
    stated = {(answer.function, *entry) for answer in returned for entry in answer.static.names}
    exact = sum(not answer.excess for answer in returned)
    most = max((answer.excess for answer in returned), default=0)
    counts = len(answers), len(returned), len(answers) - len(returned), len(recorded), len(stated), exact, most
    return f"| {name} | {' | '.join(map(str, counts))} |"


def one_line(error: str) -> str:
    return " ".join(error.replace("`", "'").split())


def update(release: str, answers: list[Answer]) -> None:
    """Write the section of a release anew."""
    before, _, rest = PAGE.read_text("utf-8").partition(f"## {release}\n")
    after = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    PAGE.write_text(f"{before}{section(release, answers)}{after and chr(10)}{after}", "utf-8")


@pytest.fixture(scope="session", params=VERSIONS)
def one(request: pytest.FixtureRequest) -> Installed:
    """A release."""
    if request.param == "0.1.9":
        return installed(request.param)
    both: tuple[Installed, Installed] = request.getfixturevalue("two")
    return both[request.param == "0.3.2"]


@pytest.fixture(scope="session")
def answers(one: Installed, cut_off: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """The answers to all calls of its functions."""
    return measure(one, cut_off, tmp_path_factory.mktemp("home"))


def test_no_request_is_outside_the_static_answer(one: Installed, answers: list[Answer]) -> None:
    """Also before a call raises."""
    assert {answer.call: sorted(answer.outside) for answer in answers if answer.outside} == {}
    if os.environ.get("ANTSCACHE_TESTS_UPDATE"):
        update(one.release, answers)


def test_no_call_returns_that_antscache_refuses(answers: list[Answer]) -> None:
    assert [answer.call for answer in answers if answer.static.refused and answer.error is None] == []


def test_modalities_need_exactly_the_static_answer(answers: list[Answer]) -> None:
    calls = [answer for answer in answers if answer.function == "brain_extraction" and answer.error is None]
    assert len(calls) > 10
    assert {answer.call: answer.excess for answer in calls if answer.excess} == {}


def test_half_of_the_calls_return(answers: list[Answer]) -> None:
    """Else the others prove little."""
    assert sum(answer.error is None for answer in answers) > len(answers) / 2
