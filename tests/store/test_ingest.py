"""Ingests: bytes that are written are published whole, kept for another process, or gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import HANG_SECONDS, cannot, hard_links_work, require
from support.limits import no_file_beyond

from antscache.core.digest import descriptor_of
from antscache.core.events import BytesRead, Event
from antscache.core.layout import Layout
from antscache.core.record import Partial
from antscache.errors import StoreError
from antscache.store.ingest import Ingest, IngestVanished
from antscache.store.partials import (
    READ_CHUNK_BYTES,
    STALE_AFTER_SECONDS,
    Note,
    Notes,
    PartialFile,
    partial_files,
    remove,
    remove_stale,
)

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core.digest import Descriptor

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTIAL = Partial("figshare:1", 1000, '"state"', "ndownloader.figshare.com", "boot")
DAY = 24 * 60 * 60


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return made(tmp_path / "root")


def made(root: Path) -> Layout:
    layout = Layout(root)
    layout.ingest.mkdir(parents=True)
    layout.blobs.mkdir(parents=True)
    return layout


def kind_of_filesystem(directory: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def written(layout: Layout, content: bytes) -> Path:
    """Leave a file as a killed process does that had written `content`, and noted nothing."""
    with Ingest(layout) as ingest:
        ingest.write(content)
        ingest.keep()
    return ingest.path


def kept(layout: Layout, content: bytes, partial: Partial = PARTIAL) -> PartialFile:
    """Leave a file and its notes as a killed process does that had written `content`."""
    before = set(layout.ingest.iterdir())
    path = written(layout, content)
    with closing(Notes(layout)) as notes:
        notes.add(path, partial)
    [where] = set(layout.ingest.iterdir()) - before - {path}
    return PartialFile(partial, path, where, len(content))


def line(name: str, partial: Partial = PARTIAL) -> bytes:
    return msgspec.json.encode(Note(name, partial))


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


def blob_at(layout: Layout, blob: Descriptor, content: bytes) -> Path:
    path = layout.blob(blob.digest)
    path.write_bytes(content)
    return path


# Published, kept, or gone


@unhurried
@given(
    chunks=st.lists(st.binary(max_size=50), max_size=5),
    keep=st.booleans(),
    publish=st.booleans(),
    taken=st.booleans(),
)
def test_ingest_is_gone_unless_published_or_kept(
    tmp_path_factory: pytest.TempPathFactory, *, chunks: list[bytes], keep: bool, publish: bool, taken: bool
) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    with Ingest(layout) as ingest:
        for chunk in chunks:
            ingest.write(chunk)
        if taken:
            remove(ingest.path)
        if keep:
            ingest.keep()
        if publish and taken:
            with pytest.raises(IngestVanished):
                ingest.publish()
        elif publish:
            ingest.publish()
    stays = keep and not taken and not publish
    assert names(layout.ingest) == ([ingest.path.name] if stays else [])
    blob = descriptor_of(b"".join(chunks))
    assert names(layout.blobs) == ([layout.blob(blob.digest).name] if publish and not taken else [])


@unhurried
@given(chunks=st.lists(st.binary(max_size=50), max_size=5))
def test_descriptor_is_of_the_bytes_so_far(layout: Layout, chunks: list[bytes]) -> None:
    with Ingest(layout) as ingest:
        for number, chunk in enumerate(chunks, 1):
            ingest.write(memoryview(chunk))
            assert ingest.descriptor == descriptor_of(b"".join(chunks[:number]))
            assert ingest.path.read_bytes() == b"".join(chunks[:number])


def test_no_two_ingests_share_a_name(layout: Layout) -> None:
    ingests = [Ingest(layout) for _ in range(50)]
    assert len(names(layout.ingest)) == 50
    for ingest in ingests:
        ingest.close()
    assert names(layout.ingest) == []


def test_a_disk_that_refuses_is_an_error(layout: Layout) -> None:
    with Ingest(layout) as ingest, no_file_beyond(0), pytest.raises(StoreError, match="cannot write to"):
        ingest.write(b"content")
    layout.ingest.rmdir()
    with pytest.raises(StoreError, match="cannot write to"):
        Ingest(layout)


# Published


links = pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, os.strerror(1))

    if not links:
        monkeypatch.setattr(os, "link", refuse)


@links
@pytest.mark.usefixtures("without_links")
def test_publishing_leaves_a_blob_and_nothing_else(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        ingest.keep()
        blob = ingest.publish()
    assert blob == descriptor_of(b"content")
    assert layout.blob(blob.digest).read_bytes() == b"content"
    assert names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
def test_published_bytes_do_not_stay_in_memory(layout: Layout) -> None:
    """They displace nothing of other programs from the system's memory."""
    program = require("fincore")
    if kind_of_filesystem(layout.root) in {"tmpfs", "ramfs"}:
        pytest.skip("the temporary directory is memory")
    chunk = os.urandom(1 << 20)
    with Ingest(layout) as ingest:
        for _ in range(40):
            ingest.write(chunk)
        blob = layout.blob(ingest.publish().digest)
    fincore = [program, "--bytes", "--noheadings", "--output", "RES", str(blob)]
    assert int(subprocess.run(fincore, capture_output=True, text=True, check=True).stdout) == 0


