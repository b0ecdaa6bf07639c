"""Defects to plant in antscache. The harness must find each of them, else its silence would prove nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from antscache import disk
from antscache.core.record import Record
from antscache.disk import files
from antscache.fetch.transfer import Transfer
from antscache.store import ingest
from antscache.store.oci import EMPTY_BLOB
from antscache.store.store import Store
from antscache.views import links

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from antscache.core import Staging
    from antscache.fetch.draft import Draft
    from antscache.fetch.origins import Origin


def _plant(place: object, name: str, defect: object) -> None:
    setattr(place, name, defect)


def nothing() -> None:
    """Leave antscache as it is."""


def no_sync_of_directories() -> None:
    """Never sync a directory, so that no name is durable."""
    for place in disk, files:
        _plant(place, "sync_directory", lambda _: None)


def no_sync_of_replaced_files() -> None:
    """Replace a file, and do not sync its directory."""
    replace = files.replace

    def unsynced(path: Path, content: bytes, staging: Staging, *, mode: int = files.WRITABLE_MODE) -> None:
        with patch.object(files, "sync_directory", lambda _: None):
            replace(path, content, staging, mode=mode)

    for place in disk, files:
        _plant(place, "replace", unsynced)


def names_replaced_in_two_steps() -> None:
    """Remove a view's name before another file gets it."""
    rename = links._rename_into_place  # noqa: SLF001  a planted defect

    def in_two_steps(staged: Path, path: Path) -> None:
        path.unlink(missing_ok=True)
        rename(staged, path)

    _plant(links, "_rename_into_place", in_two_steps)


def no_sync_of_blobs() -> None:
    """Never sync the bytes of a blob."""

    class Unsynced:
        def __getattr__(self, name: str) -> Any:
            return (lambda _: None) if name == "fsync" else getattr(os, name)

    _plant(ingest, "os", Unsynced())


def written_in_place() -> None:
    """Write small files under their final names."""

    def publish(path: Path, content: bytes, staging: Staging, *, mode: int = 0) -> bool:
        del staging, mode
        if path.exists():
            return False
        path.write_bytes(content)
        return True

    _plant(disk, "publish", publish)


def record_first() -> None:
    """Write a record before its blob is published."""
    finish = Transfer._finish  # noqa: SLF001  a planted defect

    def too_early(self: Transfer, draft: Draft, origin: Origin) -> None:
        blob = draft.ingest.descriptor
        self.store.records.remember(
            Record(self.wanted.identifier, blob.digest, blob.size, origin.trust, origin.name, "now")
        )
        finish(self, draft, origin)

    _plant(Transfer, "_finish", too_early)


def moved_too_early() -> None:
    """Remove an adopted file from its directory before its blob is published."""
    take = ingest.Ingest.take

    def and_away(self: ingest.Ingest, path: Path, **how: Any) -> Any:
        way = take(self, path, **how)
        path.unlink()
        return way

    _plant(ingest.Ingest, "take", and_away)


def nothing_reached() -> None:
    """Make a garbage collection ignore the refs."""
    _plant(Store, "reachable", lambda _: {EMPTY_BLOB})


PLANTS: dict[str, Callable[[], None]] = {
    plant.__name__.replace("_", "-"): plant
    for plant in (
        nothing,
        no_sync_of_directories,
        no_sync_of_replaced_files,
        names_replaced_in_two_steps,
        no_sync_of_blobs,
        written_in_place,
        record_first,
        moved_too_early,
        nothing_reached,
    )
}
