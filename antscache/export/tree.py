"""Make the tree of an export, with the code that makes every root.

Every blob is read and hashed while it is taken. The finished tree has no directories that only a writer needs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from antscache import disk
from antscache.config import Settings
from antscache.core import BytesRead, Layout, ignore_events
from antscache.disk import hash_file
from antscache.errors import IntegrityError, StoreError, ViewError
from antscache.export.contents import layer_of
from antscache.root import Root
from antscache.views import make_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import Descriptor, Listener
    from antscache.export.contents import Contents, ExportedRelease
    from antscache.store import CopyMethod, Store

LOWER_CACHE_IN_IMAGES = "/opt/antscache"  # /opt is for software that no distribution brings
DIRECTORY_MODE, FILE_MODE = 0o755, 0o444
DISK_BLOCK_BYTES = 4096  # the unit in which disks allocate space


def make(root: Root, contents: Contents, place: Path, *, image: int | None, listen: Listener = ignore_events) -> None:
    """Make a root at `place` that holds `contents` and nothing else.

    Args:
        root: a root that holds the blobs, itself or in its lower caches.
        contents: the contents of the export.
        place: a path that does not exist yet, and that leads through no links.
        image: the bytes of the image that the new root is for; None if the new root is itself the export. A root for
            an image may share files with `root`, and its modes and times do not matter.
        listen: receives a BytesRead for each piece that was read.

    Raises:
        IntegrityError: a blob is damaged.
        StoreError: a blob cannot be read or was deleted, there is not enough space, or the disk refused.
        OSError: the disk refused.
    """
    made = Root.open(Settings(root=str(place), offline=True, link_mode="symlink"))
    store = made.store
    store.create()
    for part in contents.parts:
        _select(store, part)
    _take_all(root.store, store, contents.names, image=image, listen=listen)
    for record in contents.records:
        store.records.remember(record)
    _keep(made, contents)
    try:
        for part in contents.parts:
            make_view(made, part.release)
    except ViewError as error:
        if isinstance(error.__cause__, OSError):
            raise
        hint = "export to a filesystem that supports links, then copy an image or a tar archive of the export"
        raise StoreError(str(error), hint=hint) from None
    made.layout.ingest.rmdir()
    shutil.rmtree(made.layout.locks)  # it has the lock of the description, if an identifier is a URL


def _select(made: Store, part: ExportedRelease) -> None:
    """Select the exported entries in `made`, in a single selection whose file name does not depend on the user."""
    made.refs.select(part.selection)
    for ref in made.refs.of(part.release):  # root on NFS owns no files it writes, so there may be a second one
        if ref.path.stem != part.selection.name:
            made.refs.deselect(ref)


def _keep(made: Root, contents: Contents) -> None:
    """Save the manifests that not every antscache is shipped with in the catalog of the tree."""
    for part in contents.parts:
        if part.manifest:
            made.catalog.save(part.manifest, made.layout.staging)
            if made.catalog.find(part.release) != part.manifest:  # `save` ignores a disk that refuses
                hint = "check that there is enough space and that you may write there, then run the command again"
                raise StoreError(f"cannot write the manifest of {part.release} to {made.layout.catalog}", hint=hint)


# Blobs


def _take_all(
    store: Store,
    made: Store,
    names: Mapping[Descriptor, str],
    *,
    image: int | None,
    listen: Listener,
) -> None:
    """Take all blobs of `names` into `made`, the smallest first: the first copy shows whether the rest has room."""
    directories: dict[Path, list[Descriptor]] = {}
    for blob in sorted(names, key=lambda blob: (blob.size, blob.digest)):
        directories.setdefault(_find(store, blob, names[blob]).parent, []).append(blob)
    for blobs in directories.values():
        rest = sum(map(_disk_bytes, blobs))
        for blob in blobs:
            path = _find(store, blob, names[blob])
            # Nothing is ever hard-linked to a lower cache.
            method, taken = _take(path, made, blob, share=image is not None and store.owns(blob), listen=listen)
            if taken != blob:
                hint = "run `antscache verify --repair`, then export again"
                raise IntegrityError(f"{path} ({names[blob]}) is damaged: its digest is {taken.digest}", hint=hint)
            rest -= _disk_bytes(blob)
            if method == "copy":
                check_room(made.layout.root, rest + (image or 0))


def _disk_bytes(blob: Descriptor) -> int:
    """Return the bytes that a copy of `blob` takes on a disk."""
    return -(-blob.size // DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES


def _find(store: Store, blob: Descriptor, name: str) -> Path:
    """Return the path of `blob`.

    Raises:
        StoreError: it was deleted since the export was planned.
    """
    if path := store.find(blob):
        return path
    hint = "run `antscache prefetch` for the release, then export again"
    raise StoreError(f"{name} was deleted from {store.layout.root} during the export", hint=hint)


def _take(path: Path, made: Store, blob: Descriptor, *, share: bool, listen: Listener) -> tuple[CopyMethod, Descriptor]:
    """Take the file at `path` into `made` if it is `blob`, and return the method, and the file's descriptor.

    Raises:
        StoreError: the file cannot be read, or the disk refused.
    """
    try:
        if share and _link(path, link := made.layout.blob(blob.digest)):
            return "hardlink", hash_file(link, lambda chunk: listen(BytesRead(len(chunk))))
        with made.ingest() as ingest:
            method = ingest.take(path, move=False, listen=listen)
            if ingest.descriptor == blob:
                ingest.publish()
            return method, ingest.descriptor
    except OSError as error:
        hint = "check that you may read it, then run the command again"
        raise StoreError(f"cannot read {path}: {error.strerror}", hint=hint) from None


def _link(path: Path, link: Path) -> bool:
    """Make a hard link to `path` at `link`, and return True if that was possible."""
    try:
        os.link(path, link, follow_symlinks=False)
    except OSError:  # another filesystem, or another user's file: then it is copied
        return False
    return True


def check_room(directory: Path, needed: int) -> None:
    """Check that the disk of `directory` has `needed` bytes free, if it tells its free space.

    Raises:
        StoreError: it has less.
    """
    free = disk.free_space(directory)
    if free is not None and needed > free:
        raise StoreError(
            f"not enough disk space: {needed:,} bytes are needed and {free:,} are free, {needed - free:,} too few",
            hint="free some space, export to another disk, or export fewer files with --name or --kind",
        )


# Layers, modes and times


def in_layers(root: Path, names: Mapping[Descriptor, str], count: int, target: Path) -> None:
    """Move the root at `root` to `target`: the blobs of `names` into `count` numbered directories, the rest to `rest`.

    Each of these directories is laid over the top directory of an image.

    Raises:
        OSError: the disk refused.
    """
    source, place = Layout(root), LOWER_CACHE_IN_IMAGES.strip("/")
    target.mkdir()
    layers = [target / f"{number:02}" for number in range(count)]
    for directory in layers:
        directory.mkdir()
    for blob, name in names.items():
        layer = Layout(layers[layer_of(name, count)] / place)
        layer.blobs.mkdir(parents=True, exist_ok=True)
        source.blob(blob.digest).rename(layer.blob(blob.digest))
    rest = target / "rest" / place
    rest.parent.mkdir(parents=True)
    root.rename(rest)


def settle(tree: Path, seconds: int) -> None:
    """Give `tree` and everything in it the modes of every export, and the time `seconds` since 1970.

    Afterwards all names in it are durable. The content of the files was durable before.

    Raises:
        OSError: the disk refused.
    """
    for directory, _, files in os.walk(tree, topdown=False, onerror=_raise):
        place = Path(directory)
        for path in (*(place / name for name in files), place):
            if not path.is_symlink():
                path.chmod(DIRECTORY_MODE if path == place else FILE_MODE)
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        disk.sync_directory(place)


def _raise(error: OSError) -> None:
    raise error
