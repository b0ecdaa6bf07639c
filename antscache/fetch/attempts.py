"""Ask origins in turn until one delivers: for files, for their sizes, for the doctor.

Every origin is asked in order. Those whose refusal was transient are asked again in another round, after a pause. Each
refusal is noted. An origin that is set aside is not asked again; one that sent Retry-After is passed over until then.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antscache.core import Refused, Waiting
from antscache.errors import Attempt
from antscache.fetch.origin_health import OriginHealth
from antscache.fetch.origins import origins_of
from antscache.fetch.protocol import RangeRequest, Refusal, TooSlow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from antscache.core import Listener, Wanted
    from antscache.fetch.http import Body, Client
    from antscache.fetch.origins import Origin
    from antscache.fetch.pacer import Pacer

MAX_ORIGIN_ROUNDS = 6  # through the origins, for one file
RETRY_PAUSE_SECONDS = 0.5  # before the second round, doubled for each further one, with jitter: 15 s in all
MIN_PROGRESS_BYTES = 1 << 18  # a transfer that is cut after as many new bytes goes on at once: no round is used up


@contextmanager
def open_at(origin: Origin, wanted: Wanted, request: RangeRequest, client: Client) -> Iterator[Body]:
    """Open the bytes of `wanted` at `origin`: the whole file, or the part that `request` names.

    Raises:
        Refusal: the origin answers with anything else, or its URL needs a digest that is not known.
    """
    with client.open(url_at(origin, wanted), request, with_credentials=origin.trust == "mirror") as body:
        yield body


def url_at(origin: Origin, wanted: Wanted) -> str:
    """Return the URL of `wanted` at `origin`.

    Raises:
        Refusal: the URL needs a digest, and none is known; or `origin` has Figshare's files alone.
    """
    url = origin.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)
    if url is None:
        raise Refusal("its URL needs a digest or a Figshare number, and none is known")
    return url


@dataclass(slots=True)
class Question:
    """One file to ask origins for, and the refusals so far.

    Attributes:
        wanted: the file.
        ask: asks one origin; raises a Refusal if it does not deliver.
        received: returns the number of bytes that are here and need not be asked for again.
        listen: called with refusals and pauses.
        attempts: each attempt that failed, and its refusal.
    """

    wanted: Wanted
    ask: Callable[[Origin], None]
    received: Callable[[], int]
    listen: Listener
    attempts: list[tuple[Attempt, Refusal]] = field(default_factory=list)


class Attempts:
    """The tries at the origins of one run. Safe between threads.

    Args:
        origins: those of the settings, in the order in which they are asked.
        pacer: the rate limit for origins that have one.
        stopped: set when the run is interrupted; no origin is asked then.
        rounds: the most rounds through the origins.
        pause: seconds before the second round.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        pacer: Pacer,
        stopped: Event,
        *,
        rounds: int = MAX_ORIGIN_ROUNDS,
        pause: float = RETRY_PAUSE_SECONDS,
    ) -> None:
        self._origins = origins
        self._pacer = pacer
        self._stopped = stopped
        self._rounds = rounds
        self._pause = pause
        self._healths: dict[Origin, OriginHealth] = {}  # servers of URLs are added when they are first asked

    def deliver(self, question: Question) -> bool:
        """Ask origins in turn, and return True once one has delivered, or False if none did.

        Every refusal is added to the question's attempts.
        """
        candidates = list(origins_of(question.wanted.identifier, self._origins))
        for number in range(self._rounds):
            retry = []
            for origin in candidates:
                if self._stopped.is_set():
                    return False
                if self._health(origin).seconds_to_wait(time.monotonic()):
                    retry.append(origin)
                    continue
                refusal = self._try(origin, question)
                if refusal is None:
                    return True
                if refusal.transient:
                    retry.append(origin)
            candidates = retry
            if not candidates or number == self._rounds - 1:
                break
            self._wait_for_one_of(candidates, question, number)
        return False

    def take_turn(self, origin: Origin, wanted: Wanted, listen: Listener) -> None:
        """Wait until `origin` may be asked.

        Raises:
            Refusal: the origin is set aside, or the run was interrupted meanwhile.
        """
        health = self._health(origin)
        if origin.paced and not health.set_aside:
            reason = f"{origin.name} is asked for one file every {self._pacer.interval:g} s"
            self._wait(wanted, self._pacer.reserve_start(), reason, listen)
        if self._stopped.is_set():
            raise Refusal("interrupted", transient=True)
        if health.set_aside:
            raise Refusal(health.set_aside)

    def _health(self, origin: Origin) -> OriginHealth:
        return self._healths.setdefault(origin, OriginHealth())

    def _try(self, origin: Origin, question: Question) -> Refusal | None:
        """Ask `origin` until it delivers (None), or refuses without progress (the refusal).

        A transfer that is cut after enough new bytes is asked for again at once. So is, once, a whole file in place of
        one that was joined from several answers: otherwise an origin that sends a wrong beginning would spoil, in each
        round, what the next one sends.
        """
        health, wanted, asked_afresh = self._health(origin), question.wanted, False
        while True:
            before = question.received()
            try:
                self.take_turn(origin, wanted, question.listen)
                question.ask(origin)
            except Refusal as refusal:
                goes_on = refusal.transient and not isinstance(refusal, TooSlow)
                progress = goes_on and question.received() - before >= MIN_PROGRESS_BYTES
                if self._stopped.is_set():
                    return refusal
                if not health.set_aside:
                    health.note_refusal(refusal, time.monotonic(), progress=progress)
                question.attempts.append((Attempt(origin.name, str(refusal)), refusal))
                question.listen(Refused(wanted.identifier, wanted.file, origin.name, str(refusal)))
                if not progress and (asked_afresh or not refusal.joined):
                    return refusal
                asked_afresh = asked_afresh or refusal.joined
                self._stopped.wait(self._pause)
            else:
                health.note_delivery()
                return None

    def _wait_for_one_of(self, candidates: Sequence[Origin], question: Question, number: int) -> None:
        """Pause, longer after each round, and at least until one of `candidates` may be asked."""
        pause = self._pause * 2**number * random.uniform(0.5, 1.5)  # noqa: S311  no secret
        now = time.monotonic()
        pause = max(pause, min(self._health(origin).seconds_to_wait(now) for origin in candidates))
        names = ", ".join(origin.name for origin in candidates)
        self._wait(question.wanted, pause, f"{names} may answer later", question.listen)

    def _wait(self, wanted: Wanted, seconds: float, reason: str, listen: Listener) -> None:
        if seconds > 0:
            listen(Waiting(wanted.identifier, wanted.file, reason, seconds))
            self._stopped.wait(seconds)
