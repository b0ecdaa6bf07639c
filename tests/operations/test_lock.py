"""A lockfile is followed to the last byte: on another host, by prefetch, run and export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support import BRAIN, LUNG, SIZE, TEMPLATE, AntsCache, snapshot, upstreams
from support.upstreams import PYTHON, Upstream

from antscache.core.lockfile import Lockfile, encode_lockfile, make_lockfile, parse_lockfile
from antscache.store import view_digest
from antscache.testing import StandIn, content

if TYPE_CHECKING:
    from collections.abc import Callable

    from antscache.core.lockfile import LockedEntry

CHOSEN = ("--name", BRAIN, "--name", TEMPLATE)
TEMPLATE_NUMBER = "22597175"


@pytest.fixture
def lockfile(antscache: AntsCache) -> Path:
    """A lockfile of two entries of 0.3.2."""
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    antscache("lock", "0.3.2").succeeded()
    return antscache.home / "antscache.lock"


@pytest.fixture
def other(antscache: AntsCache, tmp_path: Path) -> AntsCache:
    """antscache on another host, with nothing held."""
    return AntsCache(tmp_path / "other", antscache.home, antscache.origins)


def read(path: Path) -> Lockfile:
    return parse_lockfile(path.read_bytes(), str(path))


def changed(path: Path, change: Callable[[LockedEntry], LockedEntry]) -> Path:
    """Change each entry of a lockfile, as somebody would who makes the whole file agree with itself."""
    releases = []
    for locked in read(path).releases:
        entries = tuple(map(change, locked.entries))
        view = view_digest((each.file, each.blob) for each in entries)
        releases.append(msgspec.structs.replace(locked, entries=entries, view=view))
    path.write_bytes(encode_lockfile(make_lockfile(releases)))
    return path


def with_other_digest(entry: LockedEntry) -> LockedEntry:
    return msgspec.structs.replace(entry, digest=f"sha256:{'0' * 64}") if entry.name == TEMPLATE else entry


def files_of(antscache: AntsCache) -> set[str]:
    return {path.name for path in (antscache.root / "views").rglob("*") if not path.is_dir()}


# Another host


def test_an_offline_host_gets_the_same_view(
    antscache: AntsCache, other: AntsCache, lockfile: Path, tmp_path: Path
) -> None:
    """It has nothing but a copy of the files, under other names of its own."""
    antscache("export", "0.3.2", tmp_path / "copy").succeeded()
    shutil.rmtree(tmp_path / "copy/views")
    other.environ |= {"ANTSCACHE_SITE_DIRS": str(tmp_path / "copy"), "ANTSCACHE_OFFLINE": "1"}
    other("prefetch", "--lock", lockfile).succeeded()
    digests = {each("path", "--digest", "0.3.2").succeeded().out.strip() for each in (antscache, other)}
    assert digests == {read(lockfile).releases[0].view}
    other("lock", "0.3.2", "-o", "again.lock").succeeded()
    assert (other.home / "again.lock").read_bytes() == lockfile.read_bytes()


def test_a_lock_fetches_its_entries_alone(other: AntsCache, lockfile: Path) -> None:
    home = other("prefetch", "--lock", lockfile).succeeded().out.strip()
    assert home.endswith("views/antspynet-0.3.2")
    assert files_of(other) == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    record = json.loads((other.root / f"identifiers/figshare/{TEMPLATE_NUMBER}.json").read_text("utf-8"))
    assert (record["trust"], record["checks"]) == ("lockfile", ["digest"])
    before = snapshot(other.root)
    other("prefetch", "--lock", lockfile).succeeded()
    assert snapshot(other.root) == before


def test_a_partial_manifest_is_not_kept(other: AntsCache, lockfile: Path) -> None:
    """Its files are fetched; but nobody takes the locked entries for the whole release."""
    lockfile.write_text(lockfile.read_text("utf-8").replace('"0.3.2"', '"7.0+abc"'), "utf-8")
    other("prefetch", "--lock", lockfile).succeeded()
    assert files_of(other) == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"}
    assert other("path", "--digest", "7.0+abc").succeeded().out.strip() == read(lockfile).releases[0].view
    assert other("list", "7.0+abc").code == 3


# Other bytes


@pytest.mark.parametrize("offline", ["0", "1"])
def test_one_changed_digest_is_refused(
    antscache: AntsCache, other: AntsCache, lockfile: Path, figshare: StandIn, offline: str
) -> None:
    """Nothing is linked, fetched or written: whether or not the files are held."""
    entry = next(each for each in read(lockfile).releases[0].entries if each.name == TEMPLATE)
    lockfile.write_text(lockfile.read_text("utf-8").replace(entry.digest, f"sha256:{'0' * 64}"), "utf-8")
    requests = len(figshare.requests)
    for each in (antscache, other):
        before = snapshot(each.root)
        for verb in (["prefetch"], ["export", "out"], ["run"]):
            words: list[str | Path] = [
                verb[0],
                "--lock",
                lockfile,
                *verb[1:],
                *(["--", "true"] if verb == ["run"] else []),
            ]
            ran = each(*words, ANTSCACHE_OFFLINE=offline)
            assert (ran.code, "not those of its view" in ran.err) == (3, True), ran.err
        assert snapshot(each.root) == before
    assert len(figshare.requests) == requests
    assert not (antscache.home / "out").exists()


def test_a_consistent_lie_about_held_bytes_is_refused(antscache: AntsCache, lockfile: Path) -> None:
    changed(lockfile, with_other_digest)
    antscache("rm", "0.3.2").succeeded()
    before = snapshot(antscache.root)
    for words in (["prefetch"], ["export", "out"], ["run"]):
        arguments: list[str | Path] = [
            words[0],
            "--lock",
            lockfile,
            *words[1:],
            *(["--", "true"] if words == ["run"] else []),
        ]
        ran = antscache(*arguments)
        assert (ran.code, f"figshare:{TEMPLATE_NUMBER}" in ran.err) == (5, True), ran.err
    assert snapshot(antscache.root) == before
    assert not (antscache.home / "out").exists()


def test_a_consistent_lie_about_an_origin_is_refused(other: AntsCache, lockfile: Path) -> None:
    """The files that arrive as they should are kept; of the other nothing is stored or linked."""
    changed(lockfile, with_other_digest)
    ran = other("prefetch", "--lock", lockfile)
    assert (ran.code, f"locked: figshare:{TEMPLATE_NUMBER}" in ran.err, "do not use that lockfile" in ran.err) == (
        5,
        True,
        True,
    )
    assert files_of(other) == {f"{BRAIN}.h5"}
    assert not (other.root / f"identifiers/figshare/{TEMPLATE_NUMBER}.json").exists()


def test_an_entry_of_another_source_is_refused(antscache: AntsCache, lockfile: Path) -> None:
    changed(
        lockfile, lambda entry: msgspec.structs.replace(entry, identifier=f"figshare:1{entry.size}{len(entry.name)}")
    )
    ran = antscache("prefetch", "--lock", lockfile)
    assert (ran.code, "another source with the same version" in ran.err) == (3, True)


@pytest.mark.parametrize("more", [["--accept", "figshare:1"], ["0.3.2"], ["--name", BRAIN], ["--kind", "data"]])
def test_a_lock_excludes_other_choices(antscache: AntsCache, lockfile: Path, more: list[str]) -> None:
    assert antscache("prefetch", "--lock", lockfile, *more).code == 2


def test_the_error_names_an_unreadable_lockfile(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        ran = antscache("prefetch", "--lock", path)
        assert (ran.code, str(path) in ran.err) == (3, True)


def test_a_lock_confirms_adopted_files(other: AntsCache, lockfile: Path, tmp_path: Path) -> None:
    """Before, only the user said that these are the bytes: no export takes them on that word."""
    (tmp_path / "old").mkdir()
    (tmp_path / f"old/{TEMPLATE}.nii.gz").write_bytes(content(TEMPLATE_NUMBER, f"{TEMPLATE}.nii.gz", SIZE))
    other("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    other("adopt", tmp_path / "old", "--as", "0.3.2", "--offline").succeeded()
    assert other("export", "--lock", lockfile, "out").code == 1
    ran = other("prefetch", "--lock", lockfile, "--offline").succeeded()
    assert f"figshare:{TEMPLATE_NUMBER} was adopted, and has the locked bytes" in ran.err
    record = json.loads((other.root / f"identifiers/figshare/{TEMPLATE_NUMBER}.json").read_text("utf-8"))
    assert (record["trust"], "digest" in record["checks"]) == ("lockfile", True)
    assert "was adopted" not in other("prefetch", "--lock", lockfile, "--offline").succeeded().err
    other("export", "--lock", lockfile, "out").succeeded()


# The digest of a view


def test_path_digest_needs_a_whole_view(antscache: AntsCache, lockfile: Path) -> None:
    digest = read(lockfile).releases[0].view
    assert antscache("path", "0.3.2", "--digest").succeeded().out == f"{digest}\n"
    antscache("forget", f"figshare:{TEMPLATE_NUMBER}").succeeded()
    ran = antscache("path", "0.3.2", "--digest")
    assert (ran.code, f"{TEMPLATE}.nii.gz" in ran.err, "antscache prefetch" in ran.err) == (7, True, True)
    assert antscache("path", "0.2.9", "--digest").code == 7


def test_an_export_has_the_digest_of_the_view(antscache: AntsCache, lockfile: Path, tmp_path: Path) -> None:
    exported = antscache("export", "0.3.2", tmp_path / "out", "--json").succeeded().json
    assert [each["digest"] for each in exported["releases"]] == [read(lockfile).releases[0].view]


# Export


def test_an_export_has_exactly_the_locked_files(antscache: AntsCache, lockfile: Path, tmp_path: Path) -> None:
    antscache("prefetch", "0.3.2", "--name", LUNG).succeeded()
    ran = antscache("export", "--lock", lockfile, tmp_path / "out", "--json").succeeded()
    assert [each["digest"] for each in ran.json["releases"]] == [read(lockfile).releases[0].view]
    assert not (tmp_path / f"out/views/antspynet-0.3.2/.keras/ANTsXNet/{LUNG}.h5").exists()
    exported = AntsCache(tmp_path / "out", antscache.home)
    assert exported("path", "--digest", "0.3.2").succeeded().out.strip() == read(lockfile).releases[0].view


def test_an_export_of_a_lock_needs_no_selection(other: AntsCache, lockfile: Path, tmp_path: Path) -> None:
    other("prefetch", "--lock", lockfile).succeeded()
    other("rm", "0.3.2").succeeded()
    other("export", "--lock", lockfile, tmp_path / "out").succeeded()


def test_an_export_of_a_lock_needs_all_files(other: AntsCache, lockfile: Path) -> None:
    ran = other("export", "--lock", lockfile, "out")
    assert (ran.code, f"{TEMPLATE}.nii.gz" in ran.err) == (7, True)
    for words in (["0.3.2", "out"], ["out", "--kind", "data"], []):
        assert other("export", "--lock", lockfile, *words).code == 2


# Run

ASK = """
import sys, antspynet
try:
    for word in sys.argv[1:]:
        kind, name, *place = word.split(":")
        more = {"target_file_name": place[0]} if place else {}
        getter = antspynet.get_antsxnet_data if kind == "data" else antspynet.get_pretrained_network
        print(getter(name, **more))
