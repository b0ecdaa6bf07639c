"""A plan carried out: several files at once, each from the first origin that has it, checked while the bytes pass.

For each file: every origin in order, and while an answer was of the passing kind another round after a pause. What is
refused is named, and tried at the next origin. A disk that refuses ends the whole fetch: no other try would mend that.

What another process is fetching is left to it, and looked for later. When no file is left to begin, those who have
nothing to do help with the ones that still take long (`split`).
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from antscache.core import Event, Failed, Present, Received, Refused, Remarked, Waiting, figshare_number
from antscache.disk import Locks, free_space, is_full
from antscache.errors import Attempt, Failure, StoreError
from antscache.fetch.draft import Malformed, Mismatch
from antscache.fetch.http import Client
from antscache.fetch.origin_health import OriginHealth
from antscache.fetch.protocol import RangeRequest, Refusal
from antscache.fetch.segments import ConnectionBudget, Segment, Throughput
from antscache.fetch.transfer import Transfer
from antscache.formats import Hdf5Scanner, ScannerError
from antscache.store import Notes, partial_files, remove_stale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from antscache.core import Identifier, Wanted
    from antscache.fetch.origins import Origin
    from antscache.fetch.pacer import Pacer
    from antscache.store import PartialFile, Store

ROUNDS = 6  # times that the origins are gone through for a file of which nothing comes
PAUSE = 0.5  # seconds before the second round, doubled for each further one, with jitter: 15 s in all
PROGRESS = 1 << 18  # bytes: a transfer that is cut after more of them works, and does not count as a try
FAREWELL = 0.9  # seconds that workers have to put away what they are writing when the fetch is broken off
IDLE = 0.1  # seconds after which one who has nothing to do looks around again
LOOK = 0.5  # seconds after which it is looked again for what another process is fetching


@dataclass(slots=True)
class Fetching:
    """Files being fetched: iterate over it for what happens, then read what came of it.

    Attributes:
        tokens: of mirrors, by host.
        pace: of the starts at origins that ask for one.
        walker: of HDF5 files; None where they cannot be walked.
        failures: the files that no origin delivered, with every attempt.
        mismatched: those of them where an origin answered with other bytes than are recorded.
        malformed: those of them where an origin's bytes are not what the file's name says.
    """

    wanted: Sequence[Wanted]
    origins: Sequence[Origin]
    store: Store
    jobs: int
    timeout: float
    pace: Pacer
    tokens: Mapping[str, str] = field(default_factory=dict)
    walker: Hdf5Scanner | None = None
    pause: float = PAUSE
    failures: list[Failure] = field(default_factory=list)
    mismatched: list[Failure] = field(default_factory=list)
    malformed: list[Failure] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _events: queue.SimpleQueue[Event | BaseException | None] = field(default_factory=queue.SimpleQueue)
    _standing: dict[Origin, OriginHealth] = field(default_factory=dict)
    _leftovers: Mapping[Identifier, Sequence[PartialFile]] = field(default_factory=dict)
    # Under _changed: what is to be done, what is left to other processes, what is under way.
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _todo: deque[Wanted] = field(default_factory=deque)
    _elsewhere: deque[_Elsewhere] = field(default_factory=deque)
    _open: int = 0  # files of which it is not known yet what becomes of them
    _transfers: list[Transfer] = field(default_factory=list)
    _pieces: int = 0
    _meter: Throughput = field(default_factory=Throughput)
    _gain: ConnectionBudget = field(default_factory=ConnectionBudget)
    _remarked: bool = False
    _locks: Locks = field(init=False)
    _notes: Notes = field(init=False)

    def __iter__(self) -> Iterator[Event]:
        """Fetch, and yield what happens as it happens. Each file that is Fetched is in the store and recorded.

        Raises:
            StoreError: the disk refused.
            IntegrityError: another process recorded other bytes for an identifier meanwhile.
            ConfigError: the environment names a proxy or certificates that cannot be used.
        """
        remove_stale(self.store.layout)
        self._leftovers = partial_files(self.store.layout)
        self._standing = {origin: OriginHealth() for origin in self.origins}
        self._todo.extend(self.wanted)
        self._open = len(self.wanted)
        # Daemons: a worker that waits for a silent origin must not keep an interrupted process alive.
        workers = [
            threading.Thread(target=self._work, daemon=True, name=f"antscache-fetch-{number}")
            for number in range(self.jobs)
        ]
        layout = self.store.layout
        with closing(Locks(layout.identifier_locks)) as self._locks, closing(Notes(layout)) as self._notes:
            yield from self._run(workers)

    def _run(self, workers: Sequence[threading.Thread]) -> Iterator[Event]:
        """What happens while `workers` work."""
        for worker in workers:
            worker.start()
        try:
            working = len(workers)
            while working:
                event = self._events.get()
                if isinstance(event, BaseException):
                    raise event
                if event is None:
                    working -= 1
                else:
                    yield event
        finally:
            self._stop.set()
            deadline = time.monotonic() + FAREWELL
            for worker in workers:
                worker.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        """Do what is to be done until nothing is."""
        try:
            with closing(Client(self.timeout, self.tokens)) as client:
                while not self._stop.is_set() and self._step(client):
                    pass
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._events.put(error)
        finally:
            self._events.put(None)

    def _step(self, client: Client) -> bool:
        """Do one thing; False if there will be nothing to do any more."""
        if wanted := self._next():
            self._obtain(wanted, client)
        elif share := self._share():
            self._help(*share, client)
        else:
            with self._changed:
                if self._open:
                    self._changed.wait(IDLE)
                return self._open > 0
        return True

    # What to do

    def _next(self) -> Wanted | _Elsewhere | None:
        """The next file to begin, or one that another process had begun when it was last looked for."""
        with self._changed:
            if self._todo:
                return self._todo.popleft()
            if self._elsewhere and self._elsewhere[0].due <= time.monotonic():
                return self._elsewhere.popleft()
            return None

    def _obtain(self, next_: Wanted | _Elsewhere, client: Client) -> None:
        """Fetch a file, unless another process does or has done so."""
        elsewhere, wanted = (next_, next_.wanted) if isinstance(next_, _Elsewhere) else (None, next_)
        with self._locks.attempt(_number(wanted)) as ours:
            self._remark_on_locks()
            record = self.store.record(wanted.identifier)
            if record and self.store.holds(record.descriptor):
                self._events.put(Present(wanted.identifier, wanted.file, record.descriptor))
            elif ours or (elsewhere and self._has_stalled(elsewhere)):
                known = record.descriptor if record and record.trust != "adopted" else None
                self._fetch(msgspec.structs.replace(wanted, known=known or wanted.known), client)
            else:
                self._leave(wanted, elsewhere)
                return
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def _leave(self, wanted: Wanted, before: _Elsewhere | None) -> None:
        """Another process is at it: look again in a while."""
        now = time.monotonic()
        if before is None:
            who = self._who(wanted)
            reason = f"another process is fetching it{f' ({who})' if who else ''}"
            self._events.put(Waiting(wanted.identifier, wanted.file, reason, 0.0))
        with self._changed:
            self._elsewhere.append(_Elsewhere(wanted, now + LOOK, before.since if before else now))

    def _has_stalled(self, elsewhere: _Elsewhere) -> bool:
        """Whether the process that holds the lock has done nothing for long: no lock is worth waiting for ever."""
        if time.monotonic() - elsewhere.since < self.timeout:
            return False
        elsewhere.since = time.monotonic()
        wanted = elsewhere.wanted
        if self._being_written(wanted):
            return False
        who = self._who(wanted) or "another process"
        told = f"{who} has done nothing for {self.timeout:g} s about {wanted.file}, which is fetched here now"
        self._events.put(Remarked(f"{told}; if it has hung, end it"))
        return True

    def _being_written(self, wanted: Wanted) -> list[PartialFile]:
        """What was written of a file a moment ago, by any process."""
        found = partial_files(self.store.layout).get(wanted.identifier, ())
        return [leftover for leftover in found if leftover.age() < self.timeout]

    def _who(self, wanted: Wanted) -> str:
        """The process that is fetching a file; empty where nobody can tell."""
        noted = (leftover.writer for leftover in self._being_written(wanted))
        return self._locks.holder(_number(wanted)) or next(noted, "")

    def _remark_on_locks(self) -> None:
        """Say once that locks do not work, if they do not."""
        refusal = self._locks.refusal
        with self._changed:
            if not refusal or self._remarked:
                return
            self._remarked = True
        told = f"locks do not work in {self.store.layout.locks} ({refusal})"
        self._events.put(Remarked(f"{told}: what two processes want at once may be fetched twice, and is right anyway"))

    # One file

    def _fetch(self, wanted: Wanted, client: Client) -> None:
        """Get one file from the first origin that delivers it."""
        found = self._leftovers.get(wanted.identifier, ())
        transfer = Transfer(wanted, self.store, self._notes, found, self._walk, self._hear, self._stop.is_set)
        with self._changed:
            self._transfers.append(transfer)
        keep, attempts = False, list[tuple[Attempt, Refusal]]()
        try:
            delivered = self._try_origins(transfer, client, attempts)
            keep = not delivered
        except StoreError as error:
            self._stop.set()  # others would only take what is given back
            keep = is_full(error) and transfer.give_back()
            raise
        finally:
            with self._changed:
                self._transfers.remove(transfer)
            transfer.close(keep=keep)
        if delivered or self._stop.is_set():
            return
        failure = Failure(wanted.identifier, wanted.file, str(wanted.release), tuple(each for each, _ in attempts))
        self.failures.append(failure)
        if any(isinstance(refusal, Mismatch) for _, refusal in attempts):
            self.mismatched.append(failure)
        if any(isinstance(refusal, Malformed) for _, refusal in attempts):
            self.malformed.append(failure)
        self._events.put(Failed(wanted.identifier, wanted.file))

    def _try_origins(self, transfer: Transfer, client: Client, attempts: list[tuple[Attempt, Refusal]]) -> bool:
        """Whether an origin delivered the file; every origin's refusal is added to `attempts`."""
        candidates = list(self.origins)
        for round_number in range(ROUNDS):
            again = []
            for origin in candidates:
                if self._stop.is_set():
                    return False
                if self._standing[origin].rest(time.monotonic()):
                    again.append(origin)
                    continue
                refusal = self._try(origin, transfer, client, attempts)
                if refusal is None:
                    return True
                if refusal.passing:
                    again.append(origin)
            candidates = again
            if not candidates or round_number == ROUNDS - 1:
                break
            self._pause(transfer, candidates, round_number)
        return False

    def _pause(self, transfer: Transfer, candidates: Sequence[Origin], round_number: int) -> None:
        """Wait until it makes sense to ask one of `candidates` again."""
        pause = self.pause * 2**round_number * random.uniform(0.5, 1.5)  # noqa: S311  no secret
        now = time.monotonic()
        pause = max(pause, min(self._standing[origin].rest(now) for origin in candidates))
        self._wait(transfer, pause, f"{', '.join(origin.name for origin in candidates)} may answer later")

    def _try(
        self, origin: Origin, transfer: Transfer, client: Client, attempts: list[tuple[Attempt, Refusal]]
    ) -> Refusal | None:
        """Take the file from `origin`, in as many answers as it gives with bytes in them; None if it is there."""
        standing = self._standing[origin]
        while True:
            before = transfer.received
            try:
                self._take_turn(origin, transfer)
                transfer.take_from(origin, client)
            except Refusal as refusal:
                progress = refusal.passing and transfer.received - before >= PROGRESS
                if self._stop.is_set():
                    return refusal
                if not standing.set_aside:
                    standing.refused(refusal, time.monotonic(), progress=progress)
                attempts.append((Attempt(origin.name, str(refusal)), refusal))
                self._events.put(Refused(transfer.wanted.identifier, transfer.wanted.file, origin.name, str(refusal)))
                if not progress:
                    return refusal
                self._stop.wait(self.pause)
            else:
                standing.answered()
                return None

    def _take_turn(self, origin: Origin, transfer: Transfer) -> None:
        """Wait until `origin` may be asked.

        Raises:
            Refusal: it may not be in this run, or the fetch was broken off meanwhile.
        """
        if origin.paced and not self._standing[origin].set_aside:
            self._wait(transfer, self.pace.turn(), f"one start each {self.pace.interval:g} s at {origin.name}")
        if self._stop.is_set():
            raise Refusal("interrupted", passing=True)
        if self._standing[origin].set_aside:
            raise Refusal(self._standing[origin].set_aside)

    def _wait(self, transfer: Transfer, seconds: float, reason: str) -> None:
        if seconds > 0:
            self._events.put(Waiting(transfer.wanted.identifier, transfer.wanted.file, reason, seconds))
            self._stop.wait(seconds)

    def _walk(self, path: Path) -> Sequence[str] | None:
        """The hazards in an HDF5 file; None if it cannot be walked here, which is said once.

        Raises:
            FormError: it cannot be walked anywhere.
        """
        walker = self.walker
        if walker is None:
            return None
        try:
            return walker.walk(path)
        except ScannerError as error:
            with self._changed:
                first, self.walker = self.walker is not None, None
            if first:
                self._events.put(Remarked(f"HDF5 files are not walked: {error}"))
            return None

    def _hear(self, event: Event) -> None:
        if isinstance(event, Received):
            self._meter.add(event.count, time.monotonic())
        self._events.put(event)

    # Several connections for one file

    def _share(self) -> tuple[Transfer, Segment, RangeRequest] | None:
        """Half of what still takes longest, if one more connection would make it faster."""
        now = time.monotonic()
        with self._changed:
            transfer = max(self._transfers, key=lambda each: each.parts.seconds_left(now), default=None)
            connections = len(self._transfers) + self._pieces
            if transfer is None or not self._gain.allows(now, self._meter.rate(now), connections):
                return None
            if not self._has_room_for_pieces():
                return None
            share = transfer.parts.halve(now)
            if share is None:
                return None
            self._pieces += 1
        return transfer, *share

    def _has_room_for_pieces(self) -> bool:
        """Whether the disk holds twice what is still to come: pieces are on it twice while they are joined."""
        there = free_space(self.store.layout.root)
        return there is None or there >= 2 * sum(transfer.rest for transfer in self._transfers)

    def _help(self, transfer: Transfer, piece: Segment, asked: RangeRequest, client: Client) -> None:
        """Fetch `piece` as far as anybody wants it; where that ends is where whoever asked for it goes on."""
        wanted, origin = transfer.wanted, transfer.origin
        try:
            url = transfer.url_at(origin) if origin else None
            if origin is None or url is None:
                return
            self._take_turn(origin, transfer)
            with client.open(url, asked, with_credentials=origin.trust == "mirror") as body:
                for received in body:
                    chunk, ended = transfer.parts.allot(received, piece)
                    self._hear(Received(wanted.identifier, len(chunk)))
                    if not piece.write(chunk) or ended or self._stop.is_set():
                        break
        except Refusal as refusal:
            transfer.parts.refuse()
            if origin and not self._stop.is_set():
                self._events.put(Refused(wanted.identifier, wanted.file, origin.name, f"a piece: {refusal}"))
        finally:
            piece.end()
            with self._changed:
                self._pieces -= 1


@dataclass(slots=True)
class _Elsewhere:
    """A file that another process is fetching: when to look for it again, and since when nothing was seen of it."""

    wanted: Wanted
    due: float
    since: float


def _number(wanted: Wanted) -> int:
    return int(figshare_number(wanted.identifier))
