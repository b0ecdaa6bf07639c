"""Views: directories in which a release finds its files by their own names, each linked to a blob.

views.py       make, find and materialise views
inventory.py   list the files that are held of each release, their places and sizes
links.py       make and remove names, one by one
names.py       tell what a name has to do with its blob
places.py      put a file into a place outside the root
"""

from __future__ import annotations

from antscache.views.inventory import (
    EntryLocation,
    EntryStatus,
    Names,
    ReleaseUsage,
    locate_entries,
    locate_entry,
    names_in_views,
    statuses,
    usages,
)
from antscache.views.links import Linked, stale_links, unlink
from antscache.views.places import put_file
from antscache.views.views import (
    View,
    digest_of_view,
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
    "EntryStatus",
    "Linked",
    "Names",
    "ReleaseUsage",
    "View",
    "digest_of_view",
    "find_view",
    "home_below",
    "locate_entries",
    "locate_entry",
    "make_view",
    "materialise",
    "names_in_views",
    "prefetch_hint",
    "put_file",
    "renew_other_views",
    "selected_entries",
    "stale_links",
    "statuses",
    "unlink",
    "unlink_unvouched",
    "usages",
]
