"""What to do, decided before anything is done: pure.

A plan is what `--dry-run` prints and what a prefetch carries out.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

import msgspec

from antscache.core.digest import Descriptor
from antscache.core.identifiers import Identifier
from antscache.core.manifest import Entry, Kind, Manifest, Release, fetchable
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Status = Literal["present", "missing", "unavailable"]
SUGGESTIONS = 3


class Wanted(msgspec.Struct, frozen=True):
    """An identifier to fetch, under the first of the names that ask for it.

    Attributes:
        known: what the identifier turned out to be before, if it is known; other bytes are refused.
        accepted: whether the user takes the file although it is not what its name says.
        size: in bytes, as far as anybody has told.
    """

    identifier: Identifier
    file: str
    release: Release
    known: Descriptor | None = None
    accepted: bool = False
    size: int | None = None


class Plan(msgspec.Struct, frozen=True):
    """How a release's entries become present.

    Attributes:
        manifest: of the release.
        entries: the selection: what was asked for and can be fetched.
        present: those whose bytes are in the store, with their blob.
        missing: those whose bytes are not.
        unavailable: asked for, but the release names nothing that can be fetched.
        fetch: each missing identifier once, the largest first.
    """

    manifest: Manifest
    entries: tuple[Entry, ...]
    present: tuple[tuple[Entry, Descriptor], ...]
    missing: tuple[Entry, ...]
    unavailable: tuple[Entry, ...]
    fetch: tuple[Wanted, ...]

    @property
    def release(self) -> Release:
        """The release the plan is for."""
        return self.manifest.release


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


def plan_prefetch(
    manifest: Manifest,
    entries: Iterable[Entry],
    known: Mapping[Identifier, Descriptor],
    held: Collection[Descriptor],
    accepted: Collection[Identifier] = (),
) -> Plan:
    """How `entries` of `manifest` become present, when `known` is recorded and `held` is in the store.

    What is `accepted` the user takes although it is not what its name says.
    """
    entries = tuple(entries)
    selected = fetchable(entries)
    blobs = {entry: known.get(entry.identifier) for entry in selected if entry.identifier}
    missing = tuple(entry for entry in selected if blobs[entry] not in held)
    wanted = {
        entry.identifier: Wanted(
            entry.identifier,
            entry.file,
            manifest.release,
            known=(blob := blobs[entry]),
            accepted=entry.identifier in accepted,
            size=blob.size if blob else None,
        )
        for entry in reversed(missing)
        if entry.identifier
    }
    return Plan(
        manifest=manifest,
        entries=selected,
        present=tuple((entry, blob) for entry, blob in blobs.items() if blob is not None and blob in held),
        missing=missing,
        unavailable=tuple(entry for entry in entries if entry.identifier is None),
        fetch=tuple(sorted(dict(reversed(wanted.items())).values(), key=_largest_first)),
    )


def with_sizes(plan: Plan, sizes: Mapping[Identifier, int]) -> Plan:
    """`plan`, where what it fetches has the `sizes` that were told of it, unless it has one."""
    fetch = [
        msgspec.structs.replace(wanted, size=sizes.get(wanted.identifier)) if wanted.size is None else wanted
        for wanted in plan.fetch
    ]
    return msgspec.structs.replace(plan, fetch=tuple(sorted(fetch, key=_largest_first)))


def _largest_first(wanted: Wanted) -> tuple[int, bool]:
    """So that the large ones do not come last. Where no size is known, networks come before templates."""
    return -(wanted.size or 0), not wanted.file.endswith(".h5")


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
