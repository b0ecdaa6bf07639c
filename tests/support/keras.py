"""antscache with made-up weights of Keras's own: at a server on loopback, by the MD5 of their bytes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING

from antscache.core import KERAS_WEIGHTS
from antscache.testing import StandIn
from support import AntsCache

if TYPE_CHECKING:
    from pathlib import Path

DENSENET, VGG = (weights.entry.name for weights in KERAS_WEIGHTS)
FILES = {weights.entry.name: weights.entry.file for weights in KERAS_WEIGHTS}
NUMBERS = {DENSENET: "201", VGG: "202"}  # at the server; not Figshare's
MODELS = ".keras/models"

# The arguments are the server, the MD5 of each file, and those of antscache.
MAIN = """
import sys
from antscache import core
from antscache.cli import main
server, *md5s = (sys.argv.pop(1) for _ in range(3))
made_up = []
for number, md5, weights in zip((201, 202), md5s, core.KERAS_WEIGHTS):
    entry = core.make_entry("keras", weights.entry.name, weights.entry.file, identifier=f"url:{server}/files/{number}")
    made_up.append(weights._replace(entry=entry, md5=md5))
core.keras_weights.KERAS_WEIGHTS = core.KERAS_WEIGHTS = tuple(made_up)
main()
"""


def serve_weights() -> StandIn:
    """Return a server with the made-up weights, which redirects each URL to its storage."""
    return StandIn({number: FILES[name] for name, number in NUMBERS.items()}, size=5_000)


def bytes_of(server: StandIn, name: str) -> bytes:
    """Return the made-up weights called `name`."""
    return server.content(NUMBERS[name])


@dataclass
class KerasAntsCache(AntsCache):
    """antscache as a process of its own that knows made-up weights.

    Attributes:
        server: the URL of a server that has them.
        md5s: the MD5s that are known of them.
    """

    server: str = ""
    md5s: tuple[str, ...] = ()

    @classmethod
    def of(cls, antscache: AntsCache, server: StandIn, root: Path | None = None) -> KerasAntsCache:
        """Return `antscache` with the weights of `server`, and perhaps another root."""
        md5s = tuple(md5(bytes_of(server, name), usedforsecurity=False).hexdigest() for name in NUMBERS)
        return cls(root or antscache.root, antscache.home, antscache.origins, {}, server.url, md5s)

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-c", MAIN, self.server, *self.md5s, *map(str, arguments)]
