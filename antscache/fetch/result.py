"""The outcome of a fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antscache.core import Fetched, Identifier, Present
    from antscache.errors import Failure, StoreError


@dataclass(slots=True)
class FetchResult:
    """The outcome of a fetch. Each file in `fetched` is in the store and recorded.

    Attributes:
        fetched: the files that an origin delivered.
        elsewhere: the files that another process fetched meanwhile.
        failures: the files that no origin delivered, with every attempt.
        mismatched: the failures in which an origin answered with other bytes than are recorded.
        confirmed: the identifiers of those whose origin, and not a mirror, confirmed its bytes by their MD5.
        malformed: the failures in which something was found in an origin's bytes that refuses them.
        sizes: the sizes in bytes that origins reported.
        disk_full: the error that ended the fetch early because the disk was full; else None.
    """

    fetched: list[Fetched] = field(default_factory=list)
    elsewhere: list[Present] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mismatched: list[Failure] = field(default_factory=list)
    confirmed: set[str] = field(default_factory=set)
    malformed: list[Failure] = field(default_factory=list)
    sizes: dict[Identifier, int] = field(default_factory=dict)
    disk_full: StoreError | None = None
