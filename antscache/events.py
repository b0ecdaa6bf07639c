"""What happens during a fetch, as values that whoever shows progress can follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antscache.digest import Descriptor
    from antscache.manifest import Identifier


@dataclass(frozen=True, slots=True)
class Started:
    """An origin begins to answer for a file; `size` is what it announces, in bytes."""

    identifier: Identifier
    file: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """`count` more bytes of a file have arrived."""

    identifier: Identifier
    count: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An origin's answer was not taken; another try follows if one is left."""

    identifier: Identifier
    file: str
    origin: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file is in the store and recorded."""

    identifier: Identifier
    file: str
    blob: Descriptor
    origin: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No origin delivered a file."""

    identifier: Identifier
    file: str


Event = Started | Received | Refused | Fetched | Failed
Listener = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Listen to nothing."""
