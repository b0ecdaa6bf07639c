"""antscache in Python: what `import antscache` offers to programs and notebooks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import BRAIN, LUNG, REPOSITORY, TEMPLATE

import antscache as package

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.testing import StandIn


def test_a_text_is_one_name(tmp_path: Path, figshare: StandIn) -> None:
    settings: dict[str, Any] = {"root": str(tmp_path / "root"), "origins": figshare.origins.split()}
    cache = package.Cache.open(**settings)
    assert [entry.name for entry in cache.plan("0.3.2", names=BRAIN).entries] == [BRAIN]
    home = package.prefetch("0.3.2", names=TEMPLATE, **settings)
    assert [path.name for path in (home / ".keras/ANTsXNet").iterdir()] == [f"{TEMPLATE}.nii.gz"]


@pytest.mark.parametrize("kinds", ["model", ["model"], ["network"], ["network", "model"]])
def test_kinds_have_the_words_of_the_command_line(tmp_path: Path, kinds: str | list[str]) -> None:
    plan = package.Cache.open(tmp_path / "root").plan("0.3.2", names=[BRAIN, LUNG], kinds=kinds)
    assert {entry.kind for entry in plan.entries} == {"network"}


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(package.AntsCacheError, match="no such kind: 'models'") as caught:
        package.Cache.open(tmp_path / "root").plan("0.3.2", kinds=["models"])
    assert caught.value.hint == "the kinds are data, network, model, keras"


def test_an_unknown_keyword_is_a_type_error(tmp_path: Path) -> None:
    for call in (package.prefetch, package.activate, package.Cache.open):
        with pytest.raises(TypeError, match="no setting 'rooot'"):
            call(rooot=tmp_path)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has notes from 3.11 on")
def test_hints_are_notes() -> None:
    with pytest.raises(package.AntsCacheError) as caught:
        package.Cache.open(offline=True).manifest("99.9")
    assert getattr(caught.value, "__notes__", None) == [f"hint: {caught.value.hint}"]


def test_citation_file_agrees_with_the_package() -> None:
    """CITATION.cff has the version, the authors, the licence and the description of the package."""
    lines = (REPOSITORY / "CITATION.cff").read_text("utf-8").splitlines()
    cff = {key.strip(" -"): value.strip('"') for key, _, value in (line.partition(": ") for line in lines)}
    project = msgspec.toml.decode((REPOSITORY / "pyproject.toml").read_bytes())["project"]
    assert (cff["cff-version"], cff["type"]) == ("1.2.0", "software")
    assert cff["version"] == package.__version__
    assert [{"name": cff["name"]}] == project["authors"]
    assert [cff["title"], cff["license"], cff["abstract"]] == [
        project[key] for key in ("name", "license", "description")
    ]


def test_dir_has_what_is_public() -> None:
    assert set(dir(package)) == {"AntsCacheError", "Cache", "__version__", "activate", "prefetch"}
