"""Refs: no selection is lost, and one that cannot be read never counts as absent."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import snapshot
from support.users import ANN, BOB, everybodys, run_as

from antscache.core.manifest import Entry, Release
from antscache.core.record import Selection, merge_selections
from antscache.errors import StoreError
from antscache.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["everybodys"]

RELEASE, OTHER = Release("antspynet", "0.3.2"), Release("antspyx", "0.6.3")
ENTRIES = [Entry("network", name, f"{name}.h5", f"figshare:{number}") for number, name in enumerate("abcd", 1)]
SELECTION = Selection(RELEASE, (ENTRIES[0],))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root")
    store.create()
    return store


def test_selection_is_yours_until_you_remove_it(store: Store) -> None:
    refs = store.refs
    assert not refs.selects(SELECTION)
    refs.select(SELECTION)
    refs.select(SELECTION)
    assert refs.selects(SELECTION)
    [ref] = refs.of(RELEASE)
    assert (ref.selection, ref.owner, ref.is_ours) == (SELECTION, os.geteuid(), True)
    assert refs.can_deselect(ref)
    refs.deselect(ref)
    assert (refs.selects(SELECTION), refs.of(RELEASE), refs.releases()) == (False, (), ())


def test_removing_the_last_selection_removes_the_directories(store: Store) -> None:
    for entry in ENTRIES[:2]:
        store.refs.select(Selection(RELEASE, (entry,)))
    first, second = store.refs.of(RELEASE)
    store.refs.deselect(first)
    assert store.refs.releases() == (RELEASE,)
    store.refs.deselect(second)
    store.refs.deselect(second)
    assert list(store.layout.refs.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([RELEASE, OTHER]), st.sets(st.integers(0, 3), min_size=1, max_size=3)),
        max_size=8,
    )
)
def test_refs_agree_with_a_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, Release, set[int]]]
) -> None:
    """Whatever is selected and removed, exactly the selections that stay are in use."""
    store = Store(tmp_path_factory.mktemp("root") / "root")
    store.create()
    model: dict[Release, set[Selection]] = {RELEASE: set(), OTHER: set()}
    for adds, release, numbers in steps:
        selection = Selection(release, tuple(ENTRIES[number] for number in sorted(numbers)))
        if adds:
            store.refs.select(selection)
            model[release].add(selection)
        else:
            for ref in store.refs.of(release):
                if ref.selection == selection:
                    store.refs.deselect(ref)
            model[release].discard(selection)
    assert store.refs.releases() == tuple(sorted(release for release in model if model[release]))
    for release, selections in model.items():
        assert set(store.refs.selections(release)) == selections
        assert store.refs.entries(release) == merge_selections(selections)


def test_selecting_beside_removing_loses_no_selection(store: Store) -> None:
    stays = [Selection(RELEASE, (entry,)) for entry in ENTRIES[:3]]
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            store.refs.select(Selection(RELEASE, (ENTRIES[3],)))
            for ref in store.refs.of(RELEASE):
                if ref.selection.entries == (ENTRIES[3],):
                    store.refs.deselect(ref)

    with ThreadPoolExecutor(2) as pool:
        coming_and_going = pool.submit(come_and_go)
        for selection in stays * 5:
            store.refs.select(selection)
            assert store.refs.selects(selection)
        stop.set()
        coming_and_going.result(120)
    assert set(stays) <= set(store.refs.selections(RELEASE))


# What cannot be read


@pytest.mark.parametrize("damage", ["{", "", "[]", "null", '{"release": 1}', "link", "directory", "pipe"])
def test_damaged_selection_is_an_error_with_its_path(store: Store, damage: str) -> None:
    for entry in ENTRIES[:2]:
        store.refs.select(Selection(RELEASE, (entry,)))
    path = store.refs.of(RELEASE)[0].path
    path.unlink()
    match damage:
        case "link":
            path.symlink_to("nowhere")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.write_text(damage)
    for read in store.refs.of, store.refs.selections:
        with pytest.raises(StoreError, match=f"{path.name} is damaged") as caught:
            read(RELEASE)
        assert "run `antscache verify --repair`, then `antscache prefetch antspynet==0.3.2`" in caught.value.hint
    assert [damaged for damaged, _ in store.refs.damaged()] == [path]
    assert len(store.refs.entries(RELEASE)) == 1
    assert store.refs.releases() == (RELEASE,)


def test_a_selection_of_another_release_is_damaged(store: Store) -> None:
    store.refs.select(SELECTION)
    directory = store.layout.selections(Release("antspynet", "0.2.9"))
    directory.mkdir()
    shutil.copy(store.refs.of(RELEASE)[0].path, directory / "x.json")
    with pytest.raises(StoreError, match=r"x\.json is damaged: it is a selection of antspynet==0\.3\.2"):
        store.refs.of(Release("antspynet", "0.2.9"))


@pytest.mark.parametrize("where", ["antspytorch/1.0", "antspynet/Version 2"])
def test_selections_of_unknown_releases_are_listed_apart(store: Store, where: str) -> None:
    store.refs.select(SELECTION)
    assert store.refs.unknown_releases() == ()
    directory = store.layout.refs / where
    directory.mkdir(parents=True)
    assert store.refs.unknown_releases() == ()
    (directory / "x.json").write_text("{}")
    assert store.refs.unknown_releases() == (directory,)
    assert store.refs.releases() == (RELEASE,)


def test_foreign_files_among_refs_are_left_alone(store: Store) -> None:
    store.refs.select(SELECTION)
    (store.layout.refs / "README").write_text("precious")
    (store.layout.refs / "antspynet/README").write_text("precious")
    (store.layout.selections(RELEASE) / "README").write_text("precious")
    before = snapshot(store.layout.root)
    assert (store.refs.selections(RELEASE), store.refs.unknown_releases()) == ((SELECTION,), ())
    assert snapshot(store.layout.root) == before


def test_file_in_place_of_refs_is_an_error(store: Store) -> None:
    store.layout.refs.rmdir()
    store.layout.refs.write_text("a file")
    for read in store.refs.releases, store.refs.unknown_releases, store.reachable:
        with pytest.raises(StoreError, match="cannot read"):
            read()


READ = """
store = Store(Path(arguments[0]))
try:
    store.refs.releases(), store.reachable()
