"""Networks that no checksum shows to be unsafe: what a prefetch refuses, from whom, and what it only says.

The files have the public shapes of CVE-2025-1550, CVE-2025-9905 and CVE-2026-1669, written by h5py, fetched over HTTP.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, LUNG
from support.networks import CODE, LAMBDA, LAMBDA_SAID, LEADING_OUT, TRAINED_CODE, write_network

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import AntsCache, Ran
    from support.networks import Write

LOADED, LOADED_NUMBER = "brainAgeDeepBrainNet", "23573402"  # by load_model, in every release
WEIGHTS, WEIGHTS_NUMBER = BRAIN, "34821874"  # by load_weights
NUMBERS = {LOADED: LOADED_NUMBER, WEIGHTS: WEIGHTS_NUMBER}

SAID = LAMBDA_SAID
code_shapes = pytest.mark.parametrize("write", [pytest.param(write, id=name) for name, write in CODE.items()])
leading_out = pytest.mark.parametrize("write", [pytest.param(write, id=name) for name, write in LEADING_OUT.items()])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., StandIn]]:
    """Serve a network under the numbers of both names."""
    served: list[StandIn] = []

    def start(write: Write) -> StandIn:
        path = write_network(tmp_path / "network.h5", write)
        files = {number: f"{name}.h5" for name, number in NUMBERS.items()}
        served.append(StandIn(files, contents=dict.fromkeys(files, path)))
        return served[-1]

    yield start
    for standin in served:
        standin.close()


def from_figshare(antscache: AntsCache, standin: StandIn, name: str, *arguments: str, **environ: Any) -> Ran:
    return antscache("prefetch", "0.3.2", "--name", name, *arguments, ANTSCACHE_ORIGINS=standin.origins, **environ)


def from_mirror(antscache: AntsCache, standin: StandIn, name: str, *arguments: str, **environ: Any) -> Ran:
    """Fetch from a mirror alone: Figshare has nothing."""
    with StandIn({}) as nothing:
        mirror = f"{standin.url}/files/{{id}}"
        return from_figshare(antscache, nothing, name, *arguments, ANTSCACHE_MIRRORS=mirror, **environ)


def record(antscache: AntsCache, name: str) -> Any:
    return json.loads((antscache.root / f"identifiers/figshare/{NUMBERS[name]}.json").read_text("utf-8"))


def assert_refused(ran: Ran, name: str, why: str = "an HDF5 file with ") -> None:
    assert ran.code == 4, ran.err
    assert why in ran.err
    assert f"antscache prefetch antspynet==0.3.2 --name {name} --accept figshare:{NUMBERS[name]}" in ran.err


# Code in a configuration


@code_shapes
def test_code_of_a_mirror_is_refused(antscache: AntsCache, serve: Callable[..., StandIn], write: Write) -> None:
    standin = serve(write)
    assert_refused(from_mirror(antscache, standin, LOADED), LOADED)
    assert not (antscache.root / f"identifiers/figshare/{LOADED_NUMBER}.json").exists()
    from_mirror(antscache, standin, LOADED, "--accept", f"figshare:{LOADED_NUMBER}").succeeded()
    assert "'evil' of its model_config" in record(antscache, LOADED)["accepted"]


@pytest.mark.parametrize("write", TRAINED_CODE.values(), ids=TRAINED_CODE)
def test_code_for_the_training_is_refused(antscache: AntsCache, serve: Callable[..., StandIn], write: Write) -> None:
    """`load_model` compiles the network, and calls what its `training_config` names."""
    ran = from_mirror(antscache, serve(write), LOADED)
    assert_refused(ran, LOADED)
    assert "'evil' of its training_config" in ran.err


@code_shapes
@pytest.mark.parametrize(("fetch", "name"), [(from_mirror, WEIGHTS), (from_figshare, WEIGHTS), (from_figshare, LOADED)])
def test_other_code_is_a_finding(
    antscache: AntsCache,
    serve: Callable[..., StandIn],
    write: Write,
    fetch: Callable[..., Ran],
    name: str,
) -> None:
    """It is said once, and recorded."""
    ran = fetch(antscache, serve(write), name).succeeded()
    assert ran.err.count("'evil' of its model_config") == 1
    (finding,) = record(antscache, name)["findings"]
    assert "'evil' of its model_config" in finding
    assert (record(antscache, name)["accepted"], record(antscache, name)["checks"][-1]) == ("", "walk")


def test_findings_are_listed_and_shown(antscache: AntsCache, serve: Callable[..., StandIn]) -> None:
    from_figshare(antscache, serve(LAMBDA), LOADED).succeeded()
    assert f"finding: {SAID}" in antscache("list", "0.3.2").succeeded().out
    assert f"finding: {SAID}" in antscache("show", LOADED).succeeded().out
    listed = antscache("list", "0.3.2", "--json").succeeded().json
    assert [entry["findings"] for entry in listed if entry["findings"]] == [[SAID]]
    assert (
        f"1 file with findings that did not refuse them: figshare:{LOADED_NUMBER} ({SAID})" in antscache("doctor").out
    )


@pytest.mark.parametrize("strict", [{"ANTSCACHE_STRICT": "1"}, {"flag": "--strict"}])
def test_strict_refuses_every_finding(
    antscache: AntsCache, serve: Callable[..., StandIn], strict: dict[str, str]
) -> None:
    arguments = [strict.pop("flag")] if "flag" in strict else []
    assert_refused(from_figshare(antscache, serve(LAMBDA), WEIGHTS, *arguments, **strict), WEIGHTS, SAID)


def test_strict_refuses_findings_in_known_bytes(antscache: AntsCache, serve: Callable[..., StandIn]) -> None:
    standin = serve(LAMBDA)
    from_figshare(antscache, standin, WEIGHTS).succeeded()
    (antscache.root / "blobs/sha256" / record(antscache, WEIGHTS)["digest"].removeprefix("sha256:")).unlink()
    assert_refused(from_figshare(antscache, standin, WEIGHTS, "--strict"), WEIGHTS, SAID)


def test_known_bytes_may_have_code(antscache: AntsCache, serve: Callable[..., StandIn]) -> None:
    """A mirror's bytes with the recorded digest are those that were vouched for."""
    standin = serve(LAMBDA)
    from_figshare(antscache, standin, LOADED).succeeded()
    digest = record(antscache, LOADED)["digest"].removeprefix("sha256:")
    (antscache.root / "blobs/sha256" / digest).unlink()
    from_mirror(antscache, standin, LOADED).succeeded()
    assert record(antscache, LOADED)["findings"] == [SAID]


