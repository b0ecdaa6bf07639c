"""Views: names back onto blobs.

    <home>/.keras/ANTsXNet/<file>     antspynet's data and networks
    <home>/.antspy/<file>             antspyx's example files

A view is derived and can be made again. A link is made under a random name and renamed into place, so that a reader
sees the old file or the new one, never none, never a part, never a dangling link. Inside the root a link is a reflink
where the filesystem has it, else a hard link, else a relative symlink; towards a lower cache an absolute symlink.
Outside, nothing points out of the home: a reflink, a hard link, or a copy.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import PACKAGES, home_directory
from antscache.errors import ViewError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path, PurePath

    from antscache.config import LinkMode

    Make = Callable[[Path, Path], None]

# Of what is not supported, what will not be otherwise for the next file: the filesystem of the directory does not know
# the mode. That a blob is on another filesystem (EXDEV) says nothing about the next blob.
UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS})
ABANDONED = 24 * 60 * 60  # seconds after which a name that is being made is nobody's
NOTHING: Mapping[str, Path] = {}
_STAGED = re.compile("[0-9a-f]{32}")  # as disk.temporary makes them; no file of a release is called so
INSIDE: tuple[LinkMode, ...] = ("reflink", "hardlink", "symlink")
OUTSIDE: tuple[LinkMode, ...] = ("reflink", "hardlink", "copy")


@dataclass(slots=True)
class Linked:
    """What linking did: how many names were made in which mode, and how many were right already.

    Attributes:
        below: how many names were made that lead into a lower cache.
        lost: the names whose blob, or the directory, was not there any more.
        refusal: why a mode that would have shared the bytes better was not used, if it was not.
    """

    modes: Counter[LinkMode] = field(default_factory=Counter)
    below: int = 0
    intact: int = 0
    lost: list[str] = field(default_factory=list)
    refusal: str | None = None


def link_view(
    directory: Path,
    files: Mapping[str, Path],
    modes: Sequence[LinkMode],
    *,
    below: Mapping[str, Path] = NOTHING,
    shared: Path | None = None,
) -> Linked:
    """Make each name of `files` in a view's `directory` lead to its blob. The names are ours and may be replaced.

    Args:
        directory: made if it is not there.
        files: file name -> the blob's path.
        modes: how to link, the best first; the first that the filesystem does is used.
        below: more names, whose blobs are in a lower cache: they become absolute symlinks to there.
        shared: the root that `directory` is below, if a group shares it: modes are what members need, and no directory
            on the way is a link.

    Raises:
        ViewError: the disk refused, or no mode works here.
    """
    linked = Linked()
    with _view_errors(directory):
        disk.make_directory(directory, shared)
        usable = {mode: MAKE[mode] for mode in modes}
        for name, blob in (*files.items(), *below.items()):
            path = directory / name
            if _leads_to(path, blob, ours=True):
                linked.intact += 1
            elif name in below:
                linked.below += _made(linked, path, blob, partial(_link_below, path, blob))
            else:
                _made(linked, path, blob, partial(_link, path, blob, usable, linked, shared=shared is not None))
    return linked


def link_home(
    directory: Path, files: Mapping[str, Path], modes: Sequence[LinkMode], *, below: Mapping[str, Path] = NOTHING
) -> Linked:
    """Give each name of `files` in `directory`, which is somebody's home, the bytes of its blob, and nothing else.

    Args:
        directory: made if it is not there. What has other names in it stays.
        files: file name -> the blob's path.
        modes: how to link, the best first; the first that the filesystem does is used.
        below: more names, whose blobs are in a lower cache: they are cloned or copied, because a hard link would change
            a lower cache, and be changed with it.

    Raises:
        ViewError: a name is taken by other bytes (nothing was changed), the disk refused, or no mode works here.
    """
    linked = Linked()
    with _view_errors(directory):
        disk.make_directory(directory)
        named = {**files, **below}
        wanted = {name: blob for name, blob in named.items() if not _leads_to(directory / name, blob, ours=False)}
        linked.intact = len(named) - len(wanted)
        _refuse_if_taken(directory, wanted)
        usable = {mode: MAKE[mode] for mode in modes}
        apart: dict[LinkMode, Make] = {mode: make for mode, make in usable.items() if mode != "hardlink"}
        for name, blob in wanted.items():
            path = directory / name
            _made(linked, path, blob, partial(_link, path, blob, apart if name in below else usable, linked))
    return linked


def _made(linked: Linked, path: Path, blob: Path, make: Callable[[], None]) -> bool:
    """Make a name; where its blob or its directory has gone meanwhile, note it as lost and return False."""
    try:
        make()
    except FileNotFoundError:
        if blob.exists() and path.parent.exists():  # a directory is taken away with the last name in it
            raise
        linked.lost.append(path.name)
        return False
    return True


@contextmanager
def _view_errors(directory: Path) -> Iterator[None]:
    """Turn an OSError into a ViewError: names could not be made in `directory`."""
    try:
        yield
    except OSError as error:
        raise ViewError(
            f"cannot link into {directory}: {error.strerror or error}",
            hint="see that there is space and that you may write there, then run the command again",
        ) from error


def missing(directory: Path, files: Mapping[str, Path]) -> list[str]:
    """Return the names of `files` that do not lead to the bytes of their blob in `directory`, which is a view's."""
    return [name for name, blob in files.items() if not _leads_to(directory / name, blob, ours=True)]


