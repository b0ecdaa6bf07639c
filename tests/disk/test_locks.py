"""Locks: one holder at a time if they work, and no harm if they do not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from typing import IO, TYPE_CHECKING

import pytest

from antscache.disk.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "34821874"
WAIT_SECONDS = 60.0  # so long that no delay of a loaded machine is taken for a failure

# Holds the lock as often as it gets it in so many rounds, and proves each time that nobody else does.
CONTENDER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

locks, witness, rounds = Locks(Path(sys.argv[1]), shared=False), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
held = 0
for _ in range(rounds):
    with locks.attempt("7") as ours:
        if ours:
            os.close(os.open(witness, os.O_CREAT | os.O_EXCL))  # FileExistsError: somebody else holds it too
            os.sched_yield()
            os.unlink(witness)
            held += 1
print(held, locks.refusal)
"""
# Adds to the number in the file, so that what two do at once is lost.
COUNTER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

locks, count = Locks(Path(sys.argv[1]), shared=False), Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    with locks.attempt("7", 120) as ours:
        assert ours
        before = int(count.read_text())
        os.sched_yield()
        count.write_text(f"{before + 1}")
"""
HOLDER = """
import sys
from pathlib import Path
from antscache.disk import Locks

with Locks(Path(sys.argv[1]), shared=False).attempt(sys.argv[2]) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


# Forks under the lock, and lets the lock go; the child lives until its input ends.
FORKER = """
import os, sys
from pathlib import Path
from antscache.disk import Locks

with Locks(Path(sys.argv[1]), shared=False).attempt(sys.argv[2]) as ours:
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
print(ours, flush=True)
os.waitpid(child, 0)
"""


def start(code: str, *arguments: str | Path | int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pipe_of(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def run_at_once(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let all processes begin together, and return the output of each."""
    for process in processes:
        assert pipe_of(process.stdout).readline() == "ready\n"
    for process in processes:
        pipe_of(process.stdin).write("go\n")
        pipe_of(process.stdin).flush()
    outputs = [process.communicate() for process in processes]
    assert [error for _, error in outputs] == [""] * len(processes)
    return [out for out, _ in outputs]


@contextmanager
def another_process_holding(directory: Path, name: str = NAME) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock `name` until its input ends."""
    with start(HOLDER, directory, name) as process:
        assert pipe_of(process.stdout).readline() == "True\n"
        yield process


def is_free(directory: Path, name: str = NAME) -> bool:
    """Return True if another process gets the lock `name`."""
    with start(HOLDER, directory, name) as process:
        return process.communicate("")[0] == "True\n"


def is_held_by_us(locks: Locks, name: str = NAME) -> bool:
    with locks.attempt(name) as ours:
        return ours


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir()
    return tmp_path / "locks"


@pytest.fixture
def locks(directory: Path) -> Locks:
    return Locks(directory, shared=False)


# One at a time


def test_never_two_processes_hold_a_lock(directory: Path) -> None:
    witness = directory.with_name("witness")
    outputs = run_at_once([start(CONTENDER, directory, witness, 1000) for _ in range(8)])
    assert sum(int(held) for held in outputs) > 0
    assert not witness.exists()


def test_never_two_threads_hold_a_lock(locks: Locks) -> None:
    together, inside, rounds = threading.Barrier(8), threading.Lock(), 100

    def contend() -> int:
        held = 0
        together.wait(WAIT_SECONDS)
        for _ in range(rounds):
            with locks.attempt(NAME) as ours:
                if ours:
                    assert inside.acquire(blocking=False)
                    os.sched_yield()
                    inside.release()
                    held += 1
        return held

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result() for future in [pool.submit(contend) for _ in range(8)]) > 0


def test_an_attempt_in_vain_takes_nothing(directory: Path, locks: Locks) -> None:
    """An attempt that fails does not release the lock of its holder."""
    with another_process_holding(directory) as holder:
        assert [is_held_by_us(locks) for _ in range(3)] == [False] * 3
        assert not is_free(directory)
        holder.communicate("")
    assert is_held_by_us(locks)
    assert locks.refusal == ""


@pytest.mark.parametrize("other", ["7", "348218740", "pace", "9999999999999999999"])
def test_a_lock_concerns_its_name_alone(directory: Path, locks: Locks, other: str) -> None:
    with locks.attempt(NAME) as first:
        with locks.attempt(other) as second:
            assert (first, second) == (True, True)
            assert (is_free(directory), is_free(directory, other)) == (False, False)
        assert (is_free(directory), is_free(directory, other)) == (False, True)


def test_a_killed_process_holds_nothing(directory: Path, locks: Locks) -> None:
    with another_process_holding(directory) as holder:
        holder.kill()
        holder.wait()
        assert is_held_by_us(locks)


def test_a_failure_under_a_lock_frees_it(directory: Path, locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError), locks.attempt(NAME):
        _ = 1 / 0
    assert is_free(directory)


def test_no_descriptor_is_left_open(directory: Path, locks: Locks) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    with another_process_holding(directory, "held"):
        holding = count()
        for name in NAME, "held", NAME:
            with locks.attempt(name):
                pass
        assert count() == holding
    assert count() == before


def test_child_processes_hold_no_lock(directory: Path, locks: Locks) -> None:
    """A lock ends even if a process that was started under it goes on."""
    with locks.attempt(NAME):
        lasting = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    assert is_free(directory)
    lasting.communicate(b"\n")


def test_forked_processes_hold_no_lock(directory: Path) -> None:
    """A lock ends with its block, even if a process that was forked in it has the descriptor of its file too."""
    with start(FORKER, directory, NAME) as process:
        assert pipe_of(process.stdout).readline() == "True\n"
        assert is_free(directory)


# The lock file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_of_lock_files(directory: Path, umask: int) -> None:
    """In a shared directory every member may lock; elsewhere the umask decides. The lock files stay."""
    before = os.umask(umask)
    try:
        for name, shared in (("own", False), ("shared", True)):
            for _ in range(2):
                assert is_held_by_us(Locks(directory, shared=shared), name)
    finally:
        os.umask(before)
    modes = {path.name: S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"own.lock": 0o666 & ~umask, "shared.lock": 0o664}


@pytest.mark.parametrize("exists", [True, False])
def test_no_link_is_followed(directory: Path, locks: Locks, exists: bool) -> None:
    victim, planted = directory.with_name("victim"), directory / f"{NAME}.lock"
    if exists:
        victim.write_text("precious")
    planted.symlink_to(victim)
    assert is_held_by_us(locks)
    assert (locks.refusal, planted.readlink()) == (f"{NAME}.lock is not a file", victim)
    assert victim.read_text() == "precious" if exists else not victim.exists()


@pytest.mark.hard_links
def test_no_file_with_a_second_name_is_locked(directory: Path, locks: Locks) -> None:
    victim = directory.with_name("victim")
    victim.write_text("precious")
    victim.chmod(0o640)
    (directory / f"{NAME}.lock").hardlink_to(victim)
    with locks.attempt(NAME) as ours, victim.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert (ours, locks.refusal) == (True, f"{NAME}.lock has a second name")
    assert (victim.read_text(), S_IMODE(victim.stat().st_mode)) == ("precious", 0o640)


def test_no_pipe_is_waited_for(directory: Path, locks: Locks) -> None:
    os.mkfifo(directory / f"{NAME}.lock")
    assert is_held_by_us(locks)
    assert locks.refusal == f"{NAME}.lock is not a file"


# Where there are no locks


@pytest.mark.parametrize("where", ["missing", "missing/below", "file", "file/below"])
def test_a_missing_directory_has_no_locks(tmp_path: Path, where: str) -> None:
    """Everybody gets the lock, and nothing is made."""
    (tmp_path / "file").write_bytes(b"")
    first, second = (Locks(tmp_path / where, shared=False) for _ in range(2))
    with first.attempt(NAME) as one, second.attempt(NAME, WAIT_SECONDS) as two:
        assert (one, two) == (True, True)
    assert first.refusal in {os.strerror(errno.ENOENT), os.strerror(errno.ENOTDIR)}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO])
