"""Where a directory is mounted: whether what is written there outlives a container.

From proc(5), /proc/self/mountinfo: number, parent, device, root, mount point, options, optional fields, "-", type, ...
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

TABLE = Path("/proc/self/mountinfo")
LINE = re.compile(r"\S+ \S+ \S+ \S+ (\S+) .* - (\S+)")
PASSING = {"tmpfs", "ramfs"}  # types of what is gone with the container, or with the power


class Mount(NamedTuple):
    """A mount: where, and of which type."""

    point: str
    type: str


def mounts(table: str) -> list[Mount]:
    """What a table says, in its order; lines that are none are passed over."""
    return [Mount(_plain(line[1]), line[2]) for line in map(LINE.match, table.splitlines()) if line]


def _plain(text: str) -> str:
    """`text` without the octal escapes that stand for blanks and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_of(path: str, table: str) -> Mount | None:
    """The mount that `path` (absolute, without links) is on: the last one that covers it."""
    found = None
    for mount in mounts(table):
        below = mount.point.rstrip("/") + "/"
        if (path + "/").startswith(below) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def outlives(directory: Path) -> bool:
    """Whether `directory`, there or not, is on a mount of its own that keeps what is written; True if nobody can tell.

    In a container what is not mounted is in the container's own layer, and gone with it.
    """
    mount = _mount(directory)
    return mount is None or (mount.point != "/" and mount.type not in PASSING)


def is_mounted(directory: Path) -> bool:
    """Whether something that keeps what is written is mounted at `directory` itself."""
    mount = _mount(directory)
    return mount is not None and mount.point == str(directory.resolve()) and mount.type not in PASSING


def _mount(directory: Path) -> Mount | None:
    try:
        return mount_of(str(directory.resolve()), TABLE.read_text(errors="surrogateescape"))
    except (OSError, RuntimeError):
        return None
