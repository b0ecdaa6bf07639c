"""The requirements on antscache's speed, and the measured values."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.cases import LIMITED_RATE, UNLIMITED
from benchmarks.contenders import ARIA2, CURL, CURL_SHA256SUM, HASHLIB, HUB, POOCH, PREFETCH, VERIFY
from benchmarks.telling import peak, ratio, table, wall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cases import LinkSpeed
    from benchmarks.measuring import Costs
    from benchmarks.proofs import SyncCounts

MAX_RATIO_TO_CHECKED = 0.5  # of the time of aria2c -j8 with checksums, and of curl followed by sha256sum
MAX_RATIO_TO_CURL = 1.5  # of the time of curl alone: an aim
MAX_RATIO_TO_FLOOR = 1.07  # of the least time that a rate allows
MAX_MEMORY_MB = 120
MAX_IDLE_SECONDS = 0.25  # with nothing to do
MAX_RATIO_TO_HASHING = 1 / 0.9  # of the time of bare hashing
MIN_SYNCS_PER_FILE = 2  # of the blob and its record


@dataclass(frozen=True, slots=True)
class FetchCosts:
    """The costs of fetching a case at a pace; `floor` is the least possible time, in seconds."""

    letter: str
    pace: LinkSpeed
    costs: Costs
    floor: float | None


@dataclass(frozen=True, slots=True)
class IdleCosts:
    """The costs of commands with nothing to fetch; None means not counted."""

    started: Costs
    syncs: SyncCounts | None
    sockets: int | None


Row = tuple[str, str, str]


def verdict(fetched: Sequence[FetchCosts], present: IdleCosts | None, kept: Costs | None) -> str:
    """Return a table of the requirements that were measured."""
    rows = [*(row for case in fetched for row in _fetching(case)), *_memory(fetched)]
    if present:
        rows += _presence(present)
    if kept:
        seen = ratio(kept[VERIFY], kept[HASHLIB])
        rows += [(f"verify: at most 10/9 of the time of {HASHLIB}", f"{seen:.2f}", _met(seen <= MAX_RATIO_TO_HASHING))]
    return "\n".join(["### Required, and seen\n", *table(("required", "seen", ""), rows), ""])


def _fetching(case: FetchCosts) -> Iterator[Row]:
    ours, where = case.costs[PREFETCH], f"{case.letter}, {case.pace.title}"
    if case.pace is UNLIMITED and case.letter in {"A", "B"}:
        limits = {
            ARIA2: (MAX_RATIO_TO_CHECKED, "at most half the time of"),
            CURL_SHA256SUM: (MAX_RATIO_TO_CHECKED, "at most half the time of"),
            HUB: (1.0, "faster than"),
            POOCH: (1.0, "faster than"),
            CURL: (MAX_RATIO_TO_CURL, f"an aim: at most {MAX_RATIO_TO_CURL} of"),
        }
        for name, (limit, words) in limits.items():
            if name in case.costs:
                seen = ratio(ours, case.costs[name])
                yield f"{where}: {words} {name}", f"{seen:.2f}", _met(seen <= limit)
    if case.pace is LIMITED_RATE and case.floor:
        seen = median(map(wall, ours)) / case.floor
        yield (
            f"{where}: at most {MAX_RATIO_TO_FLOOR} of the floor of {case.floor:.1f} s",
            f"{seen:.2f}",
            _met(seen <= MAX_RATIO_TO_FLOOR),
        )


def _memory(fetched: Sequence[FetchCosts]) -> Iterator[Row]:
    if fetched:
        most = max(peak(case.costs[PREFETCH]) for case in fetched)
        yield f"less than {MAX_MEMORY_MB} MB of memory in every table", f"{most:.0f} MB", _met(most < MAX_MEMORY_MB)


def _presence(present: IdleCosts) -> Iterator[Row]:
    idle = median(map(wall, present.started[PREFETCH]))
    yield (
        f"a prefetch with nothing to do: at most {MAX_IDLE_SECONDS} s",
        f"{idle:.2f} s",
        _met(idle <= MAX_IDLE_SECONDS),
    )
    if present.sockets is not None:
        yield "the same: no socket (strace)", str(present.sockets), _met(present.sockets == 0)
    if present.syncs is not None:
        enough = present.syncs.synced >= MIN_SYNCS_PER_FILE * present.syncs.files
        yield "at least two syncs a file, the blob's and the record's (strace)", str(present.syncs), _met(enough)


def _met(met: bool) -> str:  # noqa: FBT001  it is the printed value
    return "met" if met else "**not met**"
