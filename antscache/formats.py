"""What a file of each kind looks like: checks of form on bytes while they pass. Pure, flat memory.

The form of a file is told by its name: ANTsPyNet's networks are HDF5 (`.h5`), its templates gzip-compressed NIfTI
(`.nii.gz`), ANTsPy's slices JPEG. A page of HTML is never what was asked for, whatever the name.
"""

from __future__ import annotations

import struct
import zlib
from typing import ClassVar

HEAD = 64  # bytes from the start that signatures and the HDF5 superblock need
INFLATE = 1 << 20  # bytes inflated at a time, so that a bomb costs time but no memory


class FormError(ValueError):
    """The bytes are not what the file's name says; `str()` says what they are instead."""


class Form:
    """A file of no known form: anything but nothing and HTML.

    Feed it every chunk in order, then call `finish()`. Both raise FormError as soon as the bytes cannot be right.
    """

    called: ClassVar[str] = "a file"
    signature: ClassVar[bytes] = b""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the file."""
        if self.size < HEAD:
            self.head += chunk[: HEAD - self.size]
            self._check_head()
        self.size += len(chunk)

    def finish(self) -> None:
        """The file has ended: is it whole, as far as its form can tell?"""
        if not self.size:
            raise FormError("an empty file")
        if len(self.head) < len(self.signature):
            raise FormError(f"not {self.called}: only {self.size} bytes")

    def _check_head(self) -> None:
        if self.head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise FormError("an HTML page")
        seen = self.head[: len(self.signature)]
        if seen != self.signature[: len(seen)]:
            raise FormError(f"not {self.called}: starts with {bytes(self.head[:8])!r}")


class Hdf5(Form):
    """An HDF5 file: its signature, and no shorter than the end-of-file address in its superblock.

    Bytes after that address are legal. Source: HDF5 File Format Specification 3.0, II.A "Disk Format: Level 0A".
    """

    called = "an HDF5 file"
    signature = b"\x89HDF\r\n\x1a\n"

    def finish(self) -> None:
        """Find every cut file without a library."""
        super().finish()
        end = self._end_of_file()
        if self.size < end:
            raise FormError(f"a cut HDF5 file: {self.size} of {end} bytes")

    def _end_of_file(self) -> int:
        try:
            version = self.head[8]
            width, base = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}[version]
            form = {4: "<I", 8: "<Q"}[self.head[width]]
            end: int = struct.unpack_from(form, self.head, base + 2 * self.head[width])[0]
        except (IndexError, KeyError, struct.error):
            raise FormError("not an HDF5 file: no superblock that is known") from None
        return end


class Gzip(Form):
    """A gzip file that decompresses to its end; members may follow one another, and zeros may follow the last.

    Source: RFC 1952, 2.2 ("a series of members"); GNU gzip's manual allows padding with zeros.
    """

    called = "a gzip file"
    signature = b"\x1f\x8b"

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes) -> None:
        """Decompress the next bytes, and throw the result away."""
        super().feed(chunk)
        while chunk:
            if self._member.eof:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._member = zlib.decompressobj(wbits=31)
            try:
                self._member.decompress(chunk, INFLATE)
            except zlib.error as error:
                raise FormError(f"a damaged gzip file: {error}") from None
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> None:
        """The last member has come to its end, checksum included."""
        super().finish()
        while not self._member.eof and self._member.decompress(b"", INFLATE):
            pass  # what the last call held back
        if not self._member.eof:
            raise FormError("a cut gzip file: it does not decompress to its end")


class Jpeg(Form):
    """A JPEG file, by its signature."""

    called = "a JPEG file"
    signature = b"\xff\xd8\xff"


def form_of(file: str) -> Form:
    """A fresh check for a file called `file`."""
    for suffix, form in (".h5", Hdf5), (".nii.gz", Gzip), (".jpg", Jpeg):
        if file.endswith(suffix):
            return form()
    return Form()
