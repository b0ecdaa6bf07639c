"""Verify: read everything again and compare it with its checksums; change nothing.

A blob must be a regular file with the bytes that its name says. Records, selections and the index must be readable and
agree with their names. A view's names must lead to the bytes of their release. Blobs that only a lower cache holds are
read there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from antscache.core import Descriptor, ignore_events
from antscache.errors import ViewError
from antscache.formats import inspect
from antscache.operations.scans import find_held_networks, scan_held
from antscache.operations.survey import (
    NOT_THERE,
    Discrepancy,
    Expected,
    blob_path,
    expected_files,
    remedy_at,
    survey_store,
)
from antscache.store import EMPTY_BLOB, artifact_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core import Digest, HazardPolicy, Identifier, Listener, Record, Release
    from antscache.operations.survey import Survey
    from antscache.root import Root
    from antscache.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification, and of a repair.

    Attributes:
        blobs: the number of blobs that were read.
        size: the number of bytes that were read: of blobs, and of copies in views.
        findings: the differences that were found and are still there.
        repaired: the differences that were found and are repaired.
        refused: the errors of a repair, in words.
        relinked: the number of names in views that were files of their own, and that a repair has linked again.
        unscanned: the networks that nobody has scanned for code and for links to other files, sorted.
    """

    blobs: int
    size: int
    findings: tuple[Discrepancy, ...]
    repaired: tuple[Discrepancy, ...] = ()
    refused: tuple[str, ...] = ()
    relinked: int = 0
    unscanned: tuple[Identifier, ...] = ()


def verify_root(
    root: Root,
    releases: Collection[Release] = (),
    *,
    deep: bool = False,
    below: bool = True,
    listen: Listener = ignore_events,
) -> Verified:
    """Read everything again, or the files of `releases`, and compare it with its checksums. Nothing is changed.

    A lower cache is read for those of `releases` that are in use there alone. Where there is no root, as in an image
    with data, lower caches are read whole.

    Args:
        root: to read.
        releases: in use; without any, all that are in use.
        deep: repeat the checks of form and the scan of networks, which takes ten times as long.
        below: read lower caches too.
        listen: hears how many bytes were read, from any thread; and what a scan has found and does not refuse.

    Raises:
        StoreError: the root cannot be read.
        ViewError: one of `releases` is not in use.
    """
    jobs, stores = root.settings.jobs, _stores_to_read(root, releases, below=below)
    policy = root.hazard_policy() if deep else None
    results = [_verify(store, named, policy, jobs=jobs, listen=listen) for store, named in stores]
    findings = sorted(finding for result in results for finding in result.findings)
    unscanned = sorted({identifier for result in results for identifier in result.unscanned})
    return Verified(
        sum(result.blobs for result in results),
        sum(result.size for result in results),
        tuple(findings),
        unscanned=tuple(unscanned),
    )


