"""The installed antspynet or antspyx: found by asking an interpreter, never by importing the package.

`find_spec` of the top-level package runs none of its code; `find_spec` of a submodule would import TensorFlow (field
notes, "Reading the identifiers of an installed package").
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from antscache.core import Package

IMPORT_NAMES: dict[Package, str] = {"antspynet": "antspynet", "antspyx": "ants"}
PYTHON_TIMEOUT_SECONDS = 60  # an interpreter on a slow network filesystem takes long to start

# Comes first: a module in the working directory, such as a `json.py`, is not imported, nor is an `antspynet` there an
# installation. Python puts an empty entry for that directory before all others.
OFF_THE_PATH = "import sys; sys.path[:] = [entry for entry in sys.path if entry]"

# Runs in any Python from 3.8 on.
PROBE = """
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec(sys.argv[1])
locations = list(spec.submodule_search_locations or []) if spec else []
try:
    version = importlib.metadata.version(sys.argv[2])
except importlib.metadata.PackageNotFoundError:
    version = None
print(json.dumps({"directory": locations[0] if locations else None, "version": version}))
"""


class _Answer(msgspec.Struct):
    """The output of the probe."""

    directory: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed package.

    Attributes:
        python: the interpreter that was asked.
        directory: the directory that holds the package's directory (`site-packages`).
        version: the version in its metadata; None if it has none.
    """

    python: Path
    directory: Path
    version: str | None


def find_installation(
    package: Package, python: Path | None, environ: Mapping[str, str] = os.environ
) -> Installation | None:
    """Find the `package` of `python`, or of the current environment; return None if it is not installed there.

    The current environment is the first one with the package among `VIRTUAL_ENV`, `CONDA_PREFIX`, that of `python` on
    the PATH, and antscache's own.

    Raises:
        ManifestError: `python` does not run.
    """
    for candidate in [python] if python else list(dict.fromkeys(_candidates(environ))):
        try:
            installation = _ask(candidate, package)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            if python:
                hint = "give --python the path of a Python interpreter"
                raise ManifestError(f"{python} does not run as a Python: {_reason(error)}", hint=hint) from None
            continue
        if installation:
            return installation
    return None


def _reason(error: Exception) -> str:
    """Describe `error` without the text of the probe, which subprocess's own messages have."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {PYTHON_TIMEOUT_SECONDS} s"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def current_python(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the interpreter of the current environment: the first that exists, in the order of `find_installation`."""
    return next(candidate for candidate in _candidates(environ) if candidate.exists())


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for variable in "VIRTUAL_ENV", "CONDA_PREFIX":
        if environ.get(variable):
            yield Path(environ[variable]) / "bin" / "python"
    for name in "python", "python3":
        if path := shutil.which(name, path=environ.get("PATH")):
            yield Path(path)
    yield Path(sys.executable)


def python_command(python: str | Path, code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` in an interpreter, with no module from the working directory."""
    return [str(python), "-c", f"{OFF_THE_PATH}\n{code}", *arguments]


def ask_python(python: Path, code: str, *arguments: str) -> bytes:
    """Run `code` in an interpreter, with no module from the working directory, and return the last line it prints.

    Raises:
        OSError: there is no such program.
        SubprocessError: it ended with an error, or did not end.
    """
    command = python_command(python, code, *arguments)
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=PYTHON_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
    )
    return done.stdout.strip().rpartition(b"\n")[2]  # sitecustomize may have printed something before


def _ask(python: Path, package: Package) -> Installation | None:
    answer = msgspec.json.decode(ask_python(python, PROBE, IMPORT_NAMES[package], package), type=_Answer)
    return Installation(python, Path(answer.directory).parent, answer.version) if answer.directory else None