except RuntimeError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return upstreams.make(tmp_path_factory.mktemp("upstream"), "0.3.2")


@pytest.fixture
def locked_run(antscache: AntsCache, upstream: Upstream, other: AntsCache) -> Path:
    """A lockfile of two entries of an installation, which `antscache` holds three of; `other` holds nothing."""
    antscache("prefetch", "--from", upstream.directory, *CHOSEN, "--name", LUNG).succeeded()
    antscache("lock", "--from", upstream.directory, *CHOSEN).succeeded()
    for each in (antscache, other):
        each.environ["PYTHONPATH"] = upstream.path
    return antscache.home / "antscache.lock"


def test_cmd_gets_the_locked_files(other: AntsCache, locked_run: Path) -> None:
    """They are fetched before it runs."""
    ran = other("run", "--lock", locked_run, "--", PYTHON, "-c", ASK, f"network:{BRAIN}", f"data:{TEMPLATE}")
    paths = ran.succeeded().out.split()
    assert [path.rpartition("/")[2] for path in paths] == [f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz"]
    assert all(path.startswith(str(other.root / "views")) for path in paths)


@pytest.mark.parametrize("held", [True, False])
def test_cmd_gets_nothing_else(
    antscache: AntsCache, other: AntsCache, locked_run: Path, figshare: StandIn, *, held: bool
) -> None:
    """A file that is not in the lockfile is an error, although its view has it, or an origin would."""
    downloads = figshare.downloads("41965818")
    ran = (antscache if held else other)("run", "--lock", locked_run, "--", PYTHON, "-c", ASK, f"network:{LUNG}")
    assert ran.code == 1
    assert ran.out == ""
    assert f"{LUNG} of kind network (figshare:41965818) is not in {locked_run}" in ran.err
    assert figshare.downloads("41965818") == downloads


def test_places_of_cmd_get_locked_bytes_alone(
    antscache: AntsCache, upstream: Upstream, locked_run: Path, tmp_path: Path
) -> None:
    """A whole file of the user's own, where the program looks, must be the locked one."""
    view = antscache("path", "--from", upstream.directory, "--antsxnet")
    (own := tmp_path / "own").mkdir()
    right = Path(view.succeeded().out.strip(), f"{TEMPLATE}.nii.gz").read_bytes()
    for file, code in ((right, 0), (content("1", f"{TEMPLATE}.nii.gz", 5_000), 1)):
        (own / f"{TEMPLATE}.nii.gz").write_bytes(file)
        ran = antscache(
            "run", "--lock", locked_run, "--", PYTHON, "-c", ASK, f"data:{TEMPLATE}:{own}/{TEMPLATE}.nii.gz"
        )
        assert (ran.code, "does not have the bytes" in ran.err) == (code, code == 1), ran.err


def test_cmd_waits_for_the_whole_lock(other: AntsCache, locked_run: Path, tmp_path: Path) -> None:
    ran = other("run", "--offline", "--lock", locked_run, "--", "touch", tmp_path / "ran")
    assert (ran.code, (tmp_path / "ran").exists()) == (9, False)
    assert other("run", "--lock", locked_run, "0.3.2", "--", "true").code == 2


def test_cmd_is_offline(antscache: AntsCache, locked_run: Path) -> None:
    """It fetches nothing by other ways either."""
    command = antscache.command("prefetch", "0.3.2", "--name", LUNG, "--root", antscache.home / "another")
    ran = antscache("run", "--lock", locked_run, "--", *command)
    assert (ran.code, "missing and offline" in ran.err) == (9, True)


def test_another_release_gets_what_is_the_same(antscache: AntsCache, locked_run: Path) -> None:
    """What the installation asks for by another identifier than is locked is not given."""
    antscache("prefetch", "0.3.2", *CHOSEN).succeeded()
    antscache("lock", "0.3.2", *CHOSEN).succeeded()
    words: list[str | Path] = ["run", "--lock", locked_run, "--", PYTHON, "-c", ASK, f"network:{BRAIN}"]
    assert antscache(*words).succeeded().out.endswith(f"{BRAIN}.h5\n")
    changed(locked_run, lambda each: msgspec.structs.replace(each, name=f"other_{each.name}"))
    locked_run.write_text(locked_run.read_text("utf-8").replace('"0.3.2"', '"7.0"'), "utf-8")
    ran = antscache(*words)
    assert (ran.code, f"{BRAIN} of kind network (figshare:34821874) is not in" in ran.err) == (1, True)
