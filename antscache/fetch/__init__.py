"""Bytes from origins: which origin to ask, how to resume, when to give up, what to accept.

fetcher.py             several files at once: the worker pool
attempts.py            one file: the origins in turn
transfer.py            one answer into one draft, checked, published, recorded
draft.py               the bytes so far, and what they are checked by
segments.py            one file over several connections
extra_connections.py   idle workers help with the files that still take long
other_processes.py     what others are fetching is left to them
http.py                requests and redirects; files of this host as if they were behind them
protocol.py            what an answer's head means (pure)
proxies.py             proxies, certificates and credentials of this machine
origins.py             mirrors and Figshare's routes, in the order they are asked
origin_health.py       which origins are set aside, or left alone for a while
pacer.py               starts at an origin that asks not to be asked often
sizes.py               how large a fetch is, before it starts
result.py              what came of a fetch
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
    from antscache.fetch.protocol import CHALLENGE, RangeRequest, Refusal
    from antscache.fetch.result import FetchResult
    from antscache.fetch.sizes import Need, find_sizes, known_sizes, largest_first, least_seconds, need

__all__ = [
    "CHALLENGE",
    "Client",
    "FetchResult",
    "Fetcher",
    "Need",
    "Origin",
    "Pacer",
    "RangeRequest",
    "Refusal",
    "find_sizes",
    "known_sizes",
    "largest_first",
    "least_seconds",
    "need",
    "open_at",
    "parse_origins",
]

__getattr__ = lazily(
    __name__,
    {
        "attempts": ("open_at",),
        "fetcher": ("Fetcher",),
        "http": ("Client",),
        "origins": ("Origin", "parse_origins"),
        "pacer": ("Pacer",),
        "protocol": ("CHALLENGE", "RangeRequest", "Refusal"),
        "result": ("FetchResult",),
        "sizes": ("Need", "find_sizes", "known_sizes", "largest_first", "least_seconds", "need"),
    },
)
