"""The files of an existing directory of ANTsPyNet's: looked at and judged before anything is changed.

A file whose bytes are recorded is recognised under any name. Another one is taken for the release's file of its name,
on the user's word, if it has that file's form and no finding refuses it. A file that is cut, that could be one of
several, or that is not of the release is left alone, with the reason. A name that has several contents among all known
releases is in doubt: its file is left alone too, unless an origin confirms it (`confirm.py`) or the user says which one
it is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

from antscache.core import (
    KERAS_DIRECTORY,
    KERAS_WEIGHTS,
    fetchable,
    find_doubted,
    home_directory,
    ignore_events,
    with_optional,
)
from antscache.errors import StoreError
from antscache.formats import inspect

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.core import Check, Descriptor, Entry, Identifier, Listener, Manifest, Package, Record
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
        doubt: the reason why it is left alone unless an origin confirms it; empty if there is none.
        trust: the reason to trust that it is the file of its entries, as its record will say.
        source: the host that confirms it; empty without one.
        checks: the checks that it passed before it was taken.
        findings: what a scan found in it that did not refuse it, each in a short text.
        way: how its bytes came into the store; None if they were there before, or are not there yet.
    """

    seen: SeenFile
    fate: Fate
    entries: tuple[Entry, ...] = ()
    why: str = ""
    doubt: str = ""
    trust: str = "adopted"
    source: str = ""
    checks: tuple[Check, ...] = ()
    findings: tuple[str, ...] = ()
    way: CopyMethod | None = None

    def left(self, why: str) -> Judged:
        """Return the file as left alone, for this reason."""
        return Judged(self.seen, "left", why=why)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The knowledge by which files are judged.

    Attributes:
        records: of several of an identifier the last one counts, unless it is adopted and an earlier one is not.
        names: the identifiers that known releases give each file name.
        named: the identifiers of files, by their names in the directory, on the user's word.
    """

    records: tuple[Record, ...] = ()
    names: Mapping[str, frozenset[Identifier]] = field(default_factory=dict)
    named: Mapping[str, Identifier] = field(default_factory=dict)

    def by_identifier(self) -> dict[Identifier, Record]:
        """Return the record of each identifier that counts."""
        records: dict[Identifier, Record] = {}
        for record in self.records:
            before = records.get(record.identifier)
            if before is None or before.is_adopted or not record.is_adopted:
                records[record.identifier] = record
        return records


# Looking


def files_to_adopt(directory: Path, package: Package) -> list[Path]:
    """List everything in the directory with the files of `package`, which is found from `directory` as by `place_of`.

    If `directory` is a home or its `.keras`, Keras's own weights that antscache knows are listed too.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        place = place_of(directory, package)
        known = KERAS_WEIGHTS if package == "antspynet" and place != directory else ()
        weights = [place.with_name(KERAS_DIRECTORY.name) / each.entry.file for each in known]
        return [*sorted(place.iterdir()), *(path for path in weights if path.exists())]
    except OSError as error:
        message = f"cannot read {directory}: {error.strerror}"
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


def judge(files: Iterable[SeenFile], manifest: Manifest, evidence: Evidence) -> tuple[Judged, ...]:
    """Decide the fate of each file: pure."""
    entries, by_identifier = fetchable(with_optional(manifest).entries), evidence.by_identifier()
    doubted = find_doubted(by_identifier.values())
    by_bytes: dict[Descriptor, list[Record]] = {}
    for record in by_identifier.values():
        if record.identifier not in doubted:
            by_bytes.setdefault(record.descriptor, []).append(record)
    judged = []
    for file in files:
        if file.blob and (records := by_bytes.get(file.blob)):
            judged.append(_judge_recorded(file, entries, records, evidence.named.get(file.path.name)))
        else:
            judged.append(_judge_unknown(file, entries, by_identifier, evidence))
    return tuple(judged)


def _judge_recorded(
    seen: SeenFile, entries: tuple[Entry, ...], records: list[Record], named: Identifier | None
) -> Judged:
    """Judge a file whose bytes are those of `records`."""
    identifiers = {record.identifier for record in records}
    names = ", ".join(sorted(map(describe_record, records)))
    if named and named not in identifiers:
        return Judged(seen, "left", why=f"it is {names}, and not {named}")
    if recognised := tuple(entry for entry in entries if entry.identifier in identifiers):
        asked = (record for record in records if record.identifier in {entry.identifier for entry in recognised})
        return Judged(seen, "recognised", recognised, trust=min(asked, key=lambda record: record.rank).trust)
    return Judged(seen, "left", why=f"it is {names}, which the release does not ask for")


def _judge_unknown(
    seen: SeenFile, entries: tuple[Entry, ...], by_identifier: Mapping[Identifier, Record], evidence: Evidence
) -> Judged:
    """Judge a file whose bytes no record has."""
    if seen.blob is None:
        return Judged(seen, "left", why=seen.problem)
    name = seen.path.name
    named = evidence.named.get(name)
    namesakes = tuple(entry for entry in entries if (entry.identifier == named if named else entry.file == name))
    identifiers = {str(entry.identifier) for entry in namesakes}
    if not identifiers:
        return Judged(seen, "left", why="not a file of the release")
    which = f"say which with --identifier {name}=figshare:N"
    if len(identifiers) > 1:
        return Judged(seen, "left", why=f"it could be any of {', '.join(sorted(identifiers))}: {which}")
    record, doubt = by_identifier.get(*identifiers), ""
    if record:
        doubt = f"other bytes are recorded for {describe_record(record)}"
    elif not named and (others := evidence.names.get(name, frozenset()) - identifiers):
        contents = ", ".join(sorted(others | identifiers))
        doubt = f"its name has other bytes in other releases ({contents}): {which}"
    if why := seen.problem or (doubt if record and not record.is_adopted else ""):
        return Judged(seen, "left", why=why)
    return Judged(seen, "taken", namesakes, doubt=doubt, checks=("form",))


def describe_record(record: Record) -> str:
    """Name the identifier of `record`, with "(adopted)" if a user's word alone vouches for it."""
    return f"{record.identifier} ({record.trust})" if record.is_adopted else record.identifier


def is_unchanged(seen: SeenFile) -> bool:
    """Return True if the file is still the one that was read, and nobody has written to it since."""
    try:
        return FileState.of(seen.path.stat()) == seen.state
    except OSError:
        return False
