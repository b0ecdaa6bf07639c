"""The doctor: each thing that can be wrong with a machine is made so, and told of; nothing is changed."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BRAIN, LUNG, TEMPLATE, TRANSFORM, AntsCache, Ran, cannot, require, snapshot
from support.sources import ENTRIES, fake_python, tree

from antscache import doctor, hook
from antscache.cache import Cache
from antscache.catalog.catalog import encode_manifest
from antscache.config import Settings
from antscache.core.digest import descriptor_of
from antscache.core.manifest import Manifest, Release
from antscache.core.record import Record, Selection
from antscache.doctor import examination, filesystem, home, installation, lower_caches, permissions, root
from antscache.doctor.finding import Finding, plain
from antscache.doctor.home_release import Glimpse, judge
from antscache.doctor.host import Host
from antscache.doctor.origins import check_origins
from antscache.doctor.patience import outcomes
from antscache.store.store import Store
from antscache.store.trash import Trash
from antscache.testing import Misbehaviour, StandIn, content, hdf5_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core.record import Trust
    from antscache.doctor.examination import Check

OLD, NEW = Release("antspynet", "0.2.9"), Release("antspynet", "0.3.2")
GONE, GONE_FROM = "ewDavidSysu.h5", "antspynet==0.2.3"
ONLY_NEW = "DesikanKillianyTourvilleOuter.h5"  # no release before 0.3.0 has it
DEEP_ATROPOS = "DeepAtroposHcpT1Weights"  # 49946070 in 0.2.9, 51906071 in 0.3.2
USER, OTHER = 54_321, 54_322  # nobody's numbers
DAY = 24 * 60 * 60  # seconds
MEMORY = Path("/dev/shm")  # noqa: S108  a tmpfs on every Linux
NOWHERE = "http://127.0.0.1:9/{id}"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else, or mount")
linux = pytest.mark.skipif(sys.platform != "linux", reason="what is mounted and told in /proc is Linux's")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A machine with a root that is made and an empty home; in memory, so that no disk is waited for."""
    place = Path(tempfile.mkdtemp(prefix="antscache-doctor-", dir=MEMORY if MEMORY.is_dir() else None))
    (place / "home").mkdir()
    monkeypatch.setenv("HOME", str(place / "home"))
    for variable in "VIRTUAL_ENV", "CONDA_PREFIX":
        monkeypatch.delenv(variable, raising=False)
    made = at(place / "root")
    Store(made.layout.root).create()
    yield made
    shutil.rmtree(place)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user of the machine can get to."""
    directory = Path(tempfile.mkdtemp(prefix="antscache-doctor-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def found(check: Check, host: Host) -> list[Finding]:
    """What `check` finds, in lines as they are shown."""
    return list(check(host))


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def told(findings: list[Finding], level: str) -> str:
    """What is told with `level`, and what to do, in one text."""
    return "\n".join(f"{each.what}\n{each.remedy}" for each in findings if each.level == level)


@contextmanager
def user(number: int) -> Iterator[None]:
    """This process is that user's, with no rights of root's, until the end."""
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(number, number, 0)
    os.setresuid(number, number, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[Path]:
    """A filesystem of one's own at `directory`."""
    directory.mkdir(exist_ok=True)
    if subprocess.run(["mount", *options, directory], check=False, capture_output=True).returncode:
        (pytest.skip if "loop" in options else cannot)(f"mount {' '.join(options)} is not allowed here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def at(directory: Path, **more: object) -> Host:
    """The machine whose root is `directory`."""
    return Host(Settings(root=str(directory), origins=(NOWHERE,), **more), Path("/bin/false"))  # type: ignore[arg-type]


# The command


def test_a_machine_that_is_well_is_told_so_and_nothing_is_changed(antscache: AntsCache) -> None:
    view = antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded().out.strip()
    before = snapshot(antscache.root), snapshot(antscache.home)
    ran = antscache("doctor").succeeded()
    assert (snapshot(antscache.root), snapshot(antscache.home)) == before
    heads = [line for line in ran.out.splitlines() if not line.startswith(" ")]
    assert {line.split()[0] for line in heads} <= {"ok", "note", "warning"}
    assert f"the root is {antscache.root}" in ran.out
    assert "locks work" in ran.out
    assert "answers" in ran.out
    assert view not in ran.out


def test_an_error_is_an_exit_code_of_1_and_json_says_the_same_as_lines(antscache: AntsCache) -> None:
    place = antscache.home / ".keras/ANTsXNet"
    place.mkdir(parents=True)
    (place / f"{BRAIN}.h5").write_bytes(content("34821874", f"{BRAIN}.h5", 4000)[:-1])
    plain, asked = antscache("doctor", "--offline"), antscache("doctor", "--offline", "--json")
    assert (plain.code, asked.code) == (1, 1)
    assert (plain.err, asked.err) == ("", "")
    lines = []
    for finding in asked.json:
        lines.append(f"{finding['level']:9}{finding['check']}: {finding['what']}")
        lines += [f"{'':9}{finding['remedy']}"] if finding["remedy"] else []
    assert plain.out.splitlines() == lines or len(plain.out.splitlines()) == len(lines)  # free bytes change
    assert f"{BRAIN}.h5 cannot be used: a cut HDF5 file: 3999 of 4000 bytes" in plain.out


def test_other_commands_do_not_import_the_doctor(antscache: AntsCache) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "antscache", "path", "--root"]
    done = subprocess.run(command, env=antscache.environment(), capture_output=True, text=True, check=True)
    assert "antscache.cli.lazy_group" in done.stderr
    assert "antscache.doctor" not in done.stderr


