"""The usage log of `antscache run --record FILE`: the entries that processes asked for, one line of JSON each. Pure.

    {"release": "antspynet==0.3.2", "kind": "data", "name": "S_template3", "file": "S_template3.nii.gz",
     "identifier": "figshare:22597175", "digest": "sha256:...", "size": 7158}

Several processes may append to the file at once (`inject/antscache_getters.py`), so a line may occur twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from antscache.core.digest import Descriptor, Digest, Size
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Kind, Name, Release, parse_release
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class UsageRecord(msgspec.Struct, frozen=True):
    """An entry of a release that a process asked for, and the bytes that it got."""

    release: str
    kind: Kind
    name: Name
    file: Name
    identifier: Identifier
    digest: Digest
    size: Size

    @property
    def entry(self) -> Entry:
        """The entry that was asked for."""
        return Entry(self.kind, self.name, self.file, self.identifier)

    @property
    def blob(self) -> Descriptor:
        """The descriptor of the bytes that the process got."""
        return Descriptor(self.digest, self.size)


def read_usage_log(content: bytes, place: str) -> dict[Release, tuple[UsageRecord, ...]]:
    """Return the records in `content`, each once, by release.

    Raises:
        ManifestError: a line is no record; the message names `place` and the line.
    """
    records: dict[Release, dict[UsageRecord, None]] = {}
    for number, line in enumerate(content.splitlines(), 1):
        release, record = _parse_line(line, f"{place}, line {number}")
        records.setdefault(release, {})[record] = None
    return {release: tuple(of_release) for release, of_release in records.items()}


def _parse_line(line: bytes, where: str) -> tuple[Release, UsageRecord]:
    try:
        record = msgspec.json.decode(line, type=UsageRecord)
        return parse_release(record.release), record
    except (msgspec.MsgspecError, UnicodeDecodeError, ManifestError) as error:
        hint = "give a file that `antscache run --record FILE` has written"
        raise ManifestError(f"{where}: {error}", hint=hint) from None


def files_of_usage(
    usage: Mapping[Release, Collection[UsageRecord]],
) -> dict[Release, tuple[tuple[Entry, Descriptor], ...]]:
    """Return the files in a record of use, by release, each entry once with the bytes that processes got.

    Raises:
        ManifestError: processes got different bytes of one identifier, or different files of one name.
    """
    blobs: dict[Identifier, Descriptor] = {}
    entries: dict[tuple[Release, Kind, str], Entry] = {}
    for release, record in ((release, record) for release, records in usage.items() for record in records):
        if (blob := blobs.setdefault(record.identifier, record.blob)) != record.blob:
            raise _contradicts(record.name, blob.digest, record.digest)
        if (entry := entries.setdefault((release, record.kind, record.name), record.entry)) != record.entry:
            raise _contradicts(record.name, f"{entry.identifier}, {entry.file}", f"{record.identifier}, {record.file}")
    files: dict[Release, dict[Entry, Descriptor]] = {}
    for (release, _, _), entry in entries.items():
        files.setdefault(release, {})[entry] = blobs[str(entry.identifier)]
    return {release: tuple(sorted(of_release.items())) for release, of_release in files.items()}


def _contradicts(name: str, one: str, other: str) -> ManifestError:
    return ManifestError(
        f"the record says that {name} was {one}, and that it was {other}",
        hint="give the records of one run, or make a new one with `antscache run --record FILE`",
    )


def check_usage(records: Iterable[UsageRecord], entries: Iterable[Entry], release: Release) -> None:
    """Check that each of `records` is of one of `entries`, which are those of `release`.

    Raises:
        ManifestError: one is not; the message names it.
    """
    known = set(entries)
    if unknown := next((record for record in records if record.entry not in known), None):
        raise ManifestError(
            f"{release} has no entry {unknown.name} of kind {unknown.kind} with {unknown.identifier}",
            hint="the usage log is of another source with the same version: name that source with --from",
        )
