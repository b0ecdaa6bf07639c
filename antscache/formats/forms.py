"""What a file of each kind looks like: checks of form on bytes while they pass, with flat memory.

The form of a file is told by its name: ANTsPyNet's networks are HDF5 (`.h5`), its templates gzip-compressed NIfTI
(`.nii.gz`), its one transform ITK's MATLAB file (`.mat`), ANTsPy's slices JPEG. A page of HTML is never what was asked
for, whatever the name.

What h5py, nibabel or ITK read is never refused, so where a format is vague these checks are as lenient as they are.
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

HEAD = 128  # bytes from the start: the largest HDF5 superblock, version 1 with 32-byte offsets, needs 124
SLICE = 1 << 16  # bytes inflated at a time, and
MOST = 1 << 20  # bytes that come of them at a time, so that a bomb costs time but no memory


class FormError(ValueError):
    """The bytes are not what the file's name says; `str()` says what they are instead."""


class NoFile(FormError):  # noqa: N818  it says what came instead
    """The bytes are no file at all: nothing, or a page of HTML. Nobody can want to take them."""


class Form:
    """A file of no known form: anything but nothing and HTML.

    Feed it every chunk in order, then call `finish()`. Both raise FormError as soon as the bytes cannot be right.
    """

    called: ClassVar[str] = "a file"
    signature: ClassVar[bytes] = b""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """Look at the next bytes of the file."""
        if self.size < HEAD:
            self.head += chunk[: HEAD - self.size]
            self._check_head()
        self.size += len(chunk)

    def finish(self) -> None:
        """The file has ended: is it whole, as far as its form can tell?"""
        if not self.size:
            raise NoFile("an empty file")
        if len(self.head) < len(self.signature):
            raise FormError(f"not {self.called}: only {self.size} bytes")

    def _check_head(self) -> None:
        if self.head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise NoFile("an HTML page")
        seen = self.head[: len(self.signature)]
        if seen != self.signature[: len(seen)]:
            raise FormError(f"not {self.called}: starts with {bytes(self.head[:8])!r}")


class Hdf5(Form):
    """An HDF5 file: its signature, and no shorter than the end-of-file address in its superblock.

    The signature is at the start: no file of a release has a user block. Bytes after the address are legal. Source:
    HDF5 File Format Specification 3.0, II.A "Disk Format: Level 0A"; for what it leaves open, the library's H5Fsuper.c.
    """

    called = "an HDF5 file"
    signature = b"\x89HDF\r\n\x1a\n"

    def finish(self) -> None:
        """Find every cut file without a library."""
        super().finish()
        end = self._end_of_file()
        if self.size < end:
            raise FormError(f"a cut HDF5 file: {self.size} of {end} bytes")

    def _check_head(self) -> None:
        super()._check_head()
        if len(self.head) == HEAD:
            self._end_of_file()

    def _end_of_file(self) -> int:
        """How long the file is at least, by its superblock.

        "Base Address", then an address that differs between the versions, then "End of File Address", which counts from
        the file's start. Where the superblock is not at its own base address (0 here), the library takes the data to
        have been moved, and the end with it, modulo the size of an address.
        """
        try:
            version = self.head[8]
            width_at, base_at = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}[version]
            width = self.head[width_at]
        except (IndexError, KeyError):
            raise FormError("not an HDF5 file: no superblock that is known") from None
        if width not in {2, 4, 8, 16, 32}:  # the specification does not say; H5Fsuper_cache.c takes these
            raise FormError(f"not an HDF5 file: offsets of {width} bytes")
        base, _, end = (self.head[base_at + width * i : base_at + width * (i + 1)] for i in range(3))
        if len(end) < width:
            raise FormError(f"a cut HDF5 file: {self.size} bytes are no superblock")
        if end == b"\xff" * width and not any(base):
            raise FormError("an HDF5 file that was never closed: its end-of-file address is undefined")
        return (int.from_bytes(end, "little") - int.from_bytes(base, "little")) % (1 << 8 * width)


