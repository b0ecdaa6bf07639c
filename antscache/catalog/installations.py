"""Which antspynet or antspyx is installed here: found by asking an interpreter, never by importing the package.

`find_spec` of the top-level package runs none of its code; of a submodule it would import TensorFlow (field notes,
"Reading the identifiers of an installed package").
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

IMPORTED: dict[Package, str] = {"antspynet": "antspynet", "antspyx": "ants"}
PATIENCE = 60  # seconds for an interpreter on a slow network filesystem to start

# Runs in any Python from 3.8 on, with the working directory off the path: a directory `antspynet` that happens to be
# there is no installation.
PROBE = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
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
    """What the probe prints."""

    directory: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed package.

    Attributes:
        directory: the directory that holds the package's directory (`site-packages`).
        version: what its metadata says; None without metadata.
    """

    python: Path
    directory: Path
    version: str | None


def find_installation(
    package: Package, python: Path | None, environ: Mapping[str, str] = os.environ
) -> Installation | None:
    """The `package` of `python`, or of the current environment; None if it is not installed there.

    The current environment is the first that has it of `VIRTUAL_ENV`, `CONDA_PREFIX`, `python` on the PATH, and
    antscache's own.

    Raises:
        ManifestError: `python` does not run.
    """
    for candidate in [python] if python else list(dict.fromkeys(_candidates(environ))):
        try:
            found = _ask(candidate, package)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            if python:
                hint = "give --python the interpreter of the environment that is meant"
                raise ManifestError(f"{python} does not run as a Python: {error}", hint=hint) from None
            continue
        if found:
            return found
    return None


def current_python(environ: Mapping[str, str] = os.environ) -> Path:
    """The interpreter of the current environment: the first that is there, in the order above."""
    return next(candidate for candidate in _candidates(environ) if candidate.exists())


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for variable in "VIRTUAL_ENV", "CONDA_PREFIX":
        if environ.get(variable):
            yield Path(environ[variable]) / "bin" / "python"
    for name in "python", "python3":
        if found := shutil.which(name, path=environ.get("PATH")):
            yield Path(found)
    yield Path(sys.executable)


def _ask(python: Path, package: Package) -> Installation | None:
    command = [str(python), "-c", PROBE, IMPORTED[package], package]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    last = answer.stdout.strip().rpartition(b"\n")[2]  # sitecustomize may have talked before
    found = msgspec.json.decode(last, type=_Answer)
    return Installation(python, Path(found.directory).parent, found.version) if found.directory else None