def test_publishing_a_removed_file_raises(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        ingest.path.unlink()
        with pytest.raises(IngestVanished):
            ingest.publish()
    assert names(layout.blobs) == names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
def test_removed_file_does_not_matter_beside_its_blob(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"content")
        ingest.path.unlink()
        assert ingest.publish() == descriptor_of(b"content")
    assert path.read_bytes() == b"content"


@links
@pytest.mark.usefixtures("without_links")
def test_removed_file_raises_beside_a_cut_blob(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"cut")
        ingest.path.unlink()
        with pytest.raises(IngestVanished):
            ingest.publish()
    assert path.read_bytes() == b"cut"


@links
@pytest.mark.usefixtures("without_links")
def test_publishing_replaces_a_cut_blob(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"cut")
        ingest.publish()
    assert path.read_bytes() == b"content"
    assert names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
def test_publishing_replaces_a_dangling_link(layout: Layout) -> None:
    """The link is not written through."""
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = layout.blob(ingest.descriptor.digest)
        path.symlink_to(layout.root / "nowhere")
        assert ingest.publish() == descriptor_of(b"content")
    assert path.read_bytes() == b"content"
    assert not (layout.root / "nowhere").exists()


def test_publishing_leaves_an_existing_blob_alone(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"content")
        before = path.stat()
        ingest.publish()
    assert path.stat() == before


def test_failed_publishing_leaves_the_store_unchanged(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        layout.blob(ingest.descriptor.digest).mkdir()
        with pytest.raises(StoreError, match="cannot write to"):
            ingest.publish()
    assert layout.blob(descriptor_of(b"content").digest).is_dir()
    assert names(layout.ingest) == []


# Taken from a file


LARGE = 2 * READ_CHUNK_BYTES + 5
moves = pytest.mark.parametrize("move", [True, False], ids=["moved", "not moved"])


def found(directory: Path, content: bytes = b"content") -> Path:
    """Make a file of the user's, an hour old."""
    path = directory / "found"
    path.write_bytes(content)
    path.chmod(0o640)
    age(path, 3600)
    return path


def state(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_mode, status.st_ino, status.st_nlink, status.st_size, status.st_mtime_ns


@moves
@unhurried
@given(content=st.binary(max_size=50) | st.integers(LARGE, LARGE + 1).map(os.urandom), publish=st.booleans())
def test_taking_reads_a_file_and_leaves_it_whole(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, *, publish: bool, move: bool
) -> None:
    """The ingest has the bytes of the file, and the file has them too, before, during and after."""
    layout = made(tmp_path_factory.mktemp("root") / "root")
    path = found(layout.root, content)
    before, heard = state(path), list[Event]()
    shared = move and hard_links_work(layout.root)
    with Ingest(layout) as ingest:
        way = ingest.take(path, move=move, listen=heard.append)
        assert ingest.descriptor == descriptor_of(content)
        assert sum(event.count for event in heard if isinstance(event, BytesRead)) == len(content)
        assert ingest.path.read_bytes() == path.read_bytes() == content
        assert (way == "hardlink") == shared
        if publish:
            assert layout.blob(ingest.publish().digest).read_bytes() == content
    assert path.read_bytes() == content
    if not (publish and shared):
        assert state(path) == before
    assert names(layout.ingest) == []


@pytest.mark.hard_links
def test_moved_file_becomes_the_read_only_blob(layout: Layout) -> None:
    began, path = time.time(), found(layout.root)
    with Ingest(layout) as ingest:
        ingest.take(path, move=True)
        blob = layout.blob(ingest.publish().digest)
    assert blob.samefile(path)
    assert blob.stat().st_mode & 0o777 == 0o444
    assert blob.stat().st_mtime > began - 60  # with its old time it would be garbage


def test_writing_to_a_copied_file_spares_the_blob(layout: Layout) -> None:
    path = found(layout.root)
    with Ingest(layout) as ingest:
        ingest.take(path, move=False)
        blob = layout.blob(ingest.publish().digest)
    path.write_bytes(b"changed")
    assert blob.read_bytes() == b"content"


def test_moving_beside_the_existing_blob_changes_nothing(layout: Layout) -> None:
    path = found(layout.root)
    blob = blob_at(layout, descriptor_of(b"content"), b"content")
    before = state(path), state(blob)
    with Ingest(layout) as ingest:
        ingest.take(path, move=True)
        ingest.publish()
    assert (state(path), state(blob)) == before


@pytest.mark.hard_links
def test_file_written_to_meanwhile_keeps_its_new_time(layout: Layout) -> None:
    path = found(layout.root)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) == "hardlink"
        path.chmod(0o600)
        path.write_bytes(b"changed")
        os.utime(path, (1, 1))
    assert (path.stat().st_mtime, path.stat().st_mode & 0o777) == (1, 0o640)


def test_moving_a_link_copies_the_file_behind_it(layout: Layout) -> None:
    path = found(layout.root)
    before = state(path)
    (layout.root / "link").symlink_to(path)
    with Ingest(layout) as ingest:
        assert ingest.take(layout.root / "link", move=True) != "hardlink"
        blob = layout.blob(ingest.publish().digest)
    assert not blob.is_symlink()
    assert blob.read_bytes() == b"content"
    assert state(path) == before


@pytest.mark.hard_links
def test_moving_copies_a_file_with_another_name(layout: Layout) -> None:
    path = found(layout.root)
    (layout.root / "other").hardlink_to(path)
    before = state(path)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) != "hardlink"
        ingest.publish()
    assert state(path) == before


@pytest.mark.hard_links
def test_name_left_in_ingest_counts_as_no_name(layout: Layout) -> None:
    """A file that a killed process had linked into `ingest/` can still be moved."""
    path = found(layout.root)
    (layout.ingest / ("0" * 32)).hardlink_to(path)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) == "hardlink"
        ingest.publish()


