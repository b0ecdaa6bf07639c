"""Fixtures that all tests share: a stand-in for Figshare, a root of one's own, and antscache as a process."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest
from support import SIZE, AntsCache, cannot, hard_links_work
from support.members import forks

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.members import Forks


# No verdict depends on how fast the machine is: by default an example that takes 0.2 s fails.
hypothesis.settings.register_profile("no deadline", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that runs the tests in the background has its processes ignore Ctrl-C, and theirs with them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests do within their own process leaves no notes in the developer's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def _figshare() -> Iterator[StandIn]:
    with StandIn(size=SIZE) as standin:
        yield standin


@pytest.fixture
def figshare(_figshare: StandIn) -> Iterator[StandIn]:
    """A stand-in with every identifier of the catalog, which behaves again after each test."""
    yield _figshare
    for number in _figshare.files:
        _figshare.behave(number)


@pytest.fixture
def antscache(tmp_path: Path, figshare: StandIn) -> AntsCache:
    """antscache with a root that does not exist yet, and the stand-in instead of Figshare."""
    home = tmp_path / "home"
    home.mkdir()
    return AntsCache(tmp_path / "root", home, figshare.origins)


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    """A process that forks others, who may be other users."""
    if sys.platform != "linux" or os.geteuid() != 0:
        cannot("only root on Linux can be other users")
    with forks() as found:
        yield found


@pytest.fixture(autouse=True)
def _hard_links(request: pytest.FixtureRequest) -> None:
    """What is about hard links needs them: `@pytest.mark.hard_links`."""
    marked = request.node.get_closest_marker("hard_links")
    if marked and not hard_links_work(request.getfixturevalue("tmp_path_factory").mktemp("links")):
        cannot("hard links are refused here")
