"""The free space on a disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_BLOCK_BYTES = 4096  # for a disk that does not tell the size of its blocks


def disk_space(directory: Path) -> tuple[int | None, int]:
    """Return the free space for this user on the disk of `directory`, and the size of its blocks, both in bytes.

    The directory need not exist. The free space is None if the disk does not tell it.
    """
    for place in (directory, *directory.parents):
        try:
            status = os.statvfs(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
        # A disk that does not know says 0 of 0. A read-only one may say 0 free; its own error is clearer than "full".
        if status.f_blocks and not status.f_flag & os.ST_RDONLY:
            return status.f_bavail * status.f_frsize, status.f_frsize
        break
    return None, DEFAULT_BLOCK_BYTES


def free_space(directory: Path) -> int | None:
    """Return the free bytes for this user on the disk of `directory`, or None; as `disk_space` does."""
    return disk_space(directory)[0]
