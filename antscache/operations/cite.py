"""Cite the files that were used: those in a release's view, or those in a record of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.core import Citation, CitedFile, Lockfile, Release, check_usage, files_of_usage, with_optional
from antscache.errors import MAX_LISTED_ITEMS, ViewError
from antscache.store import view_digest
from antscache.views import prefetch_hint, selected_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core import Descriptor, Entry, UsageRecord
    from antscache.root import Root


def cite_used(root: Root, used: Release | Mapping[Release, Collection[UsageRecord]] | Lockfile) -> tuple[Citation, ...]:
    """Cite the selected files of a release, or those of a record of use or of a lockfile; a citation for each release.

    Raises:
        ViewError: nothing of the release is selected, or a selected file is not held.
        ManifestError: the record contradicts itself, or a release at hand has no such entry.
        StoreError: the root cannot be read.
    """
    if isinstance(used, Release):
        return (cite_release(root, used),)
    return cite_lockfile(root, used) if isinstance(used, Lockfile) else cite_usage(root, used)


def cite_release(root: Root, release: Release) -> Citation:
    """Cite the selected files of `release`.

    Raises:
        ViewError: nothing of the release is selected, or a selected file is not held.
        StoreError: the root cannot be read.
    """
    entries = selected_entries(root, release)
    state = root.present_state(entries)
    held = state.held_entries(entries)
    if missing := [entry.file for entry in entries if not state.blob(entry)]:
        more = f" and {len(missing) - MAX_LISTED_ITEMS} more" if len(missing) > MAX_LISTED_ITEMS else ""
        raise ViewError(
            f"missing in {root.layout.root}: {', '.join(missing[:MAX_LISTED_ITEMS])}{more} "
            f"({len(missing)} of {len(entries)} files of {release})",
            hint=prefetch_hint(release),
        )
    return cite_files(root, release, held)


def cite_usage(root: Root, usage: Mapping[Release, Collection[UsageRecord]]) -> tuple[Citation, ...]:
    """Cite the files in a record of use, whether they are held or not; a citation for each release.

    Raises:
        ManifestError: the record contradicts itself, or a release at hand has no such entry.
        StoreError: the root cannot be read.
    """
    for release, records in usage.items():
        if manifest := root.catalog.find(release):
            check_usage(records, with_optional(manifest).entries, release)
    return tuple(cite_files(root, release, files) for release, files in sorted(files_of_usage(usage).items()))


def cite_lockfile(root: Root, lockfile: Lockfile) -> tuple[Citation, ...]:
    """Cite the files of a lockfile, whether they are held or not; a citation for each release.

    Raises:
        StoreError: the root cannot be read.
    """
    return tuple(
        cite_files(root, locked.release, ((each.entry, each.blob) for each in locked.entries))
        for locked in lockfile.releases
    )


def cite_files(root: Root, release: Release, files: Iterable[tuple[Entry, Descriptor]]) -> Citation:
    """Cite these `files` of `release`, with their trust as far as `root` has a record of the same bytes."""
    files = sorted(files)
    records = root.present_state(entry for entry, _ in files).records

    def cited(entry: Entry, blob: Descriptor) -> CitedFile:
        record = records.get(str(entry.identifier))
        return CitedFile(entry, blob, record.trust if record and record.descriptor == blob else None)

    digest = view_digest((entry.file, blob) for entry, blob in files)
    return Citation(release, tuple(cited(entry, blob) for entry, blob in files), digest)
