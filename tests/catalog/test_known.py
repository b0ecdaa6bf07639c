"""Known digests: a shipped lockfile is trusted before a first download."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BRAIN, LUNG, SIZE, TEMPLATE, TRANSFORM, snapshot
from support.within import run_within

from antscache import Cache, disk
from antscache.catalog import known
from antscache.core import Choice, choose
from antscache.core.events import Refused
from antscache.core.lockfile import parse_lockfile
from antscache.core.manifest import parse_release
from antscache.errors import IntegrityError, ManifestError
from antscache.fetch import draft
from antscache.testing import Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

RELEASE = "antspynet==0.3.2"
NUMBERS = {BRAIN: "34821874", TEMPLATE: "22597175", TRANSFORM: "41052575"}
FILES = {BRAIN: f"{BRAIN}.h5", TEMPLATE: f"{TEMPLATE}.nii.gz", TRANSFORM: f"{TRANSFORM}.mat"}


@pytest.fixture
def measured(antscache: AntsCache) -> Path:
    """A lockfile that was measured in another root: of three entries."""
    chosen = [word for name in NUMBERS for word in ("--name", name)]
    antscache("prefetch", "0.3.2", *chosen, "--root", "measuring").succeeded()
    antscache("lock", "0.3.2", "--measured", "--root", "measuring", "-o", "antspynet-0.3.2.lock").succeeded()
    return antscache.home / "antspynet-0.3.2.lock"


@pytest.fixture
def shipped(measured: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same lockfile, as if it were shipped with antscache."""
    monkeypatch.setattr(known, "KNOWN_DIRECTORY", measured.parent)
    return measured


@pytest.fixture
def md5s(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All MD5s of received files that are begun from now on."""
    begun: list[Any] = []
    md5 = hashlib.md5

    def begin(*values: Any, **named: Any) -> Any:
        begun.append(values)
        return md5(*values, **named)

    monkeypatch.setattr(draft, "hashlib", SimpleNamespace(md5=begin))  # the stand-in computes its own
    return begun


def opened(antscache: AntsCache, **flags: Any) -> Cache:
    return Cache.open(antscache.root, origins=antscache.origins.split(), **flags)


def trust(antscache: AntsCache, name: str) -> str:
    record = json.loads((antscache.root / f"identifiers/figshare/{NUMBERS[name]}.json").read_bytes())
    return f"{record['trust']}: {' '.join(record['checks'])}"


def test_none_is_shipped_that_nobody_measured() -> None:
    files = sorted(path.name for path in known.KNOWN_DIRECTORY.iterdir())
    assert "README.md" in files
    for file in (known.KNOWN_DIRECTORY / name for name in files if name != "README.md"):
        [locked] = parse_lockfile(file.read_bytes(), str(file)).releases
        assert file.name == f"{locked.release.slug}.lock"
        assert locked.measured
        assert locked.origins


@pytest.mark.usefixtures("shipped")
def test_a_first_download_has_the_known_bytes(antscache: AntsCache, md5s: list[Any]) -> None:
    cache = opened(antscache)
    result = cache.prefetch(cache.plan("0.3.2", names=[BRAIN, TEMPLATE, LUNG]))
    assert len(result.fetched) == 3
    assert (trust(antscache, BRAIN), trust(antscache, TEMPLATE)) == ("lockfile: digest walk", "lockfile: digest")
    assert len(md5s) == 1  # of LUNG, which nobody has measured


def test_one_changed_bit_is_refused_without_an_md5(
    antscache: AntsCache, tmp_path: Path, measured: Path, md5s: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Length and form are right. Where nothing is known, such a file is taken: so the digest refuses it."""
    changed = bytearray(content(NUMBERS[TRANSFORM], FILES[TRANSFORM], SIZE))
    changed[-1] ^= 1  # in the last number of the transform
    (tmp_path / FILES[TRANSFORM]).write_bytes(changed)
    mirrors = [f"{tmp_path.as_uri()}/{{file}}"]
    cache = Cache.open(tmp_path / "unknowing", mirrors=mirrors, origins=antscache.origins.split())
    [fetched] = cache.prefetch(cache.plan("0.3.2", names=[TRANSFORM])).fetched
    assert fetched.origin == str(tmp_path)
    monkeypatch.setattr(known, "KNOWN_DIRECTORY", measured.parent)
    cache = opened(antscache, mirrors=mirrors)
    refused = []
    [fetched] = cache.prefetch(
        cache.plan("0.3.2", names=[TRANSFORM]),
        lambda event: refused.append(event) if isinstance(event, Refused) else None,
    ).fetched
    assert [event.origin for event in refused] == [str(tmp_path)]
    assert f"{fetched.blob.digest} is locked" in refused[0].outcome
    assert md5s == []


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    "how", [Misbehaviour.OTHER, Misbehaviour.CORRUPT, Misbehaviour.WRONG_TYPE, Misbehaviour.TRUNCATED]
)
def test_an_origins_other_bytes_leave_no_trace(
    antscache: AntsCache, figshare: StandIn, md5s: list[Any], how: Misbehaviour
) -> None:
    """Whatever its ETag says of them."""
    figshare.misbehave(NUMBERS[TEMPLATE], how)
    cache = opened(antscache)
    with pytest.raises(IntegrityError, match=f"locked: figshare:{NUMBERS[TEMPLATE]} as sha256"):
        cache.prefetch(cache.plan("0.3.2", names=[TEMPLATE]))
    assert md5s == []
    assert not [path for path in antscache.root.rglob("*") if path.name in {*FILES.values(), "22597175.json"}]


