"""Bytes from origins: which origin to ask, how to resume, when to give up, what to accept.

fetcher.py             several files at once: the worker pool
attempts.py            one file: the origins in turn
transfer.py            one answer into one draft, checked, published, recorded
draft.py               the bytes of a file so far, and their checks
segments.py            one file over several connections
extra_connections.py   idle workers help with the files that still take long
other_processes.py     files that other processes are fetching: wait for them, take over when they stall
http.py                requests, redirects, and file: URLs of this host
bounds.py              the bounds of an answer in time and in length
protocol.py            an answer's status and headers: a file, a part of it, or a refusal (pure)
workers.py             threads, as many as the system gives
proxies.py             proxies, certificates and credentials of this machine
origins.py             mirrors and Figshare's routes, in the order they are asked
origin_health.py       origins that are set aside, or not asked for a while
pacer.py               the rate limit of an origin, shared by all processes on one root
sizes.py               the size of a fetch, before it starts; the MD5 of a file that is not fetched
result.py              the outcome of a fetch
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.fetch.attempts import open_at
    from antscache.fetch.fetcher import Fetcher
    from antscache.fetch.http import Client
    from antscache.fetch.origins import Origin, parse_origins
    from antscache.fetch.pacer import Pacer
    from antscache.fetch.protocol import CHALLENGE_STATUS, RangeRequest, Refusal
    from antscache.fetch.result import FetchResult
    from antscache.fetch.sizes import (
        Need,
        Told,
        ask_origins,
        collect_known_sizes,
        find_sizes,
        least_seconds,
        measure_need,
        sort_largest_first,
    )

__all__ = [
    "CHALLENGE_STATUS",
    "Client",
    "FetchResult",
    "Fetcher",
    "Need",
    "Origin",
    "Pacer",
    "RangeRequest",
    "Refusal",
    "Told",
    "ask_origins",
    "collect_known_sizes",
    "find_sizes",
    "least_seconds",
    "measure_need",
    "open_at",
    "parse_origins",
    "sort_largest_first",
]

__getattr__ = lazily(
    __name__,
    {
        "attempts": ("open_at",),
        "fetcher": ("Fetcher",),
        "http": ("Client",),
        "origins": ("Origin", "parse_origins"),
        "pacer": ("Pacer",),
        "protocol": ("CHALLENGE_STATUS", "RangeRequest", "Refusal"),
        "result": ("FetchResult",),
        "sizes": (
            "Need",
            "Told",
            "ask_origins",
            "collect_known_sizes",
            "find_sizes",
            "least_seconds",
            "measure_need",
            "sort_largest_first",
        ),
    },
)
