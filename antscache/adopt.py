"""An existing directory of ANTsPyNet's taken over: which of its files are what, and what becomes of them.

Bytes that are recorded are recognised, whatever they are called. Others are taken for what a release calls so, on the
user's word and if they have the form; the record says so, and an origin's word replaces it. What is cut, what cannot be
told apart, and what is not of the release is named and left alone.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from antscache.durable import refusing
from antscache.errors import StoreError
from antscache.formats import FormError, form_of
from antscache.hashing import hashed
from antscache.ingest import Taken
from antscache.manifest import fetchable, home_directory
from antscache.record import Record, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.digest import Descriptor
    from antscache.manifest import Entry, Identifier, Manifest, Package
    from antscache.store import Store

Fate = Literal["recognised", "taken", "left"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file in the directory.

    Attributes:
        blob: its bytes; None if they cannot be had.
        problem: why it cannot be what its name says, if it cannot.
    """

    path: Path
    blob: Descriptor | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a file.

    Attributes:
        fate: recognised by its bytes, taken by its name, or left alone.
        entries: of the release, that it is.
        why: it is left alone.
    """

    seen: Seen
    fate: Fate
    entries: tuple[Entry, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was taken over, and how its bytes came into the store."""

    judged: tuple[Judged, ...]
    shared: int = 0
    copied: int = 0
    moved: int = 0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What of the release is in the store."""
        return tuple(entry for each in self.judged for entry in each.entries)


def judge(seen: Iterable[Seen], manifest: Manifest, records: Iterable[Record]) -> tuple[Judged, ...]:
    """What becomes of each file: pure."""
    entries = fetchable(manifest.entries)
    records = tuple(records)
    known: dict[Identifier, Record] = {record.identifier: record for record in records}
    identifiers: dict[Descriptor, list[Identifier]] = {}
    for record in records:
        identifiers.setdefault(record.descriptor, []).append(record.identifier)
    return tuple(_judged(each, entries, known, identifiers) for each in seen)


def _judged(
    seen: Seen,
    entries: tuple[Entry, ...],
    known: Mapping[Identifier, Record],
    identifiers: Mapping[Descriptor, list[Identifier]],
) -> Judged:
    if seen.blob is None:
        return Judged(seen, "left", why=seen.problem)
    if named := identifiers.get(seen.blob):
        if found := tuple(entry for entry in entries if entry.identifier in named):
            return Judged(seen, "recognised", found)
        return Judged(seen, "left", why=f"it is {', '.join(sorted(named))}, which this release does not ask for")
    called = tuple(entry for entry in entries if entry.file == seen.path.name)
    why = _why_not(called, known) or seen.problem
    return Judged(seen, "left", why=why) if why else Judged(seen, "taken", called)


def _why_not(called: tuple[Entry, ...], known: Mapping[Identifier, Record]) -> str:
    """Why a file of unknown bytes cannot be what is `called` so; empty if it can."""
    identifiers = {str(entry.identifier) for entry in called}
    if not identifiers:
        return "not a file of this release"
    if len(identifiers) > 1:
        return "the release has several files of this name"
    record = known.get(*identifiers)
    return f"other bytes than those of {record.identifier}, which are recorded" if record else ""


def look(directory: Path, package: Package, heard: Callable[[int], object] = lambda _: None) -> Iterator[Seen]:
    """The files of a directory: a home, its `.keras`, or where ANTsPyNet keeps its files.

    Raises:
        StoreError: it cannot be read.
    """
    place = place_of(directory, package)
    with refusing(f"cannot read {place}"):
        paths = sorted(place.iterdir())
    for path in paths:
        yield _seen(path, heard)


def place_of(directory: Path, package: Package) -> Path:
    """Where in `directory` the files of `package` are."""
    within = home_directory(package)
    for candidate in (directory / within, directory / within.name):
        if candidate.is_dir():
            return candidate
    return directory


def _seen(path: Path, heard: Callable[[int], object]) -> Seen:
    if not path.is_file():
        return Seen(path, None, "a directory" if path.is_dir() else "not a file")
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
        blob = hashed(path, feed)
        if not problem:
            form.finish()
    except OSError as error:
        return Seen(path, None, f"it cannot be read: {error.strerror}")
    except FormError as error:
        problem = str(error)
    return Seen(path, blob, problem)


def adopt(store: Store, manifest: Manifest, judged: Iterable[Judged], *, move: bool) -> Adopted:
    """What of `judged` is recognised or taken is in the store, recorded and selected; what is left is untouched.

    Args:
        store: the root, which is there.
        manifest: of the release that the files are taken for.
        judged: as `judge` says.
        move: the names in the directory are gone afterwards, of those files that are in the store.

    Raises:
        StoreError: the disk refused; every file is where it was or in the store.
        IntegrityError: other bytes were recorded for an identifier meanwhile.
    """
    judged = tuple(judged)
    entries = {entry for each in judged for entry in each.entries}
    if entries:
        order = tuple(entry for entry in fetchable(manifest.entries) if entry in entries)
        store.refs.select(Selection(manifest.release, order))
    done: list[Judged] = []
    ways = {"reflink": 0, "hardlink": 0, "copy": 0}
    for each in judged:
        way, why = _take(store, each, move=move) if each.entries else (None, each.why)
        if way:
            ways[way] += 1
        done.append(Judged(each.seen, "left", why=why) if each.entries and why else each)
    return Adopted(tuple(done), shared=ways["reflink"], copied=ways["copy"], moved=ways["hardlink"])


def _take(store: Store, judged: Judged, *, move: bool) -> tuple[str | None, str]:
    """How the file came into the store, if it had to; and why it did not, if it did not."""
    seen, way = judged.seen, None
    assert seen.blob is not None  # noqa: S101  what has entries has bytes
    if not store.holds(seen.blob):
        try:
            with store.ingest() as ingest:
                way = ingest.take(seen.path, move=move)
                if ingest.descriptor != seen.blob:
                    return None, "it changed while it was read"
                ingest.publish()
        except Taken:
            raise StoreError(f"{ingest.path} was removed while it was written", hint="run the command again") from None
        except OSError as error:
            return None, f"it cannot be read: {error.strerror}"
    if judged.fate == "taken":
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        for identifier in {entry.identifier for entry in judged.entries if entry.identifier}:
            blob = seen.blob
            store.remember(Record(identifier, blob.digest, blob.size, "adopted", str(seen.path), now, ("form",)))
    if move:
        with suppress(OSError):  # a directory that is not ours to change
            seen.path.unlink()
    return way, ""
