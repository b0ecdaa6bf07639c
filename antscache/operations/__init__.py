"""Whole jobs over the store and its views.

prefetch.py     make entries present, verified and linked
lock.py         write down which bytes a selection has; plan exactly these
provide.py      one file for a program that asks for it, where the program wants it
adopt.py        take over an existing directory of ANTsPyNet's
adoptable.py    decide which of its files are files of the release
confirm.py      ask origins about the files that a user vouches for
forget.py       take a record back
scans.py        scan networks for what no checksum shows
verify.py       read everything again and compare it
survey.py       list the files that should be there
repair.py       mend what verify found
remove.py       take a release out of use
gc.py           delete blobs that no ref reaches
cite.py         state which files were used
error_texts.py  the errors of a plan that cannot be carried out, and their texts (pure)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily
from antscache.operations.gc import GRACE_SECONDS, Garbage, collect_garbage, collect_now
from antscache.operations.prefetch import Prefetched, check_space, make_plan, plan_choice, plan_need, prefetch_plan

if TYPE_CHECKING:
    from antscache.operations.adopt import adopt_directory
    from antscache.operations.adoptable import Judged, files_to_adopt, size_of_files
    from antscache.operations.cite import cite_used
    from antscache.operations.forget import Forgotten, forget_identifier
    from antscache.operations.lock import (
        FollowedLock,
        Measured,
        follow_lock,
        lock_release,
        measure_release,
        plan_lockfile,
        plan_usage,
        read_lockfile,
        write_lockfile,
    )
    from antscache.operations.provide import files_in_user_home, provide_file
    from antscache.operations.remove import Removed, remove_release
    from antscache.operations.repair import repair_root
    from antscache.operations.scans import HeldNetwork, find_held_networks, keras_versions
    from antscache.operations.verify import Verified, list_sums, verify_root

__all__ = [
    "GRACE_SECONDS",
    "FollowedLock",
    "Forgotten",
    "Garbage",
    "HeldNetwork",
    "Judged",
    "Measured",
    "Prefetched",
    "Removed",
    "Verified",
    "adopt_directory",
    "check_space",
    "cite_used",
    "collect_garbage",
    "collect_now",
    "files_in_user_home",
    "files_to_adopt",
    "find_held_networks",
    "follow_lock",
    "forget_identifier",
    "keras_versions",
    "list_sums",
    "lock_release",
    "make_plan",
    "measure_release",
    "plan_choice",
    "plan_lockfile",
    "plan_need",
    "plan_usage",
    "prefetch_plan",
    "provide_file",
    "read_lockfile",
    "remove_release",
    "repair_root",
    "size_of_files",
    "verify_root",
    "write_lockfile",
]

__getattr__ = lazily(
    __name__,
    {
        "adopt": ("adopt_directory",),
        "adoptable": ("Judged", "files_to_adopt", "size_of_files"),
        "cite": ("cite_used",),
        "forget": ("Forgotten", "forget_identifier"),
        "scans": ("HeldNetwork", "find_held_networks", "keras_versions"),
        "lock": (
            "FollowedLock",
            "Measured",
            "follow_lock",
            "lock_release",
            "measure_release",
            "plan_lockfile",
            "plan_usage",
            "read_lockfile",
            "write_lockfile",
        ),
        "provide": ("files_in_user_home", "provide_file"),
        "remove": ("Removed", "remove_release"),
        "repair": ("repair_root",),
        "verify": ("Verified", "list_sums", "verify_root"),
    },
)
