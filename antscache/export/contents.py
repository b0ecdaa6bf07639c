"""What an export holds, and the tree that it becomes: decided before anything is written.

The same selection and the same bytes make the same tree, on any host, by any user, on any day: what else is recorded of
them, and would tell these apart, does not come along.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache import catalog, config
from antscache.core import (
    CACHEDIR_TAG,
    VERSION,
    Description,
    Descriptor,
    Digest,
    Layout,
    Record,
    Selection,
    descriptor_of,
    unknown_names,
)
from antscache.errors import SHOWN, AntsCacheError, ManifestError, ViewError
from antscache.store import EMPTY, OCI_LAYOUT, artifact_manifest, index_document
from antscache.views import prefetch_hint, selected_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.catalog import Catalog
    from antscache.core import Entry, Kind, Manifest, Release
    from antscache.root import Root
    from antscache.store import Store

    Selected = Mapping[Release, tuple[Entry, ...]]


@dataclass(frozen=True, slots=True)
class ExportedRelease:
    """What is exported of a release.

    Attributes:
        files: its entries, sorted, and what is recorded of each.
        manifest: of the whole release; None where any antscache brings it.
    """

    release: Release
    files: tuple[tuple[Entry, Record], ...]
    manifest: Manifest | None = None

    @property
    def selection(self) -> Selection:
        """What is in use of the release in what is exported."""
        return Selection(self.release, tuple(entry for entry, _ in self.files))

    @property
    def document(self) -> bytes:
        """The artifact manifest of the release."""
        return artifact_manifest((entry.file, record.descriptor) for entry, record in self.files)

    @property
    def digest(self) -> Digest:
        """What the release's artifact is called in the index: equal views, equal digests."""
        return descriptor_of(self.document).digest


@dataclass(frozen=True, slots=True)
class Contents:
    """What is exported, and the time (seconds since 1970) that all of it is of."""

    parts: tuple[ExportedRelease, ...]
    seconds: int = 0

    @property
    def records(self) -> tuple[Record, ...]:
        """What is recorded, each identifier once."""
        found = {record.identifier: record for part in self.parts for _, record in part.files}
        return tuple(found[identifier] for identifier in sorted(found))

    @property
    def names(self) -> dict[Descriptor, str]:
        """The blobs of files, and the first of the sorted names of each."""
        names = sorted((entry.file, record.descriptor) for part in self.parts for entry, record in part.files)
        return {blob: name for name, blob in reversed(names)}

    @property
    def size(self) -> int:
        """How many bytes the blobs of files have."""
        return sum(blob.size for blob in self.names)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree to be: how many bytes its files and its links have, by their paths in it."""

    files: Mapping[Path, int]
    links: Mapping[Path, int]

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories, each after the one it is in, the tree itself first."""
        return tuple(sorted({above for path in (*self.files, *self.links) for above in path.parents}))

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(self.files.values())


# What is exported


def plan_export(
    root: Root,
    releases: Iterable[Release],
    *,
    names: Collection[str] = (),
    kinds: Collection[Kind] = (),
    adopted: bool = False,
) -> Contents:
    """Plan to export what is held of `releases`, or of it what has these names and kinds.

    Args:
        root: whose lower caches count.
        releases: in use.
        names: each of at least one of the releases; all, if there are none.
        kinds: all, if there are none.
        adopted: also what is known on a user's word alone.

    Raises:
        ViewError: a release or a name is not in use, or a file is not held.
        ManifestError: no release has such a name, or anything of these kinds.
        AntsCacheError: something is known on a user's word alone.
        StoreError: a selection or a record cannot be read.
        ConfigError: SOURCE_DATE_EPOCH is not a time.
    """
    manifests, seconds = root.catalog, config.source_date()
    selected = {release: selected_entries(root, release) for release in releases}
    _refuse_unused(selected, manifests, names)
    parts = []
    for release, entries in choose(selected, names, kinds).items():
        files = tuple((entry, anonymous(record, seconds)) for entry, record in _held(root.store, release, entries))
        parts.append(ExportedRelease(release, files, _unshipped(manifests.find(release))))
    contents = Contents(tuple(sorted(parts, key=lambda part: part.release)), seconds)
    if not adopted:
        _refuse_adopted(contents)
    return contents


def choose(selected: Selected, names: Collection[str], kinds: Collection[Kind]) -> Selected:
    """Of what is `selected`, the entries of these names and kinds, of the releases that have any: pure.

    Raises:
        ManifestError: none of the releases has such a name, or anything of these kinds.
    """
    where = " or ".join(map(str, selected))
    of_kind = {
        release: [entry for entry in entries if not kinds or entry.kind in kinds]
        for release, entries in selected.items()
    }
    known = {entry.name for entries in of_kind.values() for entry in entries}
    if not known:
        hint = "`antscache list RELEASE` prints what a release has"
        raise ManifestError(f"nothing of kind {' or '.join(kinds)} is in use of {where}", hint=hint)
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        raise unknown_names(unknown, known, where, str(next(iter(selected))))
    chosen = {
        release: tuple(entry for entry in entries if not names or entry.name in names)
        for release, entries in of_kind.items()
    }
    return {release: entries for release, entries in chosen.items() if entries}


