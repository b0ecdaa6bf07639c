"""The progress of a fetch: a line for each file, bars on a terminal, or events as JSON."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from antscache.cli.render import duration, files, is_watched, print_json_line, size
from antscache.core import (
    BytesRead,
    Event,
    Failed,
    Fetched,
    Listener,
    Present,
    Received,
    Refused,
    Remarked,
    Started,
    Waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from antscache.cli.options import Invocation
    from antscache.core import Identifier, Wanted

    Sizes = Mapping[Identifier, int]  # in bytes

MIN_SHOWN_WAIT_SECONDS = 1.0  # a shorter wait gets no line
MIN_EVENT_INTERVAL_SECONDS = 1.0  # between two `received` events of one file in JSON


@contextmanager
def show_fetch(invocation: Invocation, wanted: Sequence[Wanted], sizes: Sizes, *, json: bool) -> Iterator[Listener]:
    """Yield a listener that shows how `wanted` is fetched; `sizes` holds the known sizes."""
    if json:
        events = Events()
        yield events.listen
        return
    drawn = bool(not invocation.quiet and wanted and is_watched())
    lines = Lines(invocation, each_file=not drawn)
    if drawn:
        from antscache.cli.bars import bars

        with bars(invocation, len(wanted), sizes) as drawing:

            def both(event: Event) -> None:
                lines.listen(event)
                drawing.listen(event)

            yield both
    else:
        yield lines.listen
    lines.sum_up()


@contextmanager
def show_reading(invocation: Invocation, size: int) -> Iterator[Listener]:
    """Yield a listener that shows on a terminal how much of about `size` bytes is read, and prints other events."""
    drawn = not invocation.quiet and is_watched()
    lines = Lines(invocation, each_file=not drawn)
    with _reading_bar(invocation, size) if drawn else nullcontext() as advance:

        def listen(event: Event) -> None:
            if not isinstance(event, BytesRead):
                lines.listen(event)
            elif advance:
                advance(event.count)

        yield listen
        lines.sum_up()


def _reading_bar(invocation: Invocation, size: int) -> AbstractContextManager[Callable[[int], None]]:
    from antscache.cli.bars import reading_bar

    return reading_bar(invocation, size)


class Events:
    """A listener that prints each event as a line of JSON (docs/fetching.md), bytes of a file at most once a second."""

    def __init__(self) -> None:
        self._received: Counter[Identifier] = Counter()
        self._printed: dict[Identifier, float] = {}  # when bytes of it were last printed

    def listen(self, event: Event) -> None:
        """Print `event`."""
        if isinstance(event, Received):
            self._received[event.identifier] += event.count
            now = time.monotonic()
            if now - self._printed.setdefault(event.identifier, now) < MIN_EVENT_INTERVAL_SECONDS:
                return
            self._printed[event.identifier] = now
            event = Received(event.identifier, self._received.pop(event.identifier))
        print_event(type(event).__name__.lower(), msgspec.to_builtins(event))


def print_event(kind: str, facts: dict[str, Any]) -> None:
    """Print one event as a line of JSON."""
    print_json_line({"event": kind} | facts)


class Lines:
    """A listener that prints a line for each file, and at the end a line for each origin.

    Args:
        invocation: prints them.
        each_file: False if bars show the files, so that only what a user has to know of a file gets a line.
    """

    def __init__(self, invocation: Invocation, *, each_file: bool) -> None:
        self._invocation = invocation
        self._each_file = each_file
        self._refusals: dict[Identifier, str] = {}
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def listen(self, event: Event) -> None:
        """Print a line for `event`, if it is worth one."""
        match event:
            case Fetched():
                self._files[event.origin] += 1
                self._bytes[event.origin] += event.blob.size
                facts = f"{size(event.blob.size)} in {event.seconds:.1f} s from {event.origin}"
                accepted = f", accepted although it is {event.accepted}" if event.accepted else ""
                if self._each_file or accepted:
                    self._invocation.say(f"fetched {event.file} {event.identifier} {facts}{accepted}")
                if event.findings:
                    self._invocation.say(f"note: found in {event.file}: {'; '.join(event.findings)}")
            case Present() if self._each_file:
                self._invocation.say(f"present {event.file} {event.identifier} fetched by another process")
            case Refused():
                self._refusals[event.identifier] = f"{event.outcome} ({event.origin})"
            case Failed():
                self._invocation.say(
                    f"failed {event.file} {event.identifier} {self._refusals.get(event.identifier, '')}"
                )
            case Waiting() if self._each_file and (event.seconds > MIN_SHOWN_WAIT_SECONDS or not event.seconds):
                time_left = f" for {duration(event.seconds)}" if event.seconds else ""
                self._invocation.say(f"waiting{time_left} {event.file} {event.identifier} {event.reason}")
            case Started() if self._each_file and event.resumed:
                self._invocation.say(
                    f"resumed {event.file} {event.identifier} at {size(event.resumed)} from {event.origin}"
                )
            case Remarked():
                self._invocation.say(f"note: {event.text}", hint=event.hint)
            case _:
                pass

    def sum_up(self) -> None:
        """Print how much came from each origin."""
        for origin, count in self._files.most_common():
            self._invocation.say(f"{files(count)}, {size(self._bytes[origin])} from {origin}")
