"""The functions of the real ANTsPyNet 0.3.2 that need weights of Keras's own, with the real Keras and the hook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.hooked import INJECT
from support.keras import FILES, MODELS, NUMBERS, KerasAntsCache
from upstream import HERE, TENSORFLOW, cut_off, python, run

from antscache.testing import StandIn

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

__all__ = ["cut_off", "python"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real"), pytest.mark.timeout(1800)]

PROGRAM = HERE / "hooked/keras_weights.py"


def test_real_keras_loads_weights_from_the_view(
    antscache: AntsCache, python: Path, cut_off: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing is reachable; the home has no directory of Keras's weights afterwards."""
    run(python, PROGRAM, "make", tmp_path, home=antscache.home).succeeded()
    contents = {number: tmp_path / FILES[name] for name, number in NUMBERS.items()}
    with StandIn({number: FILES[name] for name, number in NUMBERS.items()}, contents=contents) as server:
        keras = KerasAntsCache.of(antscache, server)
        names = [word for name in (*NUMBERS, "chexnetANTsXNetClassification") for word in ("--name", name)]
        keras("prefetch", "0.3.2", *names).succeeded()
    hook = {"ANTSCACHE_COMMAND": json.dumps(keras.command()), "PYTHONPATH": str(INJECT)}
    used = run(
        *cut_off, python, PROGRAM, "use", home=keras.home, environ=keras.environment(**TENSORFLOW, **hook)
    ).succeeded()
    models = keras.root / "views/antspynet-0.3.2" / MODELS
    assert json.loads(used.out.splitlines()[-1]) == [[str(models / file), True] for file in FILES.values()]
    assert not (keras.home / MODELS).exists()
