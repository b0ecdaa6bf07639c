"""Turn the refusals of a disk into StoreErrors whose hints say what to do."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANOTHER_ROOT = "name another root with --root or ANTSCACHE_DIR"
HINTS = {
    errno.ENOSPC: f"the disk is full: free some space, or {ANOTHER_ROOT}; then run the command again",
    errno.EDQUOT: f"your quota is used up: free some space, or {ANOTHER_ROOT}",
    errno.EROFS: f"the root is on a read-only filesystem: {ANOTHER_ROOT}",
    errno.EACCES: f"you have no permission: ask its owner, or {ANOTHER_ROOT}",
    errno.EPERM: f"you have no permission: ask its owner, or {ANOTHER_ROOT}",
    errno.EXDEV: "move the whole root to one filesystem, and link or mount that (docs/upkeep.md)",
    errno.ENOTDIR: "name a directory with --root or ANTSCACHE_DIR",
    errno.EEXIST: "name a directory with --root or ANTSCACHE_DIR",
    errno.EISDIR: "a directory is in the place of a file: move it away",
    errno.ELOOP: "a symlink is in the place of a file or directory: remove it",
    errno.ENAMETOOLONG: f"the path is too long: {ANOTHER_ROOT}",
    # Limits of this process or host, for which the disk cannot be blamed.
    errno.EMFILE: "this process may not open more files: use fewer --jobs, or run `ulimit -n 1024` before",
    errno.ENFILE: "this host cannot open more files: end other programs, or use fewer --jobs",
    errno.EFBIG: f"larger files may not be written: run `ulimit -f unlimited` before, or {ANOTHER_ROOT}",
    errno.ENOMEM: "there is no memory left: end other programs, use fewer --jobs, or run `ulimit -v unlimited` before",
    errno.EAGAIN: "no other process or thread may be started: end others, use fewer --jobs, or raise `ulimit -u`",
}


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
    hint = HINTS.get(error.errno or 0, f"check the disk, or {ANOTHER_ROOT}")
    return StoreError(f"{what}: {error.strerror or error}", hint=hint)
