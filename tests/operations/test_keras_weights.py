"""Keras's own weights: from a URL, by the MD5 that Keras names, to their place in the view, and out of it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import TEMPLATE, AntsCache, snapshot
from support.keras import DENSENET, FILES, MODELS, VGG, KerasAntsCache, bytes_of, serve_weights

from antscache.cache import Cache
from antscache.testing import content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.testing import StandIn

VIEW = "views/antspynet-0.3.2"


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with serve_weights() as server:
        yield server


@pytest.fixture
def keras(antscache: AntsCache, server: StandIn) -> KerasAntsCache:
    return KerasAntsCache.of(antscache, server)


def place(antscache: AntsCache, name: str = VGG) -> Path:
    return antscache.root / VIEW / MODELS / FILES[name]


def fetch(antscache: AntsCache) -> None:
    """Prefetch weights, and a file of the release."""
    antscache("prefetch", "0.3.2", "--name", VGG, "--name", TEMPLATE).succeeded()


def test_a_name_fetches_keras_weights(keras: KerasAntsCache, server: StandIn) -> None:
    """They lie where Keras looks, beside the release's own; a second run finds nothing to do, offline too."""
    fetch(keras)
    assert place(keras).read_bytes() == bytes_of(server, VGG)
    assert [path.name for path in (keras.root / VIEW / MODELS).iterdir()] == [FILES[VGG]]
    assert [path.name for path in (keras.root / VIEW / ".keras/ANTsXNet").iterdir()] == [f"{TEMPLATE}.nii.gz"]
    [record] = [json.loads(path.read_text()) for path in (keras.root / "identifiers/url").iterdir()]
    assert (record["trust"], "md5" in record["checks"]) == ("origin", True)
    assert json.loads((keras.root / "antscache.json").read_text())["layout"] == 2
    held = snapshot(keras.root)
    keras("prefetch", "0.3.2", "--offline", "--name", VGG, "--name", TEMPLATE).succeeded()
    assert snapshot(keras.root) == held


def test_a_whole_release_is_without_them(keras: KerasAntsCache) -> None:
    [plan] = keras("prefetch", "0.3.2", "-n", "--json").succeeded().json
    assert not {DENSENET, VGG} & {*plan["missing"], *plan["present"], *plan["unavailable"]}
    listed = keras("list", "0.3.2", "--json").succeeded().json
    assert {row["kind"] for row in listed} == {"data", "network"}


def test_their_kind_and_names_list_them(keras: KerasAntsCache) -> None:
    fetch(keras)
    listed = keras("list", "0.3.2", "--kind", "keras", "--json").succeeded().json
    assert {row["name"]: row["status"] for row in listed} == {DENSENET: "missing", VGG: "present"}
    shown = {row["release"]: row["file"] for row in keras("show", VGG, "--json").succeeded().json}
    assert shown["antspynet==0.3.2"] == FILES[VGG]
    assert "antspyx==0.6.3" not in shown


def test_another_md5_is_refused(keras: KerasAntsCache, server: StandIn) -> None:
    """Nothing of the file is kept."""
    wary = dataclasses.replace(keras, md5s=("0" * 32, "1" * 32))
    ran = wary("prefetch", "0.3.2", "--name", VGG)
    md5 = hashlib.md5(bytes_of(server, VGG), usedforsecurity=False).hexdigest()
    assert (ran.code, f"other bytes: the MD5 is {md5}, but {'1' * 32} is known" in ran.err) == (5, True)
    assert not os.path.lexists(place(keras))
    assert not [*keras.root.glob("identifiers/url/*")]
    assert not [*keras.root.glob("ingest/*")]


def test_a_mirror_with_another_md5_is_refused(keras: KerasAntsCache, server: StandIn, tmp_path: Path) -> None:
    """The origin is asked next."""
    (tmp_path / FILES[VGG]).write_bytes(content("9", FILES[VGG], 5_000))
    mirror = f"{tmp_path.as_uri()}/{{file}}"
    keras("prefetch", "0.3.2", "--name", VGG, ANTSCACHE_MIRRORS=mirror).succeeded()
    assert place(keras).read_bytes() == bytes_of(server, VGG)
    [record] = [json.loads(path.read_text()) for path in keras.root.glob("identifiers/url/*")]
    assert record["trust"] == "origin"


def test_removal_takes_them_away(keras: KerasAntsCache) -> None:
    """Files that antscache did not make stay, and are named."""
    fetch(keras)
    mine = place(keras).with_name("mine.h5")
    mine.write_bytes(b"mine")
    ran = keras("rm", "0.3.2").succeeded()
    assert "2 files removed" in ran.out
    assert f"kept {mine}" in ran.err
    assert [path for path in (keras.root / VIEW).rglob("*") if path.is_file()] == [mine]
    mine.unlink()
    keras("rm", "0.3.2").succeeded()
    assert not (keras.root / VIEW).exists()
    assert "condemned: 3 files" in keras("gc", "--grace", "0", "-n").succeeded().out


def test_a_collection_keeps_them(keras: KerasAntsCache) -> None:
    fetch(keras)
    for _ in range(2):
        keras("gc", "--grace", "0").succeeded()
    keras("verify", "--deep").succeeded()


@pytest.mark.parametrize("damage", ["gone", "replaced", "dangling"])
def test_their_place_is_verified_and_repaired(keras: KerasAntsCache, server: StandIn, damage: str) -> None:
    fetch(keras)
    place(keras).unlink()
    if damage == "replaced":
        place(keras).write_bytes(b"other bytes")
    elif damage == "dangling":
        place(keras).symlink_to("nowhere")
    found = keras("verify")
    code = 7 if damage == "gone" else 5  # no file is damaged
    assert (found.code, str(place(keras)) in found.out + found.err) == (code, True)
    keras("verify", "--repair").succeeded()
    assert place(keras).read_bytes() == bytes_of(server, VGG)


def test_damaged_selection_is_made_from_their_names(keras: KerasAntsCache) -> None:
    fetch(keras)
    [selection] = (keras.root / "refs/antspynet/0.3.2").iterdir()
    selection.chmod(0o644)
    selection.write_text("{")
    keras("verify", "--repair", "--offline").succeeded()
    assert "condemned: 0 files" in keras("gc", "--grace", "0", "-n").succeeded().out


def test_forgotten_weights_leave_the_view(keras: KerasAntsCache) -> None:
    fetch(keras)
    keras("forget", f"url:{keras.server}/files/202").succeeded()
    assert not os.path.lexists(place(keras))
    assert (keras.root / VIEW / f".keras/ANTsXNet/{TEMPLATE}.nii.gz").exists()


def test_a_home_has_them_in_their_place(keras: KerasAntsCache, server: StandIn, tmp_path: Path) -> None:
    fetch(keras)
    home = tmp_path / "other"
    keras("link", "0.3.2", "--home", home).succeeded()
    assert (home / MODELS / FILES[VGG]).read_bytes() == bytes_of(server, VGG)
    assert (home / f".keras/ANTsXNet/{TEMPLATE}.nii.gz").exists()
    taken = tmp_path / "taken"
    (taken / MODELS).mkdir(parents=True)
    (taken / MODELS / FILES[VGG]).write_bytes(b"mine")
    ran = keras("link", "0.3.2", "--home", taken)
    assert (ran.code, f"{taken / MODELS} already has other bytes under {FILES[VGG]}" in ran.err) == (7, True)
    assert not (taken / ".keras/ANTsXNet").exists() or not [*(taken / ".keras/ANTsXNet").iterdir()]


def test_an_export_serves_as_lower_cache(keras: KerasAntsCache, server: StandIn, tmp_path: Path) -> None:
    fetch(keras)
    keras("export", "0.3.2", tmp_path / "out").succeeded()
    other = dataclasses.replace(keras, root=tmp_path / "upper")
    ran = other("prefetch", "0.3.2", "--name", VGG, "--offline", ANTSCACHE_SITE_DIRS=tmp_path / "out").succeeded()
    assert Path(ran.out.strip(), MODELS, FILES[VGG]).read_bytes() == bytes_of(server, VGG)


@pytest.mark.parametrize("within", ["", ".keras", MODELS])
def test_an_existing_file_is_adopted(keras: KerasAntsCache, server: StandIn, within: str) -> None:
    """Another file of its name is left alone, because its MD5 is known; so are Keras's others."""
    directory = keras.home / MODELS
    directory.mkdir(parents=True)
    (keras.home / ".keras/ANTsXNet").mkdir()
    (directory / FILES[VGG]).write_bytes(bytes_of(server, VGG))
    (directory / FILES[DENSENET]).write_bytes(content("9", FILES[DENSENET], 5_000))
    (directory / "resnet50.h5").write_bytes(content("9", "resnet50.h5", 5_000))
    ran = keras("adopt", keras.home / within, "--as", "0.3.2", "--offline")
    assert place(keras).read_bytes() == bytes_of(server, VGG)
    assert not place(keras, DENSENET).exists()
    assert "its MD5 is " in ran.out + ran.err
    assert ("resnet50.h5" in ran.out + ran.err) == (within == MODELS)


def test_names_left_behind_there_are_removed(keras: KerasAntsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed while it made a name leaves the file under a random name."""
    fetch(keras)
    (place(keras).parent / ("0" * 32)).touch()
    from antscache.views import links

    monkeypatch.setattr(links, "STALE_LINK_SECONDS", -1)
    cache = Cache.open(keras.root)
    assert [path.name for path in links.stale_links(cache.store.layout.views, 0)] == ["0" * 32]


def test_a_record_fetches_them_again(keras: KerasAntsCache, server: StandIn, tmp_path: Path) -> None:
    fetch(keras)
    [entry] = [row for row in keras("list", "0.3.2", "--kind", "keras", "--json").json if row["name"] == VGG]
    data = bytes_of(server, VGG)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    used = {key: entry[key] for key in ("kind", "name", "file", "identifier")}
    line = {"release": "antspynet==0.3.2", **used, "digest": digest, "size": len(data)}
    (tmp_path / "used.jsonl").write_text(json.dumps(line) + "\n")
    other = dataclasses.replace(keras, root=tmp_path / "other-root")
    other("prefetch", "--from-record", tmp_path / "used.jsonl").succeeded()
    assert place(other).read_bytes() == data
