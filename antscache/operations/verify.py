"""Everything read again, and compared with what it should be. Changes nothing.

A blob is a file of its own and has the bytes that its name says; a record, a selection and the index can be read and
say what their names say; a view's names lead to the bytes of their release. What is used of a lower cache is read
there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from antscache.core import Descriptor, hexadecimal, home_directory
from antscache.disk import hash_file
from antscache.errors import StoreError
from antscache.formats import Form, FormError, form_of
from antscache.store import EMPTY, artifact_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from antscache.core import Digest, Entry, Identifier, Record, Release
    from antscache.store import Store

Part = Literal["blob", "record", "selection", "view", "index"]
Remedy = Literal["move", "open", "make"]


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that is not as it should be.

    Attributes:
        part: of the root.
        path: where.
        problem: in words.
        remedy: what a repair does at `path` before it makes what is missing: it moves what is there aside; it lets its
            owner read it again; nothing.
    """

    part: Part
    path: str
    problem: str
    remedy: Remedy = "make"

    @property
    def place(self) -> tuple[Part, str]:
        """What it is about, wherever that is: a blob may be here or in a lower cache."""
        return self.part, Path(self.path).name if self.part == "blob" else self.path


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and what was found.

    Attributes:
        blobs: how many were read.
        size: how many bytes were read, of blobs and of what views have instead of them.
        repaired: what was found first and is no longer so.
        refused: what a repair could not do, and why.
    """

    blobs: int
    size: int
    findings: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()
    refused: tuple[str, ...] = ()


class Expected(NamedTuple):
    """A file that should be there, and its bytes.

    Attributes:
        path: as text, for there may be tens of thousands.
        file: the name whose form the bytes should have, where that is looked at.
        needed: whether a release in use needs it; what none needs may be gone the next moment.
    """

    part: Part
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

    findings: list[Finding]
    selected: dict[Release, tuple[Entry, ...]]
    records: dict[Identifier, Record]


def verify(
    store: Store,
    releases: Collection[Release] = (),
    *,
    deep: bool = False,
    jobs: int,
    heard: Callable[[int], object] = lambda _: None,
) -> Verified:
    """Read everything in `store`, or what `releases` use of it.

    Args:
        store: the root, which need not be there.
        releases: in use; all, if there are none.
        deep: repeat the checks of form, which takes ten times as long.
        jobs: files read at once.
        heard: told how many bytes were read, from any thread.

    Raises:
        StoreError: a directory cannot be read.
    """
    survey = survey_of(store, releases)
    groups, sizes_here, findings = _grouped(expected_of(store, survey, deep=deep, everything=not releases))
    readings = _read(groups, jobs, heard)
    for group, (blob, problem) in zip(groups, readings, strict=True):
        findings += [finding for each in group if (finding := _judged(each, blob, problem))]
    sizes = {blob.digest: blob.size for blob, _ in readings if blob}
    findings += survey.findings + _wrong_sizes(store, survey.records, sizes)
    if not releases and store.exists() and (wrong := _wrong_index(store, survey, sizes_here)):
        findings.append(wrong)
    blobs = sum(any(each.part == "blob" for each in group) for group in groups)
    return Verified(blobs, sum(blob.size for blob, _ in readings if blob), tuple(sorted(findings)))


def sums(store: Store, releases: Collection[Release] = ()) -> Iterator[tuple[Digest, Path]]:
    """What `sha256sum -c` needs to come to the same verdict of blobs and views: each file's digest and where it is.

    It follows links, so that a link in place of a blob, whose target is right, is right to it and not to `verify`.
    """
    for each in expected_of(store, survey_of(store, releases), deep=False, everything=not releases):
        yield each.digest, Path(each.path)


# What should be there


def survey_of(store: Store, releases: Collection[Release]) -> Survey:
    """What `releases`, or all in use, have selected and how that is recorded."""
    selected = {release: store.refs.entries(release) for release in releases or store.refs.releases()}
    findings = [Finding("selection", str(path), why, _remedy(path)) for path, why in store.refs.damaged(selected)]
    used = {entry.identifier for entries in selected.values() for entry in entries if entry.identifier}
    records: dict[Identifier, Record] = {}
    for identifier, record in store.recorded():
        if not isinstance(record, str):
            records[identifier] = record
        elif not releases or identifier in used:
            path = store.layout.record(identifier)
            findings.append(Finding("record", str(path), record, _remedy(path)))
    for identifier in used if store.lowers else ():
        with suppress(StoreError):
            if found := store.record(identifier):
                records[identifier] = found
    findings += [
        Finding("view", view, "nothing says what it should be" if os.path.lexists(view) else "never fetched")
        for release, entries in selected.items()
        for view in (f"{_directory(store, release)}/{each.file}" for each in entries if each.identifier not in records)
    ]
    return Survey(findings, selected, records)


def expected_of(store: Store, survey: Survey, *, deep: bool, everything: bool) -> list[Expected]:
    """The blobs and the names of views, sorted: those that are used, and with `everything` all blobs under the root."""
    found: dict[str, Expected] = {}
    for release, entries in survey.selected.items():
        directory = _directory(store, release)
        for entry in entries:
            if entry.identifier and (record := survey.records.get(entry.identifier)):
                place, view = _place(store, record.descriptor), f"{directory}/{entry.file}"
                file = entry.file if deep and not record.accepted else ""
                found[place] = Expected("blob", place, record.digest, file)
                found[view] = Expected("view", view, record.digest)
    if everything:
        for digest in store.digests():
            found.setdefault(path := _here(store, digest), Expected("blob", path, digest, needed=False))
        if survey.selected:  # what the index names needs it; a root that is half made need not have it yet
            path = _here(store, EMPTY.digest)
            found[path] = Expected("blob", path, EMPTY.digest)
    return [found[path] for path in sorted(found)]


def _directory(store: Store, release: Release) -> Path:
    """Where the view of `release` has its names."""
    return store.layout.view(release) / home_directory(release.package)


def _place(store: Store, blob: Descriptor) -> str:
    """Where `blob` is or should be: under the root, unless a lower cache alone has it."""
    here = _here(store, blob.digest)
    if not store.lowers or os.path.lexists(here):
        return here
    return str(store.find(blob) or here)


def _here(store: Store, digest: Digest) -> str:
    """Where the blob named `digest` is under the root, as text."""
    return f"{store.layout.blobs}/{hexadecimal(digest)}"


# What is there


def _grouped(expected: Iterable[Expected]) -> tuple[list[list[Expected]], dict[str, int], list[Finding]]:
    """Those of `expected` that are one file, the largest first; how large each is; and those that cannot be read."""
    groups: dict[tuple[int, int], list[Expected]] = defaultdict(list)
    sizes, findings = dict[str, int](), []
    for each in expected:
        try:
            status = os.stat(each.path, follow_symlinks=each.part == "view")  # noqa: PTH116  text
        except OSError as error:
            if each.needed or not isinstance(error, FileNotFoundError):
                findings.append(_unread(each, error))
            continue
        if S_ISREG(status.st_mode):
            groups[status.st_dev, status.st_ino].append(each)
            sizes[each.path] = status.st_size
        else:
            findings.append(Finding(each.part, each.path, _called(status.st_mode), "move"))
    return sorted(groups.values(), key=lambda group: -sizes[group[0].path]), sizes, findings


def _called(mode: int) -> str:
    return "a link" if S_ISLNK(mode) else "a directory" if S_ISDIR(mode) else "not a file"


def _unread(expected: Expected, error: OSError) -> Finding:
    if isinstance(error, FileNotFoundError):
        problem = "leads nowhere" if os.path.lexists(expected.path) else "not there"
        return Finding(expected.part, expected.path, problem)
    return Finding(expected.part, expected.path, f"cannot be read: {error.strerror}", _remedy(Path(expected.path)))


def _remedy(path: Path) -> Remedy:
    """What a repair does with what is at `path` and cannot be used."""
    try:
        status = path.lstat()
    except OSError:
        return "make"
    return "open" if S_ISREG(status.st_mode) and not os.access(path, os.R_OK) else "move"


_Reading = tuple[Descriptor | None, OSError | str]  # the bytes of a file, and what is wrong with it otherwise


def _read(groups: list[list[Expected]], jobs: int, heard: Callable[[int], object]) -> list[_Reading]:
    """Each group's file, read once, several at once."""
    readings: list[_Reading] = [(None, "")] * len(groups)
    numbers = iter(range(len(groups)))  # shared: who is ready takes the next one

    def work() -> None:
        for number in numbers:
            group = groups[number]
            file = next((each.file for each in group if each.file), "")
            readings[number] = _reading(group[0].path, form_of(file) if file else None, heard)

    with ThreadPoolExecutor(jobs) as threads:
        for worker in [threads.submit(work) for _ in range(jobs)]:
            worker.result()
    return readings


