"""The size of a fetch before it starts, and the bytes that it needs on the disk, as far as sizes are known.

Sizes are known from records, from partial files of earlier runs, and from mirrors that are directories of this host.
Origins are asked only on request (`--sizes`, `adopt`), for the first byte of each file: the answer states the size of
the whole, and of most files the MD5.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from antscache import config
from antscache.core import ignore_events
from antscache.disk import DEFAULT_BLOCK_BYTES, disk_space
from antscache.fetch.origins import origins_of, parse_origins
from antscache.fetch.workers import start_threads
from antscache.store import partial_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from antscache.core import Identifier, Wanted
    from antscache.fetch.attempts import Attempts
    from antscache.fetch.http import Client
    from antscache.fetch.origins import Origin
    from antscache.fetch.protocol import FileFacts
    from antscache.root import Root

    Sizes = Mapping[Identifier, int]  # in bytes

RESERVE_BYTES = 1 << 20  # for records, selections, names in views, and the index


@dataclass(frozen=True, slots=True)
class Told:
    """An origin's answer about a file that was not fetched."""

    origin: Origin
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Need:
    """The room that a fetch needs on the disk, and the room there is, in bytes.

    Attributes:
        download: the sum of the known sizes.
        unknown: the number of files whose size is not known.
        room: the room that the files of known size need while they are fetched, beyond what is taken now.
        free: the room that the disk has for this user; None if it does not say.
    """

    download: int
    unknown: int
    room: int
    free: int | None

    @property
    def short(self) -> int:
        """The least number of bytes that the disk lacks; 0 if none, or if it does not say."""
        return 0 if self.free is None else max(0, self.room - self.free)


def sort_largest_first(wanted: Iterable[Wanted], sizes: Sizes) -> tuple[Wanted, ...]:
    """Sort `wanted` by size, the largest first; files of unknown size come last, in the order they had."""
    return tuple(sorted(wanted, key=lambda each: -sizes.get(each.identifier, 0)))


def measure_need(root: Root, wanted: Sequence[Wanted], sizes: Sizes) -> Need:
    """Return the room that fetching `wanted`, of these `sizes`, needs on the disk of `root`, and the room there is."""
    partials = partial_files(root.layout)
    held = [partials[each.identifier][0].held if each.identifier in partials else 0 for each in wanted]
    free, block = disk_space(root.layout.root)
    return count_need([sizes.get(each.identifier) for each in wanted], held, free, root.settings.jobs, block)


