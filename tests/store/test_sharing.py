"""Roots that a group shares, with real users and any umask."""

from __future__ import annotations

import errno
import grp
import json
import os
import shutil
import signal
import stat
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BRAIN, FEW, LUNG, TEMPLATE, AntsCache, cannot, snapshot
from support.members import Forks, User

from antscache import disk
from antscache.core.digest import descriptor_of
from antscache.core.manifest import Entry, Release
from antscache.core.record import Partial, Record, Selection
from antscache.disk.files import SHARED_DIRECTORY_MODE, SHARED_FILE_MODE
from antscache.disk.locks import Locks
from antscache.fetch.pacer import Pacer
from antscache.store.partials import Notes, partial_files
from antscache.store.store import Store
from antscache.testing import StandIn
from antscache.views import links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUP, OTHERS = 32001, 32002  # numbers that no group and no user of this host has
ALICE, BOB, CAROL, MALLORY, OUTSIDER = range(31001, 31006)
NUMBER = "34821874"  # of BRAIN
RELEASE = Release("antspynet", "0.3.2")
HOST = os.uname().nodename
VIEW = "views/antspynet-0.3.2/.keras/ANTsXNet"


def right_mode(path: Path, root: Path) -> int:
    """Return the mode that members need."""
    if path.is_dir():
        return SHARED_DIRECTORY_MODE
    return SHARED_FILE_MODE if path.parent == root / "locks" or path == root / "index.json" else 0o444


@dataclass
class Lab:
    """Members of a group, who share a root, and somebody who is none. Each has a home that nobody else may read."""

    place: Path
    root: Path
    alice: User
    bob: User
    carol: User
    mallory: User
    outsider: User

    def shared(self) -> Lab:
        self.alice("init", "--shared").succeeded()
        return self

    def modes(self) -> dict[str, int]:
        modes = {".": stat.S_IMODE(self.root.lstat().st_mode)}
        for path in self.root.rglob("*"):
            if not path.is_symlink():
                modes[str(path.relative_to(self.root))] = stat.S_IMODE(path.lstat().st_mode)
        return modes

    def assert_modes(self, *, also: int = 0) -> None:
        """Check that everything has the mode that members need; a file made before sharing may also have those bits."""
        for name, mode in self.modes().items():
            path = self.root / name
            right = right_mode(path, self.root)
            assert (name, oct(mode & ~also | right & also)) == (name, oct(right))
            assert (name, path.stat().st_gid) == (name, GROUP)


@pytest.fixture
def lab(forked: Forks, figshare: StandIn) -> Iterator[Lab]:
    place = Path(tempfile.mkdtemp(prefix="antscache-lab-", dir="/tmp"))  # where all users come
    place.chmod(0o755)
    lab = place / "lab"
    lab.mkdir()
    os.chown(lab, ALICE, GROUP)
    environ = {
        "ANTSCACHE_DIR": str(lab / "root"),
        "ANTSCACHE_ORIGINS": figshare.origins,
        "no_proxy": "*",
        "PIP_NO_INDEX": "1",
    }

    def user(number: int, umask: int, *groups: int) -> User:
        home = place / str(number)
        home.mkdir(mode=0o700)
        os.chown(home, number, groups[0])
        return User(forked, number, groups, umask, home, environ)

    yield Lab(
        place,
        lab / "root",
        user(ALICE, 0o022, GROUP),
        user(BOB, 0o077, GROUP),
        user(CAROL, 0o022, OTHERS, GROUP),
        user(MALLORY, 0o022, GROUP),
        user(OUTSIDER, 0o022, OTHERS),
    )
    shutil.rmtree(place)


def names(*entries: str) -> list[str]:
    return [part for entry in entries for part in ("--name", entry)]


def does_without_symlinks(place: Path) -> bool:
    """Return True if a view can share another member's bytes in another way."""
    if Path("/proc/sys/fs/protected_hardlinks").read_text() == "0\n":
        return True
    try:
        with (place / "source").open("xb") as source, (place / "clone").open("xb") as target:
            disk.clone(source.fileno(), target.fileno())
    except OSError:
        return False
    return True


