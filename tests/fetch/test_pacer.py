"""Pace: turns at an origin, one each so many seconds, whoever asks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Timer
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.limits import no_file_beyond

from antscache.fetch import pacer
from antscache.fetch.pacer import AHEAD, Pacer, next_turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
INTERVAL = 100.0  # seconds: so long that no delay of this machine is taken for one

moments = st.floats(0, 4e9)
intervals = st.floats(0.001, 3600)


def turns(path: Path, count: int) -> list[float]:
    """When `count` turns are, told by the clock."""
    return turns_of(Pacer(path, INTERVAL), count)


def turns_of(shared: Pacer, count: int) -> list[float]:
    return [time.time() + shared.turn() for _ in range(count)]


def assert_one_each_interval(found: list[float]) -> None:
    numbered = sorted((turn - min(found)) / INTERVAL for turn in found)
    assert numbered == pytest.approx(range(len(found)), abs=0.5)


# When


@given(now=moments, passed=st.lists(st.floats(0, 10_000), max_size=30), interval=intervals)
def test_the_turns_of_one_queue_are_at_least_the_interval_apart(
    now: float, passed: list[float], interval: float
) -> None:
    before = next_turn(now, 0.0, interval)
    for seconds in passed:
        now += seconds
        turn = next_turn(now, before + interval, interval)
        assert turn >= before + interval
        before = turn


@given(now=moments, waiting=st.integers(0, AHEAD - 1), interval=intervals)
def test_a_queue_is_waited_for_however_long_it_is(now: float, waiting: int, interval: float) -> None:
    assert next_turn(now, now + waiting * interval, interval) == now + waiting * interval


@given(now=moments, free=st.floats(), interval=intervals)
@example(now=NOW, free=NOW + 10 * 365 * 86_400, interval=1.0)
@example(now=NOW, free=math.nan, interval=1.0)
@example(now=NOW, free=math.inf, interval=1.0)
@example(now=NOW, free=-math.inf, interval=1.0)
def test_no_clock_and_no_nonsense_makes_anybody_wait_longer_than_a_queue_can_be(
    now: float, free: float, interval: float
) -> None:
    assert now <= next_turn(now, free, interval) <= now + AHEAD * interval


def test_a_turn_that_nobody_waits_for_is_now() -> None:
    assert next_turn(NOW, 0.0, 1.0) == next_turn(NOW, NOW - 5, 1.0) == next_turn(NOW, NOW, 1.0) == NOW


# Who


def test_each_turn_is_the_interval_after_the_one_before(tmp_path: Path) -> None:
    found = turns(tmp_path / "pace", 5)
    assert found[0] == pytest.approx(time.time(), abs=INTERVAL / 2)
    assert_one_each_interval(found)


def test_no_two_threads_have_the_same_turn(tmp_path: Path) -> None:
    shared, together = Pacer(tmp_path / "pace", INTERVAL), Barrier(8)

    def work() -> list[float]:
        together.wait(30)
        return turns_of(shared, 40)

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work) for _ in range(8)]
        assert_one_each_interval([turn for each in working for turn in each.result()])


def test_no_two_processes_have_the_same_turn(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from antscache.fetch import Pacer\n"
        f"shared = Pacer(Path(sys.argv[1]), {INTERVAL})\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(*(time.time() + shared.turn() for _ in range(80)))"
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
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert_one_each_interval([float(turn) for each in told for turn in each.split()])


def test_who_comes_after_the_queue_is_gone_has_the_turn_at_once(tmp_path: Path) -> None:
    (tmp_path / "pace").write_text(f"{time.time() - 5}\n")
    assert Pacer(tmp_path / "pace", INTERVAL).turn() == 0


HOLDER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

locks = Locks(Path(sys.argv[1]))
with locks.waiting(0):
    print("held", flush=True)
    os.pwrite(locks.descriptor, sys.stdin.readline().encode(), 0)
"""


@contextmanager
def another_process_taking_its_turn(path: Path) -> Iterator[IO[str]]:
    """Another process has the lock until it is told when the next turn is."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield process.stdin


def test_who_comes_while_another_takes_its_turn_has_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacer, "PATIENCE", 50.0)
    with another_process_taking_its_turn(tmp_path / "pace") as told:

        def end() -> None:
            told.write(f"{time.time() + 5 * INTERVAL}\n")
            told.flush()

        ending = Timer(0.1, end)
        ending.start()
        assert Pacer(tmp_path / "pace", INTERVAL).turn() == pytest.approx(5 * INTERVAL, abs=INTERVAL / 2)
        ending.join()


def test_who_never_lets_go_of_the_lock_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer, "PATIENCE", 0.05)
    with another_process_taking_its_turn(tmp_path / "pace"):
        assert_one_each_interval(turns(tmp_path / "pace", 3))


# What cannot go wrong


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
def test_a_damaged_file_says_nothing_and_is_mended_by_the_next_turn(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pace").write_bytes(content)
    shared = Pacer(tmp_path / "pace", INTERVAL)
    assert shared.turn() == 0
    assert shared.turn() == pytest.approx(INTERVAL, abs=INTERVAL / 2)


@given(content=st.binary(max_size=40))
def test_no_content_of_the_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "pace"
    path.write_bytes(content)
    assert 0 <= Pacer(path, INTERVAL).turn() <= AHEAD * INTERVAL


def test_where_there_can_be_no_file_each_has_a_pace_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in tmp_path / "missing/pace", tmp_path / "file/pace", tmp_path / "directory", tmp_path / "link":
        assert [Pacer(path, INTERVAL).turn() for _ in range(2)] == [INTERVAL] * 2
    assert (tmp_path / "file").read_bytes() == b""
    assert not (tmp_path / "missing").exists()


def test_a_pipe_in_place_of_the_file_is_no_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pace")
    assert Pacer(tmp_path / "pace", INTERVAL).turn() in {0.0, INTERVAL}


def test_a_disk_that_refuses_the_next_turn_is_no_error(tmp_path: Path) -> None:
    with no_file_beyond(0):
        assert Pacer(tmp_path / "pace", INTERVAL).turn() in {0.0, INTERVAL}


def test_without_an_interval_it_is_always_ones_turn_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "left").write_text("alone")
    for path in tmp_path / "pace", tmp_path / "left":
        assert [Pacer(path, 0.0).turn() for _ in range(3)] == [0.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["left"]
    assert (tmp_path / "left").read_text() == "alone"
