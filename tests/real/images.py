"""Docker as it is here, and the images that tests share.

antscache-test:0.3.2            docker/Dockerfile with the real ANTsPyNet, no data
antscache-test:0.3.2-with-data  the same with the files that its brain_extraction and lung_extraction ask for
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, LUNG, REPOSITORY, TEMPLATE, Ran, cannot

from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")  # this host's, which may have one that images do not
BASE = "python:3.11-slim-bookworm"
PLAIN, WITH_DATA = "antscache-test:0.3.2", "antscache-test:0.3.2-with-data"
NAMES = (BRAIN, TEMPLATE, LUNG, "xrayLungPriors")
BUILDING, RUNNING = 1200, 300  # seconds
OTHER = "4242:4242"  # a user that no image knows
ASK = "import antspynet; print(antspynet.get_pretrained_network({!r}))"


@dataclass(frozen=True)
class Docker:
    """An engine that answers.

    Attributes:
        authorities: certificates that builds trust.
    """

    program: str
    authorities: Path = AUTHORITIES

    def __call__(self, *arguments: str | Path, timeout: float = RUNNING) -> Ran:
        environ = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environ, timeout=timeout, stdin=subprocess.DEVNULL
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def build(
        self,
        tag: str,
        origins: str,
        arguments: Mapping[str, str],
        *options: str,
        recipe: str = "docker/Dockerfile",
        context: Path = REPOSITORY,
    ) -> Ran:
        """Build `recipe` with build arguments; what it fetches comes from `origins`."""
        given = {"ANTSCACHE_ORIGINS": origins, **arguments}
        told = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
        secrets = ["--secret", f"id=ca,src={self.authorities}"] if self.authorities.exists() else []
        line = ["build", "--network", "host", *secrets, "--tag", tag, *told, *options]
        return self(*line, "--file", context / recipe, context, timeout=BUILDING)

    def exists(self, tag: str) -> bool:
        return self("image", "inspect", tag).code == 0


@dataclass(frozen=True)
class Image:
    """An image that was built."""

    docker: Docker
    tag: str

    def run(self, *command: str | Path, options: Sequence[str | Path] = (), network: str = "none") -> Ran:
        """Run `command` in a container that is gone afterwards."""
        return self.docker("run", "--rm", "--network", network, *options, self.tag, *command)

    def antscache(self, *command: str, options: Sequence[str | Path] = (), network: str = "none") -> Ran:
        """Run antscache in a container that is gone afterwards."""
        return self.run(*command, options=["--entrypoint", "antscache", *options], network=network)

    def get(self, network: str, *options: str | Path) -> Ran:
        """Have ANTsPyNet ask for the file of a network and print where it is, with nothing to download from."""
        return self.run("-c", ASK.format(network), options=options)

    def layers(self) -> list[str]:
        """The digests of what its layers have, the lowest first."""
        [found] = self.docker("image", "inspect", self.tag).succeeded().json
        return list(found["RootFS"]["Layers"])

    def size(self) -> int:
        """In bytes."""
        [found] = self.docker("image", "inspect", self.tag).succeeded().json
        return int(found["Size"])


def mounted(source: str | Path, destination: str, *, read_only: bool = False) -> tuple[str, str]:
    """The option that mounts `source`, a directory or a volume."""
    return "--volume", f"{source}:{destination}{':ro' if read_only else ''}"


@pytest.fixture(scope="session")
def docker() -> Docker:
    """Docker with a base image at hand; `tools/with_engines.sh` sets it up."""
    found = Docker(os.environ.get("DOCKER", "docker"))
    if shutil.which(found.program) is None:
        cannot("docker is not installed (`make test-images` says how)")
    if (ran := found("version")).code:
        cannot(f"docker does not answer: {ran.err}")
    if not found.exists(BASE) and found("pull", BASE).code:
        cannot(f"there is no {BASE}")
    return found


@pytest.fixture(scope="session")
def files(weights: dict[str, Path]) -> Iterator[StandIn]:
    """A stand-in that has all files of the catalog, and of some of them those that ANTsPyNet can compute with."""
    with StandIn(size=20_000, contents=weights) as standin:
        yield standin


@pytest.fixture(scope="session")
def plain(docker: Docker, files: StandIn) -> Image:
    """The image without data."""
    docker.build(PLAIN, files.origins, {}).succeeded()
    return Image(docker, PLAIN)


@pytest.fixture(scope="session")
def with_data(plain: Image, files: StandIn) -> Image:
    """The image with data; the code comes from the builder's cache, which `plain` has filled."""
    arguments = {"install_antsxnet_data": "1", "ANTSXNET_NAMES": " ".join(NAMES)}
    plain.docker.build(WITH_DATA, files.origins, arguments).succeeded()
    return Image(plain.docker, WITH_DATA)
