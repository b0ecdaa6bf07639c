"""Decide which record counts, and which may replace another: pure.

What somebody verified is never displaced by what somebody else says. A user's own word (`adopted`) gives way to any
other record, and does not count where its bytes are known to be another identifier's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from antscache.core.record import TRUST_RANKS, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from antscache.core.digest import Digest
    from antscache.core.identifiers import Identifier


class RecordBelow(NamedTuple):
    """A record of a lower cache, and the root that it is in."""

    record: Record
    root: str


class RecordConflict(NamedTuple):
    """A record, and one of a lower cache that names other bytes of the same identifier.

    Attributes:
        record: of the root; if that has none, the one of its lower caches that counts.
        other: that of another lower cache.
        root: the lower cache that has `record`; empty if the root itself has it.
    """

    record: Record
    other: RecordBelow
    root: str = ""

    @property
    def is_serious(self) -> bool:
        """True if the root itself has verified what the lower cache denies."""
        return not self.root and not self.record.is_adopted

    def __str__(self) -> str:
        place = f"in the lower cache {self.root}" if self.root else "here"
        return (
            f"{self.record.identifier} is recorded {place} as {self.record.describe()}, "
            f"and in the lower cache {self.other.root} as {self.other.record.describe()}"
        )


def as_told(record: Record) -> Record:
    """Return `record` as it counts if somebody else wrote its file: with the trust of a mirror at most."""
    return msgspec.structs.replace(record, trust="mirror") if record.rank > TRUST_RANKS["mirror"] else record


def choose_record(own: Record | None, below: Sequence[RecordBelow]) -> Record | None:
    """Return the record that counts: the root's own one, unless it is adopted and one of a lower cache is not.

    Of those of lower caches the most trusted one counts, and of equal ones the first.
    """
    first = _most_trusted(below)
    other = first.record if first else None
    return own if own and not (own.is_adopted and other and not other.is_adopted) else other


def _most_trusted(below: Sequence[RecordBelow]) -> RecordBelow | None:
    return max(below, key=lambda one: one.record.rank, default=None)


def find_conflicts(own: Record | None, below: Sequence[RecordBelow]) -> list[RecordConflict]:
    """Return the records of lower caches that name other bytes than `own`, and not on a user's word alone.

    Without `own`, the record of a lower cache that counts takes its place.
    """
    if not below:
        return []
    first = RecordBelow(own, "") if own else _most_trusted(below)
    return [
        RecordConflict(first.record, one, first.root)
        for one in below
        if first and one.record.descriptor != first.record.descriptor and not one.record.is_adopted
    ]


def find_wrong_one(record: Record, *, confirmed: bool) -> Literal["record", "answer", "one of them"]:
    """Say what is wrong if an origin answered with other bytes than `record` names: an identifier's bytes never change.

    Args:
        record: of the identifier.
        confirmed: True if the origin, and not a mirror, confirmed its answer by an MD5.
    """
    if confirmed == record.is_confirmed or record.trust == "lockfile":
        return "one of them"
    return "record" if confirmed else "answer"


def may_replace(new: Record, present: Record, *, own: bool) -> bool:
    """Return True if `new` may take the place of `present` in a root.

    A record whose trust this antscache does not know stays. Other bytes replace adopted ones, and those of lower trust
    that are one's own; never those that another member of a shared root has recorded.

    Args:
        new: to be written.
        present: the record that is there.
        own: True if you wrote `present`.
    """
    if not present.is_known or new.rank <= present.rank:
        return False
    return own or present.is_adopted or present.descriptor == new.descriptor


def keep_scan(new: Record, present: Record) -> Record:
    """Return `new` with the scan of `present`, its findings and what the user accepted, if both name the same bytes."""
    if new.descriptor != present.descriptor or "walk" in new.checks or not present.is_scanned:
        return new
    checks = (*new.checks, *(check for check in present.checks if check == "walk"))
    return msgspec.structs.replace(new, checks=checks, accepted=present.accepted, findings=present.findings)


def find_twins(records: Iterable[Record]) -> dict[Identifier, Record]:
    """Find the adopted records whose bytes another identifier has too; return the most trusted of these others.

    Figshare may have the same bytes twice. More often a file had a wrong name when it was adopted.
    """
    by_digest: dict[Digest, list[Record]] = {}
    for record in records:
        by_digest.setdefault(record.digest, []).append(record)
    twins: dict[Identifier, Record] = {}
    for record in (one for same in by_digest.values() if len(same) > 1 for one in same if one.is_adopted):
        others = [one for one in by_digest[record.digest] if one.identifier != record.identifier]
        if others:
            twins[record.identifier] = max(others, key=lambda one: (one.rank, one.identifier))
    return twins


def describe_twin(record: Record) -> str:
    """Name the identifier of `record`, and its trust: "figshare:1 (origin)"."""
    return f"{record.identifier} ({record.trust})"


def find_doubted(records: Iterable[Record]) -> frozenset[Identifier]:
    """Return the identifiers whose adopted bytes are known to be another identifier's: these records do not count."""
    return frozenset(identifier for identifier, other in find_twins(records).items() if not other.is_adopted)
