"""The files of an existing directory of ANTsPyNet's: looked at and judged before anything is changed.

A file whose bytes are recorded is recognised under any name. Another one is taken for the release's file of its name,
on the user's word, if it has that file's form and no hazards. A file that is cut, that could be one of several, or that
is not of the release is left alone, with the reason.
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


class FileState(NamedTuple):
    """The identity of a file and its version: another file under its name, or a write to it, changes the state."""

    device: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Take the state from the `status` of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file in the directory, as it was read.

    Attributes:
        path: its place in the directory; it may be a link.
        blob: the digest and size of its bytes; None if they cannot be read.
        problem: the reason why it cannot be the file of its name; empty if it can.
        state: its state when it was read; None if it was not read.
    """

    path: Path
    blob: Descriptor | None
    problem: str = ""
    state: FileState | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A file in the directory, and its fate.

    Attributes:
        seen: the file.
        fate: recognised by its bytes, taken by its name, or left alone.
        entries: the entries of the release whose file it is; none if it is left alone.
        why: the reason why it is left alone; or why a file that was to be moved is still there, although its bytes are
            in the store.
        checks: the checks that it passed before it was taken.
        way: how its bytes came into the store; None if they were there before, or are not there yet.
    """

    seen: SeenFile
    fate: Fate
    entries: tuple[Entry, ...] = ()
    why: str = ""
    checks: tuple[Check, ...] = ()
    way: CopyMethod | None = None


# Looking


def files_to_adopt(directory: Path, package: Package) -> list[Path]:
    """List everything in the directory with the files of `package`, which is found from `directory` as by `place_of`.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return sorted(place_of(directory, package).iterdir())
    except OSError as error:
        message = f"cannot read {escape_path(directory)}: {error.strerror}"
        raise StoreError(message, hint="name a directory that you may read") from error


def place_of(directory: Path, package: Package) -> Path:
    """Find the directory with the files of `package`: in `directory` as a home or its `.keras`, or `directory` itself.

    Raises:
        OSError: `directory` may not be looked into.
    """
    within = home_directory(package)
    for candidate in (directory / within, directory / within.name):
        if candidate.is_dir():
            return candidate
    return directory


def size_of_files(paths: Iterable[Path]) -> int:
    """Return the size of `paths` in bytes, without those that are no files or cannot be looked at."""
    size = 0
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            size += status.st_size if S_ISREG(status.st_mode) else 0
    return size


def escape_path(path: Path | str) -> str:
    """Return `path` for people and for JSON, with escapes in place of everything that is not printable."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def look_at(paths: Iterable[Path], listen: Listener = ignore_events) -> Iterator[SeenFile]:
    """Read each of `paths` once, through links as well. Only regular files are opened."""
    for path in paths:
        yield _look_at(path, listen)


def _look_at(path: Path, listen: Listener) -> SeenFile:
    try:
        status = path.stat()
    except OSError as error:
        return SeenFile(path, None, "a broken link" if path.is_symlink() else _unreadable(error))
    if not S_ISREG(status.st_mode):
        return SeenFile(path, None, "a directory" if S_ISDIR(status.st_mode) else "not a file")
    return _read(path, FileState.of(status), listen)


def _read(path: Path, state: FileState, listen: Listener) -> SeenFile:
    try:
        seen = inspect(path, path.name, listen)
    except OSError as error:
        return SeenFile(path, None, _unreadable(error))
    return SeenFile(path, seen.blob, seen.problem, state)


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"


# Judging


def judge(files: Iterable[SeenFile], manifest: Manifest, records: Iterable[Record]) -> tuple[Judged, ...]:
    """Decide the fate of each file: pure. Of several records of an identifier the last one counts."""
    entries = fetchable(manifest.entries)
    by_identifier: dict[Identifier, Record] = {record.identifier: record for record in records}
    by_bytes: dict[Descriptor, list[Record]] = {}
    for record in by_identifier.values():
        by_bytes.setdefault(record.descriptor, []).append(record)
    return tuple(_judge(file, entries, by_identifier, by_bytes) for file in files)


def _judge(
    seen: SeenFile,
    entries: tuple[Entry, ...],
    by_identifier: Mapping[Identifier, Record],
    by_bytes: Mapping[Descriptor, list[Record]],
) -> Judged:
    if seen.blob is None:
        return Judged(seen, "left", why=seen.problem)
    if records := by_bytes.get(seen.blob):
        identifiers = {record.identifier for record in records}
        if recognised := tuple(entry for entry in entries if entry.identifier in identifiers):
            return Judged(seen, "recognised", recognised)
        names = ", ".join(sorted(map(describe_record, records)))
        return Judged(seen, "left", why=f"it is {names}, which the release does not ask for")
    namesakes = tuple(entry for entry in entries if entry.file == seen.path.name)
    if why := _reason_to_leave(seen, namesakes, by_identifier):
        return Judged(seen, "left", why=why)
    return Judged(seen, "taken", namesakes, checks=("form",))


def _reason_to_leave(seen: SeenFile, namesakes: tuple[Entry, ...], by_identifier: Mapping[Identifier, Record]) -> str:
    """Say why a file of unknown bytes cannot be the file of the entries that have its name; empty if it can."""
    identifiers = {str(entry.identifier) for entry in namesakes}
    if not identifiers:
        return "not a file of the release"
    if len(identifiers) > 1:
        return f"it could be any of {', '.join(sorted(identifiers))}"
    record = by_identifier.get(*identifiers)
    return seen.problem or (f"other bytes are recorded for {describe_record(record)}" if record else "")


def describe_record(record: Record) -> str:
    """Name the identifier of `record`, with "(adopted)" if a user's word alone vouches for it."""
    return f"{record.identifier} ({record.trust})" if record.trust == "adopted" else record.identifier


def scan_networks(
    judged: Iterable[Judged], scanner: Hdf5Scanner | None, listen: Listener = ignore_events
) -> Iterator[Judged]:
    """Leave alone each network that was to be taken and has hazards; yield every file with its fate.

    If the scanner does not work, `listen` hears it once, and the networks are taken without its check.

    Args:
        judged: the files as `judge` returns them.
        scanner: of HDF5 files; None if there is none.
        listen: hears why networks are not scanned, if h5py is installed and broken.
    """
    for file in judged:
        if scanner is None or file.fate != "taken" or not file.seen.path.name.endswith(".h5"):
            yield file
            continue
        try:
            hazards = scanner.scan(file.seen.path)
        except FormError as error:
            yield Judged(file.seen, "left", why=str(error))
        except ScannerError as error:
            scanner = None
            listen(Remarked(f"HDF5 files are not scanned: {error}"))
            yield file
        else:
            if hazards:
                yield Judged(file.seen, "left", why=f"an HDF5 file with {'; '.join(hazards)}")
            elif not is_unchanged(file.seen):
                yield Judged(file.seen, "left", why="it changed while it was read")
            else:
                yield replace(file, checks=(*file.checks, "walk"))


def is_unchanged(seen: SeenFile) -> bool:
    """Return True if the file is still the one that was read, and nobody has written to it since."""
    try:
        return FileState.of(seen.path.stat()) == seen.state
    except OSError:
        return False
