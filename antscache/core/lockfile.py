"""The lockfile `antscache.lock`: a selection with the digests of its files, for people to commit and ship. Pure.

    version = 1

    [[release]]
    package = "antspynet"
    version = "0.3.2"
    identity = "sha256:..."    of the release's manifest
    view = "sha256:..."        of a view with these files: `antscache path --digest`
    names = ["S_template3"]    the choice that made it: `for`, `names`, `kinds`; all left out for a whole release

    [[release.entry]]
    kind = "data"
    name = "S_template3"
    file = "S_template3.nii.gz"
    identifier = "figshare:22597175"
    digest = "sha256:..."
    size = 7158

It is TOML, and of TOML only the lines that `encode_lockfile` writes: so a hostile file can neither nest nor be slow to
read, and each error names its line. Equal lockfiles have equal bytes. `docs/antscache.lock.schema.json` is the schema.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from antscache.core.choice import Choice, choose_again
from antscache.core.digest import Descriptor, Digest
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Kind, Manifest, Name, Package, Release, Version, find_changes
from antscache.errors import MAX_LISTED_ITEMS, IntegrityError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from antscache.core.manifest import Change

Struct = TypeVar("Struct", bound=msgspec.Struct)

LOCKFILE_NAME = "antscache.lock"
LOCKFILE_VERSION = 1  # the only one so far
MAX_LOCKFILE_BYTES = 4 << 20
MAX_LOCKED_ENTRIES = 10_000  # and releases; one has 211 entries, and 18 are published
LOCKFILE_HINT = "get the file again from where it comes from, or make another one with `antscache lock`"
KINDS_OF_PACKAGES: dict[Package, frozenset[Kind]] = {
    "antspynet": frozenset({"data", "network", "keras"}),
    "antspyx": frozenset({"data"}),
}
_HEAD = "# antscache.lock: made by `antscache lock`. Commit this file; do not edit it.\n"
_TEXT = r'"(?:[^"\\\x00-\x1f\x7f]|\\.)*"'
_TEXTS = rf"\[(?:{_TEXT}(?:, *{_TEXT})*)?\]"
_LINE = re.compile(
    rf"(?:|#.*|\[\[release(?:\.entry)?\]\]|[a-z]+ *= *(?:[0-9]{{1,20}}|{_TEXT}|{_TEXTS}|\[)| *{_TEXT},|\]) *\r?"
)
_VERSION_LINE = re.compile(r"^version *= *([0-9]{1,9}) *\r?$", re.MULTILINE)

LockedSize = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
FunctionChoice = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]+\Z", max_length=1_000)]
Date = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Host = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9.:_-]+\Z", max_length=255)]


class LockedEntry(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """An entry, and the bytes that its identifier names."""

    kind: Kind
    name: Name
    file: Name
    identifier: Identifier
    digest: Digest
    size: LockedSize

    @property
    def entry(self) -> Entry:
        """The entry alone."""
        return Entry(self.kind, self.name, self.file, self.identifier)

    @property
    def blob(self) -> Descriptor:
        """The descriptor of the bytes."""
        return Descriptor(self.digest, self.size)


class LockedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A release, and those of its entries that are locked.

    Attributes:
        identity: of the manifest that the entries were chosen from.
        view: the digest of a view with exactly these files.
        functions: the choice that made it (`for` in the file); so are `names` and `kinds`.
        measured: the day on which the last of the files was fetched from its origin, if all were (`lock --measured`).
        origins: the hosts that these files came from then.
        entries: sorted by kind and name.
    """

    package: Package
    version: Version
    identity: Digest
    view: Digest
    functions: tuple[FunctionChoice, ...] = msgspec.field(default=(), name="for")
    names: tuple[Name, ...] = ()
    kinds: tuple[Kind, ...] = ()
    measured: Date | None = None
    origins: tuple[Host, ...] = ()
    entries: Annotated[tuple[LockedEntry, ...], msgspec.Meta(min_length=1, max_length=MAX_LOCKED_ENTRIES)] = (
        msgspec.field(name="entry")
    )

    @property
    def release(self) -> Release:
        """The release."""
        return Release(self.package, self.version)

    @property
    def choice(self) -> Choice:
        """The choice that made it."""
        return Choice(self.functions, self.names, self.kinds)

    @property
    def blobs(self) -> Mapping[Identifier, Descriptor]:
        """The bytes of each identifier."""
        return {each.identifier: each.blob for each in self.entries}

    @property
    def files(self) -> Iterator[tuple[str, Descriptor]]:
        """The name and the bytes of each file."""
        return ((each.file, each.blob) for each in self.entries)

    def find(self, entry: Entry) -> LockedEntry | None:
        """Return `entry` with its bytes; None if it is not locked."""
        return next((each for each in self.entries if each.entry == entry), None)


class Lockfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lockfile: releases, sorted."""

    version: Literal[1]
    releases: Annotated[tuple[LockedRelease, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="release")

    @property
    def blobs(self) -> Mapping[Identifier, Descriptor]:
        """The bytes of each identifier."""
        return {each.identifier: each.blob for release in self.releases for each in release.entries}

    def find(self, release: Release) -> LockedRelease | None:
        """Return the locked entries of `release`; None if the lockfile does not name it."""
        return next((each for each in self.releases if each.release == release), None)

    def match(self, release: Release) -> LockedRelease:
        """Return the locked `release`; or, if it is not locked, the only locked release of its package.

        Raises:
            ManifestError: the lockfile names no release of that package, or several others.
        """
        of_package = [each for each in self.releases if each.package == release.package]
        if locked := self.find(release):
            return locked
        if len(of_package) != 1:
            named = ", ".join(str(each.release) for each in self.releases[:MAX_LISTED_ITEMS])
            raise ManifestError(
                f"the lockfile does not name {release}, but {named}",
                hint="name one of these releases, or make a lockfile for yours with `antscache lock`",
            )
        return of_package[0]

    def replaced(self, old: LockedRelease, new: LockedRelease) -> Lockfile:
        """Return the lockfile with `new` in the place of `old`."""
        return make_lockfile([*(each for each in self.releases if each not in {old, new}), new])


def make_lockfile(releases: Iterable[LockedRelease]) -> Lockfile:
    """Return the lockfile of `releases`, sorted."""
    return Lockfile(1, tuple(sorted(releases, key=lambda each: each.release)))


# Comparing


def find_lock_changes(locked: LockedRelease, manifest: Manifest) -> tuple[Change, ...]:
    """Return the names under which `manifest` asks for other files than are `locked`, by the same choice."""
    old = Manifest(locked.release, tuple(each.entry for each in locked.entries))
    return find_changes(old, Manifest(manifest.release, choose_again(manifest, locked.choice).entries))


def check_same_bytes(old: LockedRelease, new: LockedRelease) -> None:
    """Check that `new` names the same bytes as `old` for each identifier that both have.

    Raises:
        IntegrityError: it does not; the message names the identifier.
    """
    for identifier, blob in new.blobs.items():
        before = old.blobs.get(identifier, blob)
        if before != blob:
            raise IntegrityError(
                f"{identifier} is locked as {before.digest}, but is {blob.digest} here",
                hint="an identifier's bytes never change: one of the two is wrong; if it is the record here, "
                f"run `antscache forget {identifier}` and prefetch again",
            )


# Bytes


def encode_lockfile(lockfile: Lockfile) -> bytes:
    """Return the bytes of a lockfile: equal ones for equal lockfiles, with a line for each value."""
    lines = [_HEAD, f"version = {lockfile.version}\n"]
    for release in lockfile.releases:
        lines.append("\n[[release]]\n")
        lines += _assignments(release)
        for entry in release.entries:
            lines.append("\n[[release.entry]]\n")
            lines += _assignments(entry)
    return "".join(lines).encode()


def _assignments(value: LockedRelease | LockedEntry) -> Iterator[str]:
    """Yield the lines of all fields of `value` that are set, but for its entries."""
    for field in msgspec.structs.fields(value):
        content = getattr(value, field.name)
        if field.encode_name != "entry" and content not in {None, ()}:
            yield f"{field.encode_name} = {_toml(content)}\n"


def _toml(value: str | int | tuple[str, ...]) -> str:
    """Write a number, printable ASCII, or texts, several of them on a line each. JSON writes the first two alike."""
    if isinstance(value, tuple) and len(value) > 1:
        return "[\n" + "".join(f"    {_toml(text)},\n" for text in value) + "]"
    return msgspec.json.encode(value).decode()


def parse_lockfile(content: bytes, place: str) -> Lockfile:
    """Return the lockfile that `content` is.

    Args:
        content: of the file.
        place: names the file in errors.

    Raises:
        ManifestError: it is no lockfile, or one that cannot be followed; the message names `place` and the line.
    """
    if len(content) > MAX_LOCKFILE_BYTES:
        raise _fault(place, f"larger than {MAX_LOCKFILE_BYTES:,} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _fault(place, "not a lockfile: it is no text in UTF-8") from None
    _check_version(text, place)
    lines = _check_lines(text, place)
    try:
        document = msgspec.toml.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise _fault(place, f"not TOML: {error}") from None
    if unknown := sorted(document.keys() ^ {"version", "release"}):
        raise _fault(place, f"{unknown[0]} is {'unknown' if unknown[0] in document else 'missing'}")
    lockfile = make_lockfile(_release(raw, place, lines) for raw in _tables(document["release"], "release", place))
    _check_releases(lockfile, place)
    return lockfile


def _check_version(text: str, place: str) -> None:
    """Check that the file says that it is a lockfile of a version that this antscache knows, before anything else."""
    found = _VERSION_LINE.search(text)
    if found is None:
        raise _fault(place, f"not a lockfile: it has no line `version = {LOCKFILE_VERSION}`")
    if int(found[1]) > LOCKFILE_VERSION:
        raise ManifestError(
            f"{place}: made by a newer antscache (version {int(found[1])} of lockfiles; this one reads 1)",
            hint="upgrade antscache: `pip install -U antscache`",
        )
    if int(found[1]) != LOCKFILE_VERSION:
        raise _fault(place, f"not a lockfile: there is no version {int(found[1])}")


def _check_lines(text: str, place: str) -> Iterator[int]:
    """Check that each line is one of a lockfile; return the numbers of those that begin a release or an entry."""
    begin = []
    for number, line in enumerate(text.split("\n"), 1):
        if not _LINE.fullmatch(line):
            raise _fault(f"{place}, line {number}", "no lockfile has such a line")
        if line.startswith("[["):
            begin.append(number)
    if len(begin) > MAX_LOCKED_ENTRIES:
        raise _fault(place, f"more than {MAX_LOCKED_ENTRIES:,} releases and entries")
    return iter(begin)


def _tables(value: Any, name: str, where: str) -> list[dict[str, Any]]:
    """Return `value` if it is a list of tables, and has one at least."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return value
    raise _fault(where, f"it has no [[{name}]]")


