"""antscache beside what people would use instead: interleaved runs in one session, on one filesystem, on loopback.

    .venv/bin/python benchmarks/prefetch.py [--rounds N] [--size BYTES] [--directory DIR] [--write]

Machines differ, and one machine differs from minute to minute. What is compared therefore runs in turn (A B C, B C A,
...), and what counts is each run's ratio to the baseline's run of the same round. What a run left behind is deleted
and synced before the next one starts, so that nobody pays for the disk traffic of another.

Results are Markdown, on stdout. Needs Linux, curl and GNU coreutils; openssl and strace are used where they are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RELEASE = "antspynet==0.3.2"
ANTSCACHE = str(Path(sys.executable).with_name("antscache"))
ROOT, SUMS = "root", "sums"  # in the scratch directory: antscache's root, and what sha256sum said
JOBS = 8  # transfers at once, for antscache and for curl
UNSYNCED, SYNCED, OURS = "curl + sha256sum, nothing synced", "curl + sha256sum + sync", "antscache prefetch (synced)"
STARTS = 5  # start-up is measured so many times as often: it is short, and varies
MEMORY_LIMIT = 120  # MB, what a prefetch may take at most
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def main() -> None:
    """Measure, and print or write what came out."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="antscache-benchmark-", dir=options.directory) as scratch:
        bench = Bench(Path(scratch))
        with standin(bench, options.size) as origins:
            fetched = bench.measure(fetching(bench, origins), options.rounds)
            require_same_bytes(bench)
            started = bench.measure(starting(bench, origins), options.rounds * STARTS)
            linked = bench.measure(linking(bench, origins), options.rounds)
            sockets = count_sockets(bench, origins)
        circumstances = describe(bench, options.rounds, options.size)
    report = "\n".join(
        [
            circumstances,
            section(f"Fetching {RELEASE}", fetched, verdict(fetched)),
            section(f"Starting, with {RELEASE} present", started, sockets),
            section(f"Linking {RELEASE}", linked),
        ]
    )
    print(report)
    if options.write:
        write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="antscache beside what people would use instead.")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved runs, after one to warm up (%(default)s)")
    parser.add_argument("--size", type=int, default=2_000_000, metavar="BYTES", help="of each file (%(default)s)")
    parser.add_argument("--directory", metavar="DIR", help="where to write (a new directory in $TMPDIR)")
    parser.add_argument("--write", action="store_true", help=f"put the results into docs/{DOCUMENT.name}")
    return parser.parse_args()


# What is compared: the first of each is the baseline


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to do the job.

    Attributes:
        command: runs in the scratch directory.
        makes: a directory that it makes there, and that is not there when it starts.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    makes: str | None = None


def fetching(bench: Bench, origins: str) -> tuple[Contender, ...]:
    """From nothing to all files of the release, with their digests known; durable or not."""
    environment = bench.environment(origins)
    (bench.scratch / "curl.cfg").write_text(_curl_config(environment, origins.split(maxsplit=1)[0]))
    get = f"mkdir curl && cd curl && curl -sS --fail --parallel --parallel-max {JOBS} -L -K ../curl.cfg"
    scripts = {
        UNSYNCED: f"{get} && sha256sum -- * >../{SUMS}",
        SYNCED: f"{get} && sha256sum -- * >../{SUMS} && sync -- * .",
    }
    if shutil.which("openssl"):
        scripts["curl + openssl dgst -sha256, nothing synced"] = f"{get} && openssl dgst -sha256 -r -- * >/dev/null"
    prefetch = (ANTSCACHE, "prefetch", RELEASE, "--jobs", str(JOBS))
    return (
        *(Contender(name, ("sh", "-c", script), environment, "curl") for name, script in scripts.items()),
        Contender(OURS, prefetch, environment, ROOT),
    )


