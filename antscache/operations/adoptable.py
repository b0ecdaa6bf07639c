"""Which files of an existing directory of ANTsPyNet's are what: looked at and judged before anything is changed.

Bytes that are recorded are recognised, whatever they are called. Others are taken for what a release calls so, on the
user's word, if they have the form and no hazards. What is cut, what cannot be told apart, and what is not of the
release is named and left alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

from antscache.core import Remarked, fetchable, home_directory, ignore_events
from antscache.errors import StoreError
from antscache.formats import FormError, ScannerError, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.core import Check, Descriptor, Entry, Identifier, Listener, Manifest, Package, Record
    from antscache.formats import Hdf5Scanner
    from antscache.store import CopyMethod

Fate = Literal["recognised", "taken", "left"]


class State(NamedTuple):
    """What tells a file from the one that had its name before, or from itself before it was written to."""

    device: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        """The state that a system call told."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Seen:
    """A file in the directory.

    Attributes:
        blob: its bytes; None if they cannot be had.
        problem: why it cannot be what its name says, if it cannot.
        state: in which it was when it was read; None if it was not.
    """

    path: Path
    blob: Descriptor | None
    problem: str = ""
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a file, or became of it.

    Attributes:
        fate: recognised by its bytes, taken by its name, or left alone.
        entries: of the release, that it is; none if it is left alone.
        why: it is left alone; or, if it was to be moved, is still there although its bytes are in the store.
        checks: what it was taken after.
        way: by which its bytes came into the store; None if they were there, or are not there yet.
    """

    seen: Seen
    fate: Fate
    entries: tuple[Entry, ...] = ()
    why: str = ""
    checks: tuple[Check, ...] = ()
    way: CopyMethod | None = None


# Looking


def files_to_adopt(directory: Path, package: Package) -> list[Path]:
    """What is in a directory: a home, its `.keras`, or where ANTsPyNet keeps its files.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return sorted(place_of(directory, package).iterdir())
    except OSError as error:
        told = f"cannot read {shown(directory)}: {error.strerror}"
        raise StoreError(told, hint="name a directory that you may read") from error


def place_of(directory: Path, package: Package) -> Path:
    """Where in `directory` the files of `package` are.

    Raises:
        OSError: that cannot be told.
    """
    within = home_directory(package)
    for candidate in (directory / within, directory / within.name):
        if candidate.is_dir():
            return candidate
    return directory


def size_of_files(paths: Iterable[Path]) -> int:
    """How many bytes there are to read, as far as that can be told beforehand."""
    size = 0
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            size += status.st_size if S_ISREG(status.st_mode) else 0
    return size


def shown(path: Path | str) -> str:
    """`path` for people and for JSON: what is not printable is escaped."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def look(paths: Iterable[Path], listen: Listener = ignore_events) -> Iterator[Seen]:
    """Each of `paths`, read once; files behind links as well. What is no file is not opened."""
    for path in paths:
        yield _seen(path, listen)


def _seen(path: Path, listen: Listener) -> Seen:
    try:
        status = path.stat()
    except OSError as error:
        return Seen(path, None, "a link that leads nowhere" if path.is_symlink() else _unread(error))
    if not S_ISREG(status.st_mode):
        return Seen(path, None, "a directory" if S_ISDIR(status.st_mode) else "not a file")
    return _read(path, State.of(status), listen)


def _read(path: Path, state: State, listen: Listener) -> Seen:
    try:
        blob, problem = inspect(path, path.name, listen)
    except OSError as error:
        return Seen(path, None, _unread(error))
    return Seen(path, blob, problem, state)


def _unread(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"


# Judging


def judge(seen: Iterable[Seen], manifest: Manifest, records: Iterable[Record]) -> tuple[Judged, ...]:
    """What becomes of each file: pure. Of several records of an identifier the last one counts."""
    entries = fetchable(manifest.entries)
    known: dict[Identifier, Record] = {record.identifier: record for record in records}
    named: dict[Descriptor, list[Record]] = {}
    for record in known.values():
        named.setdefault(record.descriptor, []).append(record)
    return tuple(_judged(each, entries, known, named) for each in seen)


def _judged(
    seen: Seen,
    entries: tuple[Entry, ...],
    known: Mapping[Identifier, Record],
    named: Mapping[Descriptor, list[Record]],
) -> Judged:
    if seen.blob is None:
        return Judged(seen, "left", why=seen.problem)
    if records := named.get(seen.blob):
        identifiers = {record.identifier for record in records}
        if found := tuple(entry for entry in entries if entry.identifier in identifiers):
            return Judged(seen, "recognised", found)
        said = ", ".join(sorted(map(told, records)))
        return Judged(seen, "left", why=f"it is {said}, which the release does not ask for")
    called = tuple(entry for entry in entries if entry.file == seen.path.name)
    if why := _why_not(seen, called, known):
        return Judged(seen, "left", why=why)
    return Judged(seen, "taken", called, checks=("form",))


def _why_not(seen: Seen, called: tuple[Entry, ...], known: Mapping[Identifier, Record]) -> str:
    """Why a file of unknown bytes cannot be what is `called` so; empty if it can."""
    identifiers = {str(entry.identifier) for entry in called}
    if not identifiers:
        return "not a file of the release"
    if len(identifiers) > 1:
        return f"it cannot be told which it is of {', '.join(sorted(identifiers))}"
    record = known.get(*identifiers)
    return seen.problem or (f"other bytes than are recorded of {told(record)}" if record else "")


def told(record: Record) -> str:
    """Name the identifier of `record`, and whether a user's word is all there is."""
    return f"{record.identifier} ({record.trust})" if record.trust == "adopted" else record.identifier


def scanned(
    judged: Iterable[Judged], scanner: Hdf5Scanner | None, listen: Listener = ignore_events
) -> Iterator[Judged]:
    """`judged`, where a network that is to be taken has no hazards, or could not be walked, which is said once.

    Args:
        judged: as `judge` says.
        scanner: of HDF5 files; None where they cannot be walked.
        listen: hears why not, if h5py is there and does not work.
    """
    for each in judged:
        if scanner is None or each.fate != "taken" or not each.seen.path.name.endswith(".h5"):
            yield each
            continue
        try:
            hazards = scanner.walk(each.seen.path)
        except FormError as error:
            yield Judged(each.seen, "left", why=str(error))
        except ScannerError as error:
            scanner = None
            listen(Remarked(f"HDF5 files are not walked: {error}"))
            yield each
        else:
            if hazards:
                yield Judged(each.seen, "left", why=f"an HDF5 file with {'; '.join(hazards)}")
            elif not is_unchanged(each.seen):
                yield Judged(each.seen, "left", why="it changed while it was read")
            else:
                yield replace(each, checks=(*each.checks, "walk"))


def is_unchanged(seen: Seen) -> bool:
    """Return whether the file is the one that was read."""
    try:
        return State.of(seen.path.stat()) == seen.state
    except OSError:
        return False