def test_refused_locks_are_given_to_everybody(
    directory: Path, locks: Locks, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_locks(monkeypatch, number)
    with locks.attempt(NAME) as first, locks.attempt(NAME) as second, locks.attempt(NAME, WAIT_SECONDS) as third:
        assert (first, second, third) == (True, True, True)
    assert locks.refusal == os.strerror(number)
    assert [path.name for path in directory.iterdir()] == [f"{NAME}.lock"]  # nothing that stands for a lock instead


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_held_lock_is_no_refusal(locks: Locks, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse_locks(monkeypatch, number)
    assert not is_held_by_us(locks)
    assert locks.refusal == ""


def test_the_first_refusal_is_kept(directory: Path, locks: Locks) -> None:
    """A name that cannot be locked does not affect the others."""
    (directory / "first.lock").mkdir()
    (directory / "second.lock").symlink_to("nowhere")
    with another_process_holding(directory):
        assert [is_held_by_us(locks, name) for name in ("first", "second", "third", NAME)] == [True, True, True, False]
    assert locks.refusal == "first.lock is not a file"


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


# Waiting


def test_waiting_processes_get_the_lock_in_turn(directory: Path) -> None:
    count = directory.with_name("count")
    count.write_text("0")
    run_at_once([start(COUNTER, directory, count, 25) for _ in range(4)])
    assert count.read_text() == "100"


def test_waiting_ends_when_the_holder_is_killed(directory: Path, locks: Locks) -> None:
    with another_process_holding(directory) as holder:
        killer = threading.Timer(0.05, holder.kill)
        killer.start()
        with locks.attempt(NAME, WAIT_SECONDS) as ours:
            assert ours
            assert not is_free(directory)
        killer.join()


def test_waiting_ends_with_its_time(directory: Path, locks: Locks) -> None:
    with another_process_holding(directory):
        began = time.monotonic()
        with locks.attempt(NAME, 0.1) as ours:
            assert not ours
            assert 0.1 <= time.monotonic() - began < WAIT_SECONDS
        assert not is_free(directory)
