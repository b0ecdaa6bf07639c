"""What processes asked for, as `antscache run --record FILE` notes it: pure values, a line of JSON each.

    {"release": "antspynet==0.3.2", "kind": "data", "name": "S_template3", "file": "S_template3.nii.gz",
     "identifier": "figshare:22597175", "digest": "sha256:...", "size": 7158}

Processes write at the end of the file, several at once (`inject/antscache_getters.py`); the same may be there twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from antscache.core.digest import Descriptor, Digest, Size
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Kind, Name, Release, parse_release
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable


class UsageRecord(msgspec.Struct, frozen=True):
    """An entry of a release that was asked for, and the bytes that were used."""

    release: str
    kind: Kind
    name: Name
    file: Name
    identifier: Identifier
    digest: Digest
    size: Size

    @property
    def entry(self) -> Entry:
        """The entry."""
        return Entry(self.kind, self.name, self.file, self.identifier)

    @property
    def blob(self) -> Descriptor:
        """The bytes."""
        return Descriptor(self.digest, self.size)


def read_usage_log(content: bytes, place: str) -> dict[Release, tuple[UsageRecord, ...]]:
    """What is noted in `content`, each once, by release.

    Raises:
        ManifestError: a line is none of these; the message names `place` and the line.
    """
    found: dict[Release, dict[UsageRecord, None]] = {}
    for number, line in enumerate(content.splitlines(), 1):
        release, use = _use(line, f"{place}, line {number}")
        found.setdefault(release, {})[use] = None
    return {release: tuple(uses) for release, uses in found.items()}


def _use(line: bytes, where: str) -> tuple[Release, UsageRecord]:
    try:
        use = msgspec.json.decode(line, type=UsageRecord)
        return parse_release(use.release), use
    except (msgspec.MsgspecError, UnicodeDecodeError, ManifestError) as error:
        hint = "give a file that `antscache run --record FILE` has written"
        raise ManifestError(f"{where}: {error}", hint=hint) from None


def check_usage(uses: Iterable[UsageRecord], entries: Iterable[Entry], release: Release) -> None:
    """What was asked for is what `release` asks for, as its `entries` say.

    Raises:
        ManifestError: it is not.
    """
    known = set(entries)
    if strange := next((use for use in uses if use.entry not in known), None):
        told = f"{release} has no {strange.kind} {strange.name} that is {strange.identifier}"
        raise ManifestError(told, hint="the record is of another source that calls itself so: name it with --from")
