"""What a root should hold, as plain values, and what its disk does hold, read without antscache's own code.

The model knows what was done to the root and what the origin serves. It says what has to be there (`Model.held`,
`Model.linked`, `Model.homes`, `Model.mine`), and of the rest what it may be: right bytes, bytes that the test has
damaged itself, or nothing.
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
BEING_MADE = re.compile("[0-9a-f]{32}")

Choice = tuple[Release, frozenset[Entry]]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Disk:
    """A root as it lies on the disk."""

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
        """What is in the trash as a blob, and where."""
        for path in sorted(self.root.glob("trash/*")):
            if re.fullmatch(r"[0-9a-f]{64}\.[0-9]+\.[0-9a-f]{8}", path.name):
                yield path.name[:64], path

    def recorded(self, identifier: str) -> tuple[str, int] | None:
        """The digest and size that are recorded; None if that cannot be read."""
        try:
            record = json.loads(self.record(identifier).read_bytes())
        except (OSError, ValueError):
            return None
        return record["digest"].removeprefix("sha256:"), record["size"]

    def has(self, blob: tuple[str, int] | None) -> bool:
        """Whether there is a blob of this digest and size, of whatever bytes."""
        return blob is not None and self.blob(blob[0]).is_file() and self.blob(blob[0]).stat().st_size == blob[1]

    def can_have(self, blob: tuple[str, int] | None) -> bool:
        """Whether there is one, or could be again without an origin."""
        return self.has(blob) or blob in [(name, path.stat().st_size) for name, path in self.condemned()]

    def selections(self) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        """Each selection, and what it says; None if it cannot be read."""
        for path in sorted(self.root.glob("refs/*/*/*.json")):
            yield path, _decoded(path.read_bytes())

    def names(self, release: Release) -> bool:
        """Whether the index, if it is there, names a release."""
        path = self.root / "index.json"
        return path.exists() and f'"{release.package}-{release.version}"' in path.read_text()

    def index(self) -> dict[str, set[tuple[str, str]]]:
        """For each tag in the index what is held of it: files and digests.

        The index and all that it names can be read, and is what it is named.
        """
        found = {}
        for line in json.loads((self.root / "index.json").read_bytes())["manifests"]:
            content = self.blob(line["digest"].removeprefix("sha256:")).read_bytes()
            assert (digest(content), len(content)) == (line["digest"].removeprefix("sha256:"), line["size"])
            found[line["annotations"]["org.opencontainers.image.ref.name"]] = {
                (layer["annotations"]["org.opencontainers.image.title"], layer["digest"].removeprefix("sha256:"))
                for layer in json.loads(content)["layers"]
                if "annotations" in layer
            }
        return found


@dataclass
class Held:
    """A blob that has to be there.

    Attributes:
        days: how old it is.
        condemned: how many days ago a collection may have condemned it; None if none may.
    """

    days: int = 0
    condemned: int | None = None


@dataclass
class Model:
    """What should be there.

    Attributes:
        right: for each identifier the digests of what it may turn out to be: what the origin serves comes first.
        selected: what is in use, a value for each selection on the disk.
        known: the digest that is recorded of an identifier.
        held: digests of blobs that have to be there.
        linked: the names in views that have to be there, by release.
        homes: names in homes outside that have to be there, and their digest.
        mine: files of the user's in views.
        forged: names in views that look right by size and time: only who reads them can tell.
        bad: digests of bytes that the test made of blobs.
        damaged: blobs whose bytes the test has damaged, and that nothing has mended.
        unreadable: records and selections that the test has damaged, and that nothing has mended.
    """

    disk: Disk
    right: Mapping[str, list[str]]
    selected: set[Choice] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    linked: dict[Release, set[str]] = field(default_factory=dict)
    homes: dict[Path, str] = field(default_factory=dict)
    mine: dict[Path, bytes] = field(default_factory=dict)
    forged: set[Path] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    unreadable: set[Path] = field(default_factory=set)

    # What follows from it

    def entries(self, release: Release) -> frozenset[Entry]:
        """What is selected of a release."""
        return frozenset().union(*(entries for each, entries in self.selected if each == release))

    def protected(self, selected: Iterable[Choice] | None = None) -> set[str]:
        """The blobs that a garbage collection may not touch."""
        entries = (entry for _, each in (self.selected if selected is None else selected) for entry in each)
        return {self.known[str(entry.identifier)] for entry in entries if entry.identifier in self.known}

    def is_whole(self) -> bool:
        """Whether nothing is damaged, and everything that is selected is there under its name."""
        return not (self.damaged or self.unreadable) and all(
            self.known.get(str(entry.identifier)) in self.held and entry.file in self.linked.get(release, ())
            for release, entries in self.selected
            for entry in entries
        )

    def is_forgotten(self, manifest: Manifest) -> bool:
        """Whether a selection of a release cannot be read, so that a repair has to guess what it was."""
        release = manifest.release
        return self.disk.root / "refs" / release.package / release.version in {each.parent for each in self.unreadable}

    # What commands do to it

    def before(self, *commands: Command) -> tuple[set[Choice], set[Choice]]:
        """What is certainly, and what is possibly in use once `commands` have been begun."""
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
        """What a command selects; for an adoption, what it selects at most."""
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
        """A command that was begun, and ended in whatever way, may have done this."""
        if isinstance(command, Collect):
            for name in self.held.keys() - self.protected(certain):
                held = self.held[name]
                if held.condemned is not None and held.condemned * DAY >= command.grace:
                    del self.held[name]
                elif held.condemned is None and held.days * DAY >= command.grace:
                    held.condemned = 0
        if isinstance(command, Remove):
            self.linked.pop(MANIFESTS[command.release].release, None)

    def observe(self, certain: set[Choice], possible: set[Choice]) -> None:
        """Take over from the disk what commands may have done in part. They have done nothing else."""
        found: set[Choice] = set()
        for path, said in self.disk.selections():
            if said is None:
                assert path in self.unreadable, f"{path} is damaged"
                continue
            found.add((Release(**said["release"]), frozenset(Entry(**entry) for entry in said["entries"])))
            self.unreadable.discard(path)
        assert certain <= found, f"no longer selected: {certain - found}"
        for release, entries in found - possible:
            assert any(release == each and entries <= most for each, most in possible), "selected by nobody"
        self.selected = found
        for release in self.linked:
            self.linked[release] &= {entry.file for entry in self.entries(release)}
        self.take_names(found)
        self.unreadable = {path for path in self.unreadable if path.exists()}
        self._observe_records()
        for name in tuple(self.damaged):
            path, bad = self.disk.blob(name), [p for d, p in self.disk.condemned() if d == name]
            if (digest(path.read_bytes()) == name) if path.exists() else not bad:
                self.damaged.discard(name)

    def take_names(self, choices: Iterable[Choice]) -> None:
        """The names of `choices` are antscache's in their views, whoever had them."""
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
                assert any(each.exists() for each in where), f"{path} is of a blob that never was"
            self.known[identifier] = name

    def strengthen(self, release: Release, entries: Iterable[Entry]) -> None:
        """A command has promised that `entries` are held, and all that is held of the release linked."""
        for entry in entries:
            identifier = str(entry.identifier)
            assert identifier in self.known, f"{entry.file} was fetched, and has no record"
            blob = self.known[identifier]
            assert self.disk.has(self.disk.recorded(identifier)), f"{entry.file} was fetched, and is not held"
            if blob not in self.damaged:
                self.held[blob] = Held(self.held.get(blob, Held()).days)
        for entry in self.entries(release):
            name = self.disk.view(MANIFESTS[str(release)]) / entry.file
            if self.known.get(str(entry.identifier)) in self.held and name not in self.forged:
                self.linked.setdefault(release, set()).add(entry.file)

    # What the test does to the root

    def a_day_passes(self) -> None:
        for held in self.held.values():
            held.days += 1
            if held.condemned is not None:
                held.condemned += 1

    def blob_is_damaged(self, name: str, names: Iterable[Path]) -> None:
        """The blob has lost its bytes, and with it these other names."""
        self.held.pop(name, None)
        for path in names:
            self.homes.pop(path, None)
        for release, files in self.linked.items():
            entries = self.entries(release)
            files -= {entry.file for entry in entries if self.known.get(str(entry.identifier)) == name}

    def record_is_damaged(self, identifier: str) -> None:
        """Nobody knows any more what the identifier is."""
        self.unreadable.add(self.disk.record(identifier))
        del self.known[identifier]
        for release, files in self.linked.items():
            files -= {entry.file for entry in self.entries(release) if entry.identifier == identifier}

    # What always holds

    def check(self) -> None:
        """The root is as it should be."""
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
                if path in self.mine or BEING_MADE.fullmatch(path.name) or not path.exists():
                    continue
                assert path.name in right, f"{path} is nobody's"
                assert digest(path.read_bytes()) in right[path.name] | self.bad, f"{path} has other bytes"

    def check_index(self, releases: Iterable[Release] | None = None) -> None:
        """`index.json` says what is held of these releases, or of all in use, and nothing else."""
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
    """Whether a command makes all of the index right."""
    return isinstance(command, (Collect, Remove)) or (isinstance(command, Verify) and command.repair)


def snapshot(place: Path) -> dict[str, bytes | str]:
    """All that is below `place`, but for locks."""
    return {
        str(path.relative_to(place)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(place.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.parent.name != "locks"
    }
