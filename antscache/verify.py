"""Everything read again, and compared with what it should be. Changes nothing.

A blob has the bytes that its name says; a record, a selection and the index can be read and say what their names say;
a view's names lead to the blobs of its release. What is used of a lower cache is read there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from antscache.formats import Form, FormError, form_of
from antscache.hashing import hashed
from antscache.manifest import home_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from antscache.digest import Descriptor, Digest
    from antscache.manifest import Entry, Release
    from antscache.store import Store

Part = Literal["blob", "record", "selection", "view", "index"]


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that is not as it should be.

    Attributes:
        part: of the root.
        path: where.
        problem: in words.
        damaged: whether the file at `path` is worth nothing any more, so that a repair moves it aside.
    """

    part: Part
    path: str
    problem: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and what was found.

    Attributes:
        blobs: how many were read.
        size: how many bytes they have.
        repaired: what was found first and is no longer so.
    """

    blobs: int
    size: int
    findings: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Use:
    """A blob that a release uses: where its bytes are, and as what."""

    release: Release
    entry: Entry
    blob: Descriptor
    path: Path


def verify(
    store: Store,
    releases: Collection[Release] = (),
    *,
    deep: bool = False,
    jobs: int,
    heard: Callable[[int], object] = lambda _: None,
) -> Verified:
    """Read everything in `store`, or what `releases` use of it.

    Args:
        store: the root, which is there.
        releases: in use; all, if there are none.
        deep: repeat the checks of form, which takes ten times as long.
        jobs: blobs read at once.
        heard: told how many bytes were read, from any thread.

    Raises:
        StoreError: a directory cannot be read.
    """
    findings, selected = _selected(store, releases)
    if not releases:
        findings += [Finding("record", str(path), why, damaged=True) for path, why in store.damaged_records()]
    uses = []
    for release, entries in selected.items():
        directory = store.layout.view(release) / home_directory(release.package)
        held = dict(store.held(entries))
        findings += [
            Finding("view", str(directory / e.file), "its bytes are not held") for e in entries if e not in held
        ]
        uses += [_Use(release, e, blob, path) for e, blob in held.items() if (path := store.find(blob))]
    forms = {use.path: use.entry.file for use in uses if deep and not _is_accepted(store, use.entry)}
    blobs = {use.path: use.blob.digest for use in uses}
    if not releases:
        blobs |= {store.layout.blob(found.digest): found.digest for found in store.blobs()}
    views = {_name(store, use): use.blob.digest for use in uses if not _same_file(_name(store, use), use.path)}

    def read(item: tuple[Path, Digest]) -> tuple[Finding | None, int]:
        path, digest = item
        form = form_of(forms[path]) if path in forms else None
        problem, size, damaged = _problem(path, digest, form, heard)
        part: Part = "view" if path in views else "blob"
        return (Finding(part, str(path), problem, damaged=damaged and part == "blob") if problem else None), size

    with ThreadPoolExecutor(jobs) as threads:
        results = list(threads.map(read, {**blobs, **views}.items()))
    findings += [finding for finding, _ in results if finding]
    if not releases and not store.index_is_right():
        findings.append(Finding("index", str(store.layout.index), "not what refs and blobs say"))
    return Verified(len(blobs), sum(size for _, size in results[: len(blobs)]), tuple(sorted(findings)))


def sums(store: Store, releases: Collection[Release] = ()) -> Iterator[tuple[Digest, Path]]:
    """What `sha256sum -c` needs to come to the same verdict of blobs and views: each file's digest and where it is."""
    _, selected = _selected(store, releases)
    uses = [
        _Use(release, entry, blob, path)
        for release, entries in selected.items()
        for entry, blob in store.held(entries)
        if (path := store.find(blob))
    ]
    blobs = {use.path: use.blob.digest for use in uses}
    if not releases:
        blobs |= {store.layout.blob(found.digest): found.digest for found in store.blobs()}
    for path, digest in sorted((blobs | {_name(store, use): use.blob.digest for use in uses}).items()):
        yield digest, path


def _selected(store: Store, releases: Collection[Release]) -> tuple[list[Finding], dict[Release, tuple[Entry, ...]]]:
    """What `releases`, or all in use, have selected; and the selections that cannot be read."""
    damaged = [Finding("selection", str(path), why, damaged=True) for path, why in store.refs.damaged()]
    return damaged, {release: store.refs.entries(release) for release in releases or store.refs.releases()}


def _name(store: Store, use: _Use) -> Path:
    """The name in the view."""
    return store.layout.view(use.release) / home_directory(use.release.package) / use.entry.file


def _same_file(name: Path, blob: Path) -> bool:
    """Whether reading the blob is reading what the view has."""
    try:
        return name.samefile(blob)
    except OSError:
        return False


def _is_accepted(store: Store, entry: Entry) -> bool:
    record = store.record(entry.identifier) if entry.identifier else None
    return bool(record and record.accepted)


def _problem(path: Path, digest: Digest, form: Form | None, heard: Callable[[int], object]) -> tuple[str, int, bool]:
    """What is wrong with the file at `path`, which should be `digest`; how many bytes it has; and if it has others."""
    unlike = ""

    def look(chunk: memoryview) -> None:
        nonlocal form, unlike
        heard(len(chunk))
        try:
            if form:
                form.feed(chunk)
        except FormError as error:
            form, unlike = None, str(error)

    try:
        found = hashed(path, look)
        if form:
            form.finish()
    except FileNotFoundError:
        return ("leads nowhere" if path.is_symlink() else "not there"), 0, False
    except OSError as error:
        return f"cannot be read: {error.strerror}", 0, False
    except FormError as error:
        unlike = str(error)
    if found.digest != digest:
        return f"other bytes: {found.digest}", found.size, True
    return unlike, found.size, False
