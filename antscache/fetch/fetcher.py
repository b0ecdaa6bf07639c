"""Fetch several files at once, each from the first origin that has it, checked while the bytes pass.

What another process is fetching is left to it, and looked for later (`other_processes.py`). When no file is left to
begin, those who have nothing to do help with the ones that still take long (`extra_connections.py`). A disk that
refuses ends the whole fetch: no other try would mend that.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache import config
from antscache.core import Failed, Fetched, Present, Remarked, Started
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
from antscache.formats import Hdf5Scanner, ScannerError, is_h5py_installed
from antscache.store import Notes, partial_files, remove_stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from antscache.core import Event, Identifier, Listener, Wanted
    from antscache.fetch.origins import Origin
    from antscache.root import Root
    from antscache.store import PartialFile, Store

FAREWELL_SECONDS = 0.9  # that workers have to put away what they are writing when the fetch is broken off
IDLE_SECONDS = 0.1  # after which one who has nothing to do looks around again


@dataclass(slots=True)
class Fetcher:
    """What fetches files into a store.

    Attributes:
        store: where they go.
        origins: in the order they are asked.
        pacer: of the starts at origins that ask for one.
        jobs: files under way at once.
        timeout: seconds of silence after which a transfer has failed.
        tokens: of mirrors, by host.
        scanner: makes what looks through HDF5 files; None where that cannot be done here.
        attempts: makes what asks the origins.
    """

    store: Store
    origins: Sequence[Origin]
    pacer: Pacer
    jobs: int
    timeout: float
    tokens: Mapping[str, str]
    scanner: Callable[[], Hdf5Scanner] | None = None
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
        scanner = Hdf5Scanner if is_h5py_installed() else None
        return cls(root.store, origins, pacer, settings.jobs, settings.timeout, config.tokens(), scanner)

    def run(self, wanted: Sequence[Wanted], listen: Listener) -> FetchResult:
        """Fetch `wanted`, in that order; `listen` hears what happens, in this thread.

        Raises:
            StoreError: the disk refused; that it is full the result says.
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
    """One run of a fetcher: its workers, and what there is for them to do."""

    def __init__(self, fetcher: Fetcher, wanted: Sequence[Wanted], notes: Notes, result: FetchResult) -> None:
        self._fetcher, self._store, self._notes, self._result = fetcher, fetcher.store, notes, result
        self._stopped = threading.Event()
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._partials: Mapping[Identifier, Sequence[PartialFile]] = partial_files(self._store.layout)
        self._attempts = fetcher.attempts(fetcher.origins, fetcher.pacer, self._stopped)
        self._others = OtherProcesses(self._store.layout, fetcher.timeout, self._events.put)
        self._extra = ExtraConnections(self._store.layout.root, self._attempts, self._stopped, self._events.put)
        self._scanner = self._started_scanner = fetcher.scanner() if fetcher.scanner else None
        self._changed = threading.Condition()  # holds what follows
        self._todo = deque(wanted)
        self._open = len(wanted)  # files of which it is not known yet what becomes of them
        # Daemons: a worker that waits for a silent origin must not keep an interrupted process alive.
        self._workers = [
            threading.Thread(target=self._work, daemon=True, name=f"antscache-fetch-{number}")
            for number in range(fetcher.jobs)
        ]
        for worker in self._workers:
            worker.start()

    def events(self) -> Iterator[Event]:
        """Yield what happens, until all is done; raise what a worker could not handle."""
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
        """End the workers, which put away what they are writing."""
        self._stopped.set()
        deadline = time.monotonic() + FAREWELL_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        if self._started_scanner:
            self._started_scanner.close()

    # Workers

    def _work(self) -> None:
        """Do what is to be done until nothing is."""
        try:
            with closing(Client(self._fetcher.timeout, self._fetcher.tokens)) as client:
                while not self._stopped.is_set() and self._step(client):
                    pass
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._events.put(error)
        finally:
            self._events.put(None)

    def _step(self, client: Client) -> bool:
        """Do one thing; False if there will be nothing to do any more."""
        if wanted := self._next():
            self._obtain(wanted, client)
        elif share := self._extra.next_share():
            self._extra.fetch(share, client)
        else:
            with self._changed:
                if self._open:
                    self._changed.wait(IDLE_SECONDS)
                return self._open > 0
        return True

    def _next(self) -> Wanted | LeftFile | None:
        """Return the next file to begin, or one that another process had begun when it was last looked for."""
        with self._changed:
            return self._todo.popleft() if self._todo else self._others.next_due()

    def _obtain(self, next_: Wanted | LeftFile, client: Client) -> None:
        """Fetch a file, unless another process does or has done so: its record is looked at under its lock."""
        left, wanted = (next_, next_.wanted) if isinstance(next_, LeftFile) else (None, next_)
        with self._others.claim(wanted) as ours:
            with self._changed:
                self._others.remark_on_locks()
            record = self._store.record(wanted.identifier)
            if record and self._store.holds(record.descriptor):
                self._events.put(Present(wanted.identifier, wanted.file, record.descriptor))
            elif ours or (left and self._others.has_stalled(left)):
                known = record.descriptor if record and record.trust != "adopted" else None
                self._fetch(replace(wanted, known=known or wanted.known), client)
            else:
                with self._changed:
                    self._others.leave(wanted, left)
                return
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def _fetch(self, wanted: Wanted, client: Client) -> None:
        """Get one file from the first origin that delivers it."""
        partials = self._partials.get(wanted.identifier, ())
        transfer = Transfer(
            wanted, self._store, self._notes, partials, self._scan, self._extra.hear, self._stopped.is_set
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
            self._stopped.set()  # others would only take what is given back
            keep = is_full(error) and transfer.give_back()
            raise
        finally:
            transfer.close(keep=keep)
        if not delivered and not self._stopped.is_set():
            self._fail(question)

    def _fail(self, question: Question) -> None:
        wanted, refusals = question.wanted, [refusal for _, refusal in question.attempts]
        attempts = tuple(attempt for attempt, _ in question.attempts)
        failure = Failure(wanted.identifier, wanted.file, str(wanted.release), attempts)
        self._result.failures.append(failure)
        if any(isinstance(refusal, Mismatch) for refusal in refusals):
            self._result.mismatched.append(failure)
        if any(isinstance(refusal, Malformed) for refusal in refusals):
            self._result.malformed.append(failure)
        self._events.put(Failed(wanted.identifier, wanted.file))

    def _scan(self, path: Path) -> Sequence[str] | None:
        """Return the hazards in an HDF5 file; None if it cannot be scanned here, which is said once.

        Raises:
            FormError: it cannot be scanned anywhere.
        """
        scanner = self._scanner
        if scanner is None:
            return None
        try:
            return scanner.walk(path)
        except ScannerError as error:
            with self._changed:
                first, self._scanner = self._scanner is not None, None
            if first:
                self._events.put(Remarked(f"HDF5 files are not walked: {error}"))
            return None
