"""What is wrong with this machine's set-up, and what to do about it.

Each check looks at one thing and yields findings. None changes anything, but for a few files of random names in
`ingest/` that are gone when the check ends; a process that is killed leaves them to a garbage
collection, as any ingest.

A machine that needs a doctor is one where things are not as anybody thought: a check that fails is a finding, and so is
one that does not end, as on a network filesystem whose server has gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from antscache import config
from antscache.doctor.filesystem import check_abilities
from antscache.doctor.finding import Finding, error, plain
from antscache.doctor.home import check_home
from antscache.doctor.host import Host
from antscache.doctor.installation import check_installation, check_versions
from antscache.doctor.lower_caches import check_lowers
from antscache.doctor.origins import check_origins
from antscache.doctor.patience import outcomes
from antscache.doctor.permissions import check_owners
from antscache.doctor.root import check_leftovers, check_root, check_space
from antscache.errors import AntsCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from antscache.config import Settings

    Check = Callable[[Host], Iterator[Finding]]

PATIENCE = 120.0  # seconds for a check: an interpreter on a slow network filesystem takes up to a minute to start


class Examination(NamedTuple):
    """A check by its name; `sound`: only of a root that `check_root` found no error in."""

    name: str
    check: Check
    sound: bool = False


EXAMINATIONS = (
    Examination("root", check_root),
    Examination("owners", check_owners),
    Examination("abilities", check_abilities, sound=True),
    Examination("space", check_space, sound=True),
    Examination("leftovers", check_leftovers, sound=True),
    Examination("lower caches", check_lowers),
    Examination("installation", check_installation),
    Examination("home", check_home),
    Examination("origins", check_origins),
)


def examine(
    flags: Mapping[str, Any],
    *,
    python: Path | None = None,
    deep: bool = False,
    patience: float = PATIENCE,
) -> Iterator[Finding]:
    """What there is to say of this machine's set-up, each finding as soon as it is there. Never raises.

    Args:
        flags: settings, as `config.load` takes them.
        python: the interpreter whose antspynet is meant; without, the current environment's.
        deep: read all of the files in the home, however many gigabytes they are.
        patience: seconds for each check; what is read with `deep` has no limit.
    """
    yield from _examined("versions", lambda: check_versions(), patience)  # noqa: PLW0108  yields nothing until called
    settings: list[Settings] = []
    yield from _examined("settings", lambda: _load(flags, settings), patience)
    if not settings:
        return
    host = Host(settings[0], python, deep=deep)
    sound = True
    for name, check, needs_sound in EXAMINATIONS:
        if needs_sound and not sound:
            continue
        unlimited = deep and check is check_home
        for finding in _examined(name, lambda check=check: check(host), None if unlimited else patience):  # type: ignore[misc]
            sound &= not (check is check_root and finding.level == "error")
            yield finding


def _load(flags: Mapping[str, Any], settings: list[Settings]) -> Iterator[Finding]:
    """Put the settings in force into `settings`; nothing is found where that goes well."""
    settings.append(config.load(flags))
    yield from ()


def _examined(name: str, check: Callable[[], Iterator[Finding]], patience: float | None) -> Iterator[Finding]:
    """What a check finds, and how it ended where that is a finding as well."""
    found: list[Finding] = []

    def run() -> None:
        for finding in check():
            found.append(finding)  # noqa: PERF402  what was found before it failed counts

    [outcome] = outcomes([run], patience)
    for finding in [*found, *_ending(outcome)]:
        yield msgspec.structs.replace(finding, check=name, what=plain(finding.what), remedy=plain(finding.remedy))


def _ending(outcome: Exception | None) -> Iterator[Finding]:
    if isinstance(outcome, AntsCacheError):
        yield error(str(outcome), outcome.hint)
    elif isinstance(outcome, TimeoutError):
        yield error(f"this check did {outcome}", "see whether a filesystem hangs, as one whose server has gone")
    elif isinstance(outcome, OSError):
        yield error(f"this check went no further: {outcome}", "see that you may read what is named")
    elif outcome is not None:
        told = f"this check failed in a way nobody has thought of: {type(outcome).__name__}: {outcome}"
        yield error(told, "report this, and what is special about this machine")
