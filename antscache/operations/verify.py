"""Read everything again, and compare it with what it should be. Changes nothing.

A blob is a file of its own and has the bytes that its name says; a record, a selection and the index can be read and
say what their names say; a view's names lead to the bytes of their release. What is used of a lower cache is read
there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from antscache.core import Descriptor, ignore_events
from antscache.errors import ViewError
from antscache.formats import inspect
from antscache.operations.survey import Discrepancy, Expected, blob_path, expected_of, remedy_at, survey_of
from antscache.store import EMPTY, artifact_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core import Digest, Identifier, Listener, Record, Release
    from antscache.operations.survey import Survey
    from antscache.root import Root
    from antscache.store import Store


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
    findings: tuple[Discrepancy, ...]
    repaired: tuple[Discrepancy, ...] = ()
    refused: tuple[str, ...] = ()


def verify_root(
    root: Root,
    releases: Collection[Release] = (),
    *,
    deep: bool = False,
    below: bool = True,
    listen: Listener = ignore_events,
) -> Verified:
    """Read everything again, or what `releases` use, and compare it with what it should be.

    Lower caches are read for `releases` that are in use there alone, and whole where there is no root: in an image.

    Args:
        root: to read.
        releases: in use; all, if there are none.
        deep: repeat the checks of form, which takes ten times as long.
        below: whether to read lower caches.
        listen: hears how many bytes were read, from any thread.

    Raises:
        StoreError: the root cannot be read.
        ViewError: one of `releases` is not in use.
    """
    jobs, places = root.settings.jobs, _places(root, releases, below=below)
    each = [_verify(store, named, deep=deep, jobs=jobs, listen=listen) for store, named in places]
    findings = sorted(finding for one in each for finding in one.findings)
    return Verified(sum(one.blobs for one in each), sum(one.size for one in each), tuple(findings))


def list_sums(root: Root, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
    """Return each file's digest and path: with these `sha256sum -c` comes to the same verdict of blobs and views.

    It follows links, so that a link in place of a blob, whose target is right, is right to it and not to `verify_root`.

    Raises:
        StoreError: the root cannot be read.
        ViewError: one of `releases` is not in use.
    """
    return tuple(
        (each.digest, Path(each.path))
        for store, named in _places(root, releases, below=True)
        for each in expected_of(store, survey_of(store, named), deep=False, everything=not named)
    )


def _places(root: Root, releases: Collection[Release], *, below: bool) -> list[tuple[Store, Collection[Release]]]:
    """Return the stores to read, and the releases of each: the root, and lower caches for what it has not in use.

    Raises:
        ViewError: one of `releases` is in use in none of them.
    """
    lowers = root.store.lowers if below else ()
    if not releases:
        return [(store, ()) for store in (lowers if lowers and not root.store.exists() else (root.store,))]
    found: dict[Store, list[Release]] = {}
    for release in dict.fromkeys(releases):
        store = next((each for each in (root.store, *lowers) if release in each.refs.releases()), None)
        if store is None:
            told = f"nothing of {release} is in use in {root.layout.root}"
            raise ViewError(told, hint="`antscache list` tells what is")
        found.setdefault(store, []).append(release)
    return [*found.items()]


def _verify(store: Store, releases: Collection[Release], *, deep: bool, jobs: int, listen: Listener) -> Verified:
    """Read everything in `store`, or what `releases` use of it, `jobs` files at once."""
    survey = survey_of(store, releases)
    groups, sizes_here, findings = _grouped(expected_of(store, survey, deep=deep, everything=not releases))
    readings = _read(groups, jobs, listen)
    for group, (blob, problem) in zip(groups, readings, strict=True):
        findings += [finding for each in group if (finding := _judged(each, blob, problem))]
    sizes = {blob.digest: blob.size for blob, _ in readings if blob}
    findings += survey.findings + _wrong_sizes(store, survey.records, sizes)
    if not releases and store.exists() and (wrong := _wrong_index(store, survey, sizes_here)):
        findings.append(wrong)
    blobs = sum(any(each.part == "blob" for each in group) for group in groups)
    return Verified(blobs, sum(blob.size for blob, _ in readings if blob), tuple(sorted(findings)))


# What is there


def _grouped(expected: Iterable[Expected]) -> tuple[list[list[Expected]], dict[str, int], list[Discrepancy]]:
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
            findings.append(Discrepancy(each.part, each.path, _called(status.st_mode), "move"))
    return sorted(groups.values(), key=lambda group: -sizes[group[0].path]), sizes, findings


def _called(mode: int) -> str:
    return "a link" if S_ISLNK(mode) else "a directory" if S_ISDIR(mode) else "not a file"


def _unread(expected: Expected, error: OSError) -> Discrepancy:
    if isinstance(error, FileNotFoundError):
        problem = "leads nowhere" if os.path.lexists(expected.path) else "not there"
        return Discrepancy(expected.part, expected.path, problem)
    return Discrepancy(
        expected.part, expected.path, f"cannot be read: {error.strerror}", remedy_at(Path(expected.path))
    )


_Reading = tuple[Descriptor | None, OSError | str]  # the bytes of a file, and what is wrong with it otherwise


def _read(groups: list[list[Expected]], jobs: int, listen: Listener) -> list[_Reading]:
    """Each group's file, read once, several at once."""
    readings: list[_Reading] = [(None, "")] * len(groups)
    numbers = iter(range(len(groups)))  # shared: who is ready takes the next one

    def work() -> None:
        for number in numbers:
            group = groups[number]
            file = next((each.file for each in group if each.file), None)
            readings[number] = _reading(group[0].path, file, listen)

    with ThreadPoolExecutor(jobs) as threads:
        for worker in [threads.submit(work) for _ in range(jobs)]:
            worker.result()
    return readings


