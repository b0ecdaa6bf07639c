"""Threads for a fetch: as many as the system gives."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from antscache.disk import HINTS
from antscache.errors import AntsCacheError

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence


def start_threads(threads: Sequence[threading.Thread]) -> list[threading.Thread]:
    """Start `threads`, and return those that the system has started.

    Raises:
        AntsCacheError: it starts none of them.
    """
    started: list[threading.Thread] = []
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:  # Python's word for a limit of the system
            break
        started.append(thread)
    if threads and not started:
        raise AntsCacheError("the system starts no thread", hint=HINTS[errno.EAGAIN])
    return started
