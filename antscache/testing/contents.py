"""Made-up files in place of ANTsPyNet's: valid for their type, of any size, the same everywhere. Pure.

The bytes depend on the identifier's number, the file's type and the size alone (not on the clock, the host, or the
version of Python or zlib), so two processes make the same ones. Most of them are pseudo-random: they do not compress,
and different numbers give different bytes. A file of any size takes a few megabytes of memory.

| file      | content                                                           | size               |
|-----------|-------------------------------------------------------------------|--------------------|
| `.h5`     | HDF5, one dataset `content` of bytes (no Keras network)           | exact, from 2,048  |
| `.nii.gz` | NIfTI-1 in gzip, one volume of unsigned bytes, nearly a cube      | exact, from 512    |
| `.mat`    | an ITK affine transform (MAT level 4): a small translation        | always 193         |
| `.jpg`    | JPEG, one grey pixel, and comments                                | exact, from 256    |
| others    | pseudo-random bytes                                               | exact, from 32     |
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_DEFLATE_BLOCK_BYTES = 0xFFFF  # in a stored block of deflate at most (RFC 1951, 3.2.4)
_JPEG_COMMENT_BYTES = 0xFFFF - 2  # in a comment segment at most
_NIFTI_MAX_DIMENSION = 0x7FFF  # NIfTI-1 dimensions are 16-bit signed
_NIFTI_HEADER_BYTES = 352
_NOISE_BYTES = 1 << 20  # made of SHAKE128; all that follows are these again, turned
_TURN_BYTES = 648_053  # odd, so that a terabyte goes by before a turn comes again


def content(number: str, file: str, size: int) -> bytes:
    """Make up the bytes of the identifier `number`, of the type that the name `file` ends in.

    They are `size` bytes, or the type's minimum if that is more; a `.mat` is always 193 bytes.
    """
    return b"".join(pieces(number, file, size))


def pieces(number: str, file: str, size: int) -> Iterator[bytes]:
    """Make up the same bytes as `content`, in pieces of at most two megabytes."""
    for suffix, minimum, make in _TYPES:
        if file.endswith(suffix):
            return make(number, suffix, max(size, minimum))
    raise AssertionError("every name ends with the empty suffix")


def _noise(number: str, suffix: str, size: int) -> Iterator[bytes]:
    """Yield `size` pseudo-random bytes: a megabyte of SHAKE128, then the same megabyte turned again and again.

    SHAKE128 is the same everywhere, but slower than a disk; turning is as fast as memory. No two aligned blocks are
    the same.
    """
    noise = hashlib.shake_128(f"antscache stand-in {number} {suffix}".encode()).digest(min(size, _NOISE_BYTES))
    twice = memoryview(noise + noise)
    for start in range(0, size, _NOISE_BYTES):
        at = start // _NOISE_BYTES * _TURN_BYTES % _NOISE_BYTES
        yield bytes(twice[at : at + min(_NOISE_BYTES, size - start)])


def _blocks(parts: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the bytes of `parts` in blocks of `length`; only the last may be shorter."""
    rest = b""
    for part in parts:
        rest += part
        whole = len(rest) - len(rest) % length
        for start in range(0, whole, length):
            yield rest[start : start + length]
        rest = rest[whole:]
    if rest:
        yield rest


# HDF5: the smallest real file, with one contiguous dataset of bytes, written without a library.
#
# Offsets and fields follow the HDF5 File Format Specification, version 3.0, in its oldest forms (superblock 0, object
# header 1, B-tree 1), which every reader knows and which carry no checksums. All offsets are eight bytes wide:
#
#        0  superblock          names the end of the file, and the root group
#       96  root object header  one message: where the group's B-tree and heap are
#      136  B-tree              one child: the symbol node
#      680  local heap          the names: "" and "content"
#      728  symbol node         one symbol: the dataset
#     1056  dataset header      one dimension, unsigned bytes, contiguous
#     1168  the dataset's bytes, up to the end of the file

_HDF5_DATASET = "content"
_HDF5_HEAD_BYTES = 1168  # bytes before the dataset's own

_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF  # "undefined address"
_ROOT_HEADER, _TREE, _HEAP, _HEAP_SEGMENT, _SYMBOLS, _DATASET_HEADER = 96, 136, 680, 712, 728, 1056
_NAME_OFFSET = 8  # where the dataset's name begins in the heap; the root's empty name is at 0
_LEAF_K, _INTERNAL_K = 4, 16  # half of what a symbol node and a B-tree node have room for


