"""The bars of a fetch, as they stand on terminals of several widths; tests/texts/screens/ keeps what they show."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from support import BRAIN, LUNG, TEMPLATE, TRANSFORM
from support.terminals import LINES, Screen, watch

from antscache.cli import render
from antscache.cli.bars import Bars, bars, make_progress
from antscache.cli.options import Invocation
from antscache.core import Fetched, Received, Started, Waiting
from antscache.core.digest import descriptor_of
from antscache.testing import StandIn

if TYPE_CHECKING:
    from support import AntsCache

SCREENS = Path(__file__).parents[1] / "texts" / "screens"
WIDTHS = [140, 80, 40]
widths = pytest.mark.parametrize("columns", WIDTHS)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def draw(columns: int, *, known: bool = False) -> list[str]:
    """Draw a fetch of 211 files after 20 seconds: two have come, four are under way, two wait; a note is printed."""
    written, clock = io.StringIO(), Clock()
    console = Console(file=written, force_terminal=True, color_system=None, width=columns, height=LINES)
    progress = make_progress(console, clock)
    progress.live.auto_refresh = False
    names = [f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz", f"{TRANSFORM}.mat", "a.h5", "b.h5", "c.h5"]
    sizes = {f"figshare:{number}": 10_000_000 for number in range(211)} if known else {}
    with progress:
        drawing = Bars(progress, 211, sizes)
        for number, name in enumerate(names):
            drawing.listen(Started(f"figshare:{number}", name, "figshare.com", 10_000_000 * (number + 1), 0))
        for _ in range(20):
            clock.now += 1
            for number in range(6):
                drawing.listen(Received(f"figshare:{number}", 500_000))
        for number in 3, 4:
            blob = descriptor_of(b"x")
            drawing.listen(Fetched(f"figshare:{number}", names[number], blob, "figshare.com", 1.0, (), ""))
        for number in 7, 8:
            drawing.listen(Waiting(f"figshare:{number}", "d.h5", "it is asked for one file every 1 s", 2.0))
        progress.refresh()
        screen = Screen(columns)
        screen.write(written.getvalue().replace("\n", "\r\n").encode())
        return screen.lines


@widths
def test_bars_fit_the_terminal(columns: int) -> None:
    """Sizes that are extrapolated are "about", those that all origins told are not."""
    shown = draw(columns)
    kept = SCREENS / f"fetch-{columns}.txt"
    text = "".join(f"{line}\n" for line in shown)
    if os.environ.get("ANTSCACHE_TESTS_UPDATE") == "1":
        kept.write_text(text, "utf-8")
    assert text == kept.read_text("utf-8")
    assert len(shown) == 5
    assert ("about" in text) == (columns > 40)
    assert "about" not in "".join(draw(columns, known=True))


@widths
def test_several_slow_files_are_not_scrambled(antscache: AntsCache, columns: int) -> None:
    """No line stands twice, and none of the bars stays."""
    names = [BRAIN, LUNG, TEMPLATE, TRANSFORM]
    flags = [word for name in names for word in ("--name", name)]
    most = 0
    with StandIn(size=60_000, rate=40_000) as standin:
        environ = antscache.environment(ANTSCACHE_ORIGINS=standin.origins)
        shown: list[str] = []
        for shown in watch(antscache.command("prefetch", "0.3.2", *flags), environ, columns):
            files = [name for name in names if any(line.startswith(name[:15]) for line in shown)]
            assert [line for line in shown if re.match(r"\d+/4 files", line)][1:] == []
            assert all(sum(line.startswith(name[:15]) for line in shown) <= 1 for name in names), shown
            most = max(most, len(files))
    assert most > 1
    joined = "".join(shown)
    assert "4 files present, 4 fetched and verified" in joined
    assert not any(name in joined for name in names), "no line a file"
    assert "0/4" not in joined


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_stand_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are whole, however long, and have escapes for what a terminal could obey."""
    terminal, invocation = Terminal(), Invocation()
    for name, value in {"COLUMNS": "40", "LINES": str(LINES), "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stderr(terminal), bars(invocation, 2, {}) as drawing:
        drawing.listen(Started("figshare:1", "a.h5", "figshare.com", 10, 0))
        invocation.say("note: " + "word " * 8 + "\x1b[2J", hint="do")
        screen = Screen(40)
        screen.write(terminal.getvalue().replace("\n", "\r\n").encode())
    above = ["note: word word word word word word word", " word \\x1b[2J", "hint: do"]
    assert screen.lines[:3] == above
    assert [line.split("  ")[0] for line in screen.lines[3:]] == ["0/2 files", "a.h5"]
    assert invocation.printer is None


@pytest.mark.parametrize("variable", [{"CI": "true"}, {"TERM": "dumb"}])
def test_no_bars_where_nobody_watches(variable: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name in "CI", "TERM":
        monkeypatch.delenv(name, raising=False)
    assert render.is_watched()
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    assert not render.is_watched()
