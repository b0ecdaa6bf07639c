"""An existing directory of ANTsPyNet's taken over: which of its files are what, and what becomes of them.

Bytes that are recorded are recognised, whatever they are called. Others are taken for what a release calls so, on the
user's word, if they have the form and no hazards; the record says so, and an origin's word replaces it. What is cut,
what cannot be told apart, and what is not of the release is named and left alone.

    look -> judge -> walked -> adopt
    (bytes,  (whose    (hazards)  (store, records,
     forms)   they are)            selection)

Nothing is changed before `adopt`, which goes by the bytes that were judged: what has changed since is left alone.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

from antscache.core import (
    Check,
    Layout,
    Listener,
    Record,
    Remarked,
    Selection,
    fetchable,
    home_directory,
    ignore_events,
)
from antscache.disk import hash_file
from antscache.errors import IntegrityError, StoreError
from antscache.formats import FormError, Hdf5Scanner, ScannerError, form_of
from antscache.store import CopyMethod, IngestVanished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.core import Descriptor, Entry, Identifier, Manifest, Package
    from antscache.store import Store

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


class _LeftError(Exception):
    """A file is left alone after all; `str()` says why."""


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


def look(paths: Iterable[Path], heard: Callable[[int], object] = lambda _: None) -> Iterator[Seen]:
    """Each of `paths`, read once; files behind links as well. What is no file is not opened."""
    for path in paths:
        yield _seen(path, heard)


def _seen(path: Path, heard: Callable[[int], object]) -> Seen:
    try:
        status = path.stat()
    except OSError as error:
        return Seen(path, None, "a link that leads nowhere" if path.is_symlink() else _unread(error))
    if not S_ISREG(status.st_mode):
        return Seen(path, None, "a directory" if S_ISDIR(status.st_mode) else "not a file")
    return _read(path, State.of(status), heard)


def _read(path: Path, state: State, heard: Callable[[int], object]) -> Seen:
    form, problem = form_of(path.name), ""

    def feed(chunk: memoryview) -> None:
        nonlocal problem
        heard(len(chunk))
        if not problem:
            try:
                form.feed(chunk)
            except FormError as error:
                problem = str(error)

    try:
        blob = hash_file(path, feed)
        if not problem:
            form.finish()
    except OSError as error:
        return Seen(path, None, _unread(error))
    except FormError as error:
        problem = str(error)
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
        told = ", ".join(sorted(map(_told, records)))
        return Judged(seen, "left", why=f"it is {told}, which the release does not ask for")
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
    return seen.problem or (f"other bytes than are recorded of {_told(record)}" if record else "")


def _told(record: Record) -> str:
    return f"{record.identifier} ({record.trust})" if record.trust == "adopted" else record.identifier


def walked(judged: Iterable[Judged], walker: Hdf5Scanner | None, listen: Listener = ignore_events) -> Iterator[Judged]:
    """`judged`, where a network that is to be taken has no hazards, or could not be walked, which is said once.

    Args:
        judged: as `judge` says.
        walker: of HDF5 files; None where they cannot be walked.
        listen: hears why not, if h5py is there and does not work.
    """
    for each in judged:
        if walker is None or each.fate != "taken" or not each.seen.path.name.endswith(".h5"):
            yield each
            continue
        try:
            hazards = walker.walk(each.seen.path)
        except FormError as error:
            yield Judged(each.seen, "left", why=str(error))
        except ScannerError as error:
            walker = None
            listen(Remarked(f"HDF5 files are not walked: {error}"))
            yield each
        else:
            if hazards:
                yield Judged(each.seen, "left", why=f"an HDF5 file with {'; '.join(hazards)}")
            elif not _is_unchanged(each.seen):
                yield Judged(each.seen, "left", why="it changed while it was read")
            else:
                yield replace(each, checks=(*each.checks, "walk"))


def _is_unchanged(seen: Seen) -> bool:
    try:
        return State.of(seen.path.stat()) == seen.state
    except OSError:
        return False


# Adopting


def refuse_root(directory: Path, package: Package) -> None:
    """Nothing is moved out of what antscache keeps: a view, a store, or a lower cache.

    Raises:
        StoreError: the files are in an antscache root.
    """
    place = place_of(directory, package).resolve()
    for root in (place, *place.parents):
        with suppress(OSError):
            if Layout(root).description.exists():
                told = f"{shown(directory)} is in the antscache root {shown(root)}"
                raise StoreError(told, hint="adopt it without --move")


def adopt_files(
    store: Store,
    manifest: Manifest,
    judged: Iterable[Judged],
    *,
    move: bool,
    heard: Callable[[int], object] = lambda _: None,
) -> Iterator[Judged]:
    """What of `judged` is recognised or taken is in the store, recorded and selected; what is left is untouched.

    The selection is written first. A file's name goes last, once its bytes and its record are durable.

    Args:
        store: the root, which is there.
        manifest: of the release that the files are taken for.
        judged: as `judge` says.
        move: the names in the directory are gone afterwards, of those files that are in the store.
        heard: told how many bytes were read.

    Yields:
        What became of each.

    Raises:
        StoreError: the disk refused; every file is where it was or in the store.
    """
    judged = tuple(judged)
    entries = {entry for each in judged for entry in each.entries}
    order = tuple(entry for entry in fetchable(manifest.entries) if entry in entries)
    if order:
        store.refs.select(Selection(manifest.release, order))
    for each in judged:
        yield _adopted(store, each, move=move, heard=heard) if each.entries else each


def _adopted(store: Store, judged: Judged, *, move: bool, heard: Callable[[int], object]) -> Judged:
    """What became of a file that is to be taken over."""
    seen = judged.seen
    assert seen.blob is not None  # noqa: S101  what has entries has bytes
    try:
        if move:
            _check_directory(seen)
        _check_records(store, judged)
        way = None
        # What is moved is in the store itself: a lower cache may go.
        if not (store.owns(seen.blob) if move else store.holds(seen.blob)):
            way = _take(store, seen, move=move, heard=heard)
        elif move:
            _check_blob(store, seen)
        if way is None:  # whoever put it there may have been killed just then
            store.sync_blobs()
        _record(store, judged, here=move)
        return replace(judged, way=way, why=_remove(store, seen) if move else "")
    except _LeftError as left:
        return Judged(seen, "left", why=str(left))


def _check_directory(seen: Seen) -> None:
    """The name can be taken away.

    Raises:
        _LeftError: it cannot, as far as that can be told.
    """
    if not os.access(seen.path.parent, os.W_OK | os.X_OK):
        raise _LeftError("it cannot be moved out of a directory that is not yours to change")


def _take(store: Store, seen: Seen, *, move: bool, heard: Callable[[int], object]) -> CopyMethod:
    """The bytes are in the store: how they came there.

    Raises:
        _LeftError: they are not, and the file is as it was.
    """
    try:
        with store.ingest() as ingest:
            way = ingest.take(seen.path, move=move, heard=heard)
            if ingest.descriptor != seen.blob:
                raise _LeftError("it changed while it was read")
            ingest.publish()
    except IngestVanished:
        raise StoreError(f"{ingest.path} was removed while it was written", hint="run the command again") from None
    except OSError as error:
        raise _LeftError(f"it cannot be taken: {error.strerror}") from None
    return way


def _check_blob(store: Store, seen: Seen) -> None:
    """The store's copy is as good as the one that is about to go.

    Raises:
        _LeftError: it is not.
    """
    assert seen.blob is not None  # noqa: S101  see above
    path = store.layout.blob(seen.blob.digest)
    try:
        if path.samefile(seen.path) or hash_file(path) == seen.blob:
            return
    except OSError as error:
        raise _LeftError(f"the store's copy cannot be read: {error.strerror}") from None
    raise _LeftError("the store's copy is damaged: run `antscache verify --repair`, then this again")


def _check_records(store: Store, judged: Judged) -> None:
    """No other bytes are recorded by now.

    Raises:
        _LeftError: there are.
    """
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        if record and record.descriptor != judged.seen.blob:
            raise _LeftError(f"other bytes were recorded of {_told(record)} meanwhile")


def _record(store: Store, judged: Judged, *, here: bool) -> None:
    """The identifiers are recorded: on the user's word, where there is no better one.

    Args:
        store: the root.
        judged: a file whose bytes are in the store.
        here: not only in a lower cache.

    Raises:
        _LeftError: other bytes were recorded meanwhile.
    """
    blob = judged.seen.blob
    assert blob is not None  # noqa: S101  see above
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    source = shown(judged.seen.path)
    for identifier in _identifiers(judged):
        record = store.record(identifier)
        if record and (not here or store.layout.record(identifier).exists()):
            continue
        try:
            store.remember(record or Record(identifier, blob.digest, blob.size, "adopted", source, now, judged.checks))
        except IntegrityError:
            raise _LeftError(f"other bytes were recorded of {identifier} meanwhile") from None
    _check_records(store, judged)


def _identifiers(judged: Judged) -> list[Identifier]:
    return sorted({entry.identifier for entry in judged.entries if entry.identifier})


def _remove(store: Store, seen: Seen) -> str:
    """The name is gone from the directory, unless it has other bytes by now: why it is still there; empty if not."""
    assert seen.blob is not None  # noqa: S101  see above
    try:
        if not _is_unchanged(seen) and not seen.path.samefile(store.layout.blob(seen.blob.digest)):
            return "in the store, but it changed meanwhile"
        seen.path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"in the store, but it cannot be removed: {error.strerror}"
    return ""