ATTEMPT = """
from pathlib import Path; from antscache.disk import Locks
locks = Locks(Path("{directory}"), shared=True)
with locks.attempt("{name}") as ours: print(ours, locks.refusal)
"""


# Adding, using, verifying


def test_members_use_and_verify_each_others_files(lab: Lab, figshare: StandIn) -> None:
    """Their umasks do not matter."""
    lab.shared()
    before = [figshare.downloads(number) for number in FEW]
    lab.bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.carol("prefetch", "0.3.2", *names(BRAIN, LUNG)).succeeded()
    lab.alice("prefetch", "0.3.2", *names(BRAIN, LUNG, TEMPLATE)).succeeded()
    lab.assert_modes()
    assert {path.stat().st_uid for path in (lab.root / VIEW).iterdir()} == {ALICE, BOB, CAROL}
    assert [figshare.downloads(number) for number in FEW] == [count + 1 for count in before]
    everything = "".join(f"open({str(lab.root / VIEW / file)!r}, 'rb').read()\n" for file in FEW.values())
    for user in lab.alice, lab.bob, lab.carol, lab.outsider:
        assert user("verify").code == 0
        user.run(everything).succeeded()
        assert user("list", "--json").succeeded().json[0]["present"] == 3


def test_an_outsider_reads_and_cannot_write(lab: Lab) -> None:
    lab.shared().bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    before = snapshot(lab.root)
    home = lab.outsider("path", "0.3.2").succeeded().out.strip()
    assert home == str(lab.root / "views/antspynet-0.3.2")
    assert lab.outsider("prefetch", "0.3.2", *names(BRAIN)).succeeded().out.strip() == home
    for refused in ["prefetch", "0.3.2", *names(LUNG)], ["rm", "0.3.2", "--force"], ["init", "--shared"]:
        ran = lab.outsider(*refused)
        assert (refused, ran.code in {6, 7}) == (refused, True), ran.err
    everything = sorted(map(str, [lab.root, *lab.root.rglob("*")]))
    lab.outsider.run(
        "import os\n"
        f"for path in {everything!r}:\n"
        "    if os.path.isdir(path): assert not os.access(path, os.W_OK), path\n"
        "    else:\n"
        "        try: os.open(path, os.O_WRONLY)\n"
        "        except PermissionError: continue\n"
        "        raise AssertionError(path)\n"
    ).succeeded()
    assert snapshot(lab.root) == before


def test_blobs_of_others_are_linked_by_symlinks(lab: Lab) -> None:
    """One note says so."""
    lab.shared().alice("prefetch", "0.3.2", *names(BRAIN, LUNG)).succeeded()
    ran = lab.bob("prefetch", "0.3.1", *names(BRAIN, LUNG)).succeeded()
    made = list((lab.root / "views/antspynet-0.3.1/.keras/ANTsXNet").iterdir())
    assert len(made) == 2
    if does_without_symlinks(lab.place):
        cannot("this filesystem clones, or links to the files of others")
    assert ran.err.count("linked by symlinks (hardlink refused: Operation not permitted)") == 1
    for path in made:
        assert not path.readlink().is_absolute()
        assert path.resolve().parent == lab.root / "blobs/sha256"
    lab.outsider("verify").succeeded()


def test_blobs_of_others_are_copied_outside_a_root(lab: Lab) -> None:
    """A note says so."""
    lab.shared().alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    ran = lab.bob("link", "0.3.2", "--home", lab.bob.home / "image").succeeded()
    made = lab.bob.home / f"image/.keras/ANTsXNet/{BRAIN}.h5"
    assert not made.is_symlink()
    if does_without_symlinks(lab.place):
        cannot("this filesystem clones, or links to the files of others")
    assert "1 file copied (hardlink refused: Operation not permitted)" in ran.err
    assert stat.S_IMODE(made.stat().st_mode) == 0o400  # outside, modes follow the umask


