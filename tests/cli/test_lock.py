"""`antscache lock` and `antscache key`: what they write, refuse, compare and print."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from support import BRAIN, LUNG, SIZE, TEMPLATE, mirror_of_pcasl, snapshot
from support.sources import DATA, NETWORKS, fake_python, getter, tree

from antscache.core.lockfile import Lockfile, encode_lockfile, make_lockfile, parse_lockfile
from antscache.store import view_digest
from antscache.testing import StandIn, content

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

CHOSEN = ("--name", BRAIN, "--name", TEMPLATE)
KERAS = "vgg19_imagenet"


def read(text: str | bytes) -> Lockfile:
    return parse_lockfile(text.encode() if isinstance(text, str) else text, "it")


def names_in(lockfile: Lockfile) -> list[str]:
    return [entry.name for release in lockfile.releases for entry in release.entries]


# What is locked


def test_what_is_in_use_is_locked(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    ran = antscache("lock", "0.3.2").succeeded()
    assert ran.out == "antscache.lock\n"
    assert "antspynet==0.3.2: 2 files locked (8.0 kB)" in ran.err
    content = (antscache.home / "antscache.lock").read_bytes()
    [locked] = read(content).releases
    assert locked.names == tuple(sorted([BRAIN, TEMPLATE]))
    assert {(entry.identifier, entry.size) for entry in locked.entries} == {
        ("figshare:34821874", SIZE),
        ("figshare:22597175", SIZE),
    }
    assert antscache("lock", "0.3.2", "-o", "-").succeeded().out.encode() == content


def test_a_whole_release_has_no_choice(antscache: AntsCache) -> None:
    """So an update takes what the release has then."""
    antscache("prefetch", "antspyx==0.6.3", "--mirror", mirror_of_pcasl()).succeeded()
    [locked] = read(antscache("lock", "antspyx==0.6.3", "-o", "-").succeeded().out).releases
    assert (locked.names, locked.kinds) == ((), ())
    assert len(locked.entries) > 5


def test_a_choice_is_locked_without_being_in_use(antscache: AntsCache, figshare: StandIn) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    antscache("rm", "0.3.2").succeeded()
    requests = len(figshare.requests)
    [locked] = read(antscache("lock", "0.3.2", "--name", BRAIN, "-o", "-").succeeded().out).releases
    assert (names_in(make_lockfile([locked])), locked.names) == ([BRAIN], (BRAIN,))
    assert len(figshare.requests) == requests


def test_several_releases_are_sorted(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "0.2.9", *CHOSEN).succeeded()
    antscache("lock", "0.3.2", "0.2.9").succeeded()
    lockfile = read((antscache.home / "antscache.lock").read_bytes())
    assert [release.version for release in lockfile.releases] == ["0.2.9", "0.3.2"]


def test_nothing_in_use_names_a_way_out(antscache: AntsCache) -> None:
    ran = antscache("lock", "0.3.2")
    assert (ran.code, "antscache prefetch antspynet==0.3.2" in ran.err, "--name" in ran.err) == (7, True, True)
    assert not (antscache.home / "antscache.lock").exists()


def test_unknown_bytes_are_named(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    ran = antscache("lock", "0.3.2", *CHOSEN)
    assert ran.code == 3
    assert f"nobody knows yet which bytes these have: {TEMPLATE} (1 of 2 files of antspynet==0.3.2)" in ran.err
    assert f"`antscache prefetch antspynet==0.3.2 --name {TEMPLATE}`" in ran.err


def test_adopted_files_need_a_word(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / f"old/{TEMPLATE}.nii.gz").write_bytes(content("22597175", f"{TEMPLATE}.nii.gz", SIZE))
    antscache("adopt", tmp_path / "old", "--as", "0.3.2", "--offline").succeeded()
    ran = antscache("lock", "0.3.2")
    assert (ran.code, f"adopted, and not confirmed by an origin: {TEMPLATE}.nii.gz" in ran.err) == (1, True)
    assert names_in(read(antscache("lock", "0.3.2", "--adopted", "-o", "-").succeeded().out)) == [TEMPLATE]


def test_a_record_of_use_is_locked(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN, "--name", LUNG).succeeded()
    lines = []
    for entry in antscache("list", "0.3.2", "--json").json:
        if entry["name"] in {BRAIN, TEMPLATE}:
            number = entry["identifier"].removeprefix("figshare:")
            record = json.loads((antscache.root / f"identifiers/figshare/{number}.json").read_text("utf-8"))
            facts = {key: entry[key] for key in ("kind", "name", "file", "identifier")}
            facts |= {"release": "antspynet==0.3.2", "digest": record["digest"], "size": record["size"]}
            lines.append(json.dumps(facts))
    (antscache.home / "use").write_text("\n".join(lines), "utf-8")
    lockfile = read(antscache("lock", "--from-record", "use", "-o", "-").succeeded().out)
    assert set(names_in(lockfile)) == {BRAIN, TEMPLATE}
    elsewhere = antscache("lock", "--from-record", "use", "-o", "-", "--root", "nowhere").succeeded()
    assert read(elsewhere.out) == lockfile
    for words in (["0.3.2"], ["--name", BRAIN], ["--check"], ["--measured"]):
        assert antscache("lock", "--from-record", "use", *words).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--check", "--update"],
        ["--check", "--measured"],
        ["--check", "--name", BRAIN],
        ["--update", "--kind", "data"],
        ["--check", "-o", "-"],
    ],
)
def test_contradictions_are_usage_errors(antscache: AntsCache, words: list[str]) -> None:
    assert antscache("lock", *words).code == 2


def test_a_refused_file_stays_as_it_was(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    (antscache.home / "directory").mkdir()
    ran = antscache("lock", "0.3.2", "-o", "directory")
    assert (ran.code, "cannot write directory" in ran.err) == (6, True)
    assert antscache("lock", "0.3.2", "-o", "none/antscache.lock").code == 6
    assert sorted(path.name for path in antscache.home.iterdir() if not path.name.startswith(".")) == ["directory"]


def test_a_link_leads_to_the_same_file(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    (antscache.home / "antscache.lock").symlink_to("kept.lock")
    antscache("lock", "0.3.2").succeeded()
    assert (antscache.home / "antscache.lock").is_symlink()
    assert names_in(read((antscache.home / "kept.lock").read_bytes()))


def test_json_says_what_was_written(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    ran = antscache("lock", "0.3.2", "--json").succeeded()
    [locked] = read((antscache.home / "antscache.lock").read_bytes()).releases
    assert ran.json == {
        "file": "antscache.lock",
        "releases": [{"release": "antspynet==0.3.2", "view": locked.view, "entries": 2}],
    }


# Today's source


@pytest.fixture
def locked(antscache: AntsCache) -> Lockfile:
    """A lockfile of two names of 0.3.1, of which 0.3.2 has other identifiers or the same."""
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    antscache("lock", "0.3.2").succeeded()
    return read((antscache.home / "antscache.lock").read_bytes())


def test_a_fitting_lock_is_checked_without_a_word(antscache: AntsCache, locked: Lockfile) -> None:
    before = snapshot(antscache.home)
    ran = antscache("lock", "--check", "0.3.2").succeeded()
    assert ran.out == ""
    assert "antspynet==0.3.2: the same 2 files" in ran.err
    assert antscache("lock", "--check", "0.3.1", "--json").succeeded().json[0] | {"locked": ""} == {
        "locked": "",
        "release": "antspynet==0.3.1",
        "added": [],
        "removed": [],
        "changed": [],
    }
    assert snapshot(antscache.home) == before
    assert len(locked.releases) == 1


def edited(antscache: AntsCache, **changes: str) -> None:
    """Give the entries of the lockfile other identifiers, by name."""
    path = antscache.home / "antscache.lock"
    [release] = read(path.read_bytes()).releases
    entries = tuple(
        msgspec.structs.replace(entry, identifier=changes.get(entry.name, entry.identifier))
        for entry in release.entries
    )
    view = view_digest((entry.file, entry.blob) for entry in entries)
    path.write_bytes(encode_lockfile(make_lockfile([msgspec.structs.replace(release, entries=entries, view=view)])))


@pytest.mark.usefixtures("locked")
def test_a_changed_identifier_is_listed(antscache: AntsCache) -> None:
    edited(antscache, **{BRAIN: "figshare:77"})
    before = snapshot(antscache.home)
    ran = antscache("lock", "--check", "0.3.2")
    assert (ran.code, ran.out) == (3, f"~  network  {BRAIN}  figshare:77 -> figshare:34821874\n")
    assert "antscache.lock does not fit antspynet==0.3.2" in ran.err
    assert snapshot(antscache.home) == before


def test_update_prints_the_difference_and_writes_it(antscache: AntsCache, locked: Lockfile) -> None:
    edited(antscache, **{BRAIN: "figshare:77"})
    ran = antscache("lock", "--update", "0.3.2").succeeded()
    assert ran.out == f"~  network  {BRAIN}  figshare:77 -> figshare:34821874\n"
    assert read((antscache.home / "antscache.lock").read_bytes()) == locked


@pytest.mark.usefixtures("locked")
def test_update_goes_to_the_named_release(antscache: AntsCache) -> None:
    antscache("prefetch", "0.2.9", *CHOSEN).succeeded()
    antscache("lock", "--update", "0.2.9").succeeded()
    [release] = read((antscache.home / "antscache.lock").read_bytes()).releases
    assert (release.version, release.names) == ("0.2.9", tuple(sorted([BRAIN, TEMPLATE])))


@pytest.mark.usefixtures("locked")
def test_update_needs_the_new_bytes(antscache: AntsCache) -> None:
    """They are prefetched first; until then the lockfile stays."""
    antscache("forget", "figshare:22597175").succeeded()
    before = (antscache.home / "antscache.lock").read_bytes()
    ran = antscache("lock", "--update", "0.3.2")
    assert (ran.code, f"antscache prefetch antspynet==0.3.2 --name {TEMPLATE}" in ran.err) == (3, True)
    assert (antscache.home / "antscache.lock").read_bytes() == before


@pytest.mark.usefixtures("locked")
def test_update_never_changes_an_identifiers_bytes(antscache: AntsCache) -> None:
    path = antscache.home / "antscache.lock"
    [release] = read(path.read_bytes()).releases
    entries = tuple(msgspec.structs.replace(entry, size=entry.size + 1) for entry in release.entries)
    view = view_digest((entry.file, entry.blob) for entry in entries)
    path.write_bytes(encode_lockfile(make_lockfile([msgspec.structs.replace(release, entries=entries, view=view)])))
    before = path.read_bytes()
    ran = antscache("lock", "--update", "0.3.2")
    assert (ran.code, "never change" in ran.err) == (5, True)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("locked")
def test_a_lock_of_another_package_is_no_match(antscache: AntsCache) -> None:
    ran = antscache("lock", "--check", "antspyx==0.6.3")
    assert (ran.code, "the lockfile does not name antspyx==0.6.3, but antspynet==0.3.2" in ran.err) == (3, True)


@pytest.mark.parametrize("option", ["--from", "--python"])
def test_an_installed_source_is_followed(antscache: AntsCache, tmp_path: Path, option: str) -> None:
    """Of a whole release a removed name goes, and an added one comes once it is there."""
    data = getter("get_antsxnet_data", ".nii.gz", {"adni": 11, "more": 33})
    networks = getter("get_pretrained_network", ".h5", {"other": 44})
    old, new = tree(tmp_path / "old", "0.4.0"), tree(tmp_path / "new", "0.4.1", {DATA: data, NETWORKS: networks})
    words: list[str | Path] = [option, new if option == "--from" else fake_python(tmp_path / "env", new) / "bin/python"]
    numbers = {"11": "adni.nii.gz", "22": "brain.h5", "33": "more.nii.gz", "44": "other.h5"}
    with StandIn(numbers, size=SIZE) as standin:
        antscache.environ["ANTSCACHE_ORIGINS"] = standin.origins
        antscache("prefetch", "--from", old).succeeded()
        antscache("lock", "--from", old).succeeded()
        ran = antscache("lock", "--check", *words)
        assert ran.code == 3
        assert [line.split() for line in ran.out.splitlines()] == [
            ["+", "data", "more", "figshare:33"],
            ["+", "network", "other", "figshare:44"],
            ["-", "network", "brain", "figshare:22"],
        ]
        ran = antscache("lock", "--update", *words)
        assert (ran.code, "more, other" in ran.err) == (3, True)
        antscache("prefetch", *words).succeeded()
        antscache("lock", "--update", *words).succeeded()
    lockfile = read((antscache.home / "antscache.lock").read_bytes())
    assert names_in(lockfile) == ["adni", "more", "other"]
    assert lockfile.releases[0].version.startswith("0.4.1+")
    antscache("lock", "--check", *words).succeeded()


# Keys


def test_a_key_is_that_of_the_choice_alone(antscache: AntsCache) -> None:
    """It depends neither on the files that are held, nor on the order of the names."""
    key = antscache("key", "0.3.2", *CHOSEN).succeeded().out.strip()
    assert re.fullmatch("sha256:[0-9a-f]{64}", key)
    assert not antscache.root.exists()
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    reversed_names = ("--name", TEMPLATE, "--name", BRAIN)
    ran = antscache("key", "antspynet==0.3.2", *reversed_names, "--json").succeeded()
    assert ran.json == {"release": "antspynet==0.3.2", "key": key, "entries": 2}
    others = [[], ["--kind", "data"], ["--name", BRAIN], ["--name", KERAS]]
    keys = {antscache("key", "0.3.2", *words).succeeded().out.strip() for words in others}
    assert len(keys | {key}) == 5
    assert antscache("key", "0.3.1", *CHOSEN).succeeded().out.strip() == key  # which asks for the same


def test_a_key_of_unknown_names_is_an_error(antscache: AntsCache) -> None:
    assert antscache("key", "0.3.2", "--name", "nothing").code == 3


# By what functions need

T1 = ("--for", "brain_extraction:modality=t1")


def test_a_lock_keeps_its_call(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *T1).succeeded()
    [locked] = read(antscache("lock", "0.3.2", *T1, "-o", "-").succeeded().out).releases
    assert locked.functions == ("brain_extraction:modality=t1",)
    assert names_in(Lockfile(1, (locked,))) == [TEMPLATE, BRAIN]


def test_a_check_asks_what_the_call_needs_today(antscache: AntsCache) -> None:
    """A release whose function needs other files does not fit, although all locked identifiers are there."""
    antscache("prefetch", "0.3.2", *T1).succeeded()
    antscache("lock", "0.3.2", *T1).succeeded()
    antscache("lock", "0.3.2", "--check").succeeded()
    path = antscache.home / "antscache.lock"
    path.write_text(path.read_text().replace("modality=t1", "modality=t1.v1"))
    checked = antscache("lock", "0.3.2", "--check")
    assert checked.code == 3
    assert "brainExtractionT1v1" in checked.out


def test_a_key_is_that_of_what_functions_need(antscache: AntsCache) -> None:
    by_names = antscache("key", "0.3.2", *CHOSEN).succeeded().out
    assert antscache("key", "0.3.2", *T1).succeeded().out == by_names
    assert antscache("key", "0.3.2", "--for", "brain_extraction:modality=t2").succeeded().out != by_names
