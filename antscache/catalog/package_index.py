"""The package index: a release's artifact through pip, with the user's own pip configuration.

pip uses the proxies, certificates, mirrors and credentials that the user has configured, so antscache needs no such
settings of its own. pip cannot download an sdist without running its build backend, as `pip install` would; so that is
done only where the user allows it.
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

SDIST_HINT = (
    "; if this one has an sdist alone, download that and name it with --from, and nothing in it is run; or add "
    "--allow-build, and pip builds it, which runs its code"
)
RUN_PIP = "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)"  # as `python -m pip` does


@contextmanager
def download(release: Release, *options: str, allow_build: bool = False) -> Iterator[Path]:
    """Download the wheel of `release` into a temporary directory, which is deleted at the end.

    Args:
        release: the release to download.
        options: more options of pip, such as the platform of the wheel.
        allow_build: True if it may be an sdist, which pip then builds.

    Raises:
        ManifestError: there is no pip here, or pip does not find the release.
    """
    with tempfile.TemporaryDirectory(prefix="antscache-") as directory:
        # --ignore-requires-python: the artifact is read, not installed.
        quietly = ["--no-deps", "--ignore-requires-python", "--no-input", "--disable-pip-version-check", "--quiet"]
        wheels = [] if allow_build else ["--only-binary=:all:"]
        command = [*_pip(), "download", *quietly, *wheels, *options, "--dest", directory, str(release)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        files = sorted(Path(directory).iterdir())
        if done.returncode or len(files) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip download failed"]
            wanted = release if allow_build else f"a wheel of {release}"
            raise ManifestError(
                f"cannot get {wanted} from the package index; pip says: {errors[-1].removeprefix('ERROR: ')}",
                hint=f"`antscache releases` lists known releases{'' if allow_build else SDIST_HINT}",
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