def anonymous(record: Record, seconds: int) -> Record:
    """`record` without what tells hosts, users and days apart.

    Of its checks the digest alone stays, which whoever exports compares: what else was looked at depends on what the
    origin told, and on what is installed on the host that asked.
    """
    recorded = dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")
    return msgspec.structs.replace(record, source="export", recorded=recorded, checks=("digest",))


def _refuse_unused(selected: Selected, manifests: Catalog, names: Collection[str]) -> None:
    """A name that a release has, and that nobody has selected, is not taken for a slip of the pen.

    Raises:
        ViewError: there is one.
    """
    used = {entry.name for entries in selected.values() for entry in entries}
    for release in selected:
        manifest = manifests.find(release)
        has = {entry.name for entry in manifest.entries if entry.identifier} if manifest else set()
        if unused := [name for name in dict.fromkeys(names) if name in has - used]:
            raise ViewError(f"not in use of {release}: {', '.join(unused)}", hint=_prefetch_hint(release, unused))


def _held(store: Store, release: Release, entries: Iterable[Entry]) -> list[tuple[Entry, Record]]:
    """Each of `entries` and its record; the bytes of all of them are in `store`.

    Raises:
        ViewError: they are not.
    """
    found: list[tuple[Entry, Record]] = []
    missing: list[Entry] = []
    for entry in entries:
        record = store.record(entry.identifier) if entry.identifier else None
        if record and store.holds(record.descriptor):
            found.append((entry, record))
        else:
            missing.append(entry)
    if missing:
        told = ", ".join(entry.file for entry in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        of = len(found) + len(missing)
        raise ViewError(
            f"{len(missing)} of {of} files of {release} are not held in {store.layout.root}: {told}{more}",
            hint=_prefetch_hint(release, [entry.name for entry in missing]),
        )
    return found


def _prefetch_hint(release: Release, names: Collection[str]) -> str:
    """How to get these names of `release`: one by one, if they are few."""
    if len(names) > SHOWN:
        return prefetch_hint(release)
    return f"run `antscache prefetch {release}{''.join(f' --name {name}' for name in names)}`"


def _refuse_adopted(contents: Contents) -> None:
    """Nothing of `contents` is known on a user's word alone.

    Raises:
        AntsCacheError: something is.
    """
    found = [
        (part.release, entry) for part in contents.parts for entry, record in part.files if record.trust == "adopted"
    ]
    if found:
        release, entry = found[0]
        files = len({entry.identifier for _, entry in found})
        more = f" and {files - 1} more" if files > 1 else ""
        raise AntsCacheError(
            f"{entry.file} of {release}{more} was adopted: a user, and no origin, says that it is what it is called",
            hint="add --adopted to take such files too, or export from a root that the release was fetched into: "
            f"`antscache --root DIR prefetch {release}`",
        )


def _unshipped(manifest: Manifest | None) -> Manifest | None:
    """`manifest`, unless any antscache brings it."""
    return manifest if manifest and catalog.shipped_manifest(manifest.release) != manifest else None


# What it becomes


def tree_of(contents: Contents) -> Tree:
    """The tree that `contents` becomes."""
    layout = Layout(Path())
    documents = {part.release: descriptor_of(part.document) for part in contents.parts}
    files = {
        layout.tag: len(CACHEDIR_TAG),
        layout.description: len(_line(Description(VERSION))),
        layout.oci: len(OCI_LAYOUT),
        layout.index: len(index_document(documents.items())),
    }
    files |= {layout.blob(blob.digest): blob.size for blob in (EMPTY, *documents.values(), *contents.names)}
    files |= {layout.record(record.identifier): len(_line(record)) for record in contents.records}
    for part in contents.parts:
        selection, kept = part.selection, part.manifest
        files[layout.selections(part.release) / f"{selection.name}.json"] = len(selection.encoded())
        if kept:
            files[layout.catalog / f"{kept.release.slug}.json"] = len(catalog.encode_manifest(kept))
    return Tree(files, {link: size for part in contents.parts for link, size in _links(layout, part)})


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _links(layout: Layout, part: ExportedRelease) -> Iterable[tuple[Path, int]]:
    """The names in a release's view, and how long what they lead to is written."""
    directory = layout.directory_in_view(part.release)
    size = len("../") * len(directory.parts) + len(str(layout.blob(EMPTY.digest)))
    return ((directory / entry.file, size) for entry, _ in part.files)


def layer_of(name: str, layers: int) -> int:
    """The layer that the file called `name` is in, of so many.

    By its name, so that a file stays in its layer when its bytes change, and no other layer changes.
    """
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % layers
