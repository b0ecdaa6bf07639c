"""Records: the digest and size that each identifier turned out to have, and how far these are trusted.

    identifiers/figshare/<id>.json              the record of a Figshare number, written once its blob is durable
    identifiers/url/<sha256 of the URL>.json    the record of a URL

Each record is a file of its own, so that two writers never overwrite each other's records. `core/trust.py` says which
record may replace one that is there. A record that another member of a shared root wrote counts as a mirror's at most.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import FIRST_LAYOUT_VERSION, Record, as_told, keep_scan, may_replace, needed_layout
from antscache.disk import store_errors
from antscache.errors import IntegrityError, StoreError
from antscache.store import description

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.core import Identifier, Layout

_FIGSHARE_NUMBER, _SHA256 = "[1-9][0-9]{0,18}", "[0-9a-f]{64}"  # the names of records, without .json


class Records:
    """The records under one root, without those of its lower caches.

    Raises (any method):
        StoreError: the root cannot be read or written; what it held, it still holds.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self, identifier: Identifier) -> Record | None:
        """Return the record of `identifier` under this root, or None if there is none.

        Raises:
            DecodeError: the file is not a record of this identifier.
        """
        with store_errors(f"cannot read the record of {identifier}"):
            path = self._layout.record(identifier)
            record = self._decoded(path)
        if record is None:
            return None
        if record.identifier != identifier:
            raise msgspec.DecodeError(f"it is the record of {record.identifier}")
        return record if self.is_own(path) else as_told(record)

    def is_own(self, path: Path | str) -> bool:
        """Return True if you wrote the record at `path`; in a root that no group shares, everybody did."""
        return not self._layout.shared or disk.is_own(path)

    def _decoded(self, path: Path) -> Record | None:
        """Return the record in the file `path`; None if there is no file.

        Raises:
            DecodeError: it is not a record.
            OSError: the disk refused.
        """
        try:
            content = disk.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return msgspec.json.decode(content, type=Record)
        except disk.DECODE_ERRORS as error:
            raise msgspec.DecodeError(str(error)) from None

    def remember(self, record: Record) -> Record | None:
        """Write `record`, unless one is there that it may not replace (`may_replace`). Its blob must be durable.

        Returns:
            The record that it replaced, if it replaced one that can be read.

        Raises:
            IntegrityError: the identifier is recorded as other bytes, and that record stays.
        """
        path, staging = self._layout.record(record.identifier), self._layout.staging
        version = needed_layout([record.identifier])
        description.require(self._layout, version)
        with store_errors(f"cannot record {record.identifier}"):
            if version > FIRST_LAYOUT_VERSION:
                disk.make_directory(path.parent, self._layout.shared_root)
            if disk.publish(path, _encoded(record), staging):
                return None
            present = None
            with suppress(msgspec.DecodeError):
                present = self.read(record.identifier)
            if present is None or may_replace(record, present, own=self.is_own(path)):
                content = _encoded(keep_scan(record, present) if present else record)
                try:
                    disk.replace(path, content, staging, mode=disk.READ_ONLY_MODE)
                except PermissionError:  # the file of another member
                    if present is None or present.descriptor != record.descriptor:
                        raise _cannot_replace(path) from None
                else:
                    return present
            elif present.descriptor != record.descriptor:
                raise IntegrityError(
                    f"{record.identifier} is recorded as {present.describe()}, "
                    f"and {record.source} answered {record.digest}",
                    hint=f"an identifier's bytes never change: one of the two is wrong; "
                    f"if it is the record, run `antscache forget {record.identifier}`",
                )
        return None

    def add_scan(self, scanned: Record) -> None:
        """Write the scan of `scanned` into the record of the same bytes, if it is here, yours, and has none.

        Its trust, its source and its time stay.
        """
        path = self._layout.record(scanned.identifier)
        present = None
        with suppress(msgspec.DecodeError):
            present = self.read(scanned.identifier)
        if present is None or not self.is_own(path):
            return
        kept = keep_scan(present, scanned)
        if kept != present:
            with store_errors(f"cannot record {scanned.identifier}"):
                disk.replace(path, _encoded(kept), self._layout.staging, mode=disk.READ_ONLY_MODE)

    def forget(self, identifier: Identifier) -> None:
        """Remove the record of `identifier`, if there is one. Its blob stays.

        Raises:
            StoreError: only another user may remove it.
        """
        self.check_own(identifier)
        path = self._layout.record(identifier)
        with store_errors(f"cannot remove {path}"):
            path.unlink(missing_ok=True)
            disk.sync_directory(path.parent)

    def check_own(self, identifier: Identifier) -> None:
        """Check that the record of `identifier` is yours.

        Raises:
            StoreError: another member of a shared root wrote it.
        """
        if not self.is_own(path := self._layout.record(identifier)):
            raise _of_another(path, identifier)

    def all(self) -> Iterator[tuple[Path, Record | str]]:
        """Yield the file of each record, with the record or a text that says what is wrong with it."""
        for path in self._paths():
            try:
                record = self._decoded(path)
            except msgspec.DecodeError as error:  # noqa: PERF203  each file on its own
                yield path, f"damaged: {error}"
            except OSError as error:
                yield path, f"cannot be read: {error.strerror}"
            else:
                if record and self._layout.record(record.identifier) != path:
                    yield path, f"damaged: it is the record of {record.identifier}"
                elif record:
                    yield path, record

    def _paths(self) -> Iterator[Path]:
        """Yield the path of each file that has the name of a record, sorted."""
        for directory, key in (self._layout.records, _FIGSHARE_NUMBER), (self._layout.url_records, _SHA256):
            with store_errors(f"cannot read {directory}"), suppress(FileNotFoundError):
                with os.scandir(directory) as entries:
                    names = sorted(entry.name for entry in entries)
                yield from (directory / name for name in names if re.fullmatch(rf"{key}\.json", name))

    def readable(self) -> Iterator[Record]:
        """Yield the records that can be read."""
        return (record for _, record in self.all() if isinstance(record, Record))


def _encoded(record: Record) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _cannot_replace(path: Path) -> StoreError:
    owner = disk.owner_of(path)
    return StoreError(
        f"{path} is {owner}'s and says something else, and you cannot replace it",
        hint=f"ask {owner} to prefetch the release again, or to forget the identifier",
    )


def _of_another(path: Path, identifier: Identifier) -> StoreError:
    owner = disk.owner_of(path)
    return StoreError(
        f"the record of {identifier} is {owner}'s, and not yours to forget",
        hint=f"ask {owner} to run `antscache forget {identifier}`",
    )
