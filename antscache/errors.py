"""What can go wrong, as values: what happened, to what, where, and what to do next.

Each family has an exit code of its own; `str()` of an error never contains a traceback, a token or a signed URL.

| code | family         | the command failed because                                      |
|------|----------------|-----------------------------------------------------------------|
| 1    | AntsCacheError | of a fact that fits none below                                  |
| 2    | ConfigError    | a flag, a variable or `antscache.toml` cannot be used           |
| 3    | ManifestError  | no such release or name, or a source that is not understood     |
| 4    | FetchError     | no origin delivered                                             |
| 5    | IntegrityError | bytes are not the bytes that were promised                      |
| 6    | StoreError     | the root cannot be read or written                              |
| 7    | ViewError      | a view cannot be made or is not there                           |
| 9    | Offline        | something is missing and nothing may be fetched                 |
| 130  |                | interrupted by Ctrl-C                                           |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 5  # failures spelled out in one message; the rest is counted


class AntsCacheError(Exception):
    """Something the user can do something about.

    Attributes:
        hint: what to do next; may be empty.
        exit_code: what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


class ConfigError(AntsCacheError):
    """A flag, an environment variable or a configuration file cannot be used."""

    exit_code = 2


class ManifestError(AntsCacheError):
    """There is no such release or name, or a source is not understood."""

    exit_code = 3


class StoreError(AntsCacheError):
    """The root cannot be read or written; what it held, it still holds."""

    exit_code = 6


class ViewError(AntsCacheError):
    """A view cannot be made, or is not there."""

    exit_code = 7


class Offline(AntsCacheError):  # noqa: N818  the architecture's word
    """Something is missing and nothing may be fetched."""

    exit_code = 9


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one origin, and how it ended."""

    origin: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that no origin delivered: which one, and every attempt made."""

    identifier: str
    file: str
    release: str
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        width = max((len(attempt.origin) for attempt in self.attempts), default=0)
        lines = [
            f"  {attempt.origin:<{width}}  {attempt.outcome}" + (f" ({times} times)" if times > 1 else "")
            for attempt, times in Counter(self.attempts).items()
        ]
        return "\n".join([f"{self.identifier} ({self.file} of {self.release})", *lines])


class FetchError(AntsCacheError):
    """No origin delivered some files; what was fetched is kept.

    Attributes:
        failures: each file with every attempt made.
    """

    exit_code = 4

    def __init__(self, failures: Sequence[Failure], *, hint: str = "") -> None:
        self.failures = tuple(failures)
        told = [str(failure) for failure in self.failures[:SHOWN]]
        if len(self.failures) > SHOWN:
            told.append(f"... and {len(self.failures) - SHOWN} more")
        if len(self.failures) > 1:
            told.insert(0, f"{len(self.failures)} files:")
        super().__init__("no origin delivered " + "\n".join(told), hint=hint)


class IntegrityError(AntsCacheError):
    """Bytes are not the bytes that a record promises; the store is unchanged."""

    exit_code = 5
