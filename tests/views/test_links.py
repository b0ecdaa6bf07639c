"""Links: the names in views and homes, by the links that the filesystem has."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from antscache import disk
from antscache.errors import ViewError
from antscache.views.links import HOME_LINK_MODES, VIEW_LINK_MODES, link_home, link_view, missing

MEMORY_DIRECTORY = Path("/dev/shm")  # noqa: S108  another filesystem than the tests' own


@pytest.fixture
def blobs(tmp_path: Path) -> dict[str, Path]:
    """Return three names and their blobs, of which two are the same."""
    directory = tmp_path / "root/blobs"
    directory.mkdir(parents=True)
    for name in "xy":
        (directory / name).write_bytes(name.encode() * 10)
        (directory / name).chmod(0o444)
    return {"a.h5": directory / "x", "b.h5": directory / "y", "c.h5": directory / "y"}


@pytest.fixture
def view(tmp_path: Path) -> Path:
    return tmp_path / "root/views/antspynet-1/.keras/ANTsXNet"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


EXPECTED = {"a.h5": b"x" * 10, "b.h5": b"y" * 10, "c.h5": b"y" * 10}


@pytest.mark.parametrize("mode", ["auto", pytest.param("hardlink", marks=pytest.mark.hard_links), "symlink"])
def test_each_name_leads_to_its_bytes(view: Path, blobs: dict[str, Path], mode: str) -> None:
    """A second time nothing is made."""
    modes = VIEW_LINK_MODES if mode == "auto" else (mode,)
    first = link_view(view, blobs, modes)  # type: ignore[arg-type]
    assert contents(view) == EXPECTED
    assert sum(first.modes.values()) == 3
    second = link_view(view, blobs, modes)  # type: ignore[arg-type]
    assert (sum(second.modes.values()), second.intact) == (0, 3)


def test_symlinks_allow_the_root_to_be_moved(tmp_path: Path, view: Path, blobs: dict[str, Path]) -> None:
    link_view(view, blobs, ["symlink"])
    (tmp_path / "root").rename(tmp_path / "moved")
    assert contents(tmp_path / "moved/views/antspynet-1/.keras/ANTsXNet") == EXPECTED


@pytest.mark.hard_links
def test_a_hard_link_is_the_blob_itself(view: Path, blobs: dict[str, Path]) -> None:
    link_view(view, blobs, ["hardlink"])
    assert all((view / name).samefile(blob) and not (view / name).is_symlink() for name, blob in blobs.items())


@pytest.mark.parametrize("there", ["other bytes", "dangling", "same size"])
def test_a_wrong_name_of_ours_is_replaced(view: Path, blobs: dict[str, Path], there: str) -> None:
    view.mkdir(parents=True)
    if there == "dangling":
        (view / "a.h5").symlink_to("nowhere")
    else:
        (view / "a.h5").write_bytes(b"z" * (10 if there == "same size" else 3))
    assert missing(view, blobs) == ["a.h5", "b.h5", "c.h5"]
    link_view(view, blobs, VIEW_LINK_MODES)
    assert contents(view) == EXPECTED
    assert missing(view, blobs) == []


@pytest.mark.hard_links
def test_a_copy_is_linked_once(view: Path, blobs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is, even where a clone is made although the filesystem was taken for one without."""
    view.mkdir(parents=True)
    for name, blob in blobs.items():
        shutil.copy2(blob, view / name)
    monkeypatch.setattr(disk, "may_clone", lambda _: False)
    first = link_view(view, blobs, VIEW_LINK_MODES)
    assert (first.modes, first.relinked, first.intact) == ({"hardlink": 3}, 3, 0)
    second = link_view(view, blobs, VIEW_LINK_MODES)
    assert (second.modes, second.relinked, second.intact) == ({}, 0, 3)
    assert contents(view) == EXPECTED


