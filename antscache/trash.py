"""What is condemned and not gone yet.

    trash/<hex>.<seconds>        a blob that no ref reached at that time; it comes back as soon as one does
    trash/<32 hex>.<seconds>     what was found damaged and set aside; it never comes back

A file gets here and back by a rename, so its bytes are never in fewer than one place and never copied. Seconds are
those of the clock when it came, as the name says, because neither a blob's times nor a directory's tell that on every
filesystem.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from antscache import durable
from antscache.digest import Digest, hexadecimal, named
from antscache.durable import refusing

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from antscache.layout import Layout

_NAME = re.compile(r"(?P<blob>[0-9a-f]{64})\.(?P<seconds>[0-9]{1,12})|[0-9a-f]{32}\.(?P<since>[0-9]{1,12})")


class Condemned(NamedTuple):
    """A file in the trash: since when (seconds since 1970), and of which blob; None if it is no whole blob."""

    path: Path
    digest: Digest | None
    since: int
    size: int


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
        with refusing(f"cannot read {self._layout.trash}"):
            try:
                with os.scandir(self._layout.trash) as entries:
                    files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            except FileNotFoundError:
                return []
        for entry in files:
            with suppress(FileNotFoundError):  # somebody was faster
                if match := _NAME.fullmatch(entry.name):
                    digest = named(match["blob"]) if match["blob"] else None
                    size = entry.stat(follow_symlinks=False).st_size
                    path = self._layout.trash / entry.name
                    found.append(Condemned(path, digest, int(match["seconds"] or match["since"]), size))
        return found

    def condemn(self, digest: Digest) -> bool:
        """The blob is here and no longer in the store; False where it is not ours to move, or somebody was faster.

        Raises:
            StoreError: the disk refused.
        """
        return self._take(self._layout.blob(digest), hexadecimal(digest))

    def set_aside(self, path: Path) -> bool:
        """What is damaged at `path`, in the root, is here instead; False as `condemn`.

        Raises:
            StoreError: the disk refused.
        """
        return self._take(path, os.urandom(16).hex())

    def _take(self, path: Path, name: str) -> bool:
        with refusing(f"cannot move {path} to {self._layout.trash}"):
            durable.make_directory(self._layout.trash)
            try:
                path.rename(self._layout.trash / f"{name}.{time.time():.0f}")
            except (FileNotFoundError, PermissionError):  # a directory with the sticky bit lets owners move alone
                return False
        return True

    def restore(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that were condemned are blobs again, as whole as they were: which ones.

        Raises:
            StoreError: the disk refused.
        """
        restored = set()
        for condemned in self.contents() if digests else ():
            if condemned.digest in digests and condemned.digest is not None:
                with refusing(f"cannot move {condemned.path} to {self._layout.blobs}"):
                    try:
                        condemned.path.rename(self._layout.blob(condemned.digest))
                    except (FileNotFoundError, PermissionError):
                        continue
                restored.add(condemned.digest)
        return restored

    def delete(self, condemned: Condemned) -> bool:
        """It is gone for good; False as `condemn`.

        Raises:
            StoreError: the disk refused.
        """
        with refusing(f"cannot delete {condemned.path}"):
            try:
                condemned.path.unlink()
            except (FileNotFoundError, PermissionError):
                return False
        return True
