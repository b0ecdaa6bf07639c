"""The store: blobs whole or not there, records with trust, refs, and the index that follows from them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import snapshot

from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.manifest import Entry, Release
from antscache.core.record import Record, Selection, Trust
from antscache.errors import IntegrityError, StoreError
from antscache.store.store import Store

RELEASE = Release("antspynet", "0.3.2")
A = Entry("network", "a", "a.h5", "figshare:1")
B = Entry("data", "b", "b.nii.gz", "figshare:2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


def record(content: bytes, trust: Trust = "origin", identifier: str = "figshare:1") -> Record:
    blob = descriptor_of(content)
    return Record(identifier, blob.digest, blob.size, trust, "host", "2026-01-01T00:00:00+00:00")


def keep(store: Store, entry: Entry, content: bytes) -> Descriptor:
    blob = store.add(content)
    store.records.remember(record(content, identifier=str(entry.identifier)))
    return blob


# Roots


def test_looking_makes_no_root(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.check()
    assert (store.refs.releases(), store.stored(), store.exists()) == ((), (0, 0), False)
    assert not store.layout.root.exists()


def test_a_fresh_root_says_what_it_is(store: Store) -> None:
    root = store.layout.root
    assert (root / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert json.loads((root / "antscache.json").read_text()) == {"layout": 1, "shared": False}
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((root / "index.json").read_text())["manifests"] == []


def test_making_a_root_again_changes_nothing(store: Store) -> None:
    before = snapshot(store.layout.root)
    store.create()
    assert snapshot(store.layout.root) == before


def test_root_of_a_newer_layout_is_refused(store: Store) -> None:
    """It is left alone."""
    store.layout.description.write_text('{"layout": 99, "new": {"thing": 1}}')
    before = snapshot(store.layout.root)
    for attempt in store.check, store.create:
        with pytest.raises(StoreError, match="has layout 99, and this antscache knows layouts up to 2") as caught:
            attempt()
        assert "update antscache" in caught.value.hint
    assert snapshot(store.layout.root) == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"layout": "x"}'])
def test_damaged_description_is_an_error_with_its_path(store: Store, content: str) -> None:
    store.layout.description.write_text(content)
    with pytest.raises(StoreError, match=r"antscache\.json is damaged"):
        store.check()


def test_directory_with_other_files_becomes_no_root(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="not an antscache root and not empty"):
        Store(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_volume_with_lost_and_found_becomes_a_root(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    Store(tmp_path).create()


def test_many_processes_may_make_one_root_at_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from antscache.store import Store; Store(Path(sys.argv[1])).create()"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "deep/root")]) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    Store(tmp_path / "deep/root").check()
    assert list((tmp_path / "deep/root/ingest").iterdir()) == []


# Blobs


def test_blob_is_named_by_digest_and_read_only(store: Store) -> None:
    blob = store.add(b"content")
    path = store.layout.blob(blob.digest)
    assert path.read_bytes() == b"content"
    assert store.holds(blob)
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o444), (0o077, 0o400), (0o002, 0o444)])
def test_modes_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    code = (
        "import os, sys; from pathlib import Path; from antscache.store import Store\n"
        f"os.umask({umask}); store = Store(Path(sys.argv[1])); store.create(); store.add(b'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "root")], check=True)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "root").rglob("*")}
    assert {modes[path] for path in modes if path.parent.name == "sha256"} == {mode}
    assert modes[tmp_path / "root/index.json"] == 0o666 & ~umask
    assert modes[tmp_path / "root/blobs"] == 0o777 & ~umask


class BreakError(Exception):
    pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=st.lists(st.binary(max_size=64), max_size=6), cut=st.integers(0, 6))
def test_a_source_that_breaks_anywhere_leaves_no_trace(store: Store, chunks: list[bytes], cut: int) -> None:
    before = snapshot(store.layout.root)
    with pytest.raises(BreakError), store.ingest() as ingest:
        for chunk in chunks[:cut]:
            ingest.write(chunk)
        raise BreakError
    assert snapshot(store.layout.root) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=st.lists(st.binary(max_size=64), max_size=6))
def test_publishing_twice_is_publishing_once(store: Store, chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    for _ in range(2):
        with store.ingest() as ingest:
            for chunk in chunks:
                ingest.write(chunk)
            assert ingest.publish() == descriptor_of(content)
        assert store.layout.blob(descriptor_of(content).digest).read_bytes() == content
        assert list(store.layout.ingest.iterdir()) == []


def test_file_of_another_size_is_no_blob(store: Store) -> None:
    """It has the blob's name, and is replaced."""
    blob = descriptor_of(b"content")
    store.layout.blob(blob.digest).write_bytes(b"cut")
    assert not store.holds(blob)
    assert store.add(b"content") == blob
    assert store.holds(blob)
    assert store.layout.blob(blob.digest).read_bytes() == b"content"


def test_blob_is_published_without_hard_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(os, "link", refuse)
    blob = store.add(b"content")
    store.add(b"content")
    assert store.layout.blob(blob.digest).read_bytes() == b"content"
    assert list(store.layout.ingest.iterdir()) == []


# Records


def test_record_is_read_as_it_was_written(store: Store) -> None:
    store.records.remember(record(b"a"))
    assert store.record("figshare:1") == record(b"a")
    assert {record.identifier: record.descriptor for record in store.records.readable()} == {
        "figshare:1": descriptor_of(b"a")
    }


@pytest.mark.parametrize(("old", "new"), [("origin", "origin"), ("origin", "mirror"), ("lockfile", "origin")])
def test_equal_or_lower_trust_changes_no_record(store: Store, old: Trust, new: Trust) -> None:
    store.records.remember(record(b"a", old))
    with pytest.raises(IntegrityError) as caught:
        store.records.remember(record(b"b", new))
    assert descriptor_of(b"a").digest in str(caught.value)
    assert descriptor_of(b"b").digest in str(caught.value)
    assert store.record("figshare:1") == record(b"a", old)


