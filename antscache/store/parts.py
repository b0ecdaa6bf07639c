"""The root and its parts, its directories: which of them may be links or mounts, and whether their disks are there.

A file is written in `ingest/` and then renamed to its place, and a condemned blob is renamed to `trash/`. So these
parts must be on one filesystem, under one mount. `views/` and `locks/` may be elsewhere. A link that leads nowhere, as
to a disk that is not mounted, never counts as an empty directory: without refs, all of a root would look like garbage.
"""

from __future__ import annotations

import shlex
from stat import S_ISDIR
from typing import TYPE_CHECKING

from antscache import disk
from antscache.disk import store_errors
from antscache.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Layout


def refuse_unusable_parts(layout: Layout) -> None:
    """Check that no directory of the root is a link that leads nowhere, or a file.

    Raises:
        StoreError: one is. The error names it.
    """
    needed = {step for path in layout.directories[1:] for step in (path.parent, path)} - {layout.root}
    directories = (*layout.directories, *layout.optional_directories)
    for part in dict.fromkeys((layout.root, *(step for path in directories for step in (path.parent, path)))):
        mode = _mode_of(part)
        if mode is not None and part in needed and not S_ISDIR(mode):
            hint = "move it away: it is in the place of a part of the root"
            raise StoreError(f"{part} is not a directory", hint=hint)


def _mode_of(part: Path) -> int | None:
    """Return the mode of what `part` is or leads to; None if that cannot be seen, which the first use of it reports.

    Raises:
        StoreError: it is a link that leads nowhere.
    """
    try:
        return part.stat().st_mode
    except FileNotFoundError:
        if part.is_symlink():
            raise StoreError(
                f"{part} is a link to {part.readlink()}, which is not there",
                hint="mount the disk that it leads to, or remove the link",
            ) from None
    except OSError:
        pass
    return None


def refuse_lost_root(layout: Layout, state: Path) -> None:
    """Check that you have not written to a root at this path that was on a disk which is not mounted now.

    A root that was deleted is not missed: its disk is still there, and a cache may be deleted.

    Args:
        layout: of the root, which is not there.
        state: your directory for notes.

    Raises:
        StoreError: you have.
    """
    if point := disk.find_lost_mount(state, layout.root):
        raise StoreError(
            f"there is no root at {layout.root}, and the one that you wrote to was on the disk at {point}",
            hint=f"mount that disk; or run `antscache init --root {shlex.quote(str(layout.root))}` for a new root",
        )


def refuse_links(layout: Layout) -> None:
    """Check that no directory of a shared root is a link, because members would write through it.

    Raises:
        StoreError: one is.
    """
    for directory in (*layout.directories[1:], *layout.optional_directories):
        with store_errors(f"cannot use the shared root {layout.root}"):
            disk.refuse_links(directory, layout.root)


def refuse_separate_parts(layout: Layout) -> None:
    """Check that files can be renamed from `ingest/` to all parts of the root but `views/` and `locks/`.

    Raises:
        StoreError: they cannot.
    """
    for directory in (layout.root, layout.blobs, layout.records, layout.refs, *layout.optional_directories):
        with store_errors(f"cannot read {directory}"):
            is_there = layout.ingest.exists() and directory.exists()
            separate = is_there and not disk.can_rename(layout.ingest, directory)
        if separate:
            raise StoreError(
                f"{layout.ingest} and {directory} are on different filesystems or mounts, "
                "and antscache moves files between them",
                hint="move the whole root to one filesystem, and link or mount that (docs/upkeep.md)",
            )
