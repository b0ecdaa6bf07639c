"""Releases, and the entries that each of them asks for: pure values, no I/O.

An entry has an identifier and can be fetched, or a reason why it never can, or a problem that keeps antscache from
understanding it. Every value that a path is computed from (version, name, file, identifier) matches a pattern. Decoding
and `make_entry()` enforce the patterns, so paths can be computed from these values without another check.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec

from antscache.core.digest import Digest, digest_of
from antscache.core.identifiers import Identifier
from antscache.core.needs import Function
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["data", "network", "keras"]
Package = Literal["antspynet", "antspyx"]
# Normalised, without an epoch. Source: PEP 440, "Public version identifiers", "Local version identifiers".
_VERSION_PATTERN = r"\A[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[0-9a-z]+(\.[0-9a-z]+)*)?\Z"
Version = Annotated[str, msgspec.Meta(pattern=_VERSION_PATTERN, max_length=64)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z", max_length=200)]

PACKAGES: tuple[Package, ...] = get_args(Package)
KIND_WORDS: dict[str, Kind] = {  # a kind as users write it; ANTsPyNet says model
    "data": "data",
    "network": "network",
    "model": "network",
    "keras": "keras",
}


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
    """A file that a release asks for by name.

    Attributes:
        identifier: the name of the bytes; None if there is none.
        reason: the reason why the release itself has no bytes under this name: it has no URL for it, or refuses it.
        problem: the reason why antscache cannot tell the bytes, although the release has them: a computed URL, say.
    """

    kind: Kind
    name: Name
    file: Name
    identifier: Identifier | None = None
    reason: str | None = None
    problem: str | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.identifier, self.reason, self.problem)) != 1:
            raise ValueError(f"{self.name}: an entry has either an identifier or a reason or a problem")


class UnreadGetter(msgspec.Struct, frozen=True):
    """A function of the release that fetches files of a kind, and the problem that keeps antscache from reading it."""

    kind: Kind
    problem: str

    def __str__(self) -> str:
        return f"all names of kind {self.kind}: {self.problem}"


class Artifact(msgspec.Struct, frozen=True):
    """The published file that a manifest was read from."""

    file: str
    digest: Digest


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All entries of one release.

    Attributes:
        entries: sorted by kind and name.
        artifact: the published file that they were read from, if any.
        unread: the getters whose entries are missing here, because they cannot be read.
        loaded: the names of the networks that the release loads with Keras's `load_model`, which reads their
            configuration, unlike `load_weights`; None if that is not known.
        functions: the public functions that ask for entries, sorted by name; None if they have not been read.
        source: the digest over the text of the modules that the functions were read from.
    """

    release: Release
    entries: tuple[Entry, ...]
    artifact: Artifact | None = None
    unread: tuple[UnreadGetter, ...] = ()
    loaded: tuple[Name, ...] | None = None
    functions: tuple[Function, ...] | None = None
    source: Digest | None = None

    @property
    def identity(self) -> Digest:
        """The digest over the sorted (kind, name, file, identifier) and nothing else."""
        rows = sorted((entry.kind, entry.name, entry.file, entry.identifier) for entry in self.entries)
        return digest_of(msgspec.json.encode(rows))


def make_entry(kind: Kind, name: str, file: str, **found: str | None) -> Entry:
    """Make an entry of these values; `found` names its identifier, its reason or its problem.

    Raises:
        ValueError: a value does not match its pattern; the message names it.
    """
    return msgspec.convert({"kind": kind, "name": name, "file": file, **found}, Entry)


def parse_release(text: str) -> Release:
    """Return the release that `text` names: `antspynet==0.3.2`, or just `0.3.2`.

    Versions are normalised as PEP 440 does it, so `v0.3.2` is 0.3.2.

    Raises:
        ManifestError: `text` does not name one release of a package that antscache knows.
    """
    from packaging.version import Version as Pep440

    match = re.fullmatch(r"(?:([A-Za-z][\w.-]*)\s*==)?\s*([\w.+!-]+)", text.strip())
    hint = "write a release like antspynet==0.3.2, or just 0.3.2"
    if match is None:
        raise ManifestError(f"not a release: {text!r}", hint=hint)
    package = (match[1] or "antspynet").lower()
    if package not in PACKAGES:
        raise ManifestError(f"unknown package: {package!r}", hint=f"antscache knows {' and '.join(PACKAGES)}")
    try:
        return msgspec.convert({"package": package, "version": str(Pep440(match[2]))}, Release)
    except (ValueError, msgspec.ValidationError):  # a ValueError also where a number has thousands of digits
        raise ManifestError(f"not a version: {match[2]!r}", hint=hint) from None


class Change(msgspec.Struct, frozen=True):
    """A name under which two releases fetch different files.

    Attributes:
        old: the entry of the first release; None if it fetches nothing under this name.
        new: the entry of the second release; None if it fetches nothing under this name.
    """

    kind: Kind
    name: Name
    old: Entry | None
    new: Entry | None


def find_changes(old: Manifest, new: Manifest) -> tuple[Change, ...]:
    """Return the names under which `old` and `new` fetch different files, sorted by kind and name.

    An entry that cannot be fetched counts as absent, so a name that gets a usable identifier is an addition.
    """
    before, after = ({(e.kind, e.name): e for e in fetchable(manifest.entries)} for manifest in (old, new))
    return tuple(
        Change(kind, name, before.get((kind, name)), after.get((kind, name)))
        for kind, name in sorted(before.keys() | after.keys())
        if before.get((kind, name)) != after.get((kind, name))
    )


def identifiers_by_file(manifests: Iterable[Manifest]) -> dict[str, frozenset[Identifier]]:
    """Return for each file name the identifiers that any of `manifests` gives it: one for each of its contents."""
    names: dict[str, frozenset[Identifier]] = {}
    for entry in (entry for manifest in manifests for entry in manifest.entries):
        if entry.identifier is not None:
            names[entry.file] = names.get(entry.file, frozenset()) | {entry.identifier}
    return names


def fetchable(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return those of `entries` that have an identifier."""
    return tuple(entry for entry in entries if entry.identifier is not None)