@dataclass(frozen=True, slots=True)
class Unlinked:
    """What unlinking did: the names that are gone, and the files that stay, as paths in the home."""

    gone: tuple[str, ...]
    kept: tuple[str, ...]


def unlink(
    home: Path,
    within: PurePath,
    files: Mapping[str, Path | None],
    *,
    dry_run: bool = False,
    shared: Path | None = None,
) -> Unlinked:
    """The names of `files` that are ours are gone from `within` a view's `home`, and what is empty then.

    What else is in the home stays: files of others, names that have other bytes, and names that another member of a
    shared root made.

    Args:
        home: it need not be there.
        within: the directory of the names, relative to `home`.
        files: file name -> its blob, which need not be there; None where nobody knows which it was.
        dry_run: change nothing.
        shared: as for `link`.

    Raises:
        ViewError: the disk refused.
    """
    directory = home / within
    try:
        if shared:
            disk.refuse_links(directory, shared)
        gone = [name for name, blob in files.items() if _is_ours(directory / name, blob)]
        if shared:
            gone = [name for name in gone if _may_remove(directory / name)]
        if not dry_run:
            for name in gone:
                (directory / name).unlink(missing_ok=True)
            if gone:  # before its selections are gone: without them nobody knows that these names are ours
                disk.sync_directory(directory)
            for empty in (within, *within.parents):
                with suppress(OSError):  # something is in it
                    (home / empty).rmdir()
        names = {str(within / name) for name in gone}
        kept = [path for path in _files_in(home) if path not in names]
    except OSError as error:
        hint = "see that you may write there, then run the command again"
        raise ViewError(f"cannot remove links from {directory}: {error.strerror or error}", hint=hint) from error
    return Unlinked(tuple(sorted(gone)), tuple(sorted(kept)))


def _files_in(home: Path) -> Iterator[str]:
    """What is in `home` at any depth and no directory, but for names being made."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for directory, directories, names in os.walk(home, onerror=refuse):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]  # noqa: PTH114, PTH118
        for name in (*names, *links):
            if not _STAGED.fullmatch(name):
                yield os.path.relpath(os.path.join(directory, name), home)  # noqa: PTH118


def _is_ours(path: Path, blob: Path | None) -> bool:
    """Whether a name was made by `link`: it leads to its blob, wherever that was found then, or to nothing any more."""
    if path.is_symlink() and (not path.exists() or (blob is not None and path.readlink().name == blob.name)):
        return True
    return blob is not None and _leads_to(path, blob, ours=True)


def _may_remove(path: Path) -> bool:
    """Whether the name is ours to remove, where only owners do that: the file's and the directory's."""
    try:
        owners = (path.lstat().st_uid, path.parent.stat().st_uid, 0)
    except FileNotFoundError:
        return True
    return os.geteuid() in owners


def drop_dangling(directory: Path, names: Iterable[str]) -> None:
    """None of `names` in `directory` is a link to a blob that is gone.

    Raises:
        ViewError: the disk refused.
    """
    for name in names:
        path = directory / name
        try:
            if path.is_symlink() and not path.exists():
                path.unlink(missing_ok=True)
        except PermissionError:
            raise _owned(path, "leads nowhere") from None
        except OSError as error:
            hint = "see that you may write there, then run the command again"
            raise ViewError(f"cannot remove {path}, which leads nowhere: {error.strerror}", hint=hint) from error


def _owned(path: Path, what: str) -> ViewError:
    owner = disk.owner_of(path)
    return ViewError(
        f"{path} {what}, and is {owner}'s: only its owner replaces or removes it",
        hint=f"ask {owner} to prefetch the release again, or to remove that name; then run the command again",
    )


def stale_links(views: Path) -> list[Path]:
    """The names that were being made in any view when their process was killed, a day ago or longer."""
    found = []
    for home in map(home_directory, PACKAGES):
        for directory in views.glob(f"*/{home}"):
            with suppress(FileNotFoundError, NotADirectoryError):
                disk.refuse_links(directory, views)
                with os.scandir(directory) as entries:
                    staged = [directory / entry.name for entry in entries if _STAGED.fullmatch(entry.name)]
                found += [path for path in staged if _is_abandoned(path)]
    return sorted(found)


def _is_abandoned(staged: Path) -> bool:
    """Not by the time of change, which is the blob's."""
    try:
        return abs(time.time() - staged.lstat().st_ctime) > ABANDONED
    except FileNotFoundError:
        return False


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


