"""Files whole or absent, and what a host's disks and users are: the only way metadata gets onto a disk.

files.py      write, publish and replace small files; directories; clones
refusals.py   what a disk refuses, as a StoreError with a remedy
hashing.py    read a file again: what its bytes are
locks.py      who is at what: advisory locks, held by filelock
mounts.py     whether what is written outlives a container
space.py      how much room a disk has
users.py      names of users, groups and processes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.disk.files import (
    DAMAGED,
    READ_ONLY,
    SHARED_DIRECTORY,
    SHARED_FILE,
    SHARED_LOCKS,
    UNSUPPORTED,
    UNTRAPPED,
    WRITABLE,
    clone,
    create,
    make_directory,
    move_new,
    open_in_place,
    publish,
    read,
    refuse_links,
    replace,
    sync_directory,
    temporary,
)
from antscache.disk.hashing import hash_file, open_regular
from antscache.disk.mounts import is_mounted, outlives
from antscache.disk.refusals import is_full, store_errors
from antscache.disk.space import BLOCK, disk_space, free_space
from antscache.disk.users import group_name, owner_of, process_name, user_name
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.disk.locks import Locks

__all__ = [
    "BLOCK",
    "DAMAGED",
    "READ_ONLY",
    "SHARED_DIRECTORY",
    "SHARED_FILE",
    "SHARED_LOCKS",
    "UNSUPPORTED",
    "UNTRAPPED",
    "WRITABLE",
    "Locks",
    "clone",
    "create",
    "disk_space",
    "free_space",
    "group_name",
    "hash_file",
    "is_full",
    "is_mounted",
    "make_directory",
    "move_new",
    "open_in_place",
    "open_regular",
    "outlives",
    "owner_of",
    "process_name",
    "publish",
    "read",
    "refuse_links",
    "replace",
    "store_errors",
    "sync_directory",
    "temporary",
    "user_name",
]

__getattr__ = lazily(
    __name__,
    {
        "locks": ("Locks",),
    },
)
