"""Run contenders in turn, and measure each run.

Machines differ, and one machine differs from minute to minute. Contenders therefore run in turn (A B C, B C A, ...),
and the result is each run's ratio to the baseline's run of the same round. The files of a run are emptied, set aside
and synced before the next one starts, so that none pays for the disk traffic of another.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to do the job.

    Attributes:
        command: runs in the scratch directory.
        environment: all its variables.
        makes: the directory that it makes there; it does not exist when the command starts.
        once: True if it is too slow to run more than once.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    makes: str | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run: seconds, seconds of CPU, and the memory of its largest process in bytes.

    The memory is never less than the benchmark's own: a process starts as its copy.
    """

    wall: float
    cpu: float
    peak: int


Costs = dict[str, list[Cost]]
"""A contender's name to the costs of its runs, round for round."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A scratch directory in which everything is measured."""

    scratch: Path

    def measure(self, contenders: Sequence[Contender], rounds: int, digests: frozenset[str] = frozenset()) -> Costs:
        """Run each of `contenders` once a round, after a round that does not count, and return the costs.

        Ends the program if a command fails, or if the directory of a contender's last run lacks a file with one of
        the SHA-256 `digests`.
        """
        costs: Costs = {contender.name: [] for contender in contenders}
        for number in range(rounds + 1):
            first = number % len(contenders)
            for contender in (*contenders[first:], *contenders[:first]):
                last = 1 if contender.once else rounds
                if contender.once and number != last:
                    continue
                cost = self._run(contender)
                if number:
                    costs[contender.name].append(cost)
                if number == last:
                    self._require(contender, digests)
                self._clear(contender)
        return costs

    def clear(self, directory: str) -> None:
        """Remove `directory` from its place, and sync, so that it leaves no work for the disk.

        Its files are emptied and set aside, not deleted: for a minute after deletions ext4 takes longer to find an
        inode for each new file, and contenders with more files would pay for the deletions of others.
        """
        files = [path for path in (self.scratch / directory).rglob("*") if path.is_file() and not path.is_symlink()]
        names = Counter(path.stat().st_ino for path in files)
        for path in files:
            if path.stat().st_nlink == names[path.stat().st_ino]:  # no hard link elsewhere
                os.truncate(path, 0)
        aside = self.scratch / "aside"
        aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (self.scratch / directory).rename(aside / os.urandom(8).hex())
        os.sync()

    def _clear(self, contender: Contender) -> None:
        if contender.makes:
            self.clear(contender.makes)

    def _run(self, contender: Contender) -> Cost:
        log = self.scratch / "log"
        with log.open("w") as stderr:
            begun = time.perf_counter()
            process = subprocess.Popen(
                contender.command,
                cwd=self.scratch,
                env=contender.environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{shlex.join(contender.command)} ended with {process.returncode}:\n{log.read_text()}")
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)

    def _require(self, contender: Contender, digests: frozenset[str]) -> None:
        if contender.makes and digests:
            missing = digests.difference(sha256sums(self.scratch / contender.makes).values())
            if missing:
                sys.exit(f"{contender.name}: {len(missing)} of {len(digests)} files have other bytes, or are not there")


def sha256sums(directory: Path) -> dict[Path, str]:
    """Return the SHA-256 of each file below `directory`, computed by another process: this one stays small."""
    command = ("find", str(directory), "-type", "f", "-exec", "sha256sum", "{}", "+")
    lines = (line.partition("  ") for line in output_of(*command).splitlines())
    return {Path(path): digest for digest, _, path in lines}


def output_of(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run `command` and return its stdout. `environment` replaces this program's environment variables."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
