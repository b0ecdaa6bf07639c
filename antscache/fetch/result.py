"""What came of a fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antscache.core import Fetched, Identifier, Present
    from antscache.errors import Failure, StoreError


@dataclass(slots=True)
class FetchResult:
    """What came of a fetch. Each file that is `fetched` is in the store and recorded.

    Attributes:
        fetched: what came from an origin.
        elsewhere: what another process fetched meanwhile.
        failures: the files that no origin delivered, with every attempt.
        mismatched: those of them where an origin answered with other bytes than are recorded.
        malformed: those of them where an origin's bytes are not what the file's name says.
        sizes: in bytes, of the files whose size an origin told.
        disk_full: why the fetch ended early, if the disk had no more room.
    """

    fetched: list[Fetched] = field(default_factory=list)
    elsewhere: list[Present] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mismatched: list[Failure] = field(default_factory=list)
    malformed: list[Failure] = field(default_factory=list)
    sizes: dict[Identifier, int] = field(default_factory=dict)
    disk_full: StoreError | None = None
