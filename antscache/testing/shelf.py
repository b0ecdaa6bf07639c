"""What the stand-in's storage holds: files made when they are first asked for, and kept on disk, not in memory.

A temporary directory, removed on close:

    <directory>/<number>           the identifier's bytes
    <directory>/<number>.<how>     the same, gone wrong as `Misbehaviour(<how>)` says

Files that the caller names are served from where they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING

from antscache.testing.contents import content
from antscache.testing.misbehaviour import AS_HELD, Misbehaviour, Sound

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Held:
    """A file in the storage; `md5` is what its `ETag` claims, in hexadecimal."""

    path: Path
    size: int
    md5: str


class Shelf:
    """The storage of the identifiers in `files`; to be closed, which removes what it made.

    Args:
        files: Figshare number to ANTsPyNet's file name.
        contents: numbers whose bytes are given rather than made.
        size: of each file that is made, in bytes.
    """

    def __init__(self, files: Mapping[str, str], contents: Mapping[str, bytes | Path], size: int) -> None:
        self.files = {**_names(contents), **files}
        self._contents = dict(contents)
        self._size = size
        self._lock = Lock()
        self._held: dict[tuple[str, Misbehaviour | None], Held] = {}
        self._directory = TemporaryDirectory(prefix="antscache-standin-")

    def held(self, number: str, how: Misbehaviour | None = None) -> Held:
        """What is held of `number`, or what a misbehaviour of `AS_HELD` makes of it; made when first asked for.

        Raises:
            KeyError: there is no such identifier.
            OSError: it cannot be written, or the given file cannot be read.
        """
        found = self._held.get((number, how))
        if found is not None:
            return found
        with self._lock:
            if (number, how) not in self._held:
                self._held[number, how] = self._made(number, how)
            return self._held[number, how]

    def prepare(self) -> None:
        """Make every file now."""
        for number in self.files:
            self.held(number)

    def close(self) -> None:
        """Remove what was made; a second call does nothing."""
        self._directory.cleanup()

    def _made(self, number: str, how: Misbehaviour | None) -> Held:
        file, given = self.files[number], self._contents.get(number)
        if how is None and isinstance(given, Path):
            return Held(given, given.stat().st_size, _md5(given.read_bytes()))
        if isinstance(given, Path):
            sound = given.read_bytes()
        else:
            sound = content(number, file, self._size) if given is None else given
        if how is None:
            return self._written(number, sound)
        wrong = self._written(f"{number}.{how.value}", AS_HELD[how](Sound(number, file, sound)))
        return replace(wrong, md5=_md5(sound)) if how is Misbehaviour.CORRUPT else wrong

    def _written(self, name: str, held: bytes) -> Held:
        path = Path(self._directory.name, name)
        path.write_bytes(held)
        return Held(path, len(held), _md5(held))


def _names(contents: Mapping[str, bytes | Path]) -> dict[str, str]:
    """A name for each of `contents`, should it have no other."""
    return {number: given.name if isinstance(given, Path) else number for number, given in contents.items()}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
