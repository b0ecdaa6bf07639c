"""The events of an operation, for a progress display."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from antscache.core.digest import Descriptor
from antscache.core.identifiers import Identifier
from antscache.core.record import Check


class Started(msgspec.Struct, frozen=True):
    """The beginning of an origin's answer for a file.

    Attributes:
        size: of the whole file in bytes; None if the origin does not say it.
        resumed: the number of these bytes that an earlier transfer has left here.
    """

    identifier: Identifier
    file: str
    origin: str
    size: int | None
    resumed: int


class Received(msgspec.Struct, frozen=True):
    """The arrival of `count` more bytes of a file."""

    identifier: Identifier
    count: int


class Waiting(msgspec.Struct, frozen=True):
    """A pause of `seconds` in the work on a file, and its reason; 0 if the duration is not known."""

    identifier: Identifier
    file: str
    reason: str
    seconds: float


class Refused(msgspec.Struct, frozen=True):
    """The refusal of an origin's answer. Another try follows if one is left."""

    identifier: Identifier
    file: str
    origin: str
    outcome: str


class Fetched(msgspec.Struct, frozen=True):
    """The success of a fetch: the file is in the store and recorded.

    Attributes:
        seconds: of asking origins for it and receiving it; not those of waiting for their turn.
        checks: the checks that it passed, as in its record.
        accepted: the findings that would have refused it, and that the user accepted; empty if there are none.
        findings: those that did not refuse it.
    """

    identifier: Identifier
    file: str
    blob: Descriptor
    origin: str
    seconds: float
    checks: tuple[Check, ...]
    accepted: str
    findings: tuple[str, ...] = ()


class Present(msgspec.Struct, frozen=True):
    """The discovery that another process has fetched a file meanwhile."""

    identifier: Identifier
    file: str
    blob: Descriptor


class Failed(msgspec.Struct, frozen=True):
    """The failure of a fetch: no origin delivered the file."""

    identifier: Identifier
    file: str


class BytesRead(msgspec.Struct, frozen=True):
    """The reading of `count` more bytes of files on this host. Any thread may report it."""

    count: int


class Remarked(msgspec.Struct, frozen=True):
    """A remark that concerns no file in particular, made once, and a hint about it (empty if there is none)."""

    text: str
    hint: str = ""


Event = Started | Received | Waiting | Refused | Fetched | Present | Failed | BytesRead | Remarked
Listener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Do nothing with `event`."""
