"""The fault harness as a program: `make faults`.

    PYTHONPATH=tests python -m faults [--quick] [--every N] [--plant DEFECT] [--write] [SCENE]...

Exit code 1 if a check fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from faults.harness import Bench, Filesystem, Impossible, Outcome, import_all, make_place, serve_origin
from faults.plants import PLANTS
from faults.scenes import SCENES
from faults.tracing import POSSIBLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faults.scenes import Scene

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"
MIXTURES, QUICK_MIXTURES = 16, 4  # random states after each operation
IMPOSSIBLE_EXIT_CODE = 77  # automake's code for skipped tests


def main() -> None:
    """Try the chosen scenes, and print a report."""
    options = _options()
    if not POSSIBLE:
        _say("this needs Linux on x86-64")
        sys.exit(IMPOSSIBLE_EXIT_CODE)
    chosen = [scene for scene in SCENES if scene.name in options.scenes or not (options.scenes or options.quick)]
    if options.quick and not options.scenes:
        chosen = [scene for scene in SCENES if scene.quick]
    import_all()
    outcomes = []
    with serve_origin() as origins:
        for filesystem, mixtures in _filesystems(options):
            with suppress_impossible(filesystem), make_place(filesystem) as place:
                bench = Bench(place, origins, plant=PLANTS[options.plant])
                outcomes += [_try_scene(bench, scene, filesystem, mixtures, options.every) for scene in chosen]
    if not outcomes:
        sys.exit(IMPOSSIBLE_EXIT_CODE)
    report = _report(outcomes)
    print(report)  # noqa: T201
    if options.write:
        head, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{head}{BEGIN}\n{report}\n{END}{rest.partition(END)[2]}")
    sys.exit(any(outcome.problems for outcome in outcomes))


@contextmanager
def suppress_impossible(filesystem: Filesystem) -> Iterator[None]:
    """Leave out a filesystem that this machine cannot make, and say so."""
    try:
        yield
    except (Impossible, PermissionError) as reason:
        _say(f"not on {filesystem}: {reason}")


def _filesystems(options: argparse.Namespace) -> list[tuple[Filesystem, int]]:
    """Return the filesystems to try, and the random states on each; -1 means no power cuts.

    The contents after a power cut are written to a tmpfs alone: they are the same for each filesystem.
    """
    if options.quick:
        return [("tmpfs", QUICK_MIXTURES)]
    return [("ext4", -1), ("tmpfs", MIXTURES)]


def _try_scene(bench: Bench, scene: Scene, filesystem: Filesystem, mixtures: int, every: int) -> Outcome:
    outcome = bench.try_scene(scene, filesystem, mixtures=mixtures, every=every)
    _say(f"{filesystem}: {scene.name}: {outcome.kills} kills, {outcome.cuts} power cuts in {outcome.seconds:.1f} s")
    for problem in outcome.problems:
        _say(f"  BROKEN {problem}")
    return outcome


def _report(outcomes: Sequence[Outcome]) -> str:
    """Return a table of the counts, in Markdown."""
    lines = ["| command | filesystem | calls | kills | power cuts |", "|---|---|---|---|---|"]
    lines += [
        f"| `{outcome.scene}` | {outcome.filesystem} | {outcome.calls} | {outcome.kills} | {outcome.cuts} |"
        for outcome in outcomes
    ]
    kills, cuts = sum(outcome.kills for outcome in outcomes), sum(outcome.cuts for outcome in outcomes)
    seconds, broken = sum(outcome.seconds for outcome in outcomes), sum(len(outcome.problems) for outcome in outcomes)
    total = f"{kills} kills and {cuts} power cuts in {seconds:.0f} s on {time.strftime('%Y-%m-%d')}; broken: {broken}"
    return "\n".join([*lines, "", total])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__.splitlines()[0])
    parser.add_argument("scenes", metavar="SCENE", nargs="*", help="by name; default: all")
    parser.add_argument("--quick", action="store_true", help="on a tmpfs alone, with fewer random mixtures: as in CI")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth kill and power cut")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="nothing", help="break antscache first")
    parser.add_argument("--write", action="store_true", help="write the counts into docs/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
