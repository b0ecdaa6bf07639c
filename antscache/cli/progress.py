"""What people see of a fetch: bars on a terminal, one plain line a file elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from antscache.cli.render import is_terminal, size
from antscache.events import Event, Failed, Fetched, Listener, Received, Started, nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.cli.options import Invocation
    from antscache.manifest import Identifier


@contextmanager
def shown(invocation: Invocation, count: int) -> Iterator[Listener]:
    """A listener that shows the fetch of `count` files."""
    if invocation.quiet or not count:
        yield nobody
    elif is_terminal():
        with _bars(count) as listener:
            yield listener
    else:
        yield lambda event: _line(event, invocation)


def _line(event: Event, invocation: Invocation) -> None:
    match event:
        case Fetched():
            told = (
                f"{event.file} {event.identifier} {size(event.blob.size)} in {event.seconds:.1f} s from {event.origin}"
            )
            invocation.say(f"fetched {told}")
        case Failed():
            invocation.say(f"failed {event.file} {event.identifier}")
        case _:
            pass


@contextmanager
def _bars(count: int) -> Iterator[Listener]:
    """One bar for all files and one for each that is under way."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        done = 0
        everything = progress.add_task(f"0/{count} files", total=None)
        under_way: dict[Identifier, TaskID] = {}

        def listen(event: Event) -> None:
            nonlocal done
            match event:
                case Started():
                    _end(event.identifier)
                    under_way[event.identifier] = progress.add_task(event.file, total=event.size)
                case Received():
                    progress.advance(everything, event.count)
                    if event.identifier in under_way:
                        progress.advance(under_way[event.identifier], event.count)
                case Fetched() | Failed():
                    _end(event.identifier)
                    done += 1
                    progress.update(everything, description=f"{done}/{count} files")
                case _:
                    pass

        def _end(identifier: Identifier) -> None:
            if identifier in under_way:
                progress.remove_task(under_way.pop(identifier))

        yield listen