@pytest.mark.parametrize(("old", "new"), [("adopted", "mirror"), ("mirror", "origin"), ("origin", "lockfile")])
def test_a_higher_trust_replaces_a_record(store: Store, old: Trust, new: Trust) -> None:
    store.records.remember(record(b"a", old))
    store.records.remember(record(b"b", new))
    assert store.record("figshare:1") == record(b"b", new)


def test_the_same_bytes_from_elsewhere_are_no_conflict(store: Store) -> None:
    store.records.remember(record(b"a", "origin"))
    store.records.remember(record(b"a", "mirror"))
    assert store.record("figshare:1") == record(b"a", "origin")


@pytest.mark.parametrize("content", ["", "{", '{"identifier": "figshare:2"}', '{"digest": "../../x"}'])
def test_damaged_record_counts_as_none_and_is_replaced(store: Store, content: str) -> None:
    store.layout.record("figshare:1").write_text(content)
    assert store.record("figshare:1") is None
    store.records.remember(record(b"a"))
    assert store.record("figshare:1") == record(b"a")


@pytest.mark.parametrize("new", ["mirror", "origin", "lockfile"])
def test_a_record_of_unknown_trust_stays(store: Store, new: Trust) -> None:
    """A newer antscache wrote it: neither the same bytes nor others replace it."""
    path = store.layout.record("figshare:1")
    newer = msgspec.json.encode(msgspec.structs.replace(record(b"a"), trust="sigstore", checks=("signature",)))
    path.write_bytes(newer)
    store.records.remember(record(b"a", new))
    with pytest.raises(IntegrityError):
        store.records.remember(record(b"b", new))
    assert path.read_bytes() == newer
    assert store.record("figshare:1") == msgspec.json.decode(newer, type=Record)


@pytest.mark.parametrize("trust", ["", "a b", "Origin\n", "x" * 40, "<b>"])
def test_a_trust_that_is_no_word_is_damage(store: Store, trust: str) -> None:
    store.layout.record("figshare:1").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(record(b"a"), trust=trust))
    )
    assert store.record("figshare:1") is None


def test_record_under_another_identifiers_name_counts_as_none(store: Store) -> None:
    store.records.remember(record(b"a", identifier="figshare:2"))
    shutil.copy(store.layout.record("figshare:2"), store.layout.record("figshare:1"))
    assert store.record("figshare:1") is None


# Refs


@pytest.mark.parametrize("file", ["../../escape", "a/b", ".hidden", "..", ""])
def test_selection_that_leads_elsewhere_is_damaged(store: Store, file: str) -> None:
    """It names a file outside the directory of a view."""
    entry = {"kind": "data", "name": "x", "file": file, "identifier": "figshare:1"}
    planted = {"release": {"package": "antspynet", "version": "0.3.2"}, "entries": [entry]}
    directory = store.layout.selections(RELEASE)
    directory.mkdir(parents=True)
    (directory / "0.json").write_text(json.dumps(planted))
    with pytest.raises(StoreError, match="is damaged"):
        store.refs.selections(RELEASE)


# The index


def layers(store: Store, tag: str) -> list[tuple[str | None, str]]:
    index = json.loads(store.layout.index.read_bytes())
    [line] = [m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == tag]
    document = json.loads(store.layout.blob(line["digest"]).read_bytes())
    assert document["artifactType"] == line["artifactType"] == "application/vnd.antsx.antsxnet.data.v1"
    return [
        (layer.get("annotations", {}).get("org.opencontainers.image.title"), layer["digest"])
        for layer in document["layers"]
    ]


def test_index_names_each_release_and_its_blobs(store: Store) -> None:
    a, b = keep(store, A, b"a"), keep(store, B, b"b")
    store.refs.select(Selection(RELEASE, (A, B)))
    store.refs.select(Selection(Release("antspynet", "0.3.2+1a2b3c4d"), (A,)))
    store.index.update()
    assert layers(store, "antspynet-0.3.2") == [("a.h5", a.digest), ("b.nii.gz", b.digest)]
    assert layers(store, "antspynet-0.3.2_1a2b3c4d") == [("a.h5", a.digest)]
    assert store.index.is_current(RELEASE, ((A, a), (B, b)))
    assert not store.index.is_current(RELEASE, ((A, a),))


def test_release_without_blobs_has_the_empty_layer(store: Store) -> None:
    store.refs.select(Selection(RELEASE, (A,)))
    store.index.update()
    assert layers(store, "antspynet-0.3.2") == [(None, descriptor_of(b"{}").digest)]
    assert store.holds(descriptor_of(b"{}"))


def test_updates_of_the_index_at_once_lose_nothing(store: Store) -> None:
    releases = [Release("antspynet", f"0.{number}") for number in range(12)]

    def use(release: Release) -> None:
        store.refs.select(Selection(release, (A,)))
        store.index.update()

    threads = [threading.Thread(target=use, args=(release,)) for release in releases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    named = json.loads(store.layout.index.read_bytes())["manifests"]
    assert len(named) == len(releases)


# Disks that refuse


def test_file_in_place_of_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")
    for attempt in Store(tmp_path / "root").check, Store(tmp_path / "root").create:
        with pytest.raises(StoreError, match="Not a directory") as caught:
            attempt()
        assert "--root" in caught.value.hint


def test_root_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(StoreError, match="cannot make a root of /proc/nothing/here"):
        Store(Path("/proc/nothing/here")).create()
