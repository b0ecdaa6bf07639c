"""An antscache process that is held at a point of its code, so that others can run beside it."""

from __future__ import annotations

import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

from support import HANG_SECONDS

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from support import AntsCache


class Held:
    """A process that has reached its first holding point. At the end of its `with` block it goes on and must succeed.

    A process that was killed need not succeed.

    Args:
        antscache: gives the environment.
        script: Python that runs antscache. At each holding point it prints "held", and reads a line before it goes on.
        arguments: of the script.
    """

    def __init__(self, antscache: AntsCache, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=antscache.environment(),
            cwd=antscache.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.returncode is not None:
            return
        if error:
            self.kill()
        else:
            self.go_on()

    def _wait(self) -> None:
        out: IO[str] = self._process.stdout  # type: ignore[assignment]
        if out.readline() != "held\n":
            pytest.fail(self._process.communicate()[1])

    def go_to_the_next(self) -> None:
        """Let the process go on to its next holding point."""
        commands: IO[str] = self._process.stdin  # type: ignore[assignment]
        commands.write("\n")
        commands.flush()
        self._wait()

    def go_on(self) -> None:
        """Let the process go on to its end, and check that it succeeds."""
        _, err = self._process.communicate("\n", timeout=HANG_SECONDS)
        assert self._process.returncode == 0, err

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
