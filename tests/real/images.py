"""Docker of this machine, and the images that tests share.

antscache-test:0.3.2            docker/Dockerfile with the real ANTsPyNet, no data
antscache-test:0.3.2-with-data  the same with the files that its brain_extraction and lung_extraction ask for
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
OURS = "antscache-test"  # names of images, volumes and cache mounts that the tests make begin with it
CACHED = re.compile(r"type=cache,(target=/var/cache/antscache \\\n(?:    --mount=.*\n)*    )(?=sh )")


def new_cache() -> str:
    """Return a name for a cache mount that no build has used."""
    return f"{OURS}-{uuid.uuid4().hex[:12]}"


def with_cache(recipe: str, cache: str) -> str:
    """Return `recipe` with `cache` in place of the cache mount of users' builds.

    What a stand-in sends for an identifier must never be what a user's next image has. The name is in the command as
    well, since BuildKit 20.10 describes a cache mount by the command that made it.
    """
    return CACHED.sub(rf"type=cache,id={cache},\1: {cache}; ", recipe)


@dataclass(frozen=True)
class Docker:
    """A running Docker.

    Attributes:
        authorities: certificates that builds trust.
        cache: the cache mount of builds.
    """

    program: str
    authorities: Path = AUTHORITIES
    cache: str = field(default_factory=new_cache)

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
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
            file.write(with_cache((context / recipe).read_text("utf-8"), self.cache))
            file.flush()
            return self(*line, "--file", file.name, context, timeout=BUILDING)

    def exists(self, tag: str) -> bool:
        return self("image", "inspect", tag).code == 0

    def drop_caches(self) -> None:
        """Remove the cache mounts that tests made, and no others."""
        listed = self("system", "df", "--verbose", "--format", "{{json .BuildCache}}").succeeded()
        for cache in json.loads(listed.out):
            if cache["CacheType"] == "exec.cachemount" and OURS in cache["Description"]:
                self("builder", "prune", "--force", "--filter", f"id={cache['ID']}").succeeded()


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
        """Let ANTsPyNet ask for the file of a network and print its path, without an origin to download from."""
        return self.run("-c", ASK.format(network), options=options)

    def layers(self) -> list[str]:
        """Return the digests of its layers' contents, the lowest first."""
        [found] = self.docker("image", "inspect", self.tag).succeeded().json
        return list(found["RootFS"]["Layers"])

    def size(self) -> int:
        """Return the size in bytes."""
        [found] = self.docker("image", "inspect", self.tag).succeeded().json
        return int(found["Size"])


def mounted(source: str | Path, destination: str, *, read_only: bool = False) -> tuple[str, str]:
    """Return the option that mounts `source`, a directory or a volume."""
    return "--volume", f"{source}:{destination}{':ro' if read_only else ''}"


@contextmanager
def bystanders(docker: Docker) -> Iterator[None]:
    """Check that tests leave alone what people have by the names in the guides, and other projects' cache mounts.

    Where there is none of them, one is made, and taken away again.
    """
    image, volume, mark = "antspynet:0.3.2", "antsxnet", uuid.uuid4().hex
    theirs = [docker.exists(image), docker("volume", "inspect", volume).code == 0]
    if not theirs[0]:
        docker("tag", BASE, image).succeeded()
    docker("volume", "create", volume).succeeded()

    def state() -> list[Any]:
        [found], [kept] = docker("image", "inspect", image).json, docker("volume", "inspect", volume).json
        return [found["Id"], kept]

    def run_in_build(command: str) -> None:
        """Run `command` in a build with another project's cache mount: without --no-cache, which may give a new one."""
        with tempfile.TemporaryDirectory() as context:
            mount = "--mount=type=cache,target=/var/cache/another-project"
            (Path(context) / "Dockerfile").write_text(f"FROM {BASE}\nRUN {mount} {command}\n")
            docker("build", "--network", "host", "--tag", f"{OURS}:bystander", context).succeeded()
        docker("rmi", f"{OURS}:bystander").succeeded()

    run_in_build(f"touch /var/cache/another-project/{mark}")
    before = state()
    yield
    docker.drop_caches()
    assert state() == before
    run_in_build(f"test -f /var/cache/another-project/{mark} && rm /var/cache/another-project/{mark}")
    if not theirs[0]:
        docker("rmi", image).succeeded()
    if not theirs[1]:
        docker("volume", "rm", volume).succeeded()


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Docker with a base image at hand; `tools/with_engines.sh` sets it up."""
    found = Docker(os.environ.get("DOCKER", "docker"))
    if shutil.which(found.program) is None:
        cannot("docker is not installed (`make test-images` says how)")
    if (ran := found("version")).code:
        cannot(f"docker does not answer: {ran.err}")
    if not found.exists(BASE) and found("pull", BASE).code:
        cannot(f"there is no {BASE}")
    with bystanders(found):
        yield found


@pytest.fixture(scope="session")
def files(weights: dict[str, Path]) -> Iterator[StandIn]:
    """A stand-in with all files of the catalog. ANTsPyNet can compute with some of them."""
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
