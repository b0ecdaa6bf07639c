"""Checks of the form of files, made on their bytes while these arrive, in constant memory.

The name of a file tells its form: ANTsPyNet's networks are HDF5 (`.h5`), its templates gzip-compressed NIfTI
(`.nii.gz`), its one transform ITK's MATLAB file (`.mat`), ANTsPy's slices JPEG. An HTML page is refused under every
name.

No file that h5py, nibabel or ITK read is refused: where a format is vague, these checks are as lenient as they are.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from antscache.core import BytesRead, Descriptor, ignore_events
from antscache.disk import hash_file

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Listener

HEAD_BYTES = 128  # kept from the start: the largest HDF5 superblock, version 1 with 32-byte offsets, needs 124
INFLATE_INPUT_BYTES = 1 << 16  # inflated at a time
INFLATE_OUTPUT_BYTES = 1 << 20  # the result's length at a time, so that a gzip bomb costs no memory
MAX_INFLATED_BYTES = 16 << 30  # of a whole file, so that it costs no more than a minute
NIFTI_SLACK_BYTES = 64 << 20  # behind twice the size that a header says: more bytes than those are a bomb


class FormError(ValueError):
    """The bytes do not have the form that the file's name says; `str()` says why, and repeats none of them."""


class NoFile(FormError):  # noqa: N818  it names the fact
    """The bytes are no file at all: they are empty or an HTML page. Users cannot accept them."""


class CutFile(FormError):  # noqa: N818  it names the fact
    """The bytes are the beginning of a file of the right form."""


class Form:
    """The check of a file of no known form: it accepts all bytes except none and an HTML page.

    Call `feed()` with every chunk in order, then `finish()`. Both raise FormError as soon as the bytes cannot be right.

    Attributes:
        description: of such a file, for messages.
        signature: the bytes that such a file starts with.
    """

    description: ClassVar[str] = "a file"
    signature: ClassVar[bytes] = b""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """Check the next bytes of the file.

        Raises:
            FormError: the file cannot have this form.
        """
        if self.size < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - self.size]
            self._check_head()
        self.size += len(chunk)

    def finish(self) -> None:
        """Check at the end of the file that it is whole, as far as its form can tell.

        Raises:
            FormError: it is not.
        """
        if not self.size:
            raise NoFile("an empty file")
        if len(self.head) < len(self.signature):
            raise CutFile(f"not {self.description}: it has only {self.size} bytes")

    def _check_head(self) -> None:
        if self.head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise NoFile("an HTML page")
        start = self.head[: len(self.signature)]
        if start != self.signature[: len(start)]:
            raise FormError(f"not {self.description}: it starts with other bytes")


class Hdf5(Form):
    """The check of an HDF5 file: it has the signature, and reaches the end-of-file address in its superblock.

    The signature is at the start, because no file of a release has a user block. Bytes after the address are legal.
    Source: HDF5 File Format Specification 3.0, II.A "Disk Format: Level 0A", and the library's H5Fsuper.c where the
    specification leaves a question open.
    """

    description = "an HDF5 file"
    signature = b"\x89HDF\r\n\x1a\n"

    def finish(self) -> None:
        """Refuse every cut file, without the help of the HDF5 library."""
        super().finish()
        end = self._end_of_file()
        if self.size < end:
            raise CutFile(f"a cut HDF5 file: {self.size} of {end} bytes")

    def _check_head(self) -> None:
        super()._check_head()
        if len(self.head) == HEAD_BYTES:
            self._end_of_file()

    def _end_of_file(self) -> int:
        """Return the minimum length of the file in bytes, as its superblock tells.

        The superblock holds "Base Address", an address that differs between the versions, and "End of File Address",
        which counts from the file's start. If the base address is not that of the superblock (0 here), the library
        assumes that the data were moved, and moves the end by the difference, modulo the size of an address.
        """
        try:
            version = self.head[8]
            width_at, base_at = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}[version]
            width = self.head[width_at]
        except (IndexError, KeyError):
            raise FormError("not an HDF5 file: its superblock is of an unknown version") from None
        if width not in {2, 4, 8, 16, 32}:  # the specification does not say; H5Fsuper_cache.c takes these
            raise FormError(f"not an HDF5 file: its offsets have {width} bytes")
        base, _, end = (self.head[base_at + width * i : base_at + width * (i + 1)] for i in range(3))
        if len(end) < width:
            raise CutFile(f"a cut HDF5 file: {self.size} bytes are too few for its superblock")
        if end == b"\xff" * width and not any(base):
            raise FormError("an HDF5 file that was never closed: its end-of-file address is undefined")
        return (int.from_bytes(end, "little") - int.from_bytes(base, "little")) % (1 << 8 * width)


