"""How large a fetch is, before it starts: how many bytes it needs on the disk, as far as anybody has told.

Sizes are told by records, by what earlier runs have left, and by mirrors that are directories of this host. Origins are
asked only if somebody wants that: for the first byte of each file, whose answer says how many there are.
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
from antscache.disk import BLOCK, disk_space
from antscache.fetch.origins import parse_origins
from antscache.store import partial_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from antscache.core import Identifier, Wanted
    from antscache.fetch.attempts import Attempts
    from antscache.fetch.http import Client
    from antscache.fetch.origins import Origin
    from antscache.root import Root

    Sizes = Mapping[Identifier, int]  # in bytes

RESERVE_BYTES = 1 << 20  # for records, selections, names in views, and the index


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


def largest_first(wanted: Iterable[Wanted], sizes: Sizes) -> tuple[Wanted, ...]:
    """Sort `wanted` so that the large ones do not come last; those of unknown size keep their order behind them."""
    return tuple(sorted(wanted, key=lambda each: -sizes.get(each.identifier, 0)))


def need(root: Root, wanted: Sequence[Wanted], sizes: Sizes) -> Need:
    """Return what fetching `wanted` needs on the disk of `root`, where their `sizes` are known, and what there is."""
    partials = partial_files(root.layout)
    held = [partials[each.identifier][0].held if each.identifier in partials else 0 for each in wanted]
    free, block = disk_space(root.layout.root)
    return count_need([sizes.get(each.identifier) for each in wanted], held, free, root.settings.jobs, block)


def count_need(
    sizes: Sequence[int | None], held: Sequence[int], free: int | None, jobs: int, block: int = BLOCK
) -> Need:
    """Count what files of these `sizes` need, when `held` bytes of them are left by earlier runs: pure.

    What is left over is copied by whoever goes on, and removed once the file is whole. So in the end it is no cost; but
    while `jobs` files are under way, the largest of these are on the disk twice.

    Args:
        sizes: of each file; None where it is not known.
        held: of each file.
        free: bytes on the disk; None where it does not say.
        jobs: files under way at once.
        block: bytes in whose units the disk gives space.
    """
    known = [(size, min(size, left)) for size, left in zip(sizes, held, strict=True) if size is not None]
    left = sorted((left for _, left in known), reverse=True)
    whole = sum(-(-size // block) * block for size, _ in known)
    room = whole - sum(left[jobs:]) + RESERVE_BYTES if known else 0
    return Need(sum(size for size, _ in known), len(sizes) - len(known), room, free)


def known_sizes(root: Root, wanted: Iterable[Wanted]) -> dict[Identifier, int]:
    """Return the sizes of `wanted` that records, what earlier runs have left, and mirrors on this host tell.

    Raises:
        ConfigError: the origins in the settings cannot be used.
    """
    origins = parse_origins(root.settings.mirrors, root.settings.origins)
    mirrors = [origin for origin in origins if origin.is_local]
    left = {identifier: found[0].partial.size for identifier, found in partial_files(root.layout).items()}
    sizes: dict[Identifier, int] = {}
    for each in wanted:
        told = [each.known.size if each.known else None, left.get(each.identifier)]
        told += [_size_at(mirror, each) for mirror in mirrors]
        if size := next(filter(None, told), None):
            sizes[each.identifier] = size
    return sizes


def _size_at(mirror: Origin, wanted: Wanted) -> int | None:
    url = mirror.url(wanted.identifier, wanted.file, wanted.known.digest if wanted.known else None)
    with suppress(OSError, ValueError):
        status = Path(unquote(urlsplit(url).path)).stat() if url else None
        return status.st_size if status and S_ISREG(status.st_mode) else None
    return None


def least_seconds(root: Root, wanted: Sequence[Wanted]) -> float:
    """Return the least duration of fetching `wanted`, in seconds, that the rate limit of the first origin imposes."""
    first = parse_origins(root.settings.mirrors, root.settings.origins)[0]
    return root.settings.pace * max(0, len(wanted) - 1) if first.paced else 0.0


def find_sizes(root: Root, wanted: Iterable[Wanted], *, ask: bool = False) -> dict[Identifier, int]:
    """Return the sizes of `wanted`, as far as they are known; with `ask`, unless offline, as far as origins tell them.

    Raises:
        ConfigError: the settings, or the proxy or certificates that the environment names, cannot be used.
    """
    wanted = tuple(wanted)
    sizes = known_sizes(root, wanted)
    if ask and not root.settings.offline:
        sizes |= ask_sizes(root, [each for each in wanted if each.identifier not in sizes])
    return sizes


def ask_sizes(root: Root, wanted: Iterable[Wanted]) -> dict[Identifier, int]:
    """Ask origins for the sizes of `wanted`, several at once, each origin in turn and at its pace, nobody twice.

    Raises:
        ConfigError: the settings, or the proxy or certificates that the environment names, cannot be used.
    """
    from antscache.fetch.attempts import Attempts  # what speaks HTTP is slow to import
    from antscache.fetch.pacer import Pacer

    settings = root.settings
    origins = [each for each in parse_origins(settings.mirrors, settings.origins) if not each.is_local]
    asking = _Asking(settings.timeout, config.tokens(), wanted)
    pacer = Pacer(root.layout.pace, settings.pace, shared=root.layout.shared)
    asking.run(Attempts(origins, pacer, asking.stopped, rounds=1), settings.jobs)
    return asking.sizes


class _Asking:
    """The sizes that origins are asked for, and what they have told so far."""

    def __init__(self, timeout: float, tokens: Mapping[str, str], wanted: Iterable[Wanted]) -> None:
        self.sizes: dict[Identifier, int] = {}
        self.stopped = threading.Event()
        self._timeout, self._tokens = timeout, tokens
        self._todo = deque(wanted)
        self._failed: list[BaseException] = []

    def run(self, attempts: Attempts, jobs: int) -> None:
        # Daemons: one that waits for a silent origin must not keep an interrupted process alive.
        threads = [
            threading.Thread(target=self._work, args=(attempts,), daemon=True)
            for _ in range(min(jobs, len(self._todo)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
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
            self.sizes[wanted.identifier] = client.size(url, with_credentials=origin.trust == "mirror")

        return ask
