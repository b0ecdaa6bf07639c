"""What is condemned and not gone yet.

    trash/<hex>.<seconds>.<random>    a blob that no ref reached at that time; it comes back as soon as one does
    trash/<32 hex>.<seconds>          what was found damaged and set aside; it never comes back

A file gets here and back by a rename, so its bytes are never in fewer than one place. Seconds are those of the clock
when it came, as the name says, because neither a blob's times nor a directory's tell that on every filesystem. Each
name is used once: whoever deletes a file deletes the one that was looked at, and none that came later.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from antscache import disk
from antscache.core import Descriptor, Digest, digest_from_hex, hexadecimal
from antscache.disk import store_errors

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from antscache.core import Layout

_NAME = re.compile(
    r"(?P<blob>[0-9a-f]{64})\.(?P<seconds>[0-9]{1,12})\.[0-9a-f]{8}|[0-9a-f]{32}\.(?P<since>[0-9]{1,12})"
)


class Condemned(NamedTuple):
    """What is in the trash: since when (seconds since 1970), and of which blob; None if it is no blob."""

    path: Path
    digest: Digest | None
    since: int
    size: int

    @property
    def blob(self) -> Descriptor | None:
        """What it is again when it comes back; None if it never does."""
        return Descriptor(self.digest, self.size) if self.digest else None


class Trash:
    """The trash of one root. Its directory is made when something comes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def contents(self) -> list[Condemned]:
        """What is in it, and was put there by antscache.

        Raises:
            StoreError: it cannot be read.
        """
        found = []
        with store_errors(f"cannot read {self._layout.trash}"):
            try:
                paths = list(self._layout.trash.iterdir())
            except FileNotFoundError:
                return []
            for path in paths:
                if match := _NAME.fullmatch(path.name):
                    with suppress(FileNotFoundError):  # somebody was faster
                        status = path.lstat()
                        whole = match["blob"] and stat.S_ISREG(status.st_mode)
                        digest = digest_from_hex(match["blob"]) if whole else None
                        since = int(match["seconds"] or match["since"])
                        found.append(Condemned(path, digest, since, status.st_size))
        return found

    def condemn(self, digest: Digest) -> bool:
        """The blob is here and no longer in the store; False where it is not ours to move, or somebody was faster.

        Raises:
            StoreError: the disk refused.
        """
        return self._take(self._layout.blob(digest), f"{hexadecimal(digest)}.{_now()}.{os.urandom(4).hex()}")

    def set_aside(self, path: Path) -> bool:
        """What is damaged at `path`, in the root, is here instead; False as `condemn`.

        Raises:
            StoreError: the disk refused.
        """
        return self._take(path, f"{os.urandom(16).hex()}.{_now()}")

    def _take(self, path: Path, name: str) -> bool:
        with store_errors(f"cannot move {path} to {self._layout.trash}"):
            disk.make_directory(self._layout.trash, self._layout.shared_root)
            try:
                if self._layout.shared:
                    disk.refuse_links(path.parent, self._layout.root)  # it would be a file from elsewhere
                path.rename(self._layout.trash / name)
            except (FileNotFoundError, NotADirectoryError, PermissionError):  # where it is sticky, owners alone move
                return False
        return True

    def restore(self, blobs: Collection[Descriptor]) -> set[Descriptor]:
        """Those of `blobs` that were condemned are in the store again, as whole as they were, where they are ours.

        Returns:
            Which ones came back.

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
        """It is gone for good; False as `condemn`, and where it is a directory with something in it.

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


def _now() -> str:
    return f"{time.time():.0f}"


def _is_file_of(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size
