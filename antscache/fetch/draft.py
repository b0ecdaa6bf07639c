"""The bytes of a file so far, and their checks.

Bytes of two answers make one file only if both belong to the same state of the same file. Its ETag shows that. Where
the whole file is compared in the end, with a known digest or MD5 or with an ETag that is an MD5, that shows it as well.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from antscache.core import Delivery, Finding, describe_findings, has_checksum, known_md5, short_texts
from antscache.disk import hash_file
from antscache.fetch.protocol import Checksum, RangeRequest, Refusal, md5_of, strong_etag
from antscache.formats import FormError, NoFile, form_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from antscache.core import Check, Descriptor, HazardPolicy, Partial, Wanted
    from antscache.store import Ingest

    Hdf5Scan = Callable[[Path], Sequence[Finding] | None]  # returns the findings; None if no file can be scanned here


class WrongBytes(Refusal):
    """The bytes are not those of the file."""


class Mismatch(WrongBytes):
    """The bytes are not those that are recorded for the identifier.

    Attributes:
        confirmed: True if they have the checksums that their origin, and not a mirror, says.
    """

    confirmed = False


class Malformed(WrongBytes):
    """Something was found in the bytes that refuses them. The user may accept them."""


class Checked(NamedTuple):
    """The checks that a draft has passed, the findings that the user accepted, and those that did not refuse it."""

    checks: tuple[Check, ...]
    accepted: str = ""
    findings: tuple[str, ...] = ()


class Draft:
    """The bytes of a file so far, and their checks.

    Args:
        ingest: where the bytes are written.
        wanted: the file.
        partial: the size and state of the whole file; None if no origin has said its size.
        expected: the checksums of the whole file, as the first answer tells them.
        policy: decides which findings refuse the bytes.

    Attributes:
        ingest: where the bytes are written.
        partial: as above.
        answers: the number of answers whose bytes are in the draft.
        from_origin: True if the last answer is of the identifier's own origin, and not of a mirror.
        noted: True if a note tells other processes of the draft.
    """

    def __init__(
        self,
        ingest: Ingest,
        wanted: Wanted,
        partial: Partial | None,
        expected: tuple[Checksum, ...],
        policy: HazardPolicy,
    ) -> None:
        self.ingest = ingest
        self.partial = partial
        self.answers = 0
        self.from_origin = False
        self.noted = False
        self._wanted = wanted
        self._policy = policy
        self._expected, self._known_md5 = expected, known_md5(wanted.identifier)
        expects_md5 = any(each.algorithm == "md5" for each in self._expected)
        compared = self._known_md5 or (expects_md5 and not wanted.known)
        self._md5 = hashlib.md5(usedforsecurity=False) if compared else None
        self._form = None if wanted.known else form_of(wanted.file)
        self._findings: list[Finding] = []

    def write(self, chunk: bytes | memoryview) -> None:
        """Append `chunk`.

        Raises:
            Mismatch: the draft would be longer than the size that is recorded.
            Malformed: no file of this format begins so, and no MD5 can show at the end that it is the right one.
            WrongBytes: it is no file at all.
            StoreError: the disk refused.
        """
        known = self._wanted.known
        if known and self.ingest.size + len(chunk) > known.size:
            raise Mismatch(f"more than the {known.size} bytes {'locked' if self._wanted.locked else 'recorded'}")
        if self._form:
            try:
                self._form.feed(chunk)
            except FormError as error:
                self._note(error)
        if self._md5:
            self._md5.update(chunk)
        self.ingest.write(chunk)

    @property
    def is_compared(self) -> bool:
        """True if the whole file is compared with a known digest or a checksum in the end."""
        return bool(self._wanted.known or self._known_md5 or self._expected)

    def check(self, scan: Hdf5Scan) -> Checked:
        """Check the bytes, which must all be there.

        Args:
            scan: scans an HDF5 file for hazards.

        Raises:
            WrongBytes: they are not those of the file.
            Malformed: something was found in them that refuses them.
        """
        checks = [*self._compare(), *self._check_form(), *self._scan(scan)]
        delivery = Delivery(
            self._wanted.known is not None or self._known_md5 is not None, self.from_origin, has_checksum(checks)
        )
        refusing, others = self._policy.split(self._findings, self._wanted.identifier, delivery)
        if refusing and not self._wanted.accepted:
            raise Malformed(describe_findings(refusing))
        return Checked(tuple(checks), describe_findings(refusing), short_texts(others))

    def _compare(self) -> list[Check]:
        """Compare the bytes with all that is known of them; return the checks that were made.

        Raises:
            WrongBytes: they are others.
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
            return ["digest"]
        if self.partial and blob.size != self.partial.size:
            raise WrongBytes(f"{blob.size} of {self.partial.size} bytes")
        checks: list[Check] = ["length"] if self.partial else []
        if not self._known_md5 and (wrong := self._find_wrong(actual)):
            raise _damaged(wrong, actual)
        checks += ["md5"] if md5 else []
        checks += ["sha256"] if any(each.algorithm == "sha256" for each in self._expected) else []
        return checks

    def _mismatch(self, blob: Descriptor, known: Descriptor) -> WrongBytes:
        """Return the reason why the bytes are `blob` and not `known`: damage on the way, or other bytes at the origin.

        The MD5 that tells is computed now, and not for each file whose digest is known. It does not matter for bytes
        that a lockfile names: an origin cannot say anything against these.
        """
        if self._wanted.locked:
            return Mismatch(f"other bytes: {blob.digest}, but {known.digest} is locked")
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

    def _check_form(self) -> Iterator[Check]:
        """Check that the format ends as it should, unless its beginning was wrong already."""
        if self._form:
            try:
                self._form.finish()
                yield "form"
            except FormError as error:
                self._note(error)

    def _scan(self, scan: Hdf5Scan) -> Iterator[Check]:
        """Look for hazards in an HDF5 file, unless its record says that a scan has."""
        if self._wanted.scanned or not self._wanted.file.endswith(".h5"):
            return
        try:
            hazards = scan(self.ingest.path)
        except FormError as error:
            if not self._findings:  # a defect of form is why it cannot be scanned
                self._note(error)
            return
        if hazards is not None:
            yield "walk"
            self._findings += hazards

    def _note(self, error: FormError) -> None:
        """Note a defect of form, and check the form no further.

        Raises:
            WrongBytes: the bytes are no file at all.
            Malformed: the defect refuses them, whatever an MD5 shows at the end.
        """
        self._form = None
        if isinstance(error, NoFile):
            raise WrongBytes(str(error)) from None
        finding = Finding("form", str(error))
        best = Delivery(self._known_md5 is not None, self.from_origin, confirmed=bool(self._expected))
        if not self._wanted.accepted and self._policy.refuses(finding, self._wanted.identifier, best):
            raise Malformed(finding.text) from None
        self._findings.append(finding)


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
