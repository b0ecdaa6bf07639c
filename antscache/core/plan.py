"""Plans: decisions that are made before anything is done. Pure.

`--dry-run` prints a plan, and a prefetch carries it out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from antscache.core.calls import expand_names, find_needed
from antscache.core.manifest import KIND_WORDS, fetchable
from antscache.core.record import Selection
from antscache.errors import MAX_LISTED_ITEMS, IntegrityError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core.digest import Descriptor
    from antscache.core.identifiers import Identifier
    from antscache.core.manifest import Entry, Kind, Manifest, Release, UnreadGetter
    from antscache.core.needs import Function
    from antscache.core.record import Record
    from antscache.core.trust import RecordConflict

Status = Literal["present", "missing", "unavailable", "unreadable"]
MAX_SUGGESTIONS = 3  # known names suggested for each unknown one


@dataclass(frozen=True, slots=True)
class Wanted:
    """An identifier to fetch, under the file name of the first entry that asks for it.

    Attributes:
        known: the bytes that the origin must answer with; None if any bytes of the right form will do.
        accepted: True if the user takes the bytes whatever is found in them.
        scanned: True if a scan of the bytes `known` is recorded already.
        doubted: True if the bytes that are adopted for it are known to be another identifier's.
        locked: True if a lockfile names the bytes `known`, and no record does yet.
    """

    identifier: Identifier
    file: str
    release: Release
    known: Descriptor | None = None
    accepted: bool = False
    scanned: bool = False
    doubted: bool = False
    locked: bool = False


@dataclass(frozen=True, slots=True)
class PresentState:
    """The records and held blobs of some entries in a root, at one moment.

    Attributes:
        records: by identifier, for each identifier that has a record that counts.
        held: the blobs of these records that are in the store or in a lower cache.
        doubted: the identifiers whose adopted records do not count, because their bytes are known to be others'.
        conflicts: the records of which a lower cache says otherwise.
    """

    records: Mapping[Identifier, Record] = field(default_factory=dict)
    held: frozenset[Descriptor] = frozenset()
    doubted: frozenset[Identifier] = frozenset()
    conflicts: tuple[RecordConflict, ...] = ()

    def blob(self, entry: Entry) -> Descriptor | None:
        """Return the blob of `entry`, or None if it is not held."""
        record = self.records.get(entry.identifier) if entry.identifier else None
        return record.descriptor if record and record.descriptor in self.held else None

    def merged_with(self, other: PresentState) -> PresentState:
        """Return the records and held blobs of this state and of `other`; a record of `other` wins."""
        return PresentState(
            {**self.records, **other.records},
            self.held | other.held,
            self.doubted | other.doubted,
            self.conflicts + other.conflicts,
        )

    def held_entries(self, entries: Iterable[Entry]) -> tuple[tuple[Entry, Descriptor], ...]:
        """Return those of `entries` that are held, each with its blob."""
        return tuple((entry, blob) for entry in entries if (blob := self.blob(entry)))


@dataclass(frozen=True)
class Plan:
    """The steps by which a release's entries become present, decided from the state at one moment.

    Attributes:
        manifest: of the release.
        entries: the selection: the requested entries that can be fetched.
        unavailable: the requested entries for which the release itself has no URL, or that it refuses.
        problems: what is requested and antscache cannot read in the source; each is an error in the end.
        state: the records and held blobs of `entries`.
        accepted: identifiers whose bytes the user takes whatever is found in them.
        expected: the bytes that identifiers must have, as a lockfile or a file of `antscache run --record` says.
        locked: the bytes of identifiers that a lockfile names, the user's or a shipped one, and no record.
        keeps_manifest: False if `manifest` has only those entries of the release that a lockfile names.
    """

    manifest: Manifest
    entries: tuple[Entry, ...]
    unavailable: tuple[Entry, ...]
    problems: tuple[str, ...]
    state: PresentState
    accepted: frozenset[Identifier] = frozenset()
    expected: Mapping[Identifier, Descriptor] = field(default_factory=dict)
    locked: Mapping[Identifier, Descriptor] = field(default_factory=dict)
    keeps_manifest: bool = True

    @property
    def release(self) -> Release:
        """The release that the plan is for."""
        return self.manifest.release

    @property
    def selection(self) -> Selection:
        """The selection that keeps the plan's blobs from being deleted."""
        return Selection(self.release, self.entries)

    @cached_property
    def present(self) -> tuple[tuple[Entry, Descriptor], ...]:
        """The entries whose bytes are held, each with its blob."""
        return self.state.held_entries(self.entries)

    @cached_property
    def missing(self) -> tuple[Entry, ...]:
        """The entries whose bytes are not held."""
        return tuple(entry for entry in self.entries if not self.state.blob(entry))

    @cached_property
    def fetch(self) -> tuple[Wanted, ...]:
        """The missing identifiers, each once; networks come first, because they are larger than templates."""
        wanted: dict[Identifier, Wanted] = {}
        for entry in self.missing:
            if entry.identifier and entry.identifier not in wanted:
                wanted[entry.identifier] = self._wanted(entry.identifier, entry.file)
        return tuple(sorted(wanted.values(), key=lambda one: not one.file.endswith(".h5")))

    def _wanted(self, identifier: Identifier, file: str) -> Wanted:
        """Return the identifier to fetch, with the bytes that an origin must answer with, if any are known.

        An adopted record does not count: it rests on the user's word, and its bytes are missing here. It is no reason
        to refuse an origin's bytes.
        """
        record, locked = self.state.records.get(identifier), self.locked.get(identifier)
        recorded = record.descriptor if record and not record.is_adopted else None
        return Wanted(
            identifier,
            file,
            self.release,
            known=recorded or self.expected.get(identifier, locked),
            accepted=identifier in self.accepted,
            doubted=identifier in self.state.doubted,
            locked=not recorded and locked is not None and locked == self.expected.get(identifier, locked),
        )

    def with_unread(self, getters: Iterable[UnreadGetter]) -> Plan:
        """Return the same plan, which requests all entries of these `getters` too, although they cannot be read."""
        return replace(self, problems=(*self.problems, *map(str, getters)))

    def check_readable(self, done: str = "") -> None:
        """Check that antscache can read in the source all that the plan asks for.

        Raises:
            ManifestError: it cannot; its hint begins with what was `done` all the same.
        """
        if self.problems:
            raise unreadable(self.release, self.problems, done=done)

    def with_state(self, state: PresentState) -> Plan:
        """Return the same plan for the new `state`.

        Raises:
            IntegrityError: an identifier is recorded with other bytes than expected, or a lower cache says otherwise.
        """
        for conflict in state.conflicts:
            if conflict.is_serious:
                raise IntegrityError(
                    str(conflict),
                    hint="an identifier's bytes never change: one of the two is wrong; leave that cache out, or run "
                    f"`antscache forget {conflict.record.identifier}` to use its file",
                )
        for identifier, blob in self.expected.items():
            record = state.records.get(identifier)
            if record and record.descriptor != blob and (not record.is_adopted or record.descriptor in state.held):
                raise IntegrityError(
                    f"{identifier} is recorded as {record.describe()}, but {blob.digest} is expected",
                    hint="an identifier's bytes never change: one of the two is wrong; if it is the record, "
                    f"run `antscache forget {identifier}`",
                )
        return replace(self, state=state)


