"""Start-up: what is imported, and what is not."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import BRAIN

from antscache.hook.hook import INJECT

if TYPE_CHECKING:
    from support import AntsCache

HEAVY = ("filelock", "requests", "rich", "tensorflow", "urllib3", "antspynet", "h5py")


def imported(*arguments: str, **options: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in lines}


def test_importing_antscache_imports_nothing_heavy() -> None:
    assert imported("-c", "import antscache").isdisjoint(HEAVY)


def test_what_fetches_nothing_imports_nothing_heavy(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    for arguments in (
        ["path", "0.3.2"],
        ["prefetch", "0.3.2", "--name", BRAIN],
        ["list", "0.3.2"],
        ["status"],
        ["verify"],
        ["gc"],
    ):
        found = imported("-m", "antscache", *arguments, env=antscache.environment())
        assert found.isdisjoint(HEAVY), arguments


VERBS_IMPORTED = """
import sys
from antscache.cli import main
try:
    main() if sys.argv[1:] else None
finally:
    print(*sorted(name for name in sys.modules if name.startswith("antscache.cli.commands.")), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "verbs"),
    [
        ([], []),
        (["--version"], []),
        (["path", "--root"], ["path"]),
        (["prune", "--dry-run"], ["gc"]),
        (["container-args", "--help"], ["container_args"]),
        (["hook", "status"], ["hook"]),
        (["status"], ["list", "status"]),  # whose lines it prints
    ],
)
def test_a_verb_is_imported_when_it_is_called(antscache: AntsCache, arguments: list[str], verbs: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VERBS_IMPORTED, *arguments],
        env=antscache.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == [f"antscache.cli.commands.{verb}" for verb in verbs]


@pytest.mark.slow
@pytest.mark.timed
def test_the_hook_costs_a_process_that_never_imports_antspynet_less_than_five_milliseconds() -> None:
    def seconds(**more: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True, env={"PATH": os.environ["PATH"], **more})
        return time.perf_counter() - begun

    hooked = {"PYTHONPATH": str(INJECT), "ANTSCACHE_HOOK": "1", "ANTSCACHE_COMMAND": "[]"}
    assert statistics.median(seconds(**hooked) - seconds() for _ in range(60)) < 0.005