class Gzip(Form):
    """The check of a gzip file: it decompresses to its end. It may have several members, and zeros after the last one.

    Source: RFC 1952, 2.2 ("a series of members"); GNU gzip's manual allows padding with zeros.

    Attributes:
        inflated: the number of decompressed bytes so far.
    """

    description = "a gzip file"
    signature = b"\x1f\x8b"

    def __init__(self) -> None:
        super().__init__()
        self.inflated = 0
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes | memoryview) -> None:
        """Decompress the next bytes, and check the result."""
        super().feed(chunk)
        for start in range(0, len(chunk), INFLATE_INPUT_BYTES):
            self._inflate(chunk[start : start + INFLATE_INPUT_BYTES])

    def finish(self) -> None:
        """Check that the last member is whole, with its checksum."""
        while not self._member.eof and (rest := self._member.decompress(b"", INFLATE_OUTPUT_BYTES)):
            self._count(rest)
        super().finish()
        if not self._member.eof:
            raise CutFile("a cut gzip file: it does not decompress to its end")

    def _inflate(self, rest: bytes | memoryview) -> None:
        while rest:
            if self._member.eof:
                rest = bytes(rest).lstrip(b"\0")
                if not rest:
                    return
                self._member = zlib.decompressobj(wbits=31)
            try:
                inflated = self._member.decompress(rest, INFLATE_OUTPUT_BYTES)
            except zlib.error as error:
                raise FormError(f"a damaged gzip file: {error}") from None
            self._count(inflated)
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _count(self, inflated: bytes) -> None:
        self.inflated += len(inflated)
        if self.inflated > MAX_INFLATED_BYTES:
            raise FormError(f"a gzip file that inflates to more than {MAX_INFLATED_BYTES} bytes")
        self._look(inflated)

    def _look(self, inflated: bytes) -> None:
        """Check the next bytes of the decompressed content, which are counted already."""


NIFTI_1_HEADER_BYTES, NIFTI_2_HEADER_BYTES = 348, 540  # sizeof_hdr, the first field: tells version and byte order
_NIFTI_FIELDS = {  # (offset, struct format) of dim, datatype, vox_offset and magic. Source: nifti1.h, nifti2.h
    NIFTI_1_HEADER_BYTES: ((40, "8h"), (70, "h"), (108, "f"), (344, "4s")),
    NIFTI_2_HEADER_BYTES: ((16, "8q"), (12, "h"), (168, "q"), (4, "8s")),
}
_NIFTI_MAGICS = {b"n+1\0", b"n+2\0\r\n\x1a\n", b"n+2\0\0\0\0\0"}  # the last is not the standard's, but nibabel reads it
_DATATYPES = {  # bytes of a voxel: its datatypes. nibabel and niftilib use the datatype, not bitpix
    1: (2, 256),
    2: (4, 512),
    3: (128,),
    4: (8, 16, 768, 2304),
    8: (32, 64, 1024, 1280),
    16: (1536, 1792),
    32: (2048,),
}


class NiftiGz(Gzip):
    """The check of a compressed NIfTI-1 or NIfTI-2 file with its voxels, which is as long as its header says.

    Bytes behind the voxels are legal. Only far more of them than a file may have are refused, as soon as they come.
    """

    def __init__(self) -> None:
        super().__init__()
        self._header = b""
        self._promised = 0
        self._limit: int | None = None

    def finish(self) -> None:
        """Check that the gzip file is whole, and the compressed NIfTI file too."""
        super().finish()
        if not self._promised:
            raise FormError(f"not a NIfTI file: it has only {self.inflated} bytes")
        if self.inflated < self._promised:
            raise CutFile(f"a compressed NIfTI file that is cut: {self.inflated} of {self._promised} bytes")

    def _look(self, inflated: bytes) -> None:
        if not self._promised:
            self._header += inflated[: NIFTI_2_HEADER_BYTES - len(self._header)]
            self._promised, self._limit = _nifti_sizes(self._header)
        if self._limit is not None and self.inflated > self._limit:
            raise FormError(f"a compressed NIfTI file that is far longer than its header says: {self._promised} bytes")


def _nifti_sizes(header: bytes) -> tuple[int, int | None]:
    """Return the least and the greatest length of a NIfTI file in bytes, by its header; (0, None) if that is cut.

    The greatest length is None if the header does not tell the number of voxels.

    Raises:
        FormError: this is not the header of a NIfTI file that holds its voxels too.
    """
    if len(header) < struct.calcsize("i"):
        return 0, None
    sizes = {order: struct.unpack_from(f"{order}i", header)[0] for order in "<>"}
    order, size = next(((order, size) for order, size in sizes.items() if size in _NIFTI_FIELDS), ("", 0))
    if not size:
        raise FormError("not a compressed NIfTI file: its content starts with other bytes")
    if len(header) < size:
        return 0, None
    dim, (datatype,), (offset,), (magic,) = (
        struct.unpack_from(order + form, header, at) for at, form in _NIFTI_FIELDS[size]
    )
    if magic not in _NIFTI_MAGICS or not 0 < dim[0] < len(dim) or not math.isfinite(offset):
        raise FormError("not a compressed NIfTI file: its header has another magic, or dimensions that none has")
    # A negative dimension has another meaning (FreeSurfer: vectors longer than dim can tell).
    voxels: int = math.prod(max(0, length) for length in dim[1 : dim[0] + 1])
    voxel = next((size for size, datatypes in _DATATYPES.items() if datatype in datatypes), 0)  # 0: unknown type
    start = max(int(offset), size)
    most = start + voxels * (voxel or max(_DATATYPES))
    return start + voxels * voxel, 2 * most + NIFTI_SLACK_BYTES if voxels else None


