"""Names back onto blobs: a view gives a release its own names for the bytes it asks for.

views.py       make, find and materialise views
inventory.py   what is held of which release, where, and what it costs
links.py       make and remove names, one by one
"""

from __future__ import annotations

from antscache.views.inventory import EntryLocation, ReleaseUsage, find_in_user_home, locate_entries, statuses, usages
from antscache.views.links import Linked, stale_links, unlink
from antscache.views.views import View, find_view, home_below, make_view, materialise, prefetch_hint, selected_entries

__all__ = [
    "EntryLocation",
    "Linked",
    "ReleaseUsage",
    "View",
    "find_in_user_home",
    "find_view",
    "home_below",
    "locate_entries",
    "make_view",
    "materialise",
    "prefetch_hint",
    "selected_entries",
    "stale_links",
    "statuses",
    "unlink",
    "usages",
]
