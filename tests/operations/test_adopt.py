"""Adopt: which files of an ANTsPyNet without antscache are recognised, taken, and left alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import HANG_SECONDS, LUNG, TEMPLATE, TRANSFORM, AntsCache, Ran, cannot, require, snapshot

from antscache import Cache
from antscache.core import Finding, HazardPolicy
from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.events import Event, Fetched, Remarked, ignore_events
from antscache.core.manifest import Manifest, make_entry, parse_release
from antscache.core.record import TRUST_RANKS, Record, Trust
from antscache.errors import StoreError
from antscache.formats.hdf5_subprocess import Hdf5Scanner
from antscache.operations import adoptable
from antscache.operations.adopt import take_over
from antscache.operations.adoptable import Evidence, SeenFile, judge
from antscache.operations.confirm import compare
from antscache.operations.scans import scan_networks
from antscache.testing import Misbehaviour, content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.operations.adoptable import Judged
    from antscache.testing import StandIn


BRAIN = "antsxnetWmh"  # of one content in all releases, as are the other three
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells, and does, what this is about")
BRAIN_ID, LUNG_ID, TEMPLATE_ID, TRANSFORM_ID = (f"figshare:{n}" for n in (42301059, 41965818, 22597175, 41052575))
FILES = {
    f"{BRAIN}.h5": "42301059",
    f"{LUNG}.h5": "41965818",
    f"{TEMPLATE}.nii.gz": "22597175",
    f"{TRANSFORM}.mat": "41052575",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory that an ANTsPyNet has filled: four files with the stand-in's bytes."""
    return filled(tmp_path / "old/.keras/ANTsXNet")


def filled(directory: Path, files: dict[str, str] = FILES) -> Path:
    directory.mkdir(parents=True)
    for name, number in files.items():
        (directory / name).write_bytes(made(name, number))
    return directory


def made(name: str, number: str) -> bytes:
    """Return the bytes that the stand-in of the tests' session has."""
    return content(number, name, 4_000)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.open(tmp_path / "root", offline=True)


def manifest(version: str = "0.3.2") -> Manifest:
    return Cache.open("/nowhere", offline=True).manifest(version)


def fates(judged: tuple[Judged, ...]) -> dict[str, str]:
    return {each.seen.path.name: each.fate for each in judged}


def whys(judged: tuple[Judged, ...]) -> dict[str, str]:
    return {each.seen.path.name: each.why for each in judged}


def ways(judged: tuple[Judged, ...]) -> set[str | None]:
    return {each.way for each in judged}


def view(root: Path, version: str = "0.3.2") -> dict[str, bytes]:
    found = root / f"views/antspynet-{version}/.keras/ANTsXNet"
    return {path.name: path.read_bytes() for path in found.iterdir()} if found.exists() else {}


