"""Files that other processes are fetching: left to them, looked for again, and taken over when nothing happens.

Locks save bandwidth, and no lock is worth waiting for ever: where its holder does nothing, the file is fetched here.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache.core import Remarked, Waiting, figshare_number
from antscache.disk import Locks
from antscache.store import partial_files

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from antscache.core import Layout, Listener, Wanted
    from antscache.store import PartialFile

LOOK_SECONDS = 0.5  # after which it is looked again for what another process is fetching


@dataclass(slots=True)
class LeftFile:
    """A file that another process is fetching: when to look for it again, and since when nothing was seen of it."""

    wanted: Wanted
    due: float
    since: float


class OtherProcesses:
    """What other processes on one root are fetching. Not safe between threads, but for `claim` and `has_stalled`.

    Args:
        layout: of the root.
        patience: seconds after which a process that does nothing is waited for no longer.
        listen: hears of waiting, of stalled processes, and once that locks do not work.
    """

    def __init__(self, layout: Layout, patience: float, listen: Listener) -> None:
        self._layout = layout
        self._patience = patience
        self._listen = listen
        self._locks = Locks(layout.locks, shared=layout.shared)
        self._left: deque[LeftFile] = deque()
        self._remarked = False

    def claim(self, wanted: Wanted) -> AbstractContextManager[bool]:
        """Hold the lock of `wanted` while a block runs; False if another process has it."""
        return self._locks.attempt(figshare_number(wanted.identifier))

    def remark_on_locks(self) -> None:
        """Say once that locks do not work, if they do not."""
        if self._locks.refusal and not self._remarked:
            self._remarked = True
            told = f"locks do not work in {self._layout.locks} ({self._locks.refusal})"
            more = "what two processes want at once may be fetched twice, and is right anyway"
            self._listen(Remarked(f"{told}: {more}"))

    def leave(self, wanted: Wanted, before: LeftFile | None) -> None:
        """Leave `wanted` to the process that has its lock, and look again in a while."""
        now = time.monotonic()
        if before is None:
            who = self._writer(wanted)
            reason = f"another process is fetching it{f' ({who})' if who else ''}"
            self._listen(Waiting(wanted.identifier, wanted.file, reason, 0.0))
        self._left.append(LeftFile(wanted, now + LOOK_SECONDS, before.since if before else now))

    def next_due(self) -> LeftFile | None:
        """Return a file that it is time to look for again, if there is one."""
        return self._left.popleft() if self._left and self._left[0].due <= time.monotonic() else None

    def has_stalled(self, left: LeftFile) -> bool:
        """Return whether the process that has the lock has done nothing for long; then say so."""
        if time.monotonic() - left.since < self._patience:
            return False
        left.since = time.monotonic()
        partials = self._partials(left.wanted)
        if any(partial.age() < self._patience for partial in partials):
            return False
        who, file = self._writer(left.wanted) or "another process", left.wanted.file
        told = f"{who} has done nothing for {self._patience:g} s about {file}, which is fetched here now"
        self._listen(Remarked(f"{told}; if it has hung, end it"))
        return True

    def _writer(self, wanted: Wanted) -> str:
        """Return the process that wrote of a file last, as its note says; empty where there is none."""
        partials = self._partials(wanted)
        return min(partials, key=lambda partial: partial.age()).writer if partials else ""

    def _partials(self, wanted: Wanted) -> list[PartialFile]:
        return partial_files(self._layout).get(wanted.identifier, [])
