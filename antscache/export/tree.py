"""Make the tree of an export, by what makes every root.

Every blob is read and hashed while it is taken. In the end the tree has no directory that only who writes needs.
"""

from __future__ import annotations

import os
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

IN_IMAGES = "/opt/antscache"  # where images have their lower cache: /opt is for what no distribution brings
DIRECTORY, FILE = 0o755, 0o444  # modes
BLOCK = 4096  # bytes: the units in which a disk gives space


def make(root: Root, contents: Contents, place: Path, *, image: int | None, listen: Listener = ignore_events) -> None:
    """Make a root at `place` that holds `contents` and nothing else.

    Args:
        root: that holds the blobs, or has lower caches that do.
        contents: what is exported.
        place: is not there yet. Its path has no links in it.
        image: how many bytes the image will have that the root is made for; None if it is for itself. A root for an
            image may share files with `root`, and has modes and times of any kind.
        listen: hears how many bytes were read.

    Raises:
        IntegrityError: a blob is damaged.
        StoreError: a blob cannot be read, or has gone; or there is no room; or the disk refused.
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
        hint = "export to a filesystem that has links, and carry an image or a tar archive over"
        raise StoreError(str(error), hint=hint) from None
    for directory in (made.layout.ingest, made.layout.locks):
        directory.rmdir()


def _select(made: Store, part: ExportedRelease) -> None:
    """What is exported of a release is its one selection, under the name that is nobody's own."""
    made.refs.select(part.selection)
    for ref in made.refs.of(part.release):  # whose file it is need not be who wrote it: root's on NFS is nobody's
        if ref.path.stem != part.selection.name:
            made.refs.deselect(ref)


def _keep(made: Root, contents: Contents) -> None:
    """Keep in the tree's catalog the manifests that not every antscache brings."""
    for part in contents.parts:
        if part.manifest:
            made.catalog.save(part.manifest, made.layout.staging)
            if made.catalog.find(part.release) != part.manifest:  # a cache can do without, and says nothing
                hint = "see that there is space and that you may write there, then run the command again"
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
    """The blobs that are called `names` are in `made`. The smallest come first, which tell whether there is room."""
    places: dict[Path, list[Descriptor]] = {}
    for blob in sorted(names, key=lambda blob: (blob.size, blob.digest)):
        places.setdefault(_place(store, blob, names[blob]).parent, []).append(blob)
    for blobs in places.values():
        rest = sum(map(_room, blobs))
        for blob in blobs:
            path = _place(store, blob, names[blob])
            # Nothing is ever hard-linked to a lower cache.
            way, found = _take(path, made, blob, share=image is not None and store.owns(blob), listen=listen)
            if found != blob:
                hint = "run `antscache verify --repair`, then export again"
                raise IntegrityError(f"{path} ({names[blob]}) is damaged: its bytes are {found.digest}", hint=hint)
            rest -= _room(blob)
            if way == "copy":
                check_room(made.layout.root, rest + (image or 0))


def _room(blob: Descriptor) -> int:
    """The bytes that a copy takes on a disk."""
    return -(-blob.size // BLOCK) * BLOCK


def _place(store: Store, blob: Descriptor, name: str) -> Path:
    """Where `blob` is.

    Raises:
        StoreError: it was there, and has gone.
    """
    if path := store.find(blob):
        return path
    hint = "run `antscache prefetch` for the release, then export again"
    raise StoreError(f"{name} was deleted from {store.layout.root} meanwhile", hint=hint)


def _take(path: Path, made: Store, blob: Descriptor, *, share: bool, listen: Listener) -> tuple[CopyMethod, Descriptor]:
    """The file at `path` is in `made` if it is `blob`: how it came there, and what it is.

    Raises:
        StoreError: it cannot be read, or the disk refused.
    """
    try:
        if share and _link(path, link := made.layout.blob(blob.digest)):
            return "hardlink", hash_file(link, lambda chunk: listen(BytesRead(len(chunk))))
        with made.ingest() as ingest:
            way = ingest.take(path, move=False, listen=listen)
            if ingest.descriptor == blob:
                ingest.publish()
            return way, ingest.descriptor
    except OSError as error:
        hint = "see that you may read it, then run the command again"
        raise StoreError(f"cannot read {path}: {error.strerror}", hint=hint) from None


def _link(path: Path, link: Path) -> bool:
    """Whether the file at `path` has the name `link` as well."""
    try:
        os.link(path, link, follow_symlinks=False)
    except OSError:  # another filesystem, or another's file: there are other ways
        return False
    return True


def check_room(directory: Path, needed: int) -> None:
    """The disk of `directory` has room for so many bytes, as far as it says.

    Raises:
        StoreError: it has not.
    """
    free = disk.free_space(directory)
    if free is not None and needed > free:
        raise StoreError(
            f"{needed:,} bytes are to be written, and the disk has {free:,}: {needed - free:,} bytes more are needed",
            hint="free some space, export to another disk, or export some with --name or --kind",
        )


# What becomes of it


def in_layers(root: Path, names: Mapping[Descriptor, str], count: int, target: Path) -> None:
    """The root at `root` is at `target`, in `count` numbered directories with the blobs that have `names`, and `rest`.

    Each begins at the top of an image.

    Raises:
        OSError: the disk refused.
    """
    source, place = Layout(root), IN_IMAGES.strip("/")
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
    """`tree` and all in it have the modes that every export has, whatever the umask, and the time `seconds` since 1970.

    All names in it are durable; files were before.

    Raises:
        OSError: the disk refused.
    """
    for directory, _, files in os.walk(tree, topdown=False, onerror=_raise):
        place = Path(directory)
        for path in (*(place / name for name in files), place):
            if not path.is_symlink():
                path.chmod(DIRECTORY if path == place else FILE)
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        disk.sync_directory(place)


def _raise(error: OSError) -> None:
    raise error