def _hdf5(number: str, suffix: str, size: int) -> Iterator[bytes]:
    yield hdf5_head(size - _HDF5_HEAD_BYTES)
    yield from _noise(number, suffix, size - _HDF5_HEAD_BYTES)


def hdf5_head(size: int) -> bytes:
    """Return the beginning of an HDF5 file with one dataset: `content`, the `size` bytes (uint8) that follow.

    The superblock's end-of-file address is the length of both together.
    """
    return b"".join(
        [
            _superblock(_HDF5_HEAD_BYTES + size),
            _object_header((0x0011, struct.pack("<QQ", _TREE, _HEAP))),
            _b_tree(),
            _local_heap(),
            _symbol_node(),
            _dataset_header(size),
        ]
    )


def _superblock(end_of_file: int) -> bytes:
    versions_and_widths = bytes([0, 0, 0, 0, 0, 8, 8, 0])
    sizes = struct.pack("<HHI", _LEAF_K, _INTERNAL_K, 0)
    addresses = struct.pack("<QQQQ", 0, _UNDEFINED, end_of_file, _UNDEFINED)
    root = struct.pack("<QQIIQQ", 0, _ROOT_HEADER, 1, 0, _TREE, _HEAP)  # 1: the tree and the heap are cached here
    return b"\x89HDF\r\n\x1a\n" + versions_and_widths + sizes + addresses + root


def _object_header(*messages: tuple[int, bytes]) -> bytes:
    """Return an object header of (type, body) messages, with bodies padded to eight bytes, as version 1 asks."""
    packed = b""
    for kind, body in messages:
        padded = body + bytes(-len(body) % 8)
        packed += struct.pack("<HHB3x", kind, len(padded), 0) + padded
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(packed)) + packed


def _b_tree() -> bytes:
    node = b"TREE" + struct.pack("<BBHQQ", 0, 0, 1, _UNDEFINED, _UNDEFINED)
    keys_and_child = struct.pack("<QQQ", 0, _SYMBOLS, _NAME_OFFSET)
    unused = 2 * _INTERNAL_K - 1  # a child and a key each
    return node + keys_and_child + bytes(16 * unused)


def _local_heap() -> bytes:
    segment = bytes(_NAME_OFFSET) + _HDF5_DATASET.encode().ljust(8, b"\0")
    no_free_block = 1
    return b"HEAP" + struct.pack("<B3xQQQ", 0, len(segment), no_free_block, _HEAP_SEGMENT) + segment


def _symbol_node() -> bytes:
    symbol = struct.pack("<QQII16x", _NAME_OFFSET, _DATASET_HEADER, 0, 0)
    return b"SNOD" + struct.pack("<BxH", 1, 1) + symbol + bytes(40 * (2 * _LEAF_K - 1))


def _dataset_header(size: int) -> bytes:
    dataspace = struct.pack("<BBBxIQ", 1, 1, 0, 0, size)
    datatype = struct.pack("<BBBBIHH", 0x10, 0, 0, 0, 1, 0, 8)  # version 1 fixed-point, unsigned, 1 byte, 8 bits
    fill_value = bytes([2, 2, 2, 0])  # version 2: allocated late, written if set, not set
    layout = struct.pack("<BBQQ", 3, 1, _HDF5_HEAD_BYTES, size)  # version 3, contiguous
    return _object_header((0x0001, dataspace), (0x0003, datatype), (0x0005, fill_value), (0x0008, layout))


# NIfTI-1 in gzip


