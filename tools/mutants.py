"""Change the code at places drawn by lot, one at a time, and see if the tests of its package fail.

    make mutants                                     300 mutants; prints the score, and each one that survives
    make mutants MUTANTS="--count 40 --seed 7 fetch"     of one package, and others

Cosmic Ray makes the mutants, in two clones of the last commit, each with an environment of its own. Equal arguments and
an equal commit give the same mutants. A mutant is killed if a test fails or does not end in time.
"""

from __future__ import annotations

import argparse
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cosmic_ray.work_item import MutationSpec

REPOSITORY = Path(__file__).resolve().parent.parent
CLONES = REPOSITORY / ".venvs" / "mutants" / "clones"
PACKAGES = ("disk", "fetch", "operations", "store", "views")
WORKERS = 2
TIMEOUT_SECONDS = 900.0  # of the tests of a package, which take a fifth of that
# `X | None` in annotations, which nobody evaluates, is nearly all that this operator finds.
LEFT_OUT = ("core/ReplaceBinaryOperator_BitOr_", "core/NoOp")


class Outcome(NamedTuple):
    """A mutant, and what the tests said of it."""

    package: str
    mutant: MutationSpec
    survived: bool
    diff: str


def draw(clone: Path, packages: Sequence[str], count: int, seed: int) -> list[tuple[str, MutationSpec]]:
    """Return `count` of all mutants of `packages` (all, if there are no more), with their packages."""
    found: list[tuple[str, MutationSpec]] = []
    with tempfile.TemporaryDirectory() as directory:
        for package in packages:
            modules = sorted(path.relative_to(clone) for path in (clone / "antscache" / package).rglob("*.py"))
            with use_db(f"{directory}/{package}.sqlite") as session:
                init([clone / module for module in modules], session, {})
                found += [(package, item.mutations[0]) for item in session.work_items]
    found = [one for one in found if not one[1].operator_name.startswith(LEFT_OUT)]
    found.sort(key=lambda one: (str(one[1].module_path), one[1].start_pos, one[1].operator_name, one[1].occurrence))
    print(f"{len(found)} mutants of {', '.join(packages)}, of which {min(count, len(found))} are tried", flush=True)
    return random.Random(seed).sample(found, min(count, len(found)))  # noqa: S311


def clones() -> list[Path]:
    """Make the clones of the last commit, and install each with its tools."""
    shutil.rmtree(CLONES, ignore_errors=True)
    made = [CLONES / str(number) for number in range(WORKERS)]
    for clone in made:
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
        subprocess.run(["make", "--quiet", "-C", clone, ".venv/.installed"], check=True)
    return made


def try_all(drawn: Sequence[tuple[str, MutationSpec]], made: Sequence[Path]) -> Iterator[Outcome]:
    """Try each mutant in a clone that is free, and yield the outcomes in the order of `drawn`."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for clone in made:
        free.put(clone)
    printing, count = threading.Lock(), 0

    def attempt(package: str, mutant: MutationSpec) -> Outcome:
        nonlocal count
        clone = free.get()
        try:
            outcome = _attempt(package, mutant, made[0], clone)
        finally:
            free.put(clone)
        with printing:
            count += 1
            word = "survived" if outcome.survived else "killed"
            place = f"{mutant.module_path.relative_to(made[0])}:{mutant.start_pos[0]}"
            print(f"{count}/{len(drawn)} {word} {place} {mutant.operator_name}", flush=True)
        return outcome

    with ThreadPoolExecutor(len(made)) as pool:
        yield from pool.map(lambda one: attempt(*one), drawn)


def _attempt(package: str, mutant: MutationSpec, drawn_in: Path, clone: Path) -> Outcome:
    """Run the tests of `package` on a mutant that was drawn in another clone of the same commit.

    Raises:
        RuntimeError: the mutant cannot be made, or the tests cannot be run.
    """
    here = clone / mutant.module_path.relative_to(drawn_in)
    spec = type(mutant)(here, mutant.operator_name, mutant.occurrence, mutant.start_pos, mutant.end_pos)
    tests = f"env -C {clone} .venv/bin/python -m pytest -q -x -p no:cacheprovider tests/{package}"
    result = mutate_and_test([spec], tests, TIMEOUT_SECONDS)
    if result.test_outcome not in {TestOutcome.KILLED, TestOutcome.SURVIVED}:
        raise RuntimeError(f"{here}: {result.output}")
    return Outcome(package, mutant, result.test_outcome == TestOutcome.SURVIVED, result.diff or "")


def report(outcomes: Sequence[Outcome]) -> None:
    """Print the score of each package, and the difference that each survivor makes."""
    print("\n| package | mutants | killed | survived |\n|---|---|---|---|")
    for package in sorted({outcome.package for outcome in outcomes}):
        of_it = [outcome for outcome in outcomes if outcome.package == package]
        survived = sum(outcome.survived for outcome in of_it)
        print(f"| `{package}` | {len(of_it)} | {len(of_it) - survived} | {survived} |")
    for outcome in outcomes:
        if outcome.survived:
            print(f"\n{outcome.mutant.operator_name}\n{outcome.diff}")


def main() -> int:
    """Draw the mutants, try them, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", help=f"of {', '.join(PACKAGES)}; all by default")
    parser.add_argument("--count", type=int, default=300, help="the number of mutants")
    parser.add_argument("--seed", type=int, default=1, help="another one draws others")
    given = parser.parse_args()
    packages = given.packages or PACKAGES
    if unknown := set(packages).difference(PACKAGES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    made = clones()
    for package in packages:  # whatever fails without a mutant would kill all of them
        tests = [str(made[0] / ".venv/bin/python"), "-m", "pytest", "-q", f"tests/{package}"]
        subprocess.run(tests, cwd=made[0], check=True)
    report([*try_all(draw(made[0], packages, given.count, given.seed), made)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