def _curl_config(environment: Mapping[str, str], template: str) -> str:
    """What makes curl fetch each file of the release to its name, as antscache lists them."""
    command = (ANTSCACHE, "list", RELEASE, "--json")
    listed = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    files = {entry["file"]: entry["identifier"] for entry in json.loads(listed) if entry["identifier"]}
    return "".join(
        f'url = "{template.format(id=identifier.partition(":")[2])}"\noutput = "{file}"\n'
        for file, identifier in files.items()
    )


def starting(bench: Bench, origins: str) -> tuple[Contender, ...]:
    """What a command takes that has nothing to do."""
    environment = bench.environment(origins)
    return (
        Contender("python -c pass", (sys.executable, "-c", "pass"), environment),
        Contender("antscache --version", (ANTSCACHE, "--version"), environment),
        Contender("antscache path", (ANTSCACHE, "path", RELEASE), environment),
        Contender("antscache prefetch", (ANTSCACHE, "prefetch", RELEASE), environment),
    )


def linking(bench: Bench, origins: str) -> tuple[Contender, ...]:
    """From a view to the same files in another directory: the same bytes on disk, and bytes of its own."""
    environment, home = bench.environment(origins), "home"
    view = f"{ROOT}/views/{RELEASE.replace('==', '-')}/.keras/ANTsXNet"
    link = (ANTSCACHE, "link", RELEASE, "--home", home)
    return (
        Contender("cp -a, nothing synced", ("cp", "-a", view, home), environment, home),
        Contender("cp -a + sync", ("sh", "-c", f"cp -a {view} {home} && sync -- {home}/* {home}"), environment, home),
        Contender("antscache link --mode copy (synced)", (*link, "--mode", "copy"), environment, home),
        Contender("cp -al", ("cp", "-al", view, home), environment, home),
        Contender("antscache link", link, environment, home),
    )


# Measuring


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds, seconds of CPU, and the memory of its largest process in bytes.

    A process counts as no smaller than the benchmark itself, whose copy it starts as.
    """

    wall: float
    cpu: float
    peak: int


Costs = dict[str, list[Cost]]


@dataclass(frozen=True, slots=True)
class Bench:
    """A scratch directory that everything measured stays in."""

    scratch: Path

    def environment(self, origins: str) -> dict[str, str]:
        """The only environment variables there are: no proxy, no configuration of whoever runs this."""
        return {
            "ANTSCACHE_DIR": str(self.scratch / ROOT),
            "ANTSCACHE_ORIGINS": origins,
            "HOME": str(self.scratch),
            "PATH": os.environ["PATH"],
        }

    def measure(self, contenders: Sequence[Contender], rounds: int) -> Costs:
        """What each of `contenders` takes, once a round, after a round that does not count."""
        costs: Costs = {contender.name: [] for contender in contenders}
        for number in range(rounds + 1):
            first = number % len(contenders)
            for contender in (*contenders[first:], *contenders[:first]):
                cost = self._run(contender)
                if number:
                    costs[contender.name].append(cost)
        return costs

    def _run(self, contender: Contender) -> Cost:
        if contender.makes:
            shutil.rmtree(self.scratch / contender.makes, ignore_errors=True)
            os.sync()
        log = self.scratch / "log"
        with log.open("w") as stderr:
            begun = time.perf_counter()
            process = subprocess.Popen(
                contender.command,
                cwd=self.scratch,
                env=contender.environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{shlex.join(contender.command)} ended with {process.returncode}:\n{log.read_text()}")
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


@contextmanager
def standin(bench: Bench, size: int) -> Iterator[str]:
    """The stand-in for Figshare in a process of its own, all its files made: the templates of its origins."""
    command = (sys.executable, "-m", "antscache.testing", "--prepare", "--size", str(size))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(bench.scratch)}) as process:
        try:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            _, assignment = shlex.split(process.stdout.readline())
            yield assignment.partition("=")[2]
        finally:
            process.terminate()


def require_same_bytes(bench: Bench) -> None:
    """End here unless curl and antscache have got the same files."""
    digests = {line.split()[0] for line in (bench.scratch / SUMS).read_text().splitlines()}
    blobs = {path.name for path in (bench.scratch / ROOT / "blobs" / "sha256").iterdir()}
    if not digests or digests - blobs:
        sys.exit(f"{len(digests - blobs)} of {len(digests)} files that curl fetched are no blobs")


def count_sockets(bench: Bench, origins: str) -> str:
    """How many sockets a prefetch opens when there is nothing to fetch."""
    if shutil.which("strace") is None:
        return "Sockets opened by `antscache prefetch` here: not counted, there is no strace."
    trace = bench.scratch / "trace"
    command = ("strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace), ANTSCACHE, "prefetch", RELEASE)
    subprocess.run(command, env=bench.environment(origins), check=True, capture_output=True)
    return f"Sockets opened by `antscache prefetch` here: {trace.read_text().count('socket(')} (strace)."


# Telling


def section(title: str, costs: Costs, remark: str = "") -> str:
    """A table of `costs` under `title`, and what is to be said about it."""
    baseline = next(iter(costs.values()))
    rows = [
        f"| {name} | {_ratio(run, baseline, _wall)} | {_seconds(run, _wall)} "
        f"| {_ratio(run, baseline, _cpu)} | {_seconds(run, _cpu)} | {_peak(run):.0f} MB |"
        for name, run in costs.items()
    ]
    head = ["| | time, ratio | time | CPU, ratio | CPU | memory |", "|---|---|---|---|---|---|"]
    return "\n".join([f"### {title}\n", *head, *rows, *([f"\n{remark}"] if remark else []), ""])


def _wall(cost: Cost) -> float:
    return cost.wall


def _cpu(cost: Cost) -> float:
    return cost.cpu


def _ratio(costs: Sequence[Cost], baseline: Sequence[Cost], of: Callable[[Cost], float]) -> str:
    """The median of the rounds' ratios, and the least and the greatest of them."""
    if costs is baseline:
        return "1"
    ratios = _ratios(costs, baseline, of)
    return f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"


