"""What is remembered of identifiers and of releases in use: pure values.

A record says what an identifier turned out to be and how that came to be trusted; a selection says which entries of a
release somebody uses. Both are one file each, written once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from antscache.core.digest import Descriptor, Digest, Size, digest_of, hexadecimal
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Release

if TYPE_CHECKING:
    from collections.abc import Iterable

Trust = Literal["lockfile", "origin", "mirror", "adopted"]
RANK: dict[Trust, int] = {"adopted": 0, "mirror": 1, "origin": 2, "lockfile": 3}
Check = Literal["digest", "length", "md5", "form", "walk"]


class Record(msgspec.Struct, frozen=True):
    """What `identifier` turned out to be.

    Attributes:
        trust: who said so; a later word counts only if its rank is higher.
        source: where the bytes came from: a host, never a whole URL (a URL may carry a token); of an adopted file, its
            path.
        recorded: when, ISO 8601 in UTC.
        checks: what the bytes were checked by: a digest that was known; the length and the MD5 that the origin told;
            the form of such a file; a walk through its HDF5 structure.
        accepted: what the form or the walk found, where the user accepted it.
    """

    identifier: Identifier
    digest: Digest
    size: Size
    trust: Trust
    source: str
    recorded: str
    checks: tuple[Check, ...] = ()
    accepted: str = ""

    @property
    def descriptor(self) -> Descriptor:
        """The bytes the identifier names."""
        return Descriptor(self.digest, self.size)


class Partial(msgspec.Struct, frozen=True):
    """What the bytes of an ingest are the beginning of, so that they can be gone on from.

    Attributes:
        size: of the whole file.
        etag: which state of the file; a strong one, as the origin sent it.
        origin: the name of the origin that sent it.
        boot: of the system that wrote it. Bytes that were not synced outlive their process, and not their system.
    """

    identifier: Identifier
    size: Size
    etag: str
    origin: str
    boot: str


class Selection(msgspec.Struct, frozen=True):
    """A release in use, and which of its entries; it has no unavailable ones."""

    release: Release
    entries: tuple[Entry, ...]

    def encoded(self) -> bytes:
        """The bytes of the selection's file."""
        return msgspec.json.encode(self) + b"\n"

    @property
    def name(self) -> str:
        """What the selection's file is called, less `.json`: equal selections are one file."""
        return hexadecimal(digest_of(self.encoded()))[:16]


def union(selections: Iterable[Selection]) -> tuple[Entry, ...]:
    """All entries that any of `selections` (of one release) names, sorted."""
    return tuple(sorted({entry for selection in selections for entry in selection.entries}, key=_kind_and_name))


def _kind_and_name(entry: Entry) -> tuple[str, str]:
    return entry.kind, entry.name