def test_index_of_another_member_is_kept_right(lab: Lab) -> None:
    lab.shared()
    for user, version in ((lab.alice, "0.3.2"), (lab.bob, "0.3.1"), (lab.carol, "0.3.0")):
        user("prefetch", version, *names(BRAIN)).succeeded()
    lab.bob("rm", "0.3.1").succeeded()
    index = json.loads((lab.root / "index.json").read_text())
    tags = [manifest["annotations"]["org.opencontainers.image.ref.name"] for manifest in index["manifests"]]
    assert tags == ["antspynet-0.3.0", "antspynet-0.3.2"]
    assert (lab.root / "index.json").stat().st_uid == ALICE
    lab.carol("verify").succeeded()
    assert list((lab.root / "ingest").iterdir()) == []


def test_release_is_removed_beside_another_members_view(lab: Lab) -> None:
    lab.shared().alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.bob("prefetch", "0.3.2", *names(BRAIN, LUNG)).succeeded()
    lab.alice("rm", "0.3.2").succeeded()
    ran = lab.bob("rm", "0.3.2").succeeded()
    assert f"{BRAIN}.h5" in ran.err
    assert [path.name for path in (lab.root / VIEW).iterdir()] == [f"{BRAIN}.h5"]
    assert lab.bob("list", "--json").succeeded().json == []


def test_error_names_the_owner_of_a_wrong_name(lab: Lab) -> None:
    lab.shared().alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    name = lab.root / VIEW / f"{BRAIN}.h5"
    lab.alice.run(f"import os; os.unlink({str(name)!r}); open({str(name)!r}, 'w').write('other')").succeeded()
    ran = lab.bob("prefetch", "0.3.2", *names(BRAIN))
    assert (ran.code, f"{name} does not lead to the right file and belongs to user {ALICE}" in ran.err) == (7, True)
    assert f"hint: ask user {ALICE} to prefetch" in ran.err
    assert name.read_text() == "other"
    assert len(list(name.parent.iterdir())) == 1
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()


def test_error_names_the_owner_of_a_wrong_record(lab: Lab) -> None:
    lab.shared()
    wrong = Record("figshare:34821874", "sha256:" + "0" * 64, 5, "adopted", "x", "2026-01-01T00:00:00+00:00")
    lab.alice.run(
        "from pathlib import Path; from antscache.store import Store; from antscache.core import Record\n"
        f"store = Store(Path({str(lab.root)!r})); store.create(); store.records.remember({wrong!r})"
    ).succeeded()
    ran = lab.bob("prefetch", "0.3.2", *names(BRAIN))
    assert (ran.code, f"34821874.json is user {ALICE}'s" in ran.err) == (6, True)
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.assert_modes()
    lab.bob("verify").succeeded()


def test_another_members_record_counts_as_a_mirrors(lab: Lab) -> None:
    """Nor does it give way to other bytes, or to anybody but its owner's `forget`."""
    lab.shared()
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    trusts = {row["trust"] for row in lab.bob("list", "0.3.2", "--json").json}
    assert trusts == {"mirror", None}
    assert {row["trust"] for row in lab.alice("list", "0.3.2", "--json").json} == {"origin", None}
    other = Record("figshare:34821874", "sha256:" + "0" * 64, 5, "lockfile", "x", "2026-01-01T00:00:00+00:00")
    ran = lab.bob.run(
        "from pathlib import Path; from antscache.store import Store; from antscache.core import Record\n"
        "from antscache.errors import IntegrityError\n"
        f"store = Store(Path({str(lab.root)!r})); store.check()\n"
        f"try: store.records.remember({other!r})\n"
        "except IntegrityError as error: print(error)"
    ).succeeded()
    assert ran.out.count("sha256:") == 2
    ran = lab.bob("forget", "figshare:34821874")
    assert (ran.code, f"user {ALICE}'s, and not yours to forget" in ran.err) == (6, True)
    lab.alice("forget", "figshare:34821874").succeeded()
    lab.bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.alice("verify").succeeded()


