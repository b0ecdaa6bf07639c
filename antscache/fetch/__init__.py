"""Bytes from origins: which origin to ask, how to resume, when to give up, what to accept.

fetcher.py         several files at once: the worker pool
transfer.py        one file on its way: answers into a draft, checked, published, recorded
draft.py           the bytes so far, and what they are checked by
segments.py        one file over several connections
origins.py         mirrors and Figshare's routes, in the order they are asked
origin_health.py   which origins are set aside, or left alone for a while
pacer.py           starts at an origin that asks not to be asked often
http.py            requests and redirects; files of this host as if they were behind them
protocol.py        what an answer's head means (pure)
proxies.py         proxies, certificates and credentials of this machine
sizes.py           how large a fetch is, before it starts
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.fetch.fetcher import Fetching
    from antscache.fetch.http import Client
    from antscache.fetch.origins import Origin, parse_origins
    from antscache.fetch.pacer import Pacer
    from antscache.fetch.protocol import CHALLENGE, RangeRequest, Refusal
    from antscache.fetch.sizes import Asking, Need, need, sizes_at_hand

__all__ = [
    "CHALLENGE",
    "Asking",
    "Client",
    "Fetching",
    "Need",
    "Origin",
    "Pacer",
    "RangeRequest",
    "Refusal",
    "need",
    "parse_origins",
    "sizes_at_hand",
]

__getattr__ = lazily(
    __name__,
    {
        "fetcher": ("Fetching",),
        "http": ("Client",),
        "origins": ("Origin", "parse_origins"),
        "pacer": ("Pacer",),
        "protocol": ("CHALLENGE", "RangeRequest", "Refusal"),
        "sizes": ("Asking", "Need", "need", "sizes_at_hand"),
    },
)
