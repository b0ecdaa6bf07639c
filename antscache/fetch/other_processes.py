"""Files that other processes are fetching: leave them, look again, take them over when they stall.

Locks save bandwidth, and no lock is waited for without end: if its holder makes no progress, the file is fetched here.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache.core import Remarked, Waiting, identifier_key
from antscache.disk import Locks
from antscache.store import partial_files

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from antscache.core import Layout, Listener, Wanted
    from antscache.store import PartialFile

LEFT_FILE_POLL_SECONDS = 0.5  # between two looks for a file that another process is fetching


@dataclass(slots=True)
class LeftFile:
    """A file that another process is fetching.

    Attributes:
        wanted: the file.
        due: the time to look for it again, by the monotonic clock.
        since: the time from which the other process is given `patience` seconds to make progress.
        progress: the name, the size and the time of each partial file of it at that time. They are compared with
            themselves alone: the clock of the filesystem may be another one than this host's.
    """

    wanted: Wanted
    due: float
    since: float
    progress: frozenset[tuple[str, int, int]]


class OtherProcesses:
    """The files that other processes on one root are fetching.

    Only `claim` and `has_stalled` are safe between threads.

    Args:
        layout: of the root.
        patience: the seconds without progress after which a process is not waited for any longer.
        listen: called when a file is left to another process, when that stalls, and once if locks do not work.
    """

    def __init__(self, layout: Layout, patience: float, listen: Listener) -> None:
        self._layout = layout
        self._patience = patience
        self._listen = listen
        self._locks = Locks(layout.locks, shared=layout.shared)
        self._left: deque[LeftFile] = deque()
        self._remarked = False

    def claim(self, wanted: Wanted) -> AbstractContextManager[bool]:
        """Hold the lock of `wanted` during a `with` block, which gets False if another process has it."""
        return self._locks.attempt(identifier_key(wanted.identifier))

    @property
    def locks_work(self) -> bool:
        """True if locks keep other processes out, as far as this one has noticed."""
        return not self._locks.refusal

    def remark_on_locks(self) -> None:
        """Report once that locks do not work, if they do not."""
        if self._locks.refusal and not self._remarked:
            self._remarked = True
            refusal = f"locks do not work in {self._layout.locks} ({self._locks.refusal})"
            effect = "two processes may fetch the same file twice; its bytes are checked all the same"
            self._listen(Remarked(f"{refusal}: {effect}"))

    def leave(self, wanted: Wanted, before: LeftFile | None) -> None:
        """Leave `wanted` to the process that has its lock, and look again later.

        Args:
            wanted: the file.
            before: the result of the last look; None at the first, which is reported.
        """
        now = time.monotonic()
        if before is None:
            who = self._writer(wanted)
            reason = f"another process is fetching it{f' ({who})' if who else ''}"
            self._listen(Waiting(wanted.identifier, wanted.file, reason, 0.0))
            before = LeftFile(wanted, now, now, self._progress(wanted))
        self._left.append(replace(before, due=now + LEFT_FILE_POLL_SECONDS))

    def next_due(self) -> LeftFile | None:
        """Remove and return a file that it is time to look for again; None if there is none."""
        return self._left.popleft() if self._left and self._left[0].due <= time.monotonic() else None

    def has_stalled(self, left: LeftFile) -> bool:
        """Return True, and report it, if the process that has the lock has made no progress for `patience` seconds."""
        if time.monotonic() - left.since < self._patience:
            return False
        before, left.since, left.progress = left.progress, time.monotonic(), self._progress(left.wanted)
        if left.progress != before:
            return False
        who, file = self._writer(left.wanted) or "another process", left.wanted.file
        stalled = f"{who} has made no progress on {file} for {self._patience:g} s"
        self._listen(Remarked(f"{stalled}: this process fetches it now; if the other one has hung, end it"))
        return True

    def _writer(self, wanted: Wanted) -> str:
        """Return the name of the process that last wrote bytes of a file, from its note; empty if there is none."""
        partials = self._partials(wanted)
        return max(partials, key=lambda partial: partial.changed_ns).writer if partials else ""

    def _progress(self, wanted: Wanted) -> frozenset[tuple[str, int, int]]:
        return frozenset((file.path.name, file.held, file.changed_ns) for file in self._partials(wanted))

    def _partials(self, wanted: Wanted) -> list[PartialFile]:
        return partial_files(self._layout).get(wanted.identifier, [])
