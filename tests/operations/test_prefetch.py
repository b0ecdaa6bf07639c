"""The main job, end to end: real processes, real HTTP, a real disk."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import h5py
import pytest
from support import BRAIN, FEW, LUNG, REPOSITORY, SIZE, TEMPLATE, TRANSFORM, AntsCache, mirror_of_pcasl, snapshot

import antscache as package
from antscache.core import events
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from antscache.core.events import Event

DEEP_ATROPOS = "DeepAtroposHcpT1Weights"  # 49946070 in 0.2.9, 51906071 in 0.3.2
SOME_NAMES = ["--name", BRAIN, "--name", TEMPLATE, "--name", DEEP_ATROPOS]


def antsxnet(home: str) -> Path:
    return Path(home.strip()) / ".keras/ANTsXNet"


# Prefetch


def test_the_view_has_the_releases_files(antscache: AntsCache, figshare: StandIn) -> None:
    """Each file has the name that the release gives it, and the origin's bytes."""
    ran = antscache("prefetch", "0.3.2", *SOME_NAMES, "--name", TRANSFORM).succeeded()
    found = {path.name: path.read_bytes() for path in antsxnet(ran.out).iterdir()}
    assert found == {
        f"{BRAIN}.h5": figshare.content("34821874"),
        f"{TEMPLATE}.nii.gz": figshare.content("22597175"),
        f"{DEEP_ATROPOS}.h5": figshare.content("51906071"),
        f"{TRANSFORM}.mat": figshare.content("41052575"),
    }
    assert ran.out == antscache("path", "0.3.2").out


def test_a_second_prefetch_asks_nobody_and_writes_nothing(antscache: AntsCache, figshare: StandIn) -> None:
    antscache("prefetch", "0.3.2", *SOME_NAMES).succeeded()
    requests, before = len(figshare.requests), snapshot(antscache.root)
    times = {path: path.stat().st_mtime_ns for path in antscache.root.rglob("*")}
    ran = antscache("prefetch", "0.3.2", *SOME_NAMES).succeeded()
    assert "nothing to fetch" in ran.err
    assert len(figshare.requests) == requests
    assert snapshot(antscache.root) == before
    assert {path: path.stat().st_mtime_ns for path in antscache.root.rglob("*")} == times
    antscache("prefetch", "0.3.2", *SOME_NAMES, "--offline").succeeded()


def test_a_whole_release_is_fetched_each_identifier_once(antscache: AntsCache) -> None:
    with StandIn(size=1000) as standin:
        ran = antscache("prefetch", "0.3.2", ANTSCACHE_ORIGINS=standin.origins).succeeded()
        rows = antscache("list", "0.3.2", "--json").json
        assert all(standin.downloads(row["identifier"].removeprefix("figshare:")) == 1 for row in rows)
    assert {row["status"] for row in rows} == {"present"}
    assert {path.name for path in antsxnet(ran.out).iterdir()} == {row["file"] for row in rows}
    assert len(rows) == 211
    lines = [line for line in ran.err.splitlines() if not line.startswith("linked by symlinks")]
    assert len(lines) == 211 + 3  # one plain line a file, the plan before, where from and the sum after


@pytest.mark.hard_links
def test_two_releases_share_only_common_bytes(antscache: AntsCache) -> None:
    views = antscache("prefetch", "0.2.9", "0.3.2", *SOME_NAMES, "--link-mode", "hardlink").succeeded().out.splitlines()
    old, new = map(antsxnet, views)
    assert (old / f"{BRAIN}.h5").samefile(new / f"{BRAIN}.h5")
    assert (old / f"{DEEP_ATROPOS}.h5").read_bytes() != (new / f"{DEEP_ATROPOS}.h5").read_bytes()
    assert len(list((antscache.root / "identifiers/figshare").iterdir())) == 4


