"""The pace: starts at an origin are one interval apart, in all threads and processes on one root."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from stat import S_IMODE
from threading import Barrier, Timer
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.limits import no_file_beyond

from antscache.fetch import pacer
from antscache.fetch.pacer import MAX_QUEUED_STARTS, Pacer, next_start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
INTERVAL = 100.0  # seconds: so long that no delay of the machine is mistaken for one

moments = st.floats(0, 4e9)
intervals = st.floats(0.001, 3600)


def starts(path: Path, count: int) -> list[float]:
    """Reserve `count` starts, and return their times by the clock."""
    return starts_of(Pacer(path, INTERVAL), count)


def starts_of(pacer: Pacer, count: int) -> list[float]:
    return [time.time() + pacer.reserve_start() for _ in range(count)]


def assert_one_each_interval(times: list[float]) -> None:
    numbered = sorted((start - min(times)) / INTERVAL for start in times)
    assert numbered == pytest.approx(range(len(times)), abs=0.5)


# The time of the next start


@given(now=moments, passed=st.lists(st.floats(0, 10_000), max_size=30), interval=intervals)
def test_starts_of_a_queue_are_the_interval_apart(now: float, passed: list[float], interval: float) -> None:
    before = next_start(now, 0.0, interval)
    for seconds in passed:
        now += seconds
        start = next_start(now, before + interval, interval)
        assert start >= before + interval
        before = start


@given(now=moments, waiting=st.integers(0, MAX_QUEUED_STARTS - 1), interval=intervals)
def test_a_long_queue_is_waited_for(now: float, waiting: int, interval: float) -> None:
    assert next_start(now, now + waiting * interval, interval) == now + waiting * interval


@given(now=moments, free=st.floats(), interval=intervals)
@example(now=NOW, free=NOW + 10 * 365 * 86_400, interval=1.0)
@example(now=NOW, free=math.nan, interval=1.0)
@example(now=NOW, free=math.inf, interval=1.0)
@example(now=NOW, free=-math.inf, interval=1.0)
def test_no_time_is_waited_for_beyond_a_queue(now: float, free: float, interval: float) -> None:
    """Neither nonsense nor the time of another clock is waited for longer than for a full queue."""
    assert now <= next_start(now, free, interval) <= now + MAX_QUEUED_STARTS * interval


def test_a_start_without_a_queue_is_now() -> None:
    assert next_start(NOW, 0.0, 1.0) == next_start(NOW, NOW - 5, 1.0) == next_start(NOW, NOW, 1.0) == NOW


# Threads and processes


def test_each_start_is_an_interval_after_the_last(tmp_path: Path) -> None:
    times = starts(tmp_path / "pace", 5)
    assert times[0] == pytest.approx(time.time(), abs=INTERVAL / 2)
    assert_one_each_interval(times)


def test_no_two_threads_have_the_same_start(tmp_path: Path) -> None:
    assert_one_each_interval(starts_of_threads(tmp_path / "pace"))


def starts_of_threads(path: Path) -> list[float]:
    """Reserve starts in eight threads at once, and return their times."""
    shared, together = Pacer(path, INTERVAL), Barrier(8)

    def work() -> list[float]:
        together.wait(60)
        return starts_of(shared, 40)

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work) for _ in range(8)]
        return [start for each in working for start in each.result()]


def test_no_two_processes_have_the_same_start(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from antscache.fetch import Pacer, pacer\n"
        "pacer.LOCK_WAIT_SECONDS = 50\n"
        f"shared = Pacer(Path(sys.argv[1]), {INTERVAL})\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(*(time.time() + shared.reserve_start() for _ in range(80)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pace")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert_one_each_interval([float(start) for output in outputs for start in output.split()])


def test_a_start_after_the_queue_is_at_once(tmp_path: Path) -> None:
    (tmp_path / "pace").write_text(f"{time.time() - 5}\n")
    assert Pacer(tmp_path / "pace", INTERVAL).reserve_start() == 0


HOLDER = """
import sys
from pathlib import Path
from antscache.disk import Locks

