"""Ingests: what is written is published whole, kept for whoever goes on, or gone."""

from __future__ import annotations

import errno
import os
import shutil
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
from support import hard_links_work
from support.limits import no_file_beyond

from antscache.core.digest import descriptor_of
from antscache.core.events import BytesRead, Event
from antscache.core.layout import Layout
from antscache.core.record import Partial
from antscache.errors import StoreError
from antscache.store.ingest import Ingest, IngestVanished
from antscache.store.partials import ABANDONED, CHUNK, Note, Notes, PartialFile, partial_files, remove, remove_stale

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
    """What is left of a process that had written `content`, and noted nothing."""
    with Ingest(layout) as ingest:
        ingest.write(content)
        ingest.keep()
    return ingest.path


def kept(layout: Layout, content: bytes, partial: Partial = PARTIAL) -> PartialFile:
    """What is left of a process that had written `content`, with its notes."""
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
def test_what_is_neither_published_nor_kept_is_gone(
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
def test_its_descriptor_is_always_of_what_was_written_so_far(layout: Layout, chunks: list[bytes]) -> None:
    with Ingest(layout) as ingest:
        for number, chunk in enumerate(chunks, 1):
            ingest.write(memoryview(chunk))
            assert ingest.descriptor == descriptor_of(b"".join(chunks[:number]))
            assert ingest.path.read_bytes() == b"".join(chunks[:number])


def test_what_was_written_under_an_error_is_gone(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), Ingest(layout) as ingest:
        ingest.write(b"content")
        _ = 1 / 0
    assert names(layout.ingest) == []


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
def test_what_is_published_is_a_blob_and_nothing_else_is_left_of_it(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        ingest.keep()
        blob = ingest.publish()
    assert blob == descriptor_of(b"content")
    assert layout.blob(blob.digest).read_bytes() == b"content"
    assert names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
@pytest.mark.skipif(shutil.which("fincore") is None, reason="fincore (util-linux) tells what the system remembers")
def test_what_is_published_displaces_nothing_from_memory(layout: Layout) -> None:
    if kind_of_filesystem(layout.root) in {"tmpfs", "ramfs"}:
        pytest.skip("the temporary directory is memory")
    chunk = os.urandom(1 << 20)
    with Ingest(layout) as ingest:
        for _ in range(40):
            ingest.write(chunk)
        blob = layout.blob(ingest.publish().digest)
    fincore = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(blob)]
    assert int(subprocess.run(fincore, capture_output=True, text=True, check=True).stdout) == 0


def test_what_somebody_took_away_is_told(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        ingest.path.unlink()
        with pytest.raises(IngestVanished):
            ingest.publish()
    assert names(layout.blobs) == names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
def test_what_somebody_took_away_is_no_loss_if_the_blob_is_there(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"content")
        ingest.path.unlink()
        assert ingest.publish() == descriptor_of(b"content")
    assert path.read_bytes() == b"content"


@links
@pytest.mark.usefixtures("without_links")
def test_what_somebody_took_away_is_a_loss_if_only_a_cut_blob_is_there(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"cut")
        ingest.path.unlink()
        with pytest.raises(IngestVanished):
            ingest.publish()
    assert path.read_bytes() == b"cut"


@links
@pytest.mark.usefixtures("without_links")
def test_a_cut_file_with_the_blobs_name_is_replaced(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"cut")
        ingest.publish()
    assert path.read_bytes() == b"content"
    assert names(layout.ingest) == []


@links
@pytest.mark.usefixtures("without_links")
def test_a_link_that_leads_nowhere_is_no_blob_and_is_replaced(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = layout.blob(ingest.descriptor.digest)
        path.symlink_to(layout.root / "nowhere")
        assert ingest.publish() == descriptor_of(b"content")
    assert path.read_bytes() == b"content"
    assert not (layout.root / "nowhere").exists()


def test_a_blob_that_is_there_is_never_written_over(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        path = blob_at(layout, ingest.descriptor, b"content")
        before = path.stat()
        ingest.publish()
    assert path.stat() == before


def test_a_store_that_cannot_take_the_blob_is_an_error_and_unchanged(layout: Layout) -> None:
    with Ingest(layout) as ingest:
        ingest.write(b"content")
        layout.blob(ingest.descriptor.digest).mkdir()
        with pytest.raises(StoreError, match="cannot write to"):
            ingest.publish()
    assert layout.blob(descriptor_of(b"content").digest).is_dir()
    assert names(layout.ingest) == []


# Taken from a file


LARGE = 2 * CHUNK + 5
moves = pytest.mark.parametrize("move", [True, False], ids=["moved", "not moved"])


def found(directory: Path, content: bytes = b"content") -> Path:
    """A file of somebody's, an hour old."""
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
def test_what_is_taken_is_the_files_bytes_and_the_file_is_whole_throughout(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, *, publish: bool, move: bool
) -> None:
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
def test_a_file_that_is_moved_is_itself_the_blob_and_nobody_writes_to_it(layout: Layout) -> None:
    path = found(layout.root)
    with Ingest(layout) as ingest:
        ingest.take(path, move=True)
        blob = layout.blob(ingest.publish().digest)
    assert blob.samefile(path)
    assert blob.stat().st_mode & 0o777 == 0o444
    assert time.time() - blob.stat().st_mtime < 60  # by its age it would be garbage


def test_a_file_that_is_not_moved_never_shares_its_bytes_with_a_writer(layout: Layout) -> None:
    path = found(layout.root)
    with Ingest(layout) as ingest:
        ingest.take(path, move=False)
        blob = layout.blob(ingest.publish().digest)
    path.write_bytes(b"changed")
    assert blob.read_bytes() == b"content"


def test_a_file_whose_blob_is_there_already_is_as_it_was(layout: Layout) -> None:
    path = found(layout.root)
    blob = blob_at(layout, descriptor_of(b"content"), b"content")
    before = state(path), state(blob)
    with Ingest(layout) as ingest:
        ingest.take(path, move=True)
        ingest.publish()
    assert (state(path), state(blob)) == before


@pytest.mark.hard_links
def test_the_time_of_a_file_that_was_written_to_meanwhile_is_not_put_back(layout: Layout) -> None:
    path = found(layout.root)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) == "hardlink"
        path.chmod(0o600)
        path.write_bytes(b"changed")
        os.utime(path, (1, 1))
    assert (path.stat().st_mtime, path.stat().st_mode & 0o777) == (1, 0o640)


def test_a_file_behind_a_link_is_never_itself_the_blob(layout: Layout) -> None:
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
def test_a_file_with_another_name_is_never_itself_the_blob(layout: Layout) -> None:
    path = found(layout.root)
    (layout.root / "other").hardlink_to(path)
    before = state(path)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) != "hardlink"
        ingest.publish()
    assert state(path) == before


@pytest.mark.hard_links
def test_the_name_that_a_killed_process_has_left_in_ingest_is_none(layout: Layout) -> None:
    path = found(layout.root)
    (layout.ingest / ("0" * 32)).hardlink_to(path)
    with Ingest(layout) as ingest:
        assert ingest.take(path, move=True) == "hardlink"
        ingest.publish()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own what is somebody else's")
@pytest.mark.parametrize(("user", "group"), [(4242, -1), (-1, 4242)], ids=["user", "group"])
def test_a_file_of_somebody_elses_is_never_itself_the_blob(layout: Layout, user: int, group: int) -> None:
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
def test_a_file_that_somebody_has_open_to_write_is_refused_and_as_it_was(layout: Layout) -> None:
    path = found(layout.root)
    before = state(path)
    with path.open("r+b"), Ingest(layout) as ingest, pytest.raises(OSError, match="open to write"):
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
def test_whoever_opens_the_file_meanwhile_does_not_end_the_process(layout: Layout) -> None:
    path = found(layout.root)
    opening = [sys.executable, "-c", OPENING, str(path)]
    taking = [sys.executable, "-c", TAKING, str(path), str(layout.root)]
    with subprocess.Popen(opening, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ran = subprocess.run(taking, capture_output=True, text=True, check=False, timeout=60)
        process.kill()
    assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr
    assert path.read_bytes() == b"content"


@moves
@pytest.mark.timeout(5)
def test_what_is_no_file_is_refused_and_not_waited_for(layout: Layout, *, move: bool) -> None:
    os.mkfifo(layout.root / "pipe")
    (layout.root / "dangling").symlink_to("nowhere")
    for name in "pipe", "blobs", "dangling", "nowhere":
        with Ingest(layout) as ingest, pytest.raises(OSError, match=r"not a file|No such file"):
            ingest.take(layout.root / name, move=move)
    assert names(layout.ingest) == []


@moves
def test_a_disk_that_refuses_what_is_taken_is_an_error_and_the_file_is_as_it_was(
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


def test_what_is_kept_is_found_with_what_it_is_the_beginning_of(layout: Layout) -> None:
    left = kept(layout, b"beginning")
    assert partial_files(layout) == {"figshare:1": [left]}
    assert b"".join(left.chunks(left.held)) == b"beginning"


def test_what_another_is_still_writing_is_found_too(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, Ingest(layout) as ingest:
        notes.add(ingest.path, PARTIAL)
        for held in range(4):
            [leftover] = partial_files(layout)["figshare:1"]
            assert (leftover.partial, leftover.path, leftover.held) == (PARTIAL, ingest.path, held)
            ingest.write(b"x")
    assert partial_files(layout) == {}
    assert names(layout.ingest) == []


def test_what_was_not_noted_is_found_by_nobody(layout: Layout) -> None:
    written(layout, b"content")
    assert partial_files(layout) == {}


def test_who_notes_nothing_writes_nothing(layout: Layout) -> None:
    Notes(layout).close()
    assert names(layout.ingest) == []


def test_notes_that_are_not_kept_are_gone(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, Ingest(layout) as ingest:
        notes.add(ingest.path, PARTIAL)
    notes.close()
    assert names(layout.ingest) == []


def test_notes_outlive_whoever_ends_while_something_is_still_being_written(layout: Layout) -> None:
    """As when a fetch is broken off and one of its threads still waits for a silent origin."""
    with Ingest(layout) as ingest:
        with closing(Notes(layout)) as notes:
            notes.add(ingest.path, PARTIAL)
            ingest.write(b"beginning")
        [leftover] = partial_files(layout)["figshare:1"]
    assert (leftover.path, leftover.held) == (ingest.path, 9)


def test_what_several_threads_note_is_all_found(layout: Layout) -> None:
    paths = [written(layout, bytes(number)) for number in range(8)]
    for _ in range(20):
        together = Barrier(len(paths))
        with closing(Notes(layout)) as notes:

            def note(path: Path, notes: Notes = notes, together: Barrier = together) -> None:
                together.wait(30)
                notes.add(path, PARTIAL)

            with ThreadPoolExecutor(len(paths)) as pool:
                list(pool.map(note, paths))
            assert [each.path for each in partial_files(layout)["figshare:1"]] == paths[::-1]
        for each in layout.ingest.glob("*.notes"):
            each.unlink()


def test_a_disk_that_refuses_a_note_is_an_error(layout: Layout) -> None:
    with closing(Notes(layout)) as notes, no_file_beyond(0), pytest.raises(StoreError, match="cannot write to"):
        notes.add(layout.ingest / ("0" * 32), PARTIAL)
    layout.ingest.rmdir()
    with closing(Notes(layout)) as notes, pytest.raises(StoreError, match="cannot write to"):
        notes.add(layout.ingest / ("0" * 32), PARTIAL)


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["figshare:1", "figshare:2"]), st.integers(0, 50)), max_size=6))
def test_the_longest_of_a_file_comes_first(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[tuple[str, int]]
) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    for identifier, length in lengths:
        kept(layout, bytes(length), msgspec.structs.replace(PARTIAL, identifier=identifier))
    found = partial_files(layout)
    assert {(identifier, each.held) for identifier in found for each in found[identifier]} == set(lengths)
    for identifier, each in found.items():
        expected = sorted((length for other, length in lengths if other == identifier), reverse=True)
        assert [leftover.held for leftover in each] == expected


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
def test_a_damaged_line_is_passed_over_and_the_others_are_read(layout: Layout, damaged: bytes) -> None:
    for name in FOREIGN, "precious", "../precious":
        (layout.ingest / name).write_bytes(b"precious")
    path = written(layout, b"sound")
    notes = layout.ingest / "f.notes"
    notes.write_bytes(damaged + b"\n" + line(path.name) + b"\n" + damaged)
    assert partial_files(layout) == {"figshare:1": [PartialFile(PARTIAL, path, notes, 5)]}


@unhurried
@given(content=st.binary(max_size=60))
def test_no_notes_are_an_error(layout: Layout, content: bytes) -> None:
    (layout.ingest / "foreign.notes").write_bytes(content)
    assert partial_files(layout) == {}


@unhurried
@given(cut=st.integers(0, 600))
def test_notes_that_were_cut_are_read_as_far_as_they_go(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    layout = made(tmp_path_factory.mktemp("root") / "root")
    paths = [written(layout, b"x") for _ in range(3)]
    lines = [line(path.name) for path in paths]
    (layout.ingest / "f.notes").write_bytes(b"\n".join(lines)[:cut])
    whole = min(3, (cut + 1) // (len(lines[0]) + 1))
    assert {each.path for found in partial_files(layout).values() for each in found} == set(paths[:whole])


def test_a_note_on_what_is_gone_is_none(layout: Layout) -> None:
    kept(layout, b"content").path.unlink()
    assert partial_files(layout) == {}


def test_what_others_put_there_is_ignored(layout: Layout) -> None:
    (layout.ingest / "directory.notes").mkdir()
    (layout.ingest / "link.notes").symlink_to("nowhere")
    (layout.ingest / ".notes").write_text("{}")
    (layout.ingest / "thesis.txt").write_text("precious")
    assert partial_files(layout) == {}
    assert (layout.ingest / "thesis.txt").exists()


@pytest.mark.timeout(5)
def test_a_pipe_in_place_of_notes_is_not_waited_for(layout: Layout) -> None:
    os.mkfifo(layout.ingest / "pipe.notes")
    assert partial_files(layout) == {}


@pytest.mark.timeout(5)
def test_a_pipe_in_place_of_what_was_written_is_not_waited_for(layout: Layout) -> None:
    left = kept(layout, b"")
    left.path.unlink()
    os.mkfifo(left.path)
    assert all(list(each.chunks(5)) == [] for found in partial_files(layout).values() for each in found)


def test_where_there_is_no_directory_nothing_is_left_over(tmp_path: Path) -> None:
    nowhere = Layout(tmp_path / "nowhere")
    assert partial_files(nowhere) == {}
    remove_stale(nowhere)
    assert names(tmp_path) == []


# Gone on from


@unhurried
@given(content=st.binary(max_size=200), count=st.integers(-5, 300))
def test_what_is_read_of_a_leftover_is_its_beginning(layout: Layout, content: bytes, count: int) -> None:
    left = kept(layout, content)
    assert b"".join(left.chunks(count)) == content[: max(0, count)]
    left.remove()


def test_a_long_leftover_is_read_in_chunks(layout: Layout) -> None:
    content = os.urandom(2 * CHUNK + 5)
    chunks = list(kept(layout, content).chunks(2 * CHUNK + 1))
    assert b"".join(chunks) == content[: 2 * CHUNK + 1]
    assert max(map(len, chunks)) == CHUNK


def test_a_leftover_that_is_gone_or_shorter_gives_what_there_is(layout: Layout) -> None:
    left = kept(layout, b"content")
    left.path.chmod(0o644)
    left.path.write_bytes(b"con")
    assert b"".join(left.chunks(7)) == b"con"
    left.path.unlink()
    assert b"".join(left.chunks(7)) == b""


def test_who_reads_a_leftover_hears_of_their_own_trouble(layout: Layout) -> None:
    left = kept(layout, b"content")
    with pytest.raises(OSError, match="ours"):
        for _ in left.chunks(7):
            raise OSError("ours")


def test_removing_is_done_once_and_may_be_done_again(layout: Layout) -> None:
    left = kept(layout, b"content")
    for _ in range(3):
        left.remove()
        assert names(layout.ingest) == []
    assert partial_files(layout) == {}


def test_notes_stay_for_the_others_that_they_are_about(layout: Layout) -> None:
    paths = [written(layout, b"content") for _ in range(3)]
    with closing(Notes(layout)) as notes:
        for path in paths:
            notes.add(path, PARTIAL)
    for left in (2, 1, 0):
        partial_files(layout)["figshare:1"][0].remove()
        assert len(partial_files(layout).get("figshare:1", [])) == left
    assert names(layout.ingest) == []


def test_who_still_writes_to_what_was_removed_notices_at_the_end(layout: Layout) -> None:
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


def test_the_age_of_a_leftover_is_since_the_last_write(layout: Layout) -> None:
    left = kept(layout, b"content")
    assert left.age() < 60
    age(left.path, 500)
    assert left.age() == pytest.approx(500, abs=60)
    left.remove()
    assert left.age() == float("inf")


# Tidied


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["", ".notes", ".txt"]), st.floats(-DAY, 10 * DAY)), max_size=6))
def test_only_what_nobody_wrote_to_for_a_day_is_tidied_away(
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
def test_a_day_is_the_time_after_which_it_is_nobodys(layout: Layout, seconds: float, stays: bool) -> None:
    assert ABANDONED == DAY
    left = kept(layout, b"content")
    age(left.path, seconds)
    age(left.notes, seconds)
    remove_stale(layout)
    assert partial_files(layout) == ({"figshare:1": [left]} if stays else {})
    assert len(names(layout.ingest)) == (2 if stays else 0)


def test_notes_on_what_was_written_to_today_stay_however_old_they_are(layout: Layout) -> None:
    left = kept(layout, b"beginning")
    age(left.notes, 2 * DAY)
    remove_stale(layout)
    assert partial_files(layout) == {"figshare:1": [left]}


def test_a_link_is_tidied_away_by_its_own_age_and_never_what_it_leads_to(layout: Layout) -> None:
    precious = layout.root / "precious"
    precious.write_bytes(b"")
    age(precious, 2 * DAY)
    for name, seconds in ("old", 2 * DAY), ("young", 0):
        (layout.ingest / name).symlink_to(precious)
        age(layout.ingest / name, seconds)
    remove_stale(layout)
    assert names(layout.ingest) == ["young"]
    assert precious.exists()


def test_a_directory_that_somebody_put_there_is_left_alone(layout: Layout) -> None:
    (layout.ingest / "directory").mkdir()
    (layout.ingest / "directory/thesis.txt").write_text("precious")
    age(layout.ingest / "directory", 2 * DAY)
    remove_stale(layout)
    assert (layout.ingest / "directory/thesis.txt").exists()