def _release(raw: dict[str, Any], place: str, lines: Iterator[int]) -> LockedRelease:
    """Convert a release and its entries, which begin at the next `lines`."""
    where = f"{place}, line {next(lines)}"
    entries = _tables(raw.pop("entry", None), "release.entry", where)
    locked = tuple(_converted(each, LockedEntry, f"{place}, line {next(lines)}") for each in entries)
    release = _converted({**raw, "entry": [msgspec.to_builtins(locked[0])]}, LockedRelease, where)
    return msgspec.structs.replace(release, entries=tuple(sorted(locked)))


def _converted(raw: Any, kind: type[Struct], where: str) -> Struct:
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise _fault(where, _reason(str(error))) from None


def _reason(text: str) -> str:
    """Return msgspec's `text` without the pattern that a value does not match, and with the key in front."""
    problem, _, key = text.rpartition(" - at `$.")
    if not problem:
        return text
    if "matching regex" in problem:
        problem = "it does not have the right form"
    return f"{key.rstrip('`')}: {problem}"


def _check_releases(lockfile: Lockfile, place: str) -> None:
    """Check that no two parts of the lockfile contradict each other.

    Raises:
        ManifestError: two do.
    """
    releases = [each.release for each in lockfile.releases]
    if twice := _first_repeated(releases):
        raise _fault(place, f"it names {twice} twice")
    blobs: dict[Identifier, Descriptor] = {}
    for locked in lockfile.releases:
        where = f"{place}, {locked.release}"
        if twice := _first_repeated([(each.kind, each.name) for each in locked.entries]):
            raise _fault(where, f"it names {' '.join(twice)} twice")
        if strange := {each.kind for each in locked.entries} - KINDS_OF_PACKAGES[locked.package]:
            raise _fault(where, f"{locked.package} has no entries of kind {min(strange)}")
        files: dict[tuple[bool, str], Identifier] = {}
        for each in locked.entries:
            if blobs.setdefault(each.identifier, each.blob) != each.blob:
                raise _fault(where, f"it names two digests or sizes of {each.identifier}")
            if files.setdefault((each.kind == "keras", each.file), each.identifier) != each.identifier:
                raise _fault(where, f"it names two identifiers of the file {each.file}")


def _first_repeated(values: Iterable[Any]) -> Any:
    return next((value for value, count in Counter(values).items() if count > 1), None)


def _fault(where: str, text: str) -> ManifestError:
    return ManifestError(f"{where}: {text}", hint=LOCKFILE_HINT)
