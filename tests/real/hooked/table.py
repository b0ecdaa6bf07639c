"""Measure ANTsPyNet's answers to faults of a download, without antscache and with it.

Each case has an entry of its own, so that all of them are measured at once, by two crowds: ANTsPyNet alone, and the
same under `antscache run`.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hooked.parent import until

from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hooked.parent import Answer, Crowd, Group

    from antscache.testing import StandIn

SIZE = 200_000  # bytes of a file: half of it is more than a program reads at once, and keeps back from the disk


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        what: its description, in the first cell of its row.
        network: the requested entry.
        how: the origin's misbehaviour until the first answers are known.
        end: the signal that ends the asking process, and its antscache, after some bytes have arrived.
    """

    what: str
    network: str
    how: Misbehaviour | None = None
    end: signal.Signals | None = None

    @property
    def asked(self) -> str:
        return f"network/{self.network}"

    @property
    def file(self) -> str:
        return f"{self.network}.h5"


ANSWERED = (
    Case("202 with an empty body: the bot challenge", "brainExtraction", Misbehaviour.CHALLENGE),
    Case("200 with a web page", "brainExtractionT1", Misbehaviour.HTML),
    Case("a body shorter than its `Content-Length`", "brainExtractionT2", Misbehaviour.CUT),
    Case("403", "brainExtractionFLAIR", Misbehaviour.FORBIDDEN),
    Case("404", "brainExtractionBOLD", Misbehaviour.MISSING),
    Case("429", "brainExtractionFA", Misbehaviour.BUSY),
)
KILLED = (
    Case("SIGKILL midway", "brainExtractionMra", Misbehaviour.STALL_HALF, signal.SIGKILL),
    Case("SIGTERM midway", "brainExtractionNoBrainer", Misbehaviour.STALL_HALF, signal.SIGTERM),
)
STALLED = Case("the server falls silent midway", "brainExtractionInfantT1", Misbehaviour.STALL_HALF)
RACE = Case("a second process, during a download", "brainExtractionInfantT2", Misbehaviour.STALL_HALF)
CUT = Case("the file is cut on the disk later", "brainExtractionT1Hemi")
READ_ONLY = Case("`~/.keras` is read-only, the file missing", "brainExtractionT1Lobes")
HELD = (*KILLED, STALLED, RACE)
CASES = (*ANSWERED, *HELD, CUT, READ_ONLY)


