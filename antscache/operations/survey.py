"""The files that refs and records say should be there, and what is wrong with refs and records themselves.

`verify` takes the survey before it reads any file again.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from antscache.core import Layout, describe_twin, find_doubted, find_twins, hexadecimal, place_in_home
from antscache.store import EMPTY_BLOB

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.core import Descriptor, Digest, Entry, Identifier, Record, RecordConflict, Release
    from antscache.store import Store

RootPart = Literal["blob", "record", "selection", "view", "index"]
Remedy = Literal["move", "open", "make", "forget"]
NOT_THERE = "not there"  # the problem of a file that is missing


class Discrepancy(msgspec.Struct, frozen=True, order=True):
    """A difference between the root and what should be there.

    Attributes:
        part: the part of the root.
        path: the file, or its place if it is not there.
        problem: the difference in words.
        remedy: the first step of a repair at `path`: "move" moves the file aside, "open" lets its owner read it again,
            and "make" is none, because nothing is in the way of making or fetching it; "forget" is for the user alone.
    """

    part: RootPart
    path: str
    problem: str
    remedy: Remedy = "make"

    @property
    def is_unfinished(self) -> bool:
        """True if nothing is damaged: an interrupted command has not made a name in a view, or the index, yet."""
        return self.remedy == "make" and (self.part == "index" or (self.part == "view" and self.problem == NOT_THERE))

    @property
    def place(self) -> tuple[RootPart, str]:
        """The part and path; of a blob the name alone, because it may be here or in a lower cache."""
        return self.part, Path(self.path).name if self.part == "blob" else self.path


class Expected(NamedTuple):
    """A file that should be there, and its bytes.

    Attributes:
        part: the part of the root.
        path: as text, because there may be tens of thousands.
        digest: the digest of its bytes.
        file: the file name whose form the bytes should have; empty where the form is not checked.
        needed: True if a release in use needs it; a file that none needs may be deleted at any moment.
    """

    part: RootPart
    path: str
    digest: Digest
    file: str = ""
    needed: bool = True


class Survey(NamedTuple):
    """The entries in use and their records, as refs and records give them.

    Attributes:
        findings: what is wrong with refs and records themselves.
        selected: the entries in use, by release.
        records: those in the store, and those of lower caches for entries in use; by identifier, as far as readable.
    """

    findings: list[Discrepancy]
    selected: dict[Release, tuple[Entry, ...]]
    records: dict[Identifier, Record]


def survey_store(store: Store, releases: Collection[Release]) -> Survey:
    """Read the selections of `releases`, or of all in use, and the records; note those that are damaged."""
    selected = {release: store.refs.entries(release) for release in releases or store.refs.releases()}
    findings = [Discrepancy("selection", str(path), why, remedy_at(path)) for path, why in store.refs.damaged(selected)]
    used = {entry.identifier for entries in selected.values() for entry in entries if entry.identifier}
    records: dict[Identifier, Record] = {}
    used_paths = {store.layout.record(identifier) for identifier in used}
    for path, record in store.records.all():
        if not isinstance(record, str):
            records[record.identifier] = record
        elif not releases or path in used_paths:
            findings.append(Discrepancy("record", str(path), record, remedy_at(path)))
    records, doubts = _weigh(store, records, [entry for entries in selected.values() for entry in entries])
    findings += [finding for identifier, finding in doubts if not releases or identifier in used]
    findings += [
        Discrepancy("view", view, "no record of its bytes" if os.path.lexists(view) else "never fetched")
        for release, entries in selected.items()
        for view in (
            f"{store.layout.view(release)}/{place_in_home(release.package, entry)}"
            for entry in entries
            if entry.identifier not in records
        )
    ]
    return Survey(findings, selected, records)


def _weigh(
    store: Store, own: dict[Identifier, Record], entries: Collection[Entry]
) -> tuple[dict[Identifier, Record], list[tuple[Identifier, Discrepancy]]]:
    """Return the records that count, and a finding about each of `own` that may be wrong.

    Args:
        store: the root's.
        own: the records in the root.
        entries: in use; what lower caches have recorded for them counts too.
    """
    records, known, findings = dict(own), [*own.values()], []
    if store.lowers:
        state, known = store.present_state(entries), store.layers.all()
        records |= state.records
        findings = [(one.record.identifier, _conflict_finding(store, one)) for one in state.conflicts]
    for identifier, other in find_twins(known).items():
        if identifier in own and own[identifier].is_adopted:
            problem = f"adopted, and the same bytes as {describe_twin(other)}"
            findings.append((identifier, _record_finding(store, own[identifier], problem)))
    doubted = find_doubted(known)
    counting = {i: record for i, record in records.items() if not (record.is_adopted and i in doubted)}
    return counting, findings


def _conflict_finding(store: Store, conflict: RecordConflict) -> Discrepancy:
    """Return a finding about a record of which a lower cache says otherwise."""
    if not conflict.root:
        return _record_finding(store, conflict.record, str(conflict))
    path = Layout(Path(conflict.root)).record(conflict.record.identifier)
    return Discrepancy("record", str(path), f"{conflict}; leave out the lower cache that is wrong", "forget")


def _record_finding(store: Store, record: Record, problem: str) -> Discrepancy:
    """Return a finding about a record that can be read: only the user can tell if it is right."""
    what = f"{problem}; `antscache forget {record.identifier}` takes it back"
    return Discrepancy("record", str(store.layout.record(record.identifier)), what, "forget")


def expected_files(store: Store, survey: Survey, *, deep: bool, everything: bool) -> list[Expected]:
    """List the blobs and the names in views that should be there, sorted by path.

    Args:
        store: of the root.
        survey: of `store`.
        deep: check the form of blobs as well, but for those whose records say what was found in them.
        everything: also the blobs under the root that no release in `survey` uses.
    """
    expected: dict[str, Expected] = {}
    for release, entries in survey.selected.items():
        home = store.layout.view(release)
        for entry in entries:
            if entry.identifier and (record := survey.records.get(entry.identifier)):
                place, view = _find_place(store, record.descriptor), f"{home}/{place_in_home(release.package, entry)}"
                file = entry.file if deep and not (record.accepted or record.findings) else ""
                expected[place] = Expected("blob", place, record.digest, file)
                expected[view] = Expected("view", view, record.digest)
    if everything:
        for digest in store.digests():
            expected.setdefault(path := blob_path(store, digest), Expected("blob", path, digest, needed=False))
        if survey.selected:  # the artifacts in the index name it; without a release in use it need not be there yet
            path = blob_path(store, EMPTY_BLOB.digest)
            expected[path] = Expected("blob", path, EMPTY_BLOB.digest)
    return [expected[path] for path in sorted(expected)]


def _find_place(store: Store, blob: Descriptor) -> str:
    """Return the path at which `blob` is or should be: under the root, unless a lower cache alone has it."""
    here = blob_path(store, blob.digest)
    if not store.lowers or os.path.lexists(here):
        return here
    return str(store.find(blob) or here)


def blob_path(store: Store, digest: Digest) -> str:
    """Return the path of the blob `digest` under the root, as text."""
    return f"{store.layout.blobs}/{hexadecimal(digest)}"


def remedy_at(path: Path) -> Remedy:
    """Return the remedy for an unusable file at `path`."""
    try:
        status = path.lstat()
    except OSError:
        return "make"
    return "open" if S_ISREG(status.st_mode) and not os.access(path, os.R_OK) else "move"