def parse_names(names: str | Collection[str]) -> tuple[str, ...]:
    """Return the names that a caller gave: a text is one name, and not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def parse_kinds(kinds: str | Collection[str]) -> tuple[Kind, ...]:
    """Return the kinds that a caller gave in the words of KIND_WORDS.

    Raises:
        ManifestError: one of them is none.
    """
    words = parse_names(kinds)
    if unknown := [word for word in words if word not in KIND_WORDS]:
        raise ManifestError(f"no such kind: {unknown[0]!r}", hint=f"the kinds are {', '.join(KIND_WORDS)}")
    return tuple(dict.fromkeys(KIND_WORDS[word] for word in words))


def select(
    manifest: Manifest, names: Collection[str] = (), kinds: Collection[Kind] = (), calls: Collection[str] = ()
) -> tuple[Entry, ...]:
    """Return the entries of `manifest` that are chosen, as `find_entries` does; each name must be one to fetch.

    Raises:
        ManifestError: as `find_entries` does; or some names cannot be read or can never be fetched; the message lists
            each of these names.
    """
    selected = find_entries(manifest, names, kinds, calls)
    if not names:
        return selected
    if problems := [f"{entry.name}: {entry.problem}" for entry in selected if entry.problem]:
        raise unreadable(manifest.release, problems)
    named = set(expand_names(names, manifest.entries))
    if never := [f"{entry.name}: {entry.reason}" for entry in selected if entry.reason and entry.name in named]:
        raise ManifestError(
            f"these names of {manifest.release} cannot be fetched: {'; '.join(never)}",
            hint="`antscache show NAME` prints the releases that have a usable identifier for a name",
        )
    return selected


def find_entries(
    manifest: Manifest, names: Collection[str] = (), kinds: Collection[Kind] = (), calls: Collection[str] = ()
) -> tuple[Entry, ...]:
    """Return the entries of `manifest` that are chosen; without names, kinds and calls, all of them.

    Args:
        manifest: of the release.
        names: names of entries, file names, or patterns of either.
        kinds: only entries of these kinds.
        calls: calls of functions, as `parse_call` reads them; what they need is chosen beside what has one of `names`.

    Raises:
        ManifestError: the release has no entry of these kinds, or some names are unknown; the message lists each of
            these names. Or there is no such function, parameter or value.
    """
    needed = set(find_needed(manifest, calls).entries)
    names = expand_names(names, manifest.entries)
    of_kind = [entry for entry in manifest.entries if not kinds or entry.kind in kinds]
    unread = [getter for getter in manifest.unread if not kinds or getter.kind in kinds]
    if unread and not {entry.name for entry in of_kind}.issuperset(names):
        raise unreadable(manifest.release, unread)
    if not of_kind and not unread:
        raise ManifestError(
            f"{manifest.release} has no entries of kind {' or '.join(kinds)}",
            hint=f"`antscache list {manifest.release}` prints its entries",
        )
    known = {entry.name for entry in of_kind}
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        kind_of = {entry.name: entry.kind for entry in manifest.entries}
        if all(name in kind_of for name in unknown):
            others = ", ".join(f"{name} is of kind {kind_of[name]}" for name in unknown)
            raise ManifestError(
                f"not of kind {' or '.join(kinds)} in {manifest.release}: {others}", hint="leave out --kind"
            )
        raise unknown_names(unknown, known, str(manifest.release), functions=manifest.functions or ())
    everything = not names and not calls
    return tuple(entry for entry in of_kind if everything or entry.name in names or entry in needed)


def plan_entries(
    manifest: Manifest,
    entries: Iterable[Entry],
    state: PresentState,
    accepted: Iterable[Identifier] = (),
    expected: Mapping[Identifier, Descriptor] | None = None,
) -> Plan:
    """Plan how `entries` of `manifest` become present, given their `state`.

    Args:
        manifest: of the release.
        entries: of that manifest; those without an identifier become the plan's `unavailable` and `problems`.
        state: the records and held blobs of these entries.
        accepted: identifiers whose bytes the user takes whatever is found in them.
        expected: the bytes that identifiers must have.

    Raises:
        IntegrityError: an identifier is recorded with other bytes than expected.
    """
    entries = tuple(entries)
    unavailable = tuple(entry for entry in entries if entry.reason)
    problems = tuple(f"{entry.name}: {entry.problem}" for entry in entries if entry.problem)
    chosen = fetchable(entries)
    plan = Plan(manifest, chosen, unavailable, problems, PresentState(), frozenset(accepted), expected or {})
    return plan.with_state(state)


def unread_getters(
    manifest: Manifest, names: Collection[str] = (), kinds: Collection[Kind] = ()
) -> tuple[UnreadGetter, ...]:
    """Return the getters of `manifest` that cannot be read, and that these names and kinds request as a whole."""
    return tuple(getter for getter in manifest.unread if not names and (not kinds or getter.kind in kinds))


def unreadable(release: Release, problems: Iterable[object], *, done: str = "") -> ManifestError:
    """Return the error for parts of the source of `release` that antscache cannot read.

    Args:
        release: of the source.
        problems: each names an entry or a getter, and says what is wrong.
        done: what was done all the same, for the hint.
    """
    listed = list(map(str, problems))
    more = [f"and {len(listed) - MAX_LISTED_ITEMS} more"] if len(listed) > MAX_LISTED_ITEMS else []
    return ManifestError(
        f"antscache cannot read all of {release}: {'; '.join(listed[:MAX_LISTED_ITEMS] + more)}",
        hint=f"{done}choose other files with --name or --kind, or try a newer antscache (`pip install -U antscache`)",
    )


def unknown_names(
    names: Iterable[str], known: Collection[str], where: str, release: str = "", functions: Iterable[Function] = ()
) -> ManifestError:
    """Return the error for unknown `names`; its hint suggests similar names among `known`.

    A name of a function is answered with the flag for functions, and not with a network of similar name.

    Args:
        names: the unknown names.
        known: all names of `where`.
        where: the release, or the group of releases, in which the names were looked for.
        release: the release that the hint tells the user to list, if `where` is not a release.
        functions: of the release.
    """
    names = tuple(names)
    if called := [function.name for function in functions if function.name in names]:
        hint = f"{called[0]} is a function: choose what it needs by --for {called[0]}"
        return ManifestError(f"no such name in {where}: {', '.join(names)}", hint=hint)
    folded = {name.lower(): name for name in known}
    close = dict.fromkeys(
        folded[match]
        for name in names
        for match in difflib.get_close_matches(name.lower(), folded, MAX_SUGGESTIONS, cutoff=0.6)
    )
    hint = f"did you mean {', '.join(close)}?" if close else f"`antscache list {release or where}` prints all names"
    return ManifestError(f"no such name in {where}: {', '.join(names)}", hint=hint)
