"""Records: the digest and size that each identifier turned out to have, and how far these are trusted.

    identifiers/figshare/<id>.json    a record, written once its blob is durable

Each record is a file of its own, so that two writers never overwrite each other's records. A record that is there is
replaced only by one of higher trust.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import TRUST_RANKS, Record, figshare_number, parse_identifier
from antscache.disk import store_errors
from antscache.errors import IntegrityError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.core import Identifier, Layout


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
            try:
                content = disk.read(f"{self._layout.records}/{figshare_number(identifier)}.json")
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            record = msgspec.json.decode(content, type=Record)
        except disk.DECODE_ERRORS as error:
            raise msgspec.DecodeError(str(error)) from None
        if record.identifier != identifier:
            raise msgspec.DecodeError(f"it is the record of {record.identifier}")
        return record

    def remember(self, record: Record) -> None:
        """Write `record`, unless one of equal or higher trust is there. Its blob must be durable.

        Raises:
            IntegrityError: the identifier is recorded as other bytes with equal or higher trust.
        """
        path, staging = self._layout.record(record.identifier), self._layout.staging
        content = msgspec.json.encode(record) + b"\n"
        with store_errors(f"cannot record {record.identifier}"):
            if disk.publish(path, content, staging):
                return
            present = None
            with suppress(msgspec.DecodeError):
                present = self.read(record.identifier)
            if present is None or TRUST_RANKS[record.trust] > TRUST_RANKS[present.trust]:
                try:
                    disk.replace(path, content, staging, mode=disk.READ_ONLY_MODE)
                except PermissionError:  # the file of another member
                    if present is None or present.descriptor != record.descriptor:
                        raise _cannot_replace(path) from None
            elif present.descriptor != record.descriptor:
                raise IntegrityError(
                    f"{record.identifier} is recorded as {present.digest} (from {present.source}, {present.trust}), "
                    f"and {record.source} answered {record.digest}",
                    hint=f"an identifier's bytes never change: one of the two is wrong; the record is {path}",
                )

    def all(self) -> Iterator[tuple[Identifier, Record | str]]:
        """Yield each identifier that has a record, with the record or a text that says what is wrong with it."""
        with store_errors(f"cannot read {self._layout.records}"):
            try:
                with os.scandir(self._layout.records) as entries:
                    names = sorted(entry.name for entry in entries)
            except FileNotFoundError:
                return
        for name in names:
            identifier = parse_identifier(name.removesuffix(".json"))
            if identifier and name == f"{figshare_number(identifier)}.json":
                try:
                    if record := self.read(identifier):
                        yield identifier, record
                except msgspec.DecodeError as error:
                    yield identifier, f"damaged: {error}"
                except StoreError as error:
                    yield identifier, f"cannot be read: {getattr(error.__cause__, 'strerror', error)}"

    def readable(self) -> Iterator[Record]:
        """Yield the records that can be read."""
        return (record for _, record in self.all() if isinstance(record, Record))


def _cannot_replace(path: Path) -> StoreError:
    owner = disk.owner_of(path)
    return StoreError(
        f"{path} is {owner}'s and says something else, and you cannot replace it",
        hint=f"ask {owner} to prefetch the release again, or to remove that file",
    )
