"""Values that tell what happens during an operation, for whoever shows progress."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from antscache.core.digest import Descriptor
from antscache.core.identifiers import Identifier
from antscache.core.record import Check


class Started(msgspec.Struct, frozen=True):
    """An origin begins to answer for a file.

    Attributes:
        size: of the whole file in bytes, if the origin says it.
        resumed: how many of them are there already.
    """

    identifier: Identifier
    file: str
    origin: str
    size: int | None
    resumed: int


class Received(msgspec.Struct, frozen=True):
    """`count` more bytes of a file have arrived."""

    identifier: Identifier
    count: int


class Waiting(msgspec.Struct, frozen=True):
    """Nothing happens to a file for `seconds`, for this reason; 0 where nobody knows how long."""

    identifier: Identifier
    file: str
    reason: str
    seconds: float


class Refused(msgspec.Struct, frozen=True):
    """An origin's answer was not taken; another try follows if one is left."""

    identifier: Identifier
    file: str
    origin: str
    outcome: str


class Fetched(msgspec.Struct, frozen=True):
    """A file is in the store and recorded.

    Attributes:
        seconds: since it was begun.
        checks: what it was checked by, as in its record.
        accepted: what was found wrong with it, and taken because the user said so.
    """

    identifier: Identifier
    file: str
    blob: Descriptor
    origin: str
    seconds: float
    checks: tuple[Check, ...]
    accepted: str


class Present(msgspec.Struct, frozen=True):
    """Another process has fetched a file meanwhile."""

    identifier: Identifier
    file: str
    blob: Descriptor


class Failed(msgspec.Struct, frozen=True):
    """No origin delivered a file."""

    identifier: Identifier
    file: str


class BytesRead(msgspec.Struct, frozen=True):
    """`count` more bytes of files on this host have been read. May be told from any thread."""

    count: int


class Remarked(msgspec.Struct, frozen=True):
    """Something that concerns no file in particular, said once."""

    text: str


Event = Started | Received | Waiting | Refused | Fetched | Present | Failed | BytesRead | Remarked
Listener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Take no notice of `event`."""
