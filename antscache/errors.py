"""The errors that antscache raises. Each one says what happened, to what and where, and has a hint about the next step.

Each family has its own exit code. `str()` of an error never contains a traceback, a token or a signed URL.

| code | family         | the command failed because                                      |
|------|----------------|-----------------------------------------------------------------|
| 1    | AntsCacheError | of another error                                                |
| 2    | ConfigError    | a flag, a variable or `antscache.toml` cannot be used           |
| 3    | ManifestError  | a release, name, source or lockfile does not exist, or is wrong |
| 4    | FetchError     | no origin delivered a file                                      |
| 5    | IntegrityError | bytes differ from the recorded ones                             |
| 6    | StoreError     | the root cannot be read or written                              |
| 7    | ViewError      | a view cannot be made or does not exist                         |
| 9    | Offline        | files are missing and nothing may be fetched                    |
| 130  |                | it was interrupted by Ctrl-C                                    |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

UNTRUSTED_CERTIFICATE = "TLS failed"  # an attempt's outcome then, followed by the words of OpenSSL
MAX_LISTED_ITEMS = 5  # failures or names in one message; the others are counted


class AntsCacheError(Exception):
    """An error that the user can do something about.

    Args:
        message: what happened, to what, and where.
        details: a line for each, below the message.

    Attributes:
        message: as given. `str()` of the error has the details as well.
        details: as given.
        hint: the next step for the user; may be empty.
        exit_code: of the command line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, details: Sequence[str] = (), hint: str = "") -> None:
        super().__init__("\n".join([message, *details]))
        self.message, self.details, self.hint = message, tuple(details), hint
        if hint and hasattr(self, "add_note"):  # from Python 3.11 on, which prints notes below an error
            self.add_note(f"hint: {hint}")


class ConfigError(AntsCacheError):
    """A flag, an environment variable or a configuration file cannot be used."""

    exit_code = 2


class ManifestError(AntsCacheError):
    """There is no such release or name, or a source or a lockfile is not understood or does not fit."""

    exit_code = 3


class StoreError(AntsCacheError):
    """The root cannot be read or written. It still holds all that it held before."""

    exit_code = 6


class ViewError(AntsCacheError):
    """A view cannot be made, or does not exist."""

    exit_code = 7


class Offline(AntsCacheError):  # noqa: N818  the architecture's word
    """Files are missing and nothing may be fetched."""

    exit_code = 9


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to get a file from an origin, and its outcome."""

    origin: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that no origin delivered, and all attempts to get it."""

    identifier: str
    file: str
    release: str
    attempts: tuple[Attempt, ...]

    def lines(self) -> list[str]:
        """Return the lines of a message: the file, and below it each attempt."""
        width = max((len(attempt.origin) for attempt in self.attempts), default=0)
        attempts = (
            f"  {attempt.origin:<{width}}  {attempt.outcome}" + (f" ({times} times)" if times > 1 else "")
            for attempt, times in Counter(self.attempts).items()
        )
        return [f"{self.identifier} ({self.file} of {self.release})", *attempts]


class FetchError(AntsCacheError):
    """No origin delivered some files; the others are kept.

    Attributes:
        failures: the files, each with all attempts to get it.
    """

    exit_code = 4

    def __init__(self, failures: Sequence[Failure], *, hint: str = "") -> None:
        self.failures = tuple(failures)
        lines = [line for failure in self.failures[:MAX_LISTED_ITEMS] for line in failure.lines()]
        if len(self.failures) > MAX_LISTED_ITEMS:
            lines.append(f"... and {len(self.failures) - MAX_LISTED_ITEMS} more")
        if len(self.failures) > 1:
            lines.insert(0, f"{len(self.failures)} files:")
        super().__init__(f"no origin delivered {lines[0]}", details=lines[1:], hint=hint)


class IntegrityError(AntsCacheError):
    """Bytes differ from those that a record names; the store is unchanged."""

    exit_code = 5