def _reading(path: str, form: Form | None, heard: Callable[[int], object]) -> _Reading:
    """The bytes of the file at `path`, and in how far they have not this form."""
    unlike = ""

    def look(chunk: memoryview) -> None:
        nonlocal form, unlike
        heard(len(chunk))
        if form:
            try:
                form.feed(chunk)
            except FormError as error:
                form, unlike = None, str(error)

    try:
        blob = hash_file(path, look if form else lambda chunk: heard(len(chunk)))
    except OSError as error:
        return None, error
    if form:
        try:
            form.finish()
        except FormError as error:
            unlike = str(error)
    return blob, unlike


def _judged(expected: Expected, blob: Descriptor | None, problem: OSError | str) -> Finding | None:
    """What is wrong with a file that was read as `blob`, or could not be."""
    if isinstance(problem, OSError):
        gone = isinstance(problem, FileNotFoundError)
        return _unread(expected, problem) if expected.needed or not gone else None
    if blob and blob.digest != expected.digest:
        return Finding(expected.part, expected.path, f"other bytes: {blob.digest}", "move")
    if problem and expected.file:  # the right bytes: there are no others to be had
        return Finding(expected.part, expected.path, problem)
    return None


def _wrong_sizes(store: Store, records: Mapping[Identifier, Record], sizes: Mapping[Digest, int]) -> list[Finding]:
    """The records here whose digest is right and whose size cannot be."""
    return [
        Finding("record", str(path), f"says {record.size} bytes of a blob that has {sizes[record.digest]}", "move")
        for identifier, record in records.items()
        if sizes.get(record.digest, record.size) != record.size and (path := store.layout.record(identifier)).exists()
    ]


def _wrong_index(store: Store, survey: Survey, sizes: Mapping[str, int]) -> Finding | None:
    """What is wrong with the index, if that can be told from what it is made of."""
    if any(finding.part in {"selection", "record"} and finding.remedy != "make" for finding in survey.findings):
        return None
    held = {
        release: [
            (entry.file, record.descriptor)
            for entry in entries
            if entry.identifier and (record := survey.records.get(entry.identifier))
            if sizes.get(_here(store, record.digest)) == record.size
        ]
        for release, entries in survey.selected.items()
    }
    path = store.layout.index
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return _unread(Expected("index", str(path), EMPTY.digest), error)
    if not S_ISREG(mode):
        return Finding("index", str(path), _called(mode), "move")
    if not store.indexes({release: artifact_manifest(files) for release, files in held.items()}):
        return Finding("index", str(path), "not what refs, records and blobs say")
    return None
