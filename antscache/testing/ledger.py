"""The ledger: every request with its answer, and the bytes sent, for tests to read. Safe between threads."""

from __future__ import annotations

from collections import Counter
from threading import Lock

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer. `GET /requests` serves these as JSON.

    Attributes:
        method: `GET` or `HEAD`.
        path: of the URL, without its query.
        route: `api`, `ndownloader`, `figshare` or `storage`; empty for any other path.
        number: the identifier in the path; empty without one.
        host: the `Host` header, as sent.
        authorization: the `Authorization` header.
        range: the `Range` header.
        if_range: the `If-Range` header.
        status: of the answer; 0 if not even headers were sent.
        misbehaviour: the name of the one that the answer shows, if any.
        at: the time of arrival, in seconds of the server's `time.monotonic`.
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
        """Add `request`. Call this before its answer is sent: a client with an answer then finds its request here."""
        with self._lock:
            self._requests.append(request)

    def count_bytes(self, number: str, length: int) -> None:
        """Count `length` bytes of `number` as sent; a negative `length` takes back bytes that were not sent."""
        with self._lock:
            self._sent[number] += length

    @property
    def requests(self) -> list[Request]:
        """Every request so far."""
        with self._lock:
            return list(self._requests)

    def sent(self, number: str) -> int:
        """Return how many bytes of `number` were handed to the network: never fewer than all clients have received."""
        with self._lock:
            return self._sent[number]
