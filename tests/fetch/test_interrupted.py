"""Processes that are killed, interrupted or stopped, or many at once: the next run resumes, and the bytes are right."""

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
from support import HANG_SECONDS

from antscache.core.digest import descriptor_of
from antscache.core.layout import Layout
from antscache.store.partials import partial_files
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import AntsCache

    from antscache.testing import Request

SIZE = 3_000_000
RECORD_BYTES = 10_000  # more than a record or an artifact manifest has
FILES = {
    "34821874": "brainExtractionRobustT1.h5",
    "41965818": "xrayLungExtraction.h5",
    "22597175": "S_template3.nii.gz",
    "51906071": "DeepAtroposHcpT1Weights.h5",
}
NAMES = [word for file in FILES.values() for word in ("--name", file.partition(".")[0])]


@pytest.fixture
def slow() -> Iterator[StandIn]:
    """An origin that sends one megabyte a second on each connection."""
    with StandIn(FILES, size=SIZE, rate=1_000_000) as standin:
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
    """Check that every file has its bytes, and that `ingest/` has at most files of up to `left` bytes."""
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
    """Return the number of bytes of each file that are there, as a blob or as the longest beginning of one."""
    records = antscache.root / "identifiers/figshare"
    partials = partial_files(Layout(antscache.root))
    return {
        number: SIZE
        if (records / f"{number}.json").exists()
        else max((partial.held for partial in partials.get(f"figshare:{number}", ())), default=0)
        for number in FILES
    }


def wait_for_partials(process: subprocess.Popen[str], antscache: AntsCache, size: int = 1) -> None:
    """Wait until each file has come in part, and one of them `size` bytes of it."""
    held = [0]
    while not all(held) or max(held) < size:
        assert process.poll() is None
        time.sleep(0.02)
        held = list(on_disk(antscache).values())


def assert_resumed(requests: list[Request], held: dict[str, int]) -> None:
    """Check that a run has asked for no byte that it `held`: but for the last one, so that there is an answer."""
    for number, size in held.items():
        ranges = [
            request.range or "bytes=0-"
            for request in requests
            if request.number == number and request.route == "storage"
        ]
        starts = [int(each.removeprefix("bytes=").partition("-")[0]) for each in ranges]
        assert min(starts, default=size) >= min(size, SIZE - 1)
        assert [start for start, each in zip(starts, ranges, strict=True) if each.endswith("-")][:1] in (
            [],
            [min(size, SIZE - 1)],
        )


def test_fifty_kills_lose_no_byte_on_the_disk(antscache: AntsCache) -> None:
    chance = random.Random(20261121)  # noqa: S311  moments to kill at, the same in every run
    rate = 1_500_000
    piece = rate // 20  # bytes: the stand-in sends twenty times a second
    under_way = 3 * piece  # one that is sent, one received, one counted
    held, sent = dict.fromkeys(FILES, 0), dict.fromkeys(FILES, 0)
    killed = lost = 0
    with StandIn(FILES, size=SIZE, rate=rate) as standin:
        standin.prepare()
        while killed < 50 or not all(held.values()):
            before = len(standin.requests)
            process = start(antscache, standin)
            while process.poll() is None and sum(map(standin.sent, FILES)) == sum(sent.values()):
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.communicate()
            standin.wait_for_clients()  # which takes back what it counted and could not send
            killed += process.returncode == -signal.SIGKILL
            assert_resumed(standin.requests[before:], held)
            if process.returncode == 0:  # the files are all there: begin again, with the same origin
                shutil.rmtree(antscache.root)
                held, sent = dict.fromkeys(FILES, 0), {number: standin.sent(number) for number in FILES}
                continue
            partials = partial_files(Layout(antscache.root))
            for number, now in on_disk(antscache).items():
                assert now >= min(held[number], SIZE - 1)  # the last byte is asked for again
                if held[number] < now < SIZE:  # a run that received bytes has removed what it copied before
                    assert len(partials[f"figshare:{number}"]) == 1
                lost += standin.sent(number) - sent[number] - (now - held[number])
                held[number], sent[number] = now, standin.sent(number)
        assert lost <= killed * len(FILES) * under_way
        before = len(standin.requests)
        antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=standin.origins).succeeded()
        assert_resumed(standin.requests[before:], held)
        for number in FILES:
            assert 0 <= standin.sent(number) - sent[number] - (SIZE - held[number]) <= 1
        # A process that is killed cannot remove a small file, or note an ingest.
        assert_right(antscache, standin, left=RECORD_BYTES)


