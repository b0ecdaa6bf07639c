"""The root's description, `antscache.json`: its layout version, and whether a group shares it.

A root has the lowest layout that its identifiers need, so that earlier versions of antscache can use it. It is raised,
durably, before an identifier is written that needs a higher one; those versions then refuse the root, and name the way
out. It is never lowered. A process that changes the description holds a lock meanwhile, so that no change is lost.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import FIRST_LAYOUT_VERSION, LAYOUT_VERSION, Description
from antscache.disk import store_errors
from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Layout

LOCK_WAIT_SECONDS = 10.0  # for another process that writes the description; then it is taken to have hung


def encode(description: Description) -> bytes:
    """Return the bytes of the description's file."""
    return msgspec.json.encode(description) + b"\n"


def read(layout: Layout) -> Description | None:
    """Return the description of a root; None if there is no root.

    Raises:
        StoreError: it cannot be read, is damaged, or is of a newer layout.
    """
    root, path = layout.root, layout.description
    with store_errors(f"cannot read the root {root}"):
        try:
            description = msgspec.json.decode(disk.read(path), type=Description)
        except FileNotFoundError:
            return None
        except disk.DECODE_ERRORS as error:
            raise StoreError(
                f"{path} is damaged: {error}",
                hint=f'restore it, or write {{"layout": {LAYOUT_VERSION}}} into it if this is an antscache root',
            ) from None
    if description.layout > LAYOUT_VERSION:
        raise StoreError(
            f"the root {root} has layout {description.layout}, and this antscache knows layouts up to {LAYOUT_VERSION}",
            hint="update antscache (`pip install -U antscache`), or name another root with --root",
        )
    return description


def share(layout: Layout) -> None:
    """Note, durably, that a group shares the root.

    Raises:
        StoreError: the disk refused; the description is unchanged.
    """
    with _alone(layout), store_errors(f"cannot write {layout.description}"):
        present = read(layout) or Description(FIRST_LAYOUT_VERSION)
        _write(layout, msgspec.structs.replace(present, shared=True))


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Let no other process change the description meanwhile, where locks work."""
    with disk.Locks(layout.locks, shared=layout.shared).attempt(layout.description.name, LOCK_WAIT_SECONDS):
        yield


def _write(layout: Layout, description: Description) -> None:
    """Replace the description of a root; it is durable afterwards.

    Raises:
        OSError: the disk refused; the description is unchanged.
    """
    mode = disk.READ_ONLY_MODE if description.shared else disk.WRITABLE_MODE
    disk.replace(layout.description, encode(description), layout.staging, mode=mode)


def require(layout: Layout, version: int) -> None:
    """Make sure that the root has at least the layout `version`, durably; raise it if it has a lower one.

    Raises:
        StoreError: you may not change the description, or the disk refused; it is unchanged.
    """
    if version <= layout.durable_version:
        return
    with _alone(layout), store_errors(f"cannot write {layout.description}"):
        description = read(layout) or Description(version, layout.shared)
        if description.layout < version:
            try:
                _write(layout, msgspec.structs.replace(description, layout=version))
            except PermissionError as error:
                owner = disk.owner_of(layout.description)
                raise StoreError(
                    f"the root {layout.root} has layout {description.layout}, a file from a URL outside of Figshare "
                    f"needs {version}, and only {owner} can raise it",
                    hint=f"ask {owner} to run the same command once, or name another root with --root",
                ) from error
        else:
            disk.sync_directory(layout.root)  # another process has written it, and may be killed before it syncs
    layout.durable_version = version