@pytest.mark.parametrize(("user", "group"), [(4242, -1), (-1, 4242)], ids=["user", "group"])
def test_moving_copies_a_file_of_another_user(layout: Layout, user: int, group: int) -> None:
    if os.geteuid() != 0:
        cannot("only root can give a file to another user")
    path = found(layout.root)
    os.chown(path, user, group)
    before = state(path)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) != "hardlink"
        blob = layout.blob(ingest.publish().digest)
    assert (blob.stat().st_uid, blob.stat().st_gid) == (os.geteuid(), os.getegid())
    assert state(path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.hard_links
def test_moving_refuses_a_file_open_for_writing(layout: Layout) -> None:
    """The file is as it was. One that is open for reading is moved."""
    path = found(layout.root)
    before = state(path)
    with path.open("r+b"), Ingest(layout) as ingest, pytest.raises(OSError, match="open for writing"):
        ingest.take(path, move=True)
    assert state(path) == before
    with path.open("rb"), Ingest(layout) as ingest:
        assert ingest.take(path, move=True) == "hardlink"
    assert names(layout.ingest) == []


OPENING = """
import sys
print(flush=True)
while True:
    open(sys.argv[1], "ab").close()
"""
TAKING = """
import sys
from pathlib import Path
from antscache.store.ingest import Ingest
from antscache.core.layout import Layout

for _ in range(400):
    with Ingest(Layout(Path(sys.argv[2]))) as ingest:
        try:
            ingest.take(Path(sys.argv[1]), move=True)
        except BlockingIOError:
            raise
        except OSError:
            pass
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has leases")
def test_opening_the_file_meanwhile_ends_no_process(layout: Layout) -> None:
    """The kernel's signal about a broken lease does not kill the process that takes the file."""
    path = found(layout.root)
    opening = [sys.executable, "-c", OPENING, str(path)]
    taking = [sys.executable, "-c", TAKING, str(path), str(layout.root)]
    with subprocess.Popen(opening, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ran = subprocess.run(taking, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
        process.kill()
    assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr
    assert path.read_bytes() == b"content"


@moves
@pytest.mark.timeout(60)
def test_taking_refuses_pipes_directories_and_dangling_links(layout: Layout, *, move: bool) -> None:
    """A pipe is not waited for."""
    os.mkfifo(layout.root / "pipe")
    (layout.root / "dangling").symlink_to("nowhere")
    for name in "pipe", "blobs", "dangling", "nowhere":
        with Ingest(layout) as ingest, pytest.raises(OSError, match=r"not a file|No such file"):
            ingest.take(layout.root / name, move=move)
    assert names(layout.ingest) == []


@moves
def test_refusing_disk_leaves_the_taken_file_alone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, *, move: bool
) -> None:
    path = found(layout.root)
    before = state(path)
    if move:
        monkeypatch.setattr(os, "link", refuse)
    with Ingest(layout) as ingest, no_file_beyond(0), pytest.raises(StoreError, match="cannot write to"):
        ingest.take(path, move=move)
    assert state(path) == before


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


# Kept


def test_kept_file_is_found_by_its_identifier(layout: Layout) -> None:
    left = kept(layout, b"beginning")
    assert partial_files(layout) == {"figshare:1": [left]}
    assert b"".join(left.chunks(left.held)) == b"beginning"


def test_file_still_being_written_is_found(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, Ingest(layout) as ingest:
        notes.add(ingest.path, PARTIAL)
        for held in range(4):
            [file] = partial_files(layout)["figshare:1"]
            assert (file.partial, file.path, file.held) == (PARTIAL, ingest.path, held)
            ingest.write(b"x")
    assert partial_files(layout) == {}
    assert names(layout.ingest) == []


def test_file_without_a_note_is_not_found(layout: Layout) -> None:
    written(layout, b"content")
    assert partial_files(layout) == {}


def test_empty_notes_make_no_file(layout: Layout) -> None:
    Notes(layout).close()
    assert names(layout.ingest) == []


def test_notes_about_nothing_are_removed(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, Ingest(layout) as ingest:
        notes.add(ingest.path, PARTIAL)
    notes.close()
    assert names(layout.ingest) == []


def test_notes_stay_while_their_file_is_written(layout: Layout) -> None:
    """As when a fetch is broken off and one of its threads still waits for a silent origin."""
    with Ingest(layout) as ingest:
        with closing(Notes(layout)) as notes:
            notes.add(ingest.path, PARTIAL)
            ingest.write(b"beginning")
        [file] = partial_files(layout)["figshare:1"]
    assert (file.path, file.held) == (ingest.path, 9)


def test_notes_of_several_threads_are_all_found(layout: Layout) -> None:
    paths = [written(layout, bytes(number)) for number in range(8)]
    for _ in range(20):
        together = Barrier(len(paths))
        with closing(Notes(layout)) as notes:

            def note(path: Path, notes: Notes = notes, together: Barrier = together) -> None:
                together.wait(120)
                notes.add(path, PARTIAL)

            with ThreadPoolExecutor(len(paths)) as pool:
                list(pool.map(note, paths))
            assert [file.path for file in partial_files(layout)["figshare:1"]] == paths[::-1]
        for path in layout.ingest.glob("*.notes"):
            path.unlink()


def test_refusing_disk_makes_noting_an_error(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, no_file_beyond(0), pytest.raises(StoreError, match="cannot write to"):
        notes.add(layout.ingest / ("0" * 32), PARTIAL)
    layout.ingest.rmdir()
    with closing(Notes(layout)) as notes, pytest.raises(StoreError, match="cannot write to"):
        notes.add(layout.ingest / ("0" * 32), PARTIAL)


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["figshare:1", "figshare:2"]), st.integers(0, 50)), max_size=6))
def test_longest_partial_file_comes_first(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[tuple[str, int]]
) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    for identifier, length in lengths:
        kept(layout, bytes(length), msgspec.structs.replace(PARTIAL, identifier=identifier))
    partials = partial_files(layout)
    assert {(identifier, file.held) for identifier in partials for file in partials[identifier]} == set(lengths)
    for identifier, files in partials.items():
        expected = sorted((length for other, length in lengths if other == identifier), reverse=True)
        assert [file.held for file in files] == expected


FOREIGN = "0" * 32
NOTE = line(FOREIGN)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        NOTE[:-1],
        NOTE + NOTE,
        NOTE.replace(b"figshare:1", b"figshare:0"),
        NOTE.replace(b"figshare:1", b"../../1"),
        NOTE.replace(FOREIGN.encode(), b"../precious"),
        NOTE.replace(FOREIGN.encode(), b"precious"),
        NOTE.replace(b"1000", b"-1"),
        NOTE.replace(b"1000", b"9" * 5000),
        NOTE.replace(b"1000", b"null"),
        NOTE.replace(b'"boot":', b'"moot":'),
        NOTE.replace(b"ndownloader", b"\xff"),
        NOTE.replace(b"{", b'{"x":' + b"[" * 100_000, 1),
    ],
    ids=lambda content: repr(content[:90]),
)
def test_damaged_line_of_notes_is_skipped(layout: Layout, damaged: bytes) -> None:
    """The lines around it are read."""
    for name in FOREIGN, "precious", "../precious":
        (layout.ingest / name).write_bytes(b"precious")
    path = written(layout, b"sound")
    notes = layout.ingest / "f.notes"
    notes.write_bytes(damaged + b"\n" + line(path.name) + b"\n" + damaged)
    assert partial_files(layout) == {"figshare:1": [PartialFile(PARTIAL, path, notes, 5)]}