class Gzip(Form):
    """A gzip file that decompresses to its end; members may follow one another, and zeros may follow the last.

    Source: RFC 1952, 2.2 ("a series of members"); GNU gzip's manual allows padding with zeros.
    """

    called = "a gzip file"
    signature = b"\x1f\x8b"

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes | memoryview) -> None:
        """Decompress the next bytes, and look at the result."""
        super().feed(chunk)
        for start in range(0, len(chunk), SLICE):
            self._inflate(chunk[start : start + SLICE])

    def finish(self) -> None:
        """The last member has come to its end, checksum included."""
        while not self._member.eof and (held_back := self._member.decompress(b"", MOST)):
            self._look(held_back)
        super().finish()
        if not self._member.eof:
            raise FormError("a cut gzip file: it does not decompress to its end")

    def _inflate(self, rest: bytes | memoryview) -> None:
        while rest:
            if self._member.eof:
                rest = bytes(rest).lstrip(b"\0")
                if not rest:
                    return
                self._member = zlib.decompressobj(wbits=31)
            try:
                inflated = self._member.decompress(rest, MOST)
            except zlib.error as error:
                raise FormError(f"a damaged gzip file: {error}") from None
            self._look(inflated)
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _look(self, inflated: bytes) -> None:
        """The next bytes of the content."""


NIFTI_1, NIFTI_2 = 348, 540  # sizeof_hdr, which stands first and tells the version and the byte order
_NIFTI = {  # dim, datatype, vox_offset, magic: where each is, and how it is packed. Source: nifti1.h, nifti2.h
    NIFTI_1: ((40, "8h"), (70, "h"), (108, "f"), (344, "4s")),
    NIFTI_2: ((16, "8q"), (12, "h"), (168, "q"), (4, "8s")),
}
_MAGIC = {b"n+1\0", b"n+2\0\r\n\x1a\n", b"n+2\0\0\0\0\0"}  # the last is not the standard's, but nibabel reads it
_VOXELS = {  # bytes of a voxel: the datatypes. nibabel and niftilib go by these, not by bitpix
    1: (2, 256),
    2: (4, 512),
    3: (128,),
    4: (8, 16, 768, 2304),
    8: (32, 64, 1024, 1280),
    16: (1536, 1792),
    32: (2048,),
}


class NiftiGz(Gzip):
    """A gzip file of one NIfTI-1 or NIfTI-2 file, header and voxels together, no shorter than its header says."""

    def __init__(self) -> None:
        super().__init__()
        self._header = b""
        self._inflated = 0
        self._promised = 0

    def finish(self) -> None:
        """The gzip file is whole, and so is what was compressed."""
        super().finish()
        if not self._promised:
            raise FormError(f"not a NIfTI file: only {self._inflated} bytes")
        if self._inflated < self._promised:
            raise FormError(f"a cut NIfTI file, compressed: {self._inflated} of {self._promised} bytes")

    def _look(self, inflated: bytes) -> None:
        self._inflated += len(inflated)
        if not self._promised:
            self._header += inflated[: NIFTI_2 - len(self._header)]
            self._promised = _nifti_size(self._header)


def _nifti_size(header: bytes) -> int:
    """How many bytes a NIfTI file has at least, by its header; 0 as long as there is not enough of it to tell.

    Raises:
        FormError: this is not how a NIfTI file in one piece begins.
    """
    if len(header) < struct.calcsize("i"):
        return 0
    sizes = {order: struct.unpack_from(f"{order}i", header)[0] for order in "<>"}
    order, size = next(((order, size) for order, size in sizes.items() if size in _NIFTI), ("", 0))
    if not size:
        raise FormError(f"a gzip file of no NIfTI file: it starts with {header[:8]!r}")
    if len(header) < size:
        return 0
    dim, (datatype,), (offset,), (magic,) = (struct.unpack_from(order + form, header, at) for at, form in _NIFTI[size])
    if magic not in _MAGIC or not 0 < dim[0] < len(dim) or not math.isfinite(offset):
        raise FormError(f"a gzip file of no NIfTI file: magic {magic!r}, {dim[0]} dimensions, voxels from {offset}")
    # A negative dimension says something else (FreeSurfer: its vectors are longer than dim can tell).
    voxels: int = math.prod(max(0, length) for length in dim[1 : dim[0] + 1])
    voxel = next((size for size, datatypes in _VOXELS.items() if datatype in datatypes), 0)  # unknown: nothing promised
    return max(int(offset), size) + voxels * voxel


