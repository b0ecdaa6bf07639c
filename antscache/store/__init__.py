"""Bytes kept under one root: blobs, records and refs. Nothing else creates or deletes a blob.

store.py      the store: find, hold and restore blobs; make and check the root
records.py    what identifiers turned out to be
index.py      `index.json`, recomputed from refs, records and blobs
ingest.py     a blob being written: the one recipe
refs.py       which releases are in use, and which of their entries
trash.py      what is condemned and not gone yet
partials.py   the beginnings of files that processes left in `ingest/`
sharing.py    open a root to a group
oci.py        the documents that make the root an OCI image layout
"""

from __future__ import annotations

from antscache.store.ingest import CopyMethod, Ingest, IngestVanished
from antscache.store.oci import EMPTY, EMPTY_CONTENT, OCI_LAYOUT, artifact_manifest, index_document
from antscache.store.partials import Notes, PartialFile, partial_files, remove, remove_stale, stale_files
from antscache.store.refs import Ref, Refs
from antscache.store.sharing import closed, group_number
from antscache.store.store import Found, Store
from antscache.store.trash import Condemned, Trash

__all__ = [
    "EMPTY",
    "EMPTY_CONTENT",
    "OCI_LAYOUT",
    "Condemned",
    "CopyMethod",
    "Found",
    "Ingest",
    "IngestVanished",
    "Notes",
    "PartialFile",
    "Ref",
    "Refs",
    "Store",
    "Trash",
    "artifact_manifest",
    "closed",
    "group_number",
    "index_document",
    "partial_files",
    "remove",
    "remove_stale",
    "stale_files",
]
