"""Links: the names in a view or a home, each made from a blob.

    <home>/.keras/ANTsXNet/<file>     antspynet's data and networks
    <home>/.antspy/<file>             antspyx's example files
    <home>/.keras/models/<file>       Keras's own weights, if they were asked for by name

A view is derived and can be made again. A link is made under a random name and renamed into place, so that a reader
sees the old file or the new one, never none, never a part, never a dangling link. In a view a link is a reflink where
the filesystem has it, else a hard link, else a relative symlink; to a blob of a lower cache it is an absolute symlink.
In somebody's home nothing points out of the home: a reflink, a hard link, or a copy.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from stat import S_ISVTX
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import PACKAGES, home_directories
from antscache.errors import ViewError
from antscache.views.names import compare_name, leads_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path, PurePath

    from antscache.config import LinkMode

    LinkMaker = Callable[[Path, Path], None]

# These errors say that the directory's filesystem does not know the link mode, so that it fails for every file. Other
# errors of `disk.UNSUPPORTED_ERRNOS` may concern one blob alone: EXDEV says that this one is on another filesystem.
MODE_UNKNOWN_ERRNOS = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS})
STALE_LINK_SECONDS = 24 * 60 * 60  # after this time the process that was making a name is taken for dead
COPY_CHUNK_BYTES = 1 << 20
VIEW_LINK_MODES: tuple[LinkMode, ...] = ("reflink", "hardlink", "symlink")  # the best first
HOME_LINK_MODES: tuple[LinkMode, ...] = ("reflink", "hardlink", "copy")  # the best first; none points out of the home
_NO_FILES: Mapping[str, Path] = {}
_STAGED = re.compile("[0-9a-f]{32}")  # as disk.temporary_path makes them; no file of a release is called so


@dataclass(slots=True)
class Linked:
    """The result of linking.

    Attributes:
        modes: the number of names that were made in each mode.
        below: the number of names that were made as links to blobs of a lower cache.
        intact: the number of names that were right already.
        relinked: the number of names that were right already, but files of their own, and were made again.
        lost: the names that could not be made, because their blob or the directory was gone.
        refusal: why a better mode was not used; None if the best one was.
    """

    modes: Counter[LinkMode] = field(default_factory=Counter)
    below: int = 0
    intact: int = 0
    relinked: int = 0
    lost: list[str] = field(default_factory=list)
    refusal: str | None = None


def link_view(  # noqa: PLR0913  each is a fact of its own
    directory: Path,
    files: Mapping[str, Path],
    modes: Sequence[LinkMode],
    *,
    below: Mapping[str, Path] = _NO_FILES,
    shared: Path | None = None,
    renew_clones: bool = False,
) -> Linked:
    """Make each name of `files` in a view, `directory`, lead to its blob. These names are ours and may be replaced.

    Names whose blob or directory disappears meanwhile are returned as lost. A copy of its blob, as a copied root has
    them, is replaced by a link if the disk allows it; where it may be a clone, only with `renew_clones`.

    Args:
        directory: made if it is not there, with the directories of the names.
        files: the path of the blob for each name, a path in `directory`.
        modes: the link modes, the best first; the first one that works is used.
        below: the same for more names, whose blobs are in a lower cache: they become absolute symlinks.
        shared: the root that `directory` is below, if a group shares it: then files and directories get the modes that
            its members need, and no directory on the way may be a link.
        renew_clones: replace clones too, because nobody can tell them from copies.

    Raises:
        ViewError: the disk refused, or no mode works here.
    """
    linked = Linked()
    apart: list[tuple[Path, Callable[[], None]]] = []
    with _view_errors(directory):
        for each in _directories(directory, (*files, *below)):
            disk.make_directory(each, shared)
        makers = {mode: LINK_MAKERS[mode] for mode in modes}
        for name, blob in (*files.items(), *below.items()):
            path = directory / name
            make = (
                partial(_link_below, path, blob, linked)
                if name in below
                else partial(_link, path, blob, makers, linked, shared=shared is not None)
            )
            kind = compare_name(path, blob)
            if kind == "other":
                _try_to_make(linked, path, blob, make)
            else:
                linked.intact += 1
            if kind == "apart":
                apart.append((path, make))
    if apart and not renew_clones:
        if disk.may_clone(apart[0][0]):
            return linked
        makers.pop("reflink", None)  # a clone, if it can be made all the same, would count as a copy next time
    _relink(linked, apart)
    return linked


def _relink(linked: Linked, apart: list[tuple[Path, Callable[[], None]]]) -> None:
    """Make the names `apart`, which have right bytes of their own, again; one that the disk refuses stays as it is."""
    for _, make in apart:
        with suppress(OSError, ViewError):
            make()
            linked.relinked += 1
            linked.intact -= 1


def link_home(
    directory: Path, files: Mapping[str, Path], modes: Sequence[LinkMode], *, below: Mapping[str, Path] = _NO_FILES
) -> Linked:
    """Give each name of `files` in `directory`, which is in somebody's home, the bytes of its blob.

    Files of other names stay as they are. A name that has the right bytes already is kept.

    Args:
        directory: made if it is not there, with the directories of the names.
        files: the path of the blob for each name, a path in `directory`.
        modes: the link modes, the best first; the first one that works is used.
        below: the same for more names, whose blobs are in a lower cache: these are cloned or copied, because a hard
            link would change the lower cache, and be changed with it.

    Raises:
        ViewError: a name is taken by other bytes (nothing was changed), the disk refused, or no mode works here.
    """
    linked = Linked()
    with _view_errors(directory):
        named = {**files, **below}
        for each in _directories(directory, named):
            disk.make_directory(each)
        wanted = {name: blob for name, blob in named.items() if not leads_to(directory / name, blob, ours=False)}
        linked.intact = len(named) - len(wanted)
        _refuse_if_taken(directory, wanted)
        makers = {mode: LINK_MAKERS[mode] for mode in modes}
        makers_below: dict[LinkMode, LinkMaker] = {mode: make for mode, make in makers.items() if mode != "hardlink"}
        for name, blob in wanted.items():
            path = directory / name
            _try_to_make(
                linked, path, blob, partial(_link, path, blob, makers_below if name in below else makers, linked)
            )
    return linked


def _directories(directory: Path, names: Iterable[str]) -> list[Path]:
    """Return `directory` and the directories in it that have `names`, parents first."""
    return sorted({directory, *((directory / name).parent for name in names)})


def _try_to_make(linked: Linked, path: Path, blob: Path, make: Callable[[], None]) -> None:
    """Make a name; if its blob or its directory has gone meanwhile, note the name as lost."""
    try:
        make()
    except FileNotFoundError:
        if blob.exists() and path.parent.exists():  # a removal takes the directory away with the last name in it
            raise
        linked.lost.append(path.name)


@contextmanager
def _view_errors(directory: Path) -> Iterator[None]:
    """Turn an OSError into a ViewError: "cannot link into `directory`"."""
    try:
        yield
    except OSError as error:
        raise ViewError(
            f"cannot link into {directory}: {error.strerror or error}",
            hint="check that there is space and that you may write there, then run the command again",
        ) from error


def missing(directory: Path, files: Mapping[str, Path]) -> list[str]:
    """Return the names of `files` that do not lead to the bytes of their blob in a view's `directory`."""
    return [name for name, blob in files.items() if not leads_to(directory / name, blob, ours=True)]


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The result of unlinking.

    Attributes:
        gone: the names that were removed, as paths in the home.
        kept: the files that stay, as paths in the home.
    """

    gone: tuple[str, ...]
    kept: tuple[str, ...]


def unlink(
    home: Path,
    directories: Sequence[PurePath],
    files: Mapping[str, Path | None],
    *,
    dry_run: bool = False,
    shared: Path | None = None,
) -> Unlinked:
    """Remove those names of `files` that are ours from a view's `home`, and those `directories` that are empty then.

    Everything else in the home stays: files of other names, names that lead to other bytes, and names that another
    member of a shared root made.

    Args:
        home: it need not be there.
        directories: of the names, as paths in `home`.
        files: the path of the blob for each name, which need not be there; None where the blob is unknown.
        dry_run: change nothing.
        shared: as for `link_view`.

    Raises:
        ViewError: the disk refused.
    """
    try:
        if shared:
            for within in directories:
                disk.refuse_links(home / within, shared)
        gone = [name for name, blob in files.items() if _is_ours(home / name, blob)]
        if shared:
            gone = [name for name in gone if _may_remove(home / name)]
        if not dry_run:
            _remove_names(home, gone)  # before its selections: without them nobody knows that these names are ours
            above = {home / each for within in directories for each in (within, *within.parents)}
            for empty in sorted(above, reverse=True):
                with suppress(OSError):  # something is in it
                    empty.rmdir()
        kept = set(_files_in(home)).difference(gone)
    except OSError as error:
        hint = "check that you may write there, then run the command again"
        raise ViewError(f"cannot remove links from {home}: {error.strerror or error}", hint=hint) from error
    return Unlinked(tuple(sorted(gone)), tuple(sorted(kept)))


def _remove_names(directory: Path, names: Iterable[str]) -> None:
    """Remove `names`, paths in `directory`, durably."""
    paths = [directory / name for name in names]
    for path in paths:
        path.unlink(missing_ok=True)
    for parent in {path.parent for path in paths}:
        disk.sync_directory(parent)


def _files_in(home: Path) -> Iterator[str]:
    """Yield each file and link in `home` at any depth, as a path in it, without names that are being made."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for directory, directories, names in os.walk(home, onerror=refuse):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]  # noqa: PTH114, PTH118
        for name in (*names, *links):
            if not _STAGED.fullmatch(name):
                yield os.path.relpath(os.path.join(directory, name), home)  # noqa: PTH118


