"""Functions that need weights of Keras's own: with the hook, Keras loads them from the view, and downloads nothing."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from support import AntsCache, upstreams
from support.hooked import IMPORTS, NEWEST, Lab
from support.keras import DENSENET, FILES, MODELS, VGG, KerasAntsCache, bytes_of, serve_weights
from support.upstreams import GENERATIONS, older

from antscache.testing import content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.testing import StandIn

FUNCTIONS = {"chexnet": DENSENET, "neural_style_transfer": VGG}

functions = pytest.mark.parametrize("function", FUNCTIONS)


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with serve_weights() as server:
        yield server


@pytest.fixture
def lab(antscache: AntsCache, tmp_path: Path, figshare: StandIn, server: StandIn) -> Lab:
    return Lab(KerasAntsCache.of(antscache, server), tmp_path, figshare)


def place(lab: Lab, name: str, version: str = NEWEST) -> Path:
    [view] = lab.antscache.root.glob(f"views/antspynet-{version}*")
    return view / MODELS / FILES[name]


def ask(function: str, before: str = "") -> str:
    """Return the code that calls `function` twice and prints the outcomes, after the code `before`."""
    call = f"outcome(antspynet.{function})"
    return f"{before}\nprint(json.dumps([{call}, {call}]))"


@functions
@pytest.mark.parametrize("version", GENERATIONS)
def test_keras_loads_its_weights_from_the_view(lab: Lab, server: StandIn, function: str, version: str) -> None:
    """They are fetched at the first call, which says so; the home has no file of Keras's afterwards."""
    ran = lab.hooked(lab.upstream(version), IMPORTS + ask(function)).succeeded()
    path = place(lab, FUNCTIONS[function], version)
    assert ran.json == [str(path)] * 2
    assert path.read_bytes() == bytes_of(server, FUNCTIONS[function])
    assert ran.err.count(f"antscache: getting {path.name} of antspynet=={version}") == 1
    assert not (lab.antscache.home / MODELS).exists()
    again = lab.hooked(lab.upstream(version), IMPORTS + ask(function), ANTSCACHE_OFFLINE="1").succeeded()
    assert (again.json, again.err) == ([str(path)] * 2, "")


@functions
def test_the_error_names_the_command_that_fetches_them(lab: Lab, function: str) -> None:
    offline = {"ANTSCACHE_OFFLINE": "1", "ANTSCACHE_RELEASE": "antspynet==0.3.2"}
    error, _ = lab.answer(lab.upstream(), ask(function), **offline)
    assert error.startswith("AntsCacheError: error: missing and offline: ")
    assert FILES[FUNCTIONS[function]] in error
    hint = re.search(r"^hint: .*`antscache (.*?)`", error, re.MULTILINE)
    assert hint
    lab.antscache(*shlex.split(hint[1])).succeeded()
    assert lab.answer(lab.upstream(), ask(function), **offline)[0] == str(place(lab, FUNCTIONS[function]))


def test_directory_of_antspynet_is_not_keras_place(lab: Lab, tmp_path: Path) -> None:
    before = f"antspynet.utilities.set_antsxnet_cache_directory({str(tmp_path / 'mine')!r})"
    path, _ = lab.answer(lab.upstream(), ask("chexnet", before))
    assert path == str(place(lab, DENSENET))
    assert not [*(tmp_path / "mine").iterdir()]


def test_other_calls_of_keras_are_its_own(lab: Lab) -> None:
    code = "import tensorflow as tf\nprint(json.dumps(outcome(lambda: tf.keras.applications.DenseNet121())))"
    assert lab.answer(lab.upstream(), code).startswith("RuntimeError: would download 'https://keras.org/densenet121_")


def test_arguments_reach_the_function(lab: Lab) -> None:
    calls = [f"outcome(lambda: antspynet.chexnet({arguments}))" for arguments in ("'image', pooling='max'", "1, 'max'")]
    path, error = lab.answer(lab.upstream(), f"print(json.dumps([{', '.join(calls)}]))")
    assert path == str(place(lab, DENSENET))
    assert error.startswith("TypeError: chexnet() takes ")


def test_function_without_the_word_is_left_alone(lab: Lab) -> None:
    upstream = upstreams.make(lab.place, NEWEST)
    path = upstream.directory / "antspynet/utilities/chexnet.py"
    path.write_text("import os" + path.read_text().replace('"imagenet"', "os.environ['WEIGHTS']"))
    assert lab.answer(upstream, ask("chexnet"), ANTSCACHE_OFFLINE="1", WEIGHTS="/") == ["/", "/"]


def test_whole_file_in_the_home_is_used_offline(lab: Lab, server: StandIn) -> None:
    """It is, if its MD5 is the one that Keras names; nobody else has looked at it."""
    path = lab.antscache.home / MODELS / FILES[VGG]
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes_of(server, VGG))
    ran = lab.hooked(lab.upstream(), IMPORTS + ask("neural_style_transfer"), ANTSCACHE_OFFLINE="1").succeeded()
    assert ran.json == [str(path)] * 2
    assert f"antscache adopt {path.parent} --as" in ran.err
    path.write_bytes(content("9", path.name, 5_000))
    ran = lab.hooked(lab.upstream(), IMPORTS + ask("neural_style_transfer"), ANTSCACHE_OFFLINE="1").succeeded()
    assert ran.json[0].startswith("AntsCacheError: ")
    assert f"{path} is not used: its MD5 is not " in ran.json[0]


@pytest.mark.parametrize("minor", [8, 9])
def test_older_pythons_load_them_too(lab: Lab, minor: int) -> None:
    python = older(minor)
    assert lab.answer(lab.upstream(), ask("chexnet"), PYTHON=python)[0] == str(place(lab, DENSENET))


def test_used_weights_are_recorded(lab: Lab, tmp_path: Path) -> None:
    used, other = tmp_path / "used.jsonl", tmp_path / "other"
    environ = {"ANTSCACHE_RECORD": str(used), "ANTSCACHE_RELEASE": "antspynet==0.3.2"}
    lab.answer(lab.upstream(), ask("chexnet"), **environ)
    lab.antscache("--root", other, "prefetch", "--from-record", used).succeeded()
    assert (other / "views/antspynet-0.3.2" / MODELS / FILES[DENSENET]).exists()
