"""Singularity or Apptainer of this machine, and the images that tests share.

plain.sif       singularity/antspynet.def, from the Docker image without data
with-data.sif   the same recipe, which adds data to plain.sif
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from images import ASK, BUILDING, NAMES, RUNNING
from support import REPOSITORY, Ran, cannot, require

if TYPE_CHECKING:
    from images import Image

    from antscache.testing import StandIn

RECIPE = "singularity/antspynet.def"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
PRIVATE = ("--net", "--network", "none")
UNCOMPRESSED_OPTIONS = "-noD -noF -noI -noX"  # of mksquashfs: compressing a test's image takes too long


@dataclass(frozen=True)
class Sif:
    """An image in a file, and the command that becomes its user; none for this process's own user."""

    file: Path
    who: tuple[str, ...] = ()

    def __call__(self, verb: str, *command: str, options: tuple[str, ...] = (), **environ: str) -> Ran:
        """Run `apptainer VERB` with this image, without a network unless the options ask for one."""
        given = options if "--net" in options or "host" in options else (*PRIVATE, *options)
        given = tuple(word for word in given if word != "host")
        line = [*self.who, "apptainer", verb, *(() if self.who else ("--no-privs",)), *given, self.file, *command]
        kept = {key: value for key, value in os.environ.items() if key.startswith(("PATH", "APPTAINER"))}
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            check=False,
            env={**kept, "HOME": "/nonexistent" if self.who else "/root", **environ},
            cwd="/",
            timeout=RUNNING,
            stdin=subprocess.DEVNULL,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def get(self, network: str, *options: str, **environ: str) -> Ran:
        """Let ANTsPyNet ask for the file of a network, and print its path."""
        return self("run", "-c", ASK.format(network), options=options, **environ)


def built(file: Path, **arguments: str) -> Ran:
    """Build the recipe."""
    told = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    fakeroot = ["--fakeroot"] if os.geteuid() == 0 else []
    done = subprocess.run(
        ["apptainer", "build", *fakeroot, "--mksquashfs-args", UNCOMPRESSED_OPTIONS, *told, file, RECIPE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILDING,
        stdin=subprocess.DEVNULL,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@cache
def made_once() -> Path:
    """Make a directory that every user may read, unlike pytest's, and remove it when this process ends.

    It keeps the images, which take minutes, for all modules: each module that imports a fixture has its own.
    """
    directory = Path(tempfile.mkdtemp(prefix="antscache-singularity-", dir="/var/tmp"))
    directory.chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@pytest.fixture(scope="session")
def place() -> Path:
    return made_once()


@pytest.fixture(scope="session")
def sif(plain: Image, place: Path) -> Path:
    require("apptainer")
    if subprocess.run([*NOBODY, "true"], check=False).returncode:
        cannot("tests cannot run programs as another user here")
    file = place / "plain.sif"
    if not file.exists():
        built(file, BOOTSTRAP="docker-daemon", FROM=plain.tag).succeeded()
    return file


@pytest.fixture(scope="session")
def sif_with_data(sif: Path, place: Path, files: StandIn) -> Path:
    file = place / "with-data.sif"
    if file.exists():
        return file
    data = {"install_antsxnet_data": "1", "ANTSXNET_NAMES": " ".join(NAMES), "ANTSCACHE_ORIGINS": files.origins}
    built(file, BOOTSTRAP="localimage", FROM=str(sif), **data).succeeded()
    return file
