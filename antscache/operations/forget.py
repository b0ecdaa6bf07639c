"""Forget: take a record back, so that the next prefetch learns an identifier's bytes anew.

The record goes first, then the names in views that rest on it; if that is interrupted, the next run goes on from there.
Blob and selections stay: a later garbage collection finds the blob unneeded, and a prefetch fetches what is selected.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from antscache.errors import StoreError
from antscache.views import unlink_unvouched

if TYPE_CHECKING:
    from antscache.core import Identifier, Record
    from antscache.root import Root


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of forgetting an identifier.

    Attributes:
        record: the record that was there; None if it was damaged, or an interrupted run had removed it.
        names: the names that are gone from views, as paths.
        kept: the names in views that stay because another user made them, as paths.
    """

    identifier: Identifier
    record: Record | None
    names: tuple[str, ...]
    kept: tuple[str, ...]


def forget_identifier(root: Root, identifier: Identifier, *, dry_run: bool = False) -> Forgotten:
    """Remove the root's record of `identifier`, and the names in views that rest on it. Its blob stays until a gc.

    Args:
        root: the record is there, and not in a lower cache.
        identifier: to forget.
        dry_run: change nothing.

    Raises:
        StoreError: there is no such record in `root`, or it is another user's, and nothing was changed; or the disk
            refused.
        ViewError: the disk refused; the record is gone.
    """
    store, path = root.store, root.layout.record(identifier)
    try:
        record = store.records.read(identifier)
    except msgspec.DecodeError:
        record = None
    is_there = os.path.lexists(path)
    if is_there and not dry_run:
        store.records.forget(identifier)
    elif is_there:
        store.records.check_own(identifier)
    names, kept = list[str](), list[str]()
    for release in store.refs.releases():
        entries = [entry for entry in store.refs.entries(release) if entry.identifier == identifier]
        home = store.layout.view(release)
        if is_there or store.record(identifier) is None:
            unlinked = unlink_unvouched(store, release, entries, dry_run=dry_run)
            names += [str(home / name) for name in unlinked.gone]
            kept += [str(home / name) for name in unlinked.kept]
    if not is_there and not names:
        raise _nothing_to_forget(root, identifier)
    if not dry_run:
        store.index.update()
    return Forgotten(identifier, record, tuple(names), tuple(kept))


def _nothing_to_forget(root: Root, identifier: Identifier) -> StoreError:
    """Make the error for an identifier that this root has no record of."""
    below = [lower.layout.root for lower in root.store.lowers if lower.record(identifier)]
    if below:
        return StoreError(
            f"{identifier} is recorded in the lower cache {below[0]}, which is never changed from here",
            hint=f"run `antscache --root {below[0]} forget {identifier}` if it is yours, or leave it out",
        )
    hint = "`antscache list RELEASE` prints the identifiers of a release"
    return StoreError(f"nothing is recorded for {identifier} in {root.layout.root}", hint=hint)
