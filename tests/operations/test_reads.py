"""How often records are read: a plan's state is read once and handed on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from antscache import Cache, disk
from antscache.cli.lazy_group import antscache as command
from antscache.cli.options import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

    from antscache.testing import StandIn

RELEASE = "antspynet==0.3.2"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each record is read with success."""
    counted: Counter[str] = Counter()
    read = disk.read

    def count(path: Path | str, *, follow: bool = False) -> bytes:
        content = read(path, follow=follow)
        if "/identifiers/" in str(path):
            counted[str(path)] += 1
        return content

    monkeypatch.setattr(disk, "read", count)
    return counted


def test_a_fetch_reads_records_four_times(antscache: AntsCache, figshare: StandIn, reads: Counter[str]) -> None:
    """Each at most four times."""
    cache = Cache.open(antscache.root, origins=tuple(figshare.origins.split()))
    plan = cache.plan(RELEASE)
    result = cache.prefetch(plan)
    assert len(result.fetched) == len(reads) > 200
    assert max(reads.values()) <= 4


def test_a_prefetch_without_fetch_reads_records_once(
    antscache: AntsCache, figshare: StandIn, reads: Counter[str]
) -> None:
    antscache("prefetch", RELEASE).succeeded()
    cache = Cache.open(antscache.root, origins=tuple(figshare.origins.split()))
    result = cache.prefetch(cache.plan(RELEASE))
    assert result.fetched == ()
    assert len(reads) > 200
    assert set(reads.values()) == {1}


def test_a_list_reads_records_once(antscache: AntsCache, reads: Counter[str]) -> None:
    """Digests, sizes, trust and checks included."""
    antscache("prefetch", RELEASE).succeeded()
    runner, environment = CliRunner(), antscache.environment()
    result = runner.invoke(command, ["list", RELEASE, "--format", "csv"], env=environment, obj=Invocation())
    assert result.stdout.count(",present,sha256:") == len(reads) > 200
    assert set(reads.values()) == {1}