def test_settings_that_cannot_be_used_are_a_finding(antscache: AntsCache) -> None:
    ran = antscache("doctor", "--json", ANTSCACHE_JOBS="many")
    assert ran.code == 1
    assert [(each["check"], each["level"]) for each in ran.json][-1] == ("settings", "error")
    assert "ANTSCACHE_JOBS" in ran.json[-1]["what"]


def test_a_root_of_a_newer_layout_is_an_error_and_the_rest_is_looked_at(antscache: AntsCache) -> None:
    antscache.root.mkdir()
    (antscache.root / "antscache.json").write_text('{"layout": 99}')
    ran = antscache("doctor", "--json", "--offline")
    checks = {each["check"]: each for each in ran.json}
    assert (ran.code, checks["root"]["level"]) == (1, "error")
    assert "update antscache" in checks["root"]["remedy"]
    assert {"installation", "home", "origins"} <= checks.keys()
    assert not checks.keys() & {"abilities", "space", "leftovers"}


# Survival


KINDS = st.sampled_from(["file", "cut", "directory", "fifo", "nowhere", "itself", "socket", "closed"])
FILES = st.sampled_from([f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz", "x.mat", "x.jpg", "x\ny", os.fsdecode(b"\xff.h5"), "y"])


@linux
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(FILES, st.tuples(KINDS, st.binary(max_size=600)), max_size=5), deep=st.booleans())
def test_whatever_lies_in_a_home_is_looked_at_and_left_as_it_is(
    host: Host, files: dict[str, tuple[str, bytes]], deep: bool
) -> None:
    host.deep = deep
    assert host.place is not None
    shutil.rmtree(host.place, ignore_errors=True)
    host.place.mkdir(parents=True)
    for name, (kind, some) in files.items():
        put(host.place / name, kind, some)
    before = states(host.place)
    for finding in found(home.check_home, host):
        json.dumps([plain(finding.what), plain(finding.remedy)]).encode()
    assert states(host.place) == before


def states(directory: Path) -> list[tuple[Path, int, int, int, int]]:
    """What is in `directory`, as a change would show."""
    found = [(path, path.lstat()) for path in sorted(directory.iterdir())]
    return [(path, each.st_ino, each.st_mode, each.st_size, each.st_ctime_ns) for path, each in found]


def put(path: Path, kind: str, some: bytes) -> None:
    """Make at `path` what nobody thinks of."""
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "nowhere":
        path.symlink_to("nowhere")
    elif kind == "itself":
        path.symlink_to(path.name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's name may not be long
            listening.bind(path.name)
            os.chdir(here)
    else:
        path.write_bytes(some if kind == "file" else content("1", path.name, 2000)[: 600 + len(some)])
        path.chmod(0o000 if kind == "closed" else 0o644)


@pytest.mark.parametrize("damage", ["fifo", "file", "itself"])
@pytest.mark.parametrize(
    "where", ["", "antscache.json", "ingest", "trash", "blobs/sha256", "refs", "identifiers", "locks"]
)
def test_a_root_with_anything_in_the_wrong_place_is_survived(host: Host, where: str, damage: str) -> None:
    path = host.layout.root / where
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    put(path, damage, b"anything")
    flags = {"root": str(host.layout.root), "offline": True}
    findings = list(doctor.examine(flags, python=Path("/bin/false"), patience=20))
    assert {each.check for each in findings} >= {"root", "owners", "installation", "home", "origins"}
    assert not [each for each in findings if "nobody has thought of" in each.what or "not end" in each.what]
    path.chmod(0o700) if path.exists() else None


@needs_root
def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch, public: Path) -> None:
    for variable in "HOME", "ANTSCACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME":
        monkeypatch.delenv(variable, raising=False)
    with user(USER):
        unset = list(doctor.examine({"offline": True}, python=Path("/bin/false")))
        findings = list(doctor.examine({"offline": True, "root": str(public / "root")}, python=Path("/bin/false")))
    assert (unset[-1].check, unset[-1].level) == ("settings", "error")
    assert "home" in unset[-1].what
    assert "you have no home" in told(findings, "note")
    assert not [each for each in (*unset, *findings) if "nobody has thought of" in each.what]


def test_a_check_that_hangs_is_a_finding_and_the_others_go_on(host: Host) -> None:
    host.layout.catalog.mkdir()
    os.mkfifo(host.layout.catalog / "antspynet-9.9.9.json")  # who reads it waits for ever
    (host.place or Path()).mkdir(parents=True)
    flags = {"root": str(host.layout.root), "offline": True}
    findings = list(doctor.examine(flags, python=Path("/bin/false"), patience=0.5))
    hung = [each.check for each in findings if "did not end within 0.5 seconds" in each.what]
    assert hung == ["home"]
    assert findings[-1].check == "origins"


def test_what_a_job_raises_or_never_ends_with_is_its_outcome() -> None:
    never = threading.Event()
    fault = ValueError("fault")

    def fail() -> int:
        raise fault

    got = outcomes([lambda: 1, fail, lambda: int(never.wait())], 0.2)
    never.set()
    assert got[:2] == [1, fault]
    assert isinstance(got[2], TimeoutError)


def test_a_check_that_fails_is_a_finding_with_what_it_had_found_before(
    monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    def check(_: Host) -> Iterator[Finding]:
        yield Finding("", "ok", "so far")
        raise ZeroDivisionError("so good")

    monkeypatch.setattr(examination, "EXAMINATIONS", (examination.Examination("mine", check),))
    findings = list(doctor.examine({"root": str(host.layout.root)}))[-2:]
    assert [(each.check, each.level) for each in findings] == [("mine", "ok"), ("mine", "error")]
    assert "ZeroDivisionError: so good" in findings[1].what


@given(st.text())
def test_a_finding_is_one_line_that_any_terminal_and_json_take(text: str) -> None:
    line = plain(text + os.fsdecode(b"\xff"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line.encode()


# The root


def test_a_root_that_is_a_link_to_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("unmounted")
    assert "is not there" in told(found(root.check_root, at(tmp_path / "root")), "error")


def test_a_root_that_cannot_be_made_is_an_error_that_says_whose_the_directory_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a directory" in told(found(permissions.check_owners, at(tmp_path / "file/root")), "error")
    assert levels(found(permissions.check_owners, at(tmp_path / "a/b/root"))) == ["ok"]


@needs_root
def test_a_root_that_may_not_be_made_is_an_error(public: Path) -> None:
    with user(USER):
        assert "belongs to root" in told(found(permissions.check_owners, at(public / "a/root")), "error")


def shared_by(*users: int, root: Path, mask: int = 0o022) -> None:
    """Each of `users` makes a file's worth of antscache's things in `root`, the first one the root itself."""
    for number in users:
        with user(number):
            before = os.umask(mask)
            Store(root).create()
            Store(root).add(f"of {number}".encode())
            os.umask(before)


@needs_root
def test_what_a_docker_run_left_is_explained_and_the_command_that_is_told_mends_it(public: Path) -> None:
    directory, host = public / "root", at(public / "root")
    public.chmod(0o777)
    shared_by(USER, root=directory)
    Store(directory).add(b"of a container")
    (directory / "refs/antspynet").mkdir()
    with user(USER):
        [finding] = found(permissions.check_owners, host)
    assert finding.level == "error"
    assert "as after a docker run without --user, and you may not write there" in finding.what
    command, _, then = finding.remedy.partition("; ")
    assert f"docker run --user {USER}:{USER}" in then
    subprocess.run(["sh", "-c", command.removeprefix("sudo ")], check=True)
    with user(USER):
        assert levels(found(permissions.check_owners, host)) == ["ok"]


@needs_root
def test_blobs_of_roots_in_directories_of_ones_own_are_a_warning(public: Path) -> None:
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    Store(public / "root").add(b"of a container")
    with user(USER):
        assert "belong to root" in told(found(permissions.check_owners, at(public / "root")), "warning")


@needs_root
def test_root_itself_is_warned_before_it_leaves_anything(public: Path) -> None:
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    assert f"docker run --user {USER}:{USER}" in told(found(permissions.check_owners, at(public / "root")), "warning")


@needs_root
def test_a_root_of_another_user_can_be_read_and_the_way_to_do_so_is_told(public: Path) -> None:
    public.chmod(0o777)
    shared_by(OTHER, root=public / "root")
    with user(USER):
        findings = found(permissions.check_owners, at(public / "root"))
    assert levels(findings) == ["warning"]
    assert f"belongs to user {OTHER}" in findings[0].what
    assert "ANTSCACHE_SITE_DIRS" in findings[0].remedy


@needs_root
def test_what_another_user_closed_is_an_error(public: Path) -> None:
    public.chmod(0o777)
    shared_by(OTHER, root=public / "root", mask=0o022)
    (public / "root/blobs/sha256").chmod(0o700)
    with user(USER):
        assert "you may not read" in told(found(permissions.check_owners, at(public / "root")), "error")


@needs_root
def test_a_directory_of_ones_own_that_is_closed_is_an_error_with_the_command(public: Path) -> None:
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    (public / "root/refs").chmod(0o555)
    with user(USER):
        [finding] = found(permissions.check_owners, at(public / "root"))
        assert finding.level == "error"
        subprocess.run(["sh", "-c", finding.remedy], check=True)
        assert levels(found(permissions.check_owners, at(public / "root"))) == ["ok"]


@needs_root
def test_in_a_shared_root_what_is_closed_to_the_group_and_a_umask_of_077_are_told(public: Path) -> None:
    public.chmod(0o777)
    directory, host = public / "root", at(public / "root")
    with user(USER):
        Store(directory).share()
        assert levels(found(permissions.check_owners, host)) == ["ok"]
        before = os.umask(0o077)
        assert "your umask is 0077" in told(found(permissions.check_owners, host), "note")
        (directory / "views/by-hand").mkdir()
        findings = found(permissions.check_owners, host)
        os.umask(before)
    assert "1 files and directories" in told(findings, "warning")
    assert f"antscache init --shared --root {directory}" in told(findings, "warning")


def test_the_umask_is_not_changed_by_looking_at_it() -> None:
    before = os.umask(0o027)
    assert permissions._umask() == 0o027  # noqa: SLF001  it is what the check goes by
    assert os.umask(before) == 0o027


@needs_root
@linux
def test_a_root_on_a_read_only_filesystem_can_be_used_and_the_filesystem_is_not_tried(host: Host) -> None:
    directory = host.layout.root
    with mounted(directory, "--bind", str(directory)):
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        assert "read-only filesystem" in told(found(permissions.check_owners, host), "warning")
        assert "Read-only file system" in told(found(filesystem.check_abilities, host), "note")


def test_leftovers_are_told_by_age_and_with_what_cleans_them(host: Host) -> None:
    check: Check = root.check_leftovers
    assert levels(found(check, host)) == ["ok"]
    ingest, store = host.layout.ingest, Store(host.layout.root)
    (ingest / ("0" * 32)).write_bytes(b"under way")
    assert levels(found(check, host)) == ["ok"]
    (ingest / ("1" * 32)).write_bytes(bytes(2_000_000))
    os.utime(ingest / ("1" * 32), (time.time() - 2 * DAY,) * 2)
    [finding] = found(check, host)
    assert (finding.level, finding.remedy) == ("note", "antscache gc")
    assert "1 of 2 files in ingest/ (2.0 MB)" in finding.what
    (ingest / "directory").mkdir()
    assert f"rm -r {ingest}/directory" in told(found(check, host), "warning")
    blob = store.add(b"condemned")
    Trash(host.layout).condemn(blob.digest)
    assert "1 files in trash/" in told(found(check, host), "ok")
    [condemned] = Trash(host.layout).contents()
    condemned.path.rename(str(condemned.path).replace(f".{condemned.since}", f".{condemned.since - 2 * DAY}"))
    (host.layout.trash / "mine").touch()
    findings = found(check, host)
    assert "1 of 1 files in trash/" in told(findings, "note")
    assert "trash/mine is not antscache's" in told(findings, "warning")


def select(host: Host, *names: str, size: int | None = None) -> None:
    """Something is selected and not held; of `size` bytes, if that is known."""
    cache = Cache(host.settings)
    plan = cache.plan("0.3.2", names=names)
    cache.store.create()
    cache.store.refs.select(Selection(plan.release, plan.entries))  # as a prefetch that was interrupted at once
    for entry in plan.entries if size else ():
        digest = descriptor_of(entry.file.encode()).digest
        cache.store.records.remember(
            Record(str(entry.identifier), digest, size or 0, "origin", "x", "2026-01-01T00:00:00Z")
        )


@needs_root
@linux
@pytest.mark.parametrize(("size", "level"), [(10_000_000, "error"), (1_000_000, "warning"), (None, "warning")])
def test_what_is_selected_and_has_no_room_is_an_error(tmp_path: Path, size: int | None, level: str) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as directory:
        host = at(directory / "root")
        select(host, BRAIN, size=size)
        [finding] = found(root.check_space, host)
    assert finding.level == level
    assert "1 files that are selected and not held need" in finding.what
    assert ("of unknown size" in finding.what) == (size is None)


@needs_root
@linux
def test_few_inodes_are_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "few", "-t", "tmpfs", "-o", "size=8m,nr_inodes=90", "tmpfs") as directory:
        assert "more files" in told(found(root.check_space, at(directory / "root")), "warning")


# Abilities


def test_the_filesystem_is_tried_and_nothing_of_that_is_left(host: Host) -> None:
    findings = found(filesystem.check_abilities, host)
    assert "locks work" in told(findings, "ok")
    assert "links" in told(findings, "ok")
    assert ("upper and lower case" in told(findings, "note")) == (host.layout.root / "INGEST").exists()
    assert list(host.layout.ingest.iterdir()) == []


@needs_root
@linux
def test_a_full_filesystem_is_survived_and_nothing_is_left(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as directory:
        host = at(directory / "root")
        Store(host.layout.root).create()
        with suppress_full(), (directory / "filling").open("wb") as file:
            file.write(bytes(1_000_000))
        assert "No space left" in told(found(filesystem.check_abilities, host), "note")
        assert list(host.layout.ingest.iterdir()) == []


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        assert "No space left" in str(error)  # noqa: PT017  that is what it is for


def formatted(tmp_path: Path, *command: str) -> Path:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(320_000_000)
    made = subprocess.run([require(command[0]), *command[1:], image], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"{' '.join(command)} makes nothing here: {made.stderr}")
    return image


@needs_root
@linux
@pytest.mark.parametrize(
    ("command", "level", "what"),
    [
        (("mkfs.ext4", "-q"), "ok", "hard links and no reflinks"),
        (("mkfs.xfs", "-q"), "ok", "makes reflinks"),
        (("mkfs.vfat",), "error", "makes no links"),
    ],
)
def test_what_a_filesystem_links_by_is_found_out(tmp_path: Path, command: tuple[str], level: str, what: str) -> None:
    image = formatted(tmp_path, *command)
    with mounted(tmp_path / "mounted", "-o", "loop", str(image)) as directory:
        ingest = directory / "root/ingest"
        ingest.mkdir(parents=True)
        assert what in told(found(filesystem.check_abilities, at(directory / "root")), level)
        assert list(ingest.iterdir()) == []


@needs_root
@linux
def test_a_filesystem_that_folds_case_is_told_of(tmp_path: Path) -> None:
    image = formatted(tmp_path, "mkfs.ext4", "-q", "-O", "casefold")
    with mounted(tmp_path / "mounted", "-o", "loop", str(image)) as directory:
        ingest = directory / "root/ingest"
        ingest.mkdir(parents=True)
        if subprocess.run(["chattr", "+F", ingest], check=False, capture_output=True).returncode:
            pytest.skip("this kernel folds no case")
        assert "upper and lower case" in told(found(filesystem.check_abilities, at(directory / "root")), "note")


def test_locks_that_keep_nobody_out_are_told_of(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as where it says yes to everybody
    assert "locks do nothing on this filesystem: two" in told(found(filesystem.check_abilities, host), "note")
    assert list(host.layout.ingest.iterdir()) == []


def test_locks_that_are_refused_are_told_of(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(filesystem, "TRY_LOCK", "raise OSError(37, 'No locks available')")
    reason = f"locks do nothing on this filesystem ({os.strerror(errno.ENOLCK)})"
    assert reason in told(found(filesystem.check_abilities, host), "note")


# Lower caches


def test_each_lower_cache_that_cannot_be_used_is_told_with_why(host: Host, tmp_path: Path) -> None:
    good, newer, empty, gone = (tmp_path / name for name in ("good", "newer", "empty", "gone"))
    for directory in good, newer:
        Store(directory).create()
    (newer / "antscache.json").write_text('{"layout": 99}')
    empty.mkdir()
    directories = (good, newer, empty, gone, host.layout.root)
    findings = found(lower_caches.check_lowers, at(host.layout.root, site_dirs=tuple(map(str, directories))))
    assert levels(findings) == ["ok", "warning", "warning", "warning", "note"]
    for finding, directory in zip(findings, directories, strict=True):
        assert str(directory) in finding.what
    assert "update antscache" in findings[1].remedy
    assert "ANTSCACHE_SITE_DIRS" in findings[3].remedy


@needs_root
def test_a_lower_cache_that_may_not_be_read_is_told_of(public: Path) -> None:
    public.chmod(0o777)
    shared_by(OTHER, root=public / "lower", mask=0o022)
    host = at(public / "root", site_dirs=(str(public / "lower"),))
    for closed in "lower/blobs/sha256", "lower/antscache.json", "lower":
        with user(USER):
            assert levels(found(lower_caches.check_lowers, host)) == ["ok"]
        before = (public / closed).stat().st_mode
        (public / closed).chmod(0)
        with user(USER):
            assert levels(found(lower_caches.check_lowers, host)) == ["warning"]
        (public / closed).chmod(before)


# The installation


@pytest.fixture
def installed(host: Host, tmp_path: Path) -> Host:
    """The machine with an antspynet 0.9.9, which is published."""
    host.layout.catalog.mkdir()
    manifest = Manifest(Release("antspynet", "0.9.9"), ENTRIES)
    (host.layout.catalog / "antspynet-0.9.9.json").write_bytes(encode_manifest(manifest))
    python = fake_python(tmp_path / "env", tree(tmp_path / "site", "0.9.9")) / "bin/python"
    return Host(host.settings, python)


def test_the_antspynet_in_use_and_the_home_it_would_see_are_told(installed: Host) -> None:
    findings = found(installation.check_installation, installed)
    assert levels(findings) == ["ok", "note"]
    assert "antspynet==0.9.9 is in use" in findings[0].what
    assert str(installed.place) in findings[1].what
    assert "antscache run -- python" in findings[1].remedy


def test_where_the_hook_is_on_it_is_said_what_it_leads_to(installed: Host, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    hooked = hook.enable(python)
    shutil.copytree(tmp_path / "site", hooked.file.parent, dirs_exist_ok=True)
    host = Host(installed.settings, python)
    assert "the hook is on" in told(found(installation.check_installation, host), "ok")
    gone = str(tmp_path / "gone")
    assert hooked.enabled is not None
    hooked.file.write_text(hooked.file.read_text("utf-8").replace(hooked.enabled.command[0], gone), "utf-8")
    assert f"{gone}, which is not there" in told(found(installation.check_installation, host), "error")


def test_an_installation_that_differs_from_the_published_one_is_told_of(installed: Host) -> None:
    (installed.layout.catalog / "antspynet-0.9.9.json").unlink()
    assert "a release of its own" in told(found(installation.check_installation, installed), "note")


@pytest.mark.parametrize(("slug", "level"), [("antspynet-0.9.9", "ok"), ("antspynet-0.2.9", "error")])
@pytest.mark.parametrize("linked", [False, True])
def test_whether_the_home_is_the_view_of_what_is_in_use_is_told(
    installed: Host, monkeypatch: pytest.MonkeyPatch, slug: str, level: str, linked: bool
) -> None:
    view = installed.layout.views / slug
    (view / ".keras/ANTsXNet").mkdir(parents=True)
    if linked:
        (Path(os.environ["HOME"]) / ".keras").symlink_to(view / ".keras")
    else:
        monkeypatch.setenv("HOME", str(view))
    seen = told(found(installation.check_installation, installed), level)
    assert ("which is its view" if level == "ok" else f"which is the view of {slug}") in seen
    assert levels(found(home.check_home, installed)) == ["ok"]


def test_what_is_missing_from_the_view_is_told(antscache: AntsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded().out.strip())
    monkeypatch.setenv("HOME", str(home))
    (home / f".keras/ANTsXNet/{BRAIN}.h5").unlink()
    host = at(antscache.root)
    assert f"missing from it: {BRAIN}.h5" in told(list(installation._missing(host, NEW)), "warning")  # noqa: SLF001


def test_a_python_that_does_not_run_is_an_error(host: Host) -> None:
    findings = list(doctor.examine({"root": str(host.layout.root), "offline": True}, python=Path("/bin/false")))
    assert "/bin/false does not run as a Python" in told([e for e in findings if e.check == "installation"], "error")


# The home


def fill(host: Host, files: dict[str, bytes]) -> Path:
    assert host.place is not None
    host.place.mkdir(parents=True, exist_ok=True)
    for name, some in files.items():
        (host.place / name).write_bytes(some)
    return host.place


NUMBERS = {f"{BRAIN}.h5": "34821874", f"{TEMPLATE}.nii.gz": "22597175", f"{LUNG}.h5": "41965818"}
NOW = {name: content(number, name, 4000) for name, number in NUMBERS.items()}
CHANGED = f"{DEEP_ATROPOS}.h5"


def remember(host: Host, identifier: str, some: bytes, trust: Trust = "origin") -> None:
    blob = descriptor_of(some)
    record = Record(identifier, blob.digest, blob.size, trust, "x", "2026-01-01T00:00:00Z")
    Store(host.layout.root).records.remember(record)


def test_a_home_of_one_release_is_well(host: Host) -> None:
    some = content("51906071", CHANGED, 4000)
    fill(host, NOW | {CHANGED: some})
    remember(host, "figshare:51906071", some)
    remember(host, "figshare:34821874", NOW[f"{BRAIN}.h5"])
    findings = found(home.check_home, host)
    assert levels(findings) == ["ok"]
    assert "4 files" in findings[0].what
    assert "antspynet==0.3" in findings[0].what


@pytest.mark.parametrize(("size", "by_size"), [(4000, False), (4100, True)])
def test_a_file_of_another_release_is_an_error_that_says_which(host: Host, size: int, by_size: bool) -> None:
    """Of the same size it has to be hashed; of another the size says it."""
    old, new = content("49946070", CHANGED, size), content("51906071", CHANGED, 4000)
    remember(host, "figshare:49946070", old)
    remember(host, "figshare:51906071", new)
    fill(host, NOW | {CHANGED: old, ONLY_NEW: content("1", ONLY_NEW, 4000)})
    error = told(found(home.check_home, host), "error")
    assert (
        f"mixes releases: of what {NEW} asks for, {CHANGED} is {'perhaps ' * by_size}figshare:49946070 of {OLD}"
        in error
    )
    assert "antscache run -- python" in error


@pytest.mark.parametrize(("size", "by_size"), [(4000, False), (4100, True)])
def test_what_is_in_use_is_what_a_home_is_judged_by(
    host: Host, monkeypatch: pytest.MonkeyPatch, size: int, by_size: bool
) -> None:
    some = content("51906071", CHANGED, size)
    remember(host, "figshare:51906071", some)
    remember(host, "figshare:49946070", content("49946070", CHANGED, 4000))
    fill(host, NOW | {CHANGED: some})
    monkeypatch.setitem(vars(host), "manifest", host.catalog.find(OLD))  # as if it were installed
    assert f"of what {OLD} asks for, {CHANGED} is {'perhaps ' * by_size}figshare:51906071 of {NEW}" in told(
        found(home.check_home, host), "error"
    )


def test_names_of_other_releases_and_of_none_are_told(host: Host) -> None:
    fill(host, NOW | {f"{TRANSFORM}.mat": content("41052575", ".mat", 0), GONE: NOW[f"{BRAIN}.h5"], "mine.h5": NETWORK})
    findings = found(home.check_home, host)
    assert f"{GONE} ({GONE_FROM})" in told(findings, "warning")
    assert "mine.h5" in told(findings, "note")


def test_where_nothing_recorded_tells_releases_apart_that_is_said(host: Host) -> None:
    fill(host, NOW | {CHANGED: content("49946070", CHANGED, 4000)})
    assert CHANGED in told(found(home.check_home, host), "note")


def test_what_was_adopted_is_no_word_on_a_home(host: Host) -> None:
    some = content("49946070", CHANGED, 4000)
    fill(host, NOW | {CHANGED: some})
    remember(host, "figshare:51906071", some, "adopted")
    assert f"nothing recorded tells which these are: {CHANGED}, {BRAIN}.h5" in told(
        found(home.check_home, host), "note"
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_home_of_one_release_is_said_to_mix_and_every_file_of_another_is_found(data: st.DataObject) -> None:
    identifiers = st.sampled_from([f"figshare:{n}" for n in range(1, 9)])
    names = st.sampled_from(["a.h5", "b.h5", "c.nii.gz", "d.mat"])
    versions = [Release("antspynet", f"0.{n}.0") for n in range(1, data.draw(st.integers(2, 4)))] + [NEW]
    releases = {
        each: {name: frozenset({it}) for name, it in data.draw(st.dictionaries(names, identifiers, min_size=1)).items()}
        for each in versions
    }
    blobs = {f"figshare:{n}": descriptor_of(f"bytes {n}".encode()) for n in range(1, 9)}
    known = {it: blobs[it] for it in data.draw(st.sets(identifiers))}
    home = data.draw(st.sampled_from(versions))
    hashed = data.draw(st.booleans())
    files = {name: next(iter(it)) for name, it in releases[home].items()}
    glimpses = [Glimpse(name, blobs[it].size, blobs[it] if hashed else None) for name, it in files.items()]
    got = judge(glimpses, releases, known, home)
    assert (got.release, got.other, got.elsewhere, got.unknown) == (home, (), (), ())
    assert sorted((*got.sound, *got.untold)) == sorted(files)

    name = data.draw(st.sampled_from(sorted(files)))
    other = data.draw(identifiers.filter(lambda it: it != files[name]))
    bad = [g for g in glimpses if g.name != name] + [Glimpse(name, blobs[other].size, blobs[other])]
    got = judge(bad, releases, known, home)
    if other in known or files[name] in known:  # nothing else could tell
        assert [each for each, _ in got.other] == [name]


IMAGE, NETWORK = content("1", "x.nii.gz", 200_000), content("2", "x.h5", 200_000)


@pytest.mark.parametrize(("name", "whole"), [("x.nii.gz", IMAGE), ("x.h5", NETWORK)])
def test_a_whole_file_is_no_problem(tmp_path: Path, name: str, whole: bytes) -> None:
    (tmp_path / name).write_bytes(whole)
    assert home._problem(tmp_path / name) == ""  # noqa: SLF001


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 199_999), name=st.sampled_from(["x.nii.gz", "x.h5"]))
def test_no_cut_file_is_overlooked_although_little_is_read(tmp_path: Path, length: int, name: str) -> None:
    (tmp_path / name).write_bytes((IMAGE if name == "x.nii.gz" else NETWORK)[:length])
    assert home._problem(tmp_path / name)  # noqa: SLF001


def test_an_image_with_something_behind_it_is_no_cut_one(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(IMAGE + gzip.compress(b"more"))
    assert home._problem(tmp_path / "x.nii.gz") == ""  # noqa: SLF001


def test_of_a_network_of_a_terabyte_only_the_head_is_read(host: Host) -> None:
    place = fill(host, {})
    head = hdf5_head(1 << 40)
    for name, missing in ("whole.h5", 0), ("cut.h5", 1):
        with (place / name).open("wb") as file:
            file.write(head)
            file.truncate(len(head) + (1 << 40) - missing)
    findings = found(home.check_home, host)
    assert "cut.h5 cannot be used: a cut HDF5 file" in told(findings, "error")
    assert "whole.h5" not in told(findings, "error")


def test_damage_in_the_middle_is_found_by_reading_everything(host: Host) -> None:
    name = f"{TEMPLATE}.nii.gz"
    damaged = bytearray(content("22597175", name, 200_000))
    damaged[150_000] ^= 0xFF
    fill(host, {name: bytes(damaged)})
    assert told(found(home.check_home, host), "error") == ""
    assert "damaged gzip" in told(found(home.check_home, Host(host.settings, deep=True)), "error")


def test_a_link_to_nowhere_and_a_pipe_in_a_home_are_told_with_the_command_that_removes_them(host: Host) -> None:
    place = fill(host, {})
    (place / "link to.h5").symlink_to("nowhere")
    os.mkfifo(place / "pipe.h5")
    findings = found(home.check_home, host)
    for finding in findings[:2]:
        subprocess.run(["sh", "-c", finding.remedy], check=True)
    assert levels(findings)[:2] == ["error", "warning"]
    assert list(place.iterdir()) == []


@needs_root
def test_a_home_that_root_has_written_to_is_explained(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(public))
    host = at(public / "root")
    fill(host, NOW)
    with user(USER):
        assert "4 files and directories" in told(found(home.check_home, host), "warning")
        assert "docker run without --user" in told(found(home.check_home, host), "warning")
    (public / ".keras/ANTsXNet").chmod(0o700)
    with user(USER):
        assert "which belongs to root" in told(found(home.check_home, host), "error")


# Origins


def asked(host: Host, origins: str) -> list[Finding]:
    own = Settings(root=str(host.layout.root), origins=tuple(origins.split()), timeout=1.0)
    return found(check_origins, Host(own))


def test_origins_are_told_by_what_they_answer(host: Host, figshare: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    before = len(figshare.requests)
    findings = asked(host, figshare.origins)
    assert levels(findings) == ["ok", "ok", "note"]  # figshare.com's route turns programs away
    assert "202 bot challenge" in findings[2].what
    assert len(figshare.requests) - before == 5  # three routes, and the storage behind two


@pytest.mark.parametrize(
    "how",
    [
        Misbehaviour.CHALLENGE,
        Misbehaviour.HTML_AS_BINARY,
        Misbehaviour.EMPTY,
        Misbehaviour.STALL_HEADERS,
        Misbehaviour.REDIRECT_LOOP,
        Misbehaviour.RESET,
        Misbehaviour.TRUNCATED,
        Misbehaviour.UNAVAILABLE,
    ],
)
def test_where_no_origin_gives_a_file_that_is_an_error(
    host: Host, figshare: StandIn, monkeypatch: pytest.MonkeyPatch, how: Misbehaviour
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    findings = asked(host, figshare.misbehaving_origins(how))
    assert levels(findings) == ["warning", "warning", "warning", "error"]
    assert "ANTSCACHE_MIRRORS" in findings[-1].remedy


def test_offline_no_origin_is_asked(host: Host, figshare: StandIn) -> None:
    before = len(figshare.requests)
    offline = Host(Settings(root=str(host.layout.root), origins=tuple(figshare.origins.split()), offline=True))
    assert levels(found(check_origins, offline)) == ["note"]
    assert len(figshare.requests) == before


def test_a_mirror_that_lacks_the_file_is_a_warning(
    host: Host, figshare: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    mirrors = (f"file://{tmp_path}/{{id}}", f"file://{tmp_path}/{{digest}}")
    origins = tuple(figshare.origins.split())
    one = Host(Settings(root=str(host.layout.root), origins=origins, mirrors=mirrors))
    findings = found(check_origins, one)
    assert levels(findings) == ["warning", "warning", "ok", "ok", "note"]
    assert "no such file" in findings[0].what
    assert "goes by a digest" in findings[1].what


def test_a_proxy_that_is_none_is_a_finding(antscache: AntsCache) -> None:
    ran: Ran = antscache("doctor", "--json", HTTP_PROXY="nonsense", no_proxy="x")
    assert "proxy" in told([msg for each in ran.json if (msg := Finding(**each)).check == "origins"], "error")