@dataclass
class Side:
    """ANTsPyNet alone, or with antscache.

    Attributes:
        crowd: the processes that ask.
        origin: the only origin that is asked.
        directory: the directory of the downloaded files.
        numbers: Figshare's numbers of the networks.
        environ: variables of the processes with antscache; None without antscache.
        heard: the first answer and the next; None if there was none.
    """

    crowd: Crowd
    origin: StandIn
    directory: Path
    numbers: Mapping[str, str]
    environ: Mapping[str, str | Path] | None = None
    heard: dict[Case, list[Answer | None]] = field(default_factory=dict)
    _first: dict[Case, Group] = field(default_factory=dict)
    _second: Group | None = None  # that asks for RACE

    @property
    def is_alone(self) -> bool:
        return self.environ is None

    def begin(self) -> None:
        """Start all cases at once, each with its fault."""
        for case in (*ANSWERED, *HELD):
            assert case.how
            self.origin.misbehave(self.numbers[case.network], case.how)
            self._first[case] = self._ask(case)

    def interrupt(self) -> None:
        """Wait for bytes of each held download, end the processes that are to be ended, and start a second one."""
        for case in HELD:
            until(partial(self._held if self.is_alone else self._sent, case), f"bytes of {case.file}")
            if case.end:
                self._first[case].kill(case.end)
        self._second = self._ask(RACE)

    def hear(self) -> None:
        """Wait for the answers, but not for STALLED without antscache, which would take for ever."""
        assert self._second
        groups = {**self._first, RACE: self._second}
        for case, group in groups.items():
            is_to_come = case != STALLED or not self.is_alone or group.has_ended
            self.heard[case] = [_only(group)] if is_to_come else [None]

    def ask_again(self) -> None:
        """Ask for all files again, now without faults."""
        self._first[STALLED].kill(signal.SIGKILL)
        for case in (*ANSWERED, *HELD):
            self.origin.behave(self.numbers[case.network])
        groups = {case: self._ask(case) for case in (*ANSWERED, *HELD)}
        for case, group in groups.items():
            self.heard[case].append(_only(group))
        self._first[RACE].kill(signal.SIGKILL)

    def cut(self) -> None:
        """Truncate a file between two requests of one process, and ask once more with another."""
        path = self.directory / CUT.file
        cut = path.with_name("cut")  # is there when it is
        group = self.crowd.ask(CUT.asked, CUT.asked, environ=self.environ or {}, when=cut)
        group.wait()
        assert path.read_bytes() == self.content(CUT)
        os.truncate(path, SIZE // 2)
        cut.touch()
        self.heard[CUT] = [_only(group), _only(self._ask(CUT))]
        cut.unlink()

    def content(self, case: Case) -> bytes:
        """Return the right bytes of a case's file."""
        return self.origin.content(self.numbers[case.network])

    def _ask(self, case: Case) -> Group:
        return self.crowd.ask(case.asked, environ=self.environ or {})

    def _sent(self, case: Case) -> int:
        return self.origin.sent(self.numbers[case.network])

    def _held(self, case: Case) -> int:
        path = self.directory / case.file
        return path.stat().st_size if path.exists() else 0


def _only(group: Group) -> Answer | None:
    answers = group.answers()
    return answers[0] if answers else None


def measure(alone: Side, helped: Side) -> None:
    """Measure all cases on both sides, but for READ_ONLY, which needs a home of its own."""
    for side in (alone, helped):
        side.begin()
    for side in (helped, alone):  # antscache does not wait for ever
        side.interrupt()
    until(lambda: helped.crowd.said.count(f"antscache: getting {RACE.file}") == 2, "two ask for one file")
    helped.origin.behave(helped.numbers[RACE.network])
    for side in (helped, alone):  # so that antscache has given up a download that ANTsPyNet alone still waits for
        side.hear()
    for side in (alone, helped):
        side.ask_again()
        side.cut()


# In words

RIGHT = "the right bytes"


def is_right(answer: Answer, content: bytes) -> bool:
    """Return True if the answer's file has the right bytes."""
    return answer.sha256 == hashlib.sha256(content).hexdigest()


def told(answer: Answer | None, case: Case, content: bytes) -> str:
    """Return an answer as a cell of the table."""
    if answer is None:
        return "is ended" if case.end else "waits for ever"
    if answer.error:
        return f"error: {_why(answer.error)}"
    if is_right(answer, content):
        return RIGHT
    if answer.size == 0:
        return "**an empty file**"
    if answer.sha256 == hashlib.sha256(content[: answer.size]).hexdigest():
        return "**part of the file**"
    return "**a web page**" if answer.begins.startswith("<") else "**other bytes**"


KERAS = re.compile(r"URL fetch failure on \S+ (?:(?P<code>[0-9]+)|None) -- (?P<reason>[^:]+)")
ANTSCACHE = re.compile(r"no origin delivered .*\n  \S+ +(?P<outcome>.*?)(?: \([0-9]+ times\))?\n")


def _why(error: str) -> str:
    """Return the reason in an error, without the parts that are different each time."""
    if found := KERAS.search(error):
        return " ".join(filter(None, [found["code"], found["reason"]]))
    if found := ANTSCACHE.search(error):
        return found["outcome"]
    return re.sub(r"^\w+: (\[Errno [0-9]+\] )?", "", error).partition(":")[0]


HEAD = """\
| what happens | ANTsPyNet alone | the next time | with antscache | the next time |
|---|---|---|---|---|
"""


def row(case: Case, alone: Side, helped: Side) -> str:
    """Return the measured answers of a case as a line of the table."""
    cells = [told(answer, case, side.content(case)) for side in (alone, helped) for answer in side.heard[case]]
    return f"| {' | '.join([case.what, *cells])} |"