path = Path(sys.argv[1])
with Locks(path.parent, shared=False).attempt(path.name) as ours:
    print(ours, flush=True)
    path.write_text(sys.stdin.readline())
"""


@contextmanager
def another_process_reserving(path: Path) -> Iterator[IO[str]]:
    """Let another process hold the lock until it is sent the time from which the next start is free."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "True\n"
        yield process.stdin


def test_a_reservation_under_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer, "LOCK_WAIT_SECONDS", 50.0)
    with another_process_reserving(tmp_path / "pace") as stdin:

        def end() -> None:
            stdin.write(f"{time.time() + 5 * INTERVAL}\n")
            stdin.flush()

        ending = Timer(0.1, end)
        ending.start()
        assert Pacer(tmp_path / "pace", INTERVAL).reserve_start() == pytest.approx(5 * INTERVAL, abs=INTERVAL / 2)
        ending.join()


def test_a_lock_that_never_ends_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer, "LOCK_WAIT_SECONDS", 0.05)
    with another_process_reserving(tmp_path / "pace"):
        assert_one_each_interval(starts(tmp_path / "pace", 3))


def test_refused_locks_leave_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in the file still counts, and threads still keep apart."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert_one_each_interval(starts(tmp_path / "pace", 2) + starts_of_threads(tmp_path / "pace"))


def test_members_share_the_pace_whatever_their_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        for shared in (False, True):
            (tmp_path / f"{shared}").mkdir()
            for _ in range(2):
                Pacer(tmp_path / f"{shared}/pace", INTERVAL, shared=shared).reserve_start()
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*/*")}
    assert modes == {"False/pace": 0o600, "False/pace.lock": 0o600, "True/pace": 0o664, "True/pace.lock": 0o664}


# Errors that stop nobody


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"soon",
        b"\xff" * 24,
        b"\0" * 24,
        b"nan",
        b"inf",
        b"-inf",
        b"1e400",
        b"9" * 100,
        b"-1",
        b"1_0",
        b"0x1",
    ],
)
def test_a_damaged_file_is_mended(tmp_path: Path, content: bytes) -> None:
    """It reads as no time, and the next reservation writes it anew."""
    (tmp_path / "pace").write_bytes(content)
    shared = Pacer(tmp_path / "pace", INTERVAL)
    assert shared.reserve_start() == 0
    assert shared.reserve_start() == pytest.approx(INTERVAL, abs=INTERVAL / 2)


@given(content=st.binary(max_size=40))
def test_no_content_of_the_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "pace"
    path.write_bytes(content)
    assert 0 <= Pacer(path, INTERVAL).reserve_start() <= MAX_QUEUED_STARTS * INTERVAL


def test_without_a_file_the_interval_is_waited(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in tmp_path / "missing/pace", tmp_path / "file/pace", tmp_path / "directory", tmp_path / "link":
        assert [Pacer(path, INTERVAL).reserve_start() for _ in range(2)] == [INTERVAL] * 2
    assert (tmp_path / "file").read_bytes() == b""
    assert not (tmp_path / "missing").exists()


@pytest.mark.hard_links
def test_hard_linked_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "pace").hardlink_to(tmp_path / "victim")
    assert Pacer(tmp_path / "pace", INTERVAL).reserve_start() == INTERVAL
    assert (tmp_path / "victim").read_text() == "precious"


def test_pipe_instead_of_the_file_is_no_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pace")
    assert Pacer(tmp_path / "pace", INTERVAL).reserve_start() == INTERVAL


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    with no_file_beyond(0):
        assert Pacer(tmp_path / "pace", INTERVAL).reserve_start() == INTERVAL


def test_without_an_interval_nothing_is_written(tmp_path: Path) -> None:
    """Every start is free at once."""
    (tmp_path / "left").write_text("alone")
    for path in tmp_path / "pace", tmp_path / "left":
        assert [Pacer(path, 0.0).reserve_start() for _ in range(3)] == [0.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["left"]
    assert (tmp_path / "left").read_text() == "alone"
