"""Put a file into a place outside the root, where a program may write to it: no blob changes with it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from antscache import disk
from antscache.errors import IntegrityError
from antscache.views.links import LINK_MAKERS

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Descriptor


def put_file(source: Path, path: Path, blob: Descriptor) -> None:
    """Give the file at `path` the bytes at `source`, which are `blob`: by a clone, else by a copy.

    The new file is read again, and renamed into place: a reader sees the old file or the new one, never a part. A link
    at `path` is replaced, not followed. Any number of processes may do this at once.

    Raises:
        IntegrityError: the bytes at `source` are not `blob`; `path` is unchanged.
        OSError: the disk refused; `path` is unchanged.
    """
    disk.make_directory(path.parent)
    staged = disk.temporary_path(path.parent)
    try:
        _clone_or_copy(source, staged)
        if disk.hash_file(staged) != blob:
            raise IntegrityError(f"{source} is damaged: not {blob.digest}", hint="run `antscache verify --repair`")
        staged.replace(path)
    finally:
        with suppress(OSError):
            staged.unlink()
    disk.sync_directory(path.parent)


def _clone_or_copy(source: Path, staged: Path) -> None:
    try:
        LINK_MAKERS["reflink"](source, staged)
    except OSError as error:
        if error.errno not in disk.UNSUPPORTED_ERRNOS:
            raise
        staged.unlink()
        LINK_MAKERS["copy"](source, staged)
