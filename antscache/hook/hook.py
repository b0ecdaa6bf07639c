"""What makes an unmodified ANTsPyNet look into its view: in a process and those it starts, or in an environment.

    inject/sitecustomize.py                              on PYTHONPATH, in what `antscache run` starts
    <site-packages>/antscache_hook.pth                   in an environment where the hook is enabled

What runs in other interpreters is in `inject/`. It asks by calling antscache: `cli/commands/hook.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from antscache.config import load, written
from antscache.errors import AntsCacheError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import Release

INJECT = Path(__file__).parents[1] / "inject"
HOOK, COMMAND, RELEASE, RECORD = "ANTSCACHE_HOOK", "ANTSCACHE_COMMAND", "ANTSCACHE_RELEASE", "ANTSCACHE_RECORD"
MODULE = "antscache_hook"
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


# A whole environment


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
