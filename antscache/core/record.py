"""Records of identifiers, notes of ingests, and selections of releases in use: pure values.

A record says which bytes an identifier names and why that is trusted. A selection names the entries of a release that
are in use. Each is one file, written once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from antscache.core.digest import Descriptor, Digest, Size, digest_of, hexadecimal
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Release

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Trust = Literal["lockfile", "origin", "mirror", "adopted"]
TRUST_RANKS: dict[Trust, int] = {"adopted": 0, "mirror": 1, "origin": 2, "lockfile": 3}
UNKNOWN_TRUST_RANK = TRUST_RANKS["mirror"]  # of a word that only a newer antscache knows
Check = Literal["digest", "length", "md5", "sha256", "form", "walk"]
Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_-]{0,31}\Z")]


def has_checksum(checks: Collection[str]) -> bool:
    """Return True if `checks` compared the bytes with a checksum that their origin told."""
    return "md5" in checks or "sha256" in checks


class Record(msgspec.Struct, frozen=True):
    """The bytes that `identifier` names, and the reason to trust that.

    Attributes:
        trust: the kind of source, a `Trust`, or a word of a newer antscache; see `trust.py`.
        source: the host that the bytes came from, never a whole URL (a URL may carry a token); the path of an adopted
            file.
        recorded: the time of this record, ISO 8601 in UTC.
        checks: the checks that the bytes passed: against a known digest; against the length, the MD5 and the SHA-256
            that the origin told; of the file's form; of its HDF5 structure and configuration (`walk`); or others, in
            words of a newer antscache.
        accepted: the findings that would have refused the bytes, and that the user accepted; empty if there are none.
        findings: those that did not refuse them (`hazards.py`), each in a short text.
    """

    identifier: Identifier
    digest: Digest
    size: Size
    trust: Word
    source: str
    recorded: str
    checks: tuple[Word, ...] = ()
    accepted: str = ""
    findings: tuple[str, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the bytes that the identifier names."""
        return Descriptor(self.digest, self.size)

    @property
    def rank(self) -> int:
        """The rank of the trust."""
        return next((rank for trust, rank in TRUST_RANKS.items() if trust == self.trust), UNKNOWN_TRUST_RANK)

    @property
    def is_adopted(self) -> bool:
        """True if a user's word alone says that these are the identifier's bytes."""
        return self.trust == "adopted"

    @property
    def is_known(self) -> bool:
        """True if this antscache knows the word for the trust."""
        return self.trust in TRUST_RANKS

    @property
    def is_confirmed(self) -> bool:
        """True if an origin, and not a mirror, confirmed the bytes by a checksum."""
        return self.trust == "origin" and has_checksum(self.checks)

    @property
    def is_scanned(self) -> bool:
        """True if a scan has looked for code and links to other files in the bytes, or the user accepts them anyway."""
        return "walk" in self.checks or self.accepted != ""

    def describe(self) -> str:
        """Return the digest and its reason: "sha256:... (from HOST, origin)"."""
        return f"{self.digest} (from {self.source}, {self.trust})"


class Partial(msgspec.Struct, frozen=True):
    """A note about the file that an unfinished ingest has the first bytes of, so that a later fetch can continue it.

    Attributes:
        size: of the whole file, in bytes.
        etag: the strong entity tag that the origin sent for this state of the file.
        origin: the name of the origin that sent it.
        boot: the boot identifier of the system that wrote the bytes. Bytes that were not synced survive the end of
            their process, but not a crash of the system.
    """

    identifier: Identifier
    size: Size
    etag: str
    origin: str
    boot: str


class Selection(msgspec.Struct, frozen=True):
    """The entries of a release that are in use; each of them can be fetched."""

    release: Release
    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        """Return the bytes of the selection's file."""
        return msgspec.json.encode(self) + b"\n"

    @property
    def name(self) -> str:
        """The name of the selection's file, without `.json`; equal selections have the same name."""
        return hexadecimal(digest_of(self.encode()))[:16]


def merge_selections(selections: Iterable[Selection]) -> tuple[Entry, ...]:
    """Return all entries that any of `selections` (of one release) names, sorted by kind and name."""
    return tuple(sorted({entry for selection in selections for entry in selection.entries}, key=_kind_and_name))


def _kind_and_name(entry: Entry) -> tuple[str, str]:
    return entry.kind, entry.name
