"""Refs: the releases in use, and the entries that are selected of them.

    refs/antspynet/0.3.2/<hex>.json          a selection, named by its content, written once
    refs/antspynet/0.3.2/<hex>-<uid>.json    the same selection by another user, whose file has the first name

A selection is written before its files are fetched. Each is a file of its own, so that two processes at once never
overwrite each other's selections; and each user has their own, so that nobody removes what another user selected too.

A selection that cannot be read is an error. It never counts as absent, because a garbage collection relies on the refs.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from stat import S_ISVTX
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache import disk
from antscache.core import Entry, Release, Selection, merge_selections, needed_layout
from antscache.disk import store_errors
from antscache.errors import StoreError
from antscache.store import description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from antscache.core import Layout

NOT_A_FILE_ERRNOS = frozenset({errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO})  # a link, a directory, a pipe
MAX_WRITE_ATTEMPTS = 3  # another process may remove the directory with its last selection before we write into it


class Ref(NamedTuple):
    """A selection in a file, and the id of the user who wrote it: yours, if the root is not shared.

    Network filesystems may say another owner than the user who wrote a file, and a root of one's own has one user.
    """

    path: Path
    selection: Selection
    owner: int

    @property
    def is_ours(self) -> bool:
        """True if you wrote it."""
        return self.owner == os.geteuid()


class Refs:
    """The refs of one root.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    # Written

    def selects(self, selection: Selection) -> bool:
        """Return True if you have written `selection` already."""
        with store_errors(f"cannot read the selections of {selection.release}"):
            with suppress(FileNotFoundError):
                if self._path(selection).lstat().st_uid == os.geteuid() or not self._layout.shared:
                    return True
            return self._path(selection, ours=True).exists()

    def is_selected(self, selection: Selection) -> bool:
        """Return True if all entries of `selection` are selected already, by anybody, in one selection or several."""
        if self.selects(selection):
            return True
        return set(selection.entries) <= set(merge_selections(self.selections(selection.release)))

    def select(self, selection: Selection) -> None:
        """Write `selection`. It keeps its blobs alive until you deselect it."""
        description.require(self._layout, needed_layout(entry.identifier for entry in selection.entries))
        for path in self._path(selection), self._path(selection, ours=True):  # the first may be another user's
            if not self.selects(selection):
                self._write(path, selection)

    def _write(self, path: Path, selection: Selection) -> None:
        with store_errors(f"cannot write the selection {path}"):
            for attempt in range(1, MAX_WRITE_ATTEMPTS + 1):
                disk.make_directory(path.parent, self._layout.shared_root)
                try:
                    disk.publish(path, selection.encode(), self._layout.staging)
                except FileNotFoundError:
                    if attempt == MAX_WRITE_ATTEMPTS:
                        raise
                else:
                    return

    def deselect(self, ref: Ref) -> None:
        """Remove `ref`, and its directories if they are empty then. It keeps nothing alive any more."""
        with store_errors(f"cannot remove the selection {ref.path}"):
            ref.path.unlink(missing_ok=True)
            for directory in ref.path.parent, ref.path.parent.parent:
                with suppress(OSError):  # other selections are there, or being written
                    directory.rmdir()

    def can_deselect(self, ref: Ref) -> bool:
        """Return True if permissions let you remove `ref`; where the directory is sticky, only owners may.

        A read-only disk counts as permitted: `deselect` then raises the error that says so.
        """
        directory = ref.path.parent
        with store_errors(f"cannot read {directory}"):
            status = directory.stat()
            ours = os.geteuid() in {0, status.st_uid, ref.owner}
            permitted = os.access(directory, os.W_OK) or os.statvfs(directory).f_flag & os.ST_RDONLY
            return bool(permitted) and (ours or not status.st_mode & S_ISVTX)

    def _path(self, selection: Selection, *, ours: bool = False) -> Path:
        """Return the path of `selection`; with `ours`, of your own if another user's has that path."""
        suffix = f"-{os.geteuid()}" if ours else ""
        return self._layout.selections(selection.release) / f"{selection.name}{suffix}.json"

    # Read

    def of(self, release: Release) -> tuple[Ref, ...]:
        """Return the refs of `release`.

        Raises:
            StoreError: a selection is damaged or cannot be read.
        """
        refs = []
        for path, selection in self._read(release):
            with store_errors(f"cannot read the selection {path}"), suppress(FileNotFoundError):  # removed meanwhile
                if isinstance(selection, OSError):
                    raise selection
                if isinstance(selection, str):
                    hint = f"run `antscache verify --repair`, then `antscache prefetch {release}`"
                    raise StoreError(f"{path} is damaged: {selection}", hint=hint)
                owner = path.lstat().st_uid
                refs.append(Ref(path, selection, owner if self._layout.shared else os.geteuid()))
        return tuple(refs)

    def selections(self, release: Release) -> tuple[Selection, ...]:
        """Return the selections of `release`, each once although several users may have it.

        Raises:
            StoreError: a selection is damaged or cannot be read.
        """
        return tuple(dict.fromkeys(ref.selection for ref in self.of(release)))

    def entries(self, release: Release) -> tuple[Entry, ...]:
        """Return the selected entries of `release`, without those of selections that are damaged or cannot be read."""
        return merge_selections(selection for _, selection in self._read(release) if isinstance(selection, Selection))

    def damaged(self, releases: Iterable[Release] | None = None) -> Iterator[tuple[Path, str]]:
        """Yield each selection (of all releases, or of `releases`) that cannot be used, and the reason."""
        for release in self.releases() if releases is None else releases:
            for path, selection in self._read(release):
                if isinstance(selection, OSError):
                    yield path, f"cannot be read: {selection.strerror}"
                elif isinstance(selection, str):
                    yield path, selection
                elif path.stem.partition("-")[0] != selection.name:
                    yield path, "its name does not match its content"

    def _read(self, release: Release) -> Iterator[tuple[Path, Selection | str | OSError]]:
        """Yield the path of each selection of `release`, with the selection, or a text or OSError that says why not."""
        directory = self._layout.selections(release)
        with store_errors(f"cannot read the selections of {release}"):
            names = _selections_in(directory)
        for name in names:
            try:
                yield directory / name, _decoded(directory / name, release)
            except FileNotFoundError:  # noqa: PERF203  removed meanwhile
                continue
            except OSError as error:
                yield directory / name, error

    def releases(self) -> tuple[Release, ...]:
        """Return the releases in use, sorted."""
        return tuple(sorted(release for _, release in self._directories() if release))

    def unknown_releases(self) -> tuple[Path, ...]:
        """Return the directories with selections of releases that this antscache does not know."""
        return tuple(directory for directory, release in self._directories() if release is None)

    def _directories(self) -> Iterator[tuple[Path, Release | None]]:
        """Yield each directory that has selections, with its release; None if this antscache does not know that."""
        with store_errors(f"cannot read {self._layout.refs}"):
            directories = [
                (package / version, package.name, version)
                for package in (self._layout.refs / name for name in _directories_in(self._layout.refs))
                for version in _directories_in(package)
                if _selections_in(package / version)
            ]
        for directory, package_name, version in directories:
            yield directory, _known(package_name, version)


def _known(package: str, version: str) -> Release | None:
    try:
        return msgspec.convert({"package": package, "version": version}, Release)
    except msgspec.ValidationError:
        return None


# Not Path.glob, which takes a directory that it may not read for an empty one.


def _directories_in(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _selections_in(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []


def _decoded(path: Path, release: Release) -> Selection | str:
    try:
        selection = msgspec.json.decode(disk.read(path), type=Selection)
    except disk.DECODE_ERRORS as error:
        return str(error)
    except OSError as error:
        if error.errno in NOT_A_FILE_ERRNOS:
            return "it is not a file"
        raise
    return selection if selection.release == release else f"it is a selection of {selection.release}"
