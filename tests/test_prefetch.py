"""The main job, end to end: real processes, real HTTP, a real disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conftest import BRAIN, TEMPLATE

if TYPE_CHECKING:
    from conftest import AntsCache

    from antscache.testing import StandIn


def test_prefetch_puts_the_bytes_behind_the_releases_own_names(antscache: AntsCache, figshare: StandIn) -> None:
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", TEMPLATE).succeeded()
    home = Path(ran.out.strip())
    assert (home / ".keras/ANTsXNet" / f"{BRAIN}.h5").read_bytes() == figshare.content("34821874")
    assert (home / ".keras/ANTsXNet" / f"{TEMPLATE}.nii.gz").read_bytes() == figshare.content("22597175")
