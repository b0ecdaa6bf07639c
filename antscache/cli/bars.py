"""The bars that show a fetch on a terminal: one for all files, and one for each file under way.

Everything that is printed meanwhile goes through the bars, and stands above them.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from antscache.cli.render import duration, size
from antscache.core import Failed, Fetched, Present, Received, Refused, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from antscache.cli.options import Invocation
    from antscache.core import Event, Identifier

    Sizes = Mapping[Identifier, int]  # in bytes

WIDE, MEDIUM = 100, 60  # columns of a terminal: from the first on it shows all, below the second only percentages
MAX_NAME_WIDTH = 44
SHARE_WIDTH = len(" 100 %")
MIN_SPEED_SECONDS = 1.0  # before that, a rate is a guess


class _Amount(ProgressColumn):
    """The bytes so far, and those of the whole: "about" if the sizes of some files are not known yet."""

    def render(self, task: Task) -> Text:
        """Return "1.2 MB / 3.4 MB"."""
        if task.total is None:
            return Text(size(task.completed))
        about = "about " if task.fields.get("estimated") else ""
        return Text(f"{size(task.completed)} / {about}{size(task.total)}")


class _Share(ProgressColumn):
    """The share of the bytes that has come."""

    def render(self, task: Task) -> Text:
        """Return "33 %"."""
        return Text(f"{task.percentage:.0f} %" if task.total else "")


class _Rate(ProgressColumn):
    """The bytes a second, and the time that is left at this rate."""

    def render(self, task: Task) -> Text:
        """Return "1.2 MB/s, 45 s left"."""
        if not task.speed or (task.elapsed or 0.0) < MIN_SPEED_SECONDS:
            return Text("")
        left = f", {duration(task.time_remaining)} left" if task.time_remaining else ""
        return Text(f"{size(task.speed)}/s{left}")


def make_progress(console: Console, clock: Callable[[], float] | None = None) -> Progress:
    """Make the bars for a console; what does not fit into its width is left out."""
    width = min(MAX_NAME_WIDTH, console.width // 3) if console.width >= MEDIUM else console.width - SHARE_WIDTH
    name = Column(no_wrap=True, overflow="ellipsis", max_width=width)
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=name)]
    if console.width >= MEDIUM:
        columns += [BarColumn(bar_width=None), _Amount(Column(no_wrap=True))]
    else:
        columns.append(_Share(Column(no_wrap=True, justify="right")))
    if console.width >= WIDE:
        columns.append(_Rate(Column(no_wrap=True)))
    return Progress(*columns, console=console, transient=True, expand=True, get_time=clock)


class Bars:
    """A listener that draws a fetch with `progress`.

    Args:
        progress: as `make_progress` returns it, started.
        count: the number of files.
        known: the sizes that are known before.
    """

    def __init__(self, progress: Progress, count: int, known: Sizes) -> None:
        self._progress, self._count = progress, count
        self._sizes = dict(known)
        self._done = 0
        self._under_way: dict[Identifier, TaskID] = {}
        self._begun: set[Identifier] = set()
        self._waiting: set[Identifier] = set()
        self._all = progress.add_task("", total=None)
        self._count_files()

    def listen(self, event: Event) -> None:
        """Draw `event`."""
        match event:
            case Started():
                self._start(event)
            case Received():
                self._progress.advance(self._all, event.count)
                if event.identifier in self._under_way:
                    self._progress.advance(self._under_way[event.identifier], event.count)
            case Waiting():
                self._waiting.add(event.identifier)
            case Refused():
                self._end(event.identifier)
            case Fetched() | Present() | Failed():
                self._end(event.identifier)
                self._done += 1
            case _:
                return
        if not isinstance(event, Received):
            self._count_files()

    def _start(self, event: Started) -> None:
        self._end(event.identifier)
        if event.identifier not in self._begun:  # bytes of an earlier run count once
            self._begun.add(event.identifier)
            self._progress.advance(self._all, event.resumed)
        self._under_way[event.identifier] = self._progress.add_task(
            event.file, total=event.size, completed=event.resumed
        )
        if event.size:
            self._sizes[event.identifier] = event.size

    def _end(self, identifier: Identifier) -> None:
        self._waiting.discard(identifier)
        if identifier in self._under_way:
            self._progress.remove_task(self._under_way.pop(identifier))

    def _count_files(self) -> None:
        waiting = f", {len(self._waiting)} waiting" if self._waiting else ""
        total = expected(self._sizes, self._count)
        self._progress.update(
            self._all,
            description=f"{self._done}/{self._count} files{waiting}",
            total=total,
            estimated=len(self._sizes) < self._count,
        )


def expected(sizes: Sizes, count: int) -> int | None:
    """Estimate the bytes of `count` files by the mean of the known `sizes`; None if none is known."""
    return sum(sizes.values()) * count // len(sizes) if sizes else None


@contextmanager
def bars(invocation: Invocation, count: int, known: Sizes) -> Iterator[Bars]:
    """Draw bars on stderr until the end, and print what `invocation` says above them."""
    with _above(invocation, make_progress(Console(file=sys.stderr))) as progress:
        yield Bars(progress, count, known)


@contextmanager
def reading_bar(invocation: Invocation, total: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar for the reading of about `total` bytes, and yield a function that advances it by some bytes."""
    with _above(invocation, make_progress(Console(file=sys.stderr))) as progress:
        task = progress.add_task("reading", total=total, estimated=True)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _above(invocation: Invocation, progress: Progress) -> Iterator[Progress]:
    """Draw `progress`; lines that `invocation` prints meanwhile stand above it."""

    def print_above(line: str) -> None:
        progress.console.print(Text(line), soft_wrap=True)

    with progress:
        invocation.printer = print_above
        try:
            yield progress
        finally:
            invocation.printer = None
