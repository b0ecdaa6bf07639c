"""The store: all blobs, records and refs under one root. With `ingest`, the only writer of blobs.

    blobs/sha256/<hex>                    0444, named by content, never rewritten

A blob is whole or it is not there: `ingest.py` has the one recipe. Nothing here needs a lock to be right.

Below a store there may be others, its lower caches. A blob that one of them holds counts as held, and is used where it
is. They are never written to, and their refs do not count here.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from stat import S_ISREG
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache import disk
from antscache.core import (
    CACHEDIR_TAG,
    FIRST_LAYOUT_VERSION,
    TOP_LEVEL_NAMES,
    Description,
    Descriptor,
    Digest,
    Entry,
    Identifier,
    Layout,
    PresentState,
    Record,
    descriptor_of,
    digest_from_hex,
    hexadecimal,
    merge_selections,
)
from antscache.disk import store_errors
from antscache.errors import StoreError
from antscache.store import description, parts, sharing
from antscache.store.index import Index
from antscache.store.ingest import Ingest, IngestVanished
from antscache.store.oci import (
    EMPTY_BLOB,
    EMPTY_CONTENT,
    OCI_LAYOUT,
    artifact_manifest,
    index_document,
)
from antscache.store.record_layers import RecordLayers
from antscache.store.records import Records
from antscache.store.refs import Refs
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# The names that a directory may have in it and become a root: an ext4 volume of its own has a lost+found.
NAMES_ALLOWED_IN_NEW_ROOT = TOP_LEVEL_NAMES | {"lost+found"}
_BLOB_NAME = re.compile("[0-9a-f]{64}")


class StoredBlob(NamedTuple):
    """A blob under a root; `changed` in seconds since 1970."""

    digest: Digest
    size: int
    changed: float


class Store:
    """The store under `root`, which need not exist until something is written.

    Args:
        root: the directory of the store.
        lowers: its lower caches, in the order in which they are asked.
        state: your directory for notes of the mounts that roots were on; None for a root that is not noted.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, root: Path, lowers: Sequence[Store] = (), *, state: Path | None = None) -> None:
        self.layout = Layout(root)
        self._state = state
        self.refs = Refs(self.layout)
        self.records = Records(self.layout)
        self.index = Index(self)
        self.lowers = tuple(lowers)
        self.layers = RecordLayers(self.records, self.lowers)
        self._disregarded: set[Digest] = set()

    def check(self) -> None:
        """Check that the root has a layout that this antscache understands, or is not there yet.

        No part of it may be a link that leads nowhere.

        Raises:
            StoreError: it is neither.
        """
        parts.refuse_unusable_parts(self.layout)
        present = description.read(self.layout)
        self.layout.durable_version = min(
            self.layout.durable_version, present.layout if present else FIRST_LAYOUT_VERSION
        )
        if present is None:
            with store_errors(f"cannot read the root {self.layout.root}"):
                _refuse_foreign_names(self.layout)
            return
        self.layout.shared = present.shared
        if present.shared:
            parts.refuse_links(self.layout)

    def create(self, *, anew: bool = False) -> None:
        """Make the root, or what is missing of it: a valid OCI image layout, ready to be written to.

        Args:
            anew: True if it may be made where a root of yours was, on a disk that is not mounted now.
        """
        self.check()
        if not anew:
            self.check_disk()
        layout = self.layout
        with store_errors(f"cannot make a root of {layout.root}"):
            for directory in (*layout.directories, *(layout.optional_directories if layout.shared else ())):
                disk.make_directory(directory, layout.shared_root if directory != layout.root else None)
            if not self.exists():  # a process may have made some directories, and been killed before it synced them
                for directory in dict.fromkeys(directory.parent for directory in layout.directories):
                    disk.sync_directory(directory)
        self.check_parts()
        with store_errors(f"cannot make a root of {layout.root}"):
            described = Description(FIRST_LAYOUT_VERSION, layout.shared)
            for path, content in (
                (layout.description, description.encode(described)),
                (layout.tag, CACHEDIR_TAG),
                (layout.oci, OCI_LAYOUT),
            ):
                if not path.exists():
                    mode = disk.READ_ONLY_MODE if layout.shared else disk.WRITABLE_MODE
                    disk.publish(path, content, layout.staging, mode=mode)
            if not layout.index.exists():
                disk.publish(layout.index, index_document(()), layout.staging, mode=disk.WRITABLE_MODE)
        self.add(EMPTY_CONTENT)
        if self._state:
            disk.note_mount(self._state, layout.root)

    def check_disk(self) -> None:
        """Check that the root is there, or that none of yours was, on a disk that is not mounted now.

        Raises:
            StoreError: one was.
        """
        if self._state and not self.exists():
            parts.refuse_lost_root(self.layout, self._state)

    def check_parts(self) -> None:
        """Check that files can be moved between the parts of the root, which may be links or mounts.

        Raises:
            StoreError: they cannot.
        """
        parts.refuse_separate_parts(self.layout)

    def share(self, group: int | None = None, *, anew: bool = False) -> list[Path]:
        """Make the root if it is not there, and share it with a group, as `sharing.py` says.

        Args:
            group: the number of the group; None for the one that the root has.
            anew: as `create` takes it.

        Returns:
            The paths that belong to other users; they stay as they are.

        Raises:
            StoreError: the root belongs to another user, or you are not in the group, and nothing was changed; or the
                disk refused, and the same call continues from there.
        """
        self.check()
        if not anew:
            self.check_disk()
        layout = self.layout
        with store_errors(f"cannot make a root of {layout.root}"):
            disk.make_directory(layout.root)
        sharing.give_to_group(layout.root, group)
        layout.shared = True
        self.create(anew=True)
        if not layout.shared:  # its description is that of a root that was not shared before
            description.share(layout)
            self.create()
        with store_errors(f"cannot share {layout.root}"):
            return sharing.share(layout)

    def exists(self) -> bool:
        """Return True if the root was made. A directory alone is none."""
        return self.layout.description.exists()

    # Blobs

    def find(self, blob: Descriptor) -> Path | None:
        """Return the path of `blob`, here or in a lower cache; None if neither has it."""
        if self.owns(blob):
            return self.layout.blob(blob.digest)
        if blob.digest in self._disregarded:
            return None
        return next((lower.layout.blob(blob.digest) for lower in self.lowers if lower.serves(blob)), None)

    def holds(self, blob: Descriptor) -> bool:
        """Return True if `blob` is here or in a lower cache."""
        if self.owns(blob):
            return True
        return blob.digest not in self._disregarded and any(lower.serves(blob) for lower in self.lowers)

    def owns(self, blob: Descriptor) -> bool:
        """Return True if `blob` is under this root.

        Compares its size only, because its digest was checked before it was published. A link is no blob, wherever it
        leads.
        """
        try:
            # The path as text, which is faster: tens of thousands are asked for.
            status = os.lstat(f"{self.layout.blobs}/{hexadecimal(blob.digest)}")
        except OSError:
            return False
        return S_ISREG(status.st_mode) and status.st_size == blob.size

    def is_blob(self, path: Path) -> bool:
        """Return True if `path` has the bytes of a blob, here or in a lower cache, or is a link to where one was."""
        if path.is_symlink() and not path.exists():
            return _BLOB_NAME.fullmatch(path.readlink().name) is not None
        return path.is_file() and self.holds(disk.hash_file(path))

    def serves(self, blob: Descriptor) -> bool:
        """Return True if `blob` is under this root and you may read it: a lower cache may belong to another user."""
        return self.owns(blob) and os.access(self.layout.blob(blob.digest), os.R_OK)

    def disregard(self, digest: Digest) -> None:
        """Ignore `digest` in lower caches from now on: it is damaged there."""
        self._disregarded.add(digest)

    def blobs(self) -> list[StoredBlob]:
        """Return the blobs under this root, in no order."""
        blobs = []
        with store_errors(f"cannot read {self.layout.blobs}"):
            for entry in _named_like_blobs(self.layout.blobs):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if S_ISREG(status.st_mode):
                        blobs.append(StoredBlob(digest_from_hex(entry.name), status.st_size, status.st_mtime))
        return blobs

    def digests(self) -> list[Digest]:
        """Return the digests that have a name among the blobs, even if no blob is there, in no order."""
        with store_errors(f"cannot read {self.layout.blobs}"):
            return [digest_from_hex(entry.name) for entry in _named_like_blobs(self.layout.blobs)]

    def stored(self) -> tuple[int, int]:
        """Return the number of blobs under this root, and the sum of their bytes."""
        blobs = self.blobs()
        return len(blobs), sum(blob.size for blob in blobs)

    def restore(self, blobs: Iterable[Descriptor]) -> set[Descriptor]:
        """Bring back those of `blobs` that are in the trash. A file that you may not move is copied.

        Returns:
            The blobs that came back.
        """
        blobs, trash = set(blobs), Trash(self.layout)
        restored = trash.restore(blobs)
        for condemned in trash.contents() if blobs else ():
            if condemned.blob is not None and condemned.blob in blobs and not self.owns(condemned.blob):
                with suppress(OSError, IngestVanished), self.ingest() as ingest:
                    ingest.take(condemned.path, move=False)
                    if ingest.descriptor == condemned.blob:
                        restored.add(ingest.publish())
        return restored

    def sync_blobs(self) -> None:
        """Make sure that a power cut takes none of the blobs that are here, also those that other processes wrote."""
        with store_errors(f"cannot write to {self.layout.blobs}"):
            disk.sync_directory(self.layout.blobs)

    def ingest(self) -> Ingest:
        """Begin a new blob. Use it as a context manager: it leaves nothing behind unless it is published or kept."""
        return Ingest(self.layout)

    def add(self, content: bytes) -> Descriptor:
        """Store `content` as a blob, and return its descriptor."""
        blob = descriptor_of(content)
        if not self.owns(blob):
            with self.ingest() as ingest:
                ingest.write(content)
                ingest.publish()
        return blob

    # What is known and held

    def record(self, identifier: Identifier) -> Record | None:
        """Return the record of `identifier` that counts, here or in a lower cache; None if there is none."""
        return self.layers.record(identifier)

    def present_state(self, entries: Iterable[Entry]) -> PresentState:
        """Read the records of `entries`, each once, and look which of their blobs are held now."""
        read = self.layers.read(dict.fromkeys(entry.identifier for entry in entries if entry.identifier))
        held = self.held({record.descriptor for record in read.records.values()})
        return PresentState(read.records, held, read.doubted, read.conflicts)

    def held(self, blobs: Iterable[Descriptor]) -> frozenset[Descriptor]:
        """Return those of `blobs` that are here or in a lower cache."""
        return frozenset(blob for blob in blobs if self.holds(blob))

    def blobs_of(self, entries: Iterable[Entry]) -> list[tuple[Entry, Descriptor]]:
        """Return those of `entries` that have a record, each with the blob that the record names."""
        pairs = ((entry, self.record(entry.identifier)) for entry in entries if entry.identifier)
        return [(entry, record.descriptor) for entry, record in pairs if record]

    def reachable(self) -> set[Descriptor]:
        """Return the blobs that refs reach, present or not, and those that the layout itself needs.

        Raises:
            StoreError: a ref, or a record that one names, cannot be read, so that the blobs are unknown.
        """
        for directory in self.refs.unknown_releases():
            problem = f"{directory} has selections of a release that this antscache does not know"
            raise StoreError(problem, hint="update antscache (`pip install -U antscache`), then run the command again")
        reached = {EMPTY_BLOB}
        named_by: dict[Identifier, Descriptor | None] = {}
        for release in self.refs.releases():
            entries = merge_selections(self.refs.selections(release))
            for identifier in {entry.identifier for entry in entries if entry.identifier} - named_by.keys():
                own = self._needed_record(identifier)
                best = self.record(identifier) if self.lowers else own
                named_by[identifier] = best.descriptor if best else None
                reached.update(record.descriptor for record in (own, best) if record)
            blobs = ((entry.file, named_by[entry.identifier]) for entry in entries if entry.identifier)
            here = ((file, blob) for file, blob in blobs if blob is not None and self.owns(blob))
            reached.add(descriptor_of(artifact_manifest(here)))
        return reached

    def _needed_record(self, identifier: Identifier) -> Record | None:
        """Return the record under this root, or None if there is none; raise StoreError if it is damaged."""
        try:
            return self.records.read(identifier)
        except msgspec.DecodeError as error:
            path = self.layout.record(identifier)
            raise StoreError(f"{path} is damaged: {error}", hint="run `antscache verify --repair`") from None


def _refuse_foreign_names(layout: Layout) -> None:
    """Raise StoreError if a directory that is no root has other files in it."""
    try:
        foreign = sorted({path.name for path in layout.root.iterdir()} - NAMES_ALLOWED_IN_NEW_ROOT)
    except FileNotFoundError:
        return
    if foreign:
        raise StoreError(
            f"{layout.root} is not an antscache root and not empty: it holds {foreign[0]}",
            hint="name an empty or new directory with --root or ANTSCACHE_DIR",
        )


def _named_like_blobs(blobs: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(blobs) as entries:
            return [entry for entry in entries if _BLOB_NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
