"""Run all checks of this machine's set-up in turn.

Each check looks at one thing and yields findings. Checks change nothing, with one exception: the check of the
filesystem makes a few files with random names in `ingest/` and deletes them again. If the process is killed meanwhile,
a garbage collection deletes them, as it deletes any abandoned ingest.

The set-up may be broken in ways that no check expects. So a check that fails becomes a finding, and so does a check
that does not end, for example on a network filesystem whose server is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from antscache import config
from antscache.doctor.filesystem import check_abilities
from antscache.doctor.finding import Finding, error
from antscache.doctor.home import check_home
from antscache.doctor.host import Host
from antscache.doctor.installation import check_installation, check_versions
from antscache.doctor.lower_caches import check_lowers
from antscache.doctor.origins import check_origins
from antscache.doctor.patience import run_jobs
from antscache.doctor.permissions import check_owners
from antscache.doctor.root import check_leftovers, check_records, check_root, check_space, check_views
from antscache.errors import AntsCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from antscache.config import Settings

    Check = Callable[[Host], Iterator[Finding]]

CHECK_TIMEOUT_SECONDS = 120.0  # an interpreter on a slow network filesystem takes up to a minute to start


class Examination(NamedTuple):
    """A check and its name. One that needs a sound root is left out if `check_root` finds an error."""

    name: str
    check: Check
    needs_sound_root: bool = False


EXAMINATIONS = (
    Examination("root", check_root),
    Examination("owners", check_owners),
    Examination("abilities", check_abilities, needs_sound_root=True),
    Examination("views", check_views, needs_sound_root=True),
    Examination("space", check_space, needs_sound_root=True),
    Examination("records", check_records, needs_sound_root=True),
    Examination("leftovers", check_leftovers, needs_sound_root=True),
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
    timeout: float = CHECK_TIMEOUT_SECONDS,
) -> Iterator[Finding]:
    """Check this machine's set-up, and yield each finding as soon as it is known. Never raises.

    Args:
        flags: settings, as `config.load` takes them.
        python: the interpreter whose antspynet is examined; by default that of the current environment.
        deep: read all files in `~/.keras/ANTsXNet` completely, however many gigabytes they have.
        timeout: seconds for each check. With `deep`, the check of `~/.keras/ANTsXNet` has no limit.
    """
    yield from _run("versions", lambda: check_versions(), timeout)  # noqa: PLW0108  yields nothing until called
    settings: list[Settings] = []
    yield from _run("settings", lambda: _load(flags, settings), timeout)
    if not settings:
        return
    host = Host(settings[0], python, deep=deep)
    root_is_sound = True
    for name, check, needs_sound_root in EXAMINATIONS:
        if needs_sound_root and not root_is_sound:
            continue
        unlimited = deep and check is check_home
        for finding in _run(name, lambda check=check: check(host), None if unlimited else timeout):  # type: ignore[misc]
            root_is_sound &= not (check is check_root and finding.level == "error")
            yield finding


def _load(flags: Mapping[str, Any], settings: list[Settings]) -> Iterator[Finding]:
    """Append the settings in force to `settings`, and yield no finding."""
    settings.append(config.load(flags))
    yield from ()


def _run(name: str, check: Callable[[], Iterator[Finding]], timeout: float | None) -> Iterator[Finding]:
    """Run `check`, and yield its findings, and one more if it fails or does not end within `timeout` seconds."""
    findings: list[Finding] = []

    def collect() -> None:
        for finding in check():
            findings.append(finding)  # noqa: PERF402  the findings before a failure count

    [outcome] = run_jobs([collect], timeout)
    for finding in [*findings, *_explain_outcome(outcome)]:
        yield msgspec.structs.replace(finding, check=name)


def _explain_outcome(outcome: Exception | None) -> Iterator[Finding]:
    """Yield a finding if `outcome` is an exception."""
    if isinstance(outcome, AntsCacheError):
        yield error(outcome.message, outcome.hint)
    elif isinstance(outcome, TimeoutError):
        remedy = "check whether a filesystem hangs, for example a network filesystem whose server is gone"
        yield error(f"this check {outcome}", remedy)
    elif isinstance(outcome, OSError):
        yield error(f"this check stopped: {outcome}", "check that you may read the path that it names")
    elif outcome is not None:
        remedy = "please report this, and what is special about your machine"
        yield error(f"internal error: {type(outcome).__name__}: {outcome}", remedy)
