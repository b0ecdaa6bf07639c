"""Roots, settings, hooks and records that an earlier version wrote still work.

`earlier/make.py` made them, by that version. The tests use the public interface alone: the command line, `load` and
files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import BRAIN, LUNG, REPOSITORY, TEMPLATE, TRANSFORM, AntsCache, Ran, cannot, require, snapshot, upstreams
from support.members import Forks, User

from antscache.config import load
from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[..., Ran]

EARLIER = REPOSITORY / "tests/earlier"
LISTINGS: dict[str, Any] = json.loads((EARLIER / "full.json").read_text())
PLACE, HOME, INJECT, COMMAND = "@PLACE@", "@HOME@", "@INJECT@", "@COMMAND@"  # in place of the earlier host's paths
NEWER_FACTS = {"trust", "adopted", "offered"}  # in listings, and unknown to the earlier version
NEWER_FACTS_OF_ENTRIES = {"findings", "digest", "size", "checks", "reason"}  # `verify` of that version had some of them
OWN = next(usage["release"] for usage in LISTINGS["list"] if "+" in usage["release"])  # an installation's own release
DEEP, CUT, CONDEMNED = "DeepAtroposHcpT1Weights", "ixi", "kirby"
CUT_NUMBER, LUNG_NUMBER, TEMPLATE_NUMBER, BRAIN_NUMBER = "25516358", "41965818", "22597175", "34821874"
SELECTED = [
    ("0.3.2", [BRAIN, DEEP, TRANSFORM]),
    ("0.3.2", [LUNG]),
    ("0.2.9", [BRAIN, DEEP]),
    (OWN, [BRAIN, TEMPLATE]),
    ("antspyx==0.6.3", ["r16"]),
]
DAY = 24 * 60 * 60
VIEW = "views/antspynet-0.3.2/.keras/ANTsXNet"
TIMEOUT_SECONDS = 600  # no process takes longer, however loaded the machine is


def unpack(name: str, place: Path) -> None:
    """Extract an archive with owners, modes and links, as if it had been made in `place`."""
    with tarfile.open(EARLIER / f"{name}.tar.gz") as archive:
        archive.extraction_filter = lambda member, _: member
        members = archive.getmembers()
        for member in members:
            member.linkname = member.linkname.replace(PLACE, str(place))
        archive.extractall(place, members, numeric_owner=True)  # noqa: S202  it is ours


def named(*names: str) -> list[str]:
    return [part for name in names for part in ("--name", name)]


def listing(root: Path) -> dict[str, tuple[int, ...]]:
    """Return every name below `root` with mode, owners, size and time of change; but for locks, which hold nothing."""
    found: dict[str, tuple[int, ...]] = {}
    for path in [root, *root.rglob("*")]:
        if "locks" not in path.relative_to(root).parts:
            status = path.lstat()
            times = (status.st_size, status.st_mtime_ns)
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, *times)
    return found


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def record_of(root: Path, number: str) -> Any:
    return json.loads((root / f"identifiers/figshare/{number}.json").read_bytes())


def keys_of(earlier: Any, now: Any) -> Any:
    """Return `now` without the keys that the earlier version did not print."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        return {key: keys_of(value, now[key]) for key, value in earlier.items() if key in now}
    return now


def listed(ran: Ran, place: Path) -> Any:
    """Return the printed JSON in the form of `LISTINGS`: without this host's paths and free space, and newer facts."""
    facts = json.loads(ran.succeeded().out.replace(str(place), PLACE), object_hook=_without_newer_facts)
    if isinstance(facts, dict):
        facts.pop("free", None)
    return facts


def _without_newer_facts(facts: dict[str, Any]) -> dict[str, Any]:
    newer = NEWER_FACTS | (NEWER_FACTS_OF_ENTRIES if "trust" in facts else set())
    return {key: value for key, value in facts.items() if key not in newer}


def by_digest(garbage: list[Any]) -> list[Any]:
    return sorted(garbage, key=lambda blob: str(blob["digest"]))


# A root with everything in it


