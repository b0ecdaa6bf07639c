"""Make an unmodified ANTsPyNet use its view, in a process and those that it starts.

    inject/sitecustomize.py    on PYTHONPATH, in the processes that `antscache run` starts

The code that runs in other interpreters is in `inject/`. It calls antscache as a program: `cli/commands/hook.py`
answers.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antscache.config import load, to_environment
from antscache.errors import AntsCacheError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import Release

INJECT_DIRECTORY = Path(__file__).parents[1] / "inject"
HOOK_VARIABLE = "ANTSCACHE_HOOK"
COMMAND_VARIABLE = "ANTSCACHE_COMMAND"
RELEASE_VARIABLE = "ANTSCACHE_RELEASE"
RECORD_VARIABLE = "ANTSCACHE_RECORD"
LOCK_VARIABLE = "ANTSCACHE_LOCK"
HOOK_MODULE = "antscache_hook"
RUN_ANTSCACHE = "from antscache.__main__ import main; main()"


class HookError(AntsCacheError, RuntimeError):
    """A getter of ANTsPyNet's cannot be answered. `inject/` has a class of the same kind for other interpreters."""


def command() -> tuple[str, ...]:
    """Return the words that call this antscache from any working directory."""
    from antscache.catalog import python_command

    script = Path(sys.executable).with_name("antscache")
    return (str(script),) if script.is_file() else tuple(python_command(sys.executable, RUN_ANTSCACHE))


def environment(
    flags: Mapping[str, Any],
    *,
    release: Release | None = None,
    record: Path | None = None,
    lockfile: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the environment variables that make the ANTsPyNet of a process, and of its children, use its view.

    They name the root and the lower caches of now: another working directory or HOME does not change them.

    Args:
        flags: settings of the process.
        release: the release whose view it uses; by default the one that `environ` names, or else the installation's.
        record: the file for the record of all entries that were asked for; %p in its name becomes the process's number.
        lockfile: the process gets exactly the files of this lockfile, and nothing is fetched.
        environ: the variables to begin with.

    Raises:
        ConfigError: a setting cannot be used, or a variable cannot hold it.
    """
    settings = load({**flags, "offline": True} if lockfile else flags, environ)
    theirs = environ["PYTHONPATH"].split(os.pathsep) if environ.get("PYTHONPATH") else []
    inject = str(INJECT_DIRECTORY)
    if os.pathsep in inject:
        hint = f"install antscache in a directory without {os.pathsep} in its path"
        raise ConfigError(f"PYTHONPATH cannot name {inject}, so that CMD would not use its view", hint=hint)
    resolved = {"root": settings.root, "site_dirs": settings.site_dirs or None, "offline": settings.offline or None}
    variables = {
        **environ,
        **to_environment({**flags, **resolved}),
        "PYTHONPATH": os.pathsep.join([inject, *(path for path in theirs if path != inject)]),
        COMMAND_VARIABLE: json.dumps(command()),
        HOOK_VARIABLE: "1",
    }
    if release:
        variables[RELEASE_VARIABLE] = str(release)
    if record:
        variables[RECORD_VARIABLE] = str(record.absolute())
    if lockfile:
        variables[LOCK_VARIABLE] = str(lockfile.absolute())
    return variables


def activate(flags: Mapping[str, Any], *, release: Release | None = None, record: Path | None = None) -> None:
    """Make ANTsPyNet use its view, in this process and in those that it starts from now on.

    An ANTsPyNet that has been imported already uses it too. For the arguments see `environment`.

    Raises:
        ConfigError: a setting cannot be used.
        ImportError: the ANTsPyNet that has been imported cannot be directed to a view; nothing has changed.
    """
    variables = environment(flags, release=release, record=record)
    load_hook_module().install(command(), variables, HookError)
    os.environ.update(variables)


def load_hook_module() -> Any:
    """Import `inject/antscache_hook.py` into this process, or return it if the process has the hook already."""
    if module := sys.modules.get(HOOK_MODULE):
        return module
    spec = spec_from_file_location(HOOK_MODULE, INJECT_DIRECTORY / f"{HOOK_MODULE}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{INJECT_DIRECTORY} is not complete: install antscache again")
    sys.modules[HOOK_MODULE] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
