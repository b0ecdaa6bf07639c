"""antscache beside what people would use instead: interleaved runs in one session, on one filesystem, on loopback.

    .venv/bin/python -m benchmarks [--case A|B|C|D|E]... [--paces NAME...] [--rounds N] [--quick] [--write]

Results are Markdown, on stdout; what is under way is on stderr, and each table as soon as it is there. Needs Linux,
curl and GNU coreutils; what else is compared is installed by tools/install_benchmarked.sh, and left out where it is
missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cases import CASES, MB, PACES, RELEASE, UNLIMITED
from benchmarks.contenders import (
    LIBRARIES,
    ROOT,
    Place,
    fetching,
    linking,
    listing,
    missing,
    starting,
    verifying,
    version,
)
from benchmarks.measuring import Bench, said
from benchmarks.proofs import count_sockets, count_syncs
from benchmarks.servers import figshare, hub, served
from benchmarks.telling import section
from benchmarks.verdict import Fetched, Present, verdict
from benchmarks.years import make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cases import Case, LinkSpeed
    from benchmarks.measuring import Costs

PRESENT = "D"  # the case of what has nothing to fetch
YEARS = "E"  # and of a root after years of use

STARTS = 5  # start-up is measured so many times as often: it is short, and varies
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def main() -> None:
    """Measure, and print or write what came out."""
    options = _options()
    sections, fetched, present, kept = list[str](), list[Fetched](), None, None
    with tempfile.TemporaryDirectory(prefix="antscache-benchmark-", dir=options.directory) as scratch:
        bench = Bench(Path(scratch))
        for case, pace in _chosen(options):
            fetched.append(fetch(bench, case, pace, options.rounds))
            sections.append(section(f"{case.letter}: {case.title}; {pace.title}", fetched[-1].costs, fetched[-1].floor))
            _say(sections[-1])
        if PRESENT in options.case:
            present, linked = use(bench, _sized(CASES["A"], options), options.rounds)
            sections += [section("Starting, with the release present", present.started)]
            sections += [section("Linking the release", linked)]
        if YEARS in options.case:
            kept = keep(bench, MB // 100 if options.quick else MB, options.rounds)
            sections += [section("E: reading 10,000 blobs of 1 MB again, of 50 releases", kept)]
            _say(sections[-1])
        circumstances = describe(bench, options)
    report = "\n".join([circumstances, verdict(fetched, present, kept), *sections])
    print(report)
    if options.write:
        write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    letters = [*CASES, PRESENT, YEARS]
    parser.add_argument(
        "--case", action="append", choices=letters, help=f"only this; {PRESENT}: what is present, {YEARS}: for years"
    )
    parser.add_argument("--paces", nargs="+", choices=PACES, default=list(PACES), metavar="PACE", help=", ".join(PACES))
    parser.add_argument("--rounds", type=int, help="interleaved runs, after one to warm up (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the bytes: to try the benchmark itself")
    parser.add_argument("--directory", metavar="DIR", help="where to write (a new directory in $TMPDIR)")
    parser.add_argument("--write", action="store_true", help=f"put the results into docs/{DOCUMENT.name}")
    options = parser.parse_args()
    options.case = options.case or letters
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def _chosen(options: argparse.Namespace) -> Iterator[tuple[Case, LinkSpeed]]:
    """What is to be fetched, and how fast it is served."""
    for case in (_sized(case, options) for letter, case in CASES.items() if letter in options.case):
        for pace in case.paces:
            if pace.name in options.paces:
                yield case, pace


def _sized(case: Case, options: argparse.Namespace) -> Case:
    return case.smaller() if options.quick else case


def fetch(bench: Bench, case: Case, pace: LinkSpeed, rounds: int) -> Fetched:
    """What it takes to fetch `case` at `pace`; nothing is left of it."""
    _say(f"{case.letter}, {pace.title}")
    wanted = case.choose(listing(bench.scratch))
    with figshare(bench.scratch, wanted, pace) as origins:
        files = served(bench.scratch, wanted, origins)
        with hub(bench.scratch, files, pace) as endpoint:
            contenders = fetching(Place(bench.scratch, origins), files, endpoint, pace)
            costs = bench.measure(contenders, rounds, frozenset(file.sha256 for file in files))
    return Fetched(case.letter, pace, costs, pace.floor(sum(file.size for file in files)))


def use(bench: Bench, case: Case, rounds: int) -> tuple[Present, Costs]:
    """What it takes to use `case`, the whole release, once it is present; and what it takes to link it."""
    _say(f"{PRESENT}, what is present")
    wanted = case.choose(listing(bench.scratch))
    with figshare(bench.scratch, wanted, UNLIMITED) as origins:
        place = Place(bench.scratch, origins)
        syncs = count_syncs(place, len(wanted))
        started = bench.measure(starting(place), rounds * STARTS)
        linked = bench.measure(linking(place), rounds)
        return Present(started, syncs, count_sockets(place)), linked


def keep(bench: Bench, size: int, rounds: int) -> Costs:
    """What it takes to look after a root after years of use, with blobs of `size` bytes."""
    _say(f"{YEARS}, a root after years of use")
    make(bench.scratch / ROOT, size)
    costs = bench.measure(verifying(Place(bench.scratch, "")), rounds)
    bench.clear(ROOT)
    return costs


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


def describe(bench: Bench, options: argparse.Namespace) -> str:
    """When and on what this was measured, and what with."""
    filesystem = said("df", "--output=fstype", str(bench.scratch)).split()[-1]
    cores, kernel = os.cpu_count(), f"{platform.system()} {platform.release().partition('-')[0]}"
    absent = missing()
    tools = [
        f"Python {platform.python_version()}",
        f"curl {said('curl', '--version').split()[1]}",
        *([] if "aria2c" in absent else [f"aria2 {said('aria2c', '--version').split()[2]}"]),
        *(f"{library} {version(library)}" for library in LIBRARIES if library not in absent),
    ]
    size = "; a hundredth of the bytes (`--quick`)" if options.quick else ""
    left_out = f"\n\nLeft out, because not installed: {', '.join(absent)}." if absent else ""
    where = f"{time.strftime('%Y-%m-%d')}; {cores} cores, {kernel}, {filesystem}"
    return f"{where}; {', '.join(tools)}; {RELEASE}, rounds: {options.rounds}{size}.{left_out}\n"


def write(report: str) -> None:
    """Replace the results in the document; what is around them is kept."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")


if __name__ == "__main__":
    main()