@dataclass
class Full(AntsCache):
    """antscache with an earlier version's root, and the lower cache below it."""

    @property
    def place(self) -> Path:
        return self.root.parent

    @property
    def lower(self) -> Path:
        return self.place / "lower"

    @property
    def partial(self) -> Path:
        """The partial of a file whose fetch was killed."""
        return max((self.root / "ingest").iterdir(), key=lambda path: path.stat().st_size)

    def age_partials(self, seconds: int) -> None:
        """Set the last write to all files of the killed fetch to `seconds` ago."""
        for path in (self.root / "ingest").iterdir():
            os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def full(tmp_path: Path, figshare: StandIn) -> Full:
    unpack("full", tmp_path)
    (tmp_path / "home").mkdir()
    found = Full(tmp_path / "root", tmp_path / "home", figshare.origins)
    found.environ["ANTSCACHE_SITE_DIRS"] = str(found.lower)
    found.age_partials(0)
    return found


@pytest.mark.parametrize("words", [words for words in LISTINGS if not words.startswith("gc")])
def test_full_root_has_the_same_listings(full: Full, words: str) -> None:
    """As the earlier version printed them."""
    before = listing(full.place)
    ran = full(*words.replace("OWN", OWN).split(), "--json")
    assert keys_of(LISTINGS[words], listed(ran, full.place)) == LISTINGS[words]
    assert listing(full.place) == before


@pytest.mark.parametrize(("release", "names"), SELECTED)
def test_prefetch_of_held_files_writes_nothing(full: Full, figshare: StandIn, release: str, names: list[str]) -> None:
    before, asked = listing(full.place), len(figshare.requests)
    ran = full("prefetch", release, *named(*names)).succeeded()
    assert ran.out == full("path", release).succeeded().out
    assert (listing(full.place), len(figshare.requests)) == (before, asked)


def test_a_condemned_blob_comes_back_without_a_download(full: Full) -> None:
    digest = record_of(full.root, "25620107")["digest"]
    [condemned] = (full.root / "trash").glob(f"{digest.removeprefix('sha256:')}.*")
    ran = full("prefetch", "0.3.0", *named(CONDEMNED), "--offline").succeeded()
    assert digest_of(Path(ran.out.strip()) / f".keras/ANTsXNet/{CONDEMNED}.nii.gz") == digest
    assert not condemned.exists()
    full("verify").succeeded()


def test_partial_is_resumed(full: Full) -> None:
    whole, held = full.place / "origin" / CUT_NUMBER, full.partial.stat().st_size
    with StandIn({CUT_NUMBER: f"{CUT}.nii.gz"}, contents={CUT_NUMBER: whole}) as standin:
        ran = full("prefetch", "0.3.1", *named(CUT), ANTSCACHE_ORIGINS=standin.origins).succeeded()
        ranges = [request.range for request in standin.requests if request.route == "storage"]
        assert (ranges, standin.sent(CUT_NUMBER)) == ([f"bytes={held}-"], whole.stat().st_size - held)
    assert (Path(ran.out.strip()) / f".keras/ANTsXNet/{CUT}.nii.gz").read_bytes() == whole.read_bytes()
    assert list((full.root / "ingest").iterdir()) == []


def test_stale_partial_is_removed(full: Full) -> None:
    left = sorted(map(str, (full.root / "ingest").iterdir()))
    assert len(left) == 2  # the partial and its notes
    full.age_partials(2 * DAY)
    assert sorted(full("gc", "--json").succeeded().json["abandoned"]) == left
    assert list((full.root / "ingest").iterdir()) == []


def test_adopted_file_counts_while_it_exists(full: Full, figshare: StandIn) -> None:
    """No origin is asked about it, and it is exported with --adopted only."""
    before, asked = record_of(full.root, LUNG_NUMBER), len(figshare.requests)
    assert before["trust"] == "adopted"
    full("prefetch", "0.3.2", *named(LUNG)).succeeded()
    assert (record_of(full.root, LUNG_NUMBER), len(figshare.requests)) == (before, asked)
    ran = full("export", "antspynet==0.3.2", full.place / "exported")
    assert (ran.code != 0, f"{LUNG}.h5" in ran.err) == (True, True)
    full("export", "antspynet==0.3.2", full.place / "exported", "--adopted").succeeded()


def test_an_origin_replaces_a_lost_adopted_file(full: Full, figshare: StandIn) -> None:
    before = record_of(full.root, LUNG_NUMBER)["digest"]
    (full.root / "blobs/sha256" / before.removeprefix("sha256:")).unlink()
    full("prefetch", "0.3.2", *named(LUNG)).succeeded()
    record, path = record_of(full.root, LUNG_NUMBER), full.root / VIEW / f"{LUNG}.h5"
    assert (record["trust"], record["digest"] != before) == ("origin", True)
    assert path.read_bytes() == figshare.content(LUNG_NUMBER)
    assert digest_of(path) == record["digest"]


