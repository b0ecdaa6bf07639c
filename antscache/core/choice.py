"""The choice of entries that a user makes: by names, by kinds, and by the functions that need them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache.core.calls import expand_names, find_needed
from antscache.core.keras_weights import with_optional
from antscache.core.manifest import Kind
from antscache.core.plan import find_entries, select, unread_getters, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.core.manifest import Entry, Manifest


class Choice(msgspec.Struct, frozen=True):
    """The choice of entries that a user made; empty for a whole release.

    Attributes:
        functions: calls of functions that need the entries, as `parse_call` reads them.
        names: names of entries; while they are not expanded, their files and patterns of either too.
        kinds: kinds of entries.
    """

    functions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.functions or self.names or self.kinds)

    def names_in(self, manifest: Manifest) -> tuple[str, ...]:
        """Return the chosen names, those that the functions of `manifest` need among them.

        Raises:
            ManifestError: there is no such function, parameter or value.
        """
        return (*self.names, *(entry.name for entry in find_needed(manifest, self.functions).entries))


class Chosen(NamedTuple):
    """The entries of a release that a choice selects; each can be fetched."""

    manifest: Manifest
    entries: tuple[Entry, ...]
    choice: Choice


def choose(manifest: Manifest, choice: Choice) -> Chosen:
    """Return the entries of `manifest` that `choice` selects and that can be fetched, sorted by kind and name.

    Raises:
        ManifestError: the release has no such names, kinds or functions, or some names can never be fetched or be read.
    """
    offered = with_optional(manifest) if choice else manifest
    entries = select(offered, choice.names, choice.kinds, choice.functions)
    unread = () if choice.functions else unread_getters(manifest, choice.names, choice.kinds)
    if problems := [*(f"{entry.name}: {entry.problem}" for entry in entries if entry.problem), *unread]:
        raise unreadable(manifest.release, problems)
    names = expand_names(choice.names, offered.entries)
    return Chosen(manifest, _sorted(entries), msgspec.structs.replace(choice, names=names))


def choose_again(manifest: Manifest, choice: Choice) -> Chosen:
    """Return the entries of `manifest` that `choice` selects today, without the names that are gone.

    Raises:
        ManifestError: the release has no such function, parameter or value.
    """
    offered = with_optional(manifest) if choice else manifest
    known = {entry.name for entry in offered.entries if entry.identifier}
    left = msgspec.structs.replace(choice, names=tuple(name for name in choice.names if name in known))
    if choice.names and not left.names and not left.functions:
        return Chosen(manifest, (), left)
    of_kind = {entry.kind for entry in offered.entries}
    if not of_kind.intersection(left.kinds or of_kind):
        return Chosen(manifest, (), left)
    return Chosen(manifest, _sorted(find_entries(offered, left.names, left.kinds, left.functions)), left)


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    fetchable = (entry for entry in entries if entry.identifier is not None)
    return tuple(sorted(fetchable, key=lambda entry: (entry.kind, entry.name)))
