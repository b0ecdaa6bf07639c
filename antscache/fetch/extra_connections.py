"""Idle workers help with the files that still take long: each fetches a segment over a connection of its own.

Connections are added as long as they make the fetch faster (`segments.ConnectionBudget`), and as long as the disk has
room for the segments, whose bytes are on it twice while they are joined.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from antscache.core import Received, Refused
from antscache.disk import free_space
from antscache.fetch.attempts import open_at
from antscache.fetch.protocol import Refusal
from antscache.fetch.segments import ConnectionBudget, Throughput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Event as StopEvent

    from antscache.core import Event, Listener
    from antscache.fetch.attempts import Attempts
    from antscache.fetch.http import Client
    from antscache.fetch.protocol import RangeRequest
    from antscache.fetch.segments import Segment
    from antscache.fetch.transfer import Transfer


@dataclass(frozen=True, slots=True)
class Share:
    """A segment of a transfer for an extra connection, and the request for it."""

    transfer: Transfer
    segment: Segment
    request: RangeRequest


class ExtraConnections:
    """The transfers under way, and the extra connections that help with them. Safe between threads.

    Args:
        root: a directory on the disk that segments are written to.
        attempts: the tries at the origins of this run.
        stopped: set when the run is interrupted.
        listen: called with each event.
    """

    def __init__(self, root: Path, attempts: Attempts, stopped: StopEvent, listen: Listener) -> None:
        self._root = root
        self._attempts = attempts
        self._stopped = stopped
        self._listen = listen
        self._lock = Lock()
        self._transfers: list[Transfer] = []
        self._helping = 0
        self._throughput = Throughput()
        self._budget = ConnectionBudget()

    @contextmanager
    def under_way(self, transfer: Transfer) -> Iterator[None]:
        """Let extra connections help with `transfer` while the `with` block runs."""
        with self._lock:
            self._transfers.append(transfer)
        try:
            yield
        finally:
            with self._lock:
                self._transfers.remove(transfer)

    def hear(self, event: Event) -> None:
        """Measure the throughput from `event` of a transfer, and pass the event on to the listener."""
        if isinstance(event, Received):
            self._throughput.add(event.count, time.monotonic())
        self._listen(event)

    def next_share(self) -> Share | None:
        """Return a segment of the transfer that takes longest, if one more connection makes the fetch faster.

        None if it does not, or the disk has no room for segments.

        Raises:
            StoreError: the disk refused.
        """
        now = time.monotonic()
        with self._lock:
            transfer = max(self._transfers, key=lambda each: each.ranges.seconds_left(now), default=None)
            connections = len(self._transfers) + self._helping
            if transfer is None or not self._budget.allows(now, self._throughput.rate(now), connections):
                return None
            if not self._has_room():
                return None
            split = transfer.ranges.split(now)
            if split is None:
                return None
            self._helping += 1
        return Share(transfer, *split)

    def _has_room(self) -> bool:
        """Return True if the disk holds twice the bytes that are still to be written, or does not say."""
        free = free_space(self._root)
        return free is None or free >= 2 * sum(transfer.bytes_left for transfer in self._transfers)

    def fetch(self, share: Share, client: Client) -> None:
        """Fetch the segment of `share` until it is complete, dropped or refused, and end it.

        A refusal fails nothing: the connection that began the file asks for the missing bytes itself.

        Raises:
            StoreError: the disk refused.
        """
        transfer, segment = share.transfer, share.segment
        wanted, origin = transfer.wanted, transfer.origin
        try:
            if origin is None:
                return
            self._attempts.take_turn(origin, wanted, self._listen)
            with open_at(origin, wanted, share.request, client) as body:
                for received in body:
                    chunk, ended = transfer.ranges.allot(received, segment)
                    self.hear(Received(wanted.identifier, len(chunk)))
                    if not segment.write(chunk) or ended or self._stopped.is_set():
                        break
        except Refusal as refusal:
            transfer.ranges.forbid_splitting()
            if origin and not self._stopped.is_set():
                self._listen(Refused(wanted.identifier, wanted.file, origin.name, f"a segment of it: {refusal}"))
        finally:
            segment.end()
            with self._lock:
                self._helping -= 1