def _nifti_gz(number: str, suffix: str, size: int) -> Iterator[bytes]:
    """Yield a gzip of exactly `size` bytes; a comment in its header fills the bytes that the voxels leave over."""
    label = f"stands in for figshare:{number}".encode()
    available = size - _gzip_size(_NIFTI_HEADER_BYTES, len(label))
    voxels = available - 5 * (available // _DEFLATE_BLOCK_BYTES + 1)  # each stored block costs five bytes
    edge = 1
    while (edge + 1) ** 3 <= voxels or voxels // edge**2 > _NIFTI_MAX_DIMENSION:
        edge += 1
    shape = (edge, edge, voxels // edge**2)
    used = _NIFTI_HEADER_BYTES + edge * edge * shape[2]
    comment = label.ljust(size - _gzip_size(used, 0), b".")
    return _gzip(_nifti(shape, _noise(number, suffix, used - _NIFTI_HEADER_BYTES)), used, comment)


def _nifti(shape: tuple[int, int, int], voxels: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a NIfTI-1 file (nifti1.h) of `voxels`: unsigned bytes, 1 mm apart, in scanner orientation."""
    header = struct.pack(
        "<i35xB8h3f4h8f3fhcB4f2i80s24s2h6f4f4f4f16s4s",
        348,
        0,  # dim_info
        *(3, *shape, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0, 0),  # intent
        *(2, 8, 0),  # DT_UINT8, bits, slice_start
        *(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),  # pixdim
        *(352.0, 1.0, 0.0),  # vox_offset, scl_slope, scl_inter
        *(0, b"\0", 2),  # slice_end, slice_code, NIFTI_UNITS_MM
        *(0.0, 0.0, 0.0, 0.0),  # cal_max, cal_min, slice_duration, toffset
        *(0, 0),  # glmax, glmin
        *(b"antscache stand-in", b""),  # descrip, aux_file
        *(1, 1),  # qform_code, sform_code: scanner
        *(0.0, 0.0, 0.0, 0.0, 0.0, 0.0),  # quaternion, offset
        *(1.0, 0.0, 0.0, 0.0),
        *(0.0, 1.0, 0.0, 0.0),
        *(0.0, 0.0, 1.0, 0.0),
        *(b"", b"n+1\0"),  # intent_name, magic
    )
    no_extension = bytes(4)
    yield header + no_extension
    yield from voxels


def _gzip(parts: Iterator[bytes], size: int, comment: bytes) -> Iterator[bytes]:
    """Yield a gzip member (RFC 1952) of `parts`, `size` bytes, in stored blocks: they are the same with any zlib."""
    yield b"".join([b"\x1f\x8b\x08\x10", bytes(4), b"\x00\xff", comment, b"\0"])  # FCOMMENT; mtime 0; no OS
    checksum, left = 0, size
    for block in _blocks(parts, _DEFLATE_BLOCK_BYTES):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
        yield struct.pack("<BHH", left == 0, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack("<II", checksum, size & 0xFFFF_FFFF)


def _gzip_size(size: int, comment: int) -> int:
    """Return the length of a `_gzip` of `size` bytes with `comment` bytes of comment."""
    blocks = -(-size // _DEFLATE_BLOCK_BYTES)
    return 10 + comment + 1 + size + 5 * blocks + 8


# MAT level 4


def _itk_affine(number: str, suffix: str, _: int) -> Iterator[bytes]:
    """Yield an affine transform as ITK writes it: a shift of less than a millimetre that depends on `number`."""
    shift = [value / 2**32 for value in struct.unpack("<3I", b"".join(_noise(number, suffix, 12)))]
    parameters = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, *shift]
    yield _column(b"AffineTransform_double_3_3\0", parameters) + _column(b"fixed\0", [0.0, 0.0, 0.0])


def _column(name: bytes, values: list[float]) -> bytes:
    """Return a variable of MAT level 4: one column of little-endian doubles."""
    header = struct.pack("<5i", 0, len(values), 1, 0, len(name))
    return header + name + struct.pack(f"<{len(values)}d", *values)


# JPEG


def _jpeg(number: str, suffix: str, size: int) -> Iterator[bytes]:
    """Yield a baseline JPEG of one grey pixel, with comments after its first marker to make it `size` bytes."""
    one_code = bytes([1, *[0] * 15, 0])  # a Huffman table with one code, one bit long, for the symbol 0
    start, end = b"\xff\xd8", b"\xff\xd9"
    image = (
        _segment(0xDB, b"\0" + b"\1" * 64)  # quantisation
        + _segment(0xC0, struct.pack(">BHHB", 8, 1, 1, 1) + b"\1\x11\0")  # baseline, 8 bits, 1 x 1
        + _segment(0xC4, b"\x00" + one_code)
        + _segment(0xC4, b"\x10" + one_code)
        + _segment(0xDA, b"\1\1\0\0\x3f\0")
        + b"\x3f"  # two codes, then ones up to the byte's end
    )
    left = size - len(start + image + end)
    comments = -(-left // (4 + _JPEG_COMMENT_BYTES))
    noise = left - 4 * comments
    yield start
    for comment in _blocks(_noise(number, suffix, noise), -(-noise // comments)):
        yield _segment(0xFE, comment)
    yield image + end


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


_TYPES: tuple[tuple[str, int, Callable[[str, str, int], Iterator[bytes]]], ...] = (
    (".h5", 2048, _hdf5),
    (".nii.gz", 512, _nifti_gz),
    (".mat", 0, _itk_affine),
    (".jpg", 256, _jpeg),
    ("", 32, _noise),
)