def _is_ours(path: Path, blob: Path | None) -> bool:
    """Return True if antscache made the name `path`: it leads to its blob, in any cache, or is a broken link."""
    if path.is_symlink() and (not path.exists() or (blob is not None and path.readlink().name == blob.name)):
        return True
    return blob is not None and leads_to(path, blob, ours=True)


def _may_remove(path: Path) -> bool:
    """Return True if you may remove `path` from a directory, in which only the owners of it and of the file may.

    Other directories than those of a shared root have no sticky bit: there the disk says no.
    """
    try:
        if not path.parent.stat().st_mode & S_ISVTX:
            return True
        owners = (path.lstat().st_uid, path.parent.stat().st_uid, 0)
    except FileNotFoundError:
        return True
    return os.geteuid() in owners


def unlink_blobs(
    directory: Path, names: Iterable[str], is_blob: Callable[[Path], bool], *, dry_run: bool = False
) -> Unlinked:
    """Remove those of `names` in a view, `directory`, that lead to a blob, whichever it is; keep what others made.

    Args:
        directory: it need not be there.
        names: of files, as paths in it.
        is_blob: returns True if a path leads to a blob of this root or a lower cache.
        dry_run: change nothing.

    Raises:
        ViewError: the disk refused.
    """
    gone, kept = list[str](), list[str]()
    try:
        for name in names:
            path = directory / name
            if os.path.lexists(path) and is_blob(path):
                (gone if _may_remove(path) else kept).append(name)
        if not dry_run:
            _remove_names(directory, gone)
    except OSError as error:
        hint = "check that you may write there, then run the command again"
        raise ViewError(f"cannot remove links from {directory}: {error.strerror or error}", hint=hint) from error
    return Unlinked(tuple(sorted(gone)), tuple(sorted(kept)))


