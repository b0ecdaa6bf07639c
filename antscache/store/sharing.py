"""A root that a group shares: what was there before is opened to it.

What is made from then on has the modes of `disk/files.py`. Here are those of what was made under one's own umask.
Nothing of anybody else's is changed, and no link is followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISGID, S_ISREG, S_IXGRP, S_IXOTH
from typing import TYPE_CHECKING

from antscache import disk
from antscache.disk import READ_ONLY, SHARED_DIRECTORY, SHARED_FILE, SHARED_LOCKS, UNTRAPPED, store_errors
from antscache.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from antscache.core import Layout


def group_number(name: str) -> int:
    """The number of the group `name`.

    Raises:
        ConfigError: there is none of that name.
    """
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"there is no group {name} on this host", hint="`id` tells which groups you are in") from None


def open_to(root: Path, group: int | None) -> None:
    """The directory `root` is the group's, and what is made in it will be.

    Args:
        root: a directory.
        group: its number; None for the one that `root` has.

    Raises:
        StoreError: `root` is somebody else's, or you are not in the group; it is as it was.
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
        root.chmod(SHARED_DIRECTORY)
        member = bool(root.stat().st_mode & S_ISGID)  # whoever is not in the group cannot set it, and is not told
    except PermissionError:
        member = False
    if not member:
        name = disk.group_name(before.st_gid if group is None else group)
        with store_errors(f"cannot share {root}"):
            os.chown(root, -1, before.st_gid)
            root.chmod(S_IMODE(before.st_mode))
        raise StoreError(
            f"you are not in the group {name}, so you cannot share {root} with it",
            hint="name one that `id` lists with --group",
        )


def share(layout: Layout) -> list[Path]:
    """What is ours below the root can be read by everybody, and its directories written to by their group.

    So can the files that members write to: the index, and what is in the directory of locks.

    Args:
        layout: of the root, which is the group's already.

    Returns:
        What is others', and stays as it is.

    Raises:
        OSError: the disk refused.
    """
    group, others = layout.root.stat().st_gid, []
    for directory, _, files, descriptor in os.fwalk(layout.root, onerror=_raise, follow_symlinks=False):
        place = Path(directory)
        is_locks = place == layout.locks
        if not _open(descriptor, group, SHARED_LOCKS if is_locks else SHARED_DIRECTORY):
            others.append(place)
        for name in files:
            try:
                file = os.open(name, os.O_RDONLY | UNTRAPPED, dir_fd=descriptor)
            except OSError:  # a link, or a file of others that cannot be read
                if not (place / name).is_symlink():
                    others.append(place / name)
                continue
            try:
                if not _open(file, group, SHARED_FILE if is_locks or place / name == layout.index else READ_ONLY):
                    others.append(place / name)
            finally:
                os.close(file)
    return others


def closed(root: Path) -> Path | None:
    """A directory above `root` that the group cannot pass, if there is one."""
    group = root.stat().st_gid
    for directory in root.parents:
        status = directory.stat()
        if not status.st_mode & (S_IXGRP if status.st_gid == group else S_IXOTH):
            return directory
    return None


def _open(descriptor: int, group: int, mode: int) -> bool:
    """Give an open file or directory the group and mode that members need; False if it is somebody else's.

    What is only read, or has a second name, keeps the bits that it has. So does a directory that has the mode of any
    shared one: that of locks in an older root.
    """
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        return False
    before = S_IMODE(status.st_mode)
    if S_ISDIR(status.st_mode):
        mode = before if before == SHARED_DIRECTORY else mode
    elif S_ISREG(status.st_mode):
        mode = mode if mode == SHARED_FILE and status.st_nlink == 1 else before | READ_ONLY
    else:
        return True
    if status.st_gid != group:
        os.fchown(descriptor, -1, group)
    if before != mode:
        os.fchmod(descriptor, mode)
    return True


def _raise(error: OSError) -> None:
    raise error