def file_states(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return the mode, inode, size, mtime and links of each file: none changes when it is left alone."""
    states = ((path, path.lstat()) for path in sorted(directory.rglob("*")))
    return {str(path): (s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, s.st_nlink) for path, s in states}


def assert_sound(root: Path) -> None:
    """Assert that each blob is read-only and has the right bytes, each record has its blob, and `ingest/` is empty."""
    blobs = {path.name: path for path in (root / "blobs/sha256").iterdir()}
    for name, path in blobs.items():
        assert descriptor_of(path.read_bytes()).digest == f"sha256:{name}"
        assert path.stat().st_mode & 0o777 == 0o444
    for path in (root / "identifiers/figshare").iterdir():
        assert json.loads(path.read_text())["digest"].removeprefix("sha256:") in blobs
    assert list((root / "ingest").iterdir()) == []


def record(root: Path, identifier: str) -> dict[str, Any]:
    path = root / f"identifiers/figshare/{identifier.removeprefix('figshare:')}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# Judging, without a disk

RELEASE = parse_release("0.3.2")
A, B, TWICE, AGAIN = (
    make_entry("network", "a", "a.h5", identifier="figshare:1"),
    make_entry("network", "b", "b.h5", identifier="figshare:2"),
    make_entry("network", "twice", "twice.h5", identifier="figshare:3"),
    make_entry("data", "again", "twice.h5", identifier="figshare:4"),
)
NEVER = make_entry("network", "never", "never.h5", reason="an empty URL")
SMALL = Manifest(RELEASE, (AGAIN, A, B, NEVER, TWICE))
BYTES = [descriptor_of(bytes([number])) for number in range(4)]


def seen(name: str, blob: Descriptor | None, problem: str = "") -> SeenFile:
    return SeenFile(Path("/old", name), blob, problem)


def recorded(identifier: str, blob: Descriptor, trust: Trust = "origin") -> Record:
    return Record(identifier, blob.digest, blob.size, trust, "somewhere", "2026-01-01T00:00:00+00:00")


def judged(one: SeenFile, *records: Record, of: Manifest = SMALL) -> Judged:
    (found,) = judge([one], of, Evidence(records))
    return found


@pytest.mark.parametrize("name", ["a.h5", "b.h5", "twice.h5", "what ever", "never.h5"])
@pytest.mark.parametrize("problem", ["", "a cut HDF5 file"])
def test_recorded_bytes_are_recognised_under_any_name(name: str, problem: str) -> None:
    found = judged(seen(name, BYTES[0], problem), recorded("figshare:1", BYTES[0]))
    assert (found.fate, found.entries) == ("recognised", (A,))


def test_bytes_of_two_identifiers_match_both() -> None:
    found = judged(seen("x", BYTES[0]), recorded("figshare:1", BYTES[0]), recorded("figshare:2", BYTES[0]))
    assert (found.fate, found.entries) == ("recognised", (A, B))


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (seen("a.h5", BYTES[0]), "it is figshare:9, which the release does not ask for"),
        (seen("a.h5", BYTES[1]), "other bytes are recorded for figshare:1"),
        (seen("a.h5", BYTES[1], "a cut HDF5 file"), "a cut HDF5 file"),
        (seen("b.h5", BYTES[1], "an empty file"), "an empty file"),
        (seen("b.h5", None, "a directory"), "a directory"),
        (seen("other.h5", BYTES[1], "an empty file"), "not a file of the release"),
        (seen("never.h5", BYTES[1]), "not a file of the release"),
        (seen("A.h5", BYTES[1]), "not a file of the release"),
        (
            seen("twice.h5", BYTES[1]),
            "it could be any of figshare:3, figshare:4: say which with --identifier twice.h5=figshare:N",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_doubtful_files_are_left_with_the_reason(one: SeenFile, why: str) -> None:
    found = judged(one, recorded("figshare:9", BYTES[0]), recorded("figshare:1", BYTES[3]))
    assert (found.fate, found.entries, found.why) == ("left", (), why)


def test_the_reason_names_an_adopted_record() -> None:
    found = judged(seen("a.h5", BYTES[0]), recorded("figshare:9", BYTES[0], "adopted"))
    assert found.why == "it is figshare:9 (adopted), which the release does not ask for"


def test_the_last_record_of_an_identifier_counts() -> None:
    below, here = recorded("figshare:1", BYTES[0]), recorded("figshare:1", BYTES[1])
    assert judged(seen("x", BYTES[1]), below, here).fate == "recognised"
    assert judged(seen("a.h5", BYTES[0]), below, here).why == "other bytes are recorded for figshare:1"


@settings(deadline=None)
@given(
    found=st.lists(
        st.builds(
            seen,
            st.sampled_from(["a.h5", "b.h5", "twice.h5", "never.h5", "other.h5"]),
            st.sampled_from([*BYTES, None]),
            st.sampled_from(["", "a cut HDF5 file"]),
        ).map(lambda one: one if one.blob else replace(one, problem="a directory")),
        max_size=6,
    ),
    records=st.lists(
        st.builds(
            recorded,
            st.sampled_from([f"figshare:{number}" for number in (1, 2, 3, 4, 9)]),
            st.sampled_from(BYTES),
            st.sampled_from(sorted(TRUST_RANKS)),
        ),
        max_size=5,
        unique_by=lambda record: record.identifier,
    ),
)
def test_no_file_is_taken_against_the_evidence(found: list[SeenFile], records: list[Record]) -> None:
    """A file is taken only if its records, its form and its name allow it, and no origin is asked."""
    known = {record.identifier: record.descriptor for record in records}
    for each in (compare(judged, None, "") for judged in judge(found, SMALL, Evidence(tuple(records)))):
        identifiers = {one.identifier for one in each.entries}
        assert bool(identifiers) == (each.fate != "left") == (not each.why)
        if each.fate == "taken":
            assert not each.seen.problem
            assert {one.file for one in each.entries} == {each.seen.path.name}
            assert len(identifiers) == 1
            assert not identifiers & known.keys()
            assert each.seen.blob not in known.values()
        if each.fate == "recognised":
            assert all(known[str(identifier)] == each.seen.blob for identifier in identifiers)


# Taken on the user's word


def test_adopt_leaves_the_directory_as_it_was(antscache: AntsCache, directory: Path) -> None:
    (directory / "mine.h5").write_bytes(b"mine")
    before, states = snapshot(directory), file_states(directory)
    ran = antscache("adopt", directory, "--as", "0.3.2").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 4, left: 1"
    assert "left   mine.h5" in ran.out
    assert "not a file of the release" in ran.out
    assert view(antscache.root) == {name: made(name, number) for name, number in FILES.items()}
    assert (snapshot(directory), file_states(directory)) == (before, states)
    assert_sound(antscache.root)
    statuses = {row["file"]: row["status"] for row in antscache("list", "0.3.2", "--json").json}
    assert {file for file, status in statuses.items() if status == "present"} == set(FILES)
    names = [word for name in (BRAIN, LUNG, TEMPLATE, TRANSFORM) for word in ("--name", name)]
    antscache("prefetch", "0.3.2", *names, "--offline").succeeded()


def test_the_record_gives_source_and_checks(cache: Cache, directory: Path) -> None:
    cache.adopt(directory, manifest())
    found = record(cache.store.layout.root, BRAIN_ID)
    assert (found["trust"], found["source"]) == ("adopted", str(directory / f"{BRAIN}.h5"))
    assert found["checks"] == ["form", "walk"]
    assert record(cache.store.layout.root, TEMPLATE_ID)["checks"] == ["form"]


@pytest.mark.parametrize("up", [0, 1, 2], ids=["ANTsXNet", ".keras", "home"])
def test_home_keras_or_antsxnet_can_be_named(cache: Cache, directory: Path, up: int) -> None:
    found = cache.adopt([directory, *directory.parents][up], manifest())
    assert fates(found) == dict.fromkeys(FILES, "taken")


def test_antspyx_has_a_directory_of_its_own(cache: Cache, tmp_path: Path) -> None:
    filled(tmp_path / "old/.antspy", {"mni.nii.gz": "28726500", "r16slice.jpg": "28726512"})
    found = cache.adopt(tmp_path / "old", cache.manifest("antspyx==0.6.3"))
    assert fates(found) == {"mni.nii.gz": "taken", "r16slice.jpg": "taken"}
    assert (cache.store.layout.root / "views/antspyx-0.6.3/.antspy/mni.nii.gz").exists()


def test_cut_files_are_left(cache: Cache, directory: Path) -> None:
    for name in FILES:
        (directory / name).write_bytes((directory / name).read_bytes()[:-1])
    (directory / f"{BRAIN}.h5").write_bytes(b"")
    (directory / f"{LUNG}.h5").write_bytes(b"<!DOCTYPE html><html>")
    found = cache.adopt(directory, manifest())
    assert fates(found) == dict.fromkeys(FILES, "left")
    assert whys(found)[f"{BRAIN}.h5"] == "an empty file"
    assert whys(found)[f"{LUNG}.h5"] == "an HTML page"
    assert "cut" in whys(found)[f"{TRANSFORM}.mat"]
    assert not cache.store.exists()


def test_a_network_with_hazards_is_left(cache: Cache, directory: Path) -> None:
    """The hazards are named."""
    (directory / f"{BRAIN}.h5").unlink()
    with h5py.File(directory / f"{BRAIN}.h5", "w") as network:
        network["more"] = h5py.ExternalLink("/etc/passwd", "/")
    found = cache.adopt(directory, manifest())
    assert fates(found) == dict.fromkeys(FILES, "taken") | {f"{BRAIN}.h5": "left"}
    why = whys(found)[f"{BRAIN}.h5"]
    assert why.startswith("an HDF5 file with an external link '/more' to '/etc/passwd': `antscache prefetch ")
    assert f"{BRAIN}.h5" not in view(cache.store.layout.root)


def test_a_network_that_the_library_refuses_is_left(cache: Cache, directory: Path) -> None:
    sound = (directory / f"{BRAIN}.h5").read_bytes()
    (directory / f"{BRAIN}.h5").write_bytes(sound.replace(b"TREE", b"WOOD"))
    found = cache.adopt(directory, manifest())
    assert whys(found)[f"{BRAIN}.h5"].startswith("an HDF5 file that cannot be scanned: ")


def test_a_broken_h5py_is_noted_once(antscache: AntsCache, directory: Path, tmp_path: Path) -> None:
    """The command goes on without it."""
    (tmp_path / "h5py").mkdir()
    (tmp_path / "h5py/__init__.py").write_text("raise ImportError('a library is missing')")
    ran = antscache("adopt", directory, "--as", "0.3.2", PYTHONPATH=tmp_path).succeeded()
    assert ran.err.count("note: HDF5 files are not scanned: ") == 1
    assert record(antscache.root, BRAIN_ID)["checks"] == ["length", "md5", "form"]


def test_a_dry_run_counts_and_writes_nothing(antscache: AntsCache, directory: Path) -> None:
    (directory / "mine.h5").write_bytes(b"mine")
    states = file_states(directory)
    ran = antscache("adopt", directory, "--as", "0.3.2", "-n", "--move").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: would be recognised: 0, would be taken: 4, left: 1"
    assert not antscache.root.exists()
    assert file_states(directory) == states


def test_json_gives_the_fate_of_each_file(antscache: AntsCache, directory: Path) -> None:
    (directory / "mine.h5").write_bytes(b"mine")
    ran = antscache("adopt", directory, "--as", "0.3.2", "--json").succeeded()
    files = {Path(each["path"]).name: each for each in ran.json["files"]}
    assert ran.json["release"] == "antspynet==0.3.2"
    assert (files["mine.h5"]["fate"], files["mine.h5"]["entries"]) == ("left", [])
    found = files[f"{BRAIN}.h5"]
    assert (found["fate"], found["why"], found["checks"]) == ("taken", "", ["length", "md5", "form", "walk"])
    assert (found["trust"], files["mine.h5"]["trust"]) == ("origin", None)
    assert found["blob"]["digest"] == descriptor_of(made(f"{BRAIN}.h5", "42301059")).digest
    assert [each["identifier"] for each in found["entries"]] == [BRAIN_ID]
    assert found["way"] in {"copy", "reflink"}


def test_a_missing_directory_is_an_error(antscache: AntsCache, tmp_path: Path) -> None:
    ran = antscache("adopt", tmp_path / "nowhere", "--as", "0.3.2")
    assert (ran.code, "does not exist" in ran.err) == (2, True)


def test_a_terminal_shows_a_bar(antscache: AntsCache, directory: Path) -> None:
    """The result is the same as without a terminal."""
    import pty

    leader, follower = pty.openpty()
    with subprocess.Popen(
        antscache.command("adopt", directory, "--as", "0.3.2"),
        env=antscache.environment(TERM="xterm", COLUMNS="100"),
        stdout=subprocess.PIPE,
        stderr=follower,
    ) as process:
        os.close(follower)
        said = b""
        while True:
            try:
                more = os.read(leader, 65536)
            except OSError:  # the terminal's other end has been closed
                break
            said += more
        os.close(leader)
        assert process.stdout is not None
        assert process.stdout.read().endswith(b"recognised: 0, taken: 4, left: 0\n")
    assert process.returncode == 0
    assert b"reading" in said


def test_a_second_adopt_recognises_everything(antscache: AntsCache, directory: Path) -> None:
    """It writes nothing, although a file has another name by now."""
    antscache("adopt", directory, "--as", "0.3.2").succeeded()
    before = file_states(antscache.root)
    (directory / f"{BRAIN}.h5").rename(directory / "another name")
    ran = antscache("adopt", directory, "--as", "0.3.2").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 4, taken: 0, left: 0"
    assert file_states(antscache.root) == before


def test_a_whole_release_is_taken_over(antscache: AntsCache, tmp_path: Path) -> None:
    release = [one for one in manifest().entries if one.identifier]
    files = {one.file: str(one.identifier).removeprefix("figshare:") for one in release}
    filled(tmp_path / "old", files)
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2", "--move").succeeded()
    assert ran.out.splitlines()[-1] == f"antspynet==0.3.2: recognised: 0, taken: {len(files)}, left: 0"
    antscache("prefetch", "0.3.2", "--offline").succeeded()
    assert view(antscache.root) == {name: made(name, number) for name, number in files.items()}
    assert list((tmp_path / "old").iterdir()) == []
    assert_sound(antscache.root)


# Two releases in one directory


def changed() -> dict[str, tuple[str, str]]:
    """The files that 0.2.9 and 0.3.2 both have, with their numbers where they differ."""
    old, new = ({one.file: one.identifier for one in manifest(each).entries} for each in ("0.2.9", "0.3.2"))
    return {
        file: (str(old[file]).removeprefix("figshare:"), str(new[file]).removeprefix("figshare:"))
        for file in old.keys() & new.keys()
        if old[file] and new[file] and old[file] != new[file]
    }


def mixed(directory: Path) -> Path:
    """The last six of 0.2.9 and what is of both, as when 0.2.9 was there first and 0.3.2 found its files."""
    return filled(directory, FILES | {file: old for file, (old, _) in changed().items()})


def test_known_bytes_show_files_of_another_release(antscache: AntsCache, tmp_path: Path) -> None:
    names = [word for file in changed() for word in ("--name", file.partition(".")[0])]
    antscache("prefetch", "0.2.9", *names).succeeded()
    mixed(tmp_path / "old")
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 4, left: 6"
    for file, (old, _) in changed().items():
        assert f"{file} " in ran.out
        assert f"it is figshare:{old}, which the release does not ask for" in ran.out
    assert view(antscache.root).keys() == FILES.keys()
    again = antscache("adopt", tmp_path / "old", "--as", "0.2.9").succeeded()
    assert again.out.splitlines()[-1] == "antspynet==0.2.9: recognised: 10, taken: 0, left: 0"


def test_an_origin_overrules_the_users_word(antscache: AntsCache, tmp_path: Path, figshare: StandIn) -> None:
    """Files of doubtful names are taken on the user's word; other bytes from an origin replace them."""
    mixed(tmp_path / "old")
    named = [word for file, (_, new) in changed().items() for word in ("--identifier", f"{file}={new}")]
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2", "--offline", *named).succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 10, left: 0"
    names = [word for file in changed() for word in ("--name", file.partition(".")[0])]
    for _, new in changed().values():
        digest = record(antscache.root, new)["digest"]
        (antscache.root / "blobs/sha256" / digest.removeprefix("sha256:")).unlink()
    messages = antscache("prefetch", "0.3.2", *names).succeeded().err
    for file, (_, new) in changed().items():
        assert view(antscache.root)[file] == figshare.content(new)
        assert record(antscache.root, new)["trust"] == "origin"
        assert f"{file} figshare:{new} was recorded with other bytes from " in messages
    assert_sound(antscache.root)


def test_confirmed_bytes_are_not_reported_as_replaced(cache: Cache, directory: Path, figshare: StandIn) -> None:
    cache.adopt(directory, manifest())
    root = cache.store.layout.root
    (root / "blobs/sha256" / record(root, BRAIN_ID)["digest"].removeprefix("sha256:")).unlink()
    online = Cache.open(root, origins=figshare.origins.split())
    heard: list[Event] = []
    online.prefetch(online.plan("0.3.2", names=[BRAIN]), heard.append)
    assert any(isinstance(event, Fetched) for event in heard)
    assert not any(isinstance(event, Remarked) for event in heard)
    assert record(root, BRAIN_ID)["trust"] == "origin"


def test_condemned_adopted_files_come_back_offline(cache: Cache, directory: Path) -> None:
    cache.adopt(directory, manifest())
    cache.remove(parse_release("0.3.2"))
    garbage = cache.gc(grace=0)
    assert len(garbage.condemned) >= 4
    shutil.rmtree(directory)
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN, LUNG, TEMPLATE, TRANSFORM]))
    assert view(cache.store.layout.root).keys() == FILES.keys()


