"""The store: all blobs, records and refs under one root. With `ingest`, the only writer of blobs.

    blobs/sha256/<hex>                    0444, named by content, never rewritten
    identifiers/figshare/<id>.json        a record, written once its blob is durable
    refs/antspynet/0.3.2/<hex>.json       a selection, written once, before what it selects is fetched
    ingest/<random>                       a blob being written, by one process that no other imitates
    index.json                            recomputed from refs, records and blobs

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
    Record,
    Release,
    descriptor_of,
    digest_from_hex,
    figshare_number,
    hexadecimal,
    parse_identifier,
    union,
)
from antscache.disk import store_errors
from antscache.errors import IntegrityError, StoreError
from antscache.store import sharing
from antscache.store.ingest import Ingest, IngestVanished
from antscache.store.oci import (
    EMPTY,
    EMPTY_CONTENT,
    OCI_LAYOUT,
    artifact_manifest,
    index_document,
    index_line,
    tag,
    tags_in,
)
from antscache.store.refs import Refs
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
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
                self._check_nothing_else_is_there()
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
            self._refuse_links()

    def _refuse_links(self) -> None:
        """Nobody has put a link in place of a directory of a shared root, where members would write through it."""
        for directory in (*self.layout.directories[1:], *self.layout.later):
            with store_errors(f"cannot use the shared root {self.layout.root}"):
                disk.refuse_links(directory, self.layout.root)

    def create(self) -> None:
        """The root is there, a valid OCI image layout, and ready to be written to."""
        self.check()
        layout = self.layout
        with store_errors(f"cannot make a root of {layout.root}"):
            for directory in (*layout.directories, *(layout.later if layout.shared else ())):
                disk.make_directory(directory, layout.shared_root if directory != layout.root else None)
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
            # Members write to these, so none may come to be with the mode that one member's umask makes.
            locks = (layout.identifier_locks, layout.pace) if layout.shared else ()
            for path, content in ((layout.index, index_document(())), *((path, b"") for path in locks)):
                if not path.exists():
                    disk.publish(path, content, layout.staging, mode=disk.WRITABLE)
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
            return sharing.share(layout.root, (layout.index, layout.identifier_locks, layout.pace))

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
            for entry in self._called_by_digest():
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if S_ISREG(status.st_mode):
                        found.append(Found(digest_from_hex(entry.name), status.st_size, status.st_mtime))
        return found

    def digests(self) -> list[Digest]:
        """The digests that something under this root is called by, whatever it is, in no order."""
        with store_errors(f"cannot read {self.layout.blobs}"):
            return [digest_from_hex(entry.name) for entry in self._called_by_digest()]

    def _called_by_digest(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.layout.blobs) as entries:
                return [entry for entry in entries if _HEXADECIMAL.fullmatch(entry.name)]
        except FileNotFoundError:
            return []

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

    # Records

    def record(self, identifier: Identifier) -> Record | None:
        """What `identifier` turned out to be, here or in a lower cache; None if that is not known or cannot be read.

        The most trusted word counts; of equal ones that of this root, then that of the first lower cache. With lower
        caches a root that cannot be read knows nothing, and refuses whoever wants to write to it.
        """
        found = None
        try:
            found = self._read_record(identifier)
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

    def _read_record(self, identifier: Identifier) -> Record | None:
        """What is written here of `identifier`; None if nothing is.

        Raises:
            DecodeError: it is no record of this identifier.
        """
        with store_errors(f"cannot read the record of {identifier}"):
            try:
                content = disk.read(f"{self.layout.records}/{figshare_number(identifier)}.json")
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            found = msgspec.json.decode(content, type=Record)
        except disk.DAMAGED as error:
            raise msgspec.DecodeError(str(error)) from None
        if found.identifier != identifier:
            raise msgspec.DecodeError(f"it is of {found.identifier}")
        return found

    def remember(self, record: Record) -> None:
        """`record` is written, unless an equal or better one is there. Its blob must be durable.

        Raises:
            IntegrityError: the identifier is recorded as other bytes with equal or higher trust.
        """
        path, staging = self.layout.record(record.identifier), self.layout.staging
        content = msgspec.json.encode(record) + b"\n"
        with store_errors(f"cannot record {record.identifier}"):
            if disk.publish(path, content, staging):
                return
            present = None
            with suppress(msgspec.DecodeError):
                present = self._read_record(record.identifier)
            if present is None or RANK[record.trust] > RANK[present.trust]:
                try:
                    disk.replace(path, content, staging, mode=disk.READ_ONLY)
                except PermissionError:  # another member's
                    if present is None or present.descriptor != record.descriptor:
                        raise _owned(path) from None
            elif present.descriptor != record.descriptor:
                raise IntegrityError(
                    f"{record.identifier} is recorded as {present.digest} (from {present.source}, {present.trust}), "
                    f"and {record.source} answered {record.digest}",
                    hint=f"an identifier's bytes never change: one of the two is wrong; the record is {path}",
                )

    # What refs reach

    def held(self, entries: Iterable[Entry]) -> tuple[tuple[Entry, Descriptor], ...]:
        """Those of `entries` whose bytes are in the store, with their blob."""
        return tuple((entry, blob) for entry, blob in self.blobs_of(entries) if self.holds(blob))

    def blobs_of(self, entries: Iterable[Entry]) -> list[tuple[Entry, Descriptor]]:
        """Those of `entries` that have a record, with the blob that it names."""
        pairs = ((entry, self.record(entry.identifier)) for entry in entries if entry.identifier)
        return [(entry, record.descriptor) for entry, record in pairs if record]

    def reachable(self) -> set[Descriptor]:
        """What refs reach, present or not, and what the layout itself needs.

        Raises:
            StoreError: a ref, or a record that one names, cannot be read, so that nobody can tell.
        """
        for directory in self.refs.strangers():
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
            return self._read_record(identifier)
        except msgspec.DecodeError as error:
            path = self.layout.record(identifier)
            raise StoreError(f"{path} is damaged: {error}", hint="run `antscache verify --repair`") from None

    def records(self) -> Iterator[Record]:
        """What is recorded under this root, as far as it can be read."""
        return (record for _, record in self.recorded() if isinstance(record, Record))

    def recorded(self) -> Iterator[tuple[Identifier, Record | str]]:
        """Each record under this root, or what is wrong with it."""
        with store_errors(f"cannot read {self.layout.records}"):
            try:
                with os.scandir(self.layout.records) as entries:
                    names = sorted(entry.name for entry in entries)
            except FileNotFoundError:
                return
        for name in names:
            identifier = parse_identifier(name.removesuffix(".json"))
            if identifier and name == f"{figshare_number(identifier)}.json":
                try:
                    if record := self._read_record(identifier):
                        yield identifier, record
                except msgspec.DecodeError as error:
                    yield identifier, f"damaged: {error}"
                except StoreError as error:
                    yield identifier, f"cannot be read: {getattr(error.__cause__, 'strerror', error)}"

    # The index

    def is_indexed(self, release: Release, held: Iterable[tuple[Entry, Descriptor]]) -> bool:
        """Whether `index.json` already says that exactly `held` is held of `release`, and names what else is in use."""
        document = descriptor_of(artifact_manifest((entry.file, blob) for entry, blob in held if self.owns(blob)))
        content = self._read_index()
        return (
            index_line(release, document) in content
            and self.owns(document)
            and tags_in(content) == {tag(each) for each in self.refs.releases()}
        )

    def is_named(self, release: Release) -> bool:
        """Whether `index.json` names `release`, in use or not."""
        return tag(release) in tags_in(self._read_index())

    def update_index(self) -> None:
        """`index.json` names each release in use, with what is held of it.

        Whoever changes a ref, record or blob calls this afterwards. It looks again after it wrote, so that of any
        number of processes at once the last to write has seen every change: the index comes right without a lock.
        """
        while not self.indexes(documents := self._documents()):
            for document in documents.values():
                self.add(document)
            with store_errors(f"cannot write {self.layout.index}"):
                disk.replace(self.layout.index, _index(documents), self.layout.staging)

    def indexes(self, documents: Mapping[Release, bytes]) -> bool:
        """Whether `index.json` names these artifact manifests and no others, and they are blobs."""
        whole = all(self.owns(descriptor_of(document)) for document in documents.values())
        return whole and self._read_index() == _index(documents)

    def _documents(self) -> dict[Release, bytes]:
        """The artifact manifest of each release in use."""
        return {release: self._document(union(self.refs.selections(release))) for release in self.refs.releases()}

    def _document(self, entries: Iterable[Entry]) -> bytes:
        """The artifact manifest of `entries`: of those that are under this root."""
        return artifact_manifest((entry.file, blob) for entry, blob in self.blobs_of(entries) if self.owns(blob))

    def _read_index(self) -> bytes:
        try:
            return self.layout.index.read_bytes()
        except OSError:
            return b""

    def _check_nothing_else_is_there(self) -> None:
        try:
            strangers = sorted({path.name for path in self.layout.root.iterdir()} - HARMLESS)
        except FileNotFoundError:
            return
        if strangers:
            raise StoreError(
                f"{self.layout.root} is not an antscache root and not empty: it holds {strangers[0]}",
                hint="name an empty or new directory with --root or ANTSCACHE_DIR",
            )


def _owned(path: Path) -> StoreError:
    owner = disk.owner_of(path)
    return StoreError(
        f"{path} is {owner}'s, says something else, and cannot be replaced by you",
        hint=f"ask {owner} to prefetch the release again, or to remove that file",
    )


def _index(documents: Mapping[Release, bytes]) -> bytes:
    return index_document((release, descriptor_of(document)) for release, document in documents.items())