def drop_dangling(directory: Path, names: Iterable[str]) -> None:
    """Remove those of `names` in `directory` that are symlinks to a blob that is gone.

    Raises:
        ViewError: the disk refused, or another user made the link.
    """
    for name in names:
        path = directory / name
        try:
            if path.is_symlink() and not path.exists():
                path.unlink(missing_ok=True)
        except PermissionError:
            raise _made_by_another(path, "is a broken link") from None
        except OSError as error:
            hint = "check that you may write there, then run the command again"
            raise ViewError(f"cannot remove the broken link {path}: {error.strerror}", hint=hint) from error


def _made_by_another(path: Path, problem: str) -> ViewError:
    owner = disk.owner_of(path)
    return ViewError(
        f"{path} {problem} and belongs to {owner}: only its owner can replace or remove it",
        hint=f"ask {owner} to prefetch the release again, or to remove that file; then run the command again",
    )


def stale_links(views: Path, now: float) -> list[Path]:
    """Return the names that were being made in any view when their process was killed, a day before `now` or earlier.

    A time in the future, from a wrong clock, counts the same in that direction: names are made within a moment.
    """
    stale = []
    for within in (directory for package in PACKAGES for directory in home_directories(package)):
        for directory in views.glob(f"*/{within}"):
            with suppress(FileNotFoundError, NotADirectoryError):
                disk.refuse_links(directory, views)
                with os.scandir(directory) as entries:
                    staged = [directory / entry.name for entry in entries if _STAGED.fullmatch(entry.name)]
                stale += [path for path in staged if _is_stale(path, now)]
    return sorted(stale)


