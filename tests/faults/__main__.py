"""The fault harness as a program: `make faults`.

    PYTHONPATH=tests python -m faults [--quick] [--every N] [--plant DEFECT] [--write] [SCENE]...

Exits with 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from faults.harness import Bench, Filesystem, Impossible, Outcome, imported, origin, place
from faults.plants import PLANTS
from faults.scenes import SCENES
from faults.tracing import POSSIBLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faults.scenes import Scene

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"
MIXTURES, QUICK_MIXTURES = 16, 4  # of each state of the disk, taken by chance
IMPOSSIBLE = 77  # as automake's tests say that they were skipped


def main() -> None:
    """Try what is asked for, and tell what came of it."""
    options = _options()
    if not POSSIBLE:
        _say("only Linux on x86-64 is known here")
        sys.exit(IMPOSSIBLE)
    chosen = [scene for scene in SCENES if scene.name in options.scenes or not (options.scenes or options.quick)]
    if options.quick and not options.scenes:
        chosen = [scene for scene in SCENES if scene.quick]
    imported()
    outcomes = []
    with origin() as origins:
        for filesystem, mixtures in _filesystems(options):
            with suppress_impossible(filesystem), place(filesystem) as where:
                bench = Bench(where, origins, plant=PLANTS[options.plant])
                outcomes += [_tried(bench, scene, filesystem, mixtures, options.every) for scene in chosen]
    if not outcomes:
        sys.exit(IMPOSSIBLE)
    report = _report(outcomes)
    print(report)  # noqa: T201
    if options.write:
        head, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{head}{BEGIN}\n{report}\n{END}{rest.partition(END)[2]}")
    sys.exit(any(outcome.broken for outcome in outcomes))


@contextmanager
def suppress_impossible(filesystem: Filesystem) -> Iterator[None]:
    """What this machine cannot do is said, and left out."""
    try:
        yield
    except (Impossible, PermissionError) as reason:
        _say(f"not on {filesystem}: {reason}")


def _filesystems(options: argparse.Namespace) -> list[tuple[Filesystem, int]]:
    """Where to try, and how many mixtures; what a power cut leaves is put down on a tmpfs, whatever left it."""
    if options.quick:
        return [("tmpfs", QUICK_MIXTURES)]
    return [("ext4", -1), ("tmpfs", MIXTURES)]


def _tried(bench: Bench, scene: Scene, filesystem: Filesystem, mixtures: int, every: int) -> Outcome:
    outcome = bench.try_scene(scene, filesystem, mixtures=mixtures, every=every)
    _say(f"{filesystem}: {scene.name}: {outcome.kills} kills, {outcome.cuts} power cuts in {outcome.seconds:.1f} s")
    for each in outcome.broken:
        _say(f"  BROKEN {each}")
    return outcome


def _report(outcomes: Sequence[Outcome]) -> str:
    """A table of counts."""
    lines = ["| command | filesystem | calls | kills | power cuts |", "|---|---|---|---|---|"]
    lines += [
        f"| `{each.scene}` | {each.filesystem} | {each.calls} | {each.kills} | {each.cuts} |" for each in outcomes
    ]
    kills, cuts = sum(each.kills for each in outcomes), sum(each.cuts for each in outcomes)
    seconds, broken = sum(each.seconds for each in outcomes), sum(len(each.broken) for each in outcomes)
    told = f"{kills} kills and {cuts} power cuts in {seconds:.0f} s on {time.strftime('%Y-%m-%d')}; broken: {broken}"
    return "\n".join([*lines, "", told])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__.splitlines()[0])
    parser.add_argument("scenes", metavar="SCENE", nargs="*", help="by name; default: all")
    parser.add_argument("--quick", action="store_true", help="on a tmpfs alone, and fewer mixtures: what CI does")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth kill and power cut")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="nothing", help="break antscache first")
    parser.add_argument("--write", action="store_true", help="write the counts into docs/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
