"""A model of a root, in plain values, and a reader of the root's disk that uses none of antscache's code.

The model knows which commands were run on the root, and what the origin serves. It names the files that must exist
(`Model.held`, `Model.linked`, `Model.homes`, `Model.mine`). Any other file may have right bytes, bytes that the test
has damaged itself, or be missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from antscache.core.manifest import Entry, Manifest, Release
from support.commands import MANIFESTS, Adopt, Collect, Command, Prefetch, Remove, Verify, directory_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DAY = 24 * 60 * 60
TEMPORARY_NAME = re.compile("[0-9a-f]{32}")

Choice = tuple[Release, frozenset[Entry]]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Disk:
    """A root, as read from the disk."""

    root: Path

    @property
    def blobs(self) -> Path:
        return self.root / "blobs/sha256"

    def blob(self, name: str) -> Path:
        return self.blobs / name

    def record(self, identifier: str) -> Path:
        return self.root / "identifiers/figshare" / f"{identifier.removeprefix('figshare:')}.json"

    def view(self, manifest: Manifest) -> Path:
        release = manifest.release
        return directory_in(self.root / "views" / f"{release.package}-{release.version}", manifest)

    def condemned(self) -> Iterator[tuple[str, Path]]:
        """Yield the digest and the path of each condemned blob in the trash."""
        for path in sorted(self.root.glob("trash/*")):
            if re.fullmatch(r"[0-9a-f]{64}\.[0-9]+\.[0-9a-f]{8}", path.name):
                yield path.name[:64], path

    def recorded(self, identifier: str) -> tuple[str, int] | None:
        """Return the digest and size in the record of `identifier`; None if there is none that can be read."""
        try:
            record = json.loads(self.record(identifier).read_bytes())
        except (OSError, ValueError):
            return None
        return record["digest"].removeprefix("sha256:"), record["size"]

    def has(self, blob: tuple[str, int] | None) -> bool:
        """Return True if there is a blob with this digest and size. Its bytes are not read."""
        return blob is not None and self.blob(blob[0]).is_file() and self.blob(blob[0]).stat().st_size == blob[1]

    def can_have(self, blob: tuple[str, int] | None) -> bool:
        """Return True if there is such a blob, or one in the trash that can be put back."""
        return self.has(blob) or blob in [(name, path.stat().st_size) for name, path in self.condemned()]

    def selections(self) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        """Yield the path and the content of each selection; None for the content if it cannot be read."""
        for path in sorted(self.root.glob("refs/*/*/*.json")):
            yield path, _decoded(path.read_bytes())

    def names(self, release: Release) -> bool:
        """Return True if there is an index and it names `release`."""
        path = self.root / "index.json"
        return path.exists() and f'"{release.package}-{release.version}"' in path.read_text()

    def index(self) -> dict[str, set[tuple[str, str]]]:
        """Return the files and digests that the index lists, by tag.

        Also check that each document that it names has the named digest and size.
        """
        listed = {}
        for line in json.loads((self.root / "index.json").read_bytes())["manifests"]:
            content = self.blob(line["digest"].removeprefix("sha256:")).read_bytes()
            assert (digest(content), len(content)) == (line["digest"].removeprefix("sha256:"), line["size"])
            listed[line["annotations"]["org.opencontainers.image.ref.name"]] = {
                (layer["annotations"]["org.opencontainers.image.title"], layer["digest"].removeprefix("sha256:"))
                for layer in json.loads(content)["layers"]
                if "annotations" in layer
            }
        return listed


@dataclass
class Held:
    """A blob that must exist.

    Attributes:
        days: its age.
        condemned: the days since a collection may have condemned it; None if none may have.
    """

    days: int = 0
    condemned: int | None = None


@dataclass
class Model:
    """The expected state of a root.

    Attributes:
        right: the digests that each identifier may have; the one that the origin serves comes first.
        selected: the entries in use, a value for each selection on the disk.
        known: the recorded digest of each identifier.
        held: digests of blobs that must exist.
        lapsed: the age in days of each blob that need not exist and is there, perhaps in the trash.
        linked: the names in views that must exist, by release.
        homes: the names in homes outside the root that must exist, and their digests.
        mine: files of the user's in views.
        forged: names in views whose size and time look right, but whose bytes are wrong.
        bad: digests of the bytes that the test has put in the place of blobs.
        damaged: blobs whose bytes the test has damaged, until a command has mended them.
        unreadable: records and selections that the test has damaged, until a command has mended them.
    """

    disk: Disk
    right: Mapping[str, list[str]]
    selected: set[Choice] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    lapsed: dict[str, int] = field(default_factory=dict)
    linked: dict[Release, set[str]] = field(default_factory=dict)
    homes: dict[Path, str] = field(default_factory=dict)
    mine: dict[Path, bytes] = field(default_factory=dict)
    forged: set[Path] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    unreadable: set[Path] = field(default_factory=set)

    # Consequences of this state

    def entries(self, release: Release) -> frozenset[Entry]:
        """Return all selected entries of a release."""
        return frozenset().union(*(entries for other, entries in self.selected if other == release))

    def protected(self, selected: Iterable[Choice] | None = None) -> set[str]:
        """Return the digests of the blobs that a garbage collection must keep."""
        choices = self.selected if selected is None else selected
        entries = (entry for _, chosen in choices for entry in chosen)
        return {self.known[str(entry.identifier)] for entry in entries if entry.identifier in self.known}

    def is_whole(self) -> bool:
        """Return True if nothing is damaged and every selected entry is linked under its name."""
        return not (self.damaged or self.unreadable) and all(
            self.known.get(str(entry.identifier)) in self.held and entry.file in self.linked.get(release, ())
            for release, entries in self.selected
            for entry in entries
        )

    def is_forgotten(self, manifest: Manifest) -> bool:
        """Return True if a selection of the release cannot be read, so that a repair has to guess it."""
        release = manifest.release
        return self.disk.root / "refs" / release.package / release.version in {path.parent for path in self.unreadable}

    # Effects of commands

    def before(self, *commands: Command) -> tuple[set[Choice], set[Choice]]:
        """Return the selections that certainly exist once `commands` have begun, and those that may exist."""
        adds = {choice for command in commands if (choice := self.choice(command))}
        if any(isinstance(command, Verify) and command.repair for command in commands):
            adds |= {(each.release, frozenset(each.entries)) for each in MANIFESTS.values() if self.is_forgotten(each)}
        removes = {
            choice
            for command in commands
            if isinstance(command, Remove)
            for choice in self.selected | adds
            if choice[0] == MANIFESTS[command.release].release
        }
        return self.selected - removes, self.selected | adds

    def choice(self, command: Command) -> Choice | None:
        """Return the selection that a command makes, or None; for an adoption, the largest one possible."""
        if isinstance(command, Prefetch):
            chosen = (entry for entry in MANIFESTS[command.release].entries if entry.name in command.names)
        elif isinstance(command, Adopt):
            names = {name for name, _ in command.files}
            identifiers = {entry.identifier for entry in MANIFESTS[command.release].entries if entry.name in names}
            chosen = (entry for entry in MANIFESTS[command.release].entries if entry.identifier in identifiers)
        else:
            return None
        return MANIFESTS[command.release].release, frozenset(chosen)

    def weaken(self, command: Command, certain: set[Choice]) -> None:
        """Expect less: allow everything that `command` may have removed, however it ended."""
        if isinstance(command, Collect):
            for name in self.held.keys() - self.protected(certain):
                held = self.held[name]
                if held.condemned is not None and held.condemned * DAY >= command.grace:
                    self.lapsed[name] = self.held.pop(name).days
                elif held.condemned is None and held.days * DAY >= command.grace:
                    held.condemned = 0
        if isinstance(command, Remove):
            self.linked.pop(MANIFESTS[command.release].release, None)

    def observe(self, certain: set[Choice], possible: set[Choice]) -> None:
        """Read from the disk the changes that unfinished commands may have made, and check that there are no others."""
        found: set[Choice] = set()
        for path, selection in self.disk.selections():
            if selection is None:
                assert path in self.unreadable, f"{path} is damaged"
                continue
            entries = frozenset(Entry(**entry) for entry in selection["entries"])
            found.add((Release(**selection["release"]), entries))
            self.unreadable.discard(path)
        assert certain <= found, f"no longer selected: {certain - found}"
        for release, entries in found - possible:
            assert any(release == other and entries <= most for other, most in possible), "no command selects this"
        self.selected = found
        for release in self.linked:
            self.linked[release] &= {entry.file for entry in self.entries(release)}
        self.take_names(found)
        self.unreadable = {path for path in self.unreadable if path.exists()}
        there = {path.name for path in self.disk.blobs.glob("*")} | {name for name, _ in self.disk.condemned()}
        # Those that are new, of a command that was killed: they age as well, although nobody has promised them.
        self.lapsed = {name: self.lapsed.get(name, 0) for name in there - self.held.keys()}
        self._observe_records()
        for name in tuple(self.damaged):
            path, bad = self.disk.blob(name), [p for d, p in self.disk.condemned() if d == name]
            if (digest(path.read_bytes()) == name) if path.exists() else not bad:
                self.damaged.discard(name)

    def take_names(self, choices: Iterable[Choice]) -> None:
        """Count the names of `choices` in their views as antscache's, even those that were the user's."""
        for release, entries in choices:
            for entry in entries:
                view = self.disk.view(MANIFESTS[str(release)])
                if (content := self.mine.pop(view / entry.file, None)) is not None:
                    self.bad.add(digest(content))

    def _observe_records(self) -> None:
        for identifier, right in self.right.items():
            path = self.disk.record(identifier)
            if (recorded := self.disk.recorded(identifier)) is None:
                assert path in self.unreadable or identifier not in self.known, f"{path} was lost"
                assert path in self.unreadable or not path.exists(), f"{path} is damaged"
                continue
            self.unreadable.discard(path)
            name, _ = recorded
            assert name in right, f"{path} names other bytes than those of {identifier}"
            before = self.known.get(identifier, name)
            assert name in {before, right[0]}, f"{path} was overruled by less"
            if identifier not in self.known:
                where = [self.disk.blob(name), *(p for d, p in self.disk.condemned() if d == name)]
                assert any(blob.exists() for blob in where), f"{path} names a blob that never existed"
            self.known[identifier] = name

    def strengthen(self, release: Release, entries: Iterable[Entry]) -> None:
        """Expect what a command has promised: `entries` are held, and all held ones of `release` linked."""
        for entry in entries:
            identifier = str(entry.identifier)
            assert identifier in self.known, f"{entry.file} was fetched, and has no record"
            blob = self.known[identifier]
            assert self.disk.has(self.disk.recorded(identifier)), f"{entry.file} was fetched, and is not held"
            if blob not in self.damaged:
                # One that comes back from the trash is as old as it was.
                self.held[blob] = Held(self.held[blob].days if blob in self.held else self.lapsed.pop(blob, 0))
        for entry in self.entries(release):
            name = self.disk.view(MANIFESTS[str(release)]) / entry.file
            if self.known.get(str(entry.identifier)) in self.held and name not in self.forged:
                self.linked.setdefault(release, set()).add(entry.file)

    # Damage by the test

    def a_day_passes(self) -> None:
        """Make every blob, and its condemnation, a day older."""
        for held in self.held.values():
            held.days += 1
            if held.condemned is not None:
                held.condemned += 1
        self.lapsed = {name: days + 1 for name, days in self.lapsed.items()}

    def blob_is_damaged(self, name: str, names: Iterable[Path]) -> None:
        """Expect neither the blob `name`, nor these other names of it."""
        self.held.pop(name, None)
        for path in names:
            self.homes.pop(path, None)
        for release, files in self.linked.items():
            entries = self.entries(release)
            files -= {entry.file for entry in entries if self.known.get(str(entry.identifier)) == name}

    def record_is_damaged(self, identifier: str) -> None:
        """Expect nothing of the entries of `identifier`: its digest is unknown now."""
        self.unreadable.add(self.disk.record(identifier))
        del self.known[identifier]
        for release, files in self.linked.items():
            files -= {entry.file for entry in self.entries(release) if entry.identifier == identifier}

    # Invariants

    def check(self) -> None:
        """Check that the root is in the expected state."""
        self._check_blobs()
        self._check_views()
        self.forged = {path for path in self.forged if path.exists() and digest(path.read_bytes()) in self.bad}
        for path, name in self.homes.items():
            assert digest(path.read_bytes()) == name, f"{path} has changed"
        for path, content in self.mine.items():
            assert path.read_bytes() == content, f"{path} is the user's, and was touched"

    def _check_blobs(self) -> None:
        for path in self.disk.blobs.glob("*"):
            if path.name not in self.damaged:
                assert digest(path.read_bytes()) == path.name, f"{path} has other bytes"
                assert not path.stat().st_mode & 0o222, f"{path} can be written to"
        for name, path in self.disk.condemned():
            assert digest(path.read_bytes()) in {name, *self.bad}, f"{path} has other bytes"
        trash = {name for name, path in self.disk.condemned() if digest(path.read_bytes()) == name}
        protected = self.protected()
        for name, held in self.held.items():
            there = self.disk.blob(name).exists()
            assert there or (held.condemned is not None and name in trash), f"blob {name} was lost"
            assert there or held.condemned is not None or name not in protected, f"blob {name} was condemned"

    def _check_views(self) -> None:
        for manifest in MANIFESTS.values():
            view = self.disk.view(manifest)
            right: dict[str, set[str]] = {}
            for entry in manifest.entries:
                right.setdefault(entry.file, set()).update(self.right[str(entry.identifier)])
            for file in self.linked.get(manifest.release, ()):
                assert digest((view / file).read_bytes()) in right[file], f"{view / file} has other bytes"
            for path in view.glob("*"):
                if path in self.mine or TEMPORARY_NAME.fullmatch(path.name) or not path.exists():
                    continue
                assert path.name in right, f"{path} belongs to no entry"
                assert digest(path.read_bytes()) in right[path.name] | self.bad, f"{path} has other bytes"

    def check_index(self, releases: Iterable[Release] | None = None) -> None:
        """Check that `index.json` lists exactly the held files of these releases, by default of all in use."""
        index = self.disk.index()
        used = {release for release, _ in self.selected}
        if releases is None:
            assert set(index) == {f"{each.package}-{each.version}" for each in used}
        for release in used if releases is None else used.intersection(releases):
            records = {entry.file: self.disk.recorded(str(entry.identifier)) for entry in self.entries(release)}
            held = {(file, blob[0]) for file, blob in records.items() if blob and self.disk.has(blob)}
            assert index[f"{release.package}-{release.version}"] == held


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        decoded: dict[str, Any] = json.loads(content)
    except ValueError:
        return None
    return decoded


def touches_the_index(command: Command) -> bool:
    """Return True if `command` rewrites the index for all releases."""
    return isinstance(command, (Collect, Remove)) or (isinstance(command, Verify) and command.repair)


def snapshot(place: Path) -> dict[str, bytes | str]:
    """Return every file below `place` with its content, but for locks."""
    return {
        str(path.relative_to(place)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(place.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.parent.name != "locks"
    }