@unhurried
@given(content=st.binary(max_size=60))
def test_notes_with_any_content_are_no_error(layout: Layout, content: bytes) -> None:
    (layout.ingest / "foreign.notes").write_bytes(content)
    assert partial_files(layout) == {}


@unhurried
@given(cut=st.integers(0, 600))
def test_cut_notes_are_read_up_to_the_cut(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    paths = [written(layout, b"x") for _ in range(3)]
    lines = [line(path.name) for path in paths]
    (layout.ingest / "f.notes").write_bytes(b"\n".join(lines)[:cut])
    whole = min(3, (cut + 1) // (len(lines[0]) + 1))
    assert {file.path for files in partial_files(layout).values() for file in files} == set(paths[:whole])


def test_note_about_a_removed_file_is_ignored(layout: Layout) -> None:
    kept(layout, b"content").path.unlink()
    assert partial_files(layout) == {}


def test_foreign_files_in_ingest_are_ignored(layout: Layout) -> None:
    (layout.ingest / "directory.notes").mkdir()
    (layout.ingest / "link.notes").symlink_to("nowhere")
    (layout.ingest / ".notes").write_text("{}")
    (layout.ingest / "thesis.txt").write_text("precious")
    assert partial_files(layout) == {}
    assert (layout.ingest / "thesis.txt").exists()


@pytest.mark.timeout(60)
def test_pipe_in_place_of_notes_is_ignored(layout: Layout) -> None:
    """It is not waited for."""
    os.mkfifo(layout.ingest / "pipe.notes")
    assert partial_files(layout) == {}


@pytest.mark.timeout(60)
def test_pipe_in_place_of_a_partial_is_ignored(layout: Layout) -> None:
    """It is not waited for."""
    left = kept(layout, b"")
    left.path.unlink()
    os.mkfifo(left.path)
    assert all(list(file.chunks(5)) == [] for files in partial_files(layout).values() for file in files)


def test_missing_ingest_directory_has_no_partial_files(tmp_path: Path) -> None:
    nowhere = Layout(tmp_path / "nowhere")
    assert partial_files(nowhere) == {}
    remove_stale(nowhere)
    assert names(tmp_path) == []


# Continued


@unhurried
@given(content=st.binary(max_size=200), count=st.integers(-5, 300))
def test_chunks_are_the_beginning_of_a_partial(layout: Layout, content: bytes, count: int) -> None:
    left = kept(layout, content)
    assert b"".join(left.chunks(count)) == content[: max(0, count)]
    left.remove()


def test_long_partial_is_read_in_chunks(layout: Layout) -> None:
    content = os.urandom(2 * READ_CHUNK_BYTES + 5)
    chunks = list(kept(layout, content).chunks(2 * READ_CHUNK_BYTES + 1))
    assert b"".join(chunks) == content[: 2 * READ_CHUNK_BYTES + 1]
    assert max(map(len, chunks)) == READ_CHUNK_BYTES


def test_shortened_or_removed_partial_gives_what_remains(layout: Layout) -> None:
    left = kept(layout, b"content")
    left.path.chmod(0o644)
    left.path.write_bytes(b"con")
    assert b"".join(left.chunks(7)) == b"con"
    left.path.unlink()
    assert b"".join(left.chunks(7)) == b""


def test_reader_of_chunks_sees_its_own_errors(layout: Layout) -> None:
    """An OSError raised between two chunks by the reader is not swallowed."""
    left = kept(layout, b"content")
    with pytest.raises(OSError, match="ours"):
        for _ in left.chunks(7):
            raise OSError("ours")


def test_removing_a_partial_again_is_fine(layout: Layout) -> None:
    left = kept(layout, b"content")
    for _ in range(3):
        left.remove()
        assert names(layout.ingest) == []
    assert partial_files(layout) == {}


def test_notes_stay_until_their_last_file_goes(layout: Layout) -> None:
    paths = [written(layout, b"content") for _ in range(3)]
    with closing(Notes(layout)) as notes:
        for path in paths:
            notes.add(path, PARTIAL)
    for left in (2, 1, 0):
        partial_files(layout)["figshare:1"][0].remove()
        assert len(partial_files(layout).get("figshare:1", [])) == left
    assert names(layout.ingest) == []


def test_writer_of_a_removed_file_notices_in_publishing(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, Ingest(layout) as ingest:
        notes.add(ingest.path, PARTIAL)
        ingest.write(b"con")
        partial_files(layout)["figshare:1"][0].remove()
        ingest.write(b"tent")
        assert ingest.descriptor == descriptor_of(b"content")
        ingest.keep()
        with pytest.raises(IngestVanished):
            ingest.publish()
    assert names(layout.ingest) == names(layout.blobs) == []


# Stale


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["", ".notes", ".txt"]), st.floats(-DAY, 10 * DAY)), max_size=6))
def test_only_files_older_than_a_day_are_removed(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, float]]
) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    young = set()
    for number, (suffix, seconds) in enumerate(found):
        if abs(seconds - DAY) < 60:
            continue  # which side of a day that is depends on how fast this machine is
        path = layout.ingest / f"{number:032}{suffix}"
        path.write_bytes(b"content")
        age(path, seconds)
        if seconds < DAY:
            young.add(path.name)
    remove_stale(layout)
    assert set(names(layout.ingest)) == young


