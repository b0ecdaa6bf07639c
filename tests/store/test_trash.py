"""The trash: what is condemned comes back as it was, or is deleted, and is never in two minds."""

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


def test_a_fresh_root_has_no_trash_and_looking_makes_none(store: Store, trash: Trash) -> None:
    assert (trash.contents(), trash.restore({BLOB})) == ([], set())
    assert not store.layout.trash.exists()


def test_what_is_condemned_is_no_longer_held_and_waits_with_its_bytes(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    assert trash.condemn(BLOB.digest)
    assert not store.holds(BLOB)
    [condemned] = trash.contents()
    assert (condemned.blob, condemned.size) == (BLOB, len(CONTENT))
    assert condemned.since == pytest.approx(time.time(), abs=60)
    assert condemned.path.read_bytes() == CONTENT


def test_what_comes_back_is_the_same_file(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    path = store.layout.blob(BLOB.digest)
    before = path.stat()
    trash.condemn(BLOB.digest)
    assert trash.restore({BLOB}) == {BLOB}
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
    assert trash.contents() == []


def test_what_is_not_asked_for_does_not_come_back(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    assert trash.restore({descriptor_of(b"other")}) == trash.restore(set()) == set()
    assert not store.holds(BLOB)


def test_a_cut_file_never_comes_back_and_never_replaces_a_whole_one(store: Store, trash: Trash) -> None:
    store.layout.blob(BLOB.digest).write_bytes(b"cut")
    trash.condemn(BLOB.digest)
    assert store.restore({BLOB}) == set()
    store.add(CONTENT)
    assert store.restore({BLOB}) == set()
    assert store.layout.blob(BLOB.digest).read_bytes() == CONTENT
    assert in_trash(store) == [b"cut"]


def test_a_cut_file_in_its_place_gives_way_to_the_whole_one(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    store.layout.blob(BLOB.digest).write_bytes(b"cut")
    assert trash.restore({BLOB}) == {BLOB}
    assert store.layout.blob(BLOB.digest).read_bytes() == CONTENT


def test_what_was_written_again_meanwhile_stays_and_the_condemned_one_goes(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    store.add(CONTENT)
    inode = store.layout.blob(BLOB.digest).stat().st_ino
    assert trash.restore({BLOB}) == set()
    assert store.layout.blob(BLOB.digest).stat().st_ino == inode
    assert in_trash(store) == []


def test_what_is_set_aside_never_comes_back(store: Store, trash: Trash) -> None:
    store.add(CONTENT)
    assert trash.set_aside(store.layout.blob(BLOB.digest))
    assert store.restore({BLOB}) == set()
    [aside] = trash.contents()
    assert aside.blob is None
    assert trash.delete(aside)
    assert in_trash(store) == []


def test_what_is_not_there_is_not_condemned_nor_deleted_twice(store: Store, trash: Trash) -> None:
    assert not trash.condemn(BLOB.digest)
    assert not trash.set_aside(store.layout.root / "nothing")
    store.add(CONTENT)
    trash.condemn(BLOB.digest)
    [condemned] = trash.contents()
    assert [trash.delete(condemned), trash.delete(condemned)] == [True, False]


def test_who_deletes_what_was_seen_spares_what_came_after_it(store: Store, trash: Trash) -> None:
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
def test_what_others_put_there_is_neither_seen_nor_touched(store: Store, trash: Trash, name: str) -> None:
    store.layout.trash.mkdir()
    (store.layout.trash / name).write_bytes(CONTENT)
    assert (trash.contents(), store.restore({BLOB})) == ([], set())
    assert in_trash(store) == [CONTENT]


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_what_is_no_file_never_becomes_a_blob(store: Store, trash: Trash, tmp_path: Path, kind: str) -> None:
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
    [found] = trash.contents()
    assert found.blob is None
    assert trash.delete(found)
    assert (tmp_path / "precious").read_bytes() == CONTENT


def test_a_directory_with_something_in_it_is_not_deleted(store: Store, trash: Trash) -> None:
    store.layout.blob(BLOB.digest).mkdir()
    (store.layout.blob(BLOB.digest) / "thesis.txt").write_text("precious")
    assert trash.set_aside(store.layout.blob(BLOB.digest))
    [aside] = trash.contents()
    assert not trash.delete(aside)
    assert (aside.path / "thesis.txt").read_text() == "precious"


def test_a_trash_that_is_no_directory_is_an_error_and_takes_nothing(store: Store, trash: Trash) -> None:
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
def test_no_order_of_condemning_and_restoring_loses_or_changes_a_blob(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], wanted: set[int]
) -> None:
    store = Store(tmp_path_factory.mktemp("root") / "root")
    store.create()
    trash, had = Trash(store.layout), set()
    for what, number in steps:
        blob = descriptor_of(CONTENTS[number])
        if what == "add":
            store.add(CONTENTS[number])
            had.add(number)
        elif what == "condemn":
            trash.condemn(blob.digest)
        elif what == "restore":
            store.restore({blob})
        elif not store.owns(blob):
            store.layout.blob(blob.digest).write_bytes(b"")
    store.restore({descriptor_of(CONTENTS[number]) for number in wanted})
    for number in wanted:
        blob = descriptor_of(CONTENTS[number])
        assert store.owns(blob) == (number in had)
        assert number not in had or store.layout.blob(blob.digest).read_bytes() == CONTENTS[number]


# Others' files

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


def test_in_a_sticky_directory_only_ones_own_is_condemned(sticky: Store) -> None:
    assert run_as(ANN, CONDEMN, sticky.layout.root, "ann", "robert") == [True, False]
    assert sticky.holds(descriptor_of(b"robert"))


def test_what_another_user_condemned_comes_back_as_a_copy(sticky: Store) -> None:
    run_as(BOB, CONDEMN, sticky.layout.root, "robert")
    assert run_as(ANN, RESTORE, sticky.layout.root, "robert") == [6]
    blob = descriptor_of(b"robert")
    path = sticky.layout.blob(blob.digest)
    assert (path.read_bytes(), path.stat().st_uid) == (b"robert", ANN)
    assert in_trash(sticky) == [b"robert"]
    run_as(BOB, RESTORE, sticky.layout.root, "robert")  # as Bob's next collection does
    assert in_trash(sticky) == []


def test_other_bytes_in_another_users_trash_never_come_back(sticky: Store) -> None:
    path = sticky.layout.trash / f"{HEX}.1.00000000"
    path.write_bytes(b"c0ntent")
    assert Descriptor(BLOB.digest, path.stat().st_size) == BLOB
    assert run_as(ANN, RESTORE, sticky.layout.root, CONTENT.decode()) == []
    assert not sticky.holds(BLOB)
