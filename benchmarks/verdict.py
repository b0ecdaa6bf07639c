"""What is required of antscache, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.cases import RATE, UNLIMITED
from benchmarks.contenders import ARIA2, BARE, HASHED, HUB, OURS, POOCH, SUMMED, VERIFIED
from benchmarks.telling import peak, ratio, table, wall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cases import LinkSpeed
    from benchmarks.measuring import Costs
    from benchmarks.proofs import Counted

HALF = 0.5  # of the time of aria2c -j8 with checksums, and of curl followed by sha256sum
BARELY = 1.5  # of the time of curl alone: an aim
AT_FLOOR = 1.07  # of the least time that a rate allows
MEMORY = 120  # MB
IDLE = 0.25  # seconds, with nothing to do
NEARLY = 1 / 0.9  # of the time of bare hashing
SYNCS = 2  # a file: the blob and its record


@dataclass(frozen=True, slots=True)
class Fetched:
    """What fetching a case at a pace took; `floor` is the time that nobody can be under."""

    letter: str
    pace: LinkSpeed
    costs: Costs
    floor: float | None


@dataclass(frozen=True, slots=True)
class Present:
    """What commands take that have nothing to fetch; None is not counted."""

    started: Costs
    syncs: Counted | None
    sockets: int | None


Row = tuple[str, str, str]


def verdict(fetched: Sequence[Fetched], present: Present | None, kept: Costs | None) -> str:
    """A table of the requirements that were put to the test."""
    rows = [*(row for case in fetched for row in _fetching(case)), *_memory(fetched)]
    if present:
        rows += _presence(present)
    if kept:
        seen = ratio(kept[VERIFIED], kept[HASHED])
        rows += [(f"verify: at most 10/9 of the time of {HASHED}", f"{seen:.2f}", _met(seen <= NEARLY))]
    return "\n".join(["### Required, and seen\n", *table(("required", "seen", ""), rows), ""])


def _fetching(case: Fetched) -> Iterator[Row]:
    ours, where = case.costs[OURS], f"{case.letter}, {case.pace.title}"
    if case.pace is UNLIMITED and case.letter in {"A", "B"}:
        limits = {
            ARIA2: (HALF, "at most half the time of"),
            SUMMED: (HALF, "at most half the time of"),
            HUB: (1.0, "faster than"),
            POOCH: (1.0, "faster than"),
            BARE: (BARELY, f"an aim: at most {BARELY} of"),
        }
        for name, (limit, words) in limits.items():
            if name in case.costs:
                seen = ratio(ours, case.costs[name])
                yield f"{where}: {words} {name}", f"{seen:.2f}", _met(seen <= limit)
    if case.pace is RATE and case.floor:
        seen = median(map(wall, ours)) / case.floor
        yield f"{where}: at most {AT_FLOOR} of the floor of {case.floor:.1f} s", f"{seen:.2f}", _met(seen <= AT_FLOOR)


def _memory(fetched: Sequence[Fetched]) -> Iterator[Row]:
    if fetched:
        most = max(peak(case.costs[OURS]) for case in fetched)
        yield f"less than {MEMORY} MB of memory in every table", f"{most:.0f} MB", _met(most < MEMORY)


def _presence(present: Present) -> Iterator[Row]:
    idle = median(map(wall, present.started[OURS]))
    yield f"a prefetch with nothing to do: at most {IDLE} s", f"{idle:.2f} s", _met(idle <= IDLE)
    if present.sockets is not None:
        yield "the same: no socket (strace)", str(present.sockets), _met(present.sockets == 0)
    if present.syncs is not None:
        enough = present.syncs.synced >= SYNCS * present.syncs.files
        yield "at least two syncs a file, the blob's and the record's (strace)", str(present.syncs), _met(enough)


def _met(met: bool) -> str:  # noqa: FBT001  it is the value told
    return "met" if met else "**not met**"
