"""Locks: one process at a time where they work, and no harm where they do not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antscache.disk.locks import PLACES, Locks

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 10**19 - 1  # number of an identifier

# Holds the lock as often as it gets it in so many rounds, and proves each time that nobody else does.
CONTENDER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

locks, witness, rounds = Locks(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
held = 0
for _ in range(rounds):
    with locks.attempt(7) as ours:
        if ours:
            os.close(os.open(witness, os.O_CREAT | os.O_EXCL))  # FileExistsError: somebody else holds it too
            os.sched_yield()
            os.unlink(witness)
            held += 1
print(held)
"""
# Adds to the number in the file, so that a turn that two have at once is lost.
COUNTER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

locks = Locks(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    with locks.waiting(50):
        before = int(os.pread(locks.descriptor, 4, 0))
        os.sched_yield()
        os.pwrite(locks.descriptor, f"{before + 1:<4}".encode(), 0)
"""
HOLDER = """
import sys
from pathlib import Path
from antscache.disk import Locks

with Locks(Path(sys.argv[1])).attempt(int(sys.argv[2])) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


def started(code: str, *arguments: str | Path | int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def there(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def run_at_once(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each prints, when all begin together."""
    for process in processes:
        assert there(process.stdout).readline() == "ready\n"
    for process in processes:
        there(process.stdin).write("go\n")
        there(process.stdin).flush()
    told = [process.communicate() for process in processes]
    assert [error for _, error in told] == [""] * len(processes)
    return [out for out, _ in told]


@contextmanager
def another_process_holding(path: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock on `number` until its input ends."""
    with started(HOLDER, path, number) as process:
        assert there(process.stdout).readline() == "True\n"
        yield process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identifiers"


@pytest.fixture
def locks(path: Path) -> Iterator[Locks]:
    with closing(Locks(path)) as opened:
        yield opened


# One at a time


def test_of_many_processes_never_two_hold_a_lock(path: Path) -> None:
    held = run_at_once([started(CONTENDER, path, path.with_name("witness"), 3000) for _ in range(8)])
    assert sum(map(int, held)) > 0
    assert not path.with_name("witness").exists()


def test_who_does_not_get_a_lock_takes_nothing_from_who_holds_it(path: Path, locks: Locks) -> None:
    with another_process_holding(path, 7) as holder:
        for _ in range(3):
            with locks.attempt(7) as ours:
                assert not ours
        holder.communicate("")
    with locks.attempt(7) as ours:
        assert ours


@pytest.mark.parametrize("number", [1, 34821874, PLACES - 1, LARGEST])
def test_each_number_that_an_identifier_has_can_be_held(path: Path, locks: Locks, number: int) -> None:
    with another_process_holding(path, number), locks.attempt(number) as ours:
        assert not ours


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, LARGEST).filter(lambda number: number % PLACES != 7), max_size=8))
def test_one_lock_has_nothing_to_do_with_another(path: Path, locks: Locks, numbers: list[int]) -> None:
    for number in numbers:
        with locks.attempt(7) as first, locks.attempt(number) as second:
            assert (first, second) == (True, True)
    assert path.stat().st_size == 0


def test_a_lock_that_ends_gives_up_no_other_one(path: Path, locks: Locks) -> None:
    with locks.attempt(6), locks.attempt(8):
        with locks.attempt(7):
            pass
        with another_process_holding(path, 7):
            pass
        for number in 6, 8:
            with started(HOLDER, path, number) as process:
                assert process.communicate("")[0] == "False\n"


def test_the_locks_of_a_process_that_was_killed_are_free(path: Path, locks: Locks) -> None:
    with another_process_holding(path, 7) as holder:
        holder.kill()
        holder.wait()
        with locks.attempt(7) as ours:
            assert ours


def test_a_lock_is_free_again_when_what_was_done_under_it_fails(path: Path, locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError), locks.attempt(7):
        _ = 1 / 0
    with another_process_holding(path, 7):
        pass


def test_whoever_closes_the_locks_holds_none(path: Path) -> None:
    locks = Locks(path)
    with locks.attempt(7) as ours:
        assert ours
        locks.close()
        with another_process_holding(path, 7):
            pass
    locks.close()
    assert path.exists()


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with closing(Locks(path)) as locks, locks.attempt(7), locks.waiting(0):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Where there are no locks


def test_a_directory_that_cannot_have_locks_says_yes_to_everybody(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    for path in tmp_path / "missing/locks", tmp_path / "file/locks", tmp_path / "directory":
        with closing(Locks(path)) as first, closing(Locks(path)) as second:
            assert first.descriptor is None
            with first.attempt(7) as one, second.attempt(7) as two, first.waiting(5), second.waiting(5):
                assert (one, two) == (True, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_the_locks_is_never_followed(tmp_path: Path, path: Path, exists: bool) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    path.symlink_to(victim)
    with closing(Locks(path)) as locks, locks.attempt(7) as ours:
        assert (ours, locks.descriptor) == (True, None)
    assert path.is_symlink()
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "precious"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_locks_do_not_work_everybody_has_them(locks: Locks, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse_locks(monkeypatch, number)
    with locks.attempt(7) as first, locks.attempt(7) as second, locks.waiting(50):
        assert (first, second) == (True, True)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_the_system_says_is_held_is_held(
    locks: Locks, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_locks(monkeypatch, number)
    with locks.attempt(7) as ours:
        assert not ours


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)


# Waiting


def test_of_the_processes_that_wait_each_has_the_lock_in_turn(path: Path) -> None:
    path.write_bytes(b"0   ")
    run_at_once([started(COUNTER, path, 25) for _ in range(4)])
    assert path.read_bytes() == b"100 "


def test_who_waits_has_the_lock_when_its_holder_is_killed(path: Path, locks: Locks) -> None:
    with another_process_holding(path, 0) as holder:
        killer = threading.Timer(0.05, holder.kill)
        killer.start()
        with locks.waiting(50), started(HOLDER, path, 0) as process:
            assert process.communicate("")[0] == "False\n"
        killer.join()


def test_nobody_waits_longer_than_their_patience(path: Path, locks: Locks) -> None:
    with another_process_holding(path, 0):
        began = time.monotonic()
        with locks.waiting(0.1):
            assert 0.1 <= time.monotonic() - began < 20


def test_who_waited_in_vain_takes_nothing_from_who_holds_the_lock(path: Path, locks: Locks) -> None:
    with another_process_holding(path, 0):
        with locks.waiting(0):
            pass
        with locks.attempt(0) as ours:
            assert not ours
