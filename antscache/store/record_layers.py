"""The records of a root and of the lower caches below it: which of an identifier's records counts.

That of the root counts, unless it is adopted and a lower cache has a better one; those of lower caches count as a
mirror's at most (`core/trust.py`). A damaged record counts as none. With lower caches, so does one that cannot be read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache.core import RecordBelow, as_told, choose_record, find_conflicts, find_doubted
from antscache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from antscache.core import Identifier, Record, RecordConflict
    from antscache.store.records import Records
    from antscache.store.store import Store


class CountingRecords(NamedTuple):
    """The records of some identifiers that count.

    Attributes:
        records: by identifier.
        doubted: the identifiers whose adopted bytes are known to be another identifier's; they have no record here.
        conflicts: the records of which a lower cache says otherwise.
    """

    records: Mapping[Identifier, Record]
    doubted: frozenset[Identifier]
    conflicts: tuple[RecordConflict, ...]


class RecordLayers:
    """The records of a root, above those of its lower caches."""

    def __init__(self, own: Records, lowers: Sequence[Store]) -> None:
        self._records = own
        self._lowers = lowers

    def record(self, identifier: Identifier) -> Record | None:
        """Return the record of `identifier` that counts; None if there is none."""
        own = self._own(identifier)
        return own if own and not own.is_adopted else choose_record(own, self._below(identifier))

    def read(self, identifiers: Iterable[Identifier]) -> CountingRecords:
        """Read the records of `identifiers`, each once."""
        records: dict[Identifier, Record] = {}
        conflicts: list[RecordConflict] = []
        for identifier in identifiers:
            own, below = self._own(identifier), self._below(identifier)
            if record := choose_record(own, below):
                records[identifier] = record
            conflicts += find_conflicts(own, below)
        adopted = {identifier for identifier, record in records.items() if record.is_adopted}
        doubted = frozenset(adopted & find_doubted(self.all()) if adopted else ())
        counting = {identifier: record for identifier, record in records.items() if identifier not in doubted}
        return CountingRecords(counting, doubted, tuple(conflicts))

    def all(self) -> list[Record]:
        """Return all records that can be read, of lower caches too; those of the root come last."""
        records: list[Record] = []
        for lower in reversed(self._lowers):
            with suppress(StoreError):
                records += map(as_told, lower.records.readable())
        return [*records, *self._records.readable()]

    def conflicts(self, identifier: Identifier) -> list[RecordConflict]:
        """Return the records of lower caches that name other bytes of `identifier` than the record that counts."""
        return find_conflicts(self._own(identifier), self._below(identifier))

    def _own(self, identifier: Identifier) -> Record | None:
        try:
            return self._records.read(identifier)
        except msgspec.DecodeError:
            return None
        except StoreError:
            if not self._lowers:
                raise
            return None

    def _below(self, identifier: Identifier) -> list[RecordBelow]:
        records = []
        for lower in self._lowers:
            with suppress(StoreError):  # a lower cache that cannot be read counts as empty
                if record := lower.record(identifier):
                    records.append(RecordBelow(as_told(record), str(lower.layout.root)))
        return records
