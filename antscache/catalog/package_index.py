"""The package index: a release's artifact through pip, with the user's own pip configuration.

pip knows proxies, certificates, mirrors and credentials as people have set them up; antscache does not repeat that. For
an sdist pip runs its build backend to learn its metadata, as `pip install` would.
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

from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Release


@contextmanager
def download(release: Release, *options: str) -> Iterator[Path]:
    """The wheel or sdist of `release`, in a temporary directory that is gone afterwards.

    Args:
        release: what to get.
        options: more of pip's options, such as the platform whose wheel is meant.

    Raises:
        ManifestError: there is no pip here, or pip does not find the release.
    """
    with tempfile.TemporaryDirectory(prefix="antscache-") as directory:
        # --ignore-requires-python: the artifact is read, not installed.
        quietly = ["--no-deps", "--ignore-requires-python", "--no-input", "--disable-pip-version-check", "--quiet"]
        command = [*_pip(), "download", *quietly, *options, "--dest", directory, str(release)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        files = sorted(Path(directory).iterdir())
        if answer.returncode or len(files) != 1:
            said = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")] or ["pip download failed"]
            raise ManifestError(
                f"the package index has no {release}, as pip says: {said[-1].removeprefix('ERROR: ')}",
                hint="`antscache releases` lists what is at hand; --from PATH reads a wheel, an sdist or a source tree",
            )
        yield files[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in "pip", "pip3":  # antscache's own environment has none under uv and pipx
        if found := shutil.which(name):
            return [found]
    raise ManifestError(
        "the package index is read through pip, and there is none here",
        hint="install pip, or download the release yourself and give it with --from",
    )
