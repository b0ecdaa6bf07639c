"""The trash: a condemned blob comes back as it was, or is deleted, and is always in one place or the other."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.users import ANN, BOB, everybodys, run_as

from antscache.core.digest import Descriptor, descriptor_of, hexadecimal
from antscache.errors import StoreError
from antscache.store.store import Store
from antscache.store.trash import Trash

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["everybodys"]

CONTENT = b"content"
BLOB = descriptor_of(CONTENT)
HEX = hexadecimal(BLOB.digest)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


@pytest.fixture
def trash(store: Store) -> Trash:
    return Trash(store.layout)


def in_trash(store: Store) -> list[bytes]:
    return sorted(path.read_bytes() for path in store.layout.trash.iterdir())


def test_looking_makes_no_trash(store: Store, trash: Trash) -> None:
    assert (trash.contents(), trash.restore({BLOB})) == ([], set())
    assert not store.layout.trash.exists()


def test_condemned_blob_waits_in_the_trash(store: Store, trash: Trash) -> None:
    """It is no longer held, and has its bytes."""
    began = time.time()
    store.add(CONTENT)
    assert trash.condemn(BLOB.digest)
    assert not store.holds(BLOB)
    [condemned] = trash.contents()
    assert (condemned.blob, condemned.size) == (BLOB, len(CONTENT))
    assert began - 1 <= condemned.since <= time.time() + 1
    assert condemned.path.read_bytes() == CONTENT


def test_restored_blob_is_the_same_file(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    path = store.layout.blob(BLOB.digest)
    before = path.stat()
    trash.condemn(BLOB.digest)
    assert trash.restore({BLOB}) == {BLOB}
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
    assert trash.contents() == []


def test_only_requested_blobs_are_restored(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    assert trash.restore({descriptor_of(b"other")}) == trash.restore(set()) == set()
    assert not store.holds(BLOB)


def test_cut_file_is_never_restored(store: Store, trash: Trash) -> None:
    """It never replaces a whole blob either."""
    store.layout.blob(BLOB.digest).write_bytes(b"cut")
    trash.condemn(BLOB.digest)
    assert store.restore({BLOB}) == set()
    store.add(CONTENT)
    assert store.restore({BLOB}) == set()
    assert store.layout.blob(BLOB.digest).read_bytes() == CONTENT
    assert in_trash(store) == [b"cut"]


def test_restored_blob_replaces_a_cut_one(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    store.layout.blob(BLOB.digest).write_bytes(b"cut")
    assert trash.restore({BLOB}) == {BLOB}
    assert store.layout.blob(BLOB.digest).read_bytes() == CONTENT


def test_blob_written_again_stays_in_place(store: Store, trash: Trash) -> None:
    """The condemned one is deleted."""
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    store.add(CONTENT)
    inode = store.layout.blob(BLOB.digest).stat().st_ino
    assert trash.restore({BLOB}) == set()
    assert store.layout.blob(BLOB.digest).stat().st_ino == inode
    assert in_trash(store) == []


def test_damaged_file_set_aside_is_never_restored(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    assert trash.set_aside(store.layout.blob(BLOB.digest))
    assert store.restore({BLOB}) == set()
    [aside] = trash.contents()
    assert aside.blob is None
    assert trash.delete(aside)
    assert in_trash(store) == []


def test_missing_files_are_not_condemned_or_deleted(store: Store, trash: Trash) -> None:
    assert not trash.condemn(BLOB.digest)
    assert not trash.set_aside(store.layout.root / "nothing")
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    [condemned] = trash.contents()
    assert [trash.delete(condemned), trash.delete(condemned)] == [True, False]


def test_deleting_spares_a_blob_condemned_later(store: Store, trash: Trash) -> None:
    """A collection decides; a prefetch takes the blob back; another collection condemns it in the same second."""
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    [seen] = trash.contents()
    trash.restore({BLOB})
    trash.condemn(BLOB.digest)
    assert not trash.delete(seen)
    assert trash.restore({BLOB}) == {BLOB}


@pytest.mark.parametrize(
    "name",
    ["thesis.txt", HEX, f"{HEX}.1", f"{HEX}.x.00000000", f"{HEX}.{'9' * 13}.00000000", f".{HEX}.1.00000000", "0" * 32],
)
def test_foreign_files_in_the_trash_are_ignored(store: Store, trash: Trash, name: str) -> None:
    store.layout.trash.mkdir()
    (store.layout.trash / name).write_bytes(CONTENT)
    assert (trash.contents(), store.restore({BLOB})) == ([], set())
    assert in_trash(store) == [CONTENT]


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_links_directories_and_pipes_are_never_restored(store: Store, trash: Trash, tmp_path: Path, kind: str) -> None:
    store.layout.trash.mkdir()
    (tmp_path / "precious").write_bytes(CONTENT)
    path = store.layout.trash / f"{HEX}.1.00000000"
    match kind:
        case "link":
            path.symlink_to(tmp_path / "precious")
        case "directory":
            path.mkdir()
        case _:
            os.mkfifo(path)
    assert store.restore({BLOB}) == set()
    [condemned] = trash.contents()
    assert condemned.blob is None
    assert trash.delete(condemned)
    assert (tmp_path / "precious").read_bytes() == CONTENT


def test_directory_that_is_not_empty_is_kept(store: Store, trash: Trash) -> None:
    store.layout.blob(BLOB.digest).mkdir()
    (store.layout.blob(BLOB.digest) / "thesis.txt").write_text("precious")
    assert trash.set_aside(store.layout.blob(BLOB.digest))
    [aside] = trash.contents()
    assert not trash.delete(aside)
    assert (aside.path / "thesis.txt").read_text() == "precious"


def test_file_in_place_of_trash_is_an_error(store: Store, trash: Trash) -> None:
    """The store keeps its blobs."""
    store.add(CONTENT)
    store.layout.trash.write_text("a file")
    for attempt in (trash.contents, lambda: trash.condemn(BLOB.digest), lambda: store.restore({BLOB})):
        with pytest.raises(StoreError, match="trash"):
            attempt()
    assert store.holds(BLOB)


Step = tuple[str, int]
CONTENTS = [b"a", b"bb", b"ccc"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "condemn", "restore", "cut"]), st.integers(0, 2)), max_size=12),
    st.sets(st.integers(0, 2)),
)
def test_condemning_and_restoring_in_any_order_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], wanted: set[int]
) -> None:
    store = Store(tmp_path_factory.mktemp("root") / "root")
    store.create()
    trash, had = Trash(store.layout), set()
    for step, number in steps:
        blob = descriptor_of(CONTENTS[number])
        if step == "add":
            store.add(CONTENTS[number])
            had.add(number)
        elif step == "condemn":
            trash.condemn(blob.digest)
        elif step == "restore":
            store.restore({blob})
        elif not store.owns(blob):
            store.layout.blob(blob.digest).write_bytes(b"")
    store.restore({descriptor_of(CONTENTS[number]) for number in wanted})
    for number in wanted:
        blob = descriptor_of(CONTENTS[number])
        assert store.owns(blob) == (number in had)
        assert number not in had or store.layout.blob(blob.digest).read_bytes() == CONTENTS[number]


# Files of others

MAKE = """
store = Store(Path(arguments[0])); store.create(); store.add(arguments[1].encode())
"""
CONDEMN = """
from antscache.store.trash import Trash
from antscache.core.digest import digest_of
store = Store(Path(arguments[0]))
print(json.dumps([Trash(store.layout).condemn(digest_of(word.encode())) for word in arguments[1:]]))
"""
RESTORE = """
from antscache.core.digest import descriptor_of
store = Store(Path(arguments[0]))
back = store.restore([descriptor_of(word.encode()) for word in arguments[1:]])
print(json.dumps(sorted(blob.size for blob in back)))
"""


@pytest.fixture
def sticky(everybodys: Path) -> Store:
    """A root in which everybody writes and only owners delete, with a blob of Ann's and a longer one of Bob's."""
    root = everybodys / "root"
    Store(root).create()
    (root / "trash").mkdir()
    for directory in (root, *root.rglob("")):
        directory.chmod(0o1777)
    run_as(ANN, MAKE, root, "ann")
    run_as(BOB, MAKE, root, "robert")
    return Store(root)


def test_only_your_own_is_condemned_in_sticky_directories(sticky: Store) -> None:
    assert run_as(ANN, CONDEMN, sticky.layout.root, "ann", "robert") == [True, False]
    assert sticky.holds(descriptor_of(b"robert"))


def test_blob_condemned_by_another_user_is_copied_back(sticky: Store) -> None:
    run_as(BOB, CONDEMN, sticky.layout.root, "robert")
    assert run_as(ANN, RESTORE, sticky.layout.root, "robert") == [6]
    blob = descriptor_of(b"robert")
    path = sticky.layout.blob(blob.digest)
    assert (path.read_bytes(), path.stat().st_uid) == (b"robert", ANN)
    assert in_trash(sticky) == [b"robert"]
    run_as(BOB, RESTORE, sticky.layout.root, "robert")  # as Bob's next collection does
    assert in_trash(sticky) == []


def test_wrong_bytes_in_the_trash_are_never_restored(sticky: Store) -> None:
    """Another user may have put them there under the blob's name."""
    path = sticky.layout.trash / f"{HEX}.1.00000000"
    path.write_bytes(b"c0ntent")
    assert Descriptor(BLOB.digest, path.stat().st_size) == BLOB
    assert run_as(ANN, RESTORE, sticky.layout.root, CONTENT.decode()) == []
    assert not sticky.holds(BLOB)