@pytest.mark.parametrize(("seconds", "stays"), [(0, True), (DAY - 600, True), (DAY + 1, False), (-DAY, True)])
def test_partial_is_stale_after_a_day(layout: Layout, seconds: float, stays: bool) -> None:
    assert STALE_AFTER_SECONDS == DAY
    left = kept(layout, b"content")
    age(left.path, seconds)
    age(left.notes, seconds)
    remove_stale(layout)
    assert partial_files(layout) == ({"figshare:1": [left]} if stays else {})
    assert len(names(layout.ingest)) == (2 if stays else 0)


def test_old_notes_about_a_young_file_stay(layout: Layout) -> None:
    left = kept(layout, b"beginning")
    age(left.notes, 2 * DAY)
    remove_stale(layout)
    assert partial_files(layout) == {"figshare:1": [left]}


def test_stale_link_is_removed_and_its_target_stays(layout: Layout) -> None:
    """The age of the link itself counts."""
    precious = layout.root / "precious"
    precious.write_bytes(b"")
    age(precious, 2 * DAY)
    for name, seconds in ("old", 2 * DAY), ("young", 0):
        (layout.ingest / name).symlink_to(precious)
        age(layout.ingest / name, seconds)
    remove_stale(layout)
    assert names(layout.ingest) == ["young"]
    assert precious.exists()


def test_foreign_directory_in_ingest_is_left_alone(layout: Layout) -> None:
    (layout.ingest / "directory").mkdir()
    (layout.ingest / "directory/thesis.txt").write_text("precious")
    age(layout.ingest / "directory", 2 * DAY)
    remove_stale(layout)
    assert (layout.ingest / "directory/thesis.txt").exists()