@pytest.mark.usefixtures("shipped")
def test_sizes_are_said_without_a_request(antscache: AntsCache, figshare: StandIn) -> None:
    before = len(figshare.requests)
    cache = opened(antscache)
    plan = cache.plan("0.3.2", names=[BRAIN, TEMPLATE, LUNG])
    assert cache.sizes(plan) == {f"figshare:{NUMBERS[name]}": SIZE for name in (BRAIN, TEMPLATE)}
    assert cache.need(plan).download == 2 * SIZE
    words = [word for name in (BRAIN, TEMPLATE, LUNG) for word in ("--name", name)]
    ran = run_within(["prefetch", "-n", "0.3.2", *words], antscache.environment(), antscache.home)
    assert "3 to fetch (8.0 kB, and 1 of unknown size)" in ran.out
    assert len(figshare.requests) == before


def test_the_file_is_read_only_for_unknown_bytes(
    antscache: AntsCache, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other file of the directory is: a prefetch with nothing to fetch costs no more than before."""
    (shipped.parent / "antspynet-0.2.9.lock").write_text("damaged", "utf-8")
    opened_files: list[str] = []
    read = disk.read

    def count(path: Path | str, *, follow: bool = False) -> bytes:
        content = read(path, follow=follow)
        if str(path).endswith(".lock"):
            opened_files.append(str(path))
        return content

    monkeypatch.setattr(disk, "read", count)
    cache = opened(antscache)
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    assert opened_files == [str(shipped)]
    cache.prefetch(cache.plan("0.3.2", names=[BRAIN]))
    cache.plan("0.1.1")
    assert opened_files == [str(shipped)]
    with pytest.raises(ManifestError, match=r"antspynet-0\.2\.9\.lock"):
        cache.plan("0.2.9")


def test_an_installation_of_its_own_knows_them_too(shipped: Path) -> None:
    assert known.known_blobs(parse_release("0.3.2+0123abcd")) == parse_lockfile(shipped.read_bytes(), "it").blobs


@pytest.mark.usefixtures("shipped")
def test_a_record_counts_more_than_known_bytes(antscache: AntsCache) -> None:
    """Somebody fetched other bytes before: they are not called wrong by a newer antscache."""
    antscache("prefetch", "0.3.2", "--name", TEMPLATE).succeeded()
    known_file = known.KNOWN_DIRECTORY / "antspynet-0.3.2.lock"
    text = known_file.read_text("utf-8")
    known_file.write_text(text.replace(text[text.rindex("sha256:") :][:71], f"sha256:{'0' * 64}"), "utf-8")
    cache = opened(antscache, offline=True)
    before = snapshot(antscache.root)
    cache.prefetch(cache.plan("0.3.2", names=[TEMPLATE]))
    assert snapshot(antscache.root) == before


def test_a_lock_is_made_of_known_bytes(antscache: AntsCache, shipped: Path) -> None:
    """Nothing has to be fetched for it."""
    cache = opened(antscache, offline=True)
    locked = cache.lock(choose(cache.manifest("0.3.2"), Choice(names=tuple(NUMBERS))))
    assert locked.view == parse_lockfile(shipped.read_bytes(), "it").releases[0].view


# Measuring


def test_measured_files_have_their_date_and_origins(antscache: AntsCache, measured: Path) -> None:
    [locked] = parse_lockfile(measured.read_bytes(), "it").releases
    records = [
        json.loads((antscache.home / f"measuring/identifiers/figshare/{number}.json").read_bytes())
        for number in NUMBERS.values()
    ]
    assert locked.measured == max(record["recorded"] for record in records)[:10]
    assert set(locked.origins) == {record["source"] for record in records}
    assert {entry.name for entry in locked.entries} == NUMBERS.keys()


def test_unconfirmed_files_are_left_out_and_said(antscache: AntsCache, tmp_path: Path) -> None:
    """Those of a mirror, and those that came by a lockfile."""
    (tmp_path / FILES[TEMPLATE]).write_bytes(content(NUMBERS[TEMPLATE], FILES[TEMPLATE], SIZE))
    antscache("prefetch", "0.3.2", "--name", TEMPLATE, "--mirror", f"{tmp_path.as_uri()}/{{file}}").succeeded()
    ran = antscache("lock", "0.3.2", "--measured")
    assert (ran.code, "no origin has confirmed" in ran.err) == (3, True)
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    ran = antscache("lock", "0.3.2", "--measured", "-o", "-").succeeded()
    assert [entry.name for entry in parse_lockfile(ran.out.encode(), "it").releases[0].entries] == [BRAIN]
    assert f"left out of {RELEASE}" in ran.err
    assert TEMPLATE in ran.err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(content=st.binary(max_size=100))
def test_a_damaged_known_file_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(known, "KNOWN_DIRECTORY", tmp_path)
    (tmp_path / "antspynet-0.3.2.lock").write_bytes(content)
    with pytest.raises(ManifestError, match=r"antspynet-0\.3\.2\.lock"):
        known.known_blobs(parse_release("0.3.2"))
