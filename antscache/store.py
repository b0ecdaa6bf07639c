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
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache import durable
from antscache.digest import Descriptor, Digest, descriptor_of, digest_of, named
from antscache.durable import refusing
from antscache.errors import IntegrityError, StoreError
from antscache.ingest import Ingest
from antscache.layout import (
    CACHEDIR_TAG,
    EMPTY,
    EMPTY_CONTENT,
    OCI_LAYOUT,
    TOP_LEVEL,
    VERSION,
    Description,
    Layout,
    artifact,
    index,
    index_line,
)
from antscache.manifest import Entry, Identifier, Release, parse_identifier
from antscache.record import RANK, Record, union
from antscache.refs import Refs
from antscache.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# What may lie in a fresh root although nobody made a layout there: ext4's lost+found on a volume of its own.
HARMLESS = TOP_LEVEL | {"lost+found"}


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

    def check(self) -> None:
        """The root is a layout this antscache understands, or is not there yet.

        Raises:
            StoreError: it is neither.
        """
        root, path = self.layout.root, self.layout.description
        with refusing(f"cannot read the root {root}"):
            try:
                description = msgspec.json.decode(path.read_bytes(), type=Description)
            except FileNotFoundError:
                self._check_nothing_else_is_there()
                return
            except durable.DAMAGED as error:
                raise StoreError(
                    f"{path} is damaged: {error}",
                    hint=f'restore it, or write {{"layout": {VERSION}}} into it if this is an antscache root',
                ) from None
        if description.layout > VERSION:
            raise StoreError(
                f"the root {root} has layout {description.layout}, and this antscache knows layouts up to {VERSION}",
                hint="update antscache (`pip install -U antscache`), or name another root with --root",
            )

    def create(self) -> None:
        """The root is there, a valid OCI image layout, and ready to be written to."""
        self.check()
        layout = self.layout
        with refusing(f"cannot make a root of {layout.root}"):
            for directory in (
                layout.root,
                layout.ingest,
                layout.blobs,
                layout.records,
                layout.refs,
                layout.views,
                layout.locks,
            ):
                durable.make_directory(directory)
            description = msgspec.json.encode(Description(VERSION)) + b"\n"
            for path, content in (
                (layout.description, description),
                (layout.tag, CACHEDIR_TAG),
                (layout.oci, OCI_LAYOUT),
                (layout.index, index(())),
            ):
                if not path.exists():
                    durable.publish(path, content, layout.ingest, mode=0o666)
        self.add(EMPTY_CONTENT)

    def exists(self) -> bool:
        """Whether anything was ever written to the root."""
        return self.layout.description.exists()

    # Blobs

    def find(self, blob: Descriptor) -> Path | None:
        """Where `blob` is, here or in a lower cache; None if it is nowhere."""
        if self.owns(blob):
            return self.layout.blob(blob.digest)
        return next((found for lower in self.lowers if (found := lower.find(blob))), None)

    def holds(self, blob: Descriptor) -> bool:
        """Whether `blob` is here or in a lower cache."""
        return self.find(blob) is not None

    def owns(self, blob: Descriptor) -> bool:
        """Whether `blob` is here; told by its size, for its digest was checked before it was published."""
        try:
            return self.layout.blob(blob.digest).stat().st_size == blob.size
        except OSError:
            return False

    def blobs(self) -> list[Found]:
        """The blobs under this root, in no order."""
        found = []
        with refusing(f"cannot read {self.layout.blobs}"):
            for entry in self._blob_files():
                with suppress(FileNotFoundError, msgspec.ValidationError):
                    status = entry.stat(follow_symlinks=False)
                    digest = msgspec.convert(named(entry.name), Digest)
                    found.append(Found(digest, status.st_size, status.st_mtime))
        return found

    def _blob_files(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.layout.blobs) as entries:
                return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def stored(self) -> tuple[int, int]:
        """How many blobs there are under this root, and how many bytes they have together."""
        blobs = self.blobs()
        return len(blobs), sum(blob.size for blob in blobs)

    def restore(self, blobs: Iterable[Descriptor]) -> bool:
        """Those of `blobs` that were condemned and are not gone yet are held again; whether there were any."""
        return bool(Trash(self.layout).restore({blob.digest for blob in blobs}))

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
        """What `identifier` turned out to be, here or in a lower cache; None if that is not known or cannot be read."""
        with suppress(msgspec.DecodeError):
            if found := self._read_record(identifier):
                return found
        return self._record_below(identifier)

    def _record_below(self, identifier: Identifier) -> Record | None:
        for lower in self.lowers:
            with suppress(StoreError):  # it is as good as not there
                if found := lower.record(identifier):
                    return found
        return None

    def _read_record(self, identifier: Identifier) -> Record | None:
        """What is written here of `identifier`; None if nothing is.

        Raises:
            DecodeError: it is no record of this identifier.
        """
        with refusing(f"cannot read the record of {identifier}"):
            try:
                content = self.layout.record(identifier).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            found = msgspec.json.decode(content, type=Record)
        except durable.DAMAGED as error:
            raise msgspec.DecodeError(str(error)) from None
        if found.identifier != identifier:
            raise msgspec.DecodeError(f"it is of {found.identifier}")
        return found

    def remember(self, record: Record) -> None:
        """`record` is written, unless an equal or better one is there. Its blob must be durable.

        Raises:
            IntegrityError: the identifier is recorded as other bytes with equal or higher trust.
        """
        path, staging = self.layout.record(record.identifier), self.layout.ingest
        content = msgspec.json.encode(record) + b"\n"
        with refusing(f"cannot record {record.identifier}"):
            if durable.publish(path, content, staging):
                return
            present = None
            with suppress(msgspec.DecodeError):
                present = self._read_record(record.identifier)
            if present is None or RANK[record.trust] > RANK[present.trust]:
                durable.replace(path, content, staging)
            elif present.descriptor != record.descriptor:
                raise IntegrityError(
                    f"{record.identifier} is recorded as {present.digest} (from {present.source}, {present.trust}), "
                    f"and {record.source} answered {record.digest}",
                    hint=f"an identifier's bytes never change: one of the two is wrong; the record is {path}",
                )

    # What refs reach

    def held(self, entries: Iterable[Entry]) -> tuple[tuple[Entry, Descriptor], ...]:
        """Those of `entries` whose bytes are in the store, with their blob."""
        return tuple((entry, blob) for entry, blob in self._blobs_of(entries) if self.holds(blob))

    def _blobs_of(self, entries: Iterable[Entry]) -> list[tuple[Entry, Descriptor]]:
        """Those of `entries` that have a record, with the blob that it names."""
        pairs = ((entry, self.record(entry.identifier)) for entry in entries if entry.identifier)
        return [(entry, record.descriptor) for entry, record in pairs if record]

    def reachable(self) -> set[Digest]:
        """The digests of what refs reach, present or not, and of what the layout itself needs.

        Raises:
            StoreError: a ref, or a record that one names, cannot be read, so that nobody can tell.
        """
        reached = {EMPTY.digest}
        for release in self.refs.releases():
            entries = union(self.refs.selections(release))
            for identifier in {entry.identifier for entry in entries if entry.identifier}:
                try:
                    record = self._read_record(identifier) or self._record_below(identifier)
                except msgspec.DecodeError as error:
                    path = self.layout.record(identifier)
                    raise StoreError(f"{path} is damaged: {error}", hint="run `antscache verify --repair`") from None
                if record:
                    reached.add(record.digest)
            reached.add(digest_of(self._document(entries)))
        return reached

    def records(self) -> Iterator[Record]:
        """What is recorded under this root, as far as it can be read."""
        with refusing(f"cannot read {self.layout.records}"):
            for path in self.layout.records.glob("*.json"):
                with suppress(msgspec.DecodeError):
                    if (identifier := parse_identifier(path.stem)) and (record := self._read_record(identifier)):
                        yield record

    def damaged_records(self) -> Iterator[tuple[Path, str]]:
        """The records under this root that cannot be read, and why."""
        with refusing(f"cannot read {self.layout.records}"):
            for path in sorted(self.layout.records.glob("*.json")):
                if identifier := parse_identifier(path.stem):
                    try:
                        self._read_record(identifier)
                    except msgspec.DecodeError as error:
                        yield path, f"damaged: {error}"

    # The index

    def is_indexed(self, release: Release, held: Iterable[tuple[Entry, Descriptor]]) -> bool:
        """Whether `index.json` already says that exactly `held` is held of `release`."""
        document = artifact((entry.file, blob) for entry, blob in held if self.owns(blob))
        return index_line(release, descriptor_of(document)) in self._read_index()

    def update_index(self) -> None:
        """`index.json` names each release in use, with what is held of it.

        Whoever changes a ref, record or blob calls this afterwards. It looks again after it wrote, so that of any
        number of processes at once the last to write has seen every change: the index comes right without a lock.
        """
        while not self._is_index(documents := self._documents()):
            for document in documents.values():
                self.add(document)
            with refusing(f"cannot write {self.layout.index}"):
                durable.replace(self.layout.index, _index(documents), self.layout.ingest)

    def index_is_right(self) -> bool:
        """Whether `index.json` says what refs and blobs say."""
        return self._is_index(self._documents())

    def _is_index(self, documents: Mapping[Release, bytes]) -> bool:
        whole = all(self.owns(descriptor_of(document)) for document in documents.values())
        return whole and self._read_index() == _index(documents)

    def _documents(self) -> dict[Release, bytes]:
        """The artifact manifest of each release in use."""
        return {release: self._document(union(self.refs.selections(release))) for release in self.refs.releases()}

    def _document(self, entries: Iterable[Entry]) -> bytes:
        """The artifact manifest of `entries`: of those that are under this root."""
        return artifact((entry.file, blob) for entry, blob in self._blobs_of(entries) if self.owns(blob))

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


def _index(documents: Mapping[Release, bytes]) -> bytes:
    return index((release, descriptor_of(document)) for release, document in documents.items())
