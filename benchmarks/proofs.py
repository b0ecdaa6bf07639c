"""What is counted rather than timed: with strace, where there is one."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cases import RELEASE
from benchmarks.contenders import ANTSCACHE
from benchmarks.measuring import said

if TYPE_CHECKING:
    from benchmarks.contenders import Place

_DURABLE = ("fsync", "fdatasync")  # what they return from is on disk, which sync_file_range does not say
_SYNCING = (*_DURABLE, "sync_file_range", "syncfs")


@dataclass(frozen=True, slots=True)
class Counted:
    """The system calls of a prefetch that fetched `files` files, and how many of them last."""

    calls: Counter[str]
    files: int

    @property
    def synced(self) -> int:
        """How many calls put one file or directory on disk."""
        return sum(self.calls[call] for call in _DURABLE)

    def __str__(self) -> str:
        calls = ", ".join(f"{self.calls[call]} {call}" for call in _SYNCING)
        return f"{calls}, for {self.files} files"


def count_syncs(place: Place, files: int) -> Counted | None:
    """What a prefetch of all `files` of the release syncs; they are present afterwards. None without strace."""
    calls = _trace(place, ",".join(_SYNCING))
    if calls is None:
        said(ANTSCACHE, "prefetch", RELEASE, environment=place.environment)
        return None
    return Counted(calls, files)


def count_sockets(place: Place) -> int | None:
    """How many sockets a prefetch opens that has nothing to fetch; None without strace."""
    calls = _trace(place, "network")
    return None if calls is None else calls["socket"]


def _trace(place: Place, calls: str) -> Counter[str] | None:
    """How often a prefetch makes each of `calls`."""
    if shutil.which("strace") is None:
        return None
    trace = place.scratch / "trace"
    said(
        *("strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace)),
        *(ANTSCACHE, "prefetch", RELEASE),
        environment=place.environment,
    )
    begun = re.finditer(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    return Counter(call[1] for call in begun)
