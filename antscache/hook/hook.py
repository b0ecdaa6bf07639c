"""Make an unmodified ANTsPyNet look into its view, in a process and those it starts.

    inject/sitecustomize.py    on PYTHONPATH, in what `antscache run` starts

What runs in other interpreters is in `inject/`. It asks by calling antscache: `cli/commands/hook.py`.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antscache.config import load, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import Release

INJECT = Path(__file__).parents[1] / "inject"
HOOK, COMMAND, RELEASE, RECORD = "ANTSCACHE_HOOK", "ANTSCACHE_COMMAND", "ANTSCACHE_RELEASE", "ANTSCACHE_RECORD"
MODULE = "antscache_hook"


def command() -> tuple[str, ...]:
    """How this antscache is called, from wherever."""
    script = Path(sys.executable).with_name("antscache")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "antscache")


def environment(
    flags: Mapping[str, Any],
    *,
    release: Release | None = None,
    record: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """`environ` for a process whose ANTsPyNet uses its view, and so do those that it starts.

    Args:
        flags: settings that it is to have. Its root and lower caches are today's, wherever it goes and its HOME is.
        release: whose view it is to be; without, as `environ` says, or that of the installation that is imported.
        record: the file to note in what was asked for; %p in its name becomes the process's number.
        environ: what is kept otherwise.

    Raises:
        ConfigError: a setting cannot be used.
    """
    settings = load(flags, environ)
    theirs = environ["PYTHONPATH"].split(os.pathsep) if environ.get("PYTHONPATH") else []
    made = {
        **environ,
        **written({**flags, "root": settings.root, "site_dirs": settings.site_dirs or None}),
        "PYTHONPATH": os.pathsep.join([str(INJECT), *(each for each in theirs if each != str(INJECT))]),
        COMMAND: json.dumps(command()),
        HOOK: "1",
    }
    if release:
        made[RELEASE] = str(release)
    if record:
        made[RECORD] = str(record.absolute())
    return made


def activate(flags: Mapping[str, Any], *, release: Release | None = None, record: Path | None = None) -> None:
    """This process's ANTsPyNet uses its view, imported or not, and so does that of processes it starts from now on.

    Raises:
        ConfigError: a setting cannot be used.
        ImportError: the ANTsPyNet that is imported is none that can be directed; nothing has changed.
    """
    made = environment(flags, release=release, record=record)
    injected().install(command())
    os.environ.update(made)


def injected() -> Any:
    """The module of `inject/` that a process with the hook has, and this one as well."""
    if found := sys.modules.get(MODULE):
        return found
    spec = spec_from_file_location(MODULE, INJECT / f"{MODULE}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{INJECT} is not whole: install antscache again")
    sys.modules[MODULE] = found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
