"""What was asked and what was sent: the counters that tests read. Safe between threads."""

from __future__ import annotations

from collections import Counter
from threading import Lock

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request and how it was answered; `GET /requests` serves these as JSON.

    Attributes:
        method: `GET` or `HEAD`.
        path: as asked for, without its query.
        route: `api`, `ndownloader`, `figshare` or `storage`; empty where the path is none of these.
        number: the identifier asked for; empty where there is none.
        host: the `Host` header, whatever it names.
        authorization: the `Authorization` header.
        range: the `Range` header.
        if_range: the `If-Range` header.
        status: of the answer; 0 where there is none, not even headers.
        misbehaviour: the one that this answer shows.
        at: when it arrived, in seconds of the server's `time.monotonic`.
    """

    method: str
    path: str
    route: str
    number: str
    host: str | None
    authorization: str | None
    range: str | None
    if_range: str | None
    status: int
    misbehaviour: str | None
    at: float


class Ledger:
    """Every request in the order of the answers, and the bytes sent of each identifier."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: list[Request] = []
        self._sent: Counter[str] = Counter()

    def record(self, request: Request) -> None:
        """Count `request`; done before its answer is sent, so that a client with an answer finds it here."""
        with self._lock:
            self._requests.append(request)

    def count_bytes(self, number: str, length: int) -> None:
        """Count `length` bytes of `number` as sent; negative where they were counted and not sent after all."""
        with self._lock:
            self._sent[number] += length

    @property
    def requests(self) -> list[Request]:
        """All requests so far."""
        with self._lock:
            return list(self._requests)

    def sent(self, number: str) -> int:
        """The bytes of `number` handed to the network: never fewer than all clients together have received."""
        with self._lock:
            return self._sent[number]
