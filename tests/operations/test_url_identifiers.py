"""Files from URLs outside of Figshare, from the source that names them to the view, the export and the lower cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import AntsCache, snapshot
from support.sources import DATA, NETWORKS, getter, tree

from antscache.testing import Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER, LARGE = "101", "102"  # at the server; not Figshare's
SIZES = {LARGE: 3_000_000}
FILES = {NUMBER: "atlas.nii.gz", LARGE: "net.h5"}
FIGSHARE_NUMBER = 22597175  # of S_template3


@pytest.fixture(scope="module")
def _server() -> Iterator[StandIn]:
    with StandIn(FILES, size=4_000, sizes=SIZES) as server:
        yield server


@pytest.fixture
def server(_server: StandIn) -> Iterator[StandIn]:
    """A server that is not Figshare, and redirects each URL to its storage."""
    yield _server
    for number in FILES:
        _server.behave(number)


@dataclass
class Lab:
    """antscache, and the source of an antspynet with files from a server of its own."""

    antscache: AntsCache
    server: StandIn
    source: Path

    def url(self, number: str) -> str:
        return f"{self.server.url}/files/{number}"

    def record(self, number: str, root: Path | None = None) -> Path:
        digits = hashlib.sha256(self.url(number).encode()).hexdigest()
        return (root or self.antscache.root) / f"identifiers/url/{digits}.json"

    def write(self, more: dict[str, str] | None = None) -> None:
        """Write the source; `more` are further networks."""
        shutil.rmtree(self.source, ignore_errors=True)
        data = getter("get_antsxnet_data", ".nii.gz", {"atlas": self.url(NUMBER), "S_template3": FIGSHARE_NUMBER})
        networks = getter("get_pretrained_network", ".h5", {"net": self.url(LARGE), **(more or {})})
        tree(self.source, "0.9.9", {DATA: data, NETWORKS: networks})


@pytest.fixture
def lab(antscache: AntsCache, server: StandIn, tmp_path: Path) -> Lab:
    lab = Lab(antscache, server, tmp_path / "source")
    lab.write()
    return lab


def layout_of(root: Path) -> int:
    layout: int = json.loads((root / "antscache.json").read_text())["layout"]
    return layout


def test_a_url_is_fetched_recorded_and_linked(lab: Lab) -> None:
    """The environment's Figshare is not asked for it; nothing is missing afterwards, offline too."""
    before = len(lab.server.requests)
    ran = lab.antscache("prefetch", "--from", lab.source).succeeded()
    view = Path(ran.out.strip()) / ".keras/ANTsXNet"
    for number, file in FILES.items():
        assert (view / file).read_bytes() == lab.server.content(number)
        record = json.loads(lab.record(number).read_text())
        assert record["identifier"] == f"url:{lab.url(number)}"
        assert (record["trust"], record["source"]) == ("origin", lab.server.url.removeprefix("http://"))
        assert record["digest"] == f"sha256:{hashlib.sha256(lab.server.content(number)).hexdigest()}"
        assert set(record["checks"]) >= {"length", "md5", "form"}
        digits = lab.record(number).stem
        assert (lab.antscache.root / f"locks/{digits}.lock").exists()
    assert len(lab.server.requests) > before
    assert layout_of(lab.antscache.root) == 2
    held = snapshot(lab.antscache.root)
    lab.antscache("prefetch", "--from", lab.source, "--offline").succeeded()
    assert snapshot(lab.antscache.root) == held


def test_a_root_without_urls_keeps_its_layout(lab: Lab) -> None:
    lab.antscache("prefetch", "--from", lab.source, "--name", "S_template3").succeeded()
    assert layout_of(lab.antscache.root) == 1
    assert not (lab.antscache.root / "identifiers/url").exists()


