"""Names back onto blobs: a view gives a release its own names for the bytes it asks for.

views.py       make, find and describe views
inventory.py   what is held of which release, and what it costs
links.py       make and remove names, one by one
"""

from __future__ import annotations

from antscache.views.inventory import EntryLocation, ReleaseUsage
from antscache.views.links import Linked, stale_links, unlink
from antscache.views.views import Presence, View, prefetch_hint, view_in

__all__ = [
    "EntryLocation",
    "Linked",
    "Presence",
    "ReleaseUsage",
    "View",
    "prefetch_hint",
    "stale_links",
    "unlink",
    "view_in",
]
