"""Checks of form: bytes that are refused while they arrive, and bytes that must never be refused."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antscache.formats import forms
from antscache.formats.forms import FormError, Gzip, form_of
from antscache.testing import content as stand_in


def check(file: str, content: bytes, step: int = 700) -> None:
    form = form_of(file)
    for start in range(0, len(content), step):
        form.feed(content[start : start + step])
    form.finish()


def refusal(file: str, content: bytes, step: int = 700) -> str:
    with pytest.raises(FormError) as caught:
        check(file, content, step)
    return str(caught.value)


def check_or_refuse(file: str, content: bytes) -> None:
    """Check that `content` is accepted or refused, and that nothing else happens."""
    try:
        check(file, content)
    except FormError as error:
        assert str(error)  # noqa: PT017  whether it is raised at all is not what this is about


unhurried = settings(deadline=None)  # h5py and nibabel make the files: their time is not what is tested


# HDF5


def hdf5(libver: str, width: int = 8, values: int = 100, **options: Any) -> bytes:
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    if width != 8:  # it is the default, and to set it makes the superblock one of version 2
        created.set_sizes(width, width)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    bound = {"earliest": h5py.h5f.LIBVER_EARLIEST, "v108": h5py.h5f.LIBVER_V18, "latest": h5py.h5f.LIBVER_LATEST}
    access.set_libver_bounds(bound[libver], h5py.h5f.LIBVER_LATEST)
    access.set_fapl_core(backing_store=False)
    with h5py.File(h5py.h5f.create(b"in memory", h5py.h5f.ACC_TRUNC, fcpl=created, fapl=access)) as file:
        file.create_group("layer").create_dataset("weights", data=np.arange(values), **options)
        file.attrs["layer_names"] = ["layer"]
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def opens(content: bytes) -> bool:
    try:
        with h5py.File(io.BytesIO(content)) as file:
            return "layer" in file
    except (OSError, RuntimeError):
        return False


EARLIEST, LATEST = hdf5("earliest"), hdf5("latest")

hdf5_files = st.builds(
    hdf5,
    st.sampled_from(["earliest", "v108", "latest"]),
    st.sampled_from([2, 4, 8]),
    st.integers(1, 500),
    compression=st.sampled_from([None, "gzip"]),
    fletcher32=st.booleans(),
)


@unhurried
@given(hdf5_files, st.binary(max_size=50), st.integers(1, 400))
def test_hdf5_files_are_accepted_in_any_chunks(content: bytes, trailing: bytes, step: int) -> None:
    """Bytes behind the end of the file are accepted too."""
    assert opens(content)
    check("a.h5", content + trailing, step)


@unhurried
@given(hdf5_files, st.data())
def test_every_cut_hdf5_file_is_refused(content: bytes, data: st.DataObject) -> None:
    refusal("a.h5", content[: data.draw(st.integers(0, len(content) - 1))])


@unhurried
@given(
    base=st.integers(0, 100) | st.integers(0, 2**64 - 1),
    end=st.integers(-100, 100) | st.integers(0, 2**64 - 1 - len(EARLIEST)),
    trailing=st.integers(0, 100),
)
@example(base=2**64 - 1, end=0, trailing=1)
@example(base=2**64 - 101, end=2**64 - 1 - len(EARLIEST), trailing=100)
@example(base=100, end=100, trailing=0)
def test_superblocks_that_the_library_reads_are_accepted(base: int, end: int, trailing: int) -> None:
    content = bytearray(EARLIEST) + bytes(trailing)
    struct.pack_into("<Q", content, 24, base)
    struct.pack_into("<Q", content, 40, len(EARLIEST) + end)
    if opens(bytes(content)):
        check("a.h5", bytes(content))


@given(st.sampled_from([EARLIEST, LATEST]), st.integers(0, 127), st.integers(1, 255), st.integers(0, 3000))
def test_a_damaged_hdf5_file_is_accepted_or_refused(content: bytes, place: int, mask: int, cut: int) -> None:
    damaged = bytearray(content)
    damaged[place] ^= mask
    check_or_refuse("a.h5", bytes(damaged[: len(damaged) - cut]))


# gzip and NIfTI


def nifti(
    version: int = 1,
    order: str = "<",
    shape: tuple[int, ...] = (7, 6, 5),
    datatype: Any = "i2",
    extension: bytes = b"",
) -> bytes:
    kind: Any = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}[version]
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(datatype))
    if extension:
        header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", extension))
    file = io.BytesIO()
    voxels = np.zeros(shape, datatype)
    kind(voxels, np.eye(4), header).to_file_map({"image": nibabel.FileHolder(fileobj=file)})
    written = file.getvalue()
    assert struct.unpack_from(f"{order}i", written)[0] in {348, 540}
    return written


def nibabel_reads(raw: bytes) -> bool:
    second = 540 in struct.unpack_from("<i", raw) + struct.unpack_from(">i", raw)
    kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    try:
        image = kind.from_file_map({"image": nibabel.FileHolder(fileobj=io.BytesIO(raw))})
        np.asanyarray(image.dataobj)
    except Exception:  # noqa: BLE001  it has many ways to say no
        return False
    return True


RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]
DATATYPES = [
    RGB,
    [*RGB, ("A", "u1")],
    *(f"{sign}{size}" for sign in "ui" for size in (1, 2, 4, 8)),
    "f4",
    "f8",
    "c8",
    "c16",
]
RAW = nifti()
GZIP = gzip.compress(RAW, mtime=0)

nifti_files = st.builds(
    nifti,
    st.sampled_from([1, 2]),
    st.sampled_from("<>"),
    st.lists(st.integers(1, 4), min_size=1, max_size=7).map(tuple),
    st.sampled_from(DATATYPES),
    st.binary(max_size=40),
)


@unhurried
@given(nifti_files, st.integers(0, 9), st.integers(0, 600), st.integers(1, 400), st.integers(0, 3))
def test_compressed_niftis_are_accepted_in_any_chunks(
    raw: bytes, level: int, split: int, step: int, zeros: int
) -> None:
    """Any compression level, number of gzip members and padding is accepted too."""
    members = gzip.compress(raw[:split], level) + gzip.compress(raw[split:], level)
    check("a.nii.gz", members + bytes(zeros), step)


@unhurried
@given(nifti_files, st.data())
def test_every_compressed_cut_nifti_is_refused(raw: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(raw) - 1))
    assert "NIfTI" in refusal("a.nii.gz", gzip.compress(raw[:cut]))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_one_missing_voxel_byte_is_refused(datatype: Any) -> None:
    """One missing byte is refused for every type of voxels."""
    raw = nifti(datatype=datatype)
    check("a.nii.gz", gzip.compress(raw))
    refusal("a.nii.gz", gzip.compress(raw[:-1]))


@given(st.integers(0, len(GZIP) - 1), st.integers(1, 400))
@example(0, 1)
def test_every_cut_gzip_file_is_refused(cut: int, step: int) -> None:
    refusal("a.nii.gz", GZIP[:cut], step)


@given(st.integers(0, len(GZIP) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_nothing(place: int, mask: int) -> None:
    damaged = bytearray(GZIP)
    damaged[place] ^= mask
    try:
        check("a.nii.gz", bytes(damaged))
    except FormError:
        return
    assert gzip.decompress(damaged) == RAW


FIRST_FIELDS = {1: [*range(4), 40, 41, *range(344, 348)], 2: [*range(24)]}  # sizeof_hdr, magic, dim[0]; datatype in 2


@unhurried
@given(st.sampled_from([1, 2]), st.sampled_from("<>"), st.integers(0, 539), st.integers(0, 255))
def test_headers_that_nibabel_reads_are_accepted(version: int, order: str, place: int, value: int) -> None:
    """Except for the fields that make it a NIfTI header: if they contradict each other, nibabel guesses."""
    raw = bytearray(nifti(version, order))
    raw[place] = value
    try:
        check("a.nii.gz", gzip.compress(raw, 1))
    except FormError:
        assert place in FIRST_FIELDS[version] or not nibabel_reads(bytes(raw))


@pytest.mark.parametrize("version", [1, 2])
def test_headers_that_nibabel_repairs_are_accepted(version: int) -> None:
    raw = bytearray(nifti(version))
    bitpix, end_of_line = {1: (72, None), 2: (14, 8)}[version]
    raw[bitpix] = 64
    if end_of_line:
        raw[end_of_line : end_of_line + 4] = bytes(4)
    assert nibabel_reads(bytes(raw))
    check("a.nii.gz", gzip.compress(raw))


@given(st.binary(max_size=700))
def test_compressed_noise_is_accepted_or_refused(noise: bytes) -> None:
    for beginning in b"", struct.pack("<i", 348), struct.pack(">i", 540) + b"n+2\0\r\n\x1a\n":
        check_or_refuse("a.nii.gz", gzip.compress(beginning + noise))


def test_trailing_bytes_of_a_gzip_are_refused() -> None:
    assert "damaged" in refusal("a.nii.gz", GZIP + b"<html>")


def test_other_compressed_content_is_refused_at_once() -> None:
    """The first bytes of the compressed content are enough to refuse it."""
    form = form_of("a.nii.gz")
    compressor = zlib.compressobj(wbits=31)
    with pytest.raises(FormError, match="not a compressed NIfTI file: its content starts with other bytes"):
        form.feed(compressor.compress(b"<html>") + compressor.flush(zlib.Z_SYNC_FLUSH))


def test_a_gzip_bomb_costs_time_and_no_memory() -> None:
    squeezed = zlib.compressobj(9, wbits=31)
    header = nifti(2, shape=(1,), datatype="u1")[:544]
    header = header[:24] + struct.pack("<q", 200_000_000) + header[32:]
    bomb = b"".join([squeezed.compress(header), *(squeezed.compress(bytes(1_000_000)) for _ in range(200))])
    bomb += squeezed.flush()
    tracemalloc.start()
    check("a.nii.gz", bomb, len(bomb))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def with_first_dimension(raw: bytes, length: int) -> bytes:
    return raw[:42] + struct.pack("<h", length) + raw[44:]


def inflated_before_refusal(content: bytes, message: str) -> int:
    form = form_of("a.nii.gz")
    with pytest.raises(FormError, match=message):
        form.feed(content)
    assert isinstance(form, Gzip)
    return form.inflated


def test_far_longer_nifti_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "NIFTI_SLACK_BYTES", 1_000_000)
    bomb = gzip.compress(RAW + bytes(20_000_000), 1)
    assert inflated_before_refusal(bomb, f"far longer than its header says: {len(RAW)} bytes") < 3_000_000


@pytest.mark.parametrize("length", [7, -1, 0], ids=["as long again", "FreeSurfer's", "none"])
def test_bytes_behind_voxels_are_accepted(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """FreeSurfer writes a negative dimension, and the length elsewhere: its files end anywhere."""
    monkeypatch.setattr(forms, "NIFTI_SLACK_BYTES", 1000)
    more = len(RAW) + 1000 if length > 0 else 1_000_000
    check("a.nii.gz", gzip.compress(with_first_dimension(RAW, length) + bytes(more)))


def test_voxels_of_unknown_type_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "NIFTI_SLACK_BYTES", 0)
    check("a.nii.gz", gzip.compress(RAW[:70] + struct.pack("<h", 9999) + RAW[72:] + bytes(7 * 6 * 5 * 32)))


def test_gzip_that_inflates_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_INFLATED_BYTES", 5_000_000)
    bomb = gzip.compress(with_first_dimension(RAW, -1) + bytes(20_000_000), 1)
    assert inflated_before_refusal(bomb, "inflates to more than 5000000 bytes") < 7_000_000


# ITK's transforms


def column(name: bytes, values: int, order: str = "<", form: str = "d") -> bytes:
    kind = {"<": 0, ">": 1000}[order] + {"d": 0, "f": 10}[form]
    header = struct.pack(f"{order}5i", kind, values, 1, 0, len(name) + 1)
    return header + name + b"\0" + struct.pack(f"{order}{values}{form}", *range(values))


def transform(name: str, parameters: int, fixed: int, order: str, form: str) -> bytes:
    return column(name.encode(), parameters, order, form) + column(b"fixed", fixed, order, form)


transforms = st.builds(
    transform,
    st.sampled_from(
        [
            "AffineTransform_double_3_3",
            "Euler3DTransform_float_3_3",
            "MatrixOffsetTransformBase_double_2_2",
            "BSplineTransform_double_3_3_3",
        ]
    ),
    st.integers(0, 20),
    st.integers(0, 10),
    st.sampled_from("<>"),
    st.sampled_from("df"),
)
MAT = stand_in("41052575", "a.mat", 0)


@given(st.lists(transforms, min_size=1, max_size=3), st.integers(1, 100))
def test_itk_transforms_are_accepted_in_any_chunks(written: list[bytes], step: int) -> None:
    check("a.mat", b"".join(written), step)


@given(transforms, st.data(), st.integers(1, 100))
def test_every_cut_transform_is_refused(written: bytes, data: st.DataObject, step: int) -> None:
    refusal("a.mat", written[: data.draw(st.integers(0, len(written) - 1))], step)


@given(transforms, st.binary(min_size=1, max_size=19))
def test_bytes_behind_a_transform_are_refused(written: bytes, trailing: bytes) -> None:
    refusal("a.mat", written + trailing)


@given(st.binary(max_size=300), st.integers(0, len(MAT) - 1), st.integers(1, 255))
def test_a_damaged_transform_is_accepted_or_refused(noise: bytes, place: int, mask: int) -> None:
    damaged = bytearray(MAT)
    damaged[place] ^= mask
    check_or_refuse("a.mat", bytes(damaged))
    check_or_refuse("a.mat", noise)
    check_or_refuse("a.mat", MAT[:20] + noise)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "not a column"),
        (column(b"fixed", 3), "another name"),
        (MAT + column(b"x", 3), "another name"),
        (struct.pack("<5i", 0, 3, 3, 0, 6) + b"fixed\0", "not a column"),
        (struct.pack("<5i", 0, -1, 1, 0, 6) + b"fixed\0", "not a column"),
        (struct.pack("<5i", 0, 3, 1, 1, 6) + b"fixed\0", "not a column"),
        (struct.pack("<5i", 0, 3, 1, 0, 1 << 30), "not a column"),
    ],
)
def test_the_first_wrong_matrix_is_refused(content: bytes, message: str) -> None:
    """A matrix that is no column of a transform is refused before the end of the file."""
    form = form_of("a.mat")
    with pytest.raises(FormError, match=message):
        form.feed(content)


# any kind


@pytest.mark.parametrize("file", ["a.h5", "a.nii.gz", "a.mat", "a.jpg", "a.csv"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>", b"\n  <HTML lang=en>"])
def test_an_html_page_is_always_refused(file: str, page: bytes) -> None:
    assert refusal(file, page) == "an HTML page"


@pytest.mark.parametrize("file", ["a.h5", "a.nii.gz", "a.mat", "a.jpg", "a.csv"])
def test_an_empty_file_is_always_refused(file: str) -> None:
    assert refusal(file, b"") == "an empty file"


@pytest.mark.parametrize("file", ["a.h5", "a.nii.gz", "a.mat", "a.jpg", "a.csv"])
def test_stand_in_files_have_the_right_form(file: str) -> None:
    check(file, stand_in("1", file, 5000))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.h5", b"plain text", "not an HDF5 file: it starts with other bytes"),
        ("a.h5", GZIP, "not an HDF5 file"),
        ("a.nii.gz", EARLIEST, "not a gzip file"),
        ("a.nii.gz", gzip.compress(b"", mtime=0), "not a NIfTI file: it has only 0 bytes"),
        ("a.nii.gz", gzip.compress(RAW[:300], mtime=0), "not a NIfTI file: it has only 300 bytes"),
        ("a.nii.gz", gzip.compress(RAW[:344] + b"ni1\0" + RAW[348:], mtime=0), "another magic"),
        ("a.nii.gz", gzip.compress(RAW[:-1], mtime=0), "a compressed NIfTI file that is cut: 771 of 772 bytes"),
        ("a.jpg", EARLIEST, "not a JPEG file"),
        ("a.h5", EARLIEST[:8] + b"\x09" + EARLIEST[9:], "its superblock is of an unknown version"),
        ("a.h5", EARLIEST[:13] + b"\x03" + EARLIEST[14:], "its offsets have 3 bytes"),
        ("a.h5", EARLIEST[:40] + b"\xff" * 8 + EARLIEST[48:], "never closed"),
        ("a.h5", LATEST[:28] + b"\xff" * 8 + LATEST[36:], "never closed"),
        ("a.h5", EARLIEST[:40], "a cut HDF5 file: 40 bytes"),
    ],
)
def test_a_file_of_another_form_is_refused(file: str, content: bytes, message: str) -> None:
    assert message in refusal(file, content)


@pytest.mark.parametrize("content", [b"<html>", EARLIEST[:8] + b"\x09" + EARLIEST[9:200]])
def test_a_wrong_file_is_refused_early(content: bytes) -> None:
    """A file of another form is refused before its end."""
    form = form_of("a.h5")
    with pytest.raises(FormError):
        form.feed(content)
