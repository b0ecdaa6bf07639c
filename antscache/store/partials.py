"""Partial files: the beginnings of files in `ingest/`, and the notes that say which files these are.

    ingest/<random>         the beginning of a file (`ingest.py`)
    ingest/<random>.notes   the notes of one process, a line for each file that it is writing

When a process ends early, another one can continue its files by these notes. It does not write to them: it copies each
into an ingest of its own. A partial file is removed once its identifier has a blob, or when it is stale.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import msgspec

from antscache import disk
from antscache.core import Partial, age, is_misdated
from antscache.disk import process_name, store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Identifier, Layout

NOTES_SUFFIX = ".notes"
STALE_AFTER_SECONDS = 24 * 60 * 60  # a file in ingest/ that nobody has written to for longer may be removed
READ_CHUNK_BYTES = 1 << 20


class Note(msgspec.Struct, frozen=True):
    """A line of notes: the process `writer` writes the file `name` in `ingest/`, the beginning of `partial`."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    partial: Partial
    writer: str = ""


class Notes:
    """The notes of one process about the files that it is writing. Thread-safe; close it.

    They share one file, because making and removing one for each would cost too much where files are small.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = disk.temporary_path(layout.ingest).with_suffix(NOTES_SUFFIX)
        self._shared = layout.shared
        self._writer = process_name(os.getpid(), os.geteuid())
        self._lock = Lock()
        self._file: int | None = None

    def add(self, path: Path, partial: Partial) -> None:
        """Note for other processes that the file at `path` is the beginning of `partial`.

        Raises:
            StoreError: the disk refused.
        """
        line = msgspec.json.encode(Note(path.name, partial, self._writer)) + b"\n"
        with store_errors(f"cannot write to {self._path.parent}"), self._lock:
            if self._file is None:
                self._file = disk.create(self._path, disk.READ_ONLY_MODE, shared=self._shared)
            os.write(self._file, line)

    def close(self) -> None:
        """Stop noting, and remove the notes unless a file that they are about is still there."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
                if not any(path.exists() for path, _, _ in _read_notes(self._path)):
                    remove(self._path)


@dataclass(frozen=True, slots=True)
class PartialFile:
    """The beginning of a file, written by a process, dead or alive, and never to be written to by another.

    Attributes:
        partial: the file that this is the beginning of.
        path: the beginning itself, in `ingest/`.
        notes: the file with the note about it, and notes about others.
        held: its bytes so far.
        writer: the process that wrote it; empty if the note does not name it.
        changed_ns: when it was last written to, by the clock of the filesystem.
    """

    partial: Partial
    path: Path
    notes: Path
    held: int
    writer: str = field(default="", compare=False)
    changed_ns: int = field(default=0, compare=False)

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield the first `count` bytes; fewer if the file has become shorter or cannot be read."""
        with suppress(OSError), disk.opened(self.path, follow=False) as file:
            while count > 0 and (chunk := file.read(min(READ_CHUNK_BYTES, count))):
                count -= len(chunk)
                yield chunk

    def remove(self) -> None:
        """Remove the file, and its notes unless they are about another file that is still there.

        A process that still writes to it gets `IngestVanished` in the end, and loses only time.
        """
        remove(self.path)
        if not any(path.exists() for path, _, _ in _read_notes(self.notes)):
            remove(self.notes)


def partial_files(layout: Layout) -> dict[Identifier, list[PartialFile]]:
    """Return the partial files by identifier, the longest first, whether their processes are still there or not."""
    partials: dict[Identifier, list[PartialFile]] = {}
    for notes in files_in(layout, NOTES_SUFFIX):
        for path, partial, writer in _read_notes(notes):
            with suppress(OSError):
                status = path.lstat()
                if S_ISREG(status.st_mode):
                    file = PartialFile(partial, path, notes, status.st_size, writer, status.st_mtime_ns)
                    partials.setdefault(partial.identifier, []).append(file)
    for files in partials.values():
        files.sort(key=lambda file: -file.held)
    return partials


def stale_files(layout: Layout, now: float) -> list[Path]:
    """Return the files in `ingest/` that nobody has written to for a day.

    Notes count as written to when a file that they are about was.

    Args:
        layout: of the root.
        now: in seconds since 1970.
    """
    stale = []
    for path in files_in(layout, ""):
        with suppress(OSError):
            noted = [noted_path for noted_path, _, _ in _read_notes(path)]
            if not any(_is_young(file, now) for file in [path, *noted]):
                stale.append(path)
    return stale


def remove_stale(layout: Layout) -> None:
    """Remove the files in `ingest/` that nobody has written to for a day; date those anew that a wrong clock dated."""
    if files_in(layout):
        now = disk.filesystem_time(layout.ingest)
        for path in stale_files(layout, now):
            remove(path)
        for path in files_in(layout):
            with suppress(OSError):
                if is_misdated(path.lstat().st_mtime, now):
                    disk.date_anew(path)


def remove(path: Path) -> None:
    """Remove `path` if the disk allows it. A file that stays in `ingest/` is removed when it is stale."""
    with suppress(OSError):
        path.unlink()


def _is_young(path: Path, now: float) -> bool:
    try:
        return age(path.lstat().st_mtime, now) <= STALE_AFTER_SECONDS
    except OSError:
        return False


def _read_notes(notes: Path) -> Iterator[tuple[Path, Partial, str]]:
    """Yield the path, the partial and the writer in each line of `notes`.

    Skips lines that cannot be read, such as a last line that a killed process has written in part. Yields nothing for a
    file whose name is not that of notes.
    """
    if notes.suffix != NOTES_SUFFIX:
        return
    with suppress(OSError, *disk.DECODE_ERRORS):
        for line in disk.read(notes).splitlines():
            with suppress(*disk.DECODE_ERRORS):
                note = msgspec.json.decode(line, type=Note)
                yield notes.with_name(note.name), note.partial, note.writer


def files_in(layout: Layout, suffix: str = "") -> list[Path]:
    """Return the paths in `ingest/` whose names end with `suffix`; none if the directory cannot be read."""
    try:
        with os.scandir(layout.ingest) as entries:
            return [Path(entry.path) for entry in entries if entry.name.endswith(suffix)]
    except OSError:
        return []
