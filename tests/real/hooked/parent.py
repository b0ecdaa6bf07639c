"""The tests' end of `crowd.py`: processes that ask the real ANTsPyNet for files, and can be killed while they do."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

WAIT_TIMEOUT_SECONDS = 240  # for steps that take ten on an idle machine


class Answer(msgspec.Struct, frozen=True):
    """An answer of ANTsPyNet to one process: a path and facts of the file there, or an error."""

    asked: str
    pid: int
    path: str = ""
    size: int = 0
    begins: str = ""
    sha256: str = ""
    error: str = ""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true; `what` names it in the error."""
    deadline = time.monotonic() + WAIT_TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for too long: {what}"
        time.sleep(0.02)


class Crowd:
    """A process that has imported ANTsPyNet, and the processes forked from it; they print into the file `log`."""

    def __init__(self, command: Sequence[str | Path], environ: Mapping[str, str], home: Path, log: Path) -> None:
        self._log = log
        self._changed = threading.Condition()
        self._told: list[dict[str, Any]] = []
        self._groups = 0
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, env=environ, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_TIMEOUT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self._told.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._told.append({"over": True})
            self._changed.notify_all()

    @property
    def said(self) -> str:
        """The output of all processes so far."""
        return self._log.read_text("utf-8", "replace")

    def ask(self, *asked: str, environ: Mapping[str, str | Path], count: int = 1, when: Path | None = None) -> Group:
        """Start `count` processes that ask for these files: for the last one together, once `when` exists."""
        self._groups += 1
        variables = {key: str(value) for key, value in environ.items()}
        line = {"group": self._groups, "count": count, "asked": asked, "environ": variables, "when": str(when or "")}
        self.wait_for(lambda told: [each for each in told if "ready" in each], 1)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()
        return Group(self, self._groups, count)

    def told(self) -> list[dict[str, Any]]:
        """Return all reports so far."""
        with self._changed:
            return list(self._told)

    def wait_for(self, chosen: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], count: int) -> None:
        """Wait until `chosen` selects `count` of the reports."""
        with self._changed:

            def are_there() -> bool:
                assert not any("over" in each for each in self._told), f"it has ended:\n{self.said}"
                return len(chosen(self._told)) >= count

            assert self._changed.wait_for(are_there, WAIT_TIMEOUT_SECONDS), f"waited for too long:\n{self.said}"


class Group:
    """Processes that ask together. Each leads a process group, with the antscache that it calls."""

    def __init__(self, crowd: Crowd, number: int, count: int) -> None:
        self._crowd, self._number, self._count = crowd, number, count

    def _lines(self, key: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in told if each.get("group") == self._number and key in each]

    @property
    def pids(self) -> list[int]:
        """Their numbers, as soon as all have been started."""
        self._crowd.wait_for(lambda told: self._lines("started", told), self._count)
        return [each["started"] for each in self._lines("started", self._crowd.told())]

    def wait(self) -> None:
        """Wait until each process has all answers but its last one."""
        self._crowd.wait_for(lambda told: self._lines("waiting", told), self._count)

    @property
    def has_ended(self) -> bool:
        return len(self._lines("code", self._crowd.told())) == self._count

    def answers(self) -> list[Answer]:
        """Wait until all processes have ended, and return their last answers. A killed process has none."""
        self._crowd.wait_for(lambda told: self._lines("code", told), self._count)
        return [msgspec.convert(each, Answer) for each in self._lines("asked", self._crowd.told())]

    def kill(self, how: signal.Signals) -> None:
        """Send a signal to the processes that have not ended, and to the antscache that each has called."""
        ended = {each["pid"] for each in self._lines("code", self._crowd.told())}
        for pid in self.pids:
            if pid not in ended:
                with suppress(ProcessLookupError):
                    os.killpg(pid, how)


def children(pid: int) -> list[int]:
    """Return the running child processes of the process `pid`."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found
