"""Fetches into a store, with short pauses, and their events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from antscache.fetch.attempts import MAX_ORIGIN_ROUNDS, Attempts
from antscache.fetch.fetcher import Fetcher
from antscache.fetch.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.core import Event, Wanted
    from antscache.fetch import FetchResult, Origin
    from antscache.store import Store


def fetcher(
    store: Store, origins: Sequence[Origin], *, jobs: int = 4, timeout: float = 60, rounds: int = MAX_ORIGIN_ROUNDS
) -> Fetcher:
    attempts = partial(Attempts, rounds=rounds, pause=0.01)
    return Fetcher(store, origins, Pacer(store.layout.pace, 0), jobs, timeout, {}, attempts=attempts)


def run(fetcher: Fetcher, wanted: Sequence[Wanted]) -> tuple[FetchResult, list[Event]]:
    """Fetch `wanted`, and return the result and the events."""
    events: list[Event] = []
    return fetcher.run(wanted, events.append), events
