"""Fetch several files at once, each from the first origin that has it, and check the bytes as they arrive.

A file that another process is fetching is left to it, and looked for later (`other_processes.py`). When no file is left
to begin, idle workers help with the ones that still take long (`extra_connections.py`). An error of the disk ends the
whole fetch, because another attempt would fail as well.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from antscache import config
from antscache.core import Failed, Fetched, HazardPolicy, Present, Remarked, Started
from antscache.disk import is_full
from antscache.errors import Failure, StoreError
from antscache.fetch.attempts import Attempts, Question
from antscache.fetch.draft import Malformed, Mismatch
from antscache.fetch.extra_connections import ExtraConnections
from antscache.fetch.http import Client
from antscache.fetch.origins import parse_origins
from antscache.fetch.other_processes import LeftFile, OtherProcesses
from antscache.fetch.pacer import Pacer
from antscache.fetch.result import FetchResult
from antscache.fetch.transfer import Transfer
from antscache.fetch.workers import start_threads
from antscache.formats import Hdf5Scanner, ScannerError
from antscache.store import Notes, partial_files, remove_stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from antscache.core import Event, Finding, Identifier, Listener, Record, Wanted
    from antscache.fetch.origins import Origin
    from antscache.root import Root
    from antscache.store import PartialFile, Store

WORKER_STOP_SECONDS = 0.9  # for workers to put away their partial files when the fetch is interrupted
IDLE_POLL_SECONDS = 0.1  # after which an idle worker looks again for something to do


@dataclass(slots=True)
class Fetcher:
    """A fetcher of files into a store, several at once.

    Attributes:
        store: where the files go.
        origins: in the order in which they are asked.
        pacer: the rate limit for origins that have one.
        jobs: the number of files under way at once.
        timeout: the seconds without data after which a transfer has failed.
        tokens: of mirrors, by host.
        scanner: makes the scanner of HDF5 files; None to do without one.
        policy: decides which findings refuse a file.
        attempts: makes the `Attempts` of a run.
    """

    store: Store
    origins: Sequence[Origin]
    pacer: Pacer
    jobs: int
    timeout: float
    tokens: Mapping[str, str]
    scanner: Callable[[], Hdf5Scanner] | None = None
    policy: HazardPolicy = field(default_factory=HazardPolicy)
    attempts: Callable[[Sequence[Origin], Pacer, threading.Event], Attempts] = Attempts

    @classmethod
    def of(cls, root: Root) -> Fetcher:
        """Make the fetcher that the settings of `root` describe.

        Raises:
            ConfigError: they cannot be used.
        """
        settings = root.settings
        origins = parse_origins(settings.mirrors, settings.origins)
        pacer = Pacer(root.layout.pace, settings.pace, shared=root.layout.shared)
        return cls(
            root.store,
            origins,
            pacer,
            settings.jobs,
            settings.timeout,
            config.read_tokens(),
            Hdf5Scanner,
            root.hazard_policy(),
        )

    def run(self, wanted: Sequence[Wanted], listen: Listener) -> FetchResult:
        """Fetch `wanted`, in that order, and call `listen` with each event in this thread.

        Files that no origin delivered, and a full disk, are in the result.

        Raises:
            StoreError: the disk refused for another reason than being full.
            IntegrityError: another process recorded other bytes for an identifier meanwhile.
            ConfigError: the environment names a proxy or certificates that cannot be used.
        """
        remove_stale(self.store.layout)
        result = FetchResult()
        with closing(Notes(self.store.layout)) as notes, closing(_Run(self, wanted, notes, result)) as run:
            try:
                for event in run.events():
                    if isinstance(event, Fetched):
                        result.fetched.append(event)
                    elif isinstance(event, Present):
                        result.elsewhere.append(event)
                    elif isinstance(event, Started) and event.size is not None:
                        result.sizes[event.identifier] = event.size
                    listen(event)
            except StoreError as error:
                if not is_full(error):
                    raise
                result.disk_full = error
        return result


class _Run:
    """One run of a fetcher: its workers, and the files they have still to fetch."""

    def __init__(self, fetcher: Fetcher, wanted: Sequence[Wanted], notes: Notes, result: FetchResult) -> None:
        self._fetcher, self._store, self._notes, self._result = fetcher, fetcher.store, notes, result
        self._stopped = threading.Event()
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._partials = _find_partials(self._store)
        self._attempts = fetcher.attempts(fetcher.origins, fetcher.pacer, self._stopped)
        self._others = OtherProcesses(self._store.layout, fetcher.timeout, self._events.put)
        self._extra = ExtraConnections(self._store.layout.root, self._attempts, self._stopped, self._events.put)
        self._scanner = self._started_scanner = fetcher.scanner() if fetcher.scanner else None
        self._changed = threading.Condition()  # guards `_others`, `_scanner`, and the two attributes below
        self._todo = deque(wanted)
        self._open = len(wanted)  # files that are neither fetched nor given up
        # Daemons: a worker that waits for a silent origin must not keep an interrupted process alive.
        self._workers = start_threads(
            [
                threading.Thread(target=self._work, daemon=True, name=f"antscache-fetch-{number}")
                for number in range(fetcher.jobs)
            ]
        )

    def events(self) -> Iterator[Event]:
        """Yield each event until all workers have ended; raise the error of a worker that failed."""
        working = len(self._workers)
        while working:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                working -= 1
            else:
                yield event

    def close(self) -> None:
        """Stop the workers, and wait a moment for them to put away their partial files."""
        self._stopped.set()
        deadline = time.monotonic() + WORKER_STOP_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        if self._started_scanner:
            self._started_scanner.close()

    # Workers

    def _work(self) -> None:
        """Take steps until there are none left, or the run is stopped; hand an error to the thread that asked."""
        try:
            with closing(Client(self._fetcher.timeout, self._fetcher.tokens)) as client:
                while not self._stopped.is_set() and self._step(client):
                    pass
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._events.put(error)
        finally:
            self._events.put(None)

    def _step(self, client: Client) -> bool:
        """Fetch one file or segment, or wait a moment; return False if all files are done."""
        if wanted := self._next():
            self._obtain(wanted, client)
        elif share := self._extra.next_share():
            self._extra.fetch(share, client)
        else:
            with self._changed:
                if self._open:
                    self._changed.wait(IDLE_POLL_SECONDS)
                return self._open > 0
        return True

    def _next(self) -> Wanted | LeftFile | None:
        """Return the next file to begin, else one that was left to another process, else None."""
        with self._changed:
            return self._todo.popleft() if self._todo else self._others.next_due()

    def _obtain(self, next_: Wanted | LeftFile, client: Client) -> None:
        """Fetch a file, unless another process has fetched it or holds its lock; its record is read under the lock."""
        left, wanted = (next_, next_.wanted) if isinstance(next_, LeftFile) else (None, next_)
        with self._others.claim(wanted) as ours:
            with self._changed:
                self._others.remark_on_locks()
            record = self._store.record(wanted.identifier)
            doubted = wanted.doubted and record is not None and record.is_adopted
            if record and not doubted and self._store.holds(record.descriptor):
                self._events.put(Present(wanted.identifier, wanted.file, record.descriptor))
            elif ours or (left and self._others.has_stalled(left)):
                known = record.descriptor if record and not record.is_adopted else None
                scanned = record is not None and known is not None and self._is_scanned(record)
                alone = ours and self._others.locks_work
                locked = wanted.locked and known is None
                wanted = replace(wanted, known=known or wanted.known, scanned=scanned, locked=locked)
                self._fetch(wanted, client, alone=alone)
            else:
                with self._changed:
                    self._others.leave(wanted, left)
                return
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def _is_scanned(self, record: Record) -> bool:
        """Return True if no new scan of the recorded bytes is needed: strict, findings have to refuse them."""
        return record.is_scanned and not (self._fetcher.policy.strict and record.findings)

    def _fetch(self, wanted: Wanted, client: Client, *, alone: bool) -> None:
        """Fetch one file from the first origin that delivers it, or report that none did.

        Args:
            wanted: the file.
            client: of this thread.
            alone: True if no other process fetches the file meanwhile.

        Raises:
            StoreError: the disk refused. The run is stopped.
        """
        partials = self._partials.get(wanted.identifier, ())
        transfer = Transfer(
            wanted,
            self._store,
            self._notes,
            partials,
            self._scan,
            self._fetcher.policy,
            self._extra.hear,
            self._stopped.is_set,
            alone,
        )
        question = Question(
            wanted, lambda origin: transfer.take_from(origin, client), lambda: transfer.received, self._events.put
        )
        keep = delivered = False
        try:
            with self._extra.under_way(transfer):
                delivered = self._attempts.deliver(question)
            keep = not delivered
        except StoreError as error:
            self._stopped.set()  # the other workers would only fill the room that is freed
            keep = is_full(error) and transfer.give_back()
            raise
        finally:
            transfer.close(keep=keep)
        if not delivered and not self._stopped.is_set():
            self._fail(question)

    def _fail(self, question: Question) -> None:
        """Add the file to the failures of the result, with all attempts."""
        wanted, refusals = question.wanted, [refusal for _, refusal in question.attempts]
        attempts = tuple(attempt for attempt, _ in question.attempts)
        failure = Failure(wanted.identifier, wanted.file, str(wanted.release), attempts)
        self._result.failures.append(failure)
        if mismatches := [refusal for refusal in refusals if isinstance(refusal, Mismatch)]:
            self._result.mismatched.append(failure)
            if any(mismatch.confirmed for mismatch in mismatches):
                self._result.confirmed.add(wanted.identifier)
        if any(isinstance(refusal, Malformed) for refusal in refusals):
            self._result.malformed.append(failure)
        self._events.put(Failed(wanted.identifier, wanted.file))

    def _scan(self, path: Path) -> Sequence[Finding] | None:
        """Return the findings in an HDF5 file; None if files cannot be scanned here, which is reported once.

        Raises:
            FormError: the file itself cannot be scanned.
        """
        scanner = self._scanner
        if scanner is None:
            return None
        try:
            return scanner.scan(path)
        except ScannerError as error:
            with self._changed:
                first, self._scanner = self._scanner is not None, None
            if first:
                self._events.put(Remarked(f"HDF5 files are not scanned: {error}"))
            return None


def _find_partials(store: Store) -> Mapping[Identifier, Sequence[PartialFile]]:
    """Return the partial files by identifier; remove those of files that are there: a process was killed at its end."""
    partials = partial_files(store.layout)
    for identifier in list(partials):
        with suppress(StoreError):
            record = store.record(identifier)
            if record and store.owns(record.descriptor):
                for partial in partials.pop(identifier):
                    partial.remove()
    return partials