def test_release_with_urls_keeps_its_place_everywhere(lab: Lab, tmp_path: Path) -> None:
    """In list, show, verify, rm, gc, adopt, export and a lower cache."""
    release = lab.antscache("list", "--from", lab.source, "--json").succeeded()
    assert {row["name"]: row["identifier"] for row in release.json}["atlas"] == f"url:{lab.url(NUMBER)}"
    home = Path(lab.antscache("prefetch", "--from", lab.source).succeeded().out.strip())
    version = home.name.removeprefix("antspynet-")
    assert f"url:{lab.url(NUMBER)}" in lab.antscache("show", "atlas").succeeded().out
    lab.antscache("verify", "--deep").succeeded()
    assert "condemned: 0 files" in lab.antscache("gc", "--grace", "0", "-n").succeeded().out
    lab.antscache("export", version, tmp_path / "out").succeeded()
    assert layout_of(tmp_path / "out") == 2
    assert lab.record(NUMBER, tmp_path / "out").exists()
    other = AntsCache(tmp_path / "other", lab.antscache.home, "http://127.0.0.1:9/{id}")
    below = other("prefetch", "--from", lab.source, "--offline", ANTSCACHE_SITE_DIRS=tmp_path / "out").succeeded()
    assert Path(below.out.strip(), ".keras/ANTsXNet/atlas.nii.gz").read_bytes() == lab.server.content(NUMBER)
    assert "is used" in other("doctor", "--offline", ANTSCACHE_SITE_DIRS=tmp_path / "out").out
    files = tmp_path / "files"
    files.mkdir()
    for number, file in FILES.items():
        (files / file).write_bytes(lab.server.content(number))
    adopted = AntsCache(tmp_path / "adopted", lab.antscache.home)
    adopted("list", "--from", lab.source).succeeded()
    assert adopted("adopt", files, "--from", lab.source, "--offline").code == 0
    assert json.loads(lab.record(NUMBER, tmp_path / "adopted").read_text())["trust"] == "adopted"
    lab.antscache("rm", version).succeeded()
    lab.antscache("gc", "--grace", "0").succeeded()
    assert layout_of(lab.antscache.root) == 2


def test_wrong_bytes_from_a_url_are_refused(lab: Lab) -> None:
    lab.server.misbehave(NUMBER, Misbehaviour.HTML)
    ran = lab.antscache("prefetch", "--from", lab.source, "--name", "atlas")
    assert ran.code == 4
    assert f"url:{lab.url(NUMBER)} (atlas.nii.gz of antspynet==0.9.9+" in ran.err
    assert not lab.record(NUMBER).exists()


def test_other_bytes_than_recorded_are_refused(lab: Lab) -> None:
    lab.antscache("prefetch", "--from", lab.source, "--name", "atlas").succeeded()
    record = json.loads(lab.record(NUMBER).read_text())
    [blob] = (lab.antscache.root / "blobs/sha256").glob(record["digest"].removeprefix("sha256:"))
    blob.unlink()
    lab.record(NUMBER).unlink()
    lab.record(NUMBER).write_text(json.dumps(record | {"digest": f"sha256:{'0' * 64}"}))
    assert lab.antscache("prefetch", "--from", lab.source, "--name", "atlas").code == 5


def test_only_mirrors_without_numbers_are_asked(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "atlas.nii.gz").write_bytes(content("9", "atlas.nii.gz", 5_000))
    mirrors = f"{lab.server.url}/{{id}}/number {tmp_path.as_uri()}/{{file}}"
    before = len(lab.server.requests)
    lab.antscache("prefetch", "--from", lab.source, "--name", "atlas", ANTSCACHE_MIRRORS=mirrors).succeeded()
    assert len(lab.server.requests) == before
    record = json.loads(lab.record(NUMBER).read_text())
    assert (record["trust"], record["source"], record["size"]) == (
        "mirror",
        str(tmp_path),
        (tmp_path / "atlas.nii.gz").stat().st_size,
    )


def test_sizes_are_asked_at_the_url(lab: Lab) -> None:
    ran = lab.antscache("prefetch", "--from", lab.source, "--name", "net", "-n", "--sizes", "--json").succeeded()
    [plan] = ran.json
    assert (plan["size"], plan["unknown"]) == (len(lab.server.content(LARGE)), 0)