def _is_stale(staged: Path, now: float) -> bool:
    """Return True if `staged` was made long ago, by its ctime: its mtime is that of the blob."""
    try:
        return abs(now - staged.lstat().st_ctime) > STALE_LINK_SECONDS
    except FileNotFoundError:
        return False


def _refuse_if_taken(directory: Path, names: Mapping[str, Path]) -> None:
    taken = [name for name in names if os.path.lexists(directory / name)]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        path = directory / taken[0]
        raise ViewError(
            f"{path.parent} already has other bytes under {path.name}{more}; nothing was changed",
            hint="link into an empty directory, or remove those files first",
        )


def _link(path: Path, blob: Path, makers: dict[LinkMode, LinkMaker], linked: Linked, *, shared: bool = False) -> None:
    """Make `path` lead to `blob` by the first of `makers` that works; drop those that cannot work in this directory."""
    if not makers:
        raise ViewError(
            f"{blob} is in a lower cache, and a hard link would change it", hint="link with --mode auto or --mode copy"
        )
    staged = disk.temporary_path(path.parent)
    for mode, make in tuple(makers.items()):
        try:
            make(blob, staged)
            if shared and mode == "reflink":  # a hard link has its blob's mode
                staged.chmod(disk.READ_ONLY_MODE)
        except OSError as error:
            with suppress(FileNotFoundError):
                staged.unlink()
            if error.errno not in disk.UNSUPPORTED_ERRNOS:
                raise
            linked.refusal = f"{mode} refused: {error.strerror}"
            if error.errno in MODE_UNKNOWN_ERRNOS:
                del makers[mode]
            continue
        _rename_into_place(staged, path)
        linked.modes[mode] += 1
        return
    raise ViewError(
        f"cannot link {path} to {blob}: {linked.refusal}", hint="use --link-mode auto, or another filesystem"
    )


def _rename_into_place(staged: Path, path: Path) -> None:
    """Rename `staged` to `path`, so that the random name is gone.

    Raises:
        ViewError: another member of a shared root has that name.
        OSError: the disk refused.
    """
    try:
        staged.replace(path)
    except PermissionError:
        if not os.path.lexists(path):
            raise
        raise _made_by_another(path, "does not lead to the right file") from None
    finally:
        with suppress(FileNotFoundError):  # renaming a hard link onto its own file leaves both names
            staged.unlink()


def _reflink(blob: Path, staged: Path) -> None:
    """Make a clone: it shares the blob's bytes on disk, and a write to it does not change the blob."""
    descriptor = disk.create(staged, disk.READ_ONLY_MODE)
    try:
        with disk.opened(blob, follow=False) as source:
            disk.clone(source.fileno(), descriptor)
    finally:
        os.close(descriptor)
    _copy_mtime(blob, staged)


def _hardlink(blob: Path, staged: Path) -> None:
    os.link(blob, staged)


def _symlink(blob: Path, staged: Path) -> None:
    """Make a relative symlink, so that a root can be moved."""
    staged.symlink_to(os.path.relpath(blob, staged.parent.resolve()))


def _link_below(path: Path, blob: Path, linked: Linked) -> None:
    """Make `path` an absolute symlink to `blob` of a lower cache, which stays where it is if the root is moved."""
    staged = disk.temporary_path(path.parent)
    staged.symlink_to(blob)
    _rename_into_place(staged, path)
    linked.below += 1


def _copy(blob: Path, staged: Path) -> None:
    import shutil

    with os.fdopen(disk.create(staged, disk.READ_ONLY_MODE), "wb") as target, disk.opened(blob, follow=False) as source:
        shutil.copyfileobj(source, target, COPY_CHUNK_BYTES)
        target.flush()
        os.fsync(target.fileno())
    _copy_mtime(blob, staged)


def _copy_mtime(blob: Path, staged: Path) -> None:
    """Give a clone or copy the mtime of its blob, by which it is later recognised as unchanged."""
    status = blob.stat()
    os.utime(staged, ns=(status.st_mtime_ns, status.st_mtime_ns))


LINK_MAKERS: dict[LinkMode, LinkMaker] = {
    "reflink": _reflink,
    "hardlink": _hardlink,
    "symlink": _symlink,
    "copy": _copy,
}
