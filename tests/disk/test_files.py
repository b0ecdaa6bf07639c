"""Small files are read whole, and others not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from antscache import disk
from antscache.disk.files import MAX_METADATA_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def test_largest_metadata_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(MAX_METADATA_BYTES))
    assert disk.read(path) == bytes(MAX_METADATA_BYTES)


def test_larger_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(msgspec.DecodeError, match=f"larger than {MAX_METADATA_BYTES} bytes"):
        disk.read(path)


@pytest.mark.parametrize("follow", [False, True])
def test_links_are_followed_only_if_asked(tmp_path: Path, *, follow: bool) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    if follow:
        assert disk.read(tmp_path / "link", follow=True) == b"1"
        return
    with pytest.raises(msgspec.DecodeError, match="a link"):
        disk.read(tmp_path / "link")


@pytest.mark.parametrize("follow", [False, True])
def test_no_pipe_is_waited_for(tmp_path: Path, *, follow: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(msgspec.DecodeError, match="not a file"):
        disk.read(tmp_path / "pipe", follow=follow)
