"""The smallest real HDF5 file: one contiguous dataset of bytes, written without a library. Pure.

Offsets and fields follow the HDF5 File Format Specification, version 3.0, in its oldest forms (superblock 0, object
header 1, B-tree 1), which every reader knows and which carry no checksums. All offsets are eight bytes wide:

       0  superblock          names the end of the file, and the root group
      96  root object header  one message: where the group's B-tree and heap are
     136  B-tree              one child: the symbol node
     680  local heap          the names: "" and "content"
     728  symbol node         one symbol: the dataset
    1056  dataset header      one dimension, unsigned bytes, contiguous
    1168  the dataset's bytes, up to the end of the file
"""

from __future__ import annotations

import struct

DATASET = "content"
OVERHEAD = 1168  # bytes before the dataset's own

_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF  # "undefined address"
_ROOT_HEADER, _TREE, _HEAP, _HEAP_SEGMENT, _SYMBOLS, _DATASET_HEADER = 96, 136, 680, 712, 728, 1056
_NAME = 8  # where the dataset's name begins in the heap; the root's empty name is at 0
_LEAF_K, _INTERNAL_K = 4, 16  # half of what a symbol node and a B-tree node have room for


def head(size: int) -> bytes:
    """The first `OVERHEAD` bytes of an HDF5 file; the `size` bytes that follow are its root group's `content` (uint8).

    The superblock's end-of-file address is the length of both together.
    """
    return b"".join(
        [
            _superblock(OVERHEAD + size),
            _object_header((0x0011, struct.pack("<QQ", _TREE, _HEAP))),
            _tree(),
            _heap(),
            _symbols(),
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
    """An object header of (type, body) messages; bodies are padded to eight bytes, as version 1 asks."""
    packed = b""
    for kind, body in messages:
        padded = body + bytes(-len(body) % 8)
        packed += struct.pack("<HHB3x", kind, len(padded), 0) + padded
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(packed)) + packed


def _tree() -> bytes:
    node = b"TREE" + struct.pack("<BBHQQ", 0, 0, 1, _UNDEFINED, _UNDEFINED)
    keys_and_child = struct.pack("<QQQ", 0, _SYMBOLS, _NAME)
    unused = 2 * _INTERNAL_K - 1  # a child and a key each
    return node + keys_and_child + bytes(16 * unused)


def _heap() -> bytes:
    segment = bytes(_NAME) + DATASET.encode().ljust(8, b"\0")
    no_free_block = 1
    return b"HEAP" + struct.pack("<B3xQQQ", 0, len(segment), no_free_block, _HEAP_SEGMENT) + segment


def _symbols() -> bytes:
    symbol = struct.pack("<QQII16x", _NAME, _DATASET_HEADER, 0, 0)
    return b"SNOD" + struct.pack("<BxH", 1, 1) + symbol + bytes(40 * (2 * _LEAF_K - 1))


def _dataset_header(size: int) -> bytes:
    dataspace = struct.pack("<BBBxIQ", 1, 1, 0, 0, size)
    datatype = struct.pack("<BBBBIHH", 0x10, 0, 0, 0, 1, 0, 8)  # version 1 fixed-point, unsigned, 1 byte, 8 bits
    fill_value = bytes([2, 2, 2, 0])  # version 2: allocated late, written if set, not set
    layout = struct.pack("<BBQQ", 3, 1, OVERHEAD, size)  # version 3, contiguous
    return _object_header((0x0001, dataspace), (0x0003, datatype), (0x0005, fill_value), (0x0008, layout))
