"""Scans of networks that no origin has just delivered: those held, those to adopt, and a program's own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import BRAIN
from support.networks import LAMBDA, LAMBDA_SAID, LEADING_OUT, break_h5py, write_network

from antscache import Cache
from antscache.config import Settings
from antscache.core import Event, Record, Remarked, descriptor_of
from antscache.errors import IntegrityError, Offline
from antscache.store import Store
from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import AntsCache
    from support.networks import Write

LOADED, WEIGHTS = "brainAgeDeepBrainNet", BRAIN
NUMBERS = {LOADED: "23573402", WEIGHTS: "34821874"}
LINK = LEADING_OUT["external link"]
NEVER = "never scanned for code and for links to other files"


def record_path(root: Path, name: str) -> Path:
    return root / f"identifiers/figshare/{NUMBERS[name]}.json"


def record(root: Path, name: str) -> Any:
    return json.loads(record_path(root, name).read_text("utf-8"))


# Networks that are held


@pytest.fixture
def hold(antscache: AntsCache, tmp_path: Path) -> Callable[[Write], None]:
    """Fetch a network while h5py is broken, so that nobody scans it."""

    def fetch(write: Write) -> None:
        path, number = write_network(tmp_path / "network.h5", write), NUMBERS[WEIGHTS]
        broken = break_h5py(tmp_path / "broken")
        with StandIn({number: f"{WEIGHTS}.h5"}, contents={number: path}) as standin:
            arguments = ("prefetch", "0.3.2", "--name", WEIGHTS)
            ran = antscache(*arguments, ANTSCACHE_ORIGINS=standin.origins, PYTHONPATH=broken).succeeded()
        assert "verified" not in ran.err
        assert "1 fetched (" in ran.err
        assert "1 of them networks that were not scanned" in ran.err
        assert record(antscache.root, WEIGHTS)["checks"] == ["length", "md5", "form"]

    return fetch


def test_verify_counts_unscanned_networks(antscache: AntsCache, hold: Callable[[Write], None]) -> None:
    """That is no error, and the way out that it names is one."""
    hold(LAMBDA)
    ran = antscache("verify").succeeded()
    assert f"1 network was {NEVER}" in ran.err
    assert antscache("verify", "--json").succeeded().json["unscanned"] == [f"figshare:{NUMBERS[WEIGHTS]}"]
    assert NEVER in antscache("doctor").out
    (command,) = re.findall(r"`antscache (.*?)`", ran.err)
    antscache(*command.split()).succeeded()
    assert NEVER not in antscache("verify").succeeded().err
    assert NEVER not in antscache("doctor").out


def test_deep_verify_scans_and_changes_nothing(antscache: AntsCache, hold: Callable[[Write], None]) -> None:
    hold(LAMBDA)
    before = record_path(antscache.root, WEIGHTS).read_bytes()
    ran = antscache("verify", "--deep").succeeded()
    assert f"note: found in {WEIGHTS}.h5 figshare:{NUMBERS[WEIGHTS]}: {LAMBDA_SAID}" in ran.err
    assert NEVER not in ran.err
    assert record_path(antscache.root, WEIGHTS).read_bytes() == before


def test_deep_repair_records_the_scan(antscache: AntsCache, hold: Callable[[Write], None]) -> None:
    """Everything else in the record stays."""
    hold(LAMBDA)
    before = record(antscache.root, WEIGHTS)
    antscache("verify", "--deep", "--repair").succeeded()
    scan = {"checks": [*before["checks"], "walk"], "findings": [LAMBDA_SAID]}
    assert record(antscache.root, WEIGHTS) == before | scan
    assert "note: found" not in antscache("verify", "--deep").succeeded().err, "it is not new any more"


def test_deep_verify_finds_what_leads_out(antscache: AntsCache, hold: Callable[[Write], None]) -> None:
    """It stays a finding until the user forgets the record, and no record says that it was scanned."""
    hold(LINK)
    for arguments in (["--deep"], ["--deep", "--repair"]):
        ran = antscache("verify", *arguments)
        assert ran.code == 5
        assert "an HDF5 file with an external link '/more' to '/etc/passwd'" in ran.out
        assert f"antscache forget figshare:{NUMBERS[WEIGHTS]}" in ran.out
    assert "walk" not in record(antscache.root, WEIGHTS)["checks"]


def test_a_broken_scanner_records_nothing(antscache: AntsCache, hold: Callable[[Write], None], tmp_path: Path) -> None:
    hold(LINK)
    ran = antscache("verify", "--deep", "--repair", PYTHONPATH=tmp_path / "broken").succeeded()
    assert "note: HDF5 files are not scanned: " in ran.err
    assert NEVER in ran.err
    assert "h5py cannot be used" in antscache("doctor", PYTHONPATH=tmp_path / "broken").out


def test_damaged_bytes_are_not_scanned(antscache: AntsCache, hold: Callable[[Write], None]) -> None:
    """A scan of other bytes says nothing about those of the record."""
    hold(LINK)
    blob = antscache.root / "blobs/sha256" / record(antscache.root, WEIGHTS)["digest"].removeprefix("sha256:")
    blob.chmod(0o644)
    write_network(blob, LAMBDA)
    assert antscache("verify", "--deep", "--repair", "--offline").code == 5
    assert "walk" not in record(antscache.root, WEIGHTS)["checks"]


def test_a_lower_cache_is_scanned_and_not_written(
    antscache: AntsCache, hold: Callable[[Write], None], tmp_path: Path
) -> None:
    hold(LAMBDA)
    before = record_path(antscache.root, WEIGHTS).read_bytes()
    upper: dict[str, Any] = {"ANTSCACHE_DIR": tmp_path / "upper", "ANTSCACHE_SITE_DIRS": antscache.root}
    antscache("prefetch", "0.3.2", "--name", WEIGHTS, "--offline", **upper).succeeded()
    assert LAMBDA_SAID in antscache("verify", "--deep", **upper).succeeded().err
    antscache("verify", "--deep", "--repair", **upper).succeeded()
    assert record_path(antscache.root, WEIGHTS).read_bytes() == before


def test_a_scan_is_of_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.create()
    blob = store.add(b"network")
    now = "2026-01-01T00:00:00+00:00"
    kept = Record("figshare:1", blob.digest, blob.size, "origin", "host", now, ("length",))
    scanned = msgspec.structs.replace(kept, trust="lockfile", checks=("walk",), findings=("code",))
    store.records.remember(kept)
    store.records.add_scan(msgspec.structs.replace(scanned, digest=descriptor_of(b"other").digest))
    assert store.record("figshare:1") == kept
    store.records.add_scan(scanned)
    added = msgspec.structs.replace(kept, checks=("length", "walk"), findings=("code",))
    assert store.record("figshare:1") == added
    store.records.add_scan(msgspec.structs.replace(scanned, identifier="figshare:2"))
    assert store.record("figshare:2") is None


# Networks to adopt


def adopt(antscache: AntsCache, name: str, write: Write, *arguments: str, origins: str = "") -> Any:
    """Adopt a network from a directory, and return its fate."""
    directory = antscache.home / "mine"
    directory.mkdir()
    write_network(directory / f"{name}.h5", write)
    environ: dict[str, Any] = {"ANTSCACHE_ORIGINS": origins} if origins else {}
    ran = antscache("adopt", directory, "--as", "0.3.2", "--json", *arguments, **environ).succeeded()
    (file,) = ran.json["files"]
    return file


def test_adopted_code_that_would_run_is_left(antscache: AntsCache) -> None:
    file = adopt(antscache, LOADED, LAMBDA, "--offline")
    assert (file["fate"], LAMBDA_SAID in file["why"]) == ("left", True)
    assert f"antscache prefetch antspynet==0.3.2 --name {LOADED} --accept figshare:{NUMBERS[LOADED]}" in file["why"]


def test_adopted_code_that_nobody_loads_is_recorded(antscache: AntsCache) -> None:
    file = adopt(antscache, WEIGHTS, LAMBDA, "--offline", "--identifier", f"{WEIGHTS}.h5=figshare:{NUMBERS[WEIGHTS]}")
    assert (file["fate"], file["findings"], file["checks"]) == ("taken", [LAMBDA_SAID], ["form", "walk"])
    assert record(antscache.root, WEIGHTS)["findings"] == [LAMBDA_SAID]


@pytest.mark.parametrize("write", LEADING_OUT.values(), ids=LEADING_OUT)
def test_adopted_files_never_lead_out(antscache: AntsCache, write: Write) -> None:
    file = adopt(antscache, WEIGHTS, write, "--offline", "--identifier", f"{WEIGHTS}.h5=figshare:{NUMBERS[WEIGHTS]}")
    assert file["fate"] == "left"
    assert not record_path(antscache.root, WEIGHTS).exists()


def test_code_that_an_origin_confirms_is_adopted(antscache: AntsCache, tmp_path: Path) -> None:
    path, number = write_network(tmp_path / "network.h5", LAMBDA), NUMBERS[LOADED]
    with StandIn({number: f"{LOADED}.h5"}, contents={number: path}) as standin:
        file = adopt(antscache, LOADED, LAMBDA, origins=standin.origins)
    assert (file["fate"], file["trust"], file["findings"]) == ("taken", "origin", [LAMBDA_SAID])


def test_strict_adopts_no_finding(antscache: AntsCache) -> None:
    identifier = f"{WEIGHTS}.h5=figshare:{NUMBERS[WEIGHTS]}"
    assert adopt(antscache, WEIGHTS, LAMBDA, "--offline", "--strict", "--identifier", identifier)["fate"] == "left"


# A program's own networks


@pytest.fixture
def provide(tmp_path: Path) -> Callable[..., tuple[Path | None, list[str]]]:
    """Provide a network offline to a program that names a place; return its path, and the remarks."""

    def ask(name: str, place: Path | None) -> tuple[Path | None, list[str]]:
        cache = Cache(Settings(root=str(tmp_path / "root"), offline=True))
        manifest, heard = cache.manifest("0.3.2"), list[Event]()
        entry = next(entry for entry in manifest.entries if entry.name == name)
        location = cache.provide(manifest, entry, place=place, listen=heard.append)
        return location.path, [event.text for event in heard if isinstance(event, Remarked)]

    return ask


def test_a_programs_own_code_is_refused(provide: Callable[..., tuple[Path | None, list[str]]], tmp_path: Path) -> None:
    place = write_network(tmp_path / f"{LOADED}.h5", LAMBDA)
    with pytest.raises(IntegrityError, match=f"{place} is refused: an HDF5 file with {LAMBDA_SAID}") as caught:
        provide(LOADED, place)
    assert (
        f"antscache prefetch antspynet==0.3.2 --name {LOADED} --accept figshare:{NUMBERS[LOADED]}" in caught.value.hint
    )


def test_a_programs_other_code_is_remarked(
    provide: Callable[..., tuple[Path | None, list[str]]], tmp_path: Path
) -> None:
    place = write_network(tmp_path / f"{WEIGHTS}.h5", LAMBDA)
    assert provide(WEIGHTS, place) == (place, [f"found in {place}: {LAMBDA_SAID}"])


def test_a_programs_own_file_never_leads_out(
    provide: Callable[..., tuple[Path | None, list[str]]], tmp_path: Path
) -> None:
    place = write_network(tmp_path / f"{WEIGHTS}.h5", LINK)
    with pytest.raises(IntegrityError, match="an external link '/more'"):
        provide(WEIGHTS, place)


def test_a_refused_file_at_home_is_not_used(
    provide: Callable[..., tuple[Path | None, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras/ANTsXNet").mkdir(parents=True)
    write_network(tmp_path / f".keras/ANTsXNet/{LOADED}.h5", LAMBDA)
    with pytest.raises(Offline):
        provide(LOADED, None)