_MATRIX = struct.calcsize("<5i")  # type, mrows, ncols, imagf, namlen
_MATRIX_TYPES = {"<": {0: 8, 100: 8, 10: 4, 110: 4}, ">": {1000: 8, 1100: 8, 1010: 4, 1110: 4}}  # bytes a value
_LONGEST_NAME = 128  # ITK's own are half as long
_TRANSFORM = re.compile(rb"[A-Za-z]\w*_(double|float)(_\d+)+")  # TransformBaseTemplate::GetTransformTypeAsString
_FIXED = re.compile(rb"fixed")


class ItkTransform(Form):
    """Transforms as ITK writes them: a MATLAB level 4 file of pairs of columns, the parameters and the fixed ones.

    The first of a pair is called like the transform (`AffineTransform_double_3_3`), the second `fixed`. Source:
    "MAT-File Format", "Level 4 MAT-File Format"; ITK's itkMatlabTransformIO.cxx and vnl_matlab_read.cxx, to which an O
    digit of 1 is "row-wise".
    """

    called = "an ITK transform"

    def __init__(self) -> None:
        super().__init__()
        self._matrices = 0
        self._variable = b""  # the header of a matrix and its name, as far as they have come
        self._values = 0  # bytes of a matrix that are still to come

    def feed(self, chunk: bytes | memoryview) -> None:
        """Go from matrix to matrix."""
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
        """The file ends where a pair ends."""
        super().finish()
        if self._variable or self._values or self._matrices % 2:
            raise FormError(f"a cut ITK transform: {self.size} bytes")

    def _missing(self) -> int:
        """How many bytes of a matrix's header and name are still to come."""
        if len(self._variable) < _MATRIX:
            return _MATRIX - len(self._variable)
        return _MATRIX + self._described()[-1] - len(self._variable)

    def _begin(self) -> None:
        """A matrix's header and name are there: its values follow."""
        self._values, _ = self._described()
        name = self._variable[_MATRIX:].rstrip(b"\0")
        if not (_FIXED if self._matrices % 2 else _TRANSFORM).fullmatch(name):
            raise FormError(f"not an ITK transform: it has a matrix called {name!r}")
        self._matrices += 1
        self._variable = b""

    def _described(self) -> tuple[int, int]:
        """The bytes of a matrix's values and of its name, by its header."""
        for order in "<>":
            kind, rows, columns, imaginary, name = struct.unpack_from(f"{order}5i", self._variable)
            if kind in _MATRIX_TYPES[order]:
                if rows >= 0 and columns == 1 and not imaginary and 0 < name <= _LONGEST_NAME:
                    return rows * _MATRIX_TYPES[order][kind], name
                break
        raise FormError(f"not an ITK transform: it has a matrix that is no column, {self._variable[:_MATRIX]!r}")


class Jpeg(Form):
    """A JPEG file, by its signature."""

    called = "a JPEG file"
    signature = b"\xff\xd8\xff"


def form_of(file: str) -> Form:
    """A fresh check for a file called `file`."""
    for suffix, form in (".h5", Hdf5), (".nii.gz", NiftiGz), (".mat", ItkTransform), (".jpg", Jpeg):
        if file.endswith(suffix):
            return form()
    return Form()


class Inspection(NamedTuple):
    """A file that was read: its bytes, and why it cannot be what its name says; empty if it can."""

    blob: Descriptor
    problem: str


def inspect(path: Path | str, file: str | None, listen: Listener = ignore_events) -> Inspection:
    """Read the file at `path` once, and check that it has the form of one called `file`, unless that is None.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    form, problem = form_of(file) if file else None, ""

    def look(chunk: memoryview) -> None:
        nonlocal problem
        listen(BytesRead(len(chunk)))
        if form and not problem:
            try:
                form.feed(chunk)
            except FormError as error:
                problem = str(error)

    blob = hash_file(path, look)
    if form and not problem:
        try:
            form.finish()
        except FormError as error:
            problem = str(error)
    return Inspection(blob, problem)
