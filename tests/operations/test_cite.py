"""`antscache cite`: the files that are cited, and their digest."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BRAIN, LUNG, TEMPLATE, upstreams

from antscache.core import UsageRecord, digest_of, files_of_usage, parse_release
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

    from antscache.core import Release
    from antscache.testing import StandIn

RELEASE = "antspynet==0.3.2"
MINE = f"{BRAIN}.h5=figshare:34821874"
NAMED = ("--name", BRAIN, "--name", TEMPLATE)


@pytest.fixture
def held(antscache: AntsCache) -> AntsCache:
    """antscache with two files of 0.3.2."""
    antscache("prefetch", RELEASE, *NAMED).succeeded()
    return antscache


def usage_log(antscache: AntsCache, path: Path, *names: str, **changes: object) -> Path:
    """Write a record of these entries, as `run --record` does."""
    keys = ("kind", "name", "file", "identifier", "digest", "size")
    rows = [row for row in antscache("list", RELEASE, "--json").json if row["name"] in names]
    lines = [{"release": RELEASE} | {key: row[key] for key in keys} | changes for row in rows]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def facts(antscache: AntsCache, *words: str | Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = antscache("cite", *words, "--json").succeeded().json
    return content


def test_selected_files_are_cited(held: AntsCache) -> None:
    [one] = facts(held, RELEASE)
    listed = [row for row in held("list", RELEASE, "--json").json if row["status"] == "present"]
    assert [{**row, "address": None} for row in one["files"]] == [
        {key: row.get(key) for key in one["files"][0]} for row in listed
    ]
    assert {row["name"]: row["address"] for row in one["files"]} == {
        BRAIN: "https://ndownloader.figshare.com/files/34821874",
        TEMPLATE: "https://ndownloader.figshare.com/files/22597175",
    }
    text = held("cite", RELEASE).succeeded().out
    assert text.startswith(one["sentence"])
    assert "ANTsPyNet 0.3.2 (Tustison et al., 2021) with 1 data file and 1 pretrained network" in text


def test_view_has_the_digest_of_its_export(held: AntsCache, tmp_path: Path) -> None:
    """It is that of the release's artifact in `index.json`."""
    [one] = facts(held, RELEASE)
    [exported] = held("export", "-n", RELEASE, tmp_path / "out", "--json").succeeded().json["releases"]
    index = json.loads((held.root / "index.json").read_text("utf-8"))
    assert one["view"] == exported["digest"] == index["manifests"][0]["digest"]


def test_record_is_cited_without_its_files(held: AntsCache, tmp_path: Path) -> None:
    """On another host, where nobody can tell what was adopted; the digest is that of a view with these files alone."""
    record = usage_log(held, tmp_path / "used.jsonl", TEMPLATE)
    elsewhere = ("--record", record, "--root", tmp_path / "elsewhere")
    [one] = facts(held, *elsewhere)
    assert [(row["name"], row["trust"]) for row in one["files"]] == [(TEMPLATE, None)]
    assert "with 1 data file (view" in one["sentence"]
    assert "note: the bytes of 1 file are not recorded in" in held("cite", *elsewhere).err
    held("prefetch", "--from-record", record, "--root", tmp_path / "other").succeeded()
    [other] = facts(held, RELEASE, "--root", tmp_path / "other")
    assert other["view"] == one["view"] != facts(held, RELEASE)[0]["view"]
    assert held("cite", "--record", record).succeeded().err == ""


def test_a_lockfile_is_cited_like_its_view(held: AntsCache, tmp_path: Path) -> None:
    """The lockfile, the view and a record name the same files and the same digest, also where nothing is held."""
    held("lock", RELEASE, "-o", tmp_path / "antscache.lock").succeeded()
    [locked] = facts(held, "--lock", tmp_path / "antscache.lock")
    assert [locked] == facts(held, RELEASE)
    assert locked["view"] == held("path", RELEASE, "--digest").succeeded().out.strip()
    elsewhere = held(
        "cite", "--lock", tmp_path / "antscache.lock", "--json", ANTSCACHE_DIR=tmp_path / "other"
    ).succeeded()
    assert [file["digest"] for file in elsewhere.json[0]["files"]] == [file["digest"] for file in locked["files"]]


def test_trust_is_that_of_the_same_bytes(held: AntsCache, tmp_path: Path) -> None:
    """A root that has recorded other bytes of the identifier says nothing about those that were used."""
    record = usage_log(held, tmp_path / "used.jsonl", BRAIN, digest=digest_of(b"other"))
    [one] = facts(held, "--record", record)
    assert [(row["digest"], row["trust"]) for row in one["files"]] == [(digest_of(b"other"), None)]


def test_records_of_several_processes_are_one(held: AntsCache, tmp_path: Path) -> None:
    one, two = (usage_log(held, tmp_path / name, *names) for name, names in (("1", [BRAIN]), ("2", [BRAIN, TEMPLATE])))
    [cited] = facts(held, "--record", one, "--record", two)
    assert cited["view"] == facts(held, RELEASE)[0]["view"]


