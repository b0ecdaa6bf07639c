"""Whole jobs over the store and its views, one file each.

prefetch.py   make entries present, verified and linked
adopt.py      take over an existing directory of ANTsPyNet's
verify.py     read everything again and compare it
repair.py     make right what verify found
remove.py     take a release out of use
gc.py         delete what no ref reaches
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily
from antscache.operations.gc import GRACE, Garbage, collect_garbage, plan_collection
from antscache.operations.prefetch import Prefetched, Prefetching
from antscache.operations.remove import Removed, remove_release

if TYPE_CHECKING:
    from antscache.operations.adopt import (
        Judged,
        adopt_files,
        files_to_adopt,
        judge,
        look,
        refuse_root,
        shown,
        size_of_files,
        walked,
    )
    from antscache.operations.repair import Repair
    from antscache.operations.verify import Verified

__all__ = [
    "GRACE",
    "Garbage",
    "Judged",
    "Prefetched",
    "Prefetching",
    "Removed",
    "Repair",
    "Verified",
    "adopt_files",
    "collect_garbage",
    "files_to_adopt",
    "judge",
    "look",
    "plan_collection",
    "refuse_root",
    "remove_release",
    "shown",
    "size_of_files",
    "walked",
]

__getattr__ = lazily(
    __name__,
    {
        "adopt": (
            "Judged",
            "adopt_files",
            "files_to_adopt",
            "judge",
            "look",
            "refuse_root",
            "shown",
            "size_of_files",
            "walked",
        ),
        "repair": ("Repair",),
        "verify": ("Verified",),
    },
)
