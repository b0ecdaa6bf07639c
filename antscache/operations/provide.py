"""Provide: one file for a program that asks for it by name.

    the program names no place    the file in the view, fetched if it is missing
    it names a place              a whole file there, as it is; else the file in the view, which is put there unless the
                                  disk refuses or something else is there
    nothing can be fetched        a whole file of the name in the user's own `~/.keras/ANTsXNet` (`~/.keras/models`, if
                                  it is Keras's own), unless its bytes are known to be others, or (but for containers)
                                  releases have several files of the name

Every deviation from "the file in the view" is remarked.
"""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import (
    Delivery,
    Remarked,
    home_directory,
    identifiers_by_file,
    ignore_events,
    known_md5,
    place_in_home,
    select,
    with_optional,
)
from antscache.errors import AntsCacheError, StoreError
from antscache.formats import CutFile, Hdf5Scanner, NoFile, ScannerError, inspect
from antscache.operations import error_texts
from antscache.operations.confirm import read_md5
from antscache.operations.prefetch import make_plan, prefetch_plan
from antscache.operations.scans import not_scanned, scan_file
from antscache.views import EntryLocation, locate_entry, put_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from antscache.core import Descriptor, Entry, Identifier, Listener, Manifest, Plan, Record
    from antscache.formats import FormError
    from antscache.root import Root


@dataclass(frozen=True, slots=True)
class Found:
    """A file where a program or ANTsPyNet looks for an entry.

    Attributes:
        path: its place.
        blob: its bytes; None if they cannot be read.
        defect: the reason why it is not a whole file of the entry's form; None if it is.
    """

    path: Path
    blob: Descriptor | None
    defect: FormError | OSError | None = None

    @property
    def is_remnant(self) -> bool:
        """True if nobody can want to keep it: it is empty, cut, or a web page in place of the file."""
        return isinstance(self.defect, CutFile | NoFile)

    @property
    def why(self) -> str:
        """The defect in words; empty if there is none."""
        return str(getattr(self.defect, "strerror", None) or self.defect or "")


def provide_file(
    root: Root,
    manifest: Manifest,
    entry: Entry,
    *,
    place: Path | None = None,
    listen: Listener = ignore_events,
) -> EntryLocation:
    """Return where a program finds the file of an entry, which is whole; fetch it first if necessary.

    Args:
        root: the file becomes present there, unless the program has its own.
        manifest: of the release.
        entry: of `manifest`.
        place: the path at which the program looks, if it names one; the file is put there if it can be.
        listen: hears remarks.

    Raises:
        ManifestError: the release cannot fetch the entry, and no file of the user's own is whole.
        AntsCacheError: the file is missing and cannot be fetched; the errors are those of `prefetch_plan`.
        IntegrityError: something was found in the file at `place` that refuses it.
    """
    found = look_at(place, entry.file) if place else None
    if found and found.blob and not found.defect:
        if why := _find_refusal(root, entry, found, listen):
            raise error_texts.refused_file(found.path, why, manifest.release, entry)
        if known := _known_as(root, manifest, entry, found.blob):
            listen(Remarked(f"{found.path} is used as it is: {known}"))
        return EntryLocation.of(manifest.release, entry, found.blob, found.path)
    try:
        location = _present(root, manifest, entry, listen)
    except AntsCacheError:
        if found:
            listen(Remarked(f"{found.path} is not used: {found.why}"))
        raise
    return _put(location, place, found, listen) if place else location


