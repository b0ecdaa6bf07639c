"""Files that are whole or absent, and facts about a host's disks and users. All metadata is written through here.

files.py        write, publish and replace small files; directories; clones
refusals.py     turn a disk's refusal into a StoreError with a remedy
hashing.py      read a file and hash its bytes
locks.py        advisory locks by name, held by filelock
mounts.py       tell which directories outlive a container
mount_notes.py  notes of the mounts that directories were on
space.py        free space on a disk
users.py        names of users, groups and processes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.disk.files import (
    DECODE_ERRORS,
    READ_ONLY_MODE,
    SAFE_OPEN_FLAGS,
    SHARED_DIRECTORY_MODE,
    SHARED_FILE_MODE,
    UNSUPPORTED_ERRNOS,
    WRITABLE_MODE,
    can_rename,
    clone,
    create,
    date_anew,
    filesystem_time,
    make_directory,
    may_clone,
    move_new,
    open_in_place,
    publish,
    read,
    refuse_links,
    replace,
    sync_directory,
    temporary_path,
    write_all,
)
from antscache.disk.hashing import hash_file, open_regular, opened
from antscache.disk.mount_notes import find_lost_mount, note_mount
from antscache.disk.mounts import is_mounted, is_persistent
from antscache.disk.refusals import HINTS, is_full, store_errors
from antscache.disk.space import DEFAULT_BLOCK_BYTES, disk_space, free_space
from antscache.disk.users import group_name, is_own, owner_of, process_name, user_name
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.disk.locks import Locks

__all__ = [
    "DECODE_ERRORS",
    "DEFAULT_BLOCK_BYTES",
    "HINTS",
    "READ_ONLY_MODE",
    "SAFE_OPEN_FLAGS",
    "SHARED_DIRECTORY_MODE",
    "SHARED_FILE_MODE",
    "UNSUPPORTED_ERRNOS",
    "WRITABLE_MODE",
    "Locks",
    "can_rename",
    "clone",
    "create",
    "date_anew",
    "disk_space",
    "filesystem_time",
    "find_lost_mount",
    "free_space",
    "group_name",
    "hash_file",
    "is_full",
    "is_mounted",
    "is_own",
    "is_persistent",
    "make_directory",
    "may_clone",
    "move_new",
    "note_mount",
    "open_in_place",
    "open_regular",
    "opened",
    "owner_of",
    "process_name",
    "publish",
    "read",
    "refuse_links",
    "replace",
    "store_errors",
    "sync_directory",
    "temporary_path",
    "user_name",
    "write_all",
]

__getattr__ = lazily(
    __name__,
    {
        "locks": ("Locks",),
    },
)
