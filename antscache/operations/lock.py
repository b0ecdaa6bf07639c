"""Lock: write down which bytes a selection has, and plan a prefetch or an export of exactly these bytes.

A lockfile is made of records (those of lower caches too) and of shipped lockfiles; no file is read for it. One whose
views do not have the files that they say is refused before anything else is done with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache import disk
from antscache.core import (
    LOCKFILE_HINT,
    LockedEntry,
    LockedRelease,
    Manifest,
    Staging,
    check_usage,
    encode_lockfile,
    parse_lockfile,
    with_optional,
)
from antscache.errors import MAX_LISTED_ITEMS, AntsCacheError, IntegrityError, ManifestError, StoreError
from antscache.operations.prefetch import make_plan
from antscache.store import view_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core import Chosen, Descriptor, Entry, Identifier, Lockfile, Plan, Record, Release, UsageRecord
    from antscache.root import Root
    from antscache.views import EntryLocation


def read_lockfile(path: Path) -> Lockfile:
    """Return the lockfile at `path`.

    Raises:
        ManifestError: it cannot be read, it is no lockfile, or somebody edited it.
    """
    try:
        content = disk.read(path, follow=True)  # the user's own file, as it is in a work tree
    except (OSError, *disk.DECODE_ERRORS) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"cannot read {path}: {reason}", hint="make one with `antscache lock`") from None
    lockfile = parse_lockfile(content, str(path))
    for locked in lockfile.releases:
        if view_digest(locked.files) != locked.view:
            raise ManifestError(
                f"{path}: the files of {locked.release} are not those of its view, {locked.view}",
                hint=f"somebody edited it: {LOCKFILE_HINT}",
            )
    return lockfile


# Making


class Measured(NamedTuple):
    """A locked release with those files whose origin confirmed them, and the names of the others."""

    locked: LockedRelease
    left_out: tuple[str, ...]


def lock_release(
    root: Root,
    chosen: Chosen,
    *,
    adopted: bool = False,
    expected: Mapping[Identifier, Descriptor] | None = None,
) -> LockedRelease:
    """Lock the bytes of the `chosen` entries, as they are recorded or known from a shipped lockfile.

    Args:
        root: of the records.
        chosen: of a release.
        adopted: lock adopted files too, on the user's word.
        expected: bytes that identifiers must have, and that count where nothing is recorded.

    Raises:
        ManifestError: the bytes of some entries are not known.
        AntsCacheError: an entry was adopted, and `adopted` is False.
        IntegrityError: other bytes are recorded than are `expected`.
        StoreError: the root cannot be read.
    """
    plan = make_plan(root, chosen.manifest, chosen.entries, expected=expected)
    records = plan.state.records
    blobs = {**plan.locked, **{each: record.descriptor for each, record in records.items()}, **plan.expected}
    if unknown := [entry for entry in plan.entries if entry.identifier not in blobs]:
        raise _unknown_bytes(plan.release, unknown, len(plan.entries))
    if not adopted:
        _refuse_adopted(plan.release, plan.entries, records)
    return _locked(chosen, blobs)


def measure_release(root: Root, chosen: Chosen) -> Measured:
    """Lock the bytes of those `chosen` entries whose origin itself confirmed them by a checksum, in this root.

    Raises:
        ManifestError: there is no such entry.
        StoreError: the root cannot be read.
    """
    records = root.present_state(chosen.entries).records
    confirmed = {each: record for each, record in records.items() if record.is_confirmed}
    measured = tuple(entry for entry in chosen.entries if entry.identifier in confirmed)
    if not measured:
        release = chosen.manifest.release
        raise ManifestError(
            f"no origin has confirmed a file of {release} in {root.layout.root}",
            hint=f"run `antscache prefetch {release}` in a root of its own, without mirrors",
        )
    locked = _locked(chosen._replace(entries=measured), {each: record.descriptor for each, record in confirmed.items()})
    day = max(record.recorded for record in confirmed.values())[:10]
    hosts = tuple(sorted({record.source for record in confirmed.values()}))
    left_out = tuple(entry.name for entry in chosen.entries if entry.identifier not in confirmed)
    return Measured(msgspec.structs.replace(locked, measured=day, origins=hosts), left_out)


def write_lockfile(lockfile: Lockfile, path: Path) -> None:
    """Write `lockfile` to `path`, whole or not at all. A link at `path` stays, and leads to it.

    Raises:
        StoreError: the disk refused; `path` is unchanged.
        ManifestError: a record says something that no lockfile can hold; `path` is unchanged.
    """
    content = encode_lockfile(lockfile)
    parse_lockfile(content, str(path))  # nobody is left with a file that no antscache reads
    target = Path(os.path.realpath(path))
    try:
        disk.replace(target, content, Staging(target.parent))
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}", hint="name another file with -o") from error


def _locked(chosen: Chosen, blobs: Mapping[Identifier, Descriptor]) -> LockedRelease:
    manifest, entries, choice = chosen
    locked = sorted(
        LockedEntry(entry.kind, entry.name, entry.file, entry.identifier, blob.digest, blob.size)
        for entry in entries
        if entry.identifier
        for blob in [blobs[entry.identifier]]
    )
    return LockedRelease(
        package=manifest.release.package,
        version=manifest.release.version,
        identity=manifest.identity,
        view=view_digest((each.file, each.blob) for each in locked),
        functions=tuple(sorted(set(choice.functions))),
        names=tuple(sorted(set(choice.names))),
        kinds=tuple(sorted(set(choice.kinds))),
        entries=tuple(locked),
    )


def _unknown_bytes(release: Release, unknown: Collection[Entry], total: int) -> ManifestError:
    names = [entry.name for entry in unknown]
    more = f" and {len(names) - MAX_LISTED_ITEMS} more" if len(names) > MAX_LISTED_ITEMS else ""
    chosen = "" if more else "".join(f" --name {name}" for name in names)
    return ManifestError(
        f"nobody knows yet which bytes these have: {', '.join(names[:MAX_LISTED_ITEMS])}{more} "
        f"({len(names)} of {total} files of {release})",
        hint=f"fetch them first: `antscache prefetch {release}{chosen}`",
    )


def _refuse_adopted(release: Release, entries: Iterable[Entry], records: Mapping[Identifier, Record]) -> None:
    """Refuse adopted files: a user says what they are, and no origin has confirmed it.

    Raises:
        AntsCacheError: one of `entries` was adopted.
    """
    adopted = [entry for entry in entries if (record := records.get(str(entry.identifier))) and record.is_adopted]
    if adopted:
        more = f" and {len(adopted) - 1} more" if len(adopted) > 1 else ""
        raise AntsCacheError(
            f"adopted, and not confirmed by an origin: {adopted[0].file} of {release}{more}",
            hint="add --adopted to lock such files too, or fetch the release into another root and lock that: "
            f"`antscache --root DIR prefetch {release}`",
        )


# Following


def plan_lockfile(root: Root, lockfile: Lockfile) -> list[Plan]:
    """Plan how the files of `lockfile` become present with exactly its bytes; a plan for each release.

    Raises:
        ManifestError: a release at hand has no such entry.
        IntegrityError: other bytes are recorded than are locked.
        StoreError: the root cannot be read.
    """
    return [_plan_locked(root, locked) for locked in lockfile.releases]


def _plan_locked(root: Root, locked: LockedRelease) -> Plan:
    entries = tuple(each.entry for each in locked.entries)
    at_hand = root.catalog.find(locked.release)
    if at_hand and (strange := set(entries).difference(with_optional(at_hand).entries)):
        first = min(strange)
        raise ManifestError(
            f"{locked.release} has no entry {first.name} of kind {first.kind} with {first.identifier}",
            hint="the lockfile is of another source with the same version: make one of yours with `antscache lock`",
        )
    plan = make_plan(root, at_hand or Manifest(locked.release, entries), entries, expected=locked.blobs)
    return replace(plan, locked=locked.blobs, keeps_manifest=at_hand is not None)


def plan_usage(root: Root, usage: Mapping[Release, Collection[UsageRecord]]) -> list[Plan]:
    """Plan how the files in a record of use become present again, with the same bytes; a plan for each release.

    Raises:
        ManifestError: a release has no such entry.
        IntegrityError: other bytes are recorded than were used.
        StoreError: the root cannot be read.
    """
    return [_plan_usage(root, release, records) for release, records in usage.items()]


def _plan_usage(root: Root, release: Release, records: Collection[UsageRecord]) -> Plan:
    entries = tuple(sorted({record.entry for record in records}))
    manifest = root.catalog.find(release) or Manifest(release, entries)
    check_usage(records, with_optional(manifest).entries, release)
    return make_plan(root, manifest, entries, expected={record.identifier: record.blob for record in records})


@dataclass(frozen=True, slots=True)
class FollowedLock:
    """A locked release that a process follows: it gets exactly these files.

    Attributes:
        locked: the release.
        place: the lockfile.
    """

    locked: LockedRelease
    place: Path

    def allows(self, location: EntryLocation) -> bool:
        """Return True if the entry of `location` is locked, and its file has the locked bytes, as far as is known."""
        asked = location.kind, location.name, location.identifier, location.blob
        return asked in {(each.kind, each.name, each.identifier, each.blob) for each in self.locked.entries}

    def check_named(self, entry: Entry) -> None:
        """Check that the lockfile names `entry`.

        Raises:
            ManifestError: it does not.
        """
        if not self.locked.find(entry):
            raise ManifestError(
                f"{entry.name} of kind {entry.kind} ({entry.identifier}) is not in {self.place}",
                hint="make another lockfile that has it: `antscache lock`",
            )

    def check_bytes(self, location: EntryLocation) -> None:
        """Check that the file that a program is about to get has the locked bytes.

        Raises:
            IntegrityError: it has others.
        """
        if not self.allows(location):
            raise IntegrityError(
                f"{location.path or location.file} does not have the bytes of {location.identifier} in {self.place}: "
                f"it is {location.digest}",
                hint="move the file away if it is yours; if it is in the root, run `antscache verify --repair`",
            )


def follow_lock(path: Path, release: Release) -> FollowedLock:
    """Return what the lockfile at `path` has for `release`, or for the only other release of its package.

    Raises:
        ManifestError: it cannot be read, or has nothing of that package.
    """
    return FollowedLock(read_lockfile(path).match(release), path)
