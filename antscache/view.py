"""Views: names back onto blobs.

    <home>/.keras/ANTsXNet/<file>     antspynet's data and networks
    <home>/.antspy/<file>             antspyx's example files

A view is derived and can be made again. A link is made under a random name and renamed into place, so that a reader
sees the old file or the new one, never none, never a part, never a dangling link. Inside the root a link is a reflink
where the filesystem has it, else a hard link, else a relative symlink. Outside, nothing points out of the home: a
reflink, a hard link, or a copy.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antscache import durable
from antscache.errors import ViewError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from antscache.config import LinkMode

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

# What says "this filesystem (or this pair of them) does not do that", and is no reason to stop trying other modes.
UNSUPPORTED = durable.NO_HARD_LINK | {errno.ENOTTY, errno.EBADF, errno.ETXTBSY}
# Of these, what will not be otherwise for the next file: the filesystem of the directory does not know the mode. That
# a blob is on another filesystem (EXDEV) says nothing about the next blob.
UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS})
INSIDE: tuple[LinkMode, ...] = ("reflink", "hardlink", "symlink")
OUTSIDE: tuple[LinkMode, ...] = ("reflink", "hardlink", "copy")


@dataclass(slots=True)
class Linked:
    """What linking did: how many names were made in which mode, and how many were right already.

    Attributes:
        refusal: why a mode that would have shared the bytes better was not used, if it was not.
    """

    modes: Counter[LinkMode] = field(default_factory=Counter)
    intact: int = 0
    refusal: str | None = None


def link(directory: Path, files: Mapping[str, Path], modes: Sequence[LinkMode], *, ours: bool) -> Linked:
    """Each name of `files` in `directory` leads to the bytes of its blob.

    Args:
        directory: made if it is not there.
        files: file name -> the blob's path.
        modes: how to link, the best first; the first that the filesystem does is used.
        ours: whether these names belong to antscache in `directory` and may be replaced. If not, a file that is
            there must have the same bytes.

    Raises:
        ViewError: a name is taken by something that is not ours (nothing was changed), or the disk refused, or no mode
            works here.
    """
    linked = Linked()
    try:
        durable.make_directory(directory)
        wanted = {}
        for name, blob in files.items():
            if _leads_to(directory / name, blob, ours=ours):
                linked.intact += 1
            else:
                wanted[name] = blob
        if not ours:
            _refuse_if_taken(directory, wanted)
        usable = list(modes)
        for name, blob in wanted.items():
            _link(directory / name, blob, usable, linked)
    except OSError as error:
        raise ViewError(
            f"cannot link into {directory}: {error.strerror or error}",
            hint="see that there is space and that you may write there, then run the command again",
        ) from error
    return linked


def missing(directory: Path, files: Mapping[str, Path]) -> list[str]:
    """The names of `files` that do not lead to the bytes of their blob in `directory`, which is a view's."""
    return [name for name, blob in files.items() if not _leads_to(directory / name, blob, ours=True)]


def _leads_to(path: Path, blob: Path, *, ours: bool) -> bool:
    """Whether `path` has the bytes of `blob`: the same file, or a clone that nobody has written to since.

    In a directory that is not ours the bytes are compared.
    """
    try:
        there, expected = path.stat(), blob.stat()
    except OSError:
        return False
    if os.path.samestat(there, expected):
        return ours or not path.is_symlink()
    if there.st_size != expected.st_size or path.is_symlink():
        return False
    if ours:
        return there.st_mtime_ns == expected.st_mtime_ns
    import filecmp

    return filecmp.cmp(path, blob, shallow=False)


def _refuse_if_taken(directory: Path, names: Mapping[str, Path]) -> None:
    taken = [name for name in names if os.path.lexists(directory / name)]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ViewError(
            f"{directory} already has other bytes under {taken[0]}{more}; nothing was changed",
            hint="link into an empty directory, or remove those files first",
        )


def _link(path: Path, blob: Path, modes: list[LinkMode], linked: Linked) -> None:
    """Make `path` lead to `blob` in the first of `modes` that works; those that cannot work here are taken out."""
    staged = durable.temporary(path.parent)
    for mode in tuple(modes):
        try:
            MAKE[mode](blob, staged)
        except OSError as error:
            with suppress(FileNotFoundError):
                staged.unlink()
            if error.errno not in UNSUPPORTED:
                raise
            linked.refusal = f"{mode} refused: {error.strerror}"
            if error.errno in UNKNOWN:
                modes.remove(mode)
            continue
        try:
            staged.replace(path)
        finally:
            with suppress(FileNotFoundError):  # renaming a hard link onto its own file leaves both names
                staged.unlink()
        linked.modes[mode] += 1
        return
    raise ViewError(
        f"cannot link {path} to {blob}: {linked.refusal}", hint="it does not work here; try --link-mode auto"
    )


def _reflink(blob: Path, staged: Path) -> None:
    """A clone that shares the blob's bytes on disk and can be written to without changing it."""
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "no reflinks on this platform")
    import fcntl

    descriptor = durable.create(staged, durable.READ_ONLY)
    try:
        with blob.open("rb") as source:
            fcntl.ioctl(descriptor, FICLONE, source.fileno())
    finally:
        os.close(descriptor)
    _same_time(blob, staged)


def _hardlink(blob: Path, staged: Path) -> None:
    os.link(blob, staged)


def _symlink(blob: Path, staged: Path) -> None:
    staged.symlink_to(os.path.relpath(blob, staged.parent.resolve()))


def _copy(blob: Path, staged: Path) -> None:
    import shutil

    with os.fdopen(durable.create(staged, durable.READ_ONLY), "wb") as target, blob.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    _same_time(blob, staged)


def _same_time(blob: Path, staged: Path) -> None:
    """Give a clone its blob's time of change, by which it is recognised as untouched."""
    found = blob.stat()
    os.utime(staged, ns=(found.st_mtime_ns, found.st_mtime_ns))


MAKE: dict[LinkMode, Callable[[Path, Path], None]] = {
    "reflink": _reflink,
    "hardlink": _hardlink,
    "symlink": _symlink,
    "copy": _copy,
}
