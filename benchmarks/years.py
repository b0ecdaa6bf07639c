"""A root after years of use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest.mock import patch

from antscache.cache import Cache
from antscache.core import Manifest, Record, Release, entry

if TYPE_CHECKING:
    from pathlib import Path

RELEASES, FILES = 50, 200  # of each release, and no two alike: ten thousand blobs


def make(root: Path, size: int) -> None:
    """`root` is one, made as antscache makes it, but for the syncs; each file has `size` bytes, or a few more."""
    cache = Cache.open(root, offline=True)
    filling = os.urandom(size)
    with patch.object(os, "fsync", lambda _: None):
        cache.store.create()
        for number in range(RELEASES):
            first = 1 + number * FILES
            entries = [
                entry("network", f"network{file}", f"network{file}.h5", identifier=f"figshare:{file}")
                for file in range(first, first + FILES)
            ]
            for each in entries:
                identifier = str(each.identifier)
                blob = cache.store.add(identifier.encode() + filling)
                cache.store.records.remember(
                    Record(identifier, blob.digest, blob.size, "origin", "host", "2026-11-21T00:00:00+00:00")
                )
            cache.prefetch(cache.plan(Manifest(Release("antspynet", f"9.{number}"), tuple(entries))))
