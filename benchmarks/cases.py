"""The files to fetch, and the speeds at which they are served. Pure.

A stand-in makes up files of these sizes. They are in the release's order, and not by size: a tool that takes them in
that order has large ones left when the small ones are done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RELEASE = "antspynet==0.3.2"
JOBS = 8  # transfers at once, for each tool that has more than one
MB = 1_000_000

# fmt: off
_DATA = (1, 12, 2, 5, 30, 1, 3, 8, 2, 16)
_NETWORKS = (
    60, 4, 22, 200, 1, 95, 90, 22, 60, 150, 6, 22, 44, 180, 3,
    30, 66, 15, 120, 22, 2, 45, 200, 59, 28, 75, 5, 140, 22, 132,
)
# fmt: on


@dataclass(frozen=True, slots=True)
class LinkSpeed:
    """The speed of a stand-in: `rate` in bytes a second on each connection, `latency` in seconds before an answer."""

    name: str
    title: str
    rate: int | None = None
    latency: float = 0.0

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the stand-in's command line."""
        limit = () if self.rate is None else ("--rate", str(self.rate))
        return (*limit, "--latency", str(self.latency))

    def floor(self, size: int) -> float | None:
        """Return the least seconds that `size` bytes can take over `JOBS` connections; None without a limit."""
        return None if self.rate is None else size / (self.rate * JOBS)


UNLIMITED = LinkSpeed("unlimited", "as fast as it goes")
LIMITED_RATE = LinkSpeed("rate", "20 MB/s a connection", rate=20 * MB)
HIGH_LATENCY = LinkSpeed("latency", "50 ms before each answer", latency=0.05)
PACES = {pace.name: pace for pace in (UNLIMITED, LIMITED_RATE, HIGH_LATENCY)}


@dataclass(frozen=True, slots=True)
class Case:
    """Files of one release.

    Attributes:
        data: the bytes of each chosen data file.
        networks: the same for networks. If both are empty, the case is the whole release.
        size: the bytes of each file of the whole release.
    """

    letter: str
    title: str
    paces: tuple[LinkSpeed, ...]
    data: tuple[int, ...] = ()
    networks: tuple[int, ...] = ()
    size: int = 0

    def choose(self, listed: Sequence[Mapping[str, str]]) -> tuple[File, ...]:
        """Return its files, chosen from `antscache list --json`, in that order."""
        if not self.data and not self.networks:
            return tuple(_file(entry, self.size) for entry in listed if entry["identifier"])
        data = (entry for entry in listed if entry["file"].endswith(".nii.gz"))
        networks = (entry for entry in listed if entry["file"].endswith(".h5"))
        chosen = (*zip(data, self.data, strict=False), *zip(networks, self.networks, strict=False))
        return tuple(_file(entry, size) for entry, size in chosen)

    def smaller(self) -> Case:
        """Return the same case with a hundredth of the bytes, to try the benchmark itself."""
        data, networks = (tuple(size // 100 for size in sizes) for sizes in (self.data, self.networks))
        return replace(self, data=data, networks=networks, size=self.size // 100)


@dataclass(frozen=True, slots=True)
class File:
    """A file to fetch: the name of its entry, its own name, its Figshare number and the requested size."""

    entry: str
    name: str
    number: str
    size: int


def _file(entry: Mapping[str, str], size: int) -> File:
    return File(entry["name"], entry["file"], entry["identifier"].partition(":")[2], size)


CASES = {
    case.letter: case
    for case in (
        Case("A", "the whole release, 211 files of 2 MB", (UNLIMITED, HIGH_LATENCY), size=2 * MB),
        Case(
            "B",
            "40 files of 1 to 200 MB, 2 GB in all",
            (UNLIMITED, LIMITED_RATE),
            data=tuple(size * MB for size in _DATA),
            networks=tuple(size * MB for size in _NETWORKS),
        ),
        Case("C", "one file of 2 GB", (UNLIMITED,), networks=(2000 * MB,)),
    )
}
