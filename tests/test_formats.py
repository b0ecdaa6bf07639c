"""Checks of form: what is refused while the bytes pass."""

from __future__ import annotations

import gzip
import io

import h5py
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.formats import FormError, form_of


def hdf5(libver: str) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", libver=libver) as opened:
        opened["weights"] = list(range(100))
    return file.getvalue()


EARLIEST, LATEST = hdf5("earliest"), hdf5("latest")
GZIP = gzip.compress(bytes(range(256)) * 20, mtime=0)


def check(file: str, content: bytes, step: int = 700) -> None:
    form = form_of(file)
    for start in range(0, len(content), step):
        form.feed(content[start : start + step])
    form.finish()


def refusal(file: str, content: bytes) -> str:
    with pytest.raises(FormError) as caught:
        check(file, content)
    return str(caught.value)


@pytest.mark.parametrize("content", [EARLIEST, LATEST, EARLIEST + b"trailing bytes are legal"])
def test_an_hdf5_file_is_taken(content: bytes) -> None:
    check("a.h5", content)


@given(st.sampled_from([EARLIEST, LATEST]), st.data())
def test_every_cut_hdf5_file_is_refused(content: bytes, data: st.DataObject) -> None:
    refusal("a.h5", content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.integers(0, len(GZIP) - 1), st.integers(1, 400))
@example(0, 1)
def test_every_cut_gzip_file_is_refused(cut: int, step: int) -> None:
    with pytest.raises(FormError):
        check("a.nii.gz", GZIP[:cut], step)


@given(st.binary(max_size=3000), st.integers(1, 400), st.integers(0, 3))
def test_a_gzip_file_is_taken_whatever_its_content_and_however_it_arrives(
    content: bytes, step: int, zeros: int
) -> None:
    check("a.nii.gz", gzip.compress(content) * 2 + bytes(zeros), step)


@given(st.integers(10, len(GZIP) - 1), st.integers(1, 255))
def test_a_flipped_byte_behind_the_gzip_header_is_refused(place: int, mask: int) -> None:
    damaged = bytearray(GZIP)
    damaged[place] ^= mask
    with pytest.raises(FormError):
        check("a.nii.gz", bytes(damaged))


def test_bytes_behind_the_end_of_a_gzip_file_are_refused() -> None:
    assert "damaged" in refusal("a.nii.gz", GZIP + b"<html>")


def test_a_gzip_bomb_costs_time_and_no_memory() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = gzip.compress(bytes(200_000_000), 9)
    check("a.nii.gz", bomb, len(bomb))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # kB; the bomb's own making included


@pytest.mark.parametrize("file", ["a.h5", "a.nii.gz", "a.mat", "a.jpg"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>", b"\n  <HTML lang=en>"])
def test_a_page_of_html_is_no_file_of_any_kind(file: str, page: bytes) -> None:
    assert refusal(file, page) == "an HTML page"


@pytest.mark.parametrize("file", ["a.h5", "a.nii.gz", "a.mat", "a.jpg"])
def test_nothing_is_no_file_of_any_kind(file: str) -> None:
    assert refusal(file, b"") == "an empty file"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("a.h5", b"plain text", "not an HDF5 file: starts with b'plain te'"),
        ("a.h5", GZIP, "not an HDF5 file"),
        ("a.nii.gz", EARLIEST, "not a gzip file"),
        ("a.jpg", EARLIEST, "not a JPEG file"),
        ("a.h5", EARLIEST[:8] + b"\x09" + EARLIEST[9:], "no superblock that is known"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(file: str, content: bytes, told: str) -> None:
    assert told in refusal(file, content)


def test_a_wrong_file_is_refused_before_it_has_arrived() -> None:
    form = form_of("a.h5")
    with pytest.raises(FormError):
        form.feed(b"<html>")
