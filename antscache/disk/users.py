"""Names of users, groups and processes of this host, for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def owner_of(path: Path) -> str:
    """The name of the user whose `path` is, or their number."""
    try:
        return user_name(path.lstat().st_uid)
    except OSError:
        return "nobody"


def user_name(number: int) -> str:
    """The name of a user, or the number where it has no name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def group_name(number: int) -> str:
    """The name of a group, or the number where it has no name."""
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"group {number}"


def process_name(pid: int, user: int) -> str:
    """How a process of this host is called, for people on any host."""
    return f"process {pid} of {user_name(user)} on {os.uname().nodename}"