def look_at(path: Path, file: str) -> Found | None:
    """Read the file at `path`, and check that it has the form of a file called `file`; None if there is none."""
    try:
        seen = inspect(path, file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Found(path, None, error)
    return Found(path, seen.blob, seen.defect)


def _present(root: Root, manifest: Manifest, entry: Entry, listen: Listener) -> EntryLocation:
    """Make `entry` present in the view and return it, or else the whole file of its name in the user's home."""
    try:
        plan = make_plan(root, manifest, select(with_optional(manifest), [entry.name], [entry.kind]))
        for event in prefetch_plan(root, plan).fetched:
            _remark_findings(event.file, event.findings, listen)
    except AntsCacheError:
        if location := _in_user_home(root, manifest, entry, listen):
            return location
        raise
    return locate_entry(root, manifest.release, entry)


def _in_user_home(root: Root, manifest: Manifest, entry: Entry, listen: Listener) -> EntryLocation | None:
    try:
        path = Path.home() / place_in_home(manifest.release.package, entry)
    except RuntimeError:  # there is no home
        return None
    found = look_at(path, entry.file)
    if found is None:
        return None
    record, contents = _record(root, entry.identifier), _contents(root, manifest, entry)
    # In a container, the user has mounted that directory for this release: the note asks for a second thought.
    why = (
        reason_not_to_use(found, record, () if root.settings.mounted else contents)
        or _wrong_md5(path, entry)
        or _find_refusal(root, entry, found, listen)
    )
    if why or not found.blob:
        listen(Remarked(f"{found.path} is not used: {why}"))
        return None
    adopt = f"`antscache adopt {shlex.quote(str(path.parent))} --as {manifest.release}` takes such files over"
    doubt = ", and it may be another release's" if len(contents) > 1 and not record else ""
    listen(Remarked(f"{found.path} is used as it is: antscache has no such file{doubt}", hint=adopt))
    return EntryLocation.of(manifest.release, entry, found.blob, found.path)


def _wrong_md5(path: Path, entry: Entry) -> str:
    """Say that the file at `path` has another MD5 than the one known for `entry`; empty if it has not."""
    known = known_md5(entry.identifier)
    return "" if known is None or known == read_md5(path)[1] else f"its MD5 is not {known}"


def _find_refusal(root: Root, entry: Entry, found: Found, listen: Listener) -> str:
    """Scan a network that antscache did not fetch; describe what refuses it, or return "".

    `listen` hears of all other findings. Recorded bytes that a scan has looked at are not scanned again.
    """
    record = _record(root, entry.identifier)
    same = record if record and record.descriptor == found.blob else None
    if not entry.file.endswith(".h5") or (same and same.is_scanned):
        return ""
    delivery = Delivery(known=same is not None and not same.is_adopted)
    with closing(Hdf5Scanner()) as scanner:
        try:
            scanned = scan_file(scanner, found.path, str(entry.identifier), delivery, root.hazard_policy())
        except ScannerError as error:
            listen(not_scanned(error))
            return ""
    _remark_findings(str(found.path), scanned.findings, listen)
    return scanned.refusal


def _remark_findings(file: str, findings: Collection[str], listen: Listener) -> None:
    if findings:
        listen(Remarked(f"found in {file}: {'; '.join(findings)}"))


def reason_not_to_use(found: Found, record: Record | None, contents: Collection[Identifier]) -> str:
    """Say why a file in the user's home is not used for an entry; empty if it is.

    Args:
        found: the file.
        record: of the entry's identifier.
        contents: the identifiers that releases have for a file of its name.
    """
    if found.defect:
        return found.why
    if record:
        return "" if record.descriptor == found.blob else f"its bytes are not those recorded for {record.identifier}"
    if len(contents) > 1:
        return f"releases have {len(contents)} different files of that name, and no record tells which one it is"
    return ""


def _put(location: EntryLocation, place: Path, found: Found | None, listen: Listener) -> EntryLocation:
    """Put the file at `location` to `place`, and return it there; or `location` itself, if that cannot be done."""
    source, blob = location.path, location.blob
    if source is None or blob is None or _is_same(source, place):
        return location
    if found and not found.is_remnant:
        listen(Remarked(f"{place} is left alone: {found.why}; {source} is used"))
        return location
    try:
        put_file(source, place, blob)
    except OSError as error:
        listen(Remarked(f"cannot write {place}: {error.strerror or error}; {source} is used"))
        return location
    if found:
        listen(Remarked(f"{place} was replaced: {found.why}"))
    return replace(location, path=place)


def files_in_user_home(plan: Plan) -> tuple[Path, tuple[str, ...]]:
    """Return the user's own directory of ANTsPyNet's files, and the missing files of `plan` that it has by name."""
    within = home_directory(plan.release.package)
    try:
        directory = Path.home() / within
        there = {path.name for path in directory.iterdir()}
    except (OSError, RuntimeError):
        return Path("~") / within, ()
    return directory, tuple(sorted({entry.file for entry in plan.missing} & there))


def _known_as(root: Root, manifest: Manifest, entry: Entry, blob: Descriptor) -> str:
    """Say that `blob` is known to be other bytes than `entry` asks for; empty if it is not."""
    asked = f"{entry.identifier}, which {manifest.release} asks for"
    if record := _record(root, entry.identifier):
        return "" if record.descriptor == blob else f"its bytes are not those recorded for {asked}"
    others = sorted(_contents(root, manifest, entry) - {entry.identifier})
    records = filter(None, (_record(root, other) for other in others))
    other = next((record.identifier for record in records if record.descriptor == blob), None)
    return f"it is {other}, not {asked}" if other and entry.identifier else ""


def _contents(root: Root, manifest: Manifest, entry: Entry) -> frozenset[Identifier]:
    """Return the identifiers that releases have for the file name of `entry`."""
    manifests = root.catalog.manifests(manifest.release.package)
    return identifiers_by_file([*manifests, manifest]).get(entry.file, frozenset())


def _record(root: Root, identifier: Identifier | None) -> Record | None:
    """Return the record of `identifier`; None without one, or if it cannot be read."""
    try:
        return root.store.record(identifier) if identifier else None
    except StoreError:
        return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