def _ratios(costs: Sequence[Cost], baseline: Sequence[Cost], of: Callable[[Cost], float]) -> list[float]:
    return [of(cost) / of(base) for cost, base in zip(costs, baseline, strict=True)]


def _seconds(costs: Sequence[Cost], of: Callable[[Cost], float]) -> str:
    seconds = median(map(of, costs))
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _peak(costs: Sequence[Cost]) -> float:
    return max(cost.peak for cost in costs) / 1e6


def verdict(fetched: Costs) -> str:
    """What is required of antscache, and what was seen."""
    ours, peak = fetched[OURS], _peak(fetched[OURS])
    ratio, fair = (median(_ratios(ours, fetched[name], _wall)) for name in (UNSYNCED, SYNCED))
    met = "met" if ratio <= 1 and peak < MEMORY_LIMIT else "NOT met"
    return (
        f"Required: no slower than curl + sha256sum, and less than {MEMORY_LIMIT} MB. Here: {ratio:.2f} of its time "
        f"({fair:.2f} where curl's files are synced too), and {peak:.0f} MB: {met}."
    )


def describe(bench: Bench, rounds: int, size: int) -> str:
    """When and on what this was measured, in one line."""
    filesystem = _said("df", "--output=fstype", str(bench.scratch)).split()[-1]
    cores, kernel = os.cpu_count(), f"{platform.system()} {platform.release().partition('-')[0]}"
    tools = f"Python {platform.python_version()}, curl {_said('curl', '--version').split()[1]}"
    now = time.strftime("%Y-%m-%d")
    return f"{now}; {cores} cores, {kernel}, {filesystem}, {tools}; {rounds} rounds, files of {size:,} bytes.\n"


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(report: str) -> None:
    """Replace the results in the document; what is around them is kept."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")


if __name__ == "__main__":
    main()