def test_a_scan_is_recorded_by_the_owner_alone(lab: Lab) -> None:
    lab.shared()
    now = "2026-01-01T00:00:00+00:00"
    kept = Record("figshare:34821874", "sha256:" + "0" * 64, 5, "origin", "x", now, ("form",))
    scanned = msgspec.structs.replace(kept, checks=("form", "walk"))
    path = lab.root / "identifiers/figshare/34821874.json"

    def store_and(call: str) -> str:
        return (
            "from pathlib import Path; from antscache.store import Store; from antscache.core import Record\n"
            f"store = Store(Path({str(lab.root)!r})); store.check(); store.records.{call}"
        )

    lab.alice.run(store_and(f"remember({kept!r})")).succeeded()
    for member, checks in (lab.bob, ("form",)), (lab.alice, ("form", "walk")):
        member.run(store_and(f"add_scan({scanned!r})")).succeeded()
        assert msgspec.json.decode(path.read_bytes(), type=Record).checks == checks


def test_next_command_opens_a_directory_left_closed(lab: Lab) -> None:
    """A member who was killed had made it, and had not opened it to the group."""
    lab.shared()
    lab.alice.run(f"import os; os.mkdir({str(lab.root / 'views/antspynet-0.3.2')!r}, 0o700)").succeeded()
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    lab.assert_modes()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(umask=st.integers(0, 0o777))
def test_umask_changes_no_mode_in_a_shared_root(tmp_path_factory: pytest.TempPathFactory, umask: int) -> None:
    if os.geteuid() != 0:
        umask &= 0o077  # others could not enter a directory of theirs
    root = tmp_path_factory.mktemp("umask") / "root"
    before = os.umask(umask)
    try:
        store = Store(root)
        store.share()
        blob = store.add(b"x")
        record = Record("figshare:1", blob.digest, blob.size, "mirror", "x", "2026-01-01T00:00:00+00:00")
        store.records.remember(record)
        store.records.remember(Record("figshare:1", blob.digest, blob.size, "origin", "x", "2026-01-01T00:00:00+00:00"))
        store.refs.select(Selection(RELEASE, (Entry("network", "a", "a.h5", "figshare:1"),)))
        store.index.update()
        with Locks(store.layout.locks, shared=True).attempt("1"):
            pass
        Pacer(store.layout.pace, 1.0, shared=True).reserve_start()
    finally:
        os.umask(before)
    assert {path.name for path in store.layout.locks.iterdir()} == {"1.lock", "pace", "pace.lock"}
    for path in [root, *root.rglob("*")]:
        assert (path, oct(stat.S_IMODE(path.stat().st_mode))) == (path, oct(right_mode(path, root)))


def test_members_can_read_clones_under_any_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(source: int, target: int) -> None:  # as a filesystem with reflinks does
        os.sendfile(target, source, 0, 1 << 20)

    monkeypatch.setattr(disk, "clone", clone)
    before = os.umask(0o077)
    try:
        blob = tmp_path / "blob"
        blob.write_bytes(b"x")
        for shared, mode in ((tmp_path, 0o444), (None, 0o400)):
            directory = tmp_path / f"view-{shared is None}"
            linked = links.link_view(directory, {"a.h5": blob}, links.VIEW_LINK_MODES, shared=shared)
            assert linked.modes == {"reflink": 1}
            assert stat.S_IMODE((directory / "a.h5").stat().st_mode) == mode
    finally:
        os.umask(before)


# Making a root


def test_root_of_your_own_follows_the_umask(lab: Lab) -> None:
    shutil.chown(lab.root.parent, BOB)
    ran = lab.bob("init").succeeded()
    assert ran.out == f"{lab.root}\n"
    assert json.loads((lab.root / "antscache.json").read_text())["shared"] is False
    assert {mode & 0o077 for mode in lab.modes().values()} == {0}
    before = snapshot(lab.root)
    assert lab.bob("init", "--json").succeeded().json == {"root": str(lab.root), "shared": False, "group": None}
    assert snapshot(lab.root) == before


