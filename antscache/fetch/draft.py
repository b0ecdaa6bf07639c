"""The bytes of a file so far, and their checks.

Bytes of two answers make one file only if both belong to the same state of the same file. Its ETag shows that. Where
the whole file is compared in the end, with a known digest or MD5 or with an ETag that is an MD5, that shows it as well.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from antscache.core import known_md5
from antscache.disk import hash_file
from antscache.fetch.protocol import Checksum, RangeRequest, Refusal, md5_of, strong_etag
from antscache.formats import FormError, NoFile, form_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from antscache.core import Check, Descriptor, Partial, Wanted
    from antscache.store import Ingest

    Hdf5Scan = Callable[[Path], Sequence[str] | None]  # returns the hazards in a file; None if it cannot scan here


class WrongBytes(Refusal):
    """The bytes are not those of the file."""


class Mismatch(WrongBytes):
    """The bytes are not those that are recorded for the identifier.

    Attributes:
        confirmed: True if they have the checksums that their origin, and not a mirror, says.
    """

    confirmed = False


class Malformed(WrongBytes):
    """The bytes have another format than the file's name says, or lead outside the file. The user may accept them."""


class Draft:
    """The bytes of a file so far, and their checks.

    Args:
        ingest: where the bytes are written.
        wanted: the file.
        partial: the size and state of the whole file; None if no origin has said its size.
        etag: the ETag of the first answer.
        checksums: of the whole file, in the other headers of the first answer.

    Attributes:
        ingest: where the bytes are written.
        partial: as above.
        answers: the number of answers whose bytes are in the draft.
        noted: True if a note tells other processes of the draft.
    """

    def __init__(
        self,
        ingest: Ingest,
        wanted: Wanted,
        partial: Partial | None,
        etag: str,
        checksums: tuple[Checksum, ...] = (),
    ) -> None:
        self.ingest = ingest
        self.partial = partial
        self.answers = 0
        self.noted = False
        self._wanted = wanted
        md5, self._known_md5 = md5_of(etag), known_md5(wanted.identifier)
        self._expected = (*([Checksum("md5", md5)] if md5 else ()), *checksums)  # as the origin says
        expects_md5 = any(each.algorithm == "md5" for each in self._expected)
        compared = self._known_md5 or (expects_md5 and not wanted.known)
        self._md5 = hashlib.md5(usedforsecurity=False) if compared else None
        self._form = None if wanted.known else form_of(wanted.file)
        self._accepted = ""

    def write(self, chunk: bytes | memoryview) -> None:
        """Append `chunk`.

        Raises:
            Mismatch: the draft would be longer than the size that is recorded.
            Malformed: no file of this format begins so.
            StoreError: the disk refused.
        """
        known = self._wanted.known
        if known and self.ingest.size + len(chunk) > known.size:
            raise Mismatch(f"more than the {known.size} bytes recorded")
        if self._form and not self._accepted:
            try:
                self._form.feed(chunk)
            except FormError as error:
                self._judge(error)
        if self._md5:
            self._md5.update(chunk)
        self.ingest.write(chunk)

    @property
    def is_compared(self) -> bool:
        """True if the whole file is compared with a known digest or a checksum in the end."""
        return bool(self._wanted.known or self._known_md5 or self._expected)

    def check(self, scan: Hdf5Scan) -> tuple[tuple[Check, ...], str]:
        """Check the bytes, which must all be there.

        Args:
            scan: scans an HDF5 file for hazards.

        Returns:
            The checks that were made, and the finding that the user has accepted (empty if there is none).

        Raises:
            WrongBytes: they are not those of the file.
        """
        known, blob = self._wanted.known, self.ingest.descriptor
        md5 = self._md5.hexdigest() if self._md5 else None
        actual = {"md5": md5, "sha256": blob.digest.removeprefix("sha256:")}
        if md5 and self._known_md5 and md5 != self._known_md5:
            if (right := Checksum("md5", self._known_md5)) in self._expected:  # the origin has the right bytes
                raise _damaged(right, actual)
            raise Mismatch(f"other bytes: the MD5 is {md5}, but {self._known_md5} is known")
        if known:
            if blob != known:
                raise self._mismatch(blob, known)
            return ("digest",), ""
        if self.partial and blob.size != self.partial.size:
            raise WrongBytes(f"{blob.size} of {self.partial.size} bytes")
        checks: list[Check] = ["length"] if self.partial else []
        if not self._known_md5 and (wrong := self._find_wrong(actual)):
            raise _damaged(wrong, actual)
        checks += ["md5"] if md5 else []
        checks += ["sha256"] if any(each.algorithm == "sha256" for each in self._expected) else []
        checks += self._check_form(scan)
        return tuple(checks), self._accepted

    def _mismatch(self, blob: Descriptor, known: Descriptor) -> WrongBytes:
        """Return the reason why the bytes are `blob` and not `known`: damage on the way, or other bytes at the origin.

        The MD5 that tells is computed now, and not for each file whose digest is known.
        """
        mismatch = Mismatch(f"other bytes: {blob.digest}, but {known.digest} is recorded")
        md5 = hashlib.md5(usedforsecurity=False)
        with suppress(OSError):  # another process may have removed the file
            if self._expected and hash_file(self.ingest.path, md5.update) == blob:
                actual = {"md5": md5.hexdigest(), "sha256": blob.digest.removeprefix("sha256:")}
                wrong = self._find_wrong(actual)
                mismatch.confirmed = wrong is None
                return _damaged(wrong, actual) if wrong else mismatch
        return mismatch

    def _find_wrong(self, actual: Mapping[str, str | None]) -> Checksum | None:
        """Return a checksum of the origin that the bytes do not have; None if they have all."""
        return next((each for each in self._expected if each.value != actual[each.algorithm]), None)

    def _check_form(self, scan: Hdf5Scan) -> Iterator[Check]:
        """Check the format and, of an HDF5 file, the structure; yield each check that was made."""
        try:
            if self._form and not self._accepted:
                self._form.finish()
                yield "form"
            scannable = self._wanted.file.endswith(".h5") and not self._accepted
            hazards = scan(self.ingest.path) if scannable else None
            if hazards is not None:
                yield "walk"
            if hazards:
                self._judge(FormError(f"an HDF5 file with {'; '.join(hazards)}"))
        except FormError as error:
            self._judge(error)

    def _judge(self, error: FormError) -> None:
        """Note the finding `error` as accepted if the user accepts this file; raise Malformed if not."""
        if isinstance(error, NoFile) or not self._wanted.accepted:
            raise Malformed(str(error)) from None
        self._accepted = str(error)


def _damaged(expected: Checksum, actual: Mapping[str, str | None]) -> WrongBytes:
    name = {"md5": "MD5", "sha256": "SHA-256"}[expected.algorithm]
    return WrongBytes(f"damaged: the {name} is {actual[expected.algorithm]}, but the origin says {expected.value}")


def resume_request(
    partial: Partial, held: int, origin: str, known: Descriptor | None, *, same_boot: bool
) -> RangeRequest | None:
    """Return the request for the rest of a file, or None if its bytes so far cannot be continued.

    Args:
        partial: the size and state of the file.
        held: the number of bytes that are there.
        origin: the name of the origin to ask.
        known: the size and digest recorded for the identifier, if any.
        same_boot: True if the system has not gone down since the bytes were written.
    """
    if known is not None and known.size != partial.size:
        return None
    etag = strong_etag(partial.etag)  # others may write to the note: it is checked like a header
    is_md5, same_origin = md5_of(etag) is not None, partial.origin == origin
    if known is None and not is_md5 and not (etag and same_origin and same_boot):
        return None
    start = min(held, partial.size - 1)  # the last byte is asked for again, so that there is always an answer
    if start <= 0:
        return None
    return RangeRequest(start, size=partial.size, etag=etag if same_origin or (is_md5 and known is None) else "")
