"""Refs: which releases are in use, and which of their entries.

    refs/antspynet/0.3.2/<hex>.json    a selection, named by its content, written once

It is written before what it selects is fetched. One file a selection, so that two who select at once never lose each
other's word.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from antscache import durable
from antscache.durable import refusing
from antscache.errors import StoreError
from antscache.manifest import Entry, Release
from antscache.record import Selection, union

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.layout import Layout

TRIES = 3  # times that a directory is made which others remove when they take the last selection out of it


class Refs:
    """The refs of one root.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def selects(self, selection: Selection) -> bool:
        """Whether `selection` is written already."""
        with refusing(f"cannot read the selections of {selection.release}"):
            return self._selection(selection).exists()

    def select(self, selection: Selection) -> None:
        """`selection` keeps its blobs alive from now on."""
        path = self._selection(selection)
        with refusing(f"cannot write the selection {path}"):
            for tried in range(1, TRIES + 1):
                durable.make_directory(path.parent)
                try:
                    durable.publish(path, selection.encoded(), self._layout.ingest)
                except FileNotFoundError:
                    if tried == TRIES:
                        raise
                else:
                    return

    def deselect(self, selection: Selection) -> None:
        """`selection` keeps nothing alive any more.

        Raises:
            StoreError: it is somebody else's, in a directory where only owners delete; or the disk refused.
        """
        path = self._selection(selection)
        with refusing(f"cannot remove the selection {path}"):
            path.unlink(missing_ok=True)
            for directory in path.parent, path.parent.parent:
                with suppress(OSError):  # others are in use, or being written
                    directory.rmdir()

    def owner(self, selection: Selection) -> int:
        """The user id of whoever made `selection`."""
        path = self._selection(selection)
        with refusing(f"cannot read the selection {path}"):
            return path.stat().st_uid

    def _selection(self, selection: Selection) -> Path:
        return self._layout.selections(selection.release) / f"{selection.name}.json"

    def selections(self, release: Release) -> tuple[Selection, ...]:
        """What is selected of `release`.

        Raises:
            StoreError: a selection cannot be read.
        """
        found = []
        for path, selection in self._read(release):
            if isinstance(selection, str):
                hint = f"run `antscache verify --repair`, then `antscache prefetch {release}`"
                raise StoreError(f"{path} is damaged: {selection}", hint=hint)
            found.append(selection)
        return tuple(found)

    def entries(self, release: Release) -> tuple[Entry, ...]:
        """What is selected of `release`, as far as it can be read."""
        return union(selection for _, selection in self._read(release) if isinstance(selection, Selection))

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """The selections that cannot be read, and why."""
        for release in self.releases():
            for path, selection in self._read(release):
                if isinstance(selection, str):
                    yield path, selection

    def _read(self, release: Release) -> list[tuple[Path, Selection | str]]:
        """Each selection of `release`, or why it cannot be read."""
        found: list[tuple[Path, Selection | str]] = []
        with refusing(f"cannot read the selections of {release}"):
            for path in sorted(self._layout.selections(release).glob("*.json")):
                with suppress(FileNotFoundError):  # taken away meanwhile
                    found.append((path, _decoded(path.read_bytes(), release)))
        return found

    def releases(self) -> tuple[Release, ...]:
        """The releases in use, sorted."""
        found = set()
        with refusing(f"cannot read {self._layout.refs}"):
            for path in self._layout.refs.glob("*/*/*.json"):
                with suppress(msgspec.ValidationError):
                    fields = {"package": path.parent.parent.name, "version": path.parent.name}
                    found.add(msgspec.convert(fields, Release))
        return tuple(sorted(found))


def _decoded(content: bytes, release: Release) -> Selection | str:
    try:
        selection = msgspec.json.decode(content, type=Selection)
    except durable.DAMAGED as error:
        return str(error)
    return selection if selection.release == release else f"it is of {selection.release}"
