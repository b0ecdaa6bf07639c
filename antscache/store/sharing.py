"""Sharing a root: opening to a group the files and directories that its owner has made before.

Those that are made in a shared root have the modes of `disk/files.py`. Older ones have modes by the owner's umask, and
get the right ones here. Nothing that belongs to another user is changed, and no link is followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISGID, S_ISREG, S_IXGRP, S_IXOTH
from typing import TYPE_CHECKING

from antscache import disk
from antscache.disk import (
    READ_ONLY_MODE,
    SAFE_OPEN_FLAGS,
    SHARED_DIRECTORY_MODE,
    SHARED_FILE_MODE,
    store_errors,
)
from antscache.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from antscache.core import Layout


def group_number(name: str) -> int:
    """Return the number of the group `name`.

    Raises:
        ConfigError: no group has that name.
    """
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"there is no group {name} on this host", hint="run `id` to see your groups") from None


def give_to_group(root: Path, group: int | None) -> None:
    """Give the directory `root` to the group, and with it all files that will be made there.

    Args:
        root: a directory.
        group: the group's number; None for the one that `root` has.

    Raises:
        StoreError: `root` belongs to another user, or you are not in the group; it is as it was.
    """
    with store_errors(f"cannot share {root}"):
        before = root.stat()
    if before.st_uid != os.geteuid():
        owner = disk.owner_of(root)
        raise StoreError(
            f"{root} is {owner}'s, and only its owner can share it",
            hint=f"ask {owner} to run `antscache init --shared --root {root}`, or name a new directory with --root",
        )
    try:
        if group is not None and group != before.st_gid:
            os.chown(root, -1, group)
        root.chmod(SHARED_DIRECTORY_MODE)
        member = bool(root.stat().st_mode & S_ISGID)  # chmod leaves it out without an error if you are not a member
    except PermissionError:
        member = False
    if not member:
        name = disk.group_name(before.st_gid if group is None else group)
        with store_errors(f"cannot share {root}"):
            os.chown(root, -1, before.st_gid)
            root.chmod(S_IMODE(before.st_mode))
        raise StoreError(
            f"you are not in the group {name}, so you cannot share {root} with it",
            hint="name one of your groups with --group; `id` lists them",
        )


def share(layout: Layout) -> list[Path]:
    """Let everybody read what you own below the root, and its group write to the directories.

    The group may also write to the index and to the files in the directory of locks.

    Args:
        layout: the layout of a root that belongs to the group already.

    Returns:
        The paths that belong to other users; they stay as they are.

    Raises:
        OSError: the disk refused.
    """
    group, others = layout.root.stat().st_gid, []
    for directory, _, files, descriptor in os.fwalk(layout.root, onerror=_raise, follow_symlinks=False):
        place = Path(directory)
        is_locks = place == layout.locks
        if not _open(descriptor, group, SHARED_DIRECTORY_MODE):
            others.append(place)
        for name in files:
            try:
                file = os.open(name, os.O_RDONLY | SAFE_OPEN_FLAGS, dir_fd=descriptor)
            except OSError:  # a link, or a file of others that cannot be read
                if not (place / name).is_symlink():
                    others.append(place / name)
                continue
            try:
                if not _open(
                    file, group, SHARED_FILE_MODE if is_locks or place / name == layout.index else READ_ONLY_MODE
                ):
                    others.append(place / name)
            finally:
                os.close(file)
    return others


def find_impassable_parent(root: Path) -> Path | None:
    """Return a directory above `root` that the group cannot pass, or None if there is none."""
    group = root.stat().st_gid
    for directory in root.parents:
        status = directory.stat()
        if not status.st_mode & (S_IXGRP if status.st_gid == group else S_IXOTH):
            return directory
    return None


def _open(descriptor: int, group: int, mode: int) -> bool:
    """Give an open file or directory the group and mode that members need; False if it belongs to another user.

    A file that members only read, or that has a second name, keeps its own bits too. A directory that has the mode of
    any shared directory keeps it: so does the one of locks in an older root.
    """
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        return False
    before = S_IMODE(status.st_mode)
    if S_ISDIR(status.st_mode):
        mode = before if before == SHARED_DIRECTORY_MODE else mode
    elif S_ISREG(status.st_mode):
        mode = mode if mode == SHARED_FILE_MODE and status.st_nlink == 1 else before | READ_ONLY_MODE
    else:
        return True
    if status.st_gid != group:
        os.fchown(descriptor, -1, group)
    if before != mode:
        os.fchmod(descriptor, mode)
    return True


def _raise(error: OSError) -> None:
    raise error
