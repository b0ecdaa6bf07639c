"""Processes that are killed, broken off, or many: what they leave, and what the next one makes of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antscache.core.digest import descriptor_of
from antscache.core.layout import Layout
from antscache.store.partials import partial_files
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import AntsCache

SIZE = 3_000_000
RECORD = 10_000  # bytes: more than a record or an artifact manifest has
FILES = {
    "34821874": "brainExtractionRobustT1.h5",
    "41965818": "xrayLungExtraction.h5",
    "22597175": "S_template3.nii.gz",
    "51906071": "DeepAtroposHcpT1Weights.h5",
}
NAMES = [word for file in FILES.values() for word in ("--name", file.partition(".")[0])]


@pytest.fixture
def slow() -> Iterator[StandIn]:
    """An origin that sends two megabytes a second on each connection."""
    with StandIn(FILES, size=SIZE, rate=2_000_000) as standin:
        standin.prepare()
        yield standin


def start(antscache: AntsCache, standin: StandIn, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        antscache.command("prefetch", "0.3.2", *NAMES, *arguments),
        env=antscache.environment(ANTSCACHE_ORIGINS=standin.origins),
        cwd=antscache.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_right(antscache: AntsCache, standin: StandIn, *, left: int = 0) -> None:
    """Every file is there, with its bytes, and nothing else is left; but for files of at most `left` bytes."""
    view = Path(antscache("path", "0.3.2").succeeded().out.strip()) / ".keras/ANTsXNet"
    assert {path.name: path.read_bytes() for path in view.iterdir()} == {
        file: standin.content(number) for number, file in FILES.items()
    }
    blobs = {path.name for path in (antscache.root / "blobs/sha256").iterdir()}
    for path in (antscache.root / "blobs/sha256").iterdir():
        assert descriptor_of(path.read_bytes()).digest == f"sha256:{path.name}"
    assert len(blobs) == len(FILES) + 2  # the index's artifact, and its configuration
    assert partial_files(Layout(antscache.root)) == {}
    assert [path for path in (antscache.root / "ingest").iterdir() if not left or path.stat().st_size > left] == []


def on_disk(antscache: AntsCache) -> dict[str, int]:
    """How much of each file is there, as a blob or as the beginning of one."""
    records = antscache.root / "identifiers/figshare"
    found = partial_files(Layout(antscache.root))
    return {
        number: SIZE
        if (records / f"{number}.json").exists()
        else max((leftover.held for leftover in found.get(f"figshare:{number}", ())), default=0)
        for number in FILES
    }


def test_fifty_kills_in_a_row_cost_no_byte_that_was_on_the_disk(antscache: AntsCache) -> None:
    chance = random.Random(20261121)  # noqa: S311  moments to kill at, the same in every run
    rate = 1_500_000
    under_way = 3 * rate // 20  # the stand-in sends twenty times a second: one that is sent, one received, one counted
    held, sent = dict.fromkeys(FILES, 0), dict.fromkeys(FILES, 0)
    killed = 0
    with StandIn(FILES, size=SIZE, rate=rate) as standin:
        standin.prepare()
        while killed < 50 or not all(held.values()):
            process = start(antscache, standin)
            while process.poll() is None and sum(map(standin.sent, FILES)) == sum(sent.values()):
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
            if process.returncode == 0:  # the files are all there: begin again, with the same origin
                shutil.rmtree(antscache.root)
                held, sent = dict.fromkeys(FILES, 0), {number: standin.sent(number) for number in FILES}
                continue
            for number, now in on_disk(antscache).items():
                assert standin.sent(number) - sent[number] - (now - held[number]) <= under_way
                held[number], sent[number] = now, standin.sent(number)
        antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=standin.origins).succeeded()
        for number in FILES:  # the last run fetched what was missing, and nothing else
            assert 0 <= standin.sent(number) - sent[number] - (SIZE - held[number]) <= under_way
        assert_right(antscache, standin, left=RECORD)  # who is killed has no time to remove one, or to note an ingest


def test_ctrl_c_ends_within_a_second_and_the_next_run_goes_on_from_there(antscache: AntsCache, slow: StandIn) -> None:
    process = start(antscache, slow)
    while not any(each.held > SIZE // 3 for found in partial_files(Layout(antscache.root)).values() for each in found):
        assert process.poll() is None
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - begun < 1.5  # a second, and what a busy machine adds
    assert (process.returncode, "run the same command again to go on" in err) == (130, True)
    found = partial_files(Layout(antscache.root))
    assert set(found) == {f"figshare:{number}" for number in FILES}
    ran = antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=slow.origins).succeeded()
    assert ran.err.count("resumed ") == len(FILES)
    assert_right(antscache, slow)


def test_thirty_two_processes_at_once_download_each_identifier_once(antscache: AntsCache) -> None:
    with StandIn(FILES, size=SIZE) as standin:
        with ThreadPoolExecutor(32) as pool:
            processes = list(pool.map(lambda _: start(antscache, standin, "--jobs", "2"), range(32)))
            for process, (_, err) in zip(processes, pool.map(lambda each: each.communicate(), processes), strict=True):
                assert process.returncode == 0, err
        assert [standin.downloads(number) for number in FILES] == [1] * len(FILES)
        assert_right(antscache, standin)


NO_LOCKS = """
import sys
from contextlib import nullcontext
from antscache.disk import Locks
Locks.attempt = lambda *_: nullcontext(True)
from antscache.cli import main
main(sys.argv[1:])
"""


def test_processes_whose_locks_do_nothing_end_with_whole_and_equal_bytes(
    antscache: AntsCache, slow: StandIn
) -> None:  # slow, so that none is through before the others begin
    command = [sys.executable, "-c", NO_LOCKS, "prefetch", "0.3.2", *NAMES]
    environment = antscache.environment(ANTSCACHE_ORIGINS=slow.origins)
    processes = [
        subprocess.Popen(command, env=environment, cwd=antscache.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(12)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    assert sum(slow.downloads(number) for number in FILES) > len(FILES)
    assert_right(antscache, slow)


def test_a_process_that_holds_a_lock_and_does_nothing_is_not_waited_for_for_ever(
    antscache: AntsCache, slow: StandIn
) -> None:
    stopped = start(antscache, slow)
    while len(partial_files(Layout(antscache.root))) < len(FILES):
        assert stopped.poll() is None
        time.sleep(0.02)
    stopped.send_signal(signal.SIGSTOP)
    try:
        ran = antscache("prefetch", "0.3.2", *NAMES, "--timeout", "2", ANTSCACHE_ORIGINS=slow.origins).succeeded()
    finally:
        stopped.send_signal(signal.SIGCONT)
    assert "another process is fetching it" in ran.err
    stopped.communicate(timeout=60)
    assert stopped.returncode == 0
    assert_right(antscache, slow)


def test_a_stalled_transfer_goes_on_from_where_it_stalled(antscache: AntsCache) -> None:
    with StandIn(FILES, size=SIZE) as standin:
        standin.misbehave("34821874", Misbehaviour.STALL_HALF, times=1)
        origins = standin.origins.split()[0]
        ran = antscache("prefetch", "0.3.2", *NAMES, "--timeout", "0.5", ANTSCACHE_ORIGINS=origins).succeeded()
        assert "resumed brainExtractionRobustT1.h5 figshare:34821874 at 1.5 MB" in ran.err
        assert standin.sent("34821874") == SIZE
        assert_right(antscache, standin)


def test_what_was_left_over_before_the_system_went_down_is_only_used_where_the_whole_is_checked(
    antscache: AntsCache, slow: StandIn
) -> None:
    process = start(antscache, slow)
    layout = Layout(antscache.root)
    while len(partial_files(layout)) < len(FILES):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    for found in partial_files(layout).values():
        for leftover in found:
            os.truncate(leftover.path, 0)
            os.truncate(leftover.path, SIZE // 2)  # zeros, as a power cut leaves them
    antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=slow.origins).succeeded()
    assert_right(antscache, slow)
