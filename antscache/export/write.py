"""Write an export: make its tree beside the target, and give it its name once it is whole.

check -> make -> settle, or an image -> publish
(where)  (tree)  (modes and times)      (whole, or not there)
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from antscache import disk
from antscache.core import ignore_events
from antscache.errors import AntsCacheError, StoreError
from antscache.export import filesystem_images, tree
from antscache.export.contents import tree_of
from antscache.export.filesystem_images import Filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.core import Listener
    from antscache.export.contents import Contents
    from antscache.root import Root

Format = Literal["dir"] | Filesystem
SUFFIXES: dict[str, Format] = {
    ".sqsh": "squashfs",
    ".sqfs": "squashfs",
    ".squashfs": "squashfs",
    ".ext3": "ext3",
    ".img": "ext3",
}
LAST = "antscache.json"  # without it a directory is no root


def format_of(file: Path) -> Format:
    """The format that the name of a file asks for: pure."""
    return SUFFIXES.get(file.suffix.lower(), "dir")


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes.

    Attributes:
        file: not there yet, or, for a directory, empty.
        format: of it.
        layers: into how many numbered directories a directory is divided, beside `rest`; 0 if it is not.
    """

    file: Path
    format: Format = "dir"
    layers: int = 0

    def size_of(self, contents: Contents) -> int:
        """Return how many bytes it will have with `contents`: a squashfs at most, a directory's files together."""
        made = tree_of(contents)
        return made.size if self.format == "dir" else filesystem_images.size_of(self.format, made)


def check_target(contents: Contents, target: Target) -> None:
    """Nothing that can be seen beforehand keeps `contents` from `target`.

    Raises:
        StoreError: something is there already, or the disk has no room for the image.
        AntsCacheError: a program is missing.
    """
    file, directory = target.file, target.format == "dir"
    with _writing(file):
        file.parent.stat()
        there = os.path.lexists(file)
        if there and not (directory and file.is_dir() and not any(file.iterdir())):
            what = "is there already, and is no empty directory" if directory else "is there already"
            raise StoreError(f"{file} {what}", hint="remove it first, or name another FILE")
    if target.format != "dir":
        filesystem_images.check_programs(target.format)
        tree.check_room(file.parent, target.size_of(contents))


def write_export(root: Root, contents: Contents, target: Target, listen: Listener = ignore_events) -> int:
    """Write `contents` to `target`, whole and durable, or write nothing.

    Args:
        root: that holds them, or has lower caches that do; it is not written to.
        contents: as `plan_export` says.
        target: where they go.
        listen: hears how many bytes were read.

    Returns:
        How many bytes the target has: the image, or the files of the directory together.

    Raises:
        IntegrityError: a blob is damaged.
        StoreError: something is at the target already, a blob cannot be read, or the disk refused.
        AntsCacheError: a program is missing.
    """
    check_target(contents, target)
    size = target.size_of(contents)
    with _writing(target.file), _stage(target.file) as stage:
        place, image = stage / "root", stage / "image"
        if target.format == "dir":
            tree.make(root, contents, place, image=None, listen=listen)
            made = _divided(place, contents, target)
            tree.settle(made, contents.seconds)
            _publish_directory(made, target.file, contents.seconds)
            return size
        tree.make(root, contents, place, image=size, listen=listen)
        filesystem_images.make(target.format, tree_of(contents), place, image, contents.seconds)
        size = image.stat().st_size
        _publish_image(image, target.file)
    return size


def _divided(root: Path, contents: Contents, target: Target) -> Path:
    """The tree at `root`, in layers if that is asked for: where it is then."""
    if not target.layers:
        return root
    layers = root.with_name("layers")
    tree.in_layers(root, contents.names, target.layers, layers)
    return layers


@contextmanager
def _stage(file: Path) -> Iterator[Path]:
    """A directory of ours alone, on the filesystem where `file` will be, that is gone afterwards.

    It is beside the file; in it, where that is a directory, for it may be one of a filesystem of its own.
    """
    stage = (file if file.is_dir() else file.parent).resolve() / f".antscache-{os.urandom(16).hex()}"
    stage.mkdir(0o700)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish_directory(made: Path, file: Path, seconds: int) -> None:
    """What is at `made` is at `file`, which is not there, or empty.

    Raises:
        OSError: the disk refused; it is as it was.
    """
    if not file.is_dir():
        made.rename(file)
        disk.sync_directory(file.parent)
        return
    file.chmod(tree.DIRECTORY)
    moved: list[str] = []
    try:
        for path in sorted(made.iterdir(), key=lambda path: (path.name == LAST, path.name)):
            path.rename(file / path.name)
            moved.append(path.name)
    except BaseException:
        for name in moved:
            (file / name).rename(made / name)
        raise
    disk.sync_directory(file)
    shutil.rmtree(made.parent, ignore_errors=True)
    os.utime(file, (seconds, seconds))


def _publish_image(image: Path, file: Path) -> None:
    """What is at `image` is at `file` as well.

    Raises:
        StoreError: something came there meanwhile.
        OSError: the disk refused.
    """
    with image.open("rb") as written:
        os.fsync(written.fileno())
    if not disk.move_new(image, file):
        raise StoreError(f"{file} came to be there meanwhile", hint="remove it, or name another FILE")
    disk.sync_directory(file.parent)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """What the disk refuses below is told of `file`: it was to be written, and nobody knows what else was.

    Blobs that cannot be read are no such case: `tree.make` says so itself.
    """
    try:
        yield
    except OSError as error:
        raise _refused(file, error) from error
    except AntsCacheError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise _refused(file, error.__cause__) from error


def _refused(file: Path, error: OSError) -> StoreError:
    hint = "see that its directory is there, that you may write to it, and that there is space; or name another FILE"
    return StoreError(f"cannot write {file}: {error.strerror or error}", hint=hint)
