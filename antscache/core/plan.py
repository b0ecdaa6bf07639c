"""What to do, decided before anything is done: pure.

A plan is what `--dry-run` prints and what a prefetch carries out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from antscache.core.manifest import fetchable
from antscache.core.record import Selection
from antscache.errors import IntegrityError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from antscache.core.digest import Descriptor
    from antscache.core.identifiers import Identifier
    from antscache.core.manifest import Entry, Kind, Manifest, Release
    from antscache.core.record import Record

Status = Literal["present", "missing", "unavailable"]
SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """An identifier to fetch, under the first of the names that ask for it.

    Attributes:
        known: what the identifier turned out to be before, if it is known; other bytes are refused.
        accepted: whether the user takes the file although it is not what its name says.
    """

    identifier: Identifier
    file: str
    release: Release
    known: Descriptor | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class PresentState:
    """What a root knows and holds of some entries, at one moment.

    Attributes:
        records: by identifier, of those that have one.
        held: the blobs of these records that are in the store or in a lower cache.
    """

    records: Mapping[Identifier, Record] = field(default_factory=dict)
    held: frozenset[Descriptor] = frozenset()

    def blob(self, entry: Entry) -> Descriptor | None:
        """Return the blob of `entry` if it is held."""
        record = self.records.get(entry.identifier) if entry.identifier else None
        return record.descriptor if record and record.descriptor in self.held else None

    def and_state(self, other: PresentState) -> PresentState:
        """Return what this and `other` tell together."""
        return PresentState({**self.records, **other.records}, self.held | other.held)

    def held_of(self, entries: Iterable[Entry]) -> tuple[tuple[Entry, Descriptor], ...]:
        """Return those of `entries` that are held, each with its blob."""
        return tuple((entry, blob) for entry in entries if (blob := self.blob(entry)))


@dataclass(frozen=True)
class Plan:
    """How a release's entries become present, as things were when its state was read.

    Attributes:
        manifest: of the release.
        entries: the selection: what was asked for and can be fetched.
        unavailable: asked for, but the release names nothing that can be fetched.
        state: what is recorded and held of `entries`.
        accepted: identifiers whose bytes the user takes although they are not what the file's name says.
        expected: what identifiers are on somebody's word, such as a record of use.
    """

    manifest: Manifest
    entries: tuple[Entry, ...]
    unavailable: tuple[Entry, ...]
    state: PresentState
    accepted: frozenset[Identifier] = frozenset()
    expected: Mapping[Identifier, Descriptor] = field(default_factory=dict)

    @property
    def release(self) -> Release:
        """The release the plan is for."""
        return self.manifest.release

    @property
    def selection(self) -> Selection:
        """What keeps the plan's blobs alive."""
        return Selection(self.release, self.entries)

    @cached_property
    def present(self) -> tuple[tuple[Entry, Descriptor], ...]:
        """The entries whose bytes are held, with their blob."""
        return self.state.held_of(self.entries)

    @cached_property
    def missing(self) -> tuple[Entry, ...]:
        """The entries whose bytes are not held."""
        return tuple(entry for entry in self.entries if not self.state.blob(entry))

    @cached_property
    def fetch(self) -> tuple[Wanted, ...]:
        """Each missing identifier once: networks first, which are larger than templates."""
        wanted: dict[Identifier, Wanted] = {}
        for entry in self.missing:
            if entry.identifier and entry.identifier not in wanted:
                known, accepted = self._known(entry.identifier), entry.identifier in self.accepted
                wanted[entry.identifier] = Wanted(entry.identifier, entry.file, self.release, known, accepted)
        return tuple(sorted(wanted.values(), key=lambda each: not each.file.endswith(".h5")))

    def _known(self, identifier: Identifier) -> Descriptor | None:
        """Return the bytes that an origin must answer with, where they are known.

        What a user's word alone says of bytes that are not here is no reason to refuse an origin's.
        """
        record = self.state.records.get(identifier)
        if record and record.trust != "adopted":
            return record.descriptor
        return self.expected.get(identifier)

    def with_state(self, state: PresentState) -> Plan:
        """Return the same plan, as things are by `state`.

        Raises:
            IntegrityError: other bytes are recorded than are expected.
        """
        for identifier, blob in self.expected.items():
            record = state.records.get(identifier)
            if record and record.descriptor != blob and (record.trust != "adopted" or record.descriptor in state.held):
                raise IntegrityError(
                    f"{identifier} is recorded as {record.digest}, and should be {blob.digest}",
                    hint="an identifier's bytes never change: one of the two is wrong",
                )
        return replace(self, state=state)


def select(manifest: Manifest, names: Collection[str] = (), kinds: Collection[Kind] = ()) -> tuple[Entry, ...]:
    """The entries of `manifest` with one of these names and kinds; without either, all of them.

    Raises:
        ManifestError: the release has no entry of these kinds or of such a name, or names nothing that can be fetched
            for it; every such name is listed.
    """
    of_kind = [entry for entry in manifest.entries if not kinds or entry.kind in kinds]
    if not of_kind:
        raise ManifestError(
            f"{manifest.release} has nothing of kind {' or '.join(kinds)}",
            hint=f"`antscache list {manifest.release}` prints what it has",
        )
    known = {entry.name for entry in of_kind}
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        raise unknown_names(unknown, known, str(manifest.release))
    selected = tuple(entry for entry in of_kind if not names or entry.name in names)
    if names and (never := [f"{entry.name}: {entry.reason}" for entry in selected if entry.reason]):
        raise ManifestError(
            f"{manifest.release} has these names, but they cannot be fetched: {'; '.join(never)}",
            hint="`antscache show NAME` tells which releases have a usable identifier for a name",
        )
    return selected


def plan_entries(
    manifest: Manifest,
    entries: Iterable[Entry],
    state: PresentState,
    accepted: Iterable[Identifier] = (),
    expected: Mapping[Identifier, Descriptor] | None = None,
) -> Plan:
    """Plan how `entries` of `manifest` become present, when `state` is recorded and held of them.

    Args:
        manifest: of the release.
        entries: of it; those without an identifier are only named.
        state: of these entries.
        accepted: identifiers whose bytes the user takes although they are not what the file's name says.
        expected: what identifiers must turn out to be.

    Raises:
        IntegrityError: other bytes are recorded than are expected.
    """
    entries = tuple(entries)
    unavailable = tuple(entry for entry in entries if entry.identifier is None)
    plan = Plan(manifest, fetchable(entries), unavailable, PresentState(), frozenset(accepted), expected or {})
    return plan.with_state(state)


def unknown_names(names: Iterable[str], known: Collection[str], where: str, release: str = "") -> ManifestError:
    """The error for `names` that are none of `known`, with what was probably meant.

    Args:
        names: unknown.
        known: the names that there are.
        where: what has them.
        release: one that has, if `where` is more than that.
    """
    names = tuple(names)
    folded = {name.lower(): name for name in known}
    close = dict.fromkeys(
        folded[match]
        for name in names
        for match in difflib.get_close_matches(name.lower(), folded, SUGGESTIONS, cutoff=0.6)
    )
    hint = f"did you mean {', '.join(close)}?" if close else f"`antscache list {release or where}` prints all names"
    return ManifestError(f"no such name in {where}: {', '.join(names)}", hint=hint)
