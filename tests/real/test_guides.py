"""Each command of the guides to containers, as it stands, in a clone of this repository.

What is between the commands and the engines adds what this machine's engines ask for, and the stand-in for Figshare.
Images that take minutes are those of the other tests, made by the same recipes of the same image. Images, volumes and
cache mounts get names of the tests' own in place of those in the guides, which people have made for themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from images import AUTHORITIES, OURS, Image, docker, files, plain, with_cache
from sifs import place, sif, sif_with_data
from support import REPOSITORY, AntsCache
from upstream import cut_off, python, weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.testing import StandIn

__all__ = ["cut_off", "docker", "files", "place", "plain", "python", "sif", "sif_with_data", "weights"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.xdist_group("images"), pytest.mark.timeout(1800)]

PAGES = ("docker-with-data", "docker-with-a-cache", "singularity", "no-network")
RECIPES = ("docker/Dockerfile", "docker/with-data.Dockerfile")
TAGS = tuple(f"{OURS}-antspynet:{tag}" for tag in ("0.3.2", "0.3.2-with-data", "0.3.2-brain", "my-with-data"))
MY_SCRIPT = """
import antspynet
print("script ran with", antspynet.get_pretrained_network("brainExtractionRobustT1"))
"""
DOCKER = """\
set -- "${@//my-antspynet:/antspynet:my-}"
set -- "${@//antspynet:/$OURS-antspynet:}"
set -- "${@/source=antsxnet,/source=$OURS-antsxnet,}"
set -- "${@/#antsxnet/$OURS-antsxnet}"
case $1 in
build)
    exec "$ENGINE" build --network host --secret "id=ca,src=$AUTHORITIES" \\
        --build-arg "ANTSCACHE_ORIGINS=$ANTSCACHE_ORIGINS" "${@:2}" ;;
run) [[ " $* " == *" --network "* ]] || exec "$ENGINE" run --network host --env ANTSCACHE_ORIGINS "${@:2}" ;;
esac
exec "$ENGINE" "$@"
"""
SINGULARITY = """\
case "$*" in
"build antspynet.sif singularity/antspynet.def") exec ln "$SIF" antspynet.sif ;;
"build --build-arg install_antsxnet_data=1 "*" antspynet-with-data.sif singularity/antspynet.def")
    exec ln "$SIF_WITH_DATA" antspynet-with-data.sif ;;
esac
exec apptainer "$1" --no-privs "${@:2}"
"""


def commands(page: str) -> str:
    """Return the commands in the page's ```console blocks."""
    blocks = re.findall(
        r"^```console\n(.*?)^```", (REPOSITORY / "docs" / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return "\n".join(line.removeprefix("$ ") for block in blocks for line in block.splitlines())


@pytest.fixture
def clone(place: Path, plain: Image, sif: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of the repository, with a script of the user's, which any user may read."""
    directory = place / f"clone-{request.node.callspec.id}"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, directory / name)
    for recipe in RECIPES:
        (directory / recipe).write_text(
            with_cache((directory / recipe).read_text("utf-8"), plain.docker.cache), "utf-8"
        )
    (directory / "my_script.py").write_text(MY_SCRIPT)
    if not re.search(r"^singularity build", commands(request.node.callspec.id), re.MULTILINE):
        (directory / "antspynet.sif").hardlink_to(sif)  # made elsewhere, and carried over
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def programs(tmp_path: Path, python: Path) -> str:
    """A PATH with antscache, a Python with ANTsPyNet, and the engines."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, text in {"docker": DOCKER, "singularity": SINGULARITY}.items():
        (directory / name).write_text(f"#!/bin/bash\n{text}")
        (directory / name).chmod(0o755)
    (directory / "antscache").symlink_to(Path(sys.executable).with_name("antscache"))
    return f"{directory}:{python.parent}:{os.environ['PATH']}"


@pytest.fixture
def engines(plain: Image, sif: Path, sif_with_data: Path, files: StandIn) -> Iterator[dict[str, str]]:
    """The environment variables for the programs between the commands and the engines."""
    yield {
        **{key: value for key, value in os.environ.items() if key.startswith(("DOCKER", "APPTAINER"))},
        "ANTSCACHE_ORIGINS": files.origins,
        "OURS": OURS,
        "ENGINE": plain.docker.program,
        "DOCKER_BUILDKIT": "1",
        "AUTHORITIES": str(AUTHORITIES),
        "SIF": str(sif),
        "SIF_WITH_DATA": str(sif_with_data),
    }
    for tag in TAGS:
        plain.docker("rmi", tag)
    plain.docker("volume", "rm", f"{OURS}-antsxnet")


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_each_guide_work(
    page: str, clone: Path, programs: str, engines: dict[str, str], antscache: AntsCache
) -> None:
    """As they stand on the page."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(page)],
        cwd=clone,
        env={**antscache.environment(PATH=programs), **engines},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("script ran with") == len(re.findall(r"my_script\.py$", commands(page), re.MULTILINE))
