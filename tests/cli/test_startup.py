"""Start-up: commands import the modules that they need, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BRAIN

from antscache.hook.hook import INJECT_DIRECTORY

if TYPE_CHECKING:
    from support import AntsCache

HEAVY_MODULES = ("filelock", "requests", "rich", "tensorflow", "urllib3", "antspynet", "h5py")


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
    assert imported("-c", "import antscache").isdisjoint(HEAVY_MODULES)


def test_commands_without_a_fetch_import_nothing_heavy(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    for arguments in (
        ["path", "0.3.2"],
        ["path", "0.3.2", "--digest"],
        ["key", "0.3.2"],
        ["lock", "0.3.2", "-o", "-"],
        ["prefetch", "0.3.2", "--name", BRAIN],
        ["list", "0.3.2"],
        ["status"],
        ["verify"],
        ["gc"],
    ):
        modules = imported("-m", "antscache", *arguments, env=antscache.environment())
        assert modules.isdisjoint(HEAVY_MODULES), arguments


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
        (["status", "-q"], ["list", "status"]),  # whose lines it prints
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


def modules_at_start(**more: str) -> set[str]:
    """Return the modules that an interpreter imports which does nothing."""
    return imported("-c", "pass", env={"PATH": os.environ["PATH"], **more})


def test_hook_costs_other_processes_one_small_module() -> None:
    """Other processes are those that never import antspynet."""
    hooked = {"PYTHONPATH": str(INJECT_DIRECTORY), "ANTSCACHE_HOOK": "1", "ANTSCACHE_COMMAND": "[]"}
    assert {"antscache_hook"} <= modules_at_start(**hooked) - modules_at_start() <= {"antscache_hook", "__future__"}