_MATRIX_HEADER_BYTES = struct.calcsize("<5i")  # type, mrows, ncols, imagf, namlen
_VALUE_BYTES = {  # by type
    "<": {0: 8, 100: 8, 10: 4, 110: 4},
    ">": {1000: 8, 1100: 8, 1010: 4, 1110: 4},
}
_MAX_NAME_BYTES = 128  # ITK's own names are half as long
_TRANSFORM_NAME = re.compile(rb"[A-Za-z]\w*_(double|float)(_\d+)+")  # TransformBaseTemplate::GetTransformTypeAsString
_FIXED_NAME = re.compile(rb"fixed")


class ItkTransform(Form):
    """The check of a file of ITK transforms: a MATLAB level 4 file of pairs of columns, the two kinds of parameters.

    The first column of a pair has the name of the transform (`AffineTransform_double_3_3`), the second one the name
    `fixed`. Source: "MAT-File Format", "Level 4 MAT-File Format"; ITK's itkMatlabTransformIO.cxx and
    vnl_matlab_read.cxx, where an O digit of 1 means "row-wise".
    """

    description = "an ITK transform"

    def __init__(self) -> None:
        super().__init__()
        self._matrices = 0
        self._variable = b""  # the bytes so far of a matrix's header and name
        self._values = 0  # the number of bytes of a matrix that are still to come

    def feed(self, chunk: bytes | memoryview) -> None:
        """Check the headers and names of the matrices in the next bytes."""
        super().feed(chunk)
        rest = memoryview(chunk)
        while rest:
            taken = min(self._values or self._missing(), len(rest))
            if self._values:
                self._values -= taken
            else:
                self._variable += rest[:taken]
                if not self._missing():
                    self._begin()
            rest = rest[taken:]

    def finish(self) -> None:
        """Check that the file ends with the end of a pair."""
        super().finish()
        if self._variable or self._values or self._matrices % 2:
            raise CutFile(f"a cut ITK transform: {self.size} bytes")

    def _missing(self) -> int:
        """Return the number of bytes of a matrix's header and name that are still to come."""
        if len(self._variable) < _MATRIX_HEADER_BYTES:
            return _MATRIX_HEADER_BYTES - len(self._variable)
        return _MATRIX_HEADER_BYTES + self._described()[-1] - len(self._variable)

    def _begin(self) -> None:
        """Check a matrix's header and name, which are complete now; its values follow."""
        self._values, _ = self._described()
        name = self._variable[_MATRIX_HEADER_BYTES:].rstrip(b"\0")
        if not (_FIXED_NAME if self._matrices % 2 else _TRANSFORM_NAME).fullmatch(name):
            raise FormError("not an ITK transform: it has a matrix with another name")
        self._matrices += 1
        self._variable = b""

    def _described(self) -> tuple[int, int]:
        """Return the lengths of a matrix's values and of its name in bytes, as its header tells."""
        for order in "<>":
            kind, rows, columns, imaginary, name = struct.unpack_from(f"{order}5i", self._variable)
            if kind in _VALUE_BYTES[order]:
                if rows >= 0 and columns == 1 and not imaginary and 0 < name <= _MAX_NAME_BYTES:
                    return rows * _VALUE_BYTES[order][kind], name
                break
        raise FormError("not an ITK transform: it has a matrix that is not a column")


class Jpeg(Form):
    """The check of a JPEG file, by its signature."""

    description = "a JPEG file"
    signature = b"\xff\xd8\xff"


def form_of(file: str) -> Form:
    """Return a new check for a file called `file`."""
    for suffix, form in (".h5", Hdf5), (".nii.gz", NiftiGz), (".mat", ItkTransform), (".jpg", Jpeg):
        if file.endswith(suffix):
            return form()
    return Form()


class Inspection(NamedTuple):
    """The result of reading a file: its descriptor, and the defect of its form; None if there is none."""

    blob: Descriptor
    defect: FormError | None

    @property
    def problem(self) -> str:
        """The text of the defect; empty if there is none."""
        return str(self.defect or "")


def inspect(path: Path | str, file: str | None, listen: Listener = ignore_events) -> Inspection:
    """Read the file at `path` once, and check that it has the form of a file called `file`, unless that is None.

    Raises:
        OSError: the file cannot be read, or is not a regular one.
    """
    form, defect = form_of(file) if file else None, None

    def look(chunk: memoryview) -> None:
        nonlocal defect
        listen(BytesRead(len(chunk)))
        if form and not defect:
            try:
                form.feed(chunk)
            except FormError as error:
                defect = error

    blob = hash_file(path, look)
    if form and not defect:
        try:
            form.finish()
        except FormError as error:
            defect = error
    return Inspection(blob, defect)
