"""How much room a disk has for us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096  # bytes: where the disk does not say in what units it gives space


def disk_space(directory: Path) -> tuple[int | None, int]:
    """The bytes that the disk of `directory`, which need not be there, has for us, and in what units."""
    for place in (directory, *directory.parents):
        try:
            found = os.statvfs(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
        # One that does not know says 0 of 0; one that is read-only may say 0 free, and is refused for what it is.
        if found.f_blocks and not found.f_flag & os.ST_RDONLY:
            return found.f_bavail * found.f_frsize, found.f_frsize
        break
    return None, BLOCK


def free_space(directory: Path) -> int | None:
    """The bytes that the disk of `directory`, which need not be there, has for us; None where it does not say."""
    return disk_space(directory)[0]