# What leads out of the file


@leading_out
@pytest.mark.parametrize("name", [WEIGHTS, LOADED])
@pytest.mark.parametrize("fetch", [from_mirror, from_figshare])
def test_leading_out_is_refused_from_everybody(
    antscache: AntsCache,
    serve: Callable[..., StandIn],
    write: Write,
    name: str,
    fetch: Callable[..., Ran],
) -> None:
    assert_refused(fetch(antscache, serve(write), name), name)


def test_leading_out_is_refused_with_a_known_digest(antscache: AntsCache, serve: Callable[..., StandIn]) -> None:
    """The record is that of an antscache that has not scanned the file."""
    standin = serve(LEADING_OUT["external link"])
    from_figshare(antscache, standin, WEIGHTS, "--accept", f"figshare:{WEIGHTS_NUMBER}").succeeded()
    path = antscache.root / f"identifiers/figshare/{WEIGHTS_NUMBER}.json"
    unscanned = json.loads(path.read_text("utf-8")) | {"accepted": "", "checks": ["length", "md5", "form"]}
    path.chmod(0o644)
    path.write_text(json.dumps(unscanned), "utf-8")
    (antscache.root / "blobs/sha256" / unscanned["digest"].removeprefix("sha256:")).unlink()
    assert_refused(from_figshare(antscache, standin, WEIGHTS), WEIGHTS)


# Defects of form


@pytest.mark.parametrize("name", [WEIGHTS, LUNG])
def test_confirmed_bytes_are_taken_in_any_form(antscache: AntsCache, name: str) -> None:
    """The storage's MD5 shows that these are the bytes that Figshare has for the identifier."""
    number = {WEIGHTS: WEIGHTS_NUMBER, LUNG: "41965818"}[name]
    with StandIn({number: f"{name}.h5"}, contents={number: b"not an HDF5 file" * 99}) as standin:
        ran = from_figshare(antscache, standin, name).succeeded()
    assert "note: found in " in ran.err
    kept = json.loads((antscache.root / f"identifiers/figshare/{number}.json").read_text("utf-8"))
    assert kept["findings"] == ["not an HDF5 file: it starts with other bytes"]
    assert kept["checks"] == ["length", "md5"]
    assert "1 of them networks that were not scanned" in ran.err


@pytest.mark.parametrize("misbehaviour", [Misbehaviour.MULTIPART_ETAG, Misbehaviour.NO_ETAG])
def test_unconfirmed_bytes_must_have_the_form(antscache: AntsCache, misbehaviour: Misbehaviour) -> None:
    with StandIn({WEIGHTS_NUMBER: f"{WEIGHTS}.h5"}, contents={WEIGHTS_NUMBER: b"not an HDF5 file" * 99}) as standin:
        standin.misbehave(WEIGHTS_NUMBER, misbehaviour)
        assert_refused(from_figshare(antscache, standin, WEIGHTS), WEIGHTS, "not an HDF5 file")


def test_a_mirror_cannot_confirm_its_own_bytes(antscache: AntsCache) -> None:
    with StandIn({WEIGHTS_NUMBER: f"{WEIGHTS}.h5"}, contents={WEIGHTS_NUMBER: b"not an HDF5 file" * 99}) as standin:
        assert_refused(from_mirror(antscache, standin, WEIGHTS), WEIGHTS, "not an HDF5 file")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>challenge</p>" * 99, b""])
def test_no_file_is_never_taken(antscache: AntsCache, content: bytes) -> None:
    """Not even a confirmed and accepted one."""
    with StandIn({WEIGHTS_NUMBER: f"{WEIGHTS}.h5"}, contents={WEIGHTS_NUMBER: content}) as standin:
        ran = from_figshare(antscache, standin, WEIGHTS, "--accept", f"figshare:{WEIGHTS_NUMBER}")
    assert ran.code == 4
    assert hashlib.sha256(content).hexdigest() not in {path.name for path in antscache.root.rglob("*")}
