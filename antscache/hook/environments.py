"""Switch the hook on and off in a whole environment, for whoever starts its Python.

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

from antscache.errors import AntsCacheError, ManifestError
from antscache.hook.hook import INJECT, MODULE, command

FILE = f"{MODULE}.pth"
PATIENCE = 60  # seconds for an interpreter on a slow network filesystem to start
# What Python executes when it starts. Where antscache has gone, nothing happens and nothing is said. Paths are bytes:
# in a locale without their letters they would be none as text.
CODE = """\
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
SAYS = "# antscache: "  # and what is in it: the first line, which Python passes over
# Runs in any Python from 3.8 on.
PROBE = "import json, sys, sysconfig; print(json.dumps([sys.version_info[:2], sysconfig.get_path('purelib')]))"
OLDEST = (3, 8)


class Enabled(msgspec.Struct, frozen=True):
    """What a hook leads to: the directory of what is injected, and how antscache is called."""

    inject: str
    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Hooked:
    """An environment and its hook.

    Attributes:
        python: its interpreter.
        file: where the hook is, or would be.
        enabled: what is in it; None where it is not enabled.
    """

    python: Path
    file: Path
    enabled: Enabled | None

    @property
    def gone(self) -> str | None:
        """What of antscache the hook needs and is not there any more."""
        needed = (self.enabled.command[0], self.enabled.inject) if self.enabled else ()
        return next((each for each in needed if not Path(each).exists()), None)


def status(python: Path) -> Hooked:
    """How it stands with the environment of `python`.

    Raises:
        ManifestError: `python` does not run, or is too old.
    """
    file = _site_packages(python) / FILE
    enabled = None
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        enabled = msgspec.json.decode(file.read_text("utf-8").partition("\n")[0].removeprefix(SAYS), type=Enabled)
    return Hooked(python, file, enabled)


def enable(python: Path) -> Hooked:
    """In the environment of `python` the hook is on, for every process that does not say ANTSCACHE_HOOK=0.

    Raises:
        ManifestError: `python` does not run, or is too old.
        AntsCacheError: its site-packages cannot be written to.
    """
    file = _site_packages(python) / FILE
    says = json.dumps({"inject": str(INJECT), "command": command()})
    code = CODE.format(inject=os.fsencode(INJECT), command=tuple(map(os.fsencode, command())))
    staged = file.with_name(f".{FILE}.{os.getpid()}")
    try:
        staged.write_text(f"{SAYS}{says}\nimport os, sys; exec({code!r})\n", "utf-8")
        staged.replace(file)
    except OSError as error:
        with suppress(OSError):
            staged.unlink()
        raise _unwritable(file, error) from None
    return status(python)


def disable(python: Path) -> Hooked:
    """In the environment of `python` nothing of the hook is left.

    Raises:
        ManifestError: `python` does not run, or is too old.
        AntsCacheError: its site-packages cannot be written to.
    """
    file = _site_packages(python) / FILE
    try:
        if os.path.lexists(file):  # not before: a filesystem that is read-only refuses anyway
            file.unlink()
    except OSError as error:
        raise _unwritable(file, error) from None
    return status(python)


def _unwritable(file: Path, error: OSError) -> AntsCacheError:
    hint = "use `antscache run` instead, or ask whoever owns the environment"
    return AntsCacheError(f"cannot write {file}: {error.strerror}", hint=hint)


def _site_packages(python: Path) -> Path:
    """Where the environment of `python` has its packages, and reads `.pth` files."""
    try:
        done = subprocess.run(
            [str(python), "-c", PROBE], capture_output=True, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
        version, directory = msgspec.json.decode(done.stdout.strip().rpartition(b"\n")[2], type=tuple[list[int], str])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        hint = "give --python the interpreter of the environment that is meant"
        raise ManifestError(f"{python} does not run as a Python: {error}", hint=hint) from None
    if tuple(version) < OLDEST:
        raise ManifestError(f"{python} is Python {version[0]}.{version[1]}", hint="the hook needs 3.8 or later")
    return Path(directory)
