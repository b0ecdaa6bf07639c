"""A file that is put into a place outside the root: whole and right, or nothing changes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from antscache.core import Descriptor, descriptor_of
from antscache.errors import IntegrityError
from antscache.views import put_file

if TYPE_CHECKING:
    from pathlib import Path

BYTES = b"of the release"


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(BYTES)
    path.chmod(0o444)
    return path


@pytest.mark.parametrize("before", ["nothing", "a file", "a link", "a broken link"])
def test_new_file_takes_a_name_of_its_own(blob: Path, tmp_path: Path, before: str) -> None:
    """A link is replaced, and its target stays."""
    target, place = tmp_path / "target", tmp_path / "own/directory/name"
    if before != "nothing":
        place.parent.mkdir(parents=True)
    if before == "a link":
        target.write_bytes(b"theirs")
    if before == "a file":
        place.write_bytes(b"theirs")
    elif before != "nothing":
        place.symlink_to(target)
    put_file(blob, place, descriptor_of(BYTES))
    assert (place.read_bytes(), place.is_symlink(), place.stat().st_nlink) == (BYTES, False, 1)
    assert not place.samefile(blob)
    assert target.exists() == (before == "a link")
    assert [path.name for path in place.parent.iterdir()] == ["name"]


@pytest.mark.parametrize("before", [None, b"theirs"])
def test_damaged_source_changes_nothing(blob: Path, tmp_path: Path, before: bytes | None) -> None:
    place = tmp_path / "own" / "name"
    place.parent.mkdir()
    if before is not None:
        place.write_bytes(before)
    with pytest.raises(IntegrityError):
        put_file(blob, place, Descriptor(descriptor_of(b"other bytes").digest, len(BYTES)))
    assert [path.read_bytes() for path in place.parent.iterdir()] == ([] if before is None else [before])


def test_refusing_disk_changes_nothing(blob: Path, tmp_path: Path) -> None:
    place = tmp_path / "own" / "name"
    place.mkdir(parents=True)  # a directory cannot be replaced
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        put_file(blob, place, descriptor_of(BYTES))
    assert [path.name for path in place.parent.iterdir()] == ["name"]
