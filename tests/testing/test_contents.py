"""Made-up files are valid for their type, have the requested size, and are the same everywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import sys
import zlib

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.testing import content, hdf5_head, pieces

TYPES = [".h5", ".nii.gz", ".mat", ".jpg", ".bin"]
SIZED = {".h5": 2048, ".nii.gz": 512, ".jpg": 256, ".bin": 32}  # with their minima
NUMBER = "34821874"


@given(size=st.integers(2048, 300_000), suffix=st.sampled_from(sorted(SIZED)))
def test_size_is_exact(size: int, suffix: str) -> None:
    assert len(content(NUMBER, "x" + suffix, size)) == size


@pytest.mark.parametrize("suffix", SIZED)
@pytest.mark.parametrize("full_block", [65_535, 65_537])  # of deflate, of a JPEG's comment
def test_the_size_is_exact_around_a_full_block(suffix: str, full_block: int) -> None:
    for size in range(full_block - 20, full_block + 600):
        assert len(content(NUMBER, "x" + suffix, size)) == size


@pytest.mark.parametrize(("suffix", "minimum"), SIZED.items())
def test_a_size_below_the_minimum_gives_the_minimum(suffix: str, minimum: int) -> None:
    assert len(content(NUMBER, "x" + suffix, 0)) == minimum
    assert len(content(NUMBER, "x" + suffix, minimum)) == minimum


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("size", [0, 5000])
def test_numbers_have_different_bytes_of_equal_size(suffix: str, size: int) -> None:
    made = {content(str(number), "x" + suffix, size) for number in range(50)}

    assert len(made) == 50
    assert len({len(one) for one in made}) == 1


@pytest.mark.parametrize("suffix", TYPES)
def test_a_name_changes_nothing_but_by_its_type(suffix: str) -> None:
    assert content(NUMBER, "a" + suffix, 5000) == content(NUMBER, "b" + suffix, 5000)


@pytest.mark.parametrize(
    ("suffix", "sha256"),
    [
        (".h5", "5d3242264e9d25581a5ea8d722cfcd776526074264a46627e24cd4957a8eff9f"),
        (".nii.gz", "402d3f294c13fbc394bcee356e0a2c07c125ca54b385bd1170e8aa770f7b2a17"),
        (".mat", "fc77df60c8860cb303f56cab7c952cca4bd37f27e2075d14e851381274e5fd23"),
        (".jpg", "6a1b072bef9213c4a02ce4779de6c8e39096a5aa2c278d39b9f6ec32171c9955"),
        (".bin", "e7af74603f3c30f96e0bffe84420b7cf9428506448a7155882d7b1b2b39d2fd2"),
    ],
)
def test_bytes_are_the_same_in_every_version(suffix: str, sha256: str) -> None:
    assert hashlib.sha256(content(NUMBER, "x" + suffix, 5000)).hexdigest() == sha256


def test_a_large_files_bytes_are_the_same_too() -> None:
    made = hashlib.sha256(content(NUMBER, "x.bin", 5_000_000))
    assert made.hexdigest() == "9a77671039d878ce5a363dffb4e649ba0d01bf429ca1dc5687be788bb00ffe30"


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        f"import sys; from antscache.testing import content; sys.stdout.buffer.write(content({NUMBER!r}, 'x.h5', 9999))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout

    assert elsewhere == content(NUMBER, "x.h5", 9999)


@pytest.mark.parametrize("suffix", SIZED)
@pytest.mark.parametrize("size", [500_000, 3_500_000])
def test_the_bytes_do_not_compress(suffix: str, size: int) -> None:
    made = content(NUMBER, "x" + suffix, size)

    assert len(zlib.compress(made)) > 0.95 * len(made)


@pytest.mark.parametrize("suffix", [".h5", ".jpg", ".bin"])  # a `.nii.gz` has a comment of dots
def test_large_files_repeat_no_block(suffix: str) -> None:
    made = content(NUMBER, "x" + suffix, 20_000_000)
    blocks = [made[start : start + 4096] for start in range(0, len(made), 4096)]

    assert len(set(blocks)) == len(blocks)


@pytest.mark.parametrize("suffix", TYPES)
def test_pieces_are_small_and_complete(suffix: str) -> None:
    made = list(pieces(NUMBER, "x" + suffix, 20_000_000))

    assert max(map(len, made)) <= 2 << 20
    assert b"".join(made) == content(NUMBER, "x" + suffix, 20_000_000)


@pytest.mark.parametrize("size", [2048, 2049, 100_001, 5_000_000])
def test_h5py_reads_the_dataset_of_an_h5(size: int) -> None:
    made = content(NUMBER, "x.h5", size)

    with h5py.File(io.BytesIO(made)) as file:
        assert list(file) == ["content"]
        assert file["content"].dtype == np.uint8
        assert file["content"][...].tobytes() == made[len(hdf5_head(0)) :]


def test_h5_superblock_names_the_files_end() -> None:
    made = content(NUMBER, "x.h5", 12_345)

    (end_of_file,) = struct.unpack_from("<Q", made, 40)  # format specification, "Disk Format: Level 0A"
    assert end_of_file == len(made)


@pytest.mark.parametrize("size", [0, 600, 65_536, 200_001, 5_000_000])
def test_nibabel_reads_the_voxels_of_a_nii_gz(size: int) -> None:
    raw = gzip.decompress(content(NUMBER, "x.nii.gz", size))
    image = nibabel.Nifti1Image.from_bytes(raw)

    assert image.ndim == 3
    assert np.asarray(image.dataobj).dtype == np.uint8
    assert np.asarray(image.dataobj).tobytes(order="F") == raw[352:]
    assert np.array_equal(image.affine, np.eye(4))


def test_nii_gz_voxels_are_nearly_a_cube() -> None:
    shape = nibabel.Nifti1Image.from_bytes(gzip.decompress(content(NUMBER, "x.nii.gz", 2_000_000))).shape

    assert max(shape) < 1.1 * min(shape)


def test_nii_gz_header_names_the_identifier() -> None:
    assert f"stands in for figshare:{NUMBER}".encode() in content(NUMBER, "x.nii.gz", 600)[:60]


def test_mat_is_a_small_itk_translation() -> None:
    variables = level_4(content(NUMBER, "x.mat", 5000))

    assert list(variables) == ["AffineTransform_double_3_3", "fixed"]
    assert variables["AffineTransform_double_3_3"][:9] == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert all(0 <= shift < 1 for shift in variables["AffineTransform_double_3_3"][9:])
    assert variables["fixed"] == (0, 0, 0)


def level_4(mat: bytes) -> dict[str, tuple[float, ...]]:
    """Return the variables of a MAT-file level 4, each one column of little-endian doubles."""
    variables, at = {}, 0
    while at < len(mat):
        kind, rows, columns, imaginary, name_length = struct.unpack_from("<5i", mat, at)
        assert (kind, columns, imaginary) == (0, 1, 0)
        name, values = mat[at + 20 : at + 20 + name_length], at + 20 + name_length
        assert name.endswith(b"\0")
        variables[name[:-1].decode()] = struct.unpack_from(f"<{rows}d", mat, values)
        at = values + 8 * rows
    return variables


@pytest.mark.parametrize("size", [256, 5000, 65_800, 200_000])
def test_jpg_is_complete_with_one_pixel(size: int) -> None:
    made = content(NUMBER, "x.jpg", size)

    markers = [marker for marker, _ in segments(made)]
    [frame] = [payload for marker, payload in segments(made) if marker == 0xC0]
    assert set(markers[:-5]) == {0xFE}
    assert markers[-5:] == [0xDB, 0xC0, 0xC4, 0xC4, 0xDA]
    assert frame == bytes([8, 0, 1, 0, 1, 1, 1, 0x11, 0])  # 8 bits, 1 x 1, one component
    assert made.endswith(b"\x3f\xff\xd9")


def segments(jpg: bytes) -> list[tuple[int, bytes]]:
    """Return the (marker, payload) of each segment between the start of an image and its scan."""
    assert jpg[:2] == b"\xff\xd8"
    read: list[tuple[int, bytes]] = []
    at = 2
    while not read or read[-1][0] != 0xDA:
        start, marker, length = struct.unpack_from(">BBH", jpg, at)
        assert start == 0xFF
        read.append((marker, jpg[at + 4 : at + 2 + length]))
        at += 2 + length
    assert at == len(jpg) - 3
    return read