def test_what_may_be_a_clone_stays(view: Path, blobs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless clones are to be renewed."""
    view.mkdir(parents=True)
    for name, blob in blobs.items():
        shutil.copy2(blob, view / name)
    monkeypatch.setattr(disk, "may_clone", lambda _: True)
    assert link_view(view, blobs, VIEW_LINK_MODES).intact == 3
    assert link_view(view, blobs, VIEW_LINK_MODES, renew_clones=True).relinked == 3
    assert contents(view) == EXPECTED


def test_other_files_in_a_view_are_kept(view: Path, blobs: dict[str, Path]) -> None:
    view.mkdir(parents=True)
    (view / "mine.h5").write_bytes(b"mine")
    link_view(view, blobs, VIEW_LINK_MODES)
    assert contents(view) == {**EXPECTED, "mine.h5": b"mine"}


def test_a_directory_in_place_of_a_name_fails(view: Path, blobs: dict[str, Path]) -> None:
    """It leaves no file behind."""
    (view / "a.h5").mkdir(parents=True)
    with pytest.raises(ViewError, match="cannot link into"):
        link_view(view, blobs, VIEW_LINK_MODES)
    assert [path.name for path in view.iterdir()] == ["a.h5"]


def test_no_link_points_out_of_a_home(tmp_path: Path, blobs: dict[str, Path]) -> None:
    home = tmp_path / "home"
    link_home(home, blobs, HOME_LINK_MODES)
    assert contents(home) == EXPECTED
    assert not any(path.is_symlink() for path in home.iterdir())
    assert link_home(home, blobs, HOME_LINK_MODES).intact == 3


@pytest.mark.parametrize("there", [b"z" * 10, b"other size", b""])
def test_a_taken_name_in_a_home_is_kept(tmp_path: Path, blobs: dict[str, Path], there: bytes) -> None:
    """The error says so, and nothing is changed."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "b.h5").write_bytes(there)
    with pytest.raises(ViewError, match=r"other bytes under b\.h5; nothing was changed"):
        link_home(home, blobs, HOME_LINK_MODES)
    assert contents(home) == {"b.h5": there}


def test_a_symlink_in_a_home_counts_as_taken(tmp_path: Path, blobs: dict[str, Path]) -> None:
    """It does so although it leads to the right bytes."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "a.h5").symlink_to(blobs["a.h5"])
    with pytest.raises(ViewError, match="other bytes"):
        link_home(home, blobs, HOME_LINK_MODES)


def test_the_right_bytes_in_a_home_stay(tmp_path: Path, blobs: dict[str, Path]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "a.h5").write_bytes(EXPECTED["a.h5"])
    linked = link_home(home, blobs, HOME_LINK_MODES)
    assert (linked.intact, sum(linked.modes.values())) == (1, 2)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    if not MEMORY_DIRECTORY.is_dir() or MEMORY_DIRECTORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second filesystem at /dev/shm")
    import tempfile

    return Path(tempfile.mkdtemp(dir=MEMORY_DIRECTORY, prefix="antscache-test-"))


def test_links_to_another_filesystem_are_copies(elsewhere: Path, blobs: dict[str, Path]) -> None:
    """The result says why."""
    try:
        linked = link_home(elsewhere, blobs, HOME_LINK_MODES)
        assert linked.modes == {"copy": 3}
        assert "hardlink refused" in str(linked.refusal)
        assert contents(elsewhere) == EXPECTED
        assert {stat.S_IMODE(path.stat().st_mode) & 0o222 for path in elsewhere.iterdir()} == {0}
        assert link_home(elsewhere, blobs, HOME_LINK_MODES).intact == 3
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


@pytest.mark.hard_links
def test_one_distant_blob_does_not_affect_others(tmp_path: Path, elsewhere: Path, blobs: dict[str, Path]) -> None:
    """A blob on another filesystem is copied; the others are linked."""
    far = elsewhere / "blob"
    far.write_bytes(b"far")
    linked = link_home(tmp_path / "home", {"0.h5": far, **blobs}, HOME_LINK_MODES)
    far.unlink()
    elsewhere.rmdir()
    assert linked.modes["copy"] == 1
    assert contents(tmp_path / "home") == {**EXPECTED, "0.h5": b"far"}


def test_an_impossible_mode_is_an_error(elsewhere: Path, blobs: dict[str, Path]) -> None:
    """The error names it, and nothing is left behind."""
    with pytest.raises(ViewError, match="hardlink refused") as caught:
        link_home(elsewhere, blobs, ["hardlink"])
    assert "--link-mode auto" in caught.value.hint
    assert list(elsewhere.iterdir()) == []
    elsewhere.rmdir()


def test_refused_hard_links_become_symlinks(
    view: Path, blobs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, os.strerror(1))

    monkeypatch.setattr(os, "link", refuse)
    linked = link_view(view, blobs, VIEW_LINK_MODES)
    assert linked.modes in ({"symlink": 3}, {"reflink": 3})
    assert contents(view) == EXPECTED
