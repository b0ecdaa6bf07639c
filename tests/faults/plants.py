"""Defects to plant in antscache, each of which the harness must find: so that its silence means something."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from antscache import disk
from antscache.core.record import Record
from antscache.disk import files
from antscache.fetch.transfer import Transfer
from antscache.store import ingest
from antscache.store.oci import EMPTY
from antscache.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from antscache.core import Staging
    from antscache.fetch.draft import Draft
    from antscache.fetch.origins import Origin


def _plant(place: object, name: str, defect: object) -> None:
    setattr(place, name, defect)


def nothing() -> None:
    """antscache is as it is."""


def no_sync_of_directories() -> None:
    """Names are never made durable."""
    for place in disk, files:
        _plant(place, "sync_directory", lambda _: None)


def no_sync_of_blobs() -> None:
    """The bytes of blobs are never made durable."""

    class Unsynced:
        def __getattr__(self, name: str) -> Any:
            return (lambda _: None) if name == "fsync" else getattr(os, name)

    _plant(ingest, "os", Unsynced())


def written_in_place() -> None:
    """Small files are written under their own names."""

    def publish(path: Path, content: bytes, staging: Staging, *, mode: int = 0) -> bool:
        del staging, mode
        if path.exists():
            return False
        path.write_bytes(content)
        return True

    _plant(disk, "publish", publish)


def record_first() -> None:
    """A record is written before its blob is there."""
    finish = Transfer._finish  # noqa: SLF001  a defect gets in where it likes

    def too_early(self: Transfer, draft: Draft, origin: Origin) -> None:
        blob = draft.ingest.descriptor
        self.store.records.remember(
            Record(self.wanted.identifier, blob.digest, blob.size, origin.trust, origin.name, "now")
        )
        finish(self, draft, origin)

    _plant(Transfer, "_finish", too_early)


def moved_too_early() -> None:
    """What is adopted is taken away from where it was before it is a blob."""
    take = ingest.Ingest.take

    def and_away(self: ingest.Ingest, path: Path, **how: Any) -> Any:
        way = take(self, path, **how)
        path.unlink()
        return way

    _plant(ingest.Ingest, "take", and_away)


def nothing_reached() -> None:
    """A garbage collection does not know what refs reach."""
    _plant(Store, "reachable", lambda _: {EMPTY})


PLANTS: dict[str, Callable[[], None]] = {
    plant.__name__.replace("_", "-"): plant
    for plant in (
        nothing,
        no_sync_of_directories,
        no_sync_of_blobs,
        written_in_place,
        record_first,
        moved_too_early,
        nothing_reached,
    )
}
