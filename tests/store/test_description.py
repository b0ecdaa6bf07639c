"""The layout version of a root: raised before an identifier is written that needs a higher one, and by whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.members import User

from antscache.core.digest import descriptor_of
from antscache.core.manifest import Entry, Release
from antscache.core.record import Record, Selection
from antscache.store import description
from antscache.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.members import Forks

    from antscache.core.layout import Description

URL = "url:https://host.org/a.h5"
RELEASE = Release("antspynet", "0.3.2")
BLOB = descriptor_of(b"bytes")
GROUP, ALICE, BOB = 32001, 31001, 31002  # numbers that no group and no user of this host has


def record(identifier: str) -> Record:
    return Record(identifier, BLOB.digest, BLOB.size, "origin", "host.org", "2026-11-30T00:00:00+00:00")


def select(store: Store, identifier: str) -> None:
    store.refs.select(Selection(RELEASE, (Entry("network", "a", "a.h5", identifier),)))


def remember(store: Store, identifier: str) -> None:
    store.records.remember(record(identifier))


def layout_of(root: Path) -> int:
    layout: int = json.loads((root / "antscache.json").read_text())["layout"]
    return layout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


@pytest.mark.parametrize("write", [select, remember])
def test_only_a_url_raises_the_layout(store: Store, write: Callable[[Store, str], None]) -> None:
    write(store, "figshare:7")
    assert layout_of(store.layout.root) == 1
    write(store, URL)
    assert layout_of(store.layout.root) == 2
    again = Store(store.layout.root)
    again.create()
    again.refs.select(Selection(RELEASE, (Entry("network", "a", "a.h5", "figshare:7"),)))
    assert layout_of(store.layout.root) == 2


@pytest.mark.parametrize("write", [select, remember])
@pytest.mark.parametrize("other", [False, True])
def test_layout_is_durable_before_an_identifier_is_written(
    store: Store, write: Callable[[Store, str], None], monkeypatch: pytest.MonkeyPatch, *, other: bool
) -> None:
    """Whoever raises it, and if `other` is a process that was killed before it synced."""
    if other:
        store.layout.description.write_text('{"layout": 2}')
    root, calls = store.layout.root, list[str]()
    sync, link, replace = os.fsync, os.link, Path.replace

    def noted_sync(number: int) -> None:
        sync(number)
        calls.append(f"sync {Path(f'/proc/self/fd/{number}').readlink()}")

    def noted_link(one: Path, two: Path, **options: bool) -> None:
        link(one, two, **options)
        calls.append(f"write {two}")

    def noted_replace(one: Path, two: Path) -> Path:
        calls.append(f"write {two}")
        return replace(one, two)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write(store, URL)
    written = next(place for place, call in enumerate(calls) if call.endswith(".json") and "antscache.json" not in call)
    assert f"sync {root}" in calls[:written]
    if not other:
        assert calls.index(f"write {root}/antscache.json") < calls.index(f"sync {root}")


def test_a_removed_root_is_raised_again(store: Store) -> None:
    """A process that has raised it before does not take that for granted."""
    remember(store, URL)
    store.layout.description.unlink()
    store.create()
    assert layout_of(store.layout.root) == 1
    remember(store, URL)
    assert layout_of(store.layout.root) == 2


def test_sharing_keeps_the_layout(store: Store) -> None:
    remember(store, URL)
    store.share()
    assert json.loads(store.layout.description.read_text()) == {"layout": 2, "shared": True}
    assert (store.layout.url_records.stat().st_mode & 0o7777) == 0o3775


def test_url_records_are_listed_and_checked(store: Store) -> None:
    """A record under the name of another URL, a damaged one and a stranger's file."""
    remember(store, URL)
    remember(store, "figshare:7")
    path = store.layout.record(URL)
    other = store.layout.record("url:https://host.org/b.h5")
    other.write_bytes(path.read_bytes())
    damaged = path.with_name("0" * 64 + ".json")
    damaged.write_text("{")
    path.with_name("thesis.json").write_text("{}")
    found = dict(store.records.all())
    assert {path for path, record in found.items() if isinstance(record, Record)} == {
        path,
        store.layout.record("figshare:7"),
    }
    assert found[other] == f"damaged: it is the record of {URL}"
    assert str(found[damaged]).startswith("damaged: ")
    assert len(found) == 4
    assert store.record("url:https://host.org/b.h5") is None


# Raises the layout, and says when it asks for the lock of the description.
RAISER = f"""
import sys
from pathlib import Path
from antscache.core import Record
from antscache.disk import Locks
from antscache.store import Store
attempt = Locks.attempt
def told_attempt(self, *arguments):
    print("asks", flush=True)
    return attempt(self, *arguments)
Locks.attempt = told_attempt
Store(Path(sys.argv[1])).records.remember(Record({URL!r}, {BLOB.digest!r}, {BLOB.size}, "origin", "host.org", "2026"))
"""


def test_no_change_of_the_description_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process shares the root; another one raises the layout after the first has read the description."""
    processes: list[subprocess.Popen[str]] = []
    encode = description.encode

    def encode_beside_another(described: Description) -> bytes:
        if described.shared and not processes:
            command = [sys.executable, "-c", RAISER, str(store.layout.root)]
            processes.append(process := subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert process.stdout is not None
            assert process.stdout.readline() == "asks\n"
        return encode(described)

    monkeypatch.setattr(description, "encode", encode_beside_another)
    store.share()
    [raising] = processes
    raising.communicate()
    assert raising.returncode == 0
    assert json.loads(store.layout.description.read_text()) == {"layout": 2, "shared": True}


def test_a_member_cannot_raise_an_owners_layout(forked: Forks, tmp_path: Path) -> None:
    """The error says whom to ask; once the owner has raised it, members write such identifiers too."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    members = []
    for number in ALICE, BOB:
        home = tmp_path / str(number)
        home.mkdir()
        os.chown(home, number, GROUP)
        members.append(User(forked, number, (GROUP,), 0o077, home))
    alice, bob = members
    lab = tmp_path / "lab"
    lab.mkdir()
    os.chown(lab, ALICE, GROUP)
    alice("init", "--shared", "--root", lab).succeeded()
    code = f"""
from pathlib import Path
from antscache.core import *
from antscache.errors import StoreError
from antscache.store import Store
store = Store(Path({str(lab)!r}))
store.create()
try:
    store.records.remember(Record({URL!r}, {BLOB.digest!r}, {BLOB.size}, "origin", "host.org", "2026"))
except StoreError as error:
    print(error, error.hint)
"""
    refused = bob.run(code).succeeded().out
    assert "has layout 1, a file from a URL outside of Figshare needs 2" in refused
    assert f"ask user {ALICE} to run the same command once" in refused
    assert layout_of(lab) == 1
    assert not list((lab / "identifiers/url").iterdir())
    alice.run(f"{code}\nstore.layout.record({URL!r}).unlink()").succeeded()
    assert layout_of(lab) == 2
    assert bob.run(code).succeeded().out == ""
    assert [path.stat().st_uid for path in (lab / "identifiers/url").iterdir()] == [BOB]