def test_two_collections_delete_all_garbage(full: Full) -> None:
    first = full("gc", "--grace", "0", "--json").succeeded().json
    planned = LISTINGS["gc -n --grace 0"]
    for facts in first, planned:
        facts.update(deleted=by_digest(facts["deleted"]), condemned=by_digest(facts["condemned"]))
    assert first == planned
    second = full("gc", "--grace", "0", "--json").succeeded().json
    assert (by_digest(second["deleted"]), second["condemned"]) == (first["condemned"], [])
    assert list((full.root / "trash").iterdir()) == []
    assert listed(full("list", "--json"), full.place) == LISTINGS["list"]
    full("verify").succeeded()


def test_a_lower_cache_elsewhere_is_linked_to_again(full: Full) -> None:
    link, moved = full.root / VIEW / f"{TRANSFORM}.mat", full.place / "moved"
    assert link.resolve().is_relative_to(full.lower)
    full.lower.rename(moved)
    ran = full("prefetch", "0.3.2", *named(TRANSFORM), "--offline", ANTSCACHE_SITE_DIRS=moved).succeeded()
    assert ran.out == f"{full.root}/views/antspynet-0.3.2\n"
    assert link.resolve(strict=True).is_relative_to(moved)


# The same root, read-only


MOUNT_SCRIPT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'


@pytest.fixture
def read_only(full: Full) -> Run:
    """Run antscache as a process to which all files of the earlier version are read-only, even if root runs it."""
    apart = [require("unshare"), "-m" if os.geteuid() == 0 else "-rm", "sh", "-ec"]
    probe = f'{MOUNT_SCRIPT}; ! touch "$0/file"'
    if subprocess.run([*apart, probe, full.place], check=False, capture_output=True).returncode:
        cannot("no read-only mount can be made here")

    def run(*words: str | Path) -> Ran:
        command = [*apart, f'{MOUNT_SCRIPT}; exec "$@"', str(full.place), *full.command(*words)]
        return run_command(command, full.environment(), full.home)

    return run


