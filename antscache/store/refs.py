"""Refs: which releases are in use, and which of their entries.

    refs/antspynet/0.3.2/<hex>.json          a selection, named by its content, written once
    refs/antspynet/0.3.2/<hex>-<uid>.json    the same selection of another user, where that name was taken

It is written before what it selects is fetched. One file a selection, so that two who select at once never lose each
other's word; and one for each user, so that nobody takes away what another selected too.

What cannot be read is an error, never as good as not there: a garbage collection goes by this.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from stat import S_ISVTX
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache import disk
from antscache.core import Entry, Release, Selection, union
from antscache.disk import store_errors
from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from antscache.core import Layout

NO_FILE = frozenset({errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO})  # a link, a directory, a pipe
TRIES = 3  # times that a directory is made which others remove when they take the last selection out of it


class Ref(NamedTuple):
    """A selection as somebody wrote it; `owner` is their user id."""

    path: Path
    selection: Selection
    owner: int

    @property
    def is_ours(self) -> bool:
        """Whether you wrote it."""
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
        """Whether you have written `selection` already."""
        with store_errors(f"cannot read the selections of {selection.release}"):
            with suppress(FileNotFoundError):
                if self._path(selection).lstat().st_uid == os.geteuid():
                    return True
            return self._path(selection, ours=True).exists()

    def is_selected(self, selection: Selection) -> bool:
        """Whether what `selection` selects is selected already, by anybody and in however many selections."""
        return self.selects(selection) or set(selection.entries) <= set(union(self.selections(selection.release)))

    def select(self, selection: Selection) -> None:
        """`selection` keeps its blobs alive from now on, until you deselect it."""
        for path in self._path(selection), self._path(selection, ours=True):  # the first may be somebody else's
            if not self.selects(selection):
                self._write(path, selection)

    def _write(self, path: Path, selection: Selection) -> None:
        with store_errors(f"cannot write the selection {path}"):
            for tried in range(1, TRIES + 1):
                disk.make_directory(path.parent, self._layout.shared_root)
                try:
                    disk.publish(path, selection.encoded(), self._layout.staging)
                except FileNotFoundError:
                    if tried == TRIES:
                        raise
                else:
                    return

    def deselect(self, ref: Ref) -> None:
        """`ref` keeps nothing alive any more."""
        with store_errors(f"cannot remove the selection {ref.path}"):
            ref.path.unlink(missing_ok=True)
            for directory in ref.path.parent, ref.path.parent.parent:
                with suppress(OSError):  # others are in use, or being written
                    directory.rmdir()

    def can_deselect(self, ref: Ref) -> bool:
        """Whether permissions let you, and the sticky bit, which lets owners alone; a read-only disk says so itself."""
        directory = ref.path.parent
        with store_errors(f"cannot read {directory}"):
            status = directory.stat()
            ours = os.geteuid() in {0, status.st_uid, ref.owner}
            permitted = os.access(directory, os.W_OK) or os.statvfs(directory).f_flag & os.ST_RDONLY
            return bool(permitted) and (ours or not status.st_mode & S_ISVTX)

    def _path(self, selection: Selection, *, ours: bool = False) -> Path:
        """Where `selection` is; where yours is, if somebody else's is there."""
        suffix = f"-{os.geteuid()}" if ours else ""
        return self._layout.selections(selection.release) / f"{selection.name}{suffix}.json"

    # Read

    def of(self, release: Release) -> tuple[Ref, ...]:
        """The refs of `release`.

        Raises:
            StoreError: a selection is damaged or cannot be read.
        """
        found = []
        for path, selection in self._read(release):
            with store_errors(f"cannot read the selection {path}"), suppress(FileNotFoundError):  # taken away meanwhile
                if isinstance(selection, OSError):
                    raise selection
                if isinstance(selection, str):
                    hint = f"run `antscache verify --repair`, then `antscache prefetch {release}`"
                    raise StoreError(f"{path} is damaged: {selection}", hint=hint)
                found.append(Ref(path, selection, path.lstat().st_uid))
        return tuple(found)

    def selections(self, release: Release) -> tuple[Selection, ...]:
        """What is selected of `release`, each selection once.

        Raises:
            StoreError: a selection is damaged or cannot be read.
        """
        return tuple(dict.fromkeys(ref.selection for ref in self.of(release)))

    def entries(self, release: Release) -> tuple[Entry, ...]:
        """What is selected of `release`, as far as it can be read."""
        return union(selection for _, selection in self._read(release) if isinstance(selection, Selection))

    def damaged(self, releases: Iterable[Release] | None = None) -> Iterator[tuple[Path, str]]:
        """The selections (all, or those of `releases`) that cannot be used, and why."""
        for release in self.releases() if releases is None else releases:
            for path, selection in self._read(release):
                if isinstance(selection, OSError):
                    yield path, f"cannot be read: {selection.strerror}"
                elif isinstance(selection, str):
                    yield path, selection
                elif path.stem.partition("-")[0] != selection.name:
                    yield path, "not what its name says"

    def _read(self, release: Release) -> Iterator[tuple[Path, Selection | str | OSError]]:
        """Each selection of `release`, or why it is none, or what the disk says instead."""
        directory = self._layout.selections(release)
        with store_errors(f"cannot read the selections of {release}"):
            names = _selections_in(directory)
        for name in names:
            try:
                yield directory / name, _decoded(directory / name, release)
            except FileNotFoundError:  # noqa: PERF203  taken away meanwhile
                continue
            except OSError as error:
                yield directory / name, error

    def releases(self) -> tuple[Release, ...]:
        """The releases in use, sorted."""
        return tuple(sorted(release for _, release in self._directories() if release))

    def unknown_releases(self) -> tuple[Path, ...]:
        """The directories with selections of releases that this antscache does not know."""
        return tuple(directory for directory, release in self._directories() if release is None)

    def _directories(self) -> Iterator[tuple[Path, Release | None]]:
        """The directories that have selections, and of which release; None if it is none that is known."""
        with store_errors(f"cannot read {self._layout.refs}"):
            found = [
                (package / version, package.name, version)
                for package in (self._layout.refs / name for name in _directories_in(self._layout.refs))
                for version in _directories_in(package)
                if _selections_in(package / version)
            ]
        for directory, package_name, version in found:
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
    except disk.DAMAGED as error:
        return str(error)
    except OSError as error:
        if error.errno in NO_FILE:
            return "it is no file"
        raise
    return selection if selection.release == release else f"it is of {selection.release}"
