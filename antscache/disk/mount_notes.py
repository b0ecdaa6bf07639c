"""Notes of the mounts that your directories were on, so that a directory is missed when its disk is not mounted.

    <state>/mounts/<sha256 of the directory's path>    the mount point that the directory was on, in UTF-8

`<state>` is the user's state directory (platformdirs). Notes help and are never needed: one that cannot be written or
read counts as none. There is none for a directory on `/`, which is always mounted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from antscache.disk.files import temporary_path
from antscache.disk.mounts import mount_point

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS_MOUNTED = "/"
MAX_NOTE_BYTES = 4096  # PATH_MAX of Linux


def note_mount(state: Path, directory: Path) -> None:
    """Note in `state` the mount that `directory` is on, unless it is noted already."""
    point, note = mount_point(directory), _note(state, directory)
    with suppress(OSError):
        if point == ALWAYS_MOUNTED:
            note.unlink(missing_ok=True)
        elif _read(note) != point:
            note.parent.mkdir(parents=True, exist_ok=True)
            staged = temporary_path(note.parent)
            staged.write_text(point, "utf-8", "surrogateescape")
            staged.replace(note)


def find_lost_mount(state: Path, directory: Path) -> str | None:
    """Return the mount point that `directory` was on when it was noted; None if it would be on that mount again."""
    with suppress(OSError):
        noted = _read(_note(state, directory))
        if noted and noted != mount_point(directory):
            return noted
    return None


def _read(note: Path) -> str:
    with suppress(FileNotFoundError), note.open("rb") as file:
        return file.read(MAX_NOTE_BYTES).decode("utf-8", "surrogateescape")
    return ""


def _note(state: Path, directory: Path) -> Path:
    return state / "mounts" / sha256(os.fsencode(directory)).hexdigest()