def _reading(path: str, file: str | None, listen: Listener) -> _Reading:
    try:
        return inspect(path, file, listen)
    except OSError as error:
        return None, error


def _judged(expected: Expected, blob: Descriptor | None, problem: OSError | str) -> Discrepancy | None:
    """What is wrong with a file that was read as `blob`, or could not be."""
    if isinstance(problem, OSError):
        gone = isinstance(problem, FileNotFoundError)
        return _unread(expected, problem) if expected.needed or not gone else None
    if blob and blob.digest != expected.digest:
        return Discrepancy(expected.part, expected.path, f"other bytes: {blob.digest}", "move")
    if problem and expected.file:  # the right bytes: there are no others to be had
        return Discrepancy(expected.part, expected.path, problem)
    return None


def _wrong_sizes(store: Store, records: Mapping[Identifier, Record], sizes: Mapping[Digest, int]) -> list[Discrepancy]:
    """The records here whose digest is right and whose size cannot be."""
    return [
        Discrepancy("record", str(path), f"says {record.size} bytes of a blob that has {sizes[record.digest]}", "move")
        for identifier, record in records.items()
        if sizes.get(record.digest, record.size) != record.size and (path := store.layout.record(identifier)).exists()
    ]


def _wrong_index(store: Store, survey: Survey, sizes: Mapping[str, int]) -> Discrepancy | None:
    """What is wrong with the index, if that can be told from what it is made of."""
    if any(finding.part in {"selection", "record"} and finding.remedy != "make" for finding in survey.findings):
        return None
    held = {
        release: [
            (entry.file, record.descriptor)
            for entry in entries
            if entry.identifier and (record := survey.records.get(entry.identifier))
            if sizes.get(blob_path(store, record.digest)) == record.size
        ]
        for release, entries in survey.selected.items()
    }
    path = store.layout.index
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return _unread(Expected("index", str(path), EMPTY.digest), error)
    if not S_ISREG(mode):
        return Discrepancy("index", str(path), _called(mode), "move")
    if not store.index.matches({release: artifact_manifest(files) for release, files in held.items()}):
        return Discrepancy("index", str(path), "not what refs, records and blobs say")
    return None
