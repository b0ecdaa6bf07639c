"""Fetches into a store, with short pauses, and what happened in them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from antscache.fetch.attempts import MAX_ROUNDS, Attempts
from antscache.fetch.fetcher import Fetcher
from antscache.fetch.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.core import Event, Wanted
    from antscache.fetch import FetchResult, Origin
    from antscache.store import Store


def fetcher(
    store: Store, origins: Sequence[Origin], *, jobs: int = 4, timeout: float = 5, rounds: int = MAX_ROUNDS
) -> Fetcher:
    attempts = partial(Attempts, rounds=rounds, pause=0.01)
    return Fetcher(store, origins, Pacer(store.layout.pace, 0), jobs, timeout, {}, attempts=attempts)


def run(fetcher: Fetcher, wanted: Sequence[Wanted]) -> tuple[FetchResult, list[Event]]:
    """What came of fetching `wanted`, and what was heard of it."""
    events: list[Event] = []
    return fetcher.run(wanted, events.append), events
