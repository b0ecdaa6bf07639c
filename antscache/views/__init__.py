"""Views: directories in which a release finds its files by their own names, each linked to a blob.

views.py       make, find and materialise views
inventory.py   list the files that are held of each release, their places and sizes
links.py       make and remove names, one by one
"""

from __future__ import annotations

from antscache.views.inventory import EntryLocation, ReleaseUsage, find_in_user_home, locate_entries, statuses, usages
from antscache.views.links import Linked, stale_links, unlink
from antscache.views.views import (
    View,
    find_view,
    home_below,
    make_view,
    materialise,
    prefetch_hint,
    renew_other_views,
    selected_entries,
    unlink_unvouched,
)

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
    "renew_other_views",
    "selected_entries",
    "stale_links",
    "statuses",
    "unlink",
    "unlink_unvouched",
    "usages",
]
