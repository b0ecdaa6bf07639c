"""Names of users, groups and processes of this host, for messages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def owner_of(path: Path) -> str:
    """Return the name of the owner of `path`, as `user_name` does; 'nobody' if the owner cannot be read."""
    try:
        return user_name(path.lstat().st_uid)
    except OSError:
        return "nobody"


def is_own(path: Path | str) -> bool:
    """Return True if `path` is yours, or cannot be looked at."""
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return True


def user_name(number: int) -> str:
    """Return the name of a user, or 'user NUMBER' if the number has no name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def group_name(number: int) -> str:
    """Return the name of a group, or 'group NUMBER' if the number has no name."""
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"group {number}"


def process_name(pid: int, user: int) -> str:
    """Return a description of a process of this host: its number, its user and the host."""
    return f"process {pid} of {user_name(user)} on {os.uname().nodename}"
