"""A root after years of use: ten thousand blobs, fifty releases."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from antscache.cache import Cache
from antscache.manifest import Manifest, Release, entry
from antscache.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AntsCache

RELEASES, FILES = 50, 200  # of each release, and no two alike
SECOND = 1.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root, made as antscache makes it, but for the syncs."""
    root = tmp_path_factory.mktemp("large") / "root"
    cache = Cache.open(root, offline=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        cache.store.create()
        for number in range(RELEASES):
            first = 1 + number * FILES
            entries = [
                entry("network", f"network{file}", f"network{file}.h5", identifier=f"figshare:{file}")
                for file in range(first, first + FILES)
            ]
            for each in entries:
                blob = cache.store.add(str(each.identifier).encode() * 1000)
                cache.store.remember(
                    Record(str(each.identifier), blob.digest, blob.size, "origin", "host", "2026-11-21T00:00:00+00:00")
                )
            cache.prefetch(cache.plan(Manifest(Release("antspynet", f"9.{number}"), tuple(entries))))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("command", [["status"], ["list"], ["prefetch", "antspynet==9.7", "--offline"], ["gc", "-n"]])
def test_what_has_nothing_to_do_takes_less_than_a_second(antscache: AntsCache, large: Path, command: list[str]) -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        antscache(*command, ANTSCACHE_DIR=large).succeeded()
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(3)) < SECOND


@pytest.mark.slow
def test_everything_is_as_it_should_be(antscache: AntsCache, large: Path) -> None:
    told = antscache("verify", ANTSCACHE_DIR=large).succeeded()
    assert "blobs read" in told.err
    assert len(list((large / "blobs/sha256").iterdir())) > RELEASES * FILES
