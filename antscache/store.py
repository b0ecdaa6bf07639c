"""The store: all blobs, records and refs under one root. With `ingest`, the only writer of blobs.

    blobs/sha256/<hex>                    0444, named by content, never rewritten
    identifiers/figshare/<id>.json        a record, written once its blob is durable
    refs/antspynet/0.3.2/<hex>.json       a selection, written once, before what it selects is fetched
    ingest/<random>                       a blob being written, by one process that no other imitates
    index.json                            recomputed from refs, records and blobs

A blob is whole or it is not there: `ingest.py` has the one recipe. Nothing here needs a lock to be right.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from antscache import durable
from antscache.digest import Descriptor, descriptor_of
from antscache.durable import refusing
from antscache.errors import IntegrityError, StoreError
from antscache.ingest import Ingest
from antscache.layout import (
    CACHEDIR_TAG,
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
from antscache.manifest import Entry, Identifier, Release
from antscache.record import RANK, Record, Selection, union

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# What may lie in a fresh root although nobody made a layout there: ext4's lost+found on a volume of its own.
HARMLESS = TOP_LEVEL | {"lost+found"}


class Store:
    """The store under `root`, which need not exist until something is written.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

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

    def holds(self, blob: Descriptor) -> bool:
        """Whether `blob` is in the store; told by its size, for its digest was checked before it was published."""
        try:
            return self.layout.blob(blob.digest).stat().st_size == blob.size
        except OSError:
            return False

    def stored(self) -> tuple[int, int]:
        """How many blobs there are, and how many bytes they have together."""
        try:
            with os.scandir(self.layout.blobs) as found:
                sizes = [entry.stat().st_size for entry in found if entry.is_file()]
        except FileNotFoundError:
            return 0, 0
        return len(sizes), sum(sizes)

    def ingest(self) -> Ingest:
        """A new blob to write: a context manager that leaves nothing behind unless it is published."""
        return Ingest(self.layout)

    def add(self, content: bytes) -> Descriptor:
        """`content` is a blob."""
        blob = descriptor_of(content)
        if not self.holds(blob):
            with self.ingest() as ingest:
                ingest.write(content)
                ingest.publish()
        return blob

    # Records

    def record(self, identifier: Identifier) -> Record | None:
        """What `identifier` turned out to be; None if it is not known, or if its record cannot be read."""
        with refusing(f"cannot read the record of {identifier}"):
            try:
                found = msgspec.json.decode(self.layout.record(identifier).read_bytes(), type=Record)
            except (FileNotFoundError, NotADirectoryError, *durable.DAMAGED):
                return None
        return found if found.identifier == identifier else None

    def known(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Descriptor]:
        """Those of `identifiers` that have a record, with the bytes they name."""
        records = (self.record(identifier) for identifier in identifiers)
        return {record.identifier: record.descriptor for record in records if record}

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
            present = self.record(record.identifier)
            if present is None or RANK[record.trust] > RANK[present.trust]:
                durable.replace(path, content, staging)
            elif present.descriptor != record.descriptor:
                raise IntegrityError(
                    f"{record.identifier} is recorded as {present.digest} (from {present.source}, {present.trust}), "
                    f"and {record.source} answered {record.digest}",
                    hint=f"an identifier's bytes never change: one of the two is wrong; the record is {path}",
                )

    # Refs

    def selects(self, selection: Selection) -> bool:
        """Whether `selection` is written already."""
        with refusing(f"cannot read the selections of {selection.release}"):
            return self._selection(selection).exists()

    def select(self, selection: Selection) -> None:
        """`selection` keeps its blobs alive from now on."""
        path = self._selection(selection)
        with refusing(f"cannot write the selection {path}"):
            durable.make_directory(path.parent)
            durable.publish(path, selection.encoded(), self.layout.ingest)

    def _selection(self, selection: Selection) -> Path:
        return self.layout.selections(selection.release) / f"{selection.name}.json"

    def selections(self, release: Release) -> tuple[Selection, ...]:
        """What is selected of `release`.

        Raises:
            StoreError: a selection cannot be read.
        """
        found = []
        with refusing(f"cannot read the selections of {release}"):
            for path in sorted(self.layout.selections(release).glob("*.json")):
                try:
                    selection = msgspec.json.decode(path.read_bytes(), type=Selection)
                except durable.DAMAGED as error:
                    raise StoreError(
                        f"{path} is damaged: {error}", hint=f"remove it, then run `antscache prefetch {release}`"
                    ) from None
                if selection.release == release:
                    found.append(selection)
        return tuple(found)

    def releases(self) -> tuple[Release, ...]:
        """The releases in use, sorted."""
        found = set()
        with refusing(f"cannot read {self.layout.refs}"):
            for path in self.layout.refs.glob("*/*/*.json"):
                with suppress(msgspec.ValidationError):
                    fields = {"package": path.parent.parent.name, "version": path.parent.name}
                    found.add(msgspec.convert(fields, Release))
        return tuple(sorted(found))

    def held(self, entries: Iterable[Entry]) -> tuple[tuple[Entry, Descriptor], ...]:
        """Those of `entries` whose bytes are in the store, with their blob."""
        entries = tuple(entries)
        known = self.known(entry.identifier for entry in entries if entry.identifier)
        blobs = ((entry, known.get(entry.identifier)) for entry in entries if entry.identifier)
        return tuple((entry, blob) for entry, blob in blobs if blob and self.holds(blob))

    # The index

    def is_indexed(self, release: Release, held: Iterable[tuple[Entry, Descriptor]]) -> bool:
        """Whether `index.json` already says that exactly `held` is held of `release`."""
        document = artifact((entry.file, blob) for entry, blob in held)
        return index_line(release, descriptor_of(document)) in self._read_index()

    def update_index(self) -> None:
        """`index.json` names each release in use, with what is held of it.

        Whoever changes a ref, record or blob calls this afterwards. It looks again after it wrote, so that of any
        number of processes at once the last to write has seen every change: the index comes right without a lock.
        """
        content = self._index()
        while content != self._read_index():
            with refusing(f"cannot write {self.layout.index}"):
                durable.replace(self.layout.index, content, self.layout.ingest)
            content = self._index()

    def _index(self) -> bytes:
        selected = {release: union(self.selections(release)) for release in self.releases()}
        held = dict(self.held({entry for entries in selected.values() for entry in entries}))
        documents = {
            release: artifact((entry.file, held[entry]) for entry in entries if entry in held)
            for release, entries in selected.items()
        }
        return index((release, self.add(document)) for release, document in documents.items())

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
