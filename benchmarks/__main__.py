"""Compare antscache with other tools: interleaved runs in one session, on one filesystem, on loopback.

    .venv/bin/python -m benchmarks [--case A|B|C|D|E]... [--paces NAME...] [--rounds N] [--quick] [--write]

Results are Markdown, on stdout; progress, and each finished table, is on stderr. Needs Linux, curl and GNU coreutils.
tools/install_benchmarked.sh installs the other tools; those that are missing are left out.
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
    LIBRARY_IMPORTS,
    ROOT_NAME,
    Place,
    fetch_contenders,
    find_missing,
    link_contenders,
    list_entries,
    start_contenders,
    verify_contenders,
    version,
)
from benchmarks.measuring import Bench, output_of
from benchmarks.proofs import count_sockets, count_syncs
from benchmarks.servers import list_served, serve_figshare, serve_hub
from benchmarks.telling import section
from benchmarks.verdict import FetchCosts, IdleCosts, verdict
from benchmarks.years import make_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cases import Case, LinkSpeed
    from benchmarks.measuring import Costs

PRESENT_CASE = "D"  # commands with nothing to fetch
YEARS_CASE = "E"  # a root after years of use

START_UP_RUNS_PER_ROUND = 5  # start-up is short, and varies
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
RESULTS_BEGIN, RESULTS_END = "<!-- results -->\n", "<!-- end of results -->\n"


def main() -> None:
    """Measure, and print the results or write them into the document."""
    options = _options()
    sections, fetched, present, kept = list[str](), list[FetchCosts](), None, None
    with tempfile.TemporaryDirectory(prefix="antscache-benchmark-", dir=options.directory) as scratch:
        bench = Bench(Path(scratch))
        for case, pace in _chosen(options):
            fetched.append(fetch(bench, case, pace, options.rounds))
            sections.append(section(f"{case.letter}: {case.title}; {pace.title}", fetched[-1].costs, fetched[-1].floor))
            _say(sections[-1])
        if PRESENT_CASE in options.case:
            present, linked = use(bench, _sized(CASES["A"], options), options.rounds)
            sections += [section("Starting, with the release present", present.started)]
            sections += [section("Linking the release", linked)]
        if YEARS_CASE in options.case:
            kept = maintain(bench, MB // 100 if options.quick else MB, options.rounds)
            sections += [section("E: reading 10,000 blobs of 1 MB again, of 50 releases", kept)]
            _say(sections[-1])
        circumstances = describe(bench, options)
    report = "\n".join([circumstances, verdict(fetched, present, kept), *sections])
    print(report)
    if options.write:
        write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    letters = [*CASES, PRESENT_CASE, YEARS_CASE]
    parser.add_argument(
        "--case",
        action="append",
        choices=letters,
        help=f"only this; {PRESENT_CASE}: nothing to fetch, {YEARS_CASE}: after years",
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
    """Yield the chosen cases, each with the speeds at which it is served."""
    for case in (_sized(case, options) for letter, case in CASES.items() if letter in options.case):
        for pace in case.paces:
            if pace.name in options.paces:
                yield case, pace


def _sized(case: Case, options: argparse.Namespace) -> Case:
    return case.smaller() if options.quick else case


def fetch(bench: Bench, case: Case, pace: LinkSpeed, rounds: int) -> FetchCosts:
    """Measure fetching `case` at `pace`; remove the files afterwards."""
    _say(f"{case.letter}, {pace.title}")
    wanted = case.choose(list_entries(bench.scratch))
    with serve_figshare(bench.scratch, wanted, pace) as origins:
        files = list_served(bench.scratch, wanted, origins)
        with serve_hub(bench.scratch, files, pace) as endpoint:
            contenders = fetch_contenders(Place(bench.scratch, origins), files, endpoint, pace)
            costs = bench.measure(contenders, rounds, frozenset(file.sha256 for file in files))
    return FetchCosts(case.letter, pace, costs, pace.floor(sum(file.size for file in files)))


def use(bench: Bench, case: Case, rounds: int) -> tuple[IdleCosts, Costs]:
    """Measure commands on `case`, the whole release, when it is present; and linking it."""
    _say(f"{PRESENT_CASE}, nothing to fetch")
    wanted = case.choose(list_entries(bench.scratch))
    with serve_figshare(bench.scratch, wanted, UNLIMITED) as origins:
        place = Place(bench.scratch, origins)
        syncs = count_syncs(place, len(wanted))
        started = bench.measure(start_contenders(place), rounds * START_UP_RUNS_PER_ROUND)
        linked = bench.measure(link_contenders(place), rounds)
        return IdleCosts(started, syncs, count_sockets(place)), linked


def maintain(bench: Bench, size: int, rounds: int) -> Costs:
    """Measure the maintenance of a root after years of use, with blobs of `size` bytes."""
    _say(f"{YEARS_CASE}, a root after years of use")
    make_root(bench.scratch / ROOT_NAME, size)
    costs = bench.measure(verify_contenders(Place(bench.scratch, "")), rounds)
    bench.clear(ROOT_NAME)
    return costs


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr)


def describe(bench: Bench, options: argparse.Namespace) -> str:
    """Describe the measurement: its date, the machine and the tools."""
    filesystem = output_of("df", "--output=fstype", str(bench.scratch)).split()[-1]
    cores, kernel = os.cpu_count(), f"{platform.system()} {platform.release().partition('-')[0]}"
    absent = find_missing()
    tools = [
        f"Python {platform.python_version()}",
        f"curl {output_of('curl', '--version').split()[1]}",
        *([] if "aria2c" in absent else [f"aria2 {output_of('aria2c', '--version').split()[2]}"]),
        *(f"{library} {version(library)}" for library in LIBRARY_IMPORTS if library not in absent),
    ]
    size = "; a hundredth of the bytes (`--quick`)" if options.quick else ""
    left_out = f"\n\nLeft out, because not installed: {', '.join(absent)}." if absent else ""
    machine = f"{time.strftime('%Y-%m-%d')}; {cores} cores, {kernel}, {filesystem}"
    return f"{machine}; {', '.join(tools)}; {RELEASE}, rounds: {options.rounds}{size}.{left_out}\n"


def write(report: str) -> None:
    """Replace the results in the document, and keep the rest of it."""
    before, _, rest = DOCUMENT.read_text().partition(RESULTS_BEGIN)
    _, _, after = rest.partition(RESULTS_END)
    DOCUMENT.write_text(f"{before}{RESULTS_BEGIN}\n{report}\n{RESULTS_END}{after}")


if __name__ == "__main__":
    main()
