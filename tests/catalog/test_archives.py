"""The bounds of wheels and sdists: a few bytes that claim, or inflate to, far more."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.sources import FILES, NETWORKS, sdist, wheel

from antscache.catalog import archives
from antscache.catalog.archives import BoundedReader
from antscache.catalog.sources import read_source
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_source(path)
    assert caught.value.hint
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_header_of_gigabytes_is_refused(tmp_path: Path, kind: bytes) -> None:
    """tarfile reads it at once, whatever follows."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2 << 30
    path = tmp_path / "antspynet-1.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert "a header in it is larger than" in refusal(path)


def test_directory_of_a_wheel_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheel(tmp_path, "1")
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    assert "a header in it is larger than 100 bytes" in refusal(path)


def test_sdist_that_unpacks_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sdist(tmp_path, "1", {"a.txt": "0" * 50_000, "b.txt": "0"})
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 50_000)
    assert "it unpacks to more than 50000 bytes" in refusal(path)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archive_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = wheel(tmp_path, "1") if kind == "wheel" else sdist(tmp_path, "1")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    assert "it has more than 3 members" in refusal(path)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archive_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The processor's time counts, not that of a loaded machine."""
    path = wheel(tmp_path, "1") if kind == "wheel" else sdist(tmp_path, "1")
    monkeypatch.setattr(archives, "MAX_ARCHIVE_SECONDS", -1.0)
    assert "reading it takes more than" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound_are_not_read(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "antspynet-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text, compression if name == NETWORKS else None)
    [unread] = read_source(path).unread
    assert "is compressed as no wheel is" in unread.problem


@pytest.mark.parametrize("by", ["a seek", "reads"])
def test_no_way_leads_past_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """One seek in a gzip file inflates all that it passes over."""
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    reader = BoundedReader(io.BytesIO(bytes(100_000)), tmp_path)
    with pytest.raises(ManifestError, match="it unpacks to more than 1000 bytes"):
        reader.seek(1001) if by == "a seek" else [reader.read(100) for _ in range(12)]