def test_init_again_changes_nothing_in_shared_roots(lab: Lab) -> None:
    lab.shared().bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    before, modes = snapshot(lab.root), lab.modes()
    for arguments in ["init", "--shared"], ["init"]:
        ran = lab.alice(*arguments).succeeded()
        assert f"shared with the group group {GROUP}" in ran.err
    assert (snapshot(lab.root), lab.modes()) == (before, modes)
    assert lab.bob("init").succeeded().out == f"{lab.root}\n"


def test_sharing_opens_everything_in_your_own_root(lab: Lab) -> None:
    lab.alice.umask = 0o077
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    assert lab.bob("path", "0.3.2").code == 6
    lab.alice("init", "--shared").succeeded()
    lab.assert_modes(also=0o200)
    lab.bob("prefetch", "0.3.2", *names(BRAIN, LUNG)).succeeded()
    lab.assert_modes(also=0o200)
    assert lab.bob.run(ATTEMPT.format(directory=lab.root / "locks", name=NUMBER)).out == "True \n"
    lab.alice("verify").succeeded()


def test_sharing_follows_no_link_out_of_the_root(lab: Lab) -> None:
    lab.alice("init").succeeded()
    secret = lab.alice.home / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").touch(mode=0o600)
    for path in secret, secret / "file":
        os.chown(path, ALICE, OTHERS)
    (lab.root / "views/directory").symlink_to(secret)
    (lab.root / "views/file").symlink_to(secret / "file")
    lab.alice("init", "--shared").succeeded()
    for path, mode in ((secret, 0o700), (secret / "file", 0o600)):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (mode, OTHERS)


def test_root_of_another_user_cannot_be_shared(lab: Lab) -> None:
    lab.alice("init").succeeded()
    before = lab.modes()
    ran = lab.bob("init", "--shared")
    assert (ran.code, f"{lab.root} is user {ALICE}'s, and only its owner can share it" in ran.err) == (6, True)
    assert f"ask user {ALICE}" in ran.err
    assert lab.modes() == before


def test_sharing_with_a_foreign_group_changes_nothing(lab: Lab) -> None:
    lab.alice("init").succeeded()
    before = lab.modes()
    group = next(each for each in grp.getgrall() if each.gr_gid)
    ran = lab.alice("init", "--shared", "--group", group.gr_name)
    assert (ran.code, f"you are not in the group {group.gr_name}" in ran.err) == (6, True)
    os.chown(lab.root, ALICE, OTHERS)
    ran = lab.alice("init", "--shared")
    assert (ran.code, f"you are not in the group group {OTHERS}" in ran.err) == (6, True)
    assert (lab.modes(), json.loads((lab.root / "antscache.json").read_text())["shared"]) == (before, False)
    assert lab.alice("init", "--shared", "--group", "no such group").code == 2
    assert lab.alice("init", "--group", group.gr_name).code == 2


def test_root_belongs_to_the_named_group(lab: Lab) -> None:
    group = next(each for each in grp.getgrall() if each.gr_gid)
    lab.alice.groups = (OTHERS, group.gr_gid)
    lab.alice("prefetch", "0.3.2", *names(BRAIN)).succeeded()
    ran = lab.alice("init", "--shared", "--group", group.gr_name, "--json").succeeded()
    assert ran.json == {"root": str(lab.root), "shared": True, "group": group.gr_name}
    assert {path.stat().st_gid for path in [lab.root, *lab.root.rglob("*")]} == {group.gr_gid}


def test_warning_names_a_closed_directory_above(lab: Lab) -> None:
    ran = lab.alice("--root", lab.alice.home / "root", "init", "--shared").succeeded()
    assert f"warning: the group cannot enter {lab.alice.home}" in ran.err
    assert "warning" not in lab.alice("init", "--shared").succeeded().err


# Planted links


