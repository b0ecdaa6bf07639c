"""The index: `index.json` names each release in use, and the files of it that this root holds.

It is recomputed from refs, records and blobs. It is right without a lock, because each process that changes one of them
updates the index, and compares it again after writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import descriptor_of, merge_selections
from antscache.disk import store_errors
from antscache.store.oci import artifact_manifest, index_document, index_line, tag, tags_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from antscache.core import Descriptor, Entry, Release
    from antscache.store.store import Store


class Index:
    """The index of `store`. It names blobs under the store's own root, and none of its lower caches."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.layout.index

    def update(self) -> None:
        """Make `index.json` name each release in use, and the files of it that this root holds.

        Call it after each change of a ref, a record or a blob. It compares the index again after writing, so that of
        several processes at once the last one to write has seen every change.
        """
        while not self.matches(documents := self._documents()):
            for document in documents.values():
                self._store.add(document)
            with store_errors(f"cannot write {self._path}"):
                disk.replace(self._path, _index(documents), self._store.layout.staging)

    def matches(self, documents: Mapping[Release, bytes]) -> bool:
        """Return True if `index.json` names these artifact manifests and no others, and each of them is a blob."""
        whole = all(self._store.owns(descriptor_of(document)) for document in documents.values())
        return whole and self._read() == _index(documents)

    def is_current(self, release: Release, held: Iterable[tuple[Entry, Descriptor]]) -> bool:
        """Return True if `index.json` lists exactly `held` for `release`, and names every other release in use.

        The lists of the other releases are not looked at.
        """
        document, content = descriptor_of(self._document(held)), self._read()
        return (
            index_line(release, document) in content
            and self._store.owns(document)
            and tags_in(content) == {tag(used) for used in self._store.refs.releases()}
        )

    def names(self, release: Release) -> bool:
        """Return True if `index.json` names `release`, in use or not."""
        return tag(release) in tags_in(self._read())

    def _documents(self) -> dict[Release, bytes]:
        """Return the artifact manifest of each release in use."""
        store = self._store
        selected = {release: merge_selections(store.refs.selections(release)) for release in store.refs.releases()}
        return {
            release: self._document(store.present_state(entries).held_entries(entries))
            for release, entries in selected.items()
        }

    def _document(self, blobs: Iterable[tuple[Entry, Descriptor]]) -> bytes:
        """Return the artifact manifest of those of `blobs` that are under this root."""
        return artifact_manifest((entry.file, blob) for entry, blob in blobs if self._store.owns(blob))

    def _read(self) -> bytes:
        try:
            return disk.read(self._path)
        except (OSError, *disk.DECODE_ERRORS):
            return b""


def _index(documents: Mapping[Release, bytes]) -> bytes:
    return index_document((release, descriptor_of(document)) for release, document in documents.items())
