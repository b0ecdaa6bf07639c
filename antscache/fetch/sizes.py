"""Space: how many bytes a fetch needs on the disk, as far as anybody has told, and how many there are.

Sizes are told by records, by what earlier runs have left, and by mirrors that are directories of this host. Origins are
asked only if somebody wants that: for the first byte of each file, whose answer says how many there are.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from threading import Event, Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from antscache.disk import BLOCK, disk_space
from antscache.fetch.origin_health import OriginHealth
from antscache.store import partial_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from antscache.core import Identifier, Layout, Wanted
    from antscache.fetch.http import Client
    from antscache.fetch.origins import Origin
    from antscache.fetch.pacer import Pacer

RESERVE = 1 << 20  # bytes for records, selections, names in views, and the index


@dataclass(frozen=True, slots=True)
class Need:
    """What a fetch needs on the disk, and what there is; in bytes.

    Attributes:
        download: the sizes that are known, together.
        unknown: of how many files nobody has told the size.
        room: what the files of known size take while they are fetched, beyond what is taken now.
        free: what the disk has for us; None where it does not say.
    """

    download: int
    unknown: int
    room: int
    free: int | None

    @property
    def short(self) -> int:
        """How many bytes are missing at least; 0 if none, or nobody can tell."""
        return 0 if self.free is None else max(0, self.room - self.free)


def need(wanted: Sequence[Wanted], layout: Layout, jobs: int) -> Need:
    """What fetching `wanted`, `jobs` at once, needs on the disk of a root."""
    held = {identifier: found[0].held for identifier, found in partial_files(layout).items()}
    free, block = disk_space(layout.root)
    return count(wanted, held, free, jobs, block)


def count(
    wanted: Sequence[Wanted], held: Mapping[Identifier, int], free: int | None, jobs: int, block: int = BLOCK
) -> Need:
    """What fetching `wanted` needs when `held` bytes of some are left by earlier runs, and `free` are free: pure.

    What is left over is copied by whoever goes on, and removed once the file is whole. So in the end it is no cost; but
    while `jobs` files are under way, the largest of these are on the disk twice.
    """
    sizes = [each.size for each in wanted if each.size is not None]
    left = sorted((min(each.size, held.get(each.identifier, 0)) for each in wanted if each.size), reverse=True)
    whole = sum(-(-size // block) * block for size in sizes)
    room = whole - sum(left[jobs:]) + RESERVE if sizes else 0
    return Need(sum(sizes), len(wanted) - len(sizes), room, free)


def sizes_at_hand(wanted: Iterable[Wanted], layout: Layout, origins: Iterable[Origin]) -> dict[Identifier, int]:
    """The sizes of `wanted` that are told by what earlier runs have left, and by mirrors on this host."""
    found = {identifier: each[0].partial.size for identifier, each in partial_files(layout).items()}
    mirrors = [origin for origin in origins if origin.template.startswith("file:")]
    for each in wanted:
        for mirror in mirrors:
            url = _url(mirror, each)
            if url and (size := _size_of_file(url)):
                found.setdefault(each.identifier, size)
    return found


def _size_of_file(url: str) -> int | None:
    with suppress(OSError, ValueError):
        status = Path(unquote(urlsplit(url).path)).stat()
        return status.st_size if S_ISREG(status.st_mode) else None
    return None


def _url(origin: Origin, wanted: Wanted) -> str | None:
    return origin.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)


@dataclass(slots=True)
class Asking:
    """Origins asked for sizes, `jobs` files at once, each origin in turn and at its pace. Nobody is asked twice."""

    origins: Sequence[Origin]
    pace: Pacer
    jobs: int
    timeout: float
    tokens: Mapping[str, str]
    _standing: dict[Origin, OriginHealth] = field(default_factory=dict)
    _todo: deque[Wanted] = field(default_factory=deque)
    _found: dict[Identifier, int] = field(default_factory=dict)
    _failed: list[BaseException] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)

    def sizes(self, wanted: Iterable[Wanted]) -> dict[Identifier, int]:
        """The sizes of those of `wanted` that have none, as far as an origin tells them.

        Raises:
            ConfigError: the environment names a proxy or certificates that cannot be used.
        """
        self._standing = {origin: OriginHealth() for origin in self.origins}
        self._todo.extend(each for each in wanted if each.size is None)
        # Daemons: one that waits for a silent origin must not keep an interrupted process alive.
        threads = [Thread(target=self._work, daemon=True) for _ in range(min(self.jobs, len(self._todo)))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._stop.set()
        for error in self._failed:
            raise error
        return self._found

    def _work(self) -> None:
        from antscache.fetch.http import Client  # urllib3 takes a tenth of a second to import

        try:
            with closing(Client(self.timeout, self.tokens)) as client, suppress(IndexError):
                while not self._stop.is_set():
                    self._ask(self._todo.popleft(), client)
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._failed.append(error)

    def _ask(self, wanted: Wanted, client: Client) -> None:
        from antscache.fetch.protocol import Refusal

        for origin in self.origins:
            url, standing = _url(origin, wanted), self._standing[origin]
            if url is None or url.startswith("file:") or standing.set_aside:
                continue
            if origin.paced:
                self._stop.wait(self.pace.turn())
            if self._stop.is_set() or standing.set_aside:
                continue
            try:
                self._found[wanted.identifier] = client.size(url, with_credentials=origin.trust == "mirror")
            except Refusal as refusal:
                standing.refused(refusal, time.monotonic(), progress=False)
            else:
                standing.answered()
                return
