"""A plan carried out: several files at once, each from the first origin that has it, checked while the bytes pass.

For each file: every origin in order, and while an answer was of the passing kind another round after a pause. What is
refused is discarded, named, and tried at the next origin. A disk that refuses ends the whole fetch: no other try would
mend that.
"""

from __future__ import annotations

import datetime as dt
import queue
import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antscache.errors import Attempt, Failure
from antscache.events import Event, Failed, Fetched, Received, Refused, Started
from antscache.formats import FormError, form_of
from antscache.origin import Client, Origin, Refusal
from antscache.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from antscache.digest import Descriptor
    from antscache.plan import Wanted
    from antscache.store import Store

ROUNDS = 3  # times that the origins are gone through
PAUSE = 1.0  # seconds before the second round, doubled for each further one, with jitter
SET_ASIDE = 3  # answers in a row, all about the origin as a whole, after which it is not asked again
FAREWELL = 1.0  # seconds that workers have to put away what they are writing when the fetch is broken off


@dataclass(slots=True)
class Fetching:
    """Files being fetched: iterate over it for what happens, then read what came of it.

    Attributes:
        failures: the files that no origin delivered, with every attempt.
        mismatched: those of them where an origin answered with other bytes than are recorded.
    """

    wanted: Sequence[Wanted]
    origins: Sequence[Origin]
    store: Store
    jobs: int
    timeout: float
    pause: float = PAUSE
    failures: list[Failure] = field(default_factory=list)
    mismatched: list[Failure] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _events: queue.SimpleQueue[Event | BaseException | None] = field(default_factory=queue.SimpleQueue)
    _turned_away: dict[Origin, list[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Event]:
        """Fetch, and yield what happens as it happens. Each file that is Fetched is in the store and recorded.

        Raises:
            StoreError: the disk refused.
            IntegrityError: another process recorded other bytes for an identifier meanwhile.
        """
        todo: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        for wanted in self.wanted:
            todo.put(wanted)
        # Daemons: a worker that waits for a silent origin must not keep an interrupted process alive.
        workers = [
            threading.Thread(target=self._work, args=(todo,), daemon=True, name=f"antscache-fetch-{number}")
            for number in range(min(self.jobs, len(self.wanted)))
        ]
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

    def _work(self, todo: queue.SimpleQueue[Wanted]) -> None:
        """Take files from `todo` until there are none."""
        try:
            with closing(Client(self.timeout)) as client:
                while not self._stop.is_set():
                    self._fetch(todo.get_nowait(), client)
        except queue.Empty:
            pass
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._events.put(error)
        finally:
            self._events.put(None)

    def _fetch(self, wanted: Wanted, client: Client) -> None:
        """Get one file from the first origin that delivers it."""
        attempts: list[Attempt] = []
        candidates = list(self.origins)
        mismatched = False
        for round_number in range(ROUNDS):
            again = []
            for origin in candidates:
                if self._stop.is_set():
                    return
                try:
                    self._fetch_from(origin, wanted, client)
                except Refusal as refusal:
                    attempts.append(Attempt(origin.name, str(refusal)))
                    self._events.put(Refused(wanted.identifier, wanted.file, origin.name, str(refusal)))
                    mismatched |= isinstance(refusal, Mismatch)
                    if refusal.passing:
                        again.append(origin)
                else:
                    return
            candidates = again
            if not candidates or round_number == ROUNDS - 1:
                break
            self._stop.wait(self.pause * 2**round_number * random.uniform(0.5, 1.5))  # noqa: S311  no secret
        failure = Failure(wanted.identifier, wanted.file, str(wanted.release), tuple(attempts))
        self.failures.append(failure)
        if mismatched:
            self.mismatched.append(failure)
        self._events.put(Failed(wanted.identifier, wanted.file))

    def _fetch_from(self, origin: Origin, wanted: Wanted, client: Client) -> None:
        """`wanted` is in the store and recorded, from `origin`.

        Raises:
            Refusal: it does not have it; nothing is left of what it answered.
        """
        url = origin.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)
        if url is None:
            raise Refusal("goes by a digest, and none is known yet")
        turned_away = self._turned_away.setdefault(origin, [])
        if len(turned_away) >= SET_ASIDE:
            raise Refusal(f"set aside after {SET_ASIDE} answers in a row: {turned_away[-1]}")
        started = time.monotonic()
        try:
            blob = self._receive(url, wanted, client)
        except Refusal as refusal:
            if refusal.whole_origin:
                turned_away.append(str(refusal))
            else:
                turned_away.clear()
            raise
        turned_away.clear()
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        self.store.remember(Record(wanted.identifier, blob.digest, blob.size, origin.trust, origin.name, now))
        seconds = time.monotonic() - started
        self._events.put(Fetched(wanted.identifier, wanted.file, blob, origin.name, seconds))

    def _receive(self, url: str, wanted: Wanted, client: Client) -> Descriptor:
        """The bytes behind `url` are a blob, if they are what was wanted."""
        form = form_of(wanted.file)
        with client.open(url) as body, self.store.ingest() as ingest:
            self._events.put(Started(wanted.identifier, wanted.file, body.announced))
            try:
                for chunk in body:
                    if self._stop.is_set():
                        raise Refusal("interrupted")
                    if not wanted.known:
                        form.feed(chunk)
                    ingest.write(chunk)
                    if wanted.known and ingest.size > wanted.known.size:
                        raise Mismatch(f"more bytes than the {wanted.known.size} that are recorded")
                    self._events.put(Received(wanted.identifier, len(chunk)))
                if not wanted.known:
                    form.finish()
            except FormError as error:
                raise Refusal(str(error)) from None
            if wanted.known and ingest.descriptor != wanted.known:
                raise Mismatch(f"other bytes: {ingest.descriptor.digest}, but {wanted.known.digest} is recorded")
            return ingest.publish()


class Mismatch(Refusal):
    """Whole bytes of the wrong file."""
