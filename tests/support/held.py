"""An antscache that is held at a place of its code, so that others run beside it there."""

from __future__ import annotations

import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from support import AntsCache


class Held:
    """A process that was held once already, and is held again wherever its script says so.

    As a context manager: let it go in the end and see it succeed, unless it was killed.

    Args:
        antscache: whose environment it has.
        script: Python that runs antscache; it prints "held" at a place and goes on at the next line that it reads.
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
        """Let it go as far as the next place."""
        commands: IO[str] = self._process.stdin  # type: ignore[assignment]
        commands.write("\n")
        commands.flush()
        self._wait()

    def go_on(self) -> None:
        """Let it go, and see it succeed."""
        _, err = self._process.communicate("\n", timeout=60)
        assert self._process.returncode == 0, err

    def kill(self) -> None:
        """Kill it where it is."""
        self._process.kill()
        self._process.communicate()