def test_adopted_files_are_said_to_be(antscache: AntsCache, figshare: StandIn, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / f"mine/{BRAIN}.h5").write_bytes(figshare.content("34821874"))
    antscache("adopt", tmp_path / "mine", "--as", RELEASE, "--offline", "--identifier", MINE).succeeded()
    record = usage_log(antscache, tmp_path / "used.jsonl", BRAIN)
    for words in [RELEASE], ["--record", record]:
        assert 'Of these, 1 (marked "adopted") was adopted' in antscache("cite", *words).succeeded().out


def test_missing_file_is_an_error(held: AntsCache) -> None:
    """A citation of the others would state another view."""
    digest = next(row["digest"] for row in held("list", RELEASE, "--json").json if row["name"] == BRAIN)
    (held.root / "blobs/sha256" / digest.removeprefix("sha256:")).unlink()
    ran = held("cite", RELEASE)
    assert (ran.code, ran.out) == (7, "")
    assert f"{BRAIN}.h5 (1 of 2 files of {RELEASE})" in ran.err
    assert f"hint: run `antscache prefetch {RELEASE}`" in ran.err


def test_a_release_not_in_use_is_an_error(held: AntsCache) -> None:
    ran = held("cite", "0.2.9")
    assert (ran.code, "nothing of antspynet==0.2.9 is held" in ran.err) == (7, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identifier": "figshare:1"}, f"{RELEASE} has no entry {BRAIN} of kind network with figshare:1"),
        ({"digest": digest_of(b"other")}, f"the record says that {BRAIN} was sha256:"),
        ({"release": "antspynet==0.2.9", "identifier": "figshare:2"}, "antspynet==0.2.9 has no entry"),
        ({"digest": "\x1b"}, ".jsonl, line 1: "),
    ],
)
def test_wrong_record_is_an_error(held: AntsCache, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    right, wrong = usage_log(held, tmp_path / "right", BRAIN), usage_log(held, tmp_path / "w.jsonl", BRAIN, **changes)
    ran = held("cite", "--record", right, "--record", wrong)
    assert (ran.code, ran.out, said in ran.err) == (3, "", True)


@pytest.mark.parametrize("words", [[RELEASE], ["--from", "x"], ["--python", "x"]])
def test_record_excludes_other_choices(antscache: AntsCache, words: list[str]) -> None:
    ran = antscache("cite", *words, "--record", "x")
    assert (ran.code, "leave out RELEASE and other choices" in ran.err) == (2, True)


@pytest.mark.parametrize("verb", [["cite", "--record"], ["prefetch", "--from-record"]])
def test_endless_record_is_not_read_to_its_end(antscache: AntsCache, verb: list[str]) -> None:
    ran = antscache(*verb, "/dev/zero")
    assert (ran.code, "cannot read /dev/zero: larger than 64.0 MB" in ran.err) == (3, True)


def test_empty_record_is_an_error(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    ran = antscache("cite", "--record", tmp_path / "empty")
    assert (ran.code, f"no entry is recorded in {tmp_path}/empty" in ran.err) == (3, True)


def test_what_a_script_used_is_cited(antscache: AntsCache, tmp_path: Path) -> None:
    """A script asks for one of the two files that are held, twice."""
    upstream = upstreams.make(tmp_path / "site-packages", "0.3.2")
    antscache("prefetch", "--from", upstream.directory, *NAMED).succeeded()
    antscache.environ["PYTHONPATH"] = upstream.path
    script = f"import antspynet; antspynet.get_pretrained_network('{BRAIN}')"
    shell = f'"{upstreams.PYTHON}" -c "$0"; "{upstreams.PYTHON}" -c "$0"'
    antscache("run", "--offline", "--record", tmp_path / "used", "--", "sh", "-c", shell, script).succeeded()
    assert len((tmp_path / "used").read_text("utf-8").splitlines()) == 2
    ran = antscache("cite", "--record", tmp_path / "used").succeeded()
    assert re.match(r"We used ANTsPyNet 0\.3\.2\+[0-9a-f]{8} .* with 1 pretrained network \(view ", ran.out)
    assert ran.err == ""


# The files in a record: pure

RECORDS = st.builds(
    lambda release, name, number, digest: UsageRecord(
        release, "data", name, name, f"figshare:{number}", digest_of(digest.encode()), 1
    ),
    st.sampled_from([RELEASE, "antspynet==0.2.9"]),
    st.sampled_from(["a", "b", LUNG]),
    st.integers(1, 2),
    st.sampled_from("xy"),
)


@given(st.lists(RECORDS, max_size=4))
def test_no_name_has_two_contents(records: list[UsageRecord]) -> None:
    usage: dict[Release, list[UsageRecord]] = {}
    for record in records:
        usage.setdefault(parse_release(record.release), []).append(record)
    names = {(record.release, record.name): record.identifier for record in records}
    blobs = {record.identifier: record.digest for record in records}
    agree = all(
        names[record.release, record.name] == record.identifier and blobs[record.identifier] == record.digest
        for record in records
    )
    if not agree:
        with pytest.raises(ManifestError, match="the record says that"):
            files_of_usage(usage)
        return
    assert {
        (str(release), entry.name, entry.identifier, blob.digest)
        for release, files in files_of_usage(usage).items()
        for entry, blob in files
    } == {(record.release, record.name, record.identifier, record.digest) for record in records}
