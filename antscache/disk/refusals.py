"""Turn the refusals of a disk into StoreErrors whose hints say what to do."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_full(error: StoreError) -> bool:
    """Return True if `error` says that the disk is full or a quota is used up."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn an OSError into a StoreError: 'WHAT: reason'. Wrap only calls that touch the disk and nothing else."""
    try:
        yield
    except OSError as error:
        raise _store_error(what, error) from error


def _store_error(what: str, error: OSError) -> StoreError:
    hints: dict[Any, str] = {
        errno.ENOSPC: "the disk is full: free some space, or name another root with --root; then run the command again",
        errno.EDQUOT: "your quota is used up: free some space, or name another root with --root",
        errno.EROFS: "the root is on a read-only filesystem: name another with --root or ANTSCACHE_DIR",
        errno.EACCES: "you have no permission: ask its owner, or name another root with --root or ANTSCACHE_DIR",
        errno.EPERM: "you have no permission: ask its owner, or name another root with --root or ANTSCACHE_DIR",
        errno.EXDEV: "move the whole root to one filesystem, and link or mount that (docs/upkeep.md)",
        errno.ENOTDIR: "name a directory with --root or ANTSCACHE_DIR",
        errno.EEXIST: "name a directory with --root or ANTSCACHE_DIR",
    }
    hint = hints.get(error.errno, "check the disk, or name another root with --root or ANTSCACHE_DIR")
    return StoreError(f"{what}: {error.strerror or error}", hint=hint)
