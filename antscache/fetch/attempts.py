"""Ask origins in turn until one delivers: for files, for their sizes, for the doctor.

Every origin in order, and while an answer was transient another round after a pause. Each refusal is noted. An origin
that is set aside, or wants to be left alone for a while, is passed over.
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
from antscache.fetch.protocol import RangeRequest, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from antscache.core import Listener, Wanted
    from antscache.fetch.http import Body, Client
    from antscache.fetch.origins import Origin
    from antscache.fetch.pacer import Pacer

MAX_ROUNDS = 6  # through the origins, for a file of which nothing comes
PAUSE_SECONDS = 0.5  # before the second round, doubled for each further one, with jitter: 15 s in all
PROGRESS_BYTES = 1 << 18  # a transfer that is cut after more of them works, and does not count as a try


@contextmanager
def open_at(origin: Origin, wanted: Wanted, request: RangeRequest, client: Client) -> Iterator[Body]:
    """Open the bytes of `wanted` that `origin` has, all of them or what `request` says.

    Raises:
        Refusal: the answer is not what was asked for, or the origin goes by a digest that is not known.
    """
    with client.open(url_at(origin, wanted), request, with_credentials=origin.trust == "mirror") as body:
        yield body


def url_at(origin: Origin, wanted: Wanted) -> str:
    """Return where `origin` has `wanted`.

    Raises:
        Refusal: it goes by a digest, and none is known.
    """
    url = origin.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)
    if url is None:
        raise Refusal("goes by a digest, and none is known yet")
    return url


@dataclass(slots=True)
class Question:
    """What is asked of origins about one file.

    Attributes:
        wanted: the file.
        ask: asks one origin; raises a Refusal where it does not deliver.
        received: how many bytes are here that need not be asked for again.
        listen: hears of refusals and pauses.
        attempts: each try, and the refusal it ended with.
    """

    wanted: Wanted
    ask: Callable[[Origin], None]
    received: Callable[[], int]
    listen: Listener
    attempts: list[tuple[Attempt, Refusal]] = field(default_factory=list)


class Attempts:
    """The tries at the origins of one run. Safe between threads.

    Args:
        origins: in the order they are asked.
        pacer: of starts at origins that ask for one.
        stopped: set when the run is broken off; nobody is asked then.
        rounds: through the origins, at most.
        pause: seconds before the second round.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        pacer: Pacer,
        stopped: Event,
        *,
        rounds: int = MAX_ROUNDS,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._origins = origins
        self._pacer = pacer
        self._stopped = stopped
        self._rounds = rounds
        self._pause = pause
        self._health = {origin: OriginHealth() for origin in origins}

    def deliver(self, question: Question) -> bool:
        """Return whether an origin has delivered; every refusal is added to the question's attempts."""
        candidates = list(self._origins)
        for number in range(self._rounds):
            again = []
            for origin in candidates:
                if self._stopped.is_set():
                    return False
                if self._health[origin].rest(time.monotonic()):
                    again.append(origin)
                    continue
                refusal = self._try(origin, question)
                if refusal is None:
                    return True
                if refusal.transient:
                    again.append(origin)
            candidates = again
            if not candidates or number == self._rounds - 1:
                break
            self._wait_for_one_of(candidates, question, number)
        return False

    def take_turn(self, origin: Origin, wanted: Wanted, listen: Listener) -> None:
        """Wait until `origin` may be asked.

        Raises:
            Refusal: it may not be in this run, or the run was broken off meanwhile.
        """
        health = self._health[origin]
        if origin.paced and not health.set_aside:
            reason = f"one start each {self._pacer.interval:g} s at {origin.name}"
            self._wait(wanted, self._pacer.reserve_start(), reason, listen)
        if self._stopped.is_set():
            raise Refusal("interrupted", transient=True)
        if health.set_aside:
            raise Refusal(health.set_aside)

    def _try(self, origin: Origin, question: Question) -> Refusal | None:
        """Take the file from `origin`, in as many answers as it gives with bytes in them; None if it has delivered."""
        health, wanted = self._health[origin], question.wanted
        while True:
            before = question.received()
            try:
                self.take_turn(origin, wanted, question.listen)
                question.ask(origin)
            except Refusal as refusal:
                progress = refusal.transient and question.received() - before >= PROGRESS_BYTES
                if self._stopped.is_set():
                    return refusal
                if not health.set_aside:
                    health.refused(refusal, time.monotonic(), progress=progress)
                question.attempts.append((Attempt(origin.name, str(refusal)), refusal))
                question.listen(Refused(wanted.identifier, wanted.file, origin.name, str(refusal)))
                if not progress:
                    return refusal
                self._stopped.wait(self._pause)
            else:
                health.answered()
                return None

    def _wait_for_one_of(self, candidates: Sequence[Origin], question: Question, number: int) -> None:
        """Wait until it makes sense to ask one of `candidates` again."""
        pause = self._pause * 2**number * random.uniform(0.5, 1.5)  # noqa: S311  no secret
        now = time.monotonic()
        pause = max(pause, min(self._health[origin].rest(now) for origin in candidates))
        names = ", ".join(origin.name for origin in candidates)
        self._wait(question.wanted, pause, f"{names} may answer later", question.listen)

    def _wait(self, wanted: Wanted, seconds: float, reason: str, listen: Listener) -> None:
        if seconds > 0:
            listen(Waiting(wanted.identifier, wanted.file, reason, seconds))
            self._stopped.wait(seconds)
