"""Write an export: make its tree beside the target, and give it its name once it is whole.

check_target -> tree.make -> tree.settle, or make an image -> publish under the final name
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
LAST_MOVED_NAME = "antscache.json"  # without it a directory is no root


def format_of(file: Path) -> Format:
    """Return the format that the name of `file` asks for: pure."""
    return SUFFIXES.get(file.suffix.lower(), "dir")


@dataclass(frozen=True, slots=True)
class Target:
    """The file or directory that an export becomes.

    Attributes:
        file: a path that does not exist yet, or an empty directory if the format is "dir".
        format: the format of `file`.
        layers: the number of numbered directories that a directory is divided into, beside `rest`; 0 for none.
    """

    file: Path
    format: Format = "dir"
    layers: int = 0

    def size_of(self, contents: Contents) -> int:
        """Return the bytes of the image of `contents` (at most, for a squashfs), or of all files in the directory."""
        planned = tree_of(contents)
        return planned.size if self.format == "dir" else filesystem_images.size_of(self.format, planned)


def check_target(contents: Contents, target: Target) -> None:
    """Check, before anything is written, that `contents` can be exported to `target`.

    Raises:
        StoreError: `target` exists already, or the disk has no room for the image.
        AntsCacheError: a program that makes the image is not installed.
    """
    file, directory = target.file, target.format == "dir"
    with _naming(file):
        file.parent.stat()
        exists = os.path.lexists(file)
        if exists and not (directory and file.is_dir() and not any(file.iterdir())):
            problem = "already exists, and is not an empty directory" if directory else "already exists"
            raise StoreError(f"{file} {problem}", hint="remove it first, or name another FILE")
    if target.format != "dir":
        filesystem_images.check_programs(target.format)
        tree.check_room(file.parent, target.size_of(contents))


def write_export(root: Root, contents: Contents, target: Target, listen: Listener = ignore_events) -> int:
    """Write `contents` to `target`, whole and durable, or write nothing.

    Args:
        root: a root that holds `contents`, itself or in its lower caches; it is not written to.
        contents: the contents of the export, from `plan_export`.
        target: the file or directory to write.
        listen: receives a BytesRead for each piece that was read.

    Returns:
        The bytes of the image, or of all files in the directory.

    Raises:
        IntegrityError: a blob is damaged.
        StoreError: the target exists already, a blob cannot be read, or the disk refused.
        AntsCacheError: a program that makes the image is not installed.
    """
    check_target(contents, target)
    size = target.size_of(contents)
    with _naming(target.file), _staging_directory(target.file) as stage:
        place, image = stage / "root", stage / "image"
        if target.format == "dir":
            tree.make(root, contents, place, image=None, listen=listen)
            made = _divide(place, contents, target)
            tree.settle(made, contents.seconds)
            _publish_directory(made, target.file, contents.seconds)
            return size
        tree.make(root, contents, place, image=size, listen=listen)
        filesystem_images.make(target.format, tree_of(contents), place, image, contents.seconds)
        size = image.stat().st_size
        _publish_image(image, target.file)
    return size


def _divide(root: Path, contents: Contents, target: Target) -> Path:
    """Divide the tree at `root` into layers if `target` has layers, and return the path of the result."""
    if not target.layers:
        return root
    layers = root.with_name("layers")
    tree.in_layers(root, contents.names, target.layers, layers)
    return layers


@contextmanager
def _staging_directory(file: Path) -> Iterator[Path]:
    """Make a private directory on the filesystem of `file`, and remove it at the end.

    The directory is beside `file`. If `file` is a directory it is inside, because `file` may be a mount.
    """
    stage = (file if file.is_dir() else file.parent).resolve() / f".antscache-{os.urandom(16).hex()}"
    stage.mkdir(0o700)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish_directory(made: Path, file: Path, seconds: int) -> None:
    """Move the directory `made` to `file`, which does not exist or is an empty directory.

    Raises:
        OSError: the disk refused; `file` is as it was before.
    """
    if not file.is_dir():
        made.rename(file)
        disk.sync_directory(file.parent)
        return
    file.chmod(tree.DIRECTORY_MODE)
    moved: list[str] = []
    try:
        for path in sorted(made.iterdir(), key=lambda path: (path.name == LAST_MOVED_NAME, path.name)):
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
    """Give the file `image` the name `file` as well, durably.

    Raises:
        StoreError: `file` exists by now.
        OSError: the disk refused.
    """
    with image.open("rb") as written:
        os.fsync(written.fileno())
    if not disk.move_new(image, file):
        message = f"another program created {file} during the export"
        raise StoreError(message, hint="remove it, or name another FILE")
    disk.sync_directory(file.parent)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn errors of the disk into a StoreError that names `file`, because users do not know the staging directory.

    A blob that cannot be read is not reported so: `tree.make` raises a StoreError that names the blob.
    """
    try:
        yield
    except OSError as error:
        raise _write_error(file, error) from error
    except AntsCacheError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise _write_error(file, error.__cause__) from error


def _write_error(file: Path, error: OSError) -> StoreError:
    hint = "check that its directory exists, that you may write to it, and that there is space; or name another FILE"
    return StoreError(f"cannot write {file}: {error.strerror or error}", hint=hint)