def test_a_cut_transfer_from_a_url_goes_on(lab: Lab) -> None:
    lab.server.misbehave(LARGE, Misbehaviour.CUT, times=1)
    before = lab.server.sent(LARGE)
    lab.antscache("prefetch", "--from", lab.source, "--name", "net").succeeded()
    assert lab.server.sent(LARGE) - before < 1.9 * SIZES[LARGE]


def test_a_damaged_url_record_is_repaired(lab: Lab) -> None:
    lab.antscache("prefetch", "--from", lab.source, "--name", "atlas").succeeded()
    path = lab.record(NUMBER)
    path.unlink()
    path.write_text("{")
    damaged = lab.antscache("verify")
    assert (damaged.code, path.name in damaged.out + damaged.err) == (5, True)
    assert lab.antscache("gc", "--grace", "0").code == 6  # what it names is not known
    lab.antscache("verify", "--repair").succeeded()
    assert json.loads(path.read_text())["identifier"] == f"url:{lab.url(NUMBER)}"


def test_form_of_a_url_can_be_accepted(lab: Lab) -> None:
    ran = lab.antscache("prefetch", "--from", lab.source, "--name", "atlas", "--accept", f"url:{lab.url(NUMBER)}")
    ran.succeeded()
    assert lab.antscache("prefetch", "0.3.2", "--accept", "url:ftp://host/x").code == 2


# What cannot be an identifier


UNREADABLE = {"elsewhere": "ftp://host.org/elsewhere.h5"}


def test_unreadable_url_is_an_error_at_the_end(lab: Lab) -> None:
    """It names the entry; all other files are there, and a repeated prefetch fails as well."""
    lab.write(UNREADABLE)
    for _ in range(2):
        ran = lab.antscache("prefetch", "--from", lab.source)
        assert (ran.code, ran.err.count("error: "), ran.err.count("hint: ")) == (3, 1, 1)
        assert "elsewhere: line 6: 'ftp://host.org/elsewhere.h5' cannot be an identifier" in ran.err
        assert "hint: all other files are there; " in ran.err
    assert lab.record(LARGE).exists()
    assert lab.record(NUMBER).exists()
    assert lab.antscache("prefetch", "--from", lab.source, "-n").code == 3
    [plan] = lab.antscache("prefetch", "--from", lab.source, "-n", "--json").json
    assert [problem.split(":")[0] for problem in plan["problems"]] == ["elsewhere"]


def test_unreadable_url_not_asked_for_is_no_error(lab: Lab) -> None:
    lab.write(UNREADABLE)
    for arguments in ["--kind", "data"], ["--name", "net"]:
        lab.antscache("prefetch", "--from", lab.source, *arguments).succeeded()
    ran = lab.antscache("prefetch", "--from", lab.source, "--name", "elsewhere")
    assert (ran.code, "elsewhere: line 6: " in ran.err) == (3, True)


def test_unreadable_entries_are_listed(lab: Lab) -> None:
    lab.write(UNREADABLE)
    listed = lab.antscache("list", "--from", lab.source, "--json").succeeded().json
    assert {row["name"]: row["status"] for row in listed}["elsewhere"] == "unreadable"
    assert "unreadable    elsewhere (line 6: 'ftp://" in lab.antscache("list", "--from", lab.source).succeeded().out


def test_unread_getter_is_an_error_at_the_end(lab: Lab) -> None:
    """The entries of the other getter are there."""
    (lab.source / NETWORKS).write_text("def get_pretrained_network(): pass")
    ran = lab.antscache("prefetch", "--from", lab.source)
    assert (ran.code, lab.record(NUMBER).exists()) == (3, True)
    assert f"all names of kind network: {NETWORKS}, line 1: an assignment to switcher is expected once" in ran.err
    assert lab.antscache("prefetch", "--from", lab.source, "--kind", "data").code == 0
    for arguments in ["--kind", "network"], ["--name", "net"], ["--name", "net", "--kind", "network"]:
        asked = lab.antscache("prefetch", "--from", lab.source, *arguments)
        assert (asked.code, "all names of kind network" in asked.err) == (3, True)
    assert "warning: unreadable: all names of kind network" in lab.antscache("list", "--from", lab.source).err
