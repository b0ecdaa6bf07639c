"""The mounts that directories are on, to tell which directories outlive a container, or have gone with a disk.

From proc(5), /proc/self/mountinfo: number, parent, device, root, mount point, options, optional fields, "-", type, ...
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOUNT_TABLE = Path("/proc/self/mountinfo")
MOUNT_LINE = re.compile(r"\S+ \S+ \S+ \S+ (\S+) .* - (\S+)")
VOLATILE_TYPES = {"tmpfs", "ramfs"}  # filesystems that are lost with the container, or with the power


class Mount(NamedTuple):
    """A mounted filesystem: its mount point and its type."""

    point: str
    type: str


def parse_mounts(table: str) -> list[Mount]:
    """Return the mounts in `table`, in its order; skip lines of another form."""
    return [Mount(_plain(line[1]), line[2]) for line in map(MOUNT_LINE.match, table.splitlines()) if line]


def _plain(text: str) -> str:
    """Replace the octal escapes in `text`, which stand for blanks and similar characters."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_of(path: str, table: str) -> Mount | None:
    """Return the mount that `path` (absolute, without links) is on: the deepest one, and of equal ones the last."""
    deepest = None
    for mount in parse_mounts(table):
        below = mount.point.rstrip("/") + "/"
        if (path + "/").startswith(below) and (deepest is None or len(mount.point) >= len(deepest.point)):
            deepest = mount
    return deepest


def is_persistent(directory: Path) -> bool:
    """Return True if `directory` outlives a container, or if that cannot be told; it need not exist.

    A directory that is on no mount but `/` is in the container's own layer, and lost with it. So is one on a tmpfs.
    """
    mount = _mount(directory)
    return mount is None or (mount.point != "/" and mount.type not in VOLATILE_TYPES)


def is_mounted(directory: Path) -> bool:
    """Return True if a filesystem that outlives the container is mounted at `directory` itself."""
    mount = _mount(directory)
    return mount is not None and mount.point == str(directory.resolve()) and mount.type not in VOLATILE_TYPES


def mount_point(directory: Path) -> str:
    """Return the mount point of the filesystem that `directory` is on, or would be on if it were made."""
    if mount := _mount(directory):
        return mount.point
    resolved = directory.resolve()  # without a table of mounts, as on macOS
    return str(next(path for path in (resolved, *resolved.parents) if path.is_mount()))


def _mount(directory: Path) -> Mount | None:
    try:
        return mount_of(str(directory.resolve()), MOUNT_TABLE.read_text(errors="surrogateescape"))
    except (OSError, RuntimeError):
        return None
