"""Shared by all tests: antscache as a process, a few entries of a release, and skipping with a reason."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

from antscache.testing import content

REPOSITORY = Path(__file__).parents[2]
SIZE = 4_000  # bytes of a file that the stand-in makes

# A few entries of antspynet==0.3.2, so that most tests fetch little: two networks, a template, a transform.
BRAIN, LUNG, TEMPLATE, TRANSFORM = (
    "brainExtractionRobustT1",
    "xrayLungExtraction",
    "S_template3",
    "magetCerebellumxTemplate0GenericAffine",
)
HANG_SECONDS = 600  # a process that takes longer hangs, however loaded the machine is
FEW = {"34821874": f"{BRAIN}.h5", "41965818": f"{LUNG}.h5", "22597175": f"{TEMPLATE}.nii.gz"}


@dataclass
class Ran:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def succeeded(self) -> Ran:
        assert self.code == 0, self.err
        return self


@dataclass
class AntsCache:
    """antscache as a process of its own, with nothing of the developer's own set-up in its environment."""

    root: Path
    home: Path
    origins: str = ""
    environ: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str | Path) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "COVERAGE_PROCESS_CONFIG") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "ANTSCACHE_DIR": str(self.root),
            "ANTSCACHE_ORIGINS": self.origins,
            "PIP_NO_INDEX": "1",
            "PYTHONFAULTHANDLER": "1",
            "no_proxy": "*",
            **self.environ,
            **{key: str(value) for key, value in more.items()},
        }

    def unmeasured(self, **more: str | Path) -> dict[str, str]:
        """Return the environment for another user's process, which cannot write coverage's data into our directory."""
        return {key: value for key, value in self.environment(**more).items() if not key.startswith("COVERAGE")}

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "antscache", *map(str, arguments)]

    def __call__(self, *arguments: str | Path, timeout: float = HANG_SECONDS, **environ: str | Path) -> Ran:
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            env=self.environment(**environ),
            cwd=self.home,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)


def require(program: str) -> str:
    """Return the path of `program`; without it skip the test, or fail it where everything is required (in CI)."""
    path = shutil.which(program)
    if path is None:
        cannot(f"{program} is not installed (`make test-all` installs it on Debian)")
    return path


def cannot(reason: str) -> NoReturn:
    """Skip the test for `reason`; fail where everything is required: ANTSCACHE_TESTS_REQUIRED=1, as in CI."""
    if os.environ.get("ANTSCACHE_TESTS_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def mirror_of_pcasl() -> str:
    """Return a mirror (a directory that lasts as long as this process) of antspyx's pcasl, which is not at Figshare."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)  # other users ask it too
    (directory / "pcasl.nii.gz").write_bytes(content("1862041", "pcasl.nii.gz", SIZE))
    return f"{directory.as_uri()}/{{file}}"


def hard_links_work(directory: Path) -> bool:
    """Return True if the filesystem of `directory` makes hard links."""
    (one := directory / "one").touch()
    try:
        (directory / "two").hardlink_to(one)
    except OSError:
        return False
    (directory / "two").unlink()
    return True


def snapshot(root: Path) -> dict[str, bytes | str]:
    """Return every file below `root` with its content, for a comparison; but for locks, which hold nothing."""
    contents: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        if path.parent.name == "locks":
            continue
        if path.is_symlink():
            contents[str(path.relative_to(root))] = str(path.readlink())
        elif path.is_file():
            contents[str(path.relative_to(root))] = path.read_bytes()
    return contents
