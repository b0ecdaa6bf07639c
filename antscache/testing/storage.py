"""The storage: files made when they are first asked for, kept on disk; and the answers with them, sound or gone wrong.

A temporary directory, removed on close:

    <directory>/<number>           the identifier's bytes
    <directory>/<number>.<how>     the same, gone wrong as `Misbehaviour(<how>)` says

Files that the caller names are served from where they are.
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
    AS_HELD,
    AS_LABELLED,
    AS_SENT,
    IN_RANGE,
    Sound,
    showable,
)
from antscache.testing.messages import Answer, Call, Span, Stored, parse_range
from antscache.testing.misbehaviour import Misbehaviour, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAST_MODIFIED = "Fri, 11 Mar 2022 09:30:00 GMT"
CHANGED = "Sat, 12 Mar 2022 10:00:00 GMT"  # when an identifier came to stand for other bytes
_READ = 1 << 20  # bytes of a given file at a time


class Storage:
    """Answers for what `shelf` holds, as `schedule` says."""

    def __init__(self, shelf: Shelf, schedule: Schedule) -> None:
        self._shelf = shelf
        self._schedule = schedule
        self._stored: dict[tuple[str, Misbehaviour | None], Stored] = {}

    def answer(self, call: Call, number: str, always: Misbehaviour | None) -> tuple[Answer, Misbehaviour | None]:
        """The answer to `call` for `number`, and the misbehaviour that it shows, if any.

        It is `always`, or where that is None the next that is scheduled; but only one that this request can show: a
        misbehaviour of ranges needs one, for instance.

        Raises:
            OSError: the storage's own file cannot be written or read.
        """
        sound = self._file(number, None)
        among = showable(_asked(call, sound))
        how = self._schedule.take(number, among) if always is None else always
        if how is None or how not in among:
            return _honest(call, sound), None
        if how in AS_SENT:
            answer = _honest(call, sound)
            [body] = answer.body
            return (AS_SENT[how](answer, body) if isinstance(body, Span) else answer), how
        if how in IN_RANGE:
            return IN_RANGE[how](sound, _asked(call, sound) or range(0)), how
        return _honest(call, self._file(number, how)), how

    def _file(self, number: str, how: Misbehaviour | None) -> Stored:
        if (number, how) not in self._stored:
            self._stored[number, how] = self._looked_up(number, how)
        return self._stored[number, how]

    def _looked_up(self, number: str, how: Misbehaviour | None) -> Stored:
        sound = self._shelf.held(number)
        held = self._shelf.held(number, how) if how in AS_HELD else sound
        labels = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename={quote(self._shelf.original_name(number))}",
            "Accept-Ranges": "bytes",
        }
        tag = AS_LABELLED[how](held.md5) if how is not None and how in AS_LABELLED else f'"{held.md5}"'
        if tag is not None:
            labels |= {"ETag": tag, "Last-Modified": LAST_MODIFIED if held.md5 == sound.md5 else CHANGED}
        return Stored(number, Span(held.path, 0, held.size), labels)


def _asked(call: Call, stored: Stored) -> range | None:
    """The positions that count: those of the range, unless an `If-Range` says that it is of another file."""
    if call.range is None or (call.if_range is not None and not stored.is_labelled(call.if_range)):
        return None
    return parse_range(call.range, len(stored.span))


def _honest(call: Call, stored: Stored) -> Answer:
    asked = _asked(call, stored)
    if asked is None:
        return stored.whole()
    return stored.part(asked) if asked else stored.unsatisfiable()


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
        sizes: of those whose size is another.

    Raises:
        ValueError: a size is given for what is not made.
    """

    def __init__(
        self, files: Mapping[str, str], contents: Mapping[str, bytes | Path], size: int, sizes: Mapping[str, int]
    ) -> None:
        self.files = {**_names(contents), **files}
        useless = sorted(sizes.keys() - (self.files.keys() - contents.keys()))
        if useless:
            raise ValueError(f"a size for what is not made: {', '.join(useless)}")
        self._contents = dict(contents)
        self._size = size
        self._sizes = dict(sizes)
        self._locks = {number: RLock() for number in self.files}  # one each: a large file keeps nobody else waiting
        self._held: dict[tuple[str, Misbehaviour | None], Held] = {}
        self._directory = TemporaryDirectory(prefix="antscache-standin-")

    def original_name(self, number: str) -> str:
        """The name under which `number` was uploaded: not ANTsPyNet's (field notes, "Figshare as an origin").

        Raises:
            KeyError: there is no such identifier.
        """
        return f"original_{self.files[number]}"

    def held(self, number: str, how: Misbehaviour | None = None) -> Held:
        """What is held of `number`, or what a misbehaviour of `AS_HELD` makes of it; made when first asked for.

        Raises:
            KeyError: there is no such identifier.
            OSError: it cannot be written, or the given file cannot be read.
        """
        found = self._held.get((number, how))
        if found is not None:
            return found
        with self._locks[number]:
            if (number, how) not in self._held:
                self._held[number, how] = self._made(number) if how is None else self._gone_wrong(number, how)
            return self._held[number, how]

    def prepare(self) -> None:
        """Make every file now."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.held, self.files))

    def close(self) -> None:
        """Remove what was made; a second call does nothing."""
        self._directory.cleanup()

    def _made(self, number: str) -> Held:
        given = self._contents.get(number)
        if isinstance(given, Path):
            return _as_given(given)
        if given is not None:
            return self._written(number, [given])
        return self._written(number, pieces(number, self.files[number], self._sizes.get(number, self._size)))

    def _gone_wrong(self, number: str, how: Misbehaviour) -> Held:
        """The sound file passes through memory here."""
        sound = self.held(number)
        wrong = AS_HELD[how](Sound(number, self.files[number], sound.path.read_bytes()))
        held = self._written(f"{number}.{how.value}", [wrong])
        return replace(held, md5=sound.md5) if how is Misbehaviour.CORRUPT else held

    def _written(self, name: str, parts: Iterable[bytes]) -> Held:
        path, size, md5 = Path(self._directory.name, name), 0, hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
                md5.update(part)
                size += len(part)
        return Held(path, size, md5.hexdigest())


def _as_given(path: Path) -> Held:
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        for part in iter(partial(file.read, _READ), b""):
            md5.update(part)
    return Held(path, path.stat().st_size, md5.hexdigest())


def _names(contents: Mapping[str, bytes | Path]) -> dict[str, str]:
    """A name for each of `contents`, should it have no other."""
    return {number: given.name if isinstance(given, Path) else number for number, given in contents.items()}
