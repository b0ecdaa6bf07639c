"""Running what is compared, in turn, and what each run took.

Machines differ, and one machine differs from minute to minute. What is compared therefore runs in turn (A B C, B C A,
...), and what counts is each run's ratio to the baseline's run of the same round. What a run left behind is emptied,
set aside and synced before the next one starts, so that nobody pays for the disk traffic of another.
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
        environment: all the variables that it has.
        makes: a directory that it makes there, and that is not there when it starts.
        once: it is too slow to run more than once.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    makes: str | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds, seconds of CPU, and the memory of its largest process in bytes.

    A process counts as no smaller than the benchmark itself, whose copy it starts as.
    """

    wall: float
    cpu: float
    peak: int


Costs = dict[str, list[Cost]]
"""A contender's name to what its runs took, round for round."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A scratch directory that everything measured stays in."""

    scratch: Path

    def measure(self, contenders: Sequence[Contender], rounds: int, digests: frozenset[str] = frozenset()) -> Costs:
        """What each of `contenders` takes, once a round, after a round that does not count.

        Ends the program where a command fails, or where what one has made in its last run is without one of the
        SHA-256 `digests`.
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
        """`directory` is not there, and leaves nothing for the disk to do.

        Its files are emptied and set aside, not deleted: for a minute after files were deleted ext4 looks longer for
        the inode of every new one, and whoever makes more files would pay for what others deleted.
        """
        files = [path for path in (self.scratch / directory).rglob("*") if path.is_file() and not path.is_symlink()]
        names = Counter(path.stat().st_ino for path in files)
        for path in files:
            if path.stat().st_nlink == names[path.stat().st_ino]:  # nobody else's, by a hard link
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
    """The SHA-256 of each file below `directory`; not computed in this process, which stays small."""
    command = ("find", str(directory), "-type", "f", "-exec", "sha256sum", "{}", "+")
    lines = (line.partition("  ") for line in said(*command).splitlines())
    return {Path(path): digest for digest, _, path in lines}


def said(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What `command` writes to stdout; with this program's environment variables, or with those of `environment`."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
