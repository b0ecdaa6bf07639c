"""Switch the hook on and off in a whole environment: in every process of its Python.

<site-packages>/antscache_hook.pth    makes each process of the environment use its view, unless ANTSCACHE_HOOK=0
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from antscache.catalog import ask_python
from antscache.errors import AntsCacheError, ManifestError
from antscache.hook.hook import HOOK_MODULE, INJECT_DIRECTORY, command

PTH_NAME = f"{HOOK_MODULE}.pth"
# Python executes this when it starts. If antscache has been removed, it does nothing and says nothing. Paths are bytes:
# as text they could not be decoded in a locale without their letters.
STARTUP_CODE = """\
inject, command = os.fsdecode({inject!r}), tuple(map(os.fsdecode, {command!r}))
if os.path.isfile(os.path.join(inject, "antscache_hook.py")):
    sys.path.insert(0, inject)
    try:
        import antscache_hook
    finally:
        sys.path.remove(inject)
    if antscache_hook.is_on():
        antscache_hook.install(command)
"""
TARGET_PREFIX = "# antscache: "  # of the first line, which Python ignores: a `HookTarget` as JSON follows
# Runs in any Python from 3.8 on.
PROBE_CODE = "import json, sys, sysconfig; print(json.dumps([sys.version_info[:2], sysconfig.get_path('purelib')]))"
OLDEST_PYTHON = (3, 8)


class HookTarget(msgspec.Struct, frozen=True):
    """The antscache that a hook leads to: its `inject/` directory, and the command that calls it."""

    inject: str
    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class HookStatus:
    """An environment and its hook.

    Attributes:
        python: its interpreter.
        file: the `.pth` file of the hook, or the place for it.
        target: the antscache that the hook leads to; None if the hook is not enabled.
    """

    python: Path
    file: Path
    target: HookTarget | None

    @property
    def missing_file(self) -> str | None:
        """A file or directory of antscache that the hook needs and that no longer exists; None if all exist."""
        needed = (self.target.command[0], self.target.inject) if self.target else ()
        return next((path for path in needed if not Path(path).exists()), None)


def status(python: Path) -> HookStatus:
    """Look up the hook in the environment of `python`.

    Raises:
        ManifestError: `python` does not run, or is too old.
    """
    file = _find_site_packages(python) / PTH_NAME
    target = None
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        first_line = file.read_text("utf-8").partition("\n")[0]
        target = msgspec.json.decode(first_line.removeprefix(TARGET_PREFIX), type=HookTarget)
    return HookStatus(python, file, target)


def enable(python: Path) -> HookStatus:
    """Switch the hook on in the environment of `python`, for every process without ANTSCACHE_HOOK=0.

    Raises:
        ManifestError: `python` does not run, or is too old.
        AntsCacheError: its site-packages cannot be written to.
    """
    file = _find_site_packages(python) / PTH_NAME
    target = json.dumps({"inject": str(INJECT_DIRECTORY), "command": command()})
    code = STARTUP_CODE.format(inject=os.fsencode(INJECT_DIRECTORY), command=tuple(map(os.fsencode, command())))
    staged = file.with_name(f".{PTH_NAME}.{os.getpid()}")
    try:
        staged.write_text(f"{TARGET_PREFIX}{target}\nimport os, sys; exec({code!r})\n", "utf-8")
        staged.replace(file)
    except OSError as error:
        with suppress(OSError):
            staged.unlink()
        raise _unwritable(file, error) from None
    return status(python)


def disable(python: Path) -> HookStatus:
    """Remove the hook from the environment of `python`. Without a hook there is nothing to do.

    Raises:
        ManifestError: `python` does not run, or is too old.
        AntsCacheError: its site-packages cannot be written to.
    """
    file = _find_site_packages(python) / PTH_NAME
    try:
        if os.path.lexists(file):  # not before: a filesystem that is read-only refuses anyway
            file.unlink()
    except OSError as error:
        raise _unwritable(file, error) from None
    return status(python)


def _unwritable(file: Path, error: OSError) -> AntsCacheError:
    hint = "use `antscache run` instead, or ask the owner of the environment"
    return AntsCacheError(f"cannot write {file}: {error.strerror}", hint=hint)


def _find_site_packages(python: Path) -> Path:
    """Return the directory of the environment of `python` with its packages, where it reads `.pth` files.

    Raises:
        ManifestError: `python` does not run, or is too old.
    """
    try:
        version, directory = msgspec.json.decode(ask_python(python, PROBE_CODE), type=tuple[list[int], str])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        hint = "give --python the interpreter of your environment"
        raise ManifestError(f"{python} does not run as a Python: {error}", hint=hint) from None
    if tuple(version) < OLDEST_PYTHON:
        raise ManifestError(f"{python} is Python {version[0]}.{version[1]}", hint="the hook needs 3.8 or later")
    return Path(directory)
