"""Layers of data: the same each time, on any builder; and no image has wrong data.

The images have the source of antspynet, for antscache to read, and none of its dependencies.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from images import AUTHORITIES, BASE, NAMES, Docker, Image, docker, files, new_cache
from support import BRAIN, LUNG, REPOSITORY
from support.authority import Authority
from upstream import python, weights

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Small = Callable[..., str]
    Bake = Callable[..., list[str]]

__all__ = ["docker", "files", "python", "weights"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.xdist_group("images"), pytest.mark.timeout(900)]

RECIPE = "docker/with-data.Dockerfile"
SOME = " ".join((*NAMES, "adni", "biobank", "croppedMni152", "deepFlashLeftT1", "deepFlashRightT1", "deepFlashPriors"))
ADNI = "25516361"  # the number of one of these: small, so that it is fetched by one connection
COUNT = 16  # layers of blobs; above them is one of records and views
ABOVE = 2  # layers above these: links in the home, and what WORKDIR makes
SMALL = f"FROM {BASE}\nCOPY packages/ /usr/local/lib/python3.11/dist-packages/\n"


@pytest.fixture(scope="module")
def small(docker: Docker, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """Make an image with an antspynet in which some text is replaced, such as an identifier, and return its tag."""
    made: list[str] = []

    def make(*changed: str) -> str:
        context = tmp_path_factory.mktemp("small")
        [packages] = (python.parent.parent / "lib").glob("python3*/site-packages")
        for part in "antspynet", "antspynet-0.3.2.dist-info":
            shutil.copytree(packages / part, context / "packages" / part, ignore=shutil.ignore_patterns("__pycache__"))
        getter = context / "packages/antspynet/utilities/get_pretrained_network.py"
        text = getter.read_text("utf-8")
        for old, new in zip(changed[::2], changed[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        getter.write_text(text, "utf-8")
        (context / "Dockerfile").write_text(SMALL)
        tag = f"antscache-test:small-{len(made)}"
        docker.build(tag, "", {}, recipe="Dockerfile", context=context).succeeded()
        made.append(tag)
        return tag

    yield make
    for tag in made:
        docker("rmi", "--force", tag)


@pytest.fixture
def baked(docker: Docker, files: StandIn) -> Iterator[Bake]:
    """Add data to an image, and return the digests of all layers."""
    made: list[str] = []

    def bake(image: str, *options: str, context: Path = REPOSITORY, engine: Docker = docker) -> list[str]:
        tag = f"antscache-test:baked-{len(made)}"
        arguments = {"IMAGE": image, "ANTSXNET_NAMES": SOME}
        engine.build(tag, files.origins, arguments, *options, recipe=RECIPE, context=context).succeeded()
        made.append(tag)
        return Image(docker, tag).layers()

    yield bake
    for tag in made:
        docker("rmi", "--force", tag)


def copied(context: Path) -> Path:
    """Copy the part of this repository that a build needs into `context`, so that a test can change it."""
    context.mkdir()
    for part in "pyproject.toml", "README.md", "LICENSE", "get_antspynet_data.py", ".dockerignore":
        shutil.copy2(REPOSITORY / part, context)
    for part in "antscache", "docker":
        shutil.copytree(REPOSITORY / part, context / part, ignore=shutil.ignore_patterns("__pycache__"))
    return context


def changed(place: Path) -> Path:
    """Make such a copy with changed code."""
    context = copied(place / "changed")
    with (context / "antscache/__init__.py").open("a", encoding="utf-8") as source:
        source.write(f"# {place}\n")
    return context


def data(layers: list[str]) -> list[str]:
    """Return the layers of data."""
    return layers[-COUNT - 1 - ABOVE : -ABOVE]


def test_changed_code_keeps_the_data_layers(small: Small, baked: Bake, tmp_path: Path) -> None:
    image = small()
    before = baked(image)
    after = baked(image, context=changed(tmp_path))
    assert data(after) == data(before)
    assert after[: -COUNT - 1 - ABOVE] != before[: -COUNT - 1 - ABOVE]


def test_changed_file_replaces_two_layers_only(small: Small, baked: Bake) -> None:
    """Its own, and the one of records."""
    before, after = data(baked(small())), data(baked(small("34821874", "34792930")))
    moved = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert len(moved) == 2
    assert moved[-1] == COUNT  # records, views, the index


def test_layers_are_the_same_on_a_fresh_builder(docker: Docker, small: Small, baked: Bake, files: StandIn) -> None:
    image = small()
    before = baked(image)
    downloads = files.downloads(ADNI)
    assert data(baked(image, "--no-cache", engine=replace(docker, cache=new_cache()))) == data(before)
    assert files.downloads(ADNI) == downloads + 1


def test_a_rebuild_downloads_nothing(small: Small, baked: Bake, files: StandIn, tmp_path: Path) -> None:
    image = small()
    baked(image)
    asked = len(files.requests)
    baked(image, context=changed(tmp_path))
    assert len(files.requests) == asked


def test_wrong_file_fails_the_build(docker: Docker, small: Small, files: StandIn) -> None:
    """No image is left."""
    tag, name, number = "antscache-test:wrong", "mriSuperResolution", "35290684"
    files.misbehave(number, Misbehaviour.HTML_AS_BINARY)
    try:
        arguments = {"IMAGE": small(), "ANTSXNET_NAMES": f"{BRAIN} {LUNG} {name}"}
        ran = docker.build(tag, files.origins, arguments, recipe=RECIPE)
    finally:
        files.behave(number)
    assert ran.code != 0
    assert f"{name}.h5" in ran.err
    assert not docker.exists(tag)


def test_other_data_than_pinned_fails_the_build(docker: Docker, small: Small, files: StandIn) -> None:
    tag, digest = "antscache-test:pinned", f"sha256:{'0' * 64}"
    arguments = {"IMAGE": small(), "ANTSXNET_NAMES": BRAIN, "ANTSXNET_DIGEST": digest}
    ran = docker.build(tag, files.origins, arguments, recipe=RECIPE)
    assert ran.code != 0
    assert f"is not {digest}" in ran.err
    assert not docker.exists(tag)


def test_context_file_may_name_the_data(docker: Docker, small: Small, files: StandIn, tmp_path: Path) -> None:
    context = copied(tmp_path / "context")
    (context / "docker/local/names.txt").write_text(f"{BRAIN}\n{LUNG}\n")
    named = Image(docker, "antscache-test:named")
    arguments = {"IMAGE": small(), "ANTSXNET_NAMES": "names.txt"}
    docker.build(named.tag, files.origins, arguments, recipe=RECIPE, context=context).succeeded()
    try:
        assert [each["entries"] for each in named.antscache("list", "--json").succeeded().json] == [2]
    finally:
        docker("rmi", named.tag)


def test_own_certificate_authority_is_a_build_secret(
    docker: Docker, small: Small, weights: dict[str, Path], tmp_path: Path
) -> None:
    authority, arguments = Authority.in_directory(tmp_path), {"IMAGE": small(), "ANTSXNET_NAMES": LUNG}
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(AUTHORITIES.read_bytes() + authority.ca.read_bytes())
    image = Image(docker, "antscache-test:trusting")
    with StandIn(size=20_000, contents=weights, tls=authority.server()) as standin:
        line = (image.tag, standin.origins, arguments)
        fresh = replace(docker, cache=new_cache())  # so that it is fetched
        assert "CERTIFICATE_VERIFY_FAILED" in fresh.build(*line, recipe=RECIPE).err
        replace(fresh, authorities=trusted).build(*line, recipe=RECIPE).succeeded()
    try:
        secret = authority.ca.read_text("ascii").splitlines()[1]
        look = ["grep", "-rIl", "--exclude-dir=proc", "--exclude-dir=sys", "-e", secret, "/"]
        assert image.run(*look[1:], options=["--entrypoint", look[0], "--user", "root"]).out == ""
    finally:
        docker("rmi", image.tag)


# Sources


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, and a git repository, made from releases on the package index."""
    directory = tmp_path_factory.mktemp("published")
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--dest", str(directory)]
    subprocess.run([*pip, "antspynet==0.2.9"], check=True)
    subprocess.run([*pip, "antspynet==0.3.2"], check=True)
    [archive] = directory.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    archive.unlink()
    repository = (directory / "antspynet-0.3.2").rename(directory / "ANTsPyNet")
    git = ["git", "-C", str(repository), "-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for line in ["init", "--quiet", "--initial-branch", "changed"], ["add", "."], ["commit", "--quiet", "-m", "x"]:
        subprocess.run([*git, *line], check=True)
    return directory


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("antspynet-0.2.9-py3-none-any.whl", "0.2.9"),
        ("ANTsPyNet", "0.3.2"),
        ("git+file:///local/ANTsPyNet@changed", "0.3.2"),
        ("antspynet==0.3.1", "0.3.1"),
    ],
)
def test_an_image_may_be_of_any_source(
    docker: Docker, published: Path, tmp_path: Path, source: str, version: str
) -> None:
    context, image = copied(tmp_path / "context"), Image(docker, "antscache-test:source")
    shutil.copytree(published, context / "docker/local", dirs_exist_ok=True)
    arguments = {"ANTSPYNET_SOURCE": source}
    docker.build(image.tag, "", arguments, "--target", "source", context=context).succeeded()
    try:
        assert image.run("ls", "/wheels").succeeded().out == f"antspynet-{version}-py3-none-any.whl\n"
    finally:
        docker("rmi", image.tag)
