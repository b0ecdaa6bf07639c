"""Measurements as Markdown."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring import Cost, Costs


def section(title: str, costs: Costs, floor: float | None = None) -> str:
    """Return a table of `costs` under `title`; `floor` is the least possible time, in seconds."""
    baseline = next(iter(costs.values()))
    head = ["", "time, ratio", "time", *(["of the floor"] if floor else []), "CPU, ratio", "CPU", "memory"]
    rows = [
        [
            name,
            _ratio(run, baseline, wall),
            _seconds(run, wall),
            *([of_floor(run, floor)] if floor else []),
            _ratio(run, baseline, _cpu),
            _seconds(run, _cpu),
            f"{peak(run):.0f} MB",
        ]
        for name, run in costs.items()
    ]
    return "\n".join([f"### {title}\n", *table(head, rows), ""])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_line(head), "|".join(["", *("---" for _ in head), ""]), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def wall(cost: Cost) -> float:
    """Return the time of a run, in seconds."""
    return cost.wall


def _cpu(cost: Cost) -> float:
    return cost.cpu


def ratio(costs: Sequence[Cost], baseline: Sequence[Cost], of: Callable[[Cost], float] = wall) -> float:
    """Return the median of the rounds' ratios."""
    return median(_ratios(costs, baseline, of))


def of_floor(costs: Sequence[Cost], floor: float) -> str:
    """Return the median time, as a multiple of `floor`."""
    return f"{median(map(wall, costs)) / floor:.2f}"


def peak(costs: Sequence[Cost]) -> float:
    """Return the largest memory of all rounds, in MB."""
    return max(cost.peak for cost in costs) / 1e6


def _ratio(costs: Sequence[Cost], baseline: Sequence[Cost], of: Callable[[Cost], float]) -> str:
    """Return the median of the rounds' ratios, with the least and the greatest if there are several."""
    if costs is baseline:
        return "1"
    ratios = _ratios(costs, baseline, of)
    span = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else " (one run)"
    return f"**{median(ratios):.2f}**{span}"


def _ratios(costs: Sequence[Cost], baseline: Sequence[Cost], of: Callable[[Cost], float]) -> list[float]:
    return [
        of(cost) / of(base) for cost, base in zip(costs, baseline, strict=False)
    ]  # a single run was in the first round


def _seconds(costs: Sequence[Cost], of: Callable[[Cost], float]) -> str:
    seconds = median(map(of, costs))
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