def test_remains_of_finished_files_are_removed(antscache: AntsCache, slow: StandIn) -> None:
    """A process was killed after it had recorded a file, and before it removed what earlier ones had left of it."""
    process = start(antscache, slow)
    wait_for_partials(process, antscache)
    process.kill()
    process.communicate()
    remains = {path: path.read_bytes() for path in (antscache.root / "ingest").iterdir()}
    antscache("prefetch", "0.3.2", *NAMES[:2], ANTSCACHE_ORIGINS=slow.origins).succeeded()
    for path, content in remains.items():
        path.write_bytes(content)
    antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=slow.origins).succeeded()
    assert list((antscache.root / "ingest").iterdir()) == []


def interrupt(antscache: AntsCache, standin: StandIn, *arguments: str, received: int = SIZE // 3) -> None:
    """Press Ctrl-C during a fetch, when a file has come so far, and wait until it has ended."""
    process = start(antscache, standin, *arguments)
    wait_for_partials(process, antscache, received)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, "run the same command again to go on" in err) == (130, True)


def test_ctrl_c_waits_for_no_origin(antscache: AntsCache) -> None:
    """All origins say nothing more in the middle of each file, and you allow them ten minutes for that."""
    with StandIn(FILES, size=SIZE) as stalled:
        for number in FILES:
            stalled.misbehave(number, Misbehaviour.STALL_HALF)
        interrupt(antscache, stalled, "--timeout", "600", received=1)


def test_run_after_ctrl_c_resumes(antscache: AntsCache, slow: StandIn) -> None:
    interrupt(antscache, slow)
    assert set(partial_files(Layout(antscache.root))) == {f"figshare:{number}" for number in FILES}
    ran = antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=slow.origins).succeeded()
    assert ran.err.count("resumed ") == len(FILES)
    assert_right(antscache, slow)


def test_thirty_two_processes_download_each_file_once(antscache: AntsCache) -> None:
    """Each has one job: on a busy machine two would split a file, into two downloads that make one."""
    with StandIn(FILES, size=SIZE) as standin:
        with ThreadPoolExecutor(32) as pool:
            processes = list(pool.map(lambda _: start(antscache, standin, "-j1"), range(32)))
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


def test_without_locks_all_processes_get_the_right_bytes(antscache: AntsCache, slow: StandIn) -> None:
    """Several processes download the same file; the origin is slow, so that they do so at once."""
    command = [sys.executable, "-c", NO_LOCKS, "prefetch", "0.3.2", *NAMES]
    environment = antscache.environment(ANTSCACHE_ORIGINS=slow.origins)
    processes = [
        subprocess.Popen(command, env=environment, cwd=antscache.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(12)
    ]
    for process in processes:
        _, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 0, err.decode()
    assert sum(slow.downloads(number) for number in FILES) > len(FILES)
    assert_right(antscache, slow)


def test_stopped_process_is_not_waited_for_forever(antscache: AntsCache, slow: StandIn) -> None:
    stopped = start(antscache, slow)
    wait_for_partials(stopped, antscache)
    stopped.send_signal(signal.SIGSTOP)
    try:
        ran = antscache("prefetch", "0.3.2", *NAMES, "--timeout", "2", ANTSCACHE_ORIGINS=slow.origins).succeeded()
    finally:
        stopped.send_signal(signal.SIGCONT)
    assert "another process is fetching it" in ran.err
    stopped.communicate(timeout=HANG_SECONDS)
    assert stopped.returncode == 0
    assert_right(antscache, slow)


def test_stalled_transfer_resumes(antscache: AntsCache) -> None:
    with StandIn(FILES, size=SIZE) as standin:
        standin.misbehave("34821874", Misbehaviour.STALL_HALF, times=1)
        origins = standin.origins.split()[0]
        # With one job: a busy machine takes an origin for slow, and would split the file.
        ran = antscache("prefetch", "0.3.2", *NAMES, "-j1", "--timeout", "3", ANTSCACHE_ORIGINS=origins).succeeded()
        assert "resumed brainExtractionRobustT1.h5 figshare:34821874 at 1.5 MB" in ran.err
        assert standin.sent("34821874") == SIZE
        assert_right(antscache, standin)


def test_damaged_partials_end_in_the_right_bytes(antscache: AntsCache, slow: StandIn) -> None:
    """Zeros, as a power cut leaves them, are resumed and then refused, because the whole file is compared."""
    process = start(antscache, slow)
    wait_for_partials(process, antscache)
    process.kill()
    process.communicate()
    for partials in partial_files(Layout(antscache.root)).values():
        for partial in partials:
            os.truncate(partial.path, 0)
            os.truncate(partial.path, SIZE // 2)
    antscache("prefetch", "0.3.2", *NAMES, ANTSCACHE_ORIGINS=slow.origins).succeeded()
    assert_right(antscache, slow)
