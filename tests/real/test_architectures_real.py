"""Every architecture that the real ANTsPyNet can build, saved in every way, can be fetched from Figshare's routes.

What a scan finds in them is a finding, and refuses nothing: nobody here has a real file, and these come closest. The
test prints how many there are, and which have findings.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from upstream import HERE, TENSORFLOW, numbers, python, run, unpacked

from antscache.testing import StandIn

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

__all__ = ["python"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

BUILD_TIMEOUT_SECONDS = 1500
FORMS = ("whole", "legacy", "weights")
# Their whole file holds code: Lambda layers of ANTsPyNet's own, or an initializer of TensorFlow's.
WITH_CODE = {
    "alexnet_2d",
    "alexnet_3d",
    "resnet_2d_cardinality",
    "resnet_3d_cardinality",
    "rmnet_generator",
    "simple_classification_with_spatial_transformer_network_2d",
}
MIN_BUILT = 50  # with the Keras of `requirements.txt`, which cannot build some others


@pytest.mark.parametrize("version", ["0.3.2", "0.2.9"])
def test_every_architecture_can_be_fetched(
    antscache: AntsCache, python: Path, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made").mkdir()
    environ = {"HOME": str(antscache.home), **TENSORFLOW}
    if version != "0.3.2":
        environ["PYTHONPATH"] = str(unpacked(version, python))
    made = run(
        python,
        HERE / "make_architectures.py",
        tmp_path / "made",
        home=antscache.home,
        environ=environ,
        timeout=BUILD_TIMEOUT_SECONDS,
    ).succeeded()
    failed = json.loads(made.out.splitlines()[-1])
    for form in FORMS:
        files = sorted((tmp_path / "made" / form).iterdir())
        found = fetch(antscache, tmp_path / form, dict(zip(numbers().items(), files, strict=False)))
        say(capsys, f"{version} {form}: {len(files)} fetched, {len(found)} with findings: {found}")
        assert len(files) >= MIN_BUILT
        assert set(found) == (WITH_CODE if form == "whole" else set())
    say(capsys, f"{version}: {len(failed)} cannot be built: {failed}")


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


def fetch(antscache: AntsCache, root: Path, files: dict[tuple[str, str], Path]) -> dict[str, list[str]]:
    """Fetch `files` as networks of 0.3.2, all of which must arrive; return the findings in them."""
    contents = {number: file for (_, number), file in files.items()}
    names = [argument for name, _ in files for argument in ("--name", name)]
    with StandIn({number: f"{name}.h5" for name, number in files}, contents=contents) as standin:
        ran = antscache(
            "prefetch", "0.3.2", *names, "--root", root, timeout=600, ANTSCACHE_ORIGINS=standin.origins
        ).succeeded()
    assert f"{len(files)} fetched and verified" in ran.err
    records = {number: json.loads((root / f"identifiers/figshare/{number}.json").read_text()) for number in contents}
    shutil.rmtree(root)  # half a gigabyte, as what it was made of
    shutil.rmtree(next(iter(contents.values())).parent)
    assert all("walk" in record["checks"] for record in records.values())
    return {contents[number].stem: record["findings"] for number, record in records.items() if record["findings"]}
