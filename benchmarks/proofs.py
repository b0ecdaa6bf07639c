"""Counts of system calls, by strace if it is installed."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cases import RELEASE
from benchmarks.contenders import ANTSCACHE
from benchmarks.measuring import output_of

if TYPE_CHECKING:
    from benchmarks.contenders import Place

_DURABLE_CALLS = ("fsync", "fdatasync")  # they return when the file is on disk; sync_file_range does not promise it
_SYNC_CALLS = (*_DURABLE_CALLS, "sync_file_range", "syncfs")


@dataclass(frozen=True, slots=True)
class SyncCounts:
    """The syncing system calls of a prefetch of `files` files."""

    calls: Counter[str]
    files: int

    @property
    def synced(self) -> int:
        """The number of calls that put one file or directory on disk."""
        return sum(self.calls[call] for call in _DURABLE_CALLS)

    def __str__(self) -> str:
        calls = ", ".join(f"{self.calls[call]} {call}" for call in _SYNC_CALLS)
        return f"{calls}, for {self.files} files"


def count_syncs(place: Place, files: int) -> SyncCounts | None:
    """Prefetch all `files` of the release, and count its syncs; return None without strace."""
    calls = _trace(place, ",".join(_SYNC_CALLS))
    if calls is None:
        output_of(ANTSCACHE, "prefetch", RELEASE, environment=place.environment)
        return None
    return SyncCounts(calls, files)


def count_sockets(place: Place) -> int | None:
    """Count the sockets that a prefetch opens if it has nothing to fetch; return None without strace."""
    calls = _trace(place, "network")
    return None if calls is None else calls["socket"]


def _trace(place: Place, calls: str) -> Counter[str] | None:
    """Run a prefetch, and count its `calls` by name; return None without strace."""
    if shutil.which("strace") is None:
        return None
    trace = place.scratch / "trace"
    output_of(
        *("strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace)),
        *(ANTSCACHE, "prefetch", RELEASE),
        environment=place.environment,
    )
    begun = re.finditer(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    return Counter(call[1] for call in begun)
