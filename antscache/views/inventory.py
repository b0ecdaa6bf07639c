"""What is held of which release, and what each release costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache.core import Entry, Release, union

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Descriptor, Digest, Identifier, Kind
    from antscache.store import Store

    Held = tuple[tuple[Entry, Descriptor], ...]


@dataclass(frozen=True, slots=True)
class ReleaseUsage:
    """What is held of a release in use; sizes in bytes.

    Attributes:
        size: of all of it: what it costs alone.
        own: what of it no other release in use shares.
        shared: what of it others share.
        below: what of it lower caches have, and costs nothing here.
    """

    release: Release
    entries: int
    present: int
    size: int
    own: int
    shared: int
    below: int
    home: Path


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry that can be fetched, and what is known of its file.

    Attributes:
        path: where a view has it, whole; None where none has.
        digest: as it is recorded, and its `size` in bytes; None where nothing is.
    """

    release: Release
    kind: Kind
    name: str
    file: str
    identifier: Identifier
    digest: Digest | None
    size: int | None
    path: Path | None


def usages_in(store: Store) -> tuple[ReleaseUsage, ...]:
    """What is held of each release in use in `store`."""
    selected = {release: union(store.refs.selections(release)) for release in store.refs.releases()}
    held = {release: store.held(entries) for release, entries in selected.items()}
    blobs = {release: {blob for _, blob in pairs} for release, pairs in held.items()}
    users = Counter(blob for each in blobs.values() for blob in each)
    here = {blob for blob in users if not store.lowers or store.owns(blob)}
    return tuple(
        ReleaseUsage(
            release=release,
            entries=len(entries),
            present=len(held[release]),
            size=sum(blob.size for blob in blobs[release]),
            own=sum(blob.size for blob in blobs[release] & here if users[blob] == 1),
            shared=sum(blob.size for blob in blobs[release] & here if users[blob] > 1),
            below=sum(blob.size for blob in blobs[release] - here),
            home=store.layout.view(release),
        )
        for release, entries in selected.items()
    )


def size_at(path: Path) -> int | None:
    """How many bytes the file at `path` has; None if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