@pytest.mark.parametrize("where", [VIEW, "views/antspynet-0.3.2/.keras", "views/antspynet-0.3.2"])
def test_link_planted_as_view_is_not_written_through(lab: Lab, where: str) -> None:
    lab.shared()
    mine = lab.bob.home / "mine"
    below = Path("views/antspynet-0.3.2/.keras/ANTsXNet").relative_to(where)
    lab.bob.run(f"import os; os.makedirs({str(mine / below)!r})").succeeded()
    (mine / below / f"{BRAIN}.h5").write_text("precious")
    (mine / below / "dangling").symlink_to("nowhere")
    plant(lab.mallory, lab.root / where, mine)
    before = snapshot(mine)
    for arguments in ["prefetch", "0.3.2", *names(BRAIN)], ["rm", "0.3.2"], ["verify", "--repair"], ["gc"]:
        lab.bob(*arguments)
        assert snapshot(mine) == before, arguments
    assert lab.bob("prefetch", "0.3.2", *names(BRAIN)).code == 7
    assert list((lab.root / "trash").iterdir()) == []


def test_stale_files_are_not_sought_behind_links(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link in place of a view is not followed."""
    lab.shared()
    mine = lab.bob.home / ".keras/ANTsXNet"
    mine.mkdir(parents=True)
    (mine / ("0" * 32)).touch()
    monkeypatch.setattr(links, "STALE_LINK_SECONDS", -1)
    assert links.stale_links(lab.root / "views", time.time()) == []
    plant(lab.mallory, lab.root / "views/antspynet-0.3.2", lab.bob.home)
    assert links.stale_links(lab.root / "views", time.time()) == []
    (lab.root / "views/antspynet-0.3.2").unlink()
    shutil.copytree(lab.bob.home, lab.root / "views/antspynet-0.3.2")
    assert len(links.stale_links(lab.root / "views", time.time())) == 1


@pytest.mark.parametrize(
    "where",
    [
        "ingest",
        "trash",
        "catalog",
        "locks",
        "blobs",
        "blobs/sha256",
        "refs",
        "views",
        "identifiers",
        "identifiers/figshare",
        "identifiers/url",
    ],
)
def test_shared_root_with_a_planted_link_is_refused(lab: Lab, where: str) -> None:
    """The link is in place of one of its directories."""
    lab.shared()
    mine = lab.bob.home / "mine"
    lab.bob.run(f"import os; os.mkdir({str(mine)!r})").succeeded()
    shutil.rmtree(lab.root / where)
    (lab.root / where).symlink_to(mine)
    for arguments in ["prefetch", "0.3.2", *names(BRAIN)], ["gc"], ["status"]:
        ran = lab.bob(*arguments)
        assert (ran.code, "a link, and antscache follows no links here" in ran.err) == (6, True)
    assert list(mine.iterdir()) == []


def test_link_planted_as_blob_is_no_blob(lab: Lab, figshare: StandIn) -> None:
    """It is not written through either."""
    lab.shared()
    blob = descriptor_of(figshare.content("34821874"))
    victim = lab.bob.home / "victim"
    victim.write_bytes(b"p" * blob.size)
    plant(lab.mallory, lab.root / "blobs/sha256" / blob.digest.removeprefix("sha256:"), victim)
    ran = lab.bob("prefetch", "0.3.2", *names(BRAIN))
    assert (ran.code, "cannot write to" in ran.err) == (6, True)
    assert victim.read_bytes() == b"p" * blob.size
    assert not Store(lab.root).holds(blob)
    lab.mallory.run(f"import os; os.unlink({str(lab.root / 'blobs/sha256' / blob.digest[7:])!r})").succeeded()
    lab.bob("prefetch", "0.3.2", *names(BRAIN)).succeeded()


def test_links_planted_as_records_or_selections_are_refused(lab: Lab) -> None:
    """They are neither read nor written through."""
    lab.shared()
    secret = lab.bob.home / "secret"
    record = Record("figshare:34821874", "sha256:" + "0" * 64, 5, "lockfile", "x", "2026-01-01T00:00:00+00:00")
    secret.write_text(json.dumps({key: getattr(record, key) for key in record.__struct_fields__}))
    before = secret.read_bytes()
    plant(lab.mallory, lab.root / "identifiers/figshare/34821874.json", secret)
    ran = lab.bob("prefetch", "0.3.2", *names(BRAIN))
    assert (ran.code, f"34821874.json is user {MALLORY}'s" in ran.err) == (6, True)
    lab.mallory("prefetch", "0.3.0", *names(LUNG)).succeeded()
    plant(lab.mallory, lab.root / "refs/antspynet/0.3.0" / f"{'0' * 16}.json", secret)
    assert "a link, and antscache follows no links here" in lab.bob("verify").out
    assert secret.read_bytes() == before


def test_links_planted_as_index_or_locks_are_refused(lab: Lab) -> None:
    """They are not written through."""
    lab.shared()
    victim = lab.bob.home / "victim"
    victim.write_text("precious")
    shutil.chown(victim, BOB)
    (lab.root / "index.json").unlink()
    for name in "index.json", f"locks/{NUMBER}.lock", "locks/pace", "locks/pace.lock":
        plant(lab.alice, lab.root / name, victim)
    ran = lab.bob("prefetch", "0.3.2", *names(BRAIN))
    assert (ran.code, "cannot write" in ran.err) == (6, True)
    assert f"locks do not work in {lab.root / 'locks'} ({NUMBER}.lock is not a file)" in ran.err
    lab.bob.run(
        "from pathlib import Path; from antscache.fetch import Pacer\n"
        f"Pacer(Path({str(lab.root / 'locks/pace')!r}), 1, shared=True).reserve_start()"
    ).succeeded()
    assert victim.read_text() == "precious"


def test_file_with_another_name_is_not_overwritten(lab: Lab) -> None:
    lab.shared()
    victim = lab.bob.home / "victim"
    victim.write_text("precious")
    shutil.chown(victim, BOB)
    victim.chmod(0o666)
    (lab.root / "index.json").unlink()
    os.link(victim, lab.root / "index.json")
    lab.carol.run(
        "from pathlib import Path; from antscache import disk\nfrom antscache.core import Staging\n"
        f"root = Path({str(lab.root)!r})\n"
        "try: disk.replace(root / 'index.json', b'other', Staging(root / 'ingest', True))\n"
        "except PermissionError: print('refused')"
    ).succeeded()
    assert victim.read_text() == "precious"


@pytest.mark.hard_links
def test_sharing_again_opens_no_file_with_two_names(lab: Lab) -> None:
    """What a member has linked into `locks/` is not opened to the group by its owner."""
    lab.shared()
    mine = lab.root.parent / "mine"
    mine.write_text("precious")
    mine.chmod(0o644)
    os.chown(mine, ALICE, GROUP)
    os.link(mine, lab.root / "locks/1.lock")
    lab.alice("init", "--shared").succeeded()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o644


def plant(user: User, path: Path, target: Path) -> None:
    """Make `path` a link to `target`, as `user` can."""
    parent = path.parent
    code = f"import os; os.makedirs({str(parent)!r}, exist_ok=True); os.symlink({str(target)!r}, {str(path)!r})"
    user.run(code).succeeded()


# Locks


def test_lock_is_held_by_one_member(lab: Lab) -> None:
    lab.shared()
    members = (lab.alice, lab.bob, lab.carol)
    attempt = ATTEMPT.format(directory=lab.root / "locks", name=7)
    with Locks(lab.root / "locks", shared=True).attempt("7"):
        assert [user.run(attempt).out for user in members] == ["False \n"] * 3
    assert [user.run(attempt).out for user in members] == ["True \n"] * 3


def test_members_lock_each_others_lock_files(lab: Lab) -> None:
    lab.shared()
    members = (lab.alice, lab.bob, lab.carol)
    for maker in members:
        attempt = ATTEMPT.format(directory=lab.root / "locks", name=maker.number)
        answers = [user.run(attempt).out for user in (maker, *members)]
        assert (answers, (lab.root / f"locks/{maker.number}.lock").stat().st_uid) == (["True \n"] * 4, maker.number)
    lab.assert_modes()


def test_older_shared_root_is_used_as_is(lab: Lab) -> None:
    """Its `locks/` has two files and none for an identifier."""
    lab.shared()
    lab.alice("prefetch", "0.3.2", *names(LUNG)).succeeded()
    locks = lab.root / "locks"
    for path in locks.iterdir():
        path.unlink()
    for name in "identifiers", "pace":
        (locks / name).touch()
        (locks / name).chmod(SHARED_FILE_MODE)
        os.chown(locks / name, ALICE, GROUP)
    for arguments in ["init", "--shared"], ["prefetch", "0.3.2", *names(TEMPLATE)]:
        lab.alice(*arguments).succeeded()
    attempt = ATTEMPT.format(directory=locks, name=NUMBER)
    assert [user.run(attempt).out for user in (lab.carol, lab.bob)] == ["True \n"] * 2
    assert "locks do not work" not in lab.bob("prefetch", "0.3.2", *names(BRAIN)).succeeded().err
    for user in lab.alice, lab.bob, lab.carol:
        waits = user.run(RESERVE.format(path=locks / "pace")).out
        assert float(waits) == pytest.approx(1000 * (lab.alice, lab.bob, lab.carol).index(user), abs=500)
    assert stat.S_IMODE(locks.stat().st_mode) == SHARED_DIRECTORY_MODE
    assert (locks / "identifiers").read_bytes() == b""
    lab.carol("verify").succeeded()


RESERVE = """
from pathlib import Path; from antscache.fetch import Pacer
print(Pacer(Path("{path}"), 1000, shared=True).reserve_start())
"""


# antscache in a process that stops itself once, when it has noted that it is fetching a file.
STOPPING = """
import os, signal
from antscache.cli import main
from antscache.store import Notes
add = Notes.add
def add_and_stop(*arguments):
    Notes.add = add
    add(*arguments)
    os.kill(os.getpid(), signal.SIGSTOP)
Notes.add = add_and_stop
main()
"""


def is_stopped(process: int) -> bool:
    """Return True if the process has got a SIGSTOP."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_waiting_names_the_process_and_ends_without_it(lab: Lab) -> None:
    """It ends when the other process has done nothing for the timeout."""
    lab.shared()
    with StandIn(FEW, size=3_000_000) as standin:
        arguments = ("prefetch", "0.3.2", *names(BRAIN))
        holder = lab.alice.start_code(STOPPING, arguments, {"ANTSCACHE_ORIGINS": standin.origins})
        try:
            until(lambda: is_stopped(holder))
            ran = lab.bob(*arguments, "--timeout", "3", ANTSCACHE_ORIGINS=standin.origins).succeeded()
        finally:
            os.kill(holder, signal.SIGCONT)
        who = f"process {holder} of user {ALICE} on {HOST}"
        assert f"waiting {BRAIN}.h5 figshare:34821874 another process is fetching it ({who})\n" in ran.err
        assert f"note: {who} has made no progress on {BRAIN}.h5 for 3 s: this process fetches it now" in ran.err
        lab.alice.wait(holder).succeeded()
    lab.carol("verify").succeeded()


def test_the_note_of_a_partial_names_its_writer(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.create()
    with closing(Notes(store.layout)) as notes, store.ingest() as ingest:
        ingest.write(b"beginning")
        notes.add(ingest.path, Partial("figshare:1", 1000, '"state"', "origin", "boot"))
        [[left]] = partial_files(store.layout).values()
    assert left.writer == f"process {os.getpid()} of {disk.user_name(os.geteuid())} on {HOST}"


@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP"])
def test_one_note_says_that_locks_do_not_work(antscache: AntsCache, tmp_path: Path, number: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import errno, fcntl, os\ndef flock(*_):\n    raise OSError(errno.{number}, os.strerror(errno.{number}))\n"
        "fcntl.flock = flock\n"
    )
    ran = antscache("prefetch", "0.3.2", *names(BRAIN, LUNG, TEMPLATE), PYTHONPATH=tmp_path).succeeded()
    assert ran.err.count(f"note: locks do not work in {antscache.root / 'locks'}") == 1
    assert os.strerror(getattr(errno, number)) in ran.err
    assert "locks" not in antscache("prefetch", "0.3.1", *names(BRAIN, LUNG)).succeeded().err


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
