"""The bytes under one root: blobs, records and refs. No other package creates or deletes a blob.

store.py          the store: find, hold and restore blobs; make and check the root
records.py        the records of identifiers: their bytes and how far these are trusted
record_layers.py  the records of a root and of its lower caches: which one counts
description.py    the layout version of the root, and whether a group shares it
index.py          `index.json`, recomputed from refs, records and blobs
ingest.py         a blob being written: the one recipe
refs.py           the releases in use, and the entries selected of them
trash.py          condemned blobs that are not deleted yet
parts.py          the directories of a root, which may be links or mounts
partials.py       the beginnings of files in `ingest/`
sharing.py        opening a root to a group
oci.py            the documents that make the root an OCI image layout
"""

from __future__ import annotations

from antscache.store.ingest import CopyMethod, Ingest, IngestVanished
from antscache.store.oci import EMPTY_BLOB, EMPTY_CONTENT, OCI_LAYOUT, artifact_manifest, index_document, view_digest
from antscache.store.partials import Notes, PartialFile, partial_files, remove, remove_stale, stale_files
from antscache.store.refs import Ref, Refs
from antscache.store.sharing import find_impassable_parent, group_number
from antscache.store.store import Store, StoredBlob
from antscache.store.trash import Condemned, Trash

__all__ = [
    "EMPTY_BLOB",
    "EMPTY_CONTENT",
    "OCI_LAYOUT",
    "Condemned",
    "CopyMethod",
    "Ingest",
    "IngestVanished",
    "Notes",
    "PartialFile",
    "Ref",
    "Refs",
    "Store",
    "StoredBlob",
    "Trash",
    "artifact_manifest",
    "find_impassable_parent",
    "group_number",
    "index_document",
    "partial_files",
    "remove",
    "remove_stale",
    "stale_files",
    "view_digest",
]
