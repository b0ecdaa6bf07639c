"""The store: all blobs, records and refs under one root. With `ingest`, the only writer of blobs.

    blobs/sha256/<hex>                    0444, named by content, never rewritten

A blob is whole or it is not there: `ingest.py` has the one recipe. Nothing here needs a lock to be right.

Below a store there may be others, its lower caches: what they hold is held, and used where it is. They are never
written to, and what they have selected is nobody's business here.
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
    RANK,
    TOP_LEVEL,
    VERSION,
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
    union,
)
from antscache.disk import store_errors
from antscache.errors import StoreError
from antscache.store import sharing
from antscache.store.index import Index
from antscache.store.ingest import Ingest, IngestVanished
from antscache.store.oci import (
    EMPTY,
    EMPTY_CONTENT,
    OCI_LAYOUT,
    artifact_manifest,
    index_document,
)
from antscache.store.records import Records
from antscache.store.refs import Refs
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# What may lie in a fresh root although nobody made a layout there: ext4's lost+found on a volume of its own.
HARMLESS = TOP_LEVEL | {"lost+found"}
_HEXADECIMAL = re.compile("[0-9a-f]{64}")  # what a blob is called


class Found(NamedTuple):
    """A blob on the disk; `changed` in seconds since 1970."""

    digest: Digest
    size: int
    changed: float


class Store:
    """The store under `root`, which need not exist until something is written.

    Args:
        root: of the store.
        lowers: the stores below it, the first one asked first.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, root: Path, lowers: Sequence[Store] = ()) -> None:
        self.layout = Layout(root)
        self.refs = Refs(self.layout)
        self.records = Records(self.layout)
        self.index = Index(self)
        self.lowers = tuple(lowers)
        self._disregarded: set[Digest] = set()

    def check(self) -> None:
        """The root is a layout this antscache understands, or is not there yet.

        Raises:
            StoreError: it is neither.
        """
        root, path = self.layout.root, self.layout.description
        with store_errors(f"cannot read the root {root}"):
            try:
                description = msgspec.json.decode(disk.read(path), type=Description)
            except FileNotFoundError:
                _refuse_strangers(self.layout)
                return
            except disk.DAMAGED as error:
                raise StoreError(
                    f"{path} is damaged: {error}",
                    hint=f'restore it, or write {{"layout": {VERSION}}} into it if this is an antscache root',
                ) from None
        if description.layout > VERSION:
            raise StoreError(
                f"the root {root} has layout {description.layout}, and this antscache knows layouts up to {VERSION}",
                hint="update antscache (`pip install -U antscache`), or name another root with --root",
            )
        self.layout.shared = description.shared
        if description.shared:
            _refuse_links(self.layout)

    def create(self) -> None:
        """The root is there, a valid OCI image layout, and ready to be written to."""
        self.check()
        layout = self.layout
        with store_errors(f"cannot make a root of {layout.root}"):
            for directory in (*layout.directories, *(layout.later if layout.shared else ())):
                mode = disk.SHARED_LOCKS if directory == layout.locks else disk.SHARED_DIRECTORY
                disk.make_directory(directory, layout.shared_root if directory != layout.root else None, mode=mode)
            if not self.exists():  # who made some of them may have been killed before it was synced
                for directory in dict.fromkeys(directory.parent for directory in layout.directories):
                    disk.sync_directory(directory)
            description = msgspec.json.encode(Description(VERSION, layout.shared)) + b"\n"
            for path, content in (
                (layout.description, description),
                (layout.tag, CACHEDIR_TAG),
                (layout.oci, OCI_LAYOUT),
            ):
                if not path.exists():
                    mode = disk.READ_ONLY if layout.shared else disk.WRITABLE
                    disk.publish(path, content, layout.staging, mode=mode)
            if not layout.index.exists():
                disk.publish(layout.index, index_document(()), layout.staging, mode=disk.WRITABLE)
        self.add(EMPTY_CONTENT)

    def share(self, group: int | None = None) -> list[Path]:
        """The root is there, and its group shares it, as `sharing.py` says.

        Args:
            group: whose it becomes, if not the one that it has.

        Returns:
            What is others', and stays as it is.

        Raises:
            StoreError: the root is somebody else's, or you are not in the group, and nothing was changed; or the disk
                refused, and the same call goes on from there.
        """
        self.check()
        layout = self.layout
        with store_errors(f"cannot make a root of {layout.root}"):
            disk.make_directory(layout.root)
        sharing.open_to(layout.root, group)
        layout.shared = True
        self.create()
        if not layout.shared:  # it was one's own before
            with store_errors(f"cannot write {layout.description}"):
                described = msgspec.json.encode(Description(VERSION, shared=True)) + b"\n"
                disk.replace(layout.description, described, layout.staging, mode=disk.READ_ONLY)
            self.create()
        with store_errors(f"cannot share {layout.root}"):
            return sharing.share(layout)

    def exists(self) -> bool:
        """Whether anything was ever written to the root."""
        return self.layout.description.exists()

    # Blobs

    def find(self, blob: Descriptor) -> Path | None:
        """Where `blob` is, here or in a lower cache; None if it is nowhere."""
        if self.owns(blob):
            return self.layout.blob(blob.digest)
        if blob.digest in self._disregarded:
            return None
        return next((lower.layout.blob(blob.digest) for lower in self.lowers if lower.serves(blob)), None)

    def holds(self, blob: Descriptor) -> bool:
        """Whether `blob` is here or in a lower cache."""
        if self.owns(blob):
            return True
        return blob.digest not in self._disregarded and any(lower.serves(blob) for lower in self.lowers)

    def owns(self, blob: Descriptor) -> bool:
        """Whether `blob` is here; told by its size, for its digest was checked before it was published.

        A link is no blob, wherever it leads.
        """
        try:
            # As text: tens of thousands are asked for.
            status = os.lstat(f"{self.layout.blobs}/{hexadecimal(blob.digest)}")
        except OSError:
            return False
        return S_ISREG(status.st_mode) and status.st_size == blob.size

    def serves(self, blob: Descriptor) -> bool:
        """Whether `blob` is here and we may read it: a lower cache may be somebody else's."""
        return self.owns(blob) and os.access(self.layout.blob(blob.digest), os.R_OK)

    def disregard(self, digest: Digest) -> None:
        """What a lower cache has under `digest` is damaged there, and counts as nothing from now on."""
        self._disregarded.add(digest)

    def blobs(self) -> list[Found]:
        """The blobs under this root, in no order."""
        found = []
        with store_errors(f"cannot read {self.layout.blobs}"):
            for entry in _called_by_digest(self.layout.blobs):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if S_ISREG(status.st_mode):
                        found.append(Found(digest_from_hex(entry.name), status.st_size, status.st_mtime))
        return found

    def digests(self) -> list[Digest]:
        """The digests that something under this root is called by, whatever it is, in no order."""
        with store_errors(f"cannot read {self.layout.blobs}"):
            return [digest_from_hex(entry.name) for entry in _called_by_digest(self.layout.blobs)]

    def stored(self) -> tuple[int, int]:
        """How many blobs there are under this root, and how many bytes they have together."""
        blobs = self.blobs()
        return len(blobs), sum(blob.size for blob in blobs)

    def restore(self, blobs: Iterable[Descriptor]) -> set[Descriptor]:
        """Those of `blobs` that were condemned and are not gone yet are held again; which ones came back.

        What is not ours to move is copied.
        """
        blobs, trash = set(blobs), Trash(self.layout)
        restored = trash.restore(blobs)
        for left in trash.contents() if blobs else ():
            if left.blob is not None and left.blob in blobs and not self.owns(left.blob):
                with suppress(OSError, IngestVanished), self.ingest() as ingest:
                    ingest.take(left.path, move=False)
                    if ingest.descriptor == left.blob:
                        restored.add(ingest.publish())
        return restored

    def sync_blobs(self) -> None:
        """What blobs are here stay after a power cut, whoever wrote them."""
        with store_errors(f"cannot write to {self.layout.blobs}"):
            disk.sync_directory(self.layout.blobs)

    def ingest(self) -> Ingest:
        """A new blob to write: a context manager that leaves nothing behind unless it is published."""
        return Ingest(self.layout)

    def add(self, content: bytes) -> Descriptor:
        """`content` is a blob."""
        blob = descriptor_of(content)
        if not self.owns(blob):
            with self.ingest() as ingest:
                ingest.write(content)
                ingest.publish()
        return blob

    # What is known and held

    def record(self, identifier: Identifier) -> Record | None:
        """Return what `identifier` turned out to be, here or in a lower cache; None if nothing says so.

        The most trusted word counts; of equal ones that of this root, then that of the first lower cache. With lower
        caches a root that cannot be read knows nothing, and refuses whoever wants to write to it.
        """
        found = None
        try:
            found = self.records.read(identifier)
        except msgspec.DecodeError:
            pass
        except StoreError:
            if not self.lowers:
                raise
        if found is None or RANK[found.trust] < RANK["origin"]:
            found = self._more_trusted(identifier, found)
        return found

    def _more_trusted(self, identifier: Identifier, found: Record | None) -> Record | None:
        """The record of a lower cache if it is more trusted than `found`, else `found`."""
        for lower in self.lowers:
            with suppress(StoreError):  # it is as good as not there
                other = lower.record(identifier)
                if other and (found is None or RANK[other.trust] > RANK[found.trust]):
                    found = other
        return found

    def present_state(self, entries: Iterable[Entry]) -> PresentState:
        """Read what is recorded of `entries`, each record once, and which of their bytes are held now."""
        identifiers = dict.fromkeys(entry.identifier for entry in entries if entry.identifier)
        records = {each: record for each in identifiers if (record := self.record(each))}
        return PresentState(records, self.held({record.descriptor for record in records.values()}))

    def held(self, blobs: Iterable[Descriptor]) -> frozenset[Descriptor]:
        """Return those of `blobs` that are here or in a lower cache."""
        return frozenset(blob for blob in blobs if self.holds(blob))

    def blobs_of(self, entries: Iterable[Entry]) -> list[tuple[Entry, Descriptor]]:
        """Those of `entries` that have a record, with the blob that it names."""
        pairs = ((entry, self.record(entry.identifier)) for entry in entries if entry.identifier)
        return [(entry, record.descriptor) for entry, record in pairs if record]

    def reachable(self) -> set[Descriptor]:
        """What refs reach, present or not, and what the layout itself needs.

        Raises:
            StoreError: a ref, or a record that one names, cannot be read, so that nobody can tell.
        """
        for directory in self.refs.unknown_releases():
            what = f"{directory} has selections of a release that this antscache does not know"
            raise StoreError(what, hint="update antscache (`pip install -U antscache`), then run the command again")
        reached = {EMPTY}
        named_by: dict[Identifier, Descriptor | None] = {}
        for release in self.refs.releases():
            entries = union(self.refs.selections(release))
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
        try:
            return self.records.read(identifier)
        except msgspec.DecodeError as error:
            path = self.layout.record(identifier)
            raise StoreError(f"{path} is damaged: {error}", hint="run `antscache verify --repair`") from None


def _refuse_links(layout: Layout) -> None:
    """Refuse a link in place of a directory of a shared root, where members would write through it."""
    for directory in (*layout.directories[1:], *layout.later):
        with store_errors(f"cannot use the shared root {layout.root}"):
            disk.refuse_links(directory, layout.root)


def _refuse_strangers(layout: Layout) -> None:
    """Refuse a directory that is no root and holds something else."""
    try:
        strangers = sorted({path.name for path in layout.root.iterdir()} - HARMLESS)
    except FileNotFoundError:
        return
    if strangers:
        raise StoreError(
            f"{layout.root} is not an antscache root and not empty: it holds {strangers[0]}",
            hint="name an empty or new directory with --root or ANTSCACHE_DIR",
        )


def _called_by_digest(blobs: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(blobs) as entries:
            return [entry for entry in entries if _HEXADECIMAL.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
