"""The storage behind the routes: its files on disk, and the answers with their bytes, sound or gone wrong.

Files are made up when they are first asked for, in a temporary directory that `close()` removes:

    <directory>/<number>           the identifier's bytes
    <directory>/<number>.<how>     the bytes of `Misbehaviour(<how>)` in their place

A file given by the caller is served from its own path.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import TYPE_CHECKING
from urllib.parse import quote

from antscache.testing.contents import pieces
from antscache.testing.faults import (
    BODY_FAULTS,
    CONTENT_FAULTS,
    LABEL_FAULTS,
    RANGE_FAULTS,
    possible_misbehaviours,
)
from antscache.testing.messages import Answer, IncomingRequest, LabelledFile, Span, parse_range
from antscache.testing.misbehaviour import Misbehaviour, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LAST_MODIFIED = "Fri, 11 Mar 2022 09:30:00 GMT"
_CHANGED_LAST_MODIFIED = "Sat, 12 Mar 2022 10:00:00 GMT"  # the date of other bytes under the same identifier
_READ_BYTES = 1 << 20  # of a given file at a time


class Storage:
    """Answers with the files of `directory`, as `schedule` says."""

    def __init__(self, directory: StorageDirectory, schedule: Schedule) -> None:
        self._directory = directory
        self._schedule = schedule
        self._labelled: dict[tuple[str, Misbehaviour | None], LabelledFile] = {}

    def answer(
        self, request: IncomingRequest, number: str, always: Misbehaviour | None
    ) -> tuple[Answer, Misbehaviour | None]:
        """Return the answer to `request` for `number`, and the misbehaviour that it shows, if any.

        That is `always`, or without it the next one scheduled, if this request can show it: a misbehaviour of ranges
        needs a range, for instance.

        Raises:
            OSError: the file cannot be written or read.
        """
        sound = self._labelled_file(number, None)
        positions = _requested_positions(request, sound)
        possible = possible_misbehaviours(positions)
        how = self._schedule.take(number, possible) if always is None else always
        if how is None or how not in possible:
            return _sound_answer(request, sound), None
        if how in BODY_FAULTS:
            answer = _sound_answer(request, sound)
            [body] = answer.body
            return (BODY_FAULTS[how](answer, body) if isinstance(body, Span) else answer), how
        if how in RANGE_FAULTS:
            return RANGE_FAULTS[how](sound, positions or range(0)), how
        return _sound_answer(request, self._labelled_file(number, how)), how

    def _labelled_file(self, number: str, how: Misbehaviour | None) -> LabelledFile:
        if (number, how) not in self._labelled:
            self._labelled[number, how] = self._label_file(number, how)
        return self._labelled[number, how]

    def _label_file(self, number: str, how: Misbehaviour | None) -> LabelledFile:
        sound = self._directory.file(number)
        held = self._directory.file(number, how) if how in CONTENT_FAULTS else sound
        labels = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename={quote(self._directory.original_name(number))}",
            "Accept-Ranges": "bytes",
        }
        labels |= {
            "ETag": f'"{held.md5}"',
            "Last-Modified": _LAST_MODIFIED if held.md5 == sound.md5 else _CHANGED_LAST_MODIFIED,
        }
        odd = LABEL_FAULTS[how](held.md5) if how is not None and how in LABEL_FAULTS else {}
        kept = {name: value for name, value in {**labels, **odd}.items() if value is not None}
        return LabelledFile(number, Span(held.path, 0, held.size), kept)


def _requested_positions(request: IncomingRequest, file: LabelledFile) -> range | None:
    """Return the positions of the request's range; None without one, or if its `If-Range` is of another file."""
    if request.range is None or (request.if_range is not None and not file.has_validator(request.if_range)):
        return None
    return parse_range(request.range, len(file.span))


def _sound_answer(request: IncomingRequest, file: LabelledFile) -> Answer:
    positions = _requested_positions(request, file)
    if positions is None:
        return file.whole()
    return file.part(positions) if positions else file.no_part()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk; `md5` is the one that its `ETag` claims, in hexadecimal."""

    path: Path
    size: int
    md5: str


class StorageDirectory:
    """The storage's files, made up when they are first asked for, until `close()`. Safe between threads.

    Args:
        files: Figshare number to ANTsPyNet's file name.
        contents: Figshare number to given bytes, or to a file with them.
        size: bytes of each made-up file.
        sizes: Figshare number to bytes, for files of another size.

    Raises:
        ValueError: `sizes` names a file that is not made up.
    """

    def __init__(
        self, files: Mapping[str, str], contents: Mapping[str, bytes | Path], size: int, sizes: Mapping[str, int]
    ) -> None:
        self.files = {**_names_of(contents), **files}
        useless = sorted(sizes.keys() - (self.files.keys() - contents.keys()))
        if useless:
            raise ValueError(f"sizes are only for files that are made up, and not for {', '.join(useless)}")
        self._contents = dict(contents)
        self._size = size
        self._sizes = dict(sizes)
        self._locks = {number: RLock() for number in self.files}  # one each: no request waits for another's file
        self._stored: dict[tuple[str, Misbehaviour | None], StoredFile] = {}
        self._temporary = TemporaryDirectory(prefix="antscache-standin-")

    def original_name(self, number: str) -> str:
        """Return the name of the uploaded file, which is not ANTsPyNet's (field notes, "Figshare as an origin").

        Raises:
            KeyError: there is no such identifier.
        """
        return f"original_{self.files[number]}"

    def file(self, number: str, how: Misbehaviour | None = None) -> StoredFile:
        """Return the file of `number`, or with `how` (of `CONTENT_FAULTS`) the wrong one in its place.

        The first call makes it.

        Raises:
            KeyError: there is no such identifier.
            OSError: the file cannot be written, or the given one cannot be read.
        """
        stored = self._stored.get((number, how))
        if stored is not None:
            return stored
        with self._locks[number]:
            if (number, how) not in self._stored:
                self._stored[number, how] = self._make_sound(number) if how is None else self._make_wrong(number, how)
            return self._stored[number, how]

    def prepare(self) -> None:
        """Make up every file now, several at once."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.file, self.files))

    def close(self) -> None:
        """Remove every made-up file. A second call does nothing."""
        self._temporary.cleanup()

    def _make_sound(self, number: str) -> StoredFile:
        given = self._contents.get(number)
        if isinstance(given, Path):
            return _describe(given)
        if given is not None:
            return self._write(number, [given])
        return self._write(number, pieces(number, self.files[number], self._sizes.get(number, self._size)))

    def _make_wrong(self, number: str, how: Misbehaviour) -> StoredFile:
        """Write the file that `how` makes of the sound one, all of which is read into memory."""
        sound = self.file(number)
        wrong = CONTENT_FAULTS[how](sound.path.read_bytes(), number, self.files[number])
        held = self._write(f"{number}.{how.value}", [wrong])
        return replace(held, md5=sound.md5) if how is Misbehaviour.CORRUPT else held

    def _write(self, name: str, parts: Iterable[bytes]) -> StoredFile:
        path, size, md5 = Path(self._temporary.name, name), 0, hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
                md5.update(part)
                size += len(part)
        return StoredFile(path, size, md5.hexdigest())


def _describe(path: Path) -> StoredFile:
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        for part in iter(partial(file.read, _READ_BYTES), b""):
            md5.update(part)
    return StoredFile(path, path.stat().st_size, md5.hexdigest())


def _names_of(contents: Mapping[str, bytes | Path]) -> dict[str, str]:
    """Return a file name for each number of `contents`, to use where the caller gives no other."""
    return {number: given.name if isinstance(given, Path) else number for number, given in contents.items()}