except AntsCacheError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.parametrize("part", ["refs", "refs/antspynet", "refs/antspynet/0.3.2"])
def test_unreadable_directory_of_refs_is_an_error(everybodys: Path, part: str) -> None:
    """It is never taken for an empty one."""
    store = Store(everybodys / "root")
    store.create()
    store.refs.select(SELECTION)
    (store.layout.root / part).chmod(0o700)
    assert "Permission denied" in run_as(ANN, READ, store.layout.root)


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_unreadable_selection_is_an_error(everybodys: Path, mode: int) -> None:
    store = Store(everybodys / "root")
    store.create()
    store.refs.select(SELECTION)
    [ref] = store.refs.of(RELEASE)
    ref.path.chmod(mode)
    message = run_as(ANN, READ, store.layout.root)
    assert (message is None) == bool(mode)
    assert mode or "Permission denied" in message


# Two users

SELECT = """
store = Store(Path(arguments[0]))
store.check()
from antscache.core.manifest import Entry, Release
selection = Selection(Release("antspynet", "0.3.2"), (Entry("network", "a", "a.h5", "figshare:1"),))
store.refs.select(selection)
store.refs.select(selection)
print(json.dumps([ref.path.name for ref in store.refs.of(selection.release) if ref.is_ours]))
"""
DESELECT = """
store = Store(Path(arguments[0]))
store.check()
from antscache.core.manifest import Release
for ref in store.refs.of(Release("antspynet", "0.3.2")):
    if ref.is_ours:
        store.refs.deselect(ref)
print(json.dumps([store.refs.can_deselect(ref) for ref in store.refs.of(Release("antspynet", "0.3.2"))]))
"""


@pytest.fixture
def common(everybodys: Path) -> Store:
    """A root in which everybody writes and only owners delete."""
    store = Store(everybodys / "root")
    store.share(None)
    (store.layout.refs / "antspynet/0.3.2").mkdir(parents=True)
    for directory in (store.layout.ingest, *store.layout.refs.rglob("")):
        directory.chmod(0o1777)
    return store


def test_selection_of_two_users_outlives_the_first(common: Store) -> None:
    """It stays until both have removed it."""
    names = [run_as(user, SELECT, common.layout.root) for user in (ANN, BOB)]
    assert names == [[f"{SELECTION.name}.json"], [f"{SELECTION.name}-{BOB}.json"]]
    assert [ref.owner for ref in common.refs.of(RELEASE)] == [BOB, ANN]
    assert common.refs.selections(RELEASE) == (SELECTION,)
    assert run_as(ANN, DESELECT, common.layout.root) == [False]
    assert common.refs.selections(RELEASE) == (SELECTION,)
    assert run_as(BOB, SELECT, common.layout.root) == [f"{SELECTION.name}-{BOB}.json"]
    run_as(BOB, DESELECT, common.layout.root)
    assert common.refs.of(RELEASE) == ()
