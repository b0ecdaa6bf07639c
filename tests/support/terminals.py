"""A terminal of a given size for a process, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LINES = 24


class Screen:
    """The screen of a terminal with `columns`: pyte interprets what is written to it."""

    def __init__(self, columns: int) -> None:
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)

    def write(self, content: bytes) -> None:
        self._stream.feed(content)

    @property
    def lines(self) -> list[str]:
        """The lines that stand there, without the empty ones at the end."""
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown


def watch(command: Sequence[str], environ: Mapping[str, str], columns: int) -> Iterator[list[str]]:
    """Run `command` with stderr, and nothing else, on a terminal; yield the screen whenever something is written.

    The last screen is the one that stays. The command must succeed.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    kept = {name: value for name, value in environ.items() if name not in {"COLUMNS", "LINES", "CI"}}
    process = subprocess.Popen(command, env={**kept, "TERM": "xterm"}, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    screen = Screen(columns)
    try:
        while True:
            try:
                content = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            screen.write(content)
            yield screen.lines
        assert process.wait() == 0, screen.lines
    finally:
        process.kill()
        process.wait()
        os.close(leader)
