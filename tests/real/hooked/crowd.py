"""Import ANTsPyNet once, and fork processes from it that ask for files. Each leads a process group of its own.

A line of stdin is a JSON object that starts a group of processes: `group`, its number; `count`, the number of
processes; `asked`, a list of KIND/NAME; `environ`, their variables; `when`, a path or "". They ask for all files but
the last, wait for each other and for something at the path, and ask for the last.

Lines of stdout: {"ready": true}; for each process {"group", "started"} and {"group", "waiting"} with its number; its
last answer, in the form of `ask`, unless it was killed; and {"group", "pid", "code"} when it has ended. At the end of
stdin all processes are killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import antspynet  # noqa: F401  before the first fork
from ask import ask  # type: ignore[import-not-found]  # it is beside this program

stdout = os.dup(1)
os.dup2(2, 1)  # Keras prints there
groups: dict[int, int] = {}  # the group of each running process
barriers: list[object] = []  # kept: a new barrier may get a deleted one's memory, while processes still wait at that


def tell(**facts: Any) -> None:
    """Write a line in one call, so that lines of several processes do not mix."""
    os.write(stdout, (json.dumps(facts) + "\n").encode())


def start(group: int, count: int, asked: list[str], environ: dict[str, str], when: str) -> None:
    """Fork a group of processes."""
    together = multiprocessing.get_context("fork").Barrier(count)
    barriers.append(together)
    for _ in range(count):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # before its number is known, it cannot have ended
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            try:
                os.environ.update(environ)
                *before, last = asked
                for each in before:
                    ask(each)
                together.wait()
                tell(group=group, waiting=os.getpid())
                while when and not Path(when).exists():
                    time.sleep(0.02)
                tell(group=group, **ask(last))
            except BaseException:  # noqa: BLE001  a child must never go on to read stdin
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        with suppress(OSError):  # it has done so itself
            os.setpgid(pid, pid)
        groups[pid] = group
        tell(group=group, started=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def reap(*_: object) -> None:
    """Report the processes that have ended."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            tell(group=groups.pop(pid), pid=pid, code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, reap)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        tell(ready=True)
        for line in sys.stdin:
            start(**json.loads(line))
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for leader in groups:
            with suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