def run_command(command: Sequence[str | Path], environ: dict[str, str], directory: Path) -> Ran:
    done = subprocess.run(
        command, env=environ, cwd=directory, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def test_read_only_root_is_used_unchanged(full: Full, read_only: Run) -> None:
    before, home = listing(full.place), f"{full.root}/views/antspynet-0.3.2\n"
    assert read_only("path", "0.3.2").succeeded().out == home
    names = named(BRAIN, DEEP, LUNG, TRANSFORM)
    assert read_only("prefetch", "0.3.2", *names, "--offline").succeeded().out == home
    for words in "list", "list OWN", "status", "verify":
        ran = read_only(*words.replace("OWN", OWN).split(), "--json")
        assert keys_of(LISTINGS[words], listed(ran, full.place)) == LISTINGS[words]
    assert listing(full.place) == before


# The shared root of a group


GROUP, ANN, BOB, CAROL, OUTSIDER = range(12000, 12005)  # the first three as in earlier/make.py
OTHER_GROUP = 12009
WRITTEN_BY_ALL = {"index.json", "locks/identifiers", "locks/pace"}  # every member writes these in place


@dataclass
class Lab:
    """A root with files of ANN, BOB and root, and three users: BOB, CAROL, who is new, and one outside the group."""

    root: Path
    bob: User
    carol: User
    outsider: User

    def of_others(self, user: User) -> dict[str, object]:
        """Return the mode, owners and content of everything that does not belong to the user."""
        found: dict[str, object] = {}
        for path in self.root.rglob("*"):
            status, name = path.lstat(), str(path.relative_to(self.root))
            if status.st_uid != user.number and name not in WRITTEN_BY_ALL:
                content: object = None
                if not S_ISDIR(status.st_mode):
                    content = str(path.readlink()) if path.is_symlink() else (path.read_bytes(), status.st_mtime_ns)
                found[name] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found


@pytest.fixture
def lab(forked: Forks, figshare: StandIn) -> Iterator[Lab]:
    place = Path(tempfile.mkdtemp(prefix="antscache-lab-", dir="/tmp"))  # all users can reach it
    place.chmod(0o755)
    unpack("shared", place)
    environ = {
        "ANTSCACHE_DIR": str(place / "root"),
        "ANTSCACHE_ORIGINS": figshare.origins,
        "no_proxy": "*",
        "PIP_NO_INDEX": "1",
    }

    def user(number: int, *groups: int) -> User:
        home = place / str(number)
        home.mkdir(mode=0o700)
        os.chown(home, number, groups[0])
        return User(forked, number, groups, 0o077, home, environ)

    yield Lab(place / "root", user(BOB, GROUP), user(CAROL, OTHER_GROUP, GROUP), user(OUTSIDER, OTHER_GROUP))
    shutil.rmtree(place)


def test_a_new_member_adds_to_a_shared_root(lab: Lab, figshare: StandIn) -> None:
    before, asked = lab.of_others(lab.carol), figshare.downloads(BRAIN_NUMBER)
    lab.carol("prefetch", "0.3.2", *named(BRAIN, LUNG, DEEP, TEMPLATE)).succeeded()
    assert figshare.downloads(BRAIN_NUMBER) == asked
    assert (lab.root / VIEW / f"{TEMPLATE}.nii.gz").read_bytes() == figshare.content(TEMPLATE_NUMBER)
    assert lab.of_others(lab.carol) == before
    for user in lab.bob, lab.carol, lab.outsider:
        user("verify").succeeded()
        usages = user("list", "--json").succeeded().json
        assert {usage["release"]: usage["present"] for usage in usages} == {
            "antspynet==0.2.9": 1,
            "antspynet==0.3.2": 4,
        }


def test_member_gets_back_anothers_condemned_blob(lab: Lab) -> None:
    before = lab.of_others(lab.carol)
    lab.carol("prefetch", "0.3.0", *named(CONDEMNED), "--offline").succeeded()
    assert lab.of_others(lab.carol) == before
    lab.outsider("verify").succeeded()


def test_a_member_removes_only_their_own(lab: Lab) -> None:
    assert {path.lstat().st_uid for path in (lab.root / VIEW).iterdir()} == {ANN, BOB, 0}
    before, trash = lab.of_others(lab.bob), lab.root / "trash"
    kept = set((lab.root / VIEW).iterdir()) - {lab.root / VIEW / f"{LUNG}.h5"}
    lab.bob("rm", "0.3.2").succeeded()
    assert set((lab.root / VIEW).iterdir()) == kept
    lab.bob("gc", "--grace", "0").succeeded()
    lab.bob("gc", "--grace", "0").succeeded()
    assert list(trash.iterdir()) == []
    assert lab.of_others(lab.bob) == before
    lab.bob("verify").succeeded()
    releases = {usage["release"]: usage["entries"] for usage in lab.carol("list", "--json").succeeded().json}
    assert releases == {"antspynet==0.2.9": 1, "antspynet==0.3.2": 2}


def test_garbage_of_other_members_is_left(lab: Lab) -> None:
    before = lab.of_others(lab.carol)
    facts = lab.carol("gc", "--grace", "0", "--json").succeeded().json
    assert (facts["deleted"], facts["condemned"], facts["left"] > 0) == ([], [], True)
    assert lab.of_others(lab.carol) == before


# A directory that a container's user has mounted over ~/.keras


@pytest.fixture
def contained(antscache: AntsCache, tmp_path: Path) -> Run:
    """Run antscache as in a container, with the earlier version's directory mounted over ~/.keras."""
    if os.geteuid() != 0 or subprocess.run([require("unshare"), "--mount", "true"], check=False).returncode:
        cannot("no mount namespace can be made here")
    unpack("mounted", tmp_path)
    (antscache.home / ".keras").mkdir()
    environ = antscache.environment(ANTSCACHE_MOUNTED="1")
    del environ["ANTSCACHE_DIR"]
    script = f'mount --bind "{tmp_path}/host" "$HOME/.keras"\nexec "$@"'

    def run(*arguments: str | Path) -> Ran:
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", *antscache.command(*arguments)]
        return run_command(command, environ, antscache.home)

    return run


def test_mounted_cache_is_used_unchanged(contained: Run, antscache: AntsCache, tmp_path: Path) -> None:
    before = listing(tmp_path / "host")
    home = f"{antscache.home}/.keras/antscache/views/antspynet-0.3.2\n"
    assert contained("path", "0.3.2").succeeded().out == home
    assert contained("prefetch", "0.3.2", *named(BRAIN), "--offline").succeeded().out == home
    contained("verify").succeeded()
    assert listing(tmp_path / "host") == before


def test_a_mounted_cache_takes_further_files(contained: Run, figshare: StandIn, tmp_path: Path) -> None:
    before = snapshot(tmp_path / "host")
    contained("prefetch", "0.3.2", *named(BRAIN, LUNG)).succeeded()
    after = snapshot(tmp_path / "host")
    assert after[f"antscache/{VIEW}/{LUNG}.h5"] == figshare.content(LUNG_NUMBER)
    assert {name for name, content in before.items() if after.get(name) != content} == {"antscache/index.json"}
    contained("verify").succeeded()


# Records of used entries


def test_a_record_gets_the_bytes_that_were_used(antscache: AntsCache, tmp_path: Path) -> None:
    unpack("record", tmp_path)
    uses = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert {use["release"] for use in uses} == {"antspynet==0.3.2", OWN}
    contents = {path.name: path for path in (tmp_path / "origin").iterdir()}
    with StandIn({}, contents=contents) as standin:
        record = tmp_path / "record.jsonl"
        ran = antscache("prefetch", "--from-record", record, ANTSCACHE_ORIGINS=standin.origins).succeeded()
    homes = {Path(home).name.replace("-", "==", 1): Path(home) for home in ran.out.splitlines()}
    for use in uses:
        assert digest_of(homes[use["release"]] / ".keras/ANTsXNet" / use["file"]) == use["digest"]
    antscache("verify").succeeded()


def test_a_record_refuses_other_bytes(antscache: AntsCache, tmp_path: Path) -> None:
    unpack("record", tmp_path)
    contents = {path.name: path.read_bytes()[::-1] for path in (tmp_path / "origin").iterdir()}
    with StandIn({}, contents=contents) as standin:
        record = tmp_path / "record.jsonl"
        assert antscache("prefetch", "--from-record", record, ANTSCACHE_ORIGINS=standin.origins).code == 5


# Settings


def test_settings_are_read_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of antscache.toml has its earlier meaning; there may be new keys."""
    if sys.platform != "linux":
        cannot("the file was written for Linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    for variable in "XDG_CONFIG_HOME", "XDG_CACHE_HOME":
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / ".config/antscache").mkdir(parents=True)
    (tmp_path / "antscache").mkdir()  # in a container a root that is named counts only if it is there
    shutil.copy(EARLIER / "antscache.toml", tmp_path / ".config/antscache")
    expected = json.loads((EARLIER / "settings.json").read_text().replace(HOME, str(tmp_path)))
    settings = json.loads(msgspec.json.encode(load({}, {})))
    assert {key: settings[key] for key in expected} == expected


# Environments where the hook is enabled


@pytest.mark.parametrize("called", ["script", "module"])
def test_an_enabled_hook_stays_on(antscache: AntsCache, figshare: StandIn, tmp_path: Path, called: str) -> None:
    """Its file in site-packages leads an unmodified antspynet to its view. Its status is on, and it can be disabled."""
    upstream = upstreams.make(tmp_path / "upstream", "0.3.2")
    environment = tmp_path / "environment"
    subprocess.run([upstreams.PYTHON, "-m", "venv", "--without-pip", environment], check=True, timeout=TIMEOUT_SECONDS)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "antspynet.pth").write_text(f"{upstream.directory}\n{upstream.beside}\n")
    hook, python = packages / "antscache_hook.pth", environment / "bin/python"
    hook.write_text(hook_from(called))
    ask = f"import antspynet; print(antspynet.get_pretrained_network('{BRAIN}'))"
    path = Path(run_command([python, "-c", ask], antscache.environment(), antscache.home).succeeded().out.strip())
    assert path.parent == antscache.root / f"views/{OWN.replace('==', '-')}/.keras/ANTsXNet"
    assert path.read_bytes() == figshare.content(BRAIN_NUMBER)
    assert antscache("hook", "status", "--python", python).succeeded().out == f"on for {python}: {hook}\n"
    assert antscache("hook", "disable", "--python", python).succeeded().out == f"off for {python}\n"
    assert not hook.exists()


def hook_from(called: str) -> str:
    """Return the text that the earlier version would have written here."""
    inject, executable = REPOSITORY / "antscache/inject", Path(sys.executable)
    command = executable.with_name("antscache") if called == "script" else executable
    if not command.is_file():
        cannot("antscache is not installed as a script")
    for path in inject, command:
        if not re.fullmatch(r"[\w./+ -]+", str(path), re.ASCII):
            cannot(f"{path} would be written with escapes")
    text = (EARLIER / f"{called}.pth").read_text()
    return text.replace(INJECT, str(inject)).replace(COMMAND, str(command))
