"""Names: tell what a name in a view or a home has to do with the blob that it should lead to; change nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

NameKind = Literal["linked", "apart", "other"]


def compare_name(path: Path, blob: Path) -> NameKind:
    """Compare what a view has at `path` with its `blob`, by their status and not their bytes.

    Returns:
        "linked" if it is the blob itself, under a second name or by a symlink. "apart" if it is a file of its own with
        the size and the time of the blob: a clone, or a copy that a copied root has in place of a link. Else "other".
    """
    try:
        status, expected = path.stat(), blob.stat()
    except OSError:
        return "other"
    if os.path.samestat(status, expected):
        return "linked"
    unchanged = (status.st_size, status.st_mtime_ns) == (expected.st_size, expected.st_mtime_ns)
    return "apart" if unchanged and not path.is_symlink() else "other"


def leads_to(path: Path, blob: Path, *, ours: bool) -> bool:
    """Return True if `path` has the bytes of `blob`.

    In a view (`ours`) it has unless `compare_name` says "other". In somebody's home a symlink does not count, and the
    bytes of another file are compared.
    """
    if ours:
        return compare_name(path, blob) != "other"
    try:
        status, expected = path.lstat(), blob.stat()
    except OSError:
        return False
    if os.path.samestat(status, expected):
        return True
    if status.st_size != expected.st_size or path.is_symlink():
        return False
    import filecmp

    return filecmp.cmp(path, blob, shallow=False)