def count_need(
    sizes: Sequence[int | None], held: Sequence[int], free: int | None, jobs: int, block: int = DEFAULT_BLOCK_BYTES
) -> Need:
    """Count the room that files of these `sizes` need, if earlier runs have left `held` bytes of them. Pure.

    A partial file is copied by the run that continues it, and removed once the file is complete. So it costs nothing in
    the end; but while `jobs` files are under way, as many partial files are on the disk twice: the largest are counted.

    Args:
        sizes: the size of each file; None if it is not known.
        held: the bytes of each file in its longest partial file.
        free: the room on the disk; None if it does not say.
        jobs: the number of files under way at once.
        block: the unit in bytes in which the disk gives room.
    """
    known = [(size, min(size, left)) for size, left in zip(sizes, held, strict=True) if size is not None]
    left = sorted((left for _, left in known), reverse=True)
    whole = sum(-(-size // block) * block for size, _ in known)
    room = whole - sum(left[jobs:]) + RESERVE_BYTES if known else 0
    return Need(sum(size for size, _ in known), len(sizes) - len(known), room, free)


def collect_known_sizes(root: Root, wanted: Iterable[Wanted]) -> dict[Identifier, int]:
    """Return the sizes of `wanted` that are known from records, partial files and mirrors on this host.

    Raises:
        ConfigError: the origins in the settings cannot be used.
    """
    origins = parse_origins(root.settings.mirrors, root.settings.origins)
    mirrors = [origin for origin in origins if origin.is_local]
    partial = {identifier: partials[0].partial.size for identifier, partials in partial_files(root.layout).items()}
    sizes: dict[Identifier, int] = {}
    for each in wanted:
        candidates = [each.known.size if each.known else None, partial.get(each.identifier)]
        candidates += [_size_at(mirror, each) for mirror in mirrors]
        if size := next(filter(None, candidates), None):
            sizes[each.identifier] = size
    return sizes


def _size_at(mirror: Origin, wanted: Wanted) -> int | None:
    """Return the size of `wanted` in a mirror on this host; None if the mirror does not have it."""
    url = mirror.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)
    with suppress(OSError, ValueError):
        status = Path(unquote(urlsplit(url).path)).stat() if url else None
        return status.st_size if status and S_ISREG(status.st_mode) else None
    return None


def least_seconds(root: Root, wanted: Sequence[Wanted]) -> float:
    """Return the least duration of fetching `wanted`, in seconds, that the rate limit of their first origin imposes."""
    origins = parse_origins(root.settings.mirrors, root.settings.origins)
    paced = sum(origins_of(each.identifier, origins)[0].paced for each in wanted)
    return root.settings.pace * max(0, paced - 1)


def find_sizes(root: Root, wanted: Iterable[Wanted], *, ask: bool = False) -> dict[Identifier, int]:
    """Return the known sizes of `wanted`; with `ask`, and unless offline, ask origins for the others.

    Raises:
        ConfigError: the settings, or the proxy or certificates that the environment names, cannot be used.
    """
    wanted = tuple(wanted)
    sizes = collect_known_sizes(root, wanted)
    if ask and not root.settings.offline:
        told = ask_origins(root, [each for each in wanted if each.identifier not in sizes])
        sizes |= {identifier: answer.facts.size for identifier, answer in told.items()}
    return sizes


def ask_origins(root: Root, wanted: Iterable[Wanted]) -> dict[Identifier, Told]:
    """Ask origins for the size and MD5 of `wanted`, several at once: each in turn, at its pace, once for each file.

    Files that no origin answers about are left out. Mirrors that are directories of this host are not asked.

    Raises:
        ConfigError: the settings, or the proxy or certificates that the environment names, cannot be used.
    """
    from antscache.fetch.attempts import Attempts  # HTTP is slow to import
    from antscache.fetch.pacer import Pacer

    settings = root.settings
    origins = [each for each in parse_origins(settings.mirrors, settings.origins) if not each.is_local]
    asking = _Asking(settings.timeout, config.read_tokens(), wanted)
    pacer = Pacer(root.layout.pace, settings.pace, shared=root.layout.shared)
    asking.run(Attempts(origins, pacer, asking.stopped, rounds=1), settings.jobs)
    return asking.told


class _Asking:
    """The files that origins are asked about, and their answers so far."""

    def __init__(self, timeout: float, tokens: Mapping[str, str], wanted: Iterable[Wanted]) -> None:
        self.told: dict[Identifier, Told] = {}
        self.stopped = threading.Event()
        self._timeout, self._tokens = timeout, tokens
        self._todo = deque(wanted)
        self._failed: list[BaseException] = []

    def run(self, attempts: Attempts, jobs: int) -> None:
        """Ask about all files, `jobs` at once; raise the first error of a thread.

        Raises:
            ConfigError: the proxy or certificates that the environment names cannot be used.
        """
        # Daemons: a thread that waits for a silent origin must not keep an interrupted process alive.
        threads = [
            threading.Thread(target=self._work, args=(attempts,), daemon=True)
            for _ in range(min(jobs, len(self._todo)))
        ]
        try:
            for thread in start_threads(threads):
                thread.join()
        finally:
            self.stopped.set()
        for error in self._failed:
            raise error

    def _work(self, attempts: Attempts) -> None:
        from antscache.fetch.attempts import Question
        from antscache.fetch.http import Client

        try:
            with closing(Client(self._timeout, self._tokens)) as client, suppress(IndexError):
                while not self.stopped.is_set():
                    wanted = self._todo.popleft()
                    attempts.deliver(Question(wanted, self._asker(wanted, client), lambda: 0, ignore_events))
        except BaseException as error:  # noqa: BLE001  handed to the thread that asked, and raised there
            self._failed.append(error)

    def _asker(self, wanted: Wanted, client: Client) -> Callable[[Origin], None]:
        from antscache.fetch.attempts import url_at

        def ask(origin: Origin) -> None:
            url = url_at(origin, wanted)
            facts = client.facts(url, with_credentials=origin.trust == "mirror")
            self.told[wanted.identifier] = Told(origin, facts)

        return ask
