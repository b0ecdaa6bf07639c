"""What a release asks for: pure values, no I/O.

An entry either has an identifier, and can be fetched, or a reason why it never can. Every value that ends up in a
path (version, name, file, identifier) matches a pattern that keeps it one path component; decoding and
`entry()` enforce it, so paths can be computed from these values without a second look.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec

from antscache.core.digest import Digest, digest_of
from antscache.core.identifiers import Identifier
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["data", "network"]
Package = Literal["antspynet", "antspyx"]
Version = Annotated[str, msgspec.Meta(pattern=r"\A[0-9][0-9a-z.+]*\Z", max_length=64)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z", max_length=200)]

PACKAGES: tuple[Package, ...] = get_args(Package)


class Release(msgspec.Struct, frozen=True, order=True):
    """A package and its version; `str()` writes it like a requirement: `antspynet==0.3.2`."""

    package: Package
    version: Version

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def slug(self) -> str:
        """The release as one path component: `antspynet-0.3.2`."""
        return f"{self.package}-{self.version}"


class Entry(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One thing a release asks for by name.

    Attributes:
        identifier: what is fetched for it; None where the release names nothing that can be.
        reason: why there is no identifier; None where there is one.
    """

    kind: Kind
    name: Name
    file: Name
    identifier: Identifier | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.identifier is None) == (self.reason is None):
            raise ValueError(f"{self.name}: an entry has either an identifier or a reason")


class Artifact(msgspec.Struct, frozen=True):
    """The published file a manifest was read from."""

    file: str
    digest: Digest


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All entries of one release, sorted by kind and name; `artifact` where it was read from a published file."""

    release: Release
    entries: tuple[Entry, ...]
    artifact: Artifact | None = None

    @property
    def identity(self) -> Digest:
        """The digest over the sorted (kind, name, file, identifier), and nothing else."""
        rows = sorted((entry.kind, entry.name, entry.file, entry.identifier) for entry in self.entries)
        return digest_of(msgspec.json.encode(rows))


def entry(kind: Kind, name: str, file: str, *, identifier: str | None = None, reason: str | None = None) -> Entry:
    """The entry of these values.

    Raises:
        ValueError: a value does not match its pattern; the message says which.
    """
    fields = {"kind": kind, "name": name, "file": file, "identifier": identifier, "reason": reason}
    return msgspec.convert(fields, Entry)


def parse_release(text: str) -> Release:
    """Read `antspynet==0.3.2`, or just `0.3.2`, as people type it.

    Versions are compared as PEP 440 does, so `v0.3.2` is 0.3.2.

    Raises:
        ManifestError: `text` does not name one release of a package antscache knows.
    """
    from packaging.version import InvalidVersion
    from packaging.version import Version as Pep440

    match = re.fullmatch(r"(?:([A-Za-z][\w.-]*)\s*==)?\s*([\w.+!-]+)", text.strip())
    hint = "write it like antspynet==0.3.2, or just 0.3.2"
    if match is None:
        raise ManifestError(f"not a release: {text!r}", hint=hint)
    package = (match[1] or "antspynet").lower()
    if package not in PACKAGES:
        raise ManifestError(f"not a package antscache knows: {package!r}", hint=f"known are {' and '.join(PACKAGES)}")
    try:
        return msgspec.convert({"package": package, "version": str(Pep440(match[2]))}, Release)
    except (InvalidVersion, msgspec.ValidationError):
        raise ManifestError(f"not a version: {match[2]!r}", hint=hint) from None


class Change(msgspec.Struct, frozen=True):
    """One name under which two releases ask for different things.

    Attributes:
        old: what the first release fetches for it; None if it fetches nothing.
        new: what the second does.
    """

    kind: Kind
    name: Name
    old: Entry | None
    new: Entry | None


def changes(old: Manifest, new: Manifest) -> tuple[Change, ...]:
    """The names for which `new` fetches what `old` does not, sorted by kind and name.

    What a release cannot fetch counts as not there: a name that gets a usable identifier is added.
    """
    before, after = ({(e.kind, e.name): e for e in fetchable(manifest.entries)} for manifest in (old, new))
    return tuple(
        Change(kind, name, before.get((kind, name)), after.get((kind, name)))
        for kind, name in sorted(before.keys() | after.keys())
        if before.get((kind, name)) != after.get((kind, name))
    )


def fetchable(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Those of `entries` that have an identifier."""
    return tuple(entry for entry in entries if entry.identifier is not None)
