"""What processes have written of files and not finished, and the notes that say what that is.

    ingest/<random>         the beginning of a file (`ingest`)
    ingest/<random>.notes   what one process is writing, a line each, for whoever goes on when it ends early

What a process leaves behind that was killed has one writer for ever. Whoever goes on copies it into an ingest of its
own; it is removed once the identifier has its blob, or when it is old.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import msgspec

from antscache import disk
from antscache.core import Partial
from antscache.disk import process_name, store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Identifier, Layout

NOTES = ".notes"
ABANDONED = 24 * 60 * 60  # seconds without a write after which what lies in ingest/ is nobody's
CHUNK = 1 << 20  # bytes read at a time


class Note(msgspec.Struct, frozen=True):
    """A line of notes: the file in `ingest/` of this name is the beginning of that, and who writes it."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    partial: Partial
    writer: str = ""


class Notes:
    """What one process is writing. Thread-safe; close it.

    One file for all, because to make one for each, and to remove it, costs more than it is worth for a small file.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = disk.temporary(layout.ingest).with_suffix(NOTES)
        self._shared = layout.shared
        self._lock = Lock()
        self._file: int | None = None

    def add(self, path: Path, partial: Partial) -> None:
        """From now on whoever finds `path` knows what it is the beginning of.

        Raises:
            StoreError: the disk refused.
        """
        line = msgspec.json.encode(Note(path.name, partial, process_name(os.getpid(), os.geteuid()))) + b"\n"
        with store_errors(f"cannot write to {self._path.parent}"), self._lock:
            if self._file is None:
                self._file = disk.create(self._path, disk.READ_ONLY, shared=self._shared)
            os.write(self._file, line)

    def close(self) -> None:
        """Nothing more is noted; the notes are gone unless something that they are about is there."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
                if not any(path.exists() for path, _, _ in _noted(self._path)):
                    remove(self._path)


@dataclass(frozen=True, slots=True)
class PartialFile:
    """What another process, dead or alive, has written of a file, and is not ours to write to.

    Attributes:
        notes: where it is noted, with others.
        held: how many bytes there are.
        writer: who wrote them; empty where that is not noted.
    """

    partial: Partial
    path: Path
    notes: Path
    held: int
    writer: str = field(default="", compare=False)

    def chunks(self, count: int) -> Iterator[bytes]:
        """The first `count` bytes; fewer where it has become shorter or cannot be read."""
        with suppress(OSError), os.fdopen(disk.open_regular(self.path, follow=False), "rb", 0) as file:
            while count > 0 and (chunk := file.read(min(CHUNK, count))):
                count -= len(chunk)
                yield chunk

    def age(self) -> float:
        """The seconds since something was written to it."""
        try:
            return time.time() - self.path.lstat().st_mtime
        except OSError:
            return float("inf")

    def remove(self) -> None:
        """Remove it. A process that still writes to it notices (`IngestVanished`), and loses only time."""
        remove(self.path)
        if not any(path.exists() for path, _, _ in _noted(self.notes)):
            remove(self.notes)


def partial_files(layout: Layout) -> dict[Identifier, list[PartialFile]]:
    """What is being written, or was when its process ended, by identifier; the longest first."""
    found: dict[Identifier, list[PartialFile]] = {}
    for notes in files_in(layout, NOTES):
        for path, partial, writer in _noted(notes):
            with suppress(OSError):
                status = path.lstat()
                if S_ISREG(status.st_mode):
                    left = PartialFile(partial, path, notes, status.st_size, writer)
                    found.setdefault(partial.identifier, []).append(left)
    for each in found.values():
        each.sort(key=lambda left: -left.held)
    return found


def stale_files(layout: Layout) -> list[Path]:
    """What in `ingest/` nobody has written to for a day."""
    found = []
    for path in files_in(layout, ""):
        with suppress(OSError):
            noted = [each for each, _, _ in _noted(path)]
            if not any(_is_young(each) for each in [path, *noted]):
                found.append(path)
    return found


def remove_stale(layout: Layout) -> None:
    """What nobody has written to for a day is gone from `ingest/`."""
    for path in stale_files(layout):
        remove(path)


def remove(path: Path) -> None:
    """`path` is not there, as far as the disk allows; what stays is removed when it is old."""
    with suppress(OSError):
        path.unlink()


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime <= ABANDONED
    except OSError:
        return False


def _noted(notes: Path) -> Iterator[tuple[Path, Partial, str]]:
    """What `notes` are about, and who writes it.

    Lines that cannot be read are passed over, as the last of a process that was killed.
    """
    if notes.suffix != NOTES:
        return
    with suppress(OSError, *disk.DAMAGED):
        for line in disk.read(notes).splitlines():
            with suppress(*disk.DAMAGED):
                note = msgspec.json.decode(line, type=Note)
                yield notes.with_name(note.name), note.partial, note.writer


def files_in(layout: Layout, suffix: str = "") -> list[Path]:
    """What is in `ingest/` and called so; nothing, where that cannot be read."""
    try:
        with os.scandir(layout.ingest) as found:
            return [Path(entry.path) for entry in found if entry.name.endswith(suffix)]
    except OSError:
        return []