def list_sums(root: Root, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
    """Return the digest and path of each blob and name in a view, for `sha256sum -c`.

    It comes to the same verdict as `verify_root`, except that it follows links: it accepts a link in place of a blob if
    the link leads to the right bytes.

    Raises:
        StoreError: the root cannot be read.
        ViewError: one of `releases` is not in use.
    """
    return tuple(
        (file.digest, Path(file.path))
        for store, named in _stores_to_read(root, releases, below=True)
        for file in expected_files(store, survey_store(store, named), deep=False, everything=not named)
    )


def _stores_to_read(
    root: Root, releases: Collection[Release], *, below: bool
) -> list[tuple[Store, Collection[Release]]]:
    """Return the stores to read, each with its releases: a lower cache only for those that are not in use in the root.

    Raises:
        StoreError: the root was on a disk that is not mounted now.
        ViewError: one of `releases` is in use in none of them.
    """
    root.store.check_disk()
    lowers = root.store.lowers if below else ()
    if not releases:
        return [(store, ()) for store in (lowers if lowers and not root.store.exists() else (root.store,))]
    by_store: dict[Store, list[Release]] = {}
    for release in dict.fromkeys(releases):
        store = next((store for store in (root.store, *lowers) if release in store.refs.releases()), None)
        if store is None:
            message = f"nothing of {release} is in use in {root.layout.root}"
            raise ViewError(message, hint="`antscache list` prints what is in use")
        by_store.setdefault(store, []).append(release)
    return [*by_store.items()]


def _verify(
    store: Store, releases: Collection[Release], policy: HazardPolicy | None, *, jobs: int, listen: Listener
) -> Verified:
    """Verify everything in `store`, or the files of `releases` in it, `jobs` files at once.

    With `policy` it is a deep verification, which checks forms and scans networks.
    """
    survey = survey_store(store, releases)
    groups, sizes_here, findings = _group_by_file(
        expected_files(store, survey, deep=policy is not None, everything=not releases)
    )
    readings = _read_groups(groups, jobs, listen)
    for group, (blob, problem) in zip(groups, readings, strict=True):
        findings += [finding for expected in group if (finding := _compare(expected, blob, problem))]
    sizes = {blob.digest: blob.size for blob, _ in readings if blob}
    findings += survey.findings + _wrong_sizes(store, survey.records, sizes)
    if not releases and store.exists() and (wrong := _wrong_index(store, survey, sizes_here)):
        findings.append(wrong)
    blobs = sum(any(expected.part == "blob" for expected in group) for group in groups)
    refused, unscanned = _scan_networks(store, survey, findings, policy, listen)
    findings += refused
    size = sum(blob.size for blob, _ in readings if blob)
    return Verified(blobs, size, tuple(sorted(findings)), unscanned=unscanned)


def _scan_networks(
    store: Store, survey: Survey, wrong: Iterable[Discrepancy], policy: HazardPolicy | None, listen: Listener
) -> tuple[list[Discrepancy], tuple[Identifier, ...]]:
    """Scan the networks in use whose blobs are not `wrong`, if there is a `policy`.

    Returns:
        A finding for each network that is refused; and the networks that nobody has scanned, now or before.
    """
    damaged = {finding.path for finding in wrong if finding.part == "blob"}
    entries = (entry for selected in survey.selected.values() for entry in selected)
    networks = [each for each in find_held_networks(store, entries, survey.records) if str(each.path) not in damaged]
    unscanned = {each.record.identifier for each in networks if not each.record.is_scanned}
    refused = []
    for network, scanned in scan_held(networks, policy, listen) if policy and networks else ():
        identifier = network.record.identifier
        if scanned.refusal:
            what = f"{scanned.refusal}; `antscache forget {identifier}` takes its record back"
            refused.append(Discrepancy("blob", str(network.path), what, "forget"))
        if scanned.complete:
            unscanned.discard(identifier)
    return refused, tuple(unscanned)


# What is there


def _group_by_file(files: Iterable[Expected]) -> tuple[list[list[Expected]], dict[str, int], list[Discrepancy]]:
    """Group the paths of `files` that are one file on disk, so that it is read once; the largest file first.

    Returns:
        The groups; the size of each path in bytes; and a finding for each path that is no regular file.
    """
    groups: dict[tuple[int, int], list[Expected]] = defaultdict(list)
    sizes, findings = dict[str, int](), []
    for expected in files:
        try:
            status = os.stat(expected.path, follow_symlinks=expected.part == "view")  # noqa: PTH116  text
        except OSError as error:
            if expected.needed or not isinstance(error, FileNotFoundError):
                findings.append(_unreadable(expected, error))
            continue
        if S_ISREG(status.st_mode):
            groups[status.st_dev, status.st_ino].append(expected)
            sizes[expected.path] = status.st_size
        else:
            findings.append(Discrepancy(expected.part, expected.path, _file_type(status.st_mode), "move"))
    return sorted(groups.values(), key=lambda group: -sizes[group[0].path]), sizes, findings


def _file_type(mode: int) -> str:
    return "a link" if S_ISLNK(mode) else "a directory" if S_ISDIR(mode) else "not a file"


def _unreadable(expected: Expected, error: OSError) -> Discrepancy:
    if isinstance(error, FileNotFoundError):
        problem = "a broken link" if os.path.lexists(expected.path) else NOT_THERE
        return Discrepancy(expected.part, expected.path, problem)
    return Discrepancy(
        expected.part, expected.path, f"cannot be read: {error.strerror}", remedy_at(Path(expected.path))
    )


_Reading = tuple[Descriptor | None, OSError | str]  # the bytes of a file; and the error, or the problem with its form


def _read_groups(groups: list[list[Expected]], jobs: int, listen: Listener) -> list[_Reading]:
    """Read each group's file once, `jobs` files at once."""
    readings: list[_Reading] = [(None, "")] * len(groups)
    numbers = iter(range(len(groups)))  # shared: each thread takes the next one when it is ready

    def work() -> None:
        for number in numbers:
            group = groups[number]
            file = next((expected.file for expected in group if expected.file), None)
            readings[number] = _read_file(group[0].path, file, listen)

    with ThreadPoolExecutor(jobs) as threads:
        workers: list[Future[None]] = []
        with suppress(RuntimeError):  # the system starts no more threads
            workers += (threads.submit(work) for _ in range(jobs))
        if not workers:
            work()
        for worker in workers:
            worker.result()
    return readings


def _read_file(path: str, file: str | None, listen: Listener) -> _Reading:
    try:
        seen = inspect(path, file, listen)
    except OSError as error:
        return None, error
    return seen.blob, seen.problem


def _compare(expected: Expected, blob: Descriptor | None, problem: OSError | str) -> Discrepancy | None:
    """Compare a file that was read as `blob`, or could not be read, with what is `expected`; None if it is right."""
    if isinstance(problem, OSError):
        gone = isinstance(problem, FileNotFoundError)
        return _unreadable(expected, problem) if expected.needed or not gone else None
    if blob and blob.digest != expected.digest:
        return Discrepancy(expected.part, expected.path, f"other bytes: {blob.digest}", "move")
    if problem and expected.file:  # the bytes are right, so that fetching them again would not help
        return Discrepancy(expected.part, expected.path, problem)
    return None


def _wrong_sizes(store: Store, records: Mapping[Identifier, Record], sizes: Mapping[Digest, int]) -> list[Discrepancy]:
    """Return a finding for each record here that names a blob which was read and gives it a wrong size."""
    return [
        Discrepancy("record", str(path), f"gives a blob of {sizes[record.digest]} bytes {record.size} bytes", "move")
        for identifier, record in records.items()
        if sizes.get(record.digest, record.size) != record.size and (path := store.layout.record(identifier)).exists()
    ]


def _wrong_index(store: Store, survey: Survey, sizes: Mapping[str, int]) -> Discrepancy | None:
    """Compare the index with the refs, records and blobs that it is made from; None if it is right.

    It is not compared if a selection or a record is damaged, because then its right content is unknown.
    """
    if any(
        finding.part in {"selection", "record"} and finding.remedy in {"move", "open"} for finding in survey.findings
    ):
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
        return _unreadable(Expected("index", str(path), EMPTY_BLOB.digest), error)
    if not S_ISREG(mode):
        return Discrepancy("index", str(path), _file_type(mode), "move")
    if not store.index.matches({release: artifact_manifest(files) for release, files in held.items()}):
        return Discrepancy("index", str(path), "does not match refs, records and blobs")
    return None
