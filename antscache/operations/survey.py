"""What refs and records say should be there, and what is wrong with them: looked at before any file is read again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from antscache.core import hexadecimal
from antscache.errors import StoreError
from antscache.store import EMPTY

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.core import Descriptor, Digest, Entry, Identifier, Record, Release
    from antscache.store import Store

RootPart = Literal["blob", "record", "selection", "view", "index"]
Remedy = Literal["move", "open", "make"]


class Discrepancy(msgspec.Struct, frozen=True, order=True):
    """Something that is not as it should be.

    Attributes:
        part: of the root.
        path: where.
        problem: in words.
        remedy: what a repair does at `path` before it makes what is missing: it moves what is there aside; it lets its
            owner read it again; nothing.
    """

    part: RootPart
    path: str
    problem: str
    remedy: Remedy = "make"

    @property
    def place(self) -> tuple[RootPart, str]:
        """What it is about, wherever that is: a blob may be here or in a lower cache."""
        return self.part, Path(self.path).name if self.part == "blob" else self.path


class Expected(NamedTuple):
    """A file that should be there, and its bytes.

    Attributes:
        path: as text, for there may be tens of thousands.
        file: the name whose form the bytes should have, where that is looked at.
        needed: whether a release in use needs it; what none needs may be gone the next moment.
    """

    part: RootPart
    path: str
    digest: Digest
    file: str = ""
    needed: bool = True


class Survey(NamedTuple):
    """What refs and records say should be there.

    Attributes:
        findings: what they should say and do not.
        selected: by whom what is used.
        records: of what is used and of what is recorded here, as far as they can be read.
    """

    findings: list[Discrepancy]
    selected: dict[Release, tuple[Entry, ...]]
    records: dict[Identifier, Record]


def survey_of(store: Store, releases: Collection[Release]) -> Survey:
    """What `releases`, or all in use, have selected and how that is recorded."""
    selected = {release: store.refs.entries(release) for release in releases or store.refs.releases()}
    findings = [Discrepancy("selection", str(path), why, remedy_at(path)) for path, why in store.refs.damaged(selected)]
    used = {entry.identifier for entries in selected.values() for entry in entries if entry.identifier}
    records: dict[Identifier, Record] = {}
    for identifier, record in store.records.all():
        if not isinstance(record, str):
            records[identifier] = record
        elif not releases or identifier in used:
            path = store.layout.record(identifier)
            findings.append(Discrepancy("record", str(path), record, remedy_at(path)))
    for identifier in used if store.lowers else ():
        with suppress(StoreError):
            if found := store.record(identifier):
                records[identifier] = found
    findings += [
        Discrepancy("view", view, "nothing says what it should be" if os.path.lexists(view) else "never fetched")
        for release, entries in selected.items()
        for view in (
            f"{store.layout.directory_in_view(release)}/{each.file}"
            for each in entries
            if each.identifier not in records
        )
    ]
    return Survey(findings, selected, records)


def expected_of(store: Store, survey: Survey, *, deep: bool, everything: bool) -> list[Expected]:
    """The blobs and the names of views, sorted: those that are used, and with `everything` all blobs under the root."""
    found: dict[str, Expected] = {}
    for release, entries in survey.selected.items():
        directory = store.layout.directory_in_view(release)
        for entry in entries:
            if entry.identifier and (record := survey.records.get(entry.identifier)):
                place, view = _place(store, record.descriptor), f"{directory}/{entry.file}"
                file = entry.file if deep and not record.accepted else ""
                found[place] = Expected("blob", place, record.digest, file)
                found[view] = Expected("view", view, record.digest)
    if everything:
        for digest in store.digests():
            found.setdefault(path := blob_path(store, digest), Expected("blob", path, digest, needed=False))
        if survey.selected:  # what the index names needs it; a root that is half made need not have it yet
            path = blob_path(store, EMPTY.digest)
            found[path] = Expected("blob", path, EMPTY.digest)
    return [found[path] for path in sorted(found)]


def _place(store: Store, blob: Descriptor) -> str:
    """Where `blob` is or should be: under the root, unless a lower cache alone has it."""
    here = blob_path(store, blob.digest)
    if not store.lowers or os.path.lexists(here):
        return here
    return str(store.find(blob) or here)


def blob_path(store: Store, digest: Digest) -> str:
    """Where the blob named `digest` is under the root, as text."""
    return f"{store.layout.blobs}/{hexadecimal(digest)}"


def remedy_at(path: Path) -> Remedy:
    """What a repair does with what is at `path` and cannot be used."""
    try:
        status = path.lstat()
    except OSError:
        return "make"
    return "open" if S_ISREG(status.st_mode) and not os.access(path, os.R_OK) else "move"
