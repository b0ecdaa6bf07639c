"""Real releases of ANTsPyNet whose programs name a directory or a file of their own.

0.3.2 and 0.2.9 set a directory, 0.2.8 takes it as a parameter. Upstream's own downloader would connect to the proxy
that the environment names: a port that counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, REPOSITORY, TEMPLATE, AntsCache
from upstream import HERE, RUN_TIMEOUT_SECONDS, TENSORFLOW, cut_off, humble, python, redirected, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.testing import StandIn

__all__ = ["cut_off", "humble", "python", "redirected"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

NUMBERS = {BRAIN: "34821874", LUNG: "41965818", TEMPLATE: "22597175"}
FILES = {BRAIN: f"{BRAIN}.h5", LUNG: f"{LUNG}.h5", TEMPLATE: f"{TEMPLATE}.nii.gz"}
HOME = ".keras/ANTsXNet"
DOCUMENT = REPOSITORY / "docs/hook.md"

Call = tuple[str, str, Path | None, str | None]  # kind, name, directory, file


class Port:
    """A listening port that counts connections, and closes them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


@dataclass(frozen=True)
class Release:
    """A real release, and processes of it that name places."""

    version: str
    python: Path
    path: str
    antscache: AntsCache

    def ask(
        self, calls: list[tuple[str, str, Path | None, str | None]], *words: str, **environ: str
    ) -> list[list[str]]:
        """Return the answers to these calls under `antscache run`; `words` come before that command."""
        script = json.dumps([[kind, name, str(place) if place else None, file] for kind, name, place, file in calls])
        command = self.antscache.command("run", "--", self.python, HERE / "hooked/places.py", script)
        environment = self.antscache.environment(**TENSORFLOW, PYTHONPATH=self.path, **environ)
        done = subprocess.run(
            [*words, *command],
            env=environment,
            cwd=self.antscache.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(params=["0.3.2", "0.2.9", "0.2.8"])
def release(request: pytest.FixtureRequest, python: Path, antscache: AntsCache) -> Release:
    version: str = request.param
    path = "" if version == "0.3.2" else str(unpacked(version, python))
    return Release(version, python, path, antscache)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_places_get_right_bytes_from_one_download(
    release: Release, figshare: StandIn, tmp_path: Path, port: Port
) -> None:
    """Nothing but antscache connects to anything."""
    own, cut, kept = tmp_path / "own", tmp_path / "cut", tmp_path / "kept"
    right = {name: figshare.content(number) for name, number in NUMBERS.items()}
    other = figshare.content("34792930")  # whole, and of another release
    for directory, content in (cut, right[BRAIN][:1000]), (kept, other):
        directory.mkdir()
        (directory / FILES[BRAIN]).write_bytes(content)
    before = {name: figshare.downloads(number) for name, number in NUMBERS.items()}
    proxy = {"http_proxy": port.url, "https_proxy": port.url, "no_proxy": "127.0.0.1"}
    answers = release.ask(
        [
            ("network", LUNG, None, "renamed.keras"),
            ("network", BRAIN, own, None),
            ("data", TEMPLATE, own, None),
            ("network", BRAIN, own, "mine.h5"),
            ("network", BRAIN, cut, None),
            ("network", BRAIN, kept, None),
            ("network", BRAIN, Path("/sys/kernel"), None),
        ],
        **proxy,
    )
    view = release.antscache.root / f"views/antspynet-{release.version}" / HOME
    assert answers == [
        [str(release.antscache.home / HOME / "renamed.keras"), sha256(right[LUNG])],
        [str(own / FILES[BRAIN]), sha256(right[BRAIN])],
        [str(own / FILES[TEMPLATE]), sha256(right[TEMPLATE])],
        [str(own / "mine.h5"), sha256(right[BRAIN])],
        [str(cut / FILES[BRAIN]), sha256(right[BRAIN])],
        [str(kept / FILES[BRAIN]), sha256(other)],
        [str(view / FILES[BRAIN]), sha256(right[BRAIN])],
    ]
    assert {name: figshare.downloads(number) - before[name] for name, number in NUMBERS.items()} == dict.fromkeys(
        NUMBERS, 1
    )
    assert port.connections == 0


def words_for(path: Path, before: bytes | None, right: bytes) -> str:
    """Return what the table calls a file at `path` that has been returned, and had the bytes `before`, if any."""
    if path.is_dir():
        return "**that file**"
    content = path.read_bytes()
    if path.is_symlink():
        return "**writes through the link**" if content == right else "follows the link"
    if content == right:
        return "the right bytes" if before == right else "downloads it, unverified"
    assert content == before
    return {
        b"": "**an empty file**",
        right[:1000]: "**part of the file**",
        WEB_PAGE: "**a web page**",
        OTHER: "your file",
    }.get(content, "**that file**")


WEB_PAGE, TEXT, OTHER = b"<!DOCTYPE html><html></html>", b"text", b"\x89HDF\r\n\x1a\nanother network"


def test_document_has_upstreams_own_answers(
    python: Path, redirected: tuple[Path, StandIn], humble: tuple[str, ...], tmp_path: Path
) -> None:
    """The column on ANTsPyNet alone: the real 0.3.2, which asks a stand-in in place of Figshare."""
    source, standin = redirected
    right = standin.content(NUMBERS[LUNG])
    there = {
        "nothing": None,
        "an empty file": b"",
        "a part of the file": right[:1000],
        "a web page": WEB_PAGE,
        "the file itself": right,
        "a whole file with other bytes of your own": OTHER,
        "a file of another kind, a directory": TEXT,
    }
    places = {state: tmp_path / f"{number}" for number, state in enumerate([*there, "a directory", "link", "closed"])}
    for state, place in places.items():
        place.mkdir()
        path, content = place / FILES[LUNG], there.get(state)
        if content is not None:
            path.write_bytes(content)
        if state == "a directory":
            path.mkdir()
        if state == "link":
            path.symlink_to(tmp_path / "target")
    places["closed"].chmod(0o555)
    calls = json.dumps([["network", LUNG, str(place), None] for place in places.values()])
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [*humble, python, HERE / "hooked/places.py", calls], capture_output=True, text=True, check=True, cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **TENSORFLOW, "PYTHONPATH": str(source), "no_proxy": "*"},
        timeout=RUN_TIMEOUT_SECONDS,
    )  # fmt: skip
    answers = dict(zip(places, json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert answers.pop("closed") == [
        f"PermissionError: [Errno 13] Permission denied: '{places['closed'] / FILES[LUNG]}'"
    ]
    assert {state: path for state, (path, _) in answers.items()} == {
        state: str(places[state] / FILES[LUNG]) for state in answers
    }
    measured = {state: words_for(places[state] / FILES[LUNG], there.get(state), right) for state in answers}
    assert measured.pop("a directory") == measured["a file of another kind, a directory"]
    measured |= {"a link to nothing": measured.pop("link"), "you may not write there": "error: Permission denied"}
    table = DOCUMENT.read_text("utf-8").partition("| at that place | ANTsPyNet alone |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
    assert measured == {row[1]: row[2] for row in rows}


def test_offline_places_get_right_bytes_or_an_error(
    release: Release, figshare: StandIn, tmp_path: Path, cut_off: tuple[str, ...]
) -> None:
    """With nothing in the store, on a host without a network: not even a name is looked up."""
    own, cut, kept = tmp_path / "own", tmp_path / "cut", tmp_path / "kept"
    content = figshare.content(NUMBERS[LUNG])
    for directory, there in (cut, content[:1000]), (kept, content):
        directory.mkdir()
        (directory / FILES[LUNG]).write_bytes(there)
    calls: list[Call] = [
        ("network", LUNG, None, "renamed.h5"),
        ("network", LUNG, own, None),
        ("network", LUNG, cut, None),
        ("data", TEMPLATE, own, "mine.nii.gz"),
        ("network", LUNG, kept, None),
    ]
    *errors, last = release.ask(calls, *cut_off, ANTSCACHE_OFFLINE="1")
    assert all(error.startswith("AntsCacheError: ") and "missing and offline" in error for [error] in errors)
    assert "a cut HDF5 file" in errors[2][0]
    assert last == [str(kept / FILES[LUNG]), sha256(content)]
    assert (cut / FILES[LUNG]).read_bytes() == content[:1000]
    assert not (own / FILES[LUNG]).exists()
