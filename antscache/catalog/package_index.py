"""The package index: a release's artifact through pip, with the user's own pip configuration.

pip uses the proxies, certificates, mirrors and credentials that the user has configured, so antscache needs no such
settings of its own. For an sdist, pip runs its build backend to learn its metadata, as `pip install` would.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.catalog.installations import python_command
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Release

RUN_PIP = "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)"  # as `python -m pip` does


@contextmanager
def download(release: Release, *options: str) -> Iterator[Path]:
    """Download the wheel or sdist of `release` into a temporary directory, which is deleted at the end.

    Args:
        release: the release to download.
        options: more options of pip, such as the platform of the wheel.

    Raises:
        ManifestError: there is no pip here, or pip does not find the release.
    """
    with tempfile.TemporaryDirectory(prefix="antscache-") as directory:
        # --ignore-requires-python: the artifact is read, not installed.
        quietly = ["--no-deps", "--ignore-requires-python", "--no-input", "--disable-pip-version-check", "--quiet"]
        command = [*_pip(), "download", *quietly, *options, "--dest", directory, str(release)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        files = sorted(Path(directory).iterdir())
        if done.returncode or len(files) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip download failed"]
            raise ManifestError(
                f"cannot get {release} from the package index; pip says: {errors[-1].removeprefix('ERROR: ')}",
                hint="`antscache releases` lists known releases; --from PATH reads a wheel, an sdist or a source tree",
            )
        yield files[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return python_command(sys.executable, RUN_PIP)
    for name in "pip", "pip3":  # antscache's own environment has none under uv and pipx
        if path := shutil.which(name):
            return [path]
    raise ManifestError(
        "antscache needs pip to read the package index, and there is no pip here",
        hint="install pip, or download the release yourself and name the file with --from",
    )