def _link(path: Path, blob: Path, modes: dict[LinkMode, Make], linked: Linked, *, shared: bool = False) -> None:
    """Make `path` lead to `blob` in the first of `modes` that works; those that cannot work here are taken out."""
    if not modes:
        raise ViewError(
            f"{blob} is in a lower cache, which nothing is hard-linked to", hint="link with --mode auto, or copy"
        )
    staged = disk.temporary(path.parent)
    for mode, make in tuple(modes.items()):
        try:
            make(blob, staged)
            if shared and mode == "reflink":  # a hard link has its blob's mode
                staged.chmod(disk.READ_ONLY)
        except OSError as error:
            with suppress(FileNotFoundError):
                staged.unlink()
            if error.errno not in disk.UNSUPPORTED:
                raise
            linked.refusal = f"{mode} refused: {error.strerror}"
            if error.errno in UNKNOWN:
                del modes[mode]
            continue
        _put(staged, path)
        linked.modes[mode] += 1
        return
    raise ViewError(
        f"cannot link {path} to {blob}: {linked.refusal}", hint="it does not work here; try --link-mode auto"
    )


def _put(staged: Path, path: Path) -> None:
    """`staged` has the name `path` now, and no other.

    Raises:
        ViewError: another member of a shared root has that name.
        OSError: the disk refused.
    """
    try:
        staged.replace(path)
    except PermissionError:
        if not os.path.lexists(path):
            raise
        raise _owned(path, "leads elsewhere") from None
    finally:
        with suppress(FileNotFoundError):  # renaming a hard link onto its own file leaves both names
            staged.unlink()


def _reflink(blob: Path, staged: Path) -> None:
    """A clone that shares the blob's bytes on disk and can be written to without changing it."""
    descriptor = disk.create(staged, disk.READ_ONLY)
    try:
        with blob.open("rb") as source:
            disk.clone(source.fileno(), descriptor)
    finally:
        os.close(descriptor)
    _same_time(blob, staged)


def _hardlink(blob: Path, staged: Path) -> None:
    os.link(blob, staged)


def _symlink(blob: Path, staged: Path) -> None:
    """Relative, so that a root can be moved."""
    staged.symlink_to(os.path.relpath(blob, staged.parent.resolve()))


def _link_below(path: Path, blob: Path) -> None:
    """Make `path` lead to `blob` of a lower cache, which stays where it is, wherever the root goes: so absolutely."""
    staged = disk.temporary(path.parent)
    staged.symlink_to(blob)
    _put(staged, path)


def _copy(blob: Path, staged: Path) -> None:
    import shutil

    with os.fdopen(disk.create(staged, disk.READ_ONLY), "wb") as target, blob.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    _same_time(blob, staged)


def _same_time(blob: Path, staged: Path) -> None:
    """Give a clone its blob's time of change, by which it is recognised as untouched."""
    found = blob.stat()
    os.utime(staged, ns=(found.st_mtime_ns, found.st_mtime_ns))


MAKE: dict[LinkMode, Make] = {
    "reflink": _reflink,
    "hardlink": _hardlink,
    "symlink": _symlink,
    "copy": _copy,
}
