"""A root after years of use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest.mock import patch

from antscache.cache import Cache
from antscache.core import Manifest, Record, Release, make_entry

if TYPE_CHECKING:
    from pathlib import Path

RELEASE_COUNT, FILES_PER_RELEASE = 50, 200  # all files differ: ten thousand blobs


def make_root(
    root: Path, size: int, release_count: int = RELEASE_COUNT, files_per_release: int = FILES_PER_RELEASE
) -> None:
    """Make such a root by antscache's own code, but without syncs; each file has `size` bytes, or a few more."""
    cache = Cache.open(root, offline=True)
    filling = os.urandom(size)
    with patch.object(os, "fsync", lambda _: None):
        cache.store.create()
        for number in range(release_count):
            first = 1 + number * files_per_release
            entries = [
                make_entry("network", f"network{file}", f"network{file}.h5", identifier=f"figshare:{file}")
                for file in range(first, first + files_per_release)
            ]
            for entry in entries:
                identifier = str(entry.identifier)
                blob = cache.store.add(identifier.encode() + filling)
                cache.store.records.remember(
                    Record(identifier, blob.digest, blob.size, "origin", "host", "2026-11-21T00:00:00+00:00")
                )
            cache.prefetch(cache.plan(Manifest(Release("antspynet", f"9.{number}"), tuple(entries))))