def test_other_bytes_never_replace_recorded_bytes(antscache: AntsCache, directory: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    before = record(antscache.root, BRAIN_ID)
    (directory / f"{BRAIN}.h5").write_bytes(made(f"{BRAIN}.h5", "1"))
    ran = antscache("adopt", directory, "--as", "0.3.2", "--move").succeeded()
    assert f"other bytes are recorded for {BRAIN_ID}" in ran.out
    assert record(antscache.root, BRAIN_ID) == before
    assert (directory / f"{BRAIN}.h5").read_bytes() == made(f"{BRAIN}.h5", "1")
    assert view(antscache.root)[f"{BRAIN}.h5"] == made(f"{BRAIN}.h5", "42301059")


def test_adopt_does_not_lower_an_origins_trust(antscache: AntsCache, directory: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("adopt", directory, "--as", "0.3.2", "--offline").succeeded()
    assert record(antscache.root, BRAIN_ID)["trust"] == "origin"
    assert record(antscache.root, LUNG_ID)["trust"] == "adopted"


# Names with several contents, and origins that are asked


@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
def test_another_releases_weights_are_not_taken(antscache: AntsCache, tmp_path: Path, *, online: bool) -> None:
    """The name has another content in another release; an origin tells by the MD5."""
    mixed(tmp_path / "old")
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2", *([] if online else ["--offline"])).succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 4, left: 6"
    for file, (old, new) in changed().items():
        (line,) = (line for line in ran.out.splitlines() if f" {file} " in line)
        assert f"figshare:{new}" in line
        assert ("MD5" in line) if online else (f"figshare:{old}" in line and f"--identifier {file}=" in line)
        assert not (antscache.root / f"identifiers/figshare/{new}.json").exists()
    assert view(antscache.root).keys() == FILES.keys()


def test_an_origin_confirms_files_of_doubtful_names(antscache: AntsCache, tmp_path: Path) -> None:
    filled(tmp_path / "old", {file: new for file, (_, new) in changed().items()})
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 6, left: 0"
    assert "6 files confirmed by size and MD5: 127.0.0.1" in ran.err
    for _, new in changed().values():
        found = record(antscache.root, new)
        assert (found["trust"], found["checks"][:2]) == ("origin", ["length", "md5"])
        assert found["source"].startswith("127.0.0.1:")


@pytest.mark.parametrize("how", [Misbehaviour.MULTIPART_ETAG, Misbehaviour.NO_ETAG], ids=lambda how: how.value)
def test_a_size_alone_refutes_and_confirms_nothing(
    antscache: AntsCache, directory: Path, figshare: StandIn, how: Misbehaviour
) -> None:
    file, (_, new) = next(iter(changed().items()))
    filled(directory / "more", {}).rmdir()
    (directory / file).write_bytes(made(file, new))
    (directory / f"{LUNG}.h5").write_bytes(content("1", f"{LUNG}.h5", 4_100))
    for number in (*FILES.values(), new):
        figshare.misbehave(number, how)
    ran = antscache("adopt", directory, "--as", "0.3.2").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 3, left: 2"
    assert f"it has 4100 bytes, and {LUNG_ID} at 127.0.0.1" in ran.out
    assert f"--identifier {file}=figshare:N" in ran.out
    assert (record(antscache.root, BRAIN_ID)["trust"], record(antscache.root, BRAIN_ID)["checks"][0]) == (
        "adopted",
        "length",
    )


def test_the_user_says_which_a_file_is(antscache: AntsCache, tmp_path: Path) -> None:
    mixed(tmp_path / "old")
    file, (_, new) = next(iter(changed().items()))
    arguments = ["adopt", str(tmp_path / "old"), "--as", "0.3.2", "--identifier", f"{file}=figshare:{new}"]
    ran = antscache(*arguments, "--offline").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 5, left: 5"
    assert "5 files held on your word alone (offline, so no origin was asked)" in ran.err
    assert record(antscache.root, new)["trust"] == "adopted"
    # Where there is network, an origin knows better, and the next adopt asks it.
    ran = antscache(*arguments).succeeded()
    assert f"run `antscache forget figshare:{new}`" in ran.out
    assert record(antscache.root, LUNG_ID)["trust"] == "origin"


@pytest.mark.parametrize(
    ("named", "code", "text"),
    [
        ("nothing.h5=figshare:41965818", 3, "no such file in the directory: nothing.h5"),
        (f"{LUNG}.h5=figshare:1", 3, "antspynet==0.3.2 does not ask for figshare:1"),
        (f"{LUNG}.h5", 2, "is not FILE=IDENTIFIER"),
        (f"{LUNG}.h5=x", 2, "is not an identifier"),
    ],
)
def test_a_wrong_identifier_is_an_error(
    antscache: AntsCache, directory: Path, named: str, code: int, text: str
) -> None:
    ran = antscache("adopt", directory, "--as", "0.3.2", "--offline", "--identifier", named)
    assert (ran.code, text in ran.err) == (code, True)
    assert not antscache.root.exists()


def test_without_network_unambiguous_files_are_taken(antscache: AntsCache, directory: Path) -> None:
    ran = antscache("adopt", directory, "--as", "0.3.2", ANTSCACHE_ORIGINS="http://127.0.0.1:9/{id}").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 4, left: 0"
    assert "4 files held on your word alone (no origin told their MD5)" in ran.err


def test_adopt_says_how_long_the_questions_take(antscache: AntsCache, tmp_path: Path) -> None:
    files = {one.file: str(one.identifier).removeprefix("figshare:") for one in manifest().entries if one.identifier}
    filled(tmp_path / "old", dict([*files.items()][:8]))
    antscache.environ |= {
        "ANTSCACHE_ORIGINS": "https://api.figshare.com/v2/file/download/{id}",
        "https_proxy": "http://127.0.0.1:9",  # so that nothing leaves this host
        "no_proxy": "",
    }
    ran = antscache("adopt", tmp_path / "old", "--as", "0.3.2", "--timeout", "0.1").succeeded()
    assert "--offline skips that" in ran.err


def test_a_word_shows_wherever_files_are_listed(antscache: AntsCache, directory: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", TEMPLATE).succeeded()
    antscache("adopt", directory, "--as", "0.3.2", "--offline").succeeded()
    rows = {row["name"]: row for row in antscache("list", "0.3.2", "--json").json}
    assert (rows[BRAIN]["status"], rows[BRAIN]["trust"]) == ("present", "adopted")
    assert (rows[TEMPLATE]["trust"], rows["mni152"]["trust"]) == ("origin", None)
    for arguments in (["list", "0.3.2"], ["show", BRAIN]):
        lines = [line for line in antscache(*arguments).out.splitlines() if BRAIN_ID in line]
        assert lines
        assert all(line.endswith(("  adopted", " (adopted)")) for line in lines)
    assert {row["trust"] for row in antscache("show", BRAIN, "--json").json} == {"adopted"}
    for verb in ("list", "status"):
        assert "3 adopted" in antscache(verb).out
    assert antscache("list", "--json").json[0]["adopted"] == 3
    assert antscache("status", "--json").json["releases"][0]["adopted"] == 3


def test_a_name_loses_bytes_that_are_anothers(antscache: AntsCache, directory: Path) -> None:
    """A network under another's name is taken on the user's word, until the other one is fetched."""
    (directory / f"{BRAIN}.h5").write_bytes(made(f"{LUNG}.h5", FILES[f"{LUNG}.h5"]))
    (directory / f"{LUNG}.h5").unlink()
    antscache("adopt", directory, "--as", "0.3.2", "--offline").succeeded()
    antscache("verify").succeeded()
    antscache("prefetch", "0.3.1", "--name", LUNG).succeeded()
    assert f"{BRAIN}.h5" not in view(antscache.root)
    ran = antscache("verify")
    assert (ran.code, f"adopted, and the same bytes as {LUNG_ID} (origin)" in ran.out) == (5, True)
    assert f"antscache forget {BRAIN_ID}" in ran.out
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--offline")
    assert (ran.code, f"missing and offline: {BRAIN}.h5" in ran.err) == (9, True)
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert view(antscache.root)[f"{BRAIN}.h5"] == made(f"{BRAIN}.h5", FILES[f"{BRAIN}.h5"])
    antscache("verify").succeeded()


def test_two_words_for_one_file_are_named(antscache: AntsCache, directory: Path) -> None:
    shutil.copy(directory / f"{LUNG}.h5", directory / f"{BRAIN}.h5")
    antscache("adopt", directory, "--as", "0.3.2", "--offline").succeeded()
    ran = antscache("verify", "--repair", "--offline")
    assert (ran.code, f"{LUNG_ID} (adopted)" in ran.out, f"{BRAIN_ID} (adopted)" in ran.out) == (5, True, True)
    assert "hint: do as the findings say" in ran.err
    findings = json.loads(antscache("doctor", "--json", "--offline").out)
    twins = [one for one in findings if one["check"] == "records" and one["level"] == "warning"]
    assert {one["remedy"].rpartition(" ")[2] for one in twins} == {LUNG_ID, BRAIN_ID}
    assert any("4 files held on a user's word alone (adopted)" in one["what"] for one in findings)


# What else may lie there


@pytest.mark.timeout(120)
def test_pipes_and_directories_are_named_not_read(cache: Cache, directory: Path) -> None:
    """Nor are sockets and broken links; adopt never waits for them."""
    for name in FILES:
        (directory / name).unlink()
    (directory / f"{BRAIN}.h5").mkdir()
    (directory / f"{BRAIN}.h5/inside.h5").write_bytes(b"inside")
    os.mkfifo(directory / f"{LUNG}.h5")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(directory)  # a socket's path is short
        try:
            listening.bind(f"{TEMPLATE}.nii.gz"[:100])
        finally:
            os.chdir(here)
        (directory / f"{TRANSFORM}.mat").symlink_to("nowhere")
        (directory / "round.h5").symlink_to("round.h5")
        found = cache.adopt(directory, manifest(), move=True)
    assert set(fates(found).values()) == {"left"}
    assert whys(found) == {
        f"{BRAIN}.h5": "a directory",
        f"{LUNG}.h5": "not a file",
        f"{TEMPLATE}.nii.gz": "not a file",
        f"{TRANSFORM}.mat": "a broken link",
        "round.h5": "a broken link",
    }
    assert not cache.store.exists()


def test_names_are_printed_escaped(antscache: AntsCache, directory: Path) -> None:
    """None breaks a line or changes the terminal's colours."""
    wild = ["a\nb.h5", "\x1b[31mred.h5", "\u202egnp.exe", os.fsdecode(b"caf\xe9.h5")]
    for name in wild:
        (directory / name).write_bytes(b"mine")
    ran = antscache("adopt", directory, "--as", "0.3.2").succeeded()
    assert len(ran.out.splitlines()) == len(FILES) + len(wild) + 1
    for escaped in (r"a\nb.h5", r"\x1b[31mred.h5", r"\u202egnp.exe", r"caf\xe9.h5"):
        assert escaped in ran.out
    assert "\x1b" not in ran.out
    assert len(antscache("adopt", directory, "--as", "0.3.2", "--json").succeeded().json["files"]) == 8


def test_a_directory_may_have_undecodable_names(cache: Cache, tmp_path: Path) -> None:
    directory = filled(tmp_path / os.fsdecode(b"caf\xe9"))
    assert fates(cache.adopt(directory, manifest(), move=True)) == dict.fromkeys(FILES, "taken")
    assert r"caf\xe9" in record(cache.store.layout.root, BRAIN_ID)["source"]


def test_files_behind_links_are_read_and_never_touched(cache: Cache, directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "lab"
    directory.rename(elsewhere)
    directory.mkdir()
    for name in FILES:
        (directory / name).symlink_to(elsewhere / name)
    states = file_states(elsewhere)
    found = cache.adopt(directory, manifest(), move=True)
    assert fates(found) == dict.fromkeys(FILES, "taken")
    assert ways(found) <= {"copy", "reflink"}
    assert file_states(elsewhere) == states
    assert list(directory.iterdir()) == []
    assert_sound(cache.store.layout.root)


def test_unreadable_files_are_named(antscache: AntsCache) -> None:
    if os.geteuid() != 0:
        cannot("only root becomes another user")
    with in_memory() as place:
        place.chmod(0o755)
        directory = filled(place / "old/.keras/ANTsXNet")
        (directory / f"{BRAIN}.h5").chmod(0o600)
        (place / "theirs").mkdir()
        os.chown(place / "theirs", 4242, 4242)
        arguments: list[str | Path] = ["adopt", directory, "--as", "0.3.2"]
        ran = as_other(antscache, place / "theirs", *arguments).succeeded()
        assert "it cannot be read: Permission denied" in ran.out
        assert ran.out.splitlines()[-1] == "antspynet==0.3.2: recognised: 0, taken: 3, left: 1"
        moved = as_other(antscache, place / "theirs", *arguments, "--move").succeeded()
        assert "you may not move it out of its directory" in moved.out
        assert len(list(directory.iterdir())) == 4
        for closed, named in (directory, directory), (directory.parent, place / "old"):
            closed.chmod(0o700)
            ran = as_other(antscache, place / "theirs", "adopt", named, "--as", "0.3.2")
            assert ran.code in {2, 6}  # click looks itself, before antscache does
            assert "Permission denied" in ran.err or "not readable" in ran.err


def as_other(antscache: AntsCache, root: Path, *arguments: str | Path) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER_SCRIPT, *map(str, arguments)],
        env=antscache.unmeasured(ANTSCACHE_DIR=root / "root", HOME=root),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout.partition("-" * 9)[2], done.stderr)


OTHER_USER_SCRIPT = """
import os, sys
from contextlib import suppress
from antscache.cli import main
with suppress(SystemExit):  # once before its own files may not be read
    main(["adopt", sys.argv[2], "--as", "0.3.2", "--root", "warm", "-q"])
os.setgroups([]), os.setgid(4242), os.setuid(4242)
print("-" * 9)
main(sys.argv[1:])
"""


# By which way


def test_later_writes_do_not_change_blobs(cache: Cache, directory: Path) -> None:
    found = cache.adopt(directory, manifest())
    assert ways(found) <= {"copy", "reflink"}
    for name in FILES:
        with (directory / name).open("r+b") as file:
            file.write(b"written to")
    assert_sound(cache.store.layout.root)


@pytest.mark.hard_links
def test_moved_files_are_not_copied(cache: Cache, directory: Path) -> None:
    inodes = {path.stat().st_ino for path in directory.iterdir()}
    assert ways(cache.adopt(directory, manifest(), move=True)) == {"hardlink"}
    assert list(directory.iterdir()) == []
    root = cache.store.layout.root
    assert inodes <= {path.stat().st_ino for path in (root / "blobs/sha256").iterdir()}
    assert view(root).keys() == FILES.keys()
    assert_sound(root)


def test_moving_between_filesystems_copies_then_removes(directory: Path) -> None:
    with in_memory() as other:
        if other.stat().st_dev == directory.stat().st_dev:
            pytest.skip("the tests' directory is in memory as well")
        cache = Cache.open(other / "root", offline=True)
        assert ways(cache.adopt(directory, manifest(), move=True)) == {"copy"}
        assert list(directory.iterdir()) == []
        assert view(other / "root") == {name: made(name, number) for name, number in FILES.items()}
        assert_sound(other / "root")


@contextmanager
def in_memory() -> Iterator[Path]:
    """Make a directory in memory, which is quick, and on another filesystem than the tests' others."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir():
        cannot("there is no directory in memory")
    directory = Path(tempfile.mkdtemp(prefix="antscache-", dir=memory))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.mark.hard_links
def test_a_file_with_other_names_is_copied(cache: Cache, directory: Path, tmp_path: Path) -> None:
    """A hard link elsewhere, such as a backup, stays as it was and writable."""
    other = tmp_path / "backup.h5"
    other.hardlink_to(directory / f"{BRAIN}.h5")
    before = other.stat()
    found = cache.adopt(directory, manifest(), move=True)
    assert {each.seen.path.name: each.way for each in found}[f"{BRAIN}.h5"] in {"copy", "reflink"}
    assert (other.stat().st_mode, other.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    other.write_bytes(b"written to")
    assert list(directory.iterdir()) == []
    assert_sound(cache.store.layout.root)


@linux
def test_a_file_open_for_writing_is_left(cache: Cache, directory: Path) -> None:
    states = file_states(directory)
    with (directory / f"{BRAIN}.h5").open("r+b"):
        found = cache.adopt(directory, manifest(), move=True)
    assert whys(found)[f"{BRAIN}.h5"] == "it cannot be taken: somebody has it open for writing"
    assert fates(found) == dict.fromkeys(FILES, "taken") | {f"{BRAIN}.h5": "left"}
    [left] = directory.iterdir()
    assert file_states(directory)[str(left)] == states[str(left)]


def test_files_in_the_store_are_only_removed(antscache: AntsCache, directory: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    inodes = {path.stat().st_ino for path in (antscache.root / "blobs/sha256").iterdir()}
    ran = antscache("adopt", directory, "--as", "0.3.2", "--move", "--json").succeeded()
    [found] = [each for each in ran.json["files"] if each["path"].endswith(f"{BRAIN}.h5")]
    assert (found["fate"], found["way"]) == ("recognised", None)
    assert inodes <= {path.stat().st_ino for path in (antscache.root / "blobs/sha256").iterdir()}
    assert list(directory.iterdir()) == []


def test_a_damaged_blob_keeps_the_whole_file(cache: Cache, directory: Path) -> None:
    """A whole file is not removed if the store's copy is damaged."""
    cache.adopt(directory, manifest())
    root = cache.store.layout.root
    blob = root / "blobs/sha256" / record(root, BRAIN_ID)["digest"].removeprefix("sha256:")
    blob.chmod(0o644)
    blob.write_bytes(bytes(blob.stat().st_size))
    found = cache.adopt(directory, manifest(), move=True)
    assert "the store's copy is damaged" in whys(found)[f"{BRAIN}.h5"]
    assert [path.name for path in directory.iterdir()] == [f"{BRAIN}.h5"]


def test_nothing_is_moved_out_of_an_antscache_root(cache: Cache, directory: Path, tmp_path: Path) -> None:
    cache.adopt(directory, manifest())
    root = cache.store.layout.root
    before = snapshot(root)
    (tmp_path / "link").symlink_to(root / "blobs/sha256")
    for place in (tmp_path / "link", root / "views/antspynet-0.3.2"):
        for other in (cache, Cache.open(tmp_path / "another", offline=True)):
            with pytest.raises(StoreError, match="is in the antscache root"):
                other.adopt(place, manifest(), move=True)
    assert snapshot(root) == before
    another = Cache.open(tmp_path / "another", offline=True)
    assert fates(another.adopt(root / "views/antspynet-0.3.2", manifest())) == dict.fromkeys(FILES, "taken")


@pytest.mark.hard_links
def test_moved_files_do_not_rely_on_lower_caches(cache: Cache, directory: Path, tmp_path: Path) -> None:
    """The store itself has the bytes before a file is removed; the lower cache may go then."""
    cache.adopt(directory, manifest())
    lower = cache.store.layout.root
    states = file_states(lower)
    upper = Cache.open(tmp_path / "upper", offline=True, site_dirs=[str(lower)])
    assert ways(upper.adopt(directory, manifest())) == {None}
    assert list((tmp_path / "upper/identifiers/figshare").iterdir()) == []
    assert ways(upper.adopt(directory, manifest(), move=True)) == {"hardlink"}
    assert file_states(lower) == states
    shutil.rmtree(lower)
    alone = Cache.open(tmp_path / "upper", offline=True)
    alone.prefetch(alone.plan("0.3.2", names=[BRAIN, LUNG, TEMPLATE, TRANSFORM]))
    assert view(tmp_path / "upper").keys() == FILES.keys()


# Changed, cut short, killed


def alter(directory: Path, how: str) -> None:
    """Change a file of the directory, as somebody else may do meanwhile."""
    path = directory / f"{TEMPLATE}.nii.gz"
    if how == "written to":
        path.write_bytes(bytes(path.stat().st_size))
    elif how == "other bytes of the same time":
        before = path.stat()
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "replaced":
        (directory / "new").write_bytes(b"new")
        (directory / "new").rename(path)
    else:
        path.unlink()
        if how == "a pipe":
            os.mkfifo(path)
        elif how == "a directory":
            path.mkdir()
        elif how == "a link":
            path.symlink_to(directory / f"{TRANSFORM}.mat")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("move", [False, True], ids=["copied", "moved"])
@pytest.mark.parametrize(
    "how",
    ["written to", "other bytes of the same time", "replaced", "a pipe", "a directory", "a link", "removed"],
)
def test_a_file_changed_after_judging_is_left(cache: Cache, directory: Path, how: str, *, move: bool) -> None:
    found = judge(adoptable.look_at(adoptable.files_to_adopt(directory, "antspynet")), manifest(), Evidence())
    alter(directory, how)
    states = file_states(directory)
    cache.store.create()
    done = take_over(cache.store, manifest(), found, listen=ignore_events, move=move)
    assert fates(done) == dict.fromkeys(FILES, "taken") | {f"{TEMPLATE}.nii.gz": "left"}
    assert whys(done)[f"{TEMPLATE}.nii.gz"]
    left = str(directory / f"{TEMPLATE}.nii.gz")
    assert file_states(directory).get(left) == states.get(left)
    assert not (cache.store.layout.root / "identifiers/figshare/22597175.json").exists()
    assert_sound(cache.store.layout.root)


def test_a_network_changed_during_the_scan_is_left(directory: Path) -> None:
    class Slow(Hdf5Scanner):
        def scan(self, path: Path) -> tuple[Finding, ...]:
            found = super().scan(path)
            if path.name == f"{BRAIN}.h5":
                path.write_bytes(made(path.name, "1"))
            return found

    found = judge(adoptable.look_at(adoptable.files_to_adopt(directory, "antspynet")), manifest(), Evidence())
    with closing(Slow()) as walker:
        done = tuple(scan_networks(found, walker, RELEASE, HazardPolicy()))
    assert fates(done) == dict.fromkeys(FILES, "taken") | {f"{BRAIN}.h5": "left"}
    assert whys(done)[f"{BRAIN}.h5"] == "it changed while it was read"


def test_a_file_changed_after_storing_is_kept(cache: Cache, directory: Path) -> None:
    found = judge(adoptable.look_at(adoptable.files_to_adopt(directory, "antspynet")), manifest(), Evidence())
    cache.adopt(directory, manifest())
    (directory / "new").write_bytes(b"new")
    (directory / "new").rename(directory / f"{BRAIN}.h5")
    done = take_over(cache.store, manifest(), found, listen=ignore_events, move=True)
    assert whys(done)[f"{BRAIN}.h5"] == "in the store, but it changed meanwhile"
    assert [path.read_bytes() for path in directory.iterdir()] == [b"new"]


def test_a_record_made_meanwhile_is_not_contradicted(cache: Cache, directory: Path) -> None:
    found = judge(adoptable.look_at(adoptable.files_to_adopt(directory, "antspynet")), manifest(), Evidence())
    cache.store.create()
    blob = cache.store.add(b"what an origin said meanwhile")
    cache.store.records.remember(recorded(BRAIN_ID, blob))
    states = file_states(directory)
    done = take_over(cache.store, manifest(), found, listen=ignore_events, move=True)
    assert whys(done)[f"{BRAIN}.h5"] == f"other bytes were recorded for {BRAIN_ID} meanwhile"
    [left] = directory.iterdir()
    assert file_states(directory)[str(left)] == states[str(left)]
    assert cache.store.record(BRAIN_ID) == recorded(BRAIN_ID, blob)


KILLING_SCRIPT = """
import os, re, shutil, signal, sys
from pathlib import Path
from antscache import Cache
from antscache.core.digest import descriptor_of

old, other, move = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "move"
files = {path.name: path.read_bytes() for path in old.iterdir()}
changes = {"os.link", "os.rename", "os.remove", "os.chmod", "os.utime", "os.mkdir", "os.rmdir", "fcntl.fcntl"}

def adopt():
    cache = Cache.open(other / "root", offline=True)
    return cache.adopt(other / "dir", cache.manifest("0.3.2"), move=move)

def child(least):
    pid = os.fork()
    if not pid:
        count = 0
        def hook(event, arguments):
            nonlocal count
            if event in changes or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                count += 1
                if count == least:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        adopt()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)

tried = 0
while True:
    shutil.copytree(old, other / "dir")
    killed = child(tried + 1)
    there = {path.name: path.read_bytes() for path in (other / "dir").iterdir()}
    blobs = {path.name: path for path in (other / "root").glob("blobs/sha256/*")}
    held = [path.read_bytes() for path in blobs.values()]
    for name, content in there.items():
        assert content == files[name], name
    for name, content in files.items():
        assert name in there or (move and content in held), (tried, name)
    for name, path in blobs.items():
        assert descriptor_of(path.read_bytes()).digest == f"sha256:{name}"
        assert path.stat().st_mode & 0o222 == 0
    adopt()
    view = other / "root/views/antspynet-0.3.2/.keras/ANTsXNet"
    names = {path.name for path in view.iterdir() if not re.fullmatch("[0-9a-f]{32}", path.name)}
    assert {name: (view / name).read_bytes() for name in names} == files, tried
    assert {path.name for path in (other / "dir").iterdir()} == (set() if move else set(files))
    shutil.rmtree(other)
    other.mkdir()
    if not killed:
        break
    tried += 1
print(tried)
"""


@pytest.mark.parametrize("move", ["copy", "move"])
def test_an_adopt_killed_anywhere_loses_nothing(tmp_path: Path, move: str) -> None:
    """At every call that Python makes before it changes something; the fault harness has the system calls."""
    few = {name: number for name, number in FILES.items() if not name.endswith(".h5")}  # no walker to start
    filled(tmp_path / "old", few)
    with in_memory() as other:
        command = [sys.executable, "-c", KILLING_SCRIPT, str(tmp_path / "old"), str(other), move]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[Path]:
    """Make `directory` and mount something there."""
    if os.geteuid() != 0:
        cannot("only root can mount")
    directory.mkdir()
    done = subprocess.run(["mount", *options, str(directory)], capture_output=True, text=True, check=False)
    if done.returncode:
        cannot(f"this system does not mount: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@linux
@pytest.mark.parametrize("move", [False, True], ids=["copied", "moved"])
def test_a_full_disk_loses_nothing(antscache: AntsCache, tmp_path: Path, *, move: bool) -> None:
    """It is an error, and the next run completes."""
    large = {name: content(number, name, 600_000) for name, number in FILES.items()}
    directory = tmp_path / "old"
    directory.mkdir()
    for name, held in large.items():
        (directory / name).write_bytes(held)
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small:
        arguments: list[str | Path] = ["adopt", directory, "--as", "0.3.2", "--offline", *(["--move"] if move else [])]
        ran = antscache(*arguments, "--root", small / "root")
        assert (ran.code, "No space left on device" in ran.err, "the disk is full" in ran.err) == (6, True, True)
        blobs = [path.read_bytes() for path in (small / "root/blobs/sha256").iterdir()]
        for name, held in large.items():
            assert (
                held in blobs if move and not (directory / name).exists() else (directory / name).read_bytes() == held
            )
        assert_sound(small / "root")
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        antscache(*arguments, "--root", small / "root").succeeded()
        assert view(small / "root") == large
        assert_sound(small / "root")


# Reflinks


@linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
@pytest.mark.parametrize("move", [False, True], ids=["cloned", "moved"])
def test_a_filesystem_that_clones_has_the_bytes_once(
    antscache: AntsCache, tmp_path: Path, kind: str, *, move: bool
) -> None:
    make = require(f"mkfs.{kind}")
    image, size = tmp_path / "image", 20_000_000
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([make, "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        directory = disk / "old"
        directory.mkdir()
        files = {f"{BRAIN}.h5": "42301059", f"{TEMPLATE}.nii.gz": "22597175"}
        for name, number in files.items():
            (directory / name).write_bytes(content(number, name, size))
        free = settled(disk)
        arguments: list[str | Path] = ["adopt", directory, "--as", "0.3.2", *(["--move"] if move else []), "--json"]
        ran = antscache(*arguments, "--offline", "--root", disk / "root").succeeded()
        assert {each["way"] for each in ran.json["files"]} == {"hardlink" if move else "reflink"}
        assert free - settled(disk) < size // 4
        found = view(disk / "root")
        assert found == {name: content(number, name, size) for name, number in files.items()}
        assert_sound(disk / "root")
        if not move:
            filefrag = require("filefrag")
            extents = subprocess.run(
                [filefrag, "-v", *map(str, directory.iterdir())], capture_output=True, text=True, check=True
            ).stdout
            assert extents.count("shared") >= len(files)
            for name in files:
                (directory / name).write_bytes(b"written to")
            assert_sound(disk / "root")


def settled(disk: Path) -> int:
    """Return the number of bytes that are free once everything is written."""
    subprocess.run(["sync", "-f", str(disk)], check=True)
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize
