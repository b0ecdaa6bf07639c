"""The bytes of a file so far, and what they are checked by.

Bytes of two answers make one file only if both belong to the same state of the same file: its ETag says so, and where
the whole is compared with something in the end (a known digest, an ETag that is an MD5) that says so once more.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from antscache.fetch.protocol import RangeRequest, Refusal, md5_of, strong
from antscache.formats import FormError, NoFile, form_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from antscache.core import Check, Descriptor, Partial, Wanted
    from antscache.store import Ingest

    Walk = Callable[[Path], Sequence[str] | None]  # the hazards in a file; None if it cannot be walked here


class Wrong(Refusal):
    """Whole bytes that are not the file."""


class Mismatch(Wrong):
    """Other bytes than the identifier is known to have."""


class Malformed(Wrong):
    """The bytes are not what the file's name says, or reach outside themselves. The user may know better."""


class Draft:
    """The bytes of a file so far, and what they are checked by.

    Args:
        partial: what they are the beginning of; None where no origin has said how many there are.
        etag: of the first answer.
    """

    def __init__(self, ingest: Ingest, wanted: Wanted, partial: Partial | None, etag: str) -> None:
        self.ingest = ingest
        self.partial = partial
        self.answers = 0
        self.noted = False
        self._wanted = wanted
        self._md5_told = None if wanted.known else md5_of(etag)
        self._md5 = hashlib.md5(usedforsecurity=False) if self._md5_told else None
        self._form = None if wanted.known else form_of(wanted.file)
        self._accepted = ""

    def write(self, chunk: bytes | memoryview) -> None:
        """`chunk` comes next.

        Raises:
            Mismatch: these are more bytes than are known to be in the file.
            Malformed: no file of this form begins so.
            StoreError: the disk refused.
        """
        known = self._wanted.known
        if known and self.ingest.size + len(chunk) > known.size:
            raise Mismatch(f"more bytes than the {known.size} that are recorded")
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
        """Whether the whole is compared with a digest in the end."""
        return self._wanted.known is not None or self._md5 is not None

    def check(self, walk: Walk) -> tuple[tuple[Check, ...], str]:
        """What the bytes, which are all there, were checked by; and what was found and is accepted.

        Raises:
            Wrong: they are not the file.
        """
        known, blob = self._wanted.known, self.ingest.descriptor
        if known:
            if blob != known:
                raise Mismatch(f"other bytes: {blob.digest}, but {known.digest} is recorded")
            return ("digest",), ""
        if self.partial and blob.size != self.partial.size:
            raise Wrong(f"{blob.size} of {self.partial.size} bytes")
        checks: list[Check] = ["length"] if self.partial else []
        if self._md5:
            if self._md5.hexdigest() != self._md5_told:
                raise Wrong(f"damaged: the MD5 is {self._md5.hexdigest()}, and the origin says {self._md5_told}")
            checks.append("md5")
        checks += self._check_form(walk)
        return tuple(checks), self._accepted

    def _check_form(self, walk: Walk) -> Iterator[Check]:
        try:
            if self._form and not self._accepted:
                self._form.finish()
                yield "form"
            walkable = self._wanted.file.endswith(".h5") and not self._accepted
            hazards = walk(self.ingest.path) if walkable else None
            if hazards is not None:
                yield "walk"
            if hazards:
                self._judge(FormError(f"an HDF5 file with {'; '.join(hazards)}"))
        except FormError as error:
            self._judge(error)

    def _judge(self, error: FormError) -> None:
        if isinstance(error, NoFile) or not self._wanted.accepted:
            raise Malformed(str(error)) from None
        self._accepted = str(error)


def resume_request(
    partial: Partial, held: int, origin: str, known: Descriptor | None, *, same_boot: bool
) -> RangeRequest | None:
    """What to ask `origin` for, when the first `held` bytes of `partial` are there; None if they are of no use.

    What the identifier turned out to be before is `known`; with `same_boot` the system has not gone down since the
    bytes were written.
    """
    if known is not None and known.size != partial.size:
        return None
    etag = strong(partial.etag)  # what lies on a disk that others write to is believed no more than a header
    is_md5, same_origin = md5_of(etag) is not None, partial.origin == origin
    if known is None and not is_md5 and not (etag and same_origin and same_boot):
        return None
    start = min(held, partial.size - 1)  # the last byte is asked for again, so that there is always an answer
    if start <= 0:
        return None
    return RangeRequest(start, size=partial.size, etag=etag if same_origin or (is_md5 and known is None) else "")