def test_what_is_selected_adds_up(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("prefetch", "0.3.2", "--name", LUNG).succeeded()
    view = antsxnet(antscache("path", "0.3.2").succeeded().out)
    assert {path.name for path in view.iterdir()} == {f"{BRAIN}.h5", f"{LUNG}.h5"}


def test_kind_selects_and_model_means_network(antscache: AntsCache) -> None:
    plans = {
        kind: antscache("prefetch", "0.3.2", "--kind", kind, "-n", "--json").json
        for kind in ("data", "network", "model")
    }
    assert [len(plans[kind][0]["missing"]) for kind in plans] == [55, 156, 156]


def test_a_dry_run_only_prints_the_plan(antscache: AntsCache, figshare: StandIn) -> None:
    requests = len(figshare.requests)
    ran = antscache("prefetch", "0.2.9", "-n").succeeded()
    assert ran.out.splitlines()[-1] == "antspynet==0.2.9: 194 to fetch (of unknown size), 0 present, 6 unavailable"
    assert re.search(rf"^fetch  network  {DEEP_ATROPOS}\.h5 +figshare:49946070$", ran.out, re.MULTILINE)
    never = r"^never  network  allen_sr_weights\.h5 +unavailable: the release has an empty URL for it$"
    assert re.search(never, ran.out, re.MULTILINE)
    assert not antscache.root.exists()
    assert len(figshare.requests) == requests


def test_unavailable_entries_are_listed_and_never_planned(antscache: AntsCache) -> None:
    """The list gives the reason."""
    rows = antscache("list", "0.2.1").succeeded().out
    name = "allen_brain_leftright_coronal_mask_weights"
    assert re.search(rf"^network +- +unavailable +{name} \(the release has an empty URL for it\)$", rows, re.MULTILINE)
    [plan] = antscache("prefetch", "0.2.1", "-n", "--json").succeeded().json
    assert name in plan["unavailable"]
    assert name not in plan["missing"]


def test_antspyx_files_have_their_own_directory(antscache: AntsCache) -> None:
    ran = antscache("prefetch", "antspyx==0.6.3", ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    files = {path.name for path in (Path(ran.out.strip()) / ".antspy").iterdir()}
    images = {f"{name}.nii.gz" for name in ("ch2", "mni", "pcasl", "surf")}
    assert files == images | {f"r{n}slice.jpg" for n in (16, 27, 30, 62, 64, 85)}


def test_mirrors_are_asked_before_figshare(antscache: AntsCache) -> None:
    """The record says so."""
    with StandIn(FEW, size=2000) as mirror:
        template = f"{mirror.url}/files/{{id}}"
        antscache("prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_MIRRORS=template).succeeded()
        assert mirror.downloads("34821874") == 1
    record = json.loads((antscache.root / "identifiers/figshare/34821874.json").read_text())
    assert (record["trust"], record["source"]) == ("mirror", mirror.url.removeprefix("http://"))


def test_the_selection_is_written_before_anything_is_fetched(antscache: AntsCache) -> None:
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_ORIGINS="http://127.0.0.1:9/{id}")
    assert ran.code == 4
    assert len(list((antscache.root / "refs/antspynet/0.3.2").iterdir())) == 1
    assert list((antscache.root / "identifiers/figshare").iterdir()) == []


def test_a_damaged_view_is_mended(antscache: AntsCache) -> None:
    view = antsxnet(antscache("prefetch", "0.3.2", *SOME_NAMES).succeeded().out)
    (view / f"{BRAIN}.h5").unlink()
    (view / f"{TEMPLATE}.nii.gz").unlink()
    (view / f"{TEMPLATE}.nii.gz").write_bytes(b"cut")
    (view / "mine.h5").write_bytes(b"mine")
    warned = antscache("path", "0.3.2").succeeded().err
    assert f"warning: 2 of 3 files missing from the view, such as {TEMPLATE}.nii.gz" in warned
    antscache("prefetch", "0.3.2", *SOME_NAMES, "--offline").succeeded()
    assert antscache("path", "0.3.2").succeeded().err == ""
    assert (view / "mine.h5").read_bytes() == b"mine"


# Path and link


@pytest.mark.parametrize(("flag", "below"), [("--keras", ".keras"), ("--antsxnet", ".keras/ANTsXNet"), ("-q", "")])
def test_path_leads_to_the_view_and_into_it(antscache: AntsCache, flag: str, below: str) -> None:
    home = antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded().out.strip()
    assert Path(antscache("path", "antspynet==0.3.2", flag).succeeded().out.strip()) == Path(home) / below


def test_path_tells_the_root(antscache: AntsCache, tmp_path: Path) -> None:
    assert antscache("path", "--root").succeeded().out == f"{antscache.root}\n"
    assert antscache("--root", tmp_path / "x", "path", "--root").succeeded().out == f"{tmp_path}/x\n"


def test_nothing_points_out_of_a_linked_home(antscache: AntsCache, figshare: StandIn, tmp_path: Path) -> None:
    antscache("prefetch", "0.3.2", *SOME_NAMES).succeeded()
    ran = antscache("link", "0.3.2", "--home", tmp_path / "out").succeeded()
    files = list(antsxnet(ran.out).iterdir())
    assert len(files) == 3
    assert not any(path.is_symlink() for path in files)
    assert (tmp_path / f"out/.keras/ANTsXNet/{BRAIN}.h5").read_bytes() == figshare.content("34821874")
    assert "0 files linked, 3 already there" in antscache("link", "0.3.2", "--home", tmp_path / "out").succeeded().err


def test_link_takes_some_names_and_a_mode(antscache: AntsCache, tmp_path: Path) -> None:
    antscache("prefetch", "0.3.2", *SOME_NAMES).succeeded()
    ran = antscache("link", "0.3.2", "--home", tmp_path / "out", "--name", BRAIN, "--mode", "copy").succeeded()
    [file] = antsxnet(ran.out).iterdir()
    assert (file.name, file.stat().st_nlink) == (f"{BRAIN}.h5", 1)
    assert "1 file copied (as asked)" in ran.err


def test_two_releases_are_not_mixed_into_one_home(antscache: AntsCache, tmp_path: Path) -> None:
    antscache("prefetch", "0.2.9", "0.3.2", *SOME_NAMES).succeeded()
    antscache("link", "0.2.9", "--home", tmp_path / "out").succeeded()
    before = snapshot(tmp_path / "out")
    ran = antscache("link", "0.3.2", "--home", tmp_path / "out")
    assert (ran.code, f"other bytes under {DEEP_ATROPOS}.h5" in ran.err) == (7, True)
    assert snapshot(tmp_path / "out") == before


# Looking


def test_list_prints_each_entry_with_its_status(antscache: AntsCache, figshare: StandIn) -> None:
    antscache("prefetch", "0.2.9", "--name", BRAIN).succeeded()
    rows = {row["name"]: row for row in antscache("list", "antspynet==0.2.9", "--json").succeeded().json}
    assert rows[BRAIN] == {
        "kind": "network",
        "name": BRAIN,
        "file": f"{BRAIN}.h5",
        "identifier": "figshare:34821874",
        "status": "present",
        "digest": f"sha256:{hashlib.sha256(figshare.content('34821874')).hexdigest()}",
        "size": SIZE,
        "trust": "origin",
        "checks": ["length", "md5", "form", "walk"],
        "findings": [],
        "reason": None,
    }
    assert rows[TEMPLATE]["status"] == "missing"
    assert (rows["allen_sr_weights"]["identifier"], rows["allen_sr_weights"]["status"]) == (None, "unavailable")


def test_without_a_release_list_prints_what_is_held(antscache: AntsCache) -> None:
    assert antscache("list", "--json").succeeded().json == []
    antscache("prefetch", "0.2.9", "0.3.2", *SOME_NAMES).succeeded()
    held = {row["release"]: row for row in antscache("list", "--json").succeeded().json}
    assert held["antspynet==0.3.2"]["entries"] == held["antspynet==0.3.2"]["present"] == 3
    assert held["antspynet==0.3.2"]["own"] == 4000
    assert held["antspynet==0.3.2"]["size"] == sum(
        path.stat().st_size for path in antsxnet(held["antspynet==0.3.2"]["home"]).iterdir()
    )


def test_status_tells_what_releases_cost_alone_and_shared(antscache: AntsCache) -> None:
    empty = antscache("status").succeeded().out
    assert "(not made yet)" in empty
    antscache("prefetch", "0.2.9", "0.3.2", *SOME_NAMES).succeeded()
    found = antscache("status", "--json").succeeded().json
    assert found["root"] == str(antscache.root)
    assert {row["release"]: row["own"] for row in found["releases"]} == {
        "antspynet==0.2.9": 4000,
        "antspynet==0.3.2": 4000,
    }
    assert all(row["missing"] == 0 for row in found["releases"])


def test_diff_prints_added_removed_and_changed_names(antscache: AntsCache) -> None:
    found = antscache("diff", "antspynet==0.2.9", "antspynet==0.3.2", "--json").succeeded().json
    assert {kind: len(rows) for kind, rows in found.items()} == {"added": 17, "removed": 0, "changed": 6}
    assert {row["kind"] for row in found["changed"]} == {"network"}
    text = antscache("diff", "antspynet==0.2.9", "antspynet==0.3.2").succeeded()
    assert f"~  network  {DEEP_ATROPOS} " in text.out
    assert "figshare:49946070 -> figshare:51906071" in text.out
    assert text.err == "17 added, 0 removed, 6 changed\n"
    assert antscache("diff", "0.3.2", "0.3.2").succeeded().out == ""


def test_releases_and_show_tell_what_can_be_named(antscache: AntsCache) -> None:
    releases = antscache("releases", "--json").succeeded().json
    assert [row["release"] for row in releases][-2:] == ["antspynet==0.3.2", "antspyx==0.6.3"]
    rows = antscache("show", BRAIN, "--json").succeeded().json
    assert {row["identifier"] for row in rows} == {"figshare:34792930", "figshare:34821874"}


def test_the_root_flag_stands_anywhere(antscache: AntsCache, tmp_path: Path) -> None:
    other = tmp_path / "other"
    antscache("--root", other, "prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--root", other, "--offline").succeeded()
    assert not antscache.root.exists()


def test_quiet_prints_data_and_nothing_else(antscache: AntsCache) -> None:
    ran = antscache("-q", "prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert (ran.err, len(ran.out.splitlines())) == ("", 1)


# Python


def test_the_python_api_prefetches_with_events(antscache: AntsCache, figshare: StandIn) -> None:
    cache = package.Cache.open(antscache.root, origins=figshare.origins.split())
    heard: list[Event] = []
    result = cache.prefetch(cache.plan("antspynet==0.3.2", names=[BRAIN, TEMPLATE]), heard.append)
    assert {type(event).__name__ for event in heard} >= {"Started", "Received", "Fetched"}
    sizes = {event.file: event.blob.size for event in result.fetched}
    assert set(sizes) == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    digest = next(event.blob.digest for event in result.fetched if event.file == f"{BRAIN}.h5")
    assert digest == "sha256:" + hashlib.sha256(figshare.content("34821874")).hexdigest()
    home = package.prefetch("0.3.2", names=[BRAIN], root=str(antscache.root), offline=True)
    assert home == result.home
    with pytest.raises(package.AntsCacheError):
        package.prefetch("0.3.2", root=str(antscache.root), offline=True)


# Events


def test_json_prints_one_event_a_line(antscache: AntsCache, figshare: StandIn) -> None:
    figshare.misbehave("22597175", Misbehaviour.BROKEN, times=1)
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", TEMPLATE, "--json").succeeded()
    printed = [json.loads(line) for line in ran.out.splitlines()]
    kinds = [event["event"] for event in printed]
    assert (kinds[0], kinds[-1]) == ("planned", "prefetched")
    assert sorted(set(kinds)) == ["fetched", "planned", "prefetched", "refused", "started"]
    assert (kinds.count("refused"), kinds.count("fetched")) == (1, 2)
    assert printed[0] == {
        "event": "planned",
        "release": "antspynet==0.3.2",
        "present": [],
        "missing": [TEMPLATE, BRAIN],
        "unavailable": [],
        "problems": [],
        "seconds": 0.0,
        "size": 0,
        "unknown": 2,
        "short": 0,
    }
    [fetched] = [event for event in printed if event["event"] == "fetched" and event["file"] == f"{BRAIN}.h5"]
    content = figshare.content("34821874")
    assert fetched["blob"] == {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
    assert set(fetched["checks"]) >= {"length", "md5", "form"}
    assert printed[-1] == {
        "event": "prefetched",
        "release": "antspynet==0.3.2",
        "home": str(antscache.root / "views/antspynet-0.3.2"),
        "present": 2,
    }


def test_every_kind_of_event_is_documented(antscache: AntsCache) -> None:
    documented = set(re.findall(r"^\| `([a-z]+)` \|", (REPOSITORY / "docs/fetching.md").read_text(), re.MULTILINE))
    classes = set(get_args(events.Event)) - {events.BytesRead}  # of files on this host, which a prefetch does not read
    kinds = {kind.__name__.lower() for kind in classes} | {"planned", "prefetched"}
    assert kinds <= documented
    assert antscache("prefetch", "0.3.2", "--name", BRAIN, "--json", "--quiet").succeeded().err == ""


def test_the_end_says_how_much_came_from_where(antscache: AntsCache, figshare: StandIn) -> None:
    with StandIn(FEW, size=2000) as mirror:
        mirror.misbehave("22597175", Misbehaviour.MISSING)
        ran = antscache("prefetch", "0.3.2", *SOME_NAMES, ANTSCACHE_MIRRORS=f"{mirror.url}/files/{{id}}").succeeded()
        assert f"1 file, 2.0 kB from {mirror.url.removeprefix('http://')}\n" in ran.err
    assert f"2 files, 8.0 kB from {figshare.url.removeprefix('http://')}\n" in ran.err


# What checksums cannot see


def test_a_network_with_hazards_must_be_accepted(antscache: AntsCache, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "network.h5", "w") as network:
        network["weights"] = [1.0]
        network["more"] = h5py.ExternalLink("/etc/passwd", "/")
    with StandIn(FEW, contents={"34821874": tmp_path / "network.h5"}) as standin:
        arguments = ["prefetch", "0.3.2", "--name", BRAIN]
        refused = antscache(*arguments, ANTSCACHE_ORIGINS=standin.origins)
        assert (refused.code, "an external link '/more' to '/etc/passwd'" in refused.err) == (4, True)
        assert "--accept figshare:34821874" in refused.err
        antscache(*arguments, "--accept", "figshare:34821874", ANTSCACHE_ORIGINS=standin.origins).succeeded()
    record = json.loads((antscache.root / "identifiers/figshare/34821874.json").read_text())
    assert record["checks"] == ["length", "md5", "form", "walk"]
    assert "an external link '/more'" in record["accepted"]


def test_a_broken_h5py_is_noted_once(antscache: AntsCache, tmp_path: Path) -> None:
    """The command goes on without it."""
    (tmp_path / "h5py").mkdir()
    (tmp_path / "h5py/__init__.py").write_text("raise ImportError('a library is missing')")
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", LUNG, PYTHONPATH=tmp_path).succeeded()
    assert ran.err.count("note: HDF5 files are not scanned: ") == 1
    record = json.loads((antscache.root / "identifiers/figshare/34821874.json").read_text())
    assert record["checks"] == ["length", "md5", "form"]
