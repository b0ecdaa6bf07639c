"""The trash: condemned blobs and damaged files that are not deleted yet.

    trash/<hex>.<seconds>.<random>    a blob that no ref reached at that time; it comes back as soon as one does
    trash/<32 hex>.<seconds>          a damaged file that was set aside; it never comes back

A file gets here and back by a rename, so that its bytes are always in one place or the other. The name has the time at
which it came, in seconds since 1970, because no time in a file's status tells that on every filesystem. Each name is
used once, so that deleting a file that was looked at never deletes one that came later.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from antscache import disk
from antscache.core import Descriptor, Digest, digest_from_hex, hexadecimal
from antscache.disk import store_errors

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from antscache.core import Layout

_TRASH_NAME = re.compile(
    r"(?P<blob>[0-9a-f]{64})\.(?P<seconds>[0-9]{1,12})\.[0-9a-f]{8}|[0-9a-f]{32}\.(?P<since>[0-9]{1,12})"
)


class Condemned(NamedTuple):
    """A file in the trash.

    Attributes:
        path: the file.
        digest: the blob's; None for a file that never comes back.
        since: when it came, in seconds since 1970.
        size: its bytes.
    """

    path: Path
    digest: Digest | None
    since: int
    size: int

    @property
    def blob(self) -> Descriptor | None:
        """The blob that it is again when it comes back; None if it never does."""
        return Descriptor(self.digest, self.size) if self.digest else None


class Trash:
    """The trash of one root. Its directory is made when the first file comes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def contents(self) -> list[Condemned]:
        """Return the files that antscache has put into the trash.

        Raises:
            StoreError: the trash cannot be read.
        """
        contents = []
        with store_errors(f"cannot read {self._layout.trash}"):
            try:
                paths = list(self._layout.trash.iterdir())
            except FileNotFoundError:
                return []
            for path in paths:
                if match := _TRASH_NAME.fullmatch(path.name):
                    with suppress(FileNotFoundError):  # another process was faster
                        status = path.lstat()
                        whole = match["blob"] and stat.S_ISREG(status.st_mode)
                        digest = digest_from_hex(match["blob"]) if whole else None
                        since = int(match["seconds"] or match["since"])
                        contents.append(Condemned(path, digest, since, status.st_size))
        return contents

    def condemn(self, digest: Digest) -> bool:
        """Move the blob `digest` from the store to the trash.

        Returns:
            True if this call moved it. False if you may not move it, or it was gone already.

        Raises:
            StoreError: the disk refused.
        """
        return self._move(self._layout.blob(digest), f"{hexadecimal(digest)}.{self._now}.{os.urandom(4).hex()}")

    def set_aside(self, path: Path) -> bool:
        """Move the damaged file at `path`, in the root, to the trash for good; views may be on another filesystem.

        Returns:
            True or False as `condemn` does.

        Raises:
            StoreError: the disk refused.
        """
        return self._move(path, f"{os.urandom(16).hex()}.{self._now}")

    def _move(self, path: Path, name: str) -> bool:
        with store_errors(f"cannot move {path} to {self._layout.trash}"):
            disk.make_directory(self._layout.trash, self._layout.shared_root)
            try:
                if self._layout.shared:
                    disk.refuse_links(path.parent, self._layout.root)  # it would be a file from elsewhere
                path.rename(self._layout.trash / name)
            except (FileNotFoundError, NotADirectoryError, PermissionError):  # in a sticky directory only owners may
                return False
            except OSError as error:
                if error.errno != errno.EXDEV or path.is_relative_to(self._layout.blobs):
                    raise
                import shutil

                shutil.copyfile(path, self._layout.trash / name, follow_symlinks=False)
                path.unlink()
        return True

    def date_anew(self, condemned: Condemned) -> None:
        """Let a file in the trash count as come now, if you may: a wrong clock has dated it."""
        name = condemned.path.name.replace(f".{condemned.since}", f".{self._now}", 1)
        with suppress(OSError):
            condemned.path.rename(condemned.path.with_name(name))

    @cached_property
    def _now(self) -> str:
        """The time of the filesystem, which other hosts on this root have too."""
        return f"{disk.filesystem_time(self._layout.ingest):.0f}"

    def restore(self, blobs: Collection[Descriptor]) -> set[Descriptor]:
        """Move those of `blobs` that were condemned back to the store, as they were, where you may move them.

        Returns:
            The blobs that came back.

        Raises:
            StoreError: the disk refused.
        """
        restored = set()
        for condemned in self.contents() if blobs else ():
            blob = condemned.blob
            if blob is not None and blob in blobs and self._bring_back(condemned.path, blob):
                restored.add(blob)
        if restored:
            with store_errors(f"cannot write to {self._layout.blobs}"):
                disk.sync_directory(self._layout.blobs)
        return restored

    def _bring_back(self, condemned: Path, blob: Descriptor) -> bool:
        path = self._layout.blob(blob.digest)
        with store_errors(f"cannot move {condemned} to {self._layout.blobs}"):
            try:
                if _is_file_of(path, blob.size):  # it was written again meanwhile
                    condemned.unlink()
                    return False
                condemned.rename(path)
            except (FileNotFoundError, PermissionError):
                return False
        return True

    def delete(self, condemned: Condemned) -> bool:
        """Delete a file in the trash for good.

        Returns:
            True if this call deleted it. False if you may not, if it was gone already, or if it is a directory that is
            not empty.

        Raises:
            StoreError: the disk refused.
        """
        with store_errors(f"cannot delete {condemned.path}"):
            try:
                if stat.S_ISDIR(condemned.path.lstat().st_mode):
                    condemned.path.rmdir()
                else:
                    condemned.path.unlink()
            except (FileNotFoundError, PermissionError):
                return False
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                return False
        return True


def _is_file_of(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size
