"""The doctor: each test makes one thing wrong with a machine, and the doctor has to report it and change nothing."""

from __future__ import annotations

import errno
import fcntl
import gzip
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
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BRAIN, LUNG, TEMPLATE, TRANSFORM, AntsCache, Ran, cannot, require, snapshot
from support.sources import ENTRIES, fake_python, tree

from antscache import disk, doctor, hook
from antscache.cache import Cache
from antscache.catalog.catalog import encode_manifest
from antscache.config import Settings
from antscache.core.digest import descriptor_of
from antscache.core.manifest import Manifest, Release
from antscache.core.record import Record, Selection
from antscache.doctor import (
    examination,
    filesystem,
    home,
    installation,
    lower_caches,
    origins,
    patience,
    permissions,
    root,
)
from antscache.doctor.finding import Finding
from antscache.doctor.home_release import ExaminedFile, judge
from antscache.doctor.host import Host
from antscache.doctor.patience import run_jobs
from antscache.store.store import Store
from antscache.store.trash import Trash
from antscache.testing import Misbehaviour, StandIn, content, hdf5_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from antscache.core.record import Trust
    from antscache.doctor.examination import Check

OLD, NEW = Release("antspynet", "0.2.9"), Release("antspynet", "0.3.2")
GONE, GONE_FROM = "ewDavidSysu.h5", "antspynet==0.2.3"
ONLY_NEW = "DesikanKillianyTourvilleOuter.h5"  # no release before 0.3.0 has it
DEEP_ATROPOS = "DeepAtroposHcpT1Weights"  # 49946070 in 0.2.9, 51906071 in 0.3.2
USER, OTHER = 54_321, 54_322  # numbers of no real users
DAY = 24 * 60 * 60  # seconds
MEMORY = Path("/dev/shm")  # noqa: S108  a tmpfs on every Linux
NOWHERE = "http://127.0.0.1:9/{id}"

needs_root = pytest.mark.usefixtures("superuser")
linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts and /proc are of Linux alone")


@pytest.fixture
def superuser() -> None:
    if os.geteuid() != 0:
        cannot("only root can become another user, or mount")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A machine with a new root and an empty home, both in memory, so that no test waits for a disk."""
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
    """A directory that every user may look into."""
    directory = Path(tempfile.mkdtemp(prefix="antscache-doctor-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def run_check(check: Check, host: Host) -> list[Finding]:
    """Return all findings of `check`."""
    return list(check(host))


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def text_of(findings: list[Finding], level: str) -> str:
    """Return all findings of `level`, with their remedies, as one text."""
    return "\n".join(f"{finding.what}\n{finding.remedy}" for finding in findings if finding.level == level)


@contextmanager
def user(number: int) -> Iterator[None]:
    """Run as the user with this number, without the rights of root."""
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
    """Mount a filesystem at `directory`."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, directory], check=False, capture_output=True, text=True)
    if done.returncode:
        cannot(f"mount {' '.join(options)} failed: {done.stderr}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def at(directory: Path, **more: object) -> Host:
    """Return the machine whose root is `directory`."""
    return Host(Settings(root=str(directory), origins=(NOWHERE,), **more), Path("/bin/false"))  # type: ignore[arg-type]


# The command


def test_sound_machine_gives_no_error(antscache: AntsCache) -> None:
    """On a sound machine the doctor reports no error, and it changes nothing."""
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


def test_error_exits_with_1_as_lines_and_json(antscache: AntsCache) -> None:
    """An error gives exit code 1, and --json has the same findings as the lines."""
    place = antscache.home / ".keras/ANTsXNet"
    place.mkdir(parents=True)
    (place / f"{BRAIN}.h5").write_bytes(content("34821874", f"{BRAIN}.h5", 4000)[:-1])
    plain, as_json = antscache("doctor", "--offline"), antscache("doctor", "--offline", "--json")
    assert (plain.code, as_json.code) == (1, 1)
    assert (plain.err, as_json.err) == ("", "")
    lines = []
    for finding in as_json.json:
        lines.append(f"{finding['level']:9}{finding['check']}: {finding['what']}")
        lines += [f"{'':9}{finding['remedy']}"] if finding["remedy"] else []
    assert without_space(plain.out.splitlines()) == without_space(lines)
    assert f"{BRAIN}.h5 cannot be used: a cut HDF5 file: 3999 of 4000 bytes" in plain.out


def without_space(lines: list[str]) -> list[str]:
    """Leave out the line with the free bytes, which change all the time."""
    return [line for line in lines if line.split()[1:2] != ["space:"]]


def test_other_commands_do_not_import_the_doctor(antscache: AntsCache) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "antscache", "path", "--root"]
    done = subprocess.run(command, env=antscache.environment(), capture_output=True, text=True, check=True)
    assert "antscache.cli.lazy_group" in done.stderr
    assert "antscache.doctor" not in done.stderr


def test_unusable_settings_are_a_finding(antscache: AntsCache) -> None:
    ran = antscache("doctor", "--json", ANTSCACHE_JOBS="many")
    assert ran.code == 1
    assert (ran.json[-1]["check"], ran.json[-1]["level"]) == ("settings", "error")
    assert "ANTSCACHE_JOBS" in ran.json[-1]["what"]


def test_newer_layout_is_an_error(antscache: AntsCache) -> None:
    """A root with a newer layout is an error; checks that do not need the root still run."""
    antscache.root.mkdir()
    (antscache.root / "antscache.json").write_text('{"layout": 99}')
    ran = antscache("doctor", "--json", "--offline")
    checks = {finding["check"]: finding for finding in ran.json}
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
def test_any_home_is_examined_and_left_unchanged(host: Host, files: dict[str, tuple[str, bytes]], deep: bool) -> None:
    host.deep = deep
    assert host.antsxnet_directory is not None
    shutil.rmtree(host.antsxnet_directory, ignore_errors=True)
    host.antsxnet_directory.mkdir(parents=True)
    for name, (kind, some) in files.items():
        make_odd_file(host.antsxnet_directory / name, kind, some)
    before = stat_files(host.antsxnet_directory)
    assert run_check(home.check_home, host)
    assert stat_files(host.antsxnet_directory) == before


def stat_files(directory: Path) -> list[tuple[Path, int, int, int, int]]:
    """Return for each file in `directory` the numbers that a change would change."""
    statuses = [(path, path.lstat()) for path in sorted(directory.iterdir())]
    return [(path, status.st_ino, status.st_mode, status.st_size, status.st_ctime_ns) for path, status in statuses]


def make_odd_file(path: Path, kind: str, some: bytes) -> None:
    """Make a thing of `kind` at `path`."""
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
def test_misplaced_things_in_a_root_stop_no_check(host: Host, where: str, damage: str) -> None:
    """With anything in the wrong place in a root, every check ends without an internal error."""
    path = host.layout.root / where
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make_odd_file(path, damage, b"anything")
    flags = {"root": str(host.layout.root), "offline": True}
    findings = list(doctor.examine(flags, python=Path("/bin/false")))
    assert {finding.check for finding in findings} >= {"root", "owners", "installation", "home", "origins"}
    assert not [finding for finding in findings if "internal error" in finding.what or "not end" in finding.what]
    path.chmod(0o700) if path.exists() else None


@needs_root
def test_user_without_a_home_is_reported(monkeypatch: pytest.MonkeyPatch, public: Path) -> None:
    for variable in "HOME", "ANTSCACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME":
        monkeypatch.delenv(variable, raising=False)
    with user(USER):
        unset = list(doctor.examine({"offline": True}, python=Path("/bin/false")))
        findings = list(doctor.examine({"offline": True, "root": str(public / "root")}, python=Path("/bin/false")))
    assert (unset[-1].check, unset[-1].level) == ("settings", "error")
    assert "home" in unset[-1].what
    assert "you have no home directory" in text_of(findings, "note")
    assert not [finding for finding in (*unset, *findings) if "internal error" in finding.what]


def test_hanging_check_is_a_finding(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that hangs gives a finding, and the other checks run."""
    never = threading.Event()
    run = examination._run  # noqa: SLF001  only the check that hangs gets little time

    def run_with_timeouts(name: str, check: Callable[[], Iterator[Finding]], timeout: float) -> Iterator[Finding]:
        return run(name, never.wait, 0.5) if name == "home" else run(name, check, timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(examination, "_run", run_with_timeouts)
    flags = {"root": str(host.layout.root), "offline": True}
    findings = list(doctor.examine(flags, python=Path("/bin/false")))
    hung = [finding.check for finding in findings if "did not end within 0.5 seconds" in finding.what]
    assert hung == ["home"]
    assert findings[-1].check == "origins"
    never.set()


def test_outcomes_are_values_exceptions_or_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.0, 0.0, 60.0])  # at the start, and before each job is waited for
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: next(times)))
    never = threading.Event()
    fault = ValueError("fault")

    def fail() -> int:
        raise fault

    outcomes = run_jobs([lambda: 1, fail, lambda: int(never.wait())], 60)
    never.set()
    assert outcomes[:2] == [1, fault]
    assert isinstance(outcomes[2], TimeoutError)


def test_failing_check_is_a_finding(monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    """A check that fails gives a finding, after the findings that it gave before."""

    def check(_: Host) -> Iterator[Finding]:
        yield Finding("", "ok", "so far")
        raise ZeroDivisionError("so good")

    monkeypatch.setattr(examination, "EXAMINATIONS", (examination.Examination("mine", check),))
    findings = list(doctor.examine({"root": str(host.layout.root)}))[-2:]
    assert [(finding.check, finding.level) for finding in findings] == [("mine", "ok"), ("mine", "error")]
    assert findings[1].what == "internal error: ZeroDivisionError: so good"


# The root


def test_dangling_link_as_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("unmounted")
    assert "which does not exist" in text_of(run_check(root.check_root, at(tmp_path / "root")), "error")


def test_root_below_a_file_is_an_error(tmp_path: Path) -> None:
    """A root that cannot be created because a parent is a file is an error; one that can be created is ok."""
    (tmp_path / "file").touch()
    assert "is not a directory" in text_of(run_check(permissions.check_owners, at(tmp_path / "file/root")), "error")
    assert levels(run_check(permissions.check_owners, at(tmp_path / "a/b/root"))) == ["ok"]


@needs_root
def test_root_in_a_foreign_directory_names_the_owner(public: Path) -> None:
    """A root in a directory that you may not write to is an error that names the owner."""
    with user(USER):
        assert "belongs to root" in text_of(run_check(permissions.check_owners, at(public / "a/root")), "error")


def shared_by(*users: int, root: Path, mask: int = 0o022) -> None:
    """Create `root` as the first of `users`, and add a blob to it as each of them."""
    for number in users:
        with user(number):
            before = os.umask(mask)
            Store(root).create()
            Store(root).add(f"of {number}".encode())
            os.umask(before)


@needs_root
def test_remedy_for_files_of_docker_run_works(public: Path) -> None:
    """Files that docker run left behind as root are an error, and its remedy mends it."""
    directory, host = public / "root", at(public / "root")
    public.chmod(0o777)
    shared_by(USER, root=directory)
    Store(directory).add(b"of a container")
    (directory / "refs/antspynet").mkdir()
    with user(USER):
        [finding] = run_check(permissions.check_owners, host)
    assert finding.level == "error"
    assert "as after a docker run without --user, and you may not write there" in finding.what
    command, _, then = finding.remedy.partition("; ")
    assert f"docker run --user {USER}:{USER}" in then
    subprocess.run(["sh", "-c", command.removeprefix("sudo ")], check=True)
    with user(USER):
        assert levels(run_check(permissions.check_owners, host)) == ["ok"]


@needs_root
def test_blobs_of_the_user_root_are_a_warning(public: Path) -> None:
    """Blobs of the user root in directories that you may write to are only a warning."""
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    Store(public / "root").add(b"of a container")
    with user(USER):
        assert "the user root owns 1 file or directory" in text_of(
            run_check(permissions.check_owners, at(public / "root")), "warning"
        )


@needs_root
def test_root_user_in_a_foreign_root_is_warned(public: Path) -> None:
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    assert f"docker run --user {USER}:{USER}" in text_of(
        run_check(permissions.check_owners, at(public / "root")), "warning"
    )


@needs_root
@pytest.mark.parametrize("owner", [OTHER, 0])
def test_a_readers_cache_is_a_note(public: Path, owner: int) -> None:
    """It says whose it is, and how to use its files. Nobody is told to take it over."""
    public.chmod(0o777)
    shared_by(owner, root=public / "root")
    with user(USER):
        [finding] = run_check(permissions.check_owners, at(public / "root"))
    assert finding.level == "note"
    assert f"belongs to {'root' if owner == 0 else f'user {OTHER}'}: you can use its files" in finding.what
    assert "ANTSCACHE_SITE_DIRS" in finding.remedy
    assert "chown" not in finding.remedy


@needs_root
def test_unreadable_directory_of_another_user_is_an_error(public: Path) -> None:
    public.chmod(0o777)
    shared_by(OTHER, root=public / "root", mask=0o022)
    (public / "root/blobs/sha256").chmod(0o700)
    with user(USER):
        assert "you may not read" in text_of(run_check(permissions.check_owners, at(public / "root")), "error")


@needs_root
def test_own_unwritable_directory_is_an_error(public: Path) -> None:
    """A directory of your own that you may not write to is an error, and its remedy mends it."""
    public.chmod(0o777)
    shared_by(USER, root=public / "root")
    (public / "root/refs").chmod(0o555)
    with user(USER):
        [finding] = run_check(permissions.check_owners, at(public / "root"))
        assert finding.level == "error"
        subprocess.run(["sh", "-c", finding.remedy], check=True)
        assert levels(run_check(permissions.check_owners, at(public / "root"))) == ["ok"]


@needs_root
def test_shared_root_reports_closed_paths_and_umask(public: Path) -> None:
    """In a shared root, paths that are closed to the group and a umask of 077 are reported."""
    public.chmod(0o777)
    directory, host = public / "root", at(public / "root")
    with user(USER):
        Store(directory).share()
        assert levels(run_check(permissions.check_owners, host)) == ["ok"]
        before = os.umask(0o077)
        assert "your umask is 0077" in text_of(run_check(permissions.check_owners, host), "note")
        (directory / "views/by-hand").mkdir()
        findings = run_check(permissions.check_owners, host)
        os.umask(before)
    assert f"closed to the group of {directory}: 1 file or directory" in text_of(findings, "warning")
    assert f"antscache init --shared --root {directory}" in text_of(findings, "warning")


def test_reading_the_umask_does_not_change_it() -> None:
    before = os.umask(0o027)
    assert permissions._read_umask() == 0o027  # noqa: SLF001  it is what the check goes by
    assert os.umask(before) == 0o027


@needs_root
@linux
def test_read_only_filesystem_is_a_warning(host: Host) -> None:
    """A root on a read-only filesystem is a warning, and the filesystem's abilities are not tested."""
    directory = host.layout.root
    with mounted(directory, "--bind", str(directory)):
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        assert "read-only filesystem" in text_of(run_check(permissions.check_owners, host), "warning")
        assert "Read-only file system" in text_of(run_check(filesystem.check_abilities, host), "note")


def test_leftovers_are_reported_by_age(host: Host) -> None:
    """Old leftovers are notes with a remedy, young ones are ok, and foreign things are warnings."""
    check: Check = root.check_leftovers
    assert levels(run_check(check, host)) == ["ok"]
    ingest, store = host.layout.ingest, Store(host.layout.root)
    (ingest / ("0" * 32)).write_bytes(b"under way")
    assert levels(run_check(check, host)) == ["ok"]
    (ingest / ("1" * 32)).write_bytes(bytes(2_000_000))
    os.utime(ingest / ("1" * 32), (time.time() - 2 * DAY,) * 2)
    [finding] = run_check(check, host)
    assert (finding.level, finding.remedy) == ("note", "antscache gc")
    assert "ingest/: 1 of 2 files (2.0 MB)" in finding.what
    (ingest / "directory").mkdir()
    assert f"rm -r {ingest}/directory" in text_of(run_check(check, host), "warning")
    blob = store.add(b"condemned")
    Trash(host.layout).condemn(blob.digest)
    assert "trash/: 1 file " in text_of(run_check(check, host), "ok")
    [condemned] = Trash(host.layout).contents()
    condemned.path.rename(str(condemned.path).replace(f".{condemned.since}", f".{condemned.since - 2 * DAY}"))
    (host.layout.trash / "mine").touch()
    findings = run_check(check, host)
    assert "trash/: 1 of 1 file " in text_of(findings, "note")
    assert f"antscache did not create {host.layout.trash / 'mine'}" in text_of(findings, "warning")


def select(host: Host, *names: str, size: int | None = None) -> None:
    """Select files that are not held, of `size` bytes each if that is known."""
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
def test_missing_files_without_disk_space_are_an_error(tmp_path: Path, size: int | None, level: str) -> None:
    """Selected files that are missing are an error if the disk is known to be too small for them."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as directory:
        host = at(directory / "root")
        select(host, BRAIN, size=size)
        [finding] = run_check(root.check_space, host)
    assert finding.level == level
    assert "still to fetch: 1 file, " in finding.what
    assert ("of unknown size" in finding.what) == (size is None)


@needs_root
@linux
def test_few_free_inodes_are_a_warning(tmp_path: Path) -> None:
    with mounted(tmp_path / "few", "-t", "tmpfs", "-o", "size=8m,nr_inodes=90", "tmpfs") as directory:
        assert "room for only" in text_of(run_check(root.check_space, at(directory / "root")), "warning")


# Abilities


def test_trying_the_filesystem_leaves_no_files(host: Host) -> None:
    findings = run_check(filesystem.check_abilities, host)
    assert "locks work" in text_of(findings, "ok")
    assert "links" in text_of(findings, "ok")
    assert ("upper and lower case" in text_of(findings, "note")) == (host.layout.root / "INGEST").exists()
    assert list(host.layout.ingest.iterdir()) == []


@needs_root
@linux
def test_full_filesystem_is_a_note_without_leftovers(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as directory:
        host = at(directory / "root")
        Store(host.layout.root).create()
        with suppress_full(), (directory / "filling").open("wb") as file:
            file.write(bytes(1_000_000))
        assert "No space left" in text_of(run_check(filesystem.check_abilities, host), "note")
        assert list(host.layout.ingest.iterdir()) == []


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        assert "No space left" in str(error)  # noqa: PT017  that is what it is for


@contextmanager
def formatted(tmp_path: Path, *command: str) -> Iterator[Path]:
    """Make a filesystem by `command` in a file, and mount it; skip the test if this kernel has no driver for it."""
    image, directory = tmp_path / "image", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(320_000_000)
    made = subprocess.run([require(command[0]), *command[1:], image], check=False, capture_output=True, text=True)
    if made.returncode:
        cannot(f"{' '.join(command)} failed: {made.stderr}")
    directory.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, directory], check=False, capture_output=True, text=True)
    if done.returncode:
        skip_if_the_kernel_lacks(*command)
        cannot(f"mount -o loop failed: {done.stderr}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def skip_if_the_kernel_lacks(*command: str) -> None:
    """Skip the test, in CI too, if no mount can succeed because this kernel was built without what it needs.

    `mount` has tried to load a module before, so a driver that is still not listed is not there at all.
    """
    kind = command[0].removeprefix("mkfs.")
    if kind not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"this kernel has no {kind}, neither built in nor as a module")
    if "casefold" in command and not Path("/sys/fs/ext4/features/casefold").exists():
        pytest.skip("this kernel's ext4 folds no case: it was built without CONFIG_UNICODE")


@needs_root
@linux
@pytest.mark.parametrize(
    ("command", "level", "what"),
    [
        (("mkfs.ext4", "-q"), "ok", "supports hard links, but no reflinks"),
        (("mkfs.xfs", "-q"), "ok", "supports reflinks"),
        (("mkfs.vfat",), "error", "supports no links"),
    ],
)
def test_kinds_of_links_are_found_out(tmp_path: Path, command: tuple[str], level: str, what: str) -> None:
    with formatted(tmp_path, *command) as directory:
        ingest = directory / "root/ingest"
        ingest.mkdir(parents=True)
        assert what in text_of(run_check(filesystem.check_abilities, at(directory / "root")), level)
        assert list(ingest.iterdir()) == []


@needs_root
@linux
def test_case_folding_filesystem_is_a_note(tmp_path: Path) -> None:
    with formatted(tmp_path, "mkfs.ext4", "-q", "-O", "casefold") as directory:
        ingest = directory / "root/ingest"
        ingest.mkdir(parents=True)
        subprocess.run([require("chattr"), "+F", ingest], check=True, capture_output=True)
        assert "upper and lower case" in text_of(run_check(filesystem.check_abilities, at(directory / "root")), "note")


def test_filesystem_without_links_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(disk, "clone", refuse)
    findings = run_check(filesystem.check_abilities, host)
    assert "supports no links (Operation not permitted)" in text_of(findings, "error")
    assert "name a root on another filesystem" in text_of(findings, "error")


def test_folded_case_is_a_note(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: exists(path.with_name(path.name.lower())))
    assert "upper and lower case" in text_of(run_check(filesystem.check_abilities, host), "note")


def test_locks_without_effect_are_a_note(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as where it says yes to everybody
    assert "locks have no effect on this filesystem: two" in text_of(
        run_check(filesystem.check_abilities, host), "note"
    )
    assert list(host.layout.ingest.iterdir()) == []


def test_refused_locks_are_a_note(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(filesystem, "TRY_LOCK_SCRIPT", "raise OSError(37, 'No locks available')")
    reason = f"locks have no effect on this filesystem ({os.strerror(errno.ENOLCK)})"
    assert reason in text_of(run_check(filesystem.check_abilities, host), "note")


# Lower caches


def test_unusable_lower_caches_are_warnings_with_reasons(host: Host, tmp_path: Path) -> None:
    good, newer, empty, gone = (tmp_path / name for name in ("good", "newer", "empty", "gone"))
    for directory in good, newer:
        Store(directory).create()
    (newer / "antscache.json").write_text('{"layout": 99}')
    empty.mkdir()
    directories = (good, newer, empty, gone, host.layout.root)
    findings = run_check(lower_caches.check_lowers, at(host.layout.root, site_dirs=tuple(map(str, directories))))
    assert levels(findings) == ["ok", "warning", "warning", "warning", "note"]
    for finding, directory in zip(findings, directories, strict=True):
        assert str(directory) in finding.what
    assert "update antscache" in findings[1].remedy
    assert "ANTSCACHE_SITE_DIRS" in findings[3].remedy


@needs_root
def test_unreadable_lower_cache_is_a_warning(public: Path) -> None:
    public.chmod(0o777)
    shared_by(OTHER, root=public / "lower", mask=0o022)
    host = at(public / "root", site_dirs=(str(public / "lower"),))
    for closed in "lower/blobs/sha256", "lower/antscache.json", "lower":
        with user(USER):
            assert levels(run_check(lower_caches.check_lowers, host)) == ["ok"]
        before = (public / closed).stat().st_mode
        (public / closed).chmod(0)
        with user(USER):
            assert levels(run_check(lower_caches.check_lowers, host)) == ["warning"]
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


def test_installed_antspynet_and_its_home_are_reported(installed: Host) -> None:
    findings = run_check(installation.check_installation, installed)
    assert levels(findings) == ["ok", "note"]
    assert "antspynet==0.9.9 is installed" in findings[0].what
    assert str(installed.antsxnet_directory) in findings[1].what
    assert "antscache run -- python" in findings[1].remedy


def test_enabled_hook_is_reported(installed: Host, tmp_path: Path) -> None:
    """An enabled hook is ok, and an error if a file that it needs is missing."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    hooked = hook.enable(python)
    shutil.copytree(tmp_path / "site", hooked.file.parent, dirs_exist_ok=True)
    host = Host(installed.settings, python)
    assert "the hook is on" in text_of(run_check(installation.check_installation, host), "ok")
    gone = str(tmp_path / "gone")
    assert hooked.target is not None
    hooked.file.write_text(hooked.file.read_text("utf-8").replace(hooked.target.command[0], gone), "utf-8")
    assert f"{gone}, which does not exist" in text_of(run_check(installation.check_installation, host), "error")


def test_changed_installation_is_a_note(installed: Host) -> None:
    """An installation that differs from the published release is a note."""
    (installed.layout.catalog / "antspynet-0.9.9.json").unlink()
    assert "a release of its own" in text_of(run_check(installation.check_installation, installed), "note")


@pytest.mark.parametrize(("slug", "level"), [("antspynet-0.9.9", "ok"), ("antspynet-0.2.9", "error")])
@pytest.mark.parametrize("linked", [False, True])
def test_home_that_is_a_view_is_reported(
    installed: Host, monkeypatch: pytest.MonkeyPatch, slug: str, level: str, linked: bool
) -> None:
    """A home that is the view of the installed release is ok; the view of another one is an error."""
    view = installed.layout.views / slug
    (view / ".keras/ANTsXNet").mkdir(parents=True)
    if linked:
        (Path(os.environ["HOME"]) / ".keras").symlink_to(view / ".keras")
    else:
        monkeypatch.setenv("HOME", str(view))
    seen = text_of(run_check(installation.check_installation, installed), level)
    assert ("which is its view" if level == "ok" else f"which is the view of {slug}") in seen
    assert levels(run_check(home.check_home, installed)) == ["ok"]


def test_files_missing_from_the_view_are_a_warning(antscache: AntsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded().out.strip())
    monkeypatch.setenv("HOME", str(home))
    (home / f".keras/ANTsXNet/{BRAIN}.h5").unlink()
    host = at(antscache.root)
    findings = list(installation._check_missing(host, NEW))  # noqa: SLF001  the host has no antspynet
    assert f"missing from the view of {NEW}: {BRAIN}.h5" in text_of(findings, "warning")


def test_broken_python_is_an_error(host: Host) -> None:
    findings = list(doctor.examine({"root": str(host.layout.root), "offline": True}, python=Path("/bin/false")))
    assert "/bin/false does not run as a Python" in text_of(
        [finding for finding in findings if finding.check == "installation"], "error"
    )


# The home


def fill(host: Host, files: dict[str, bytes]) -> Path:
    assert host.antsxnet_directory is not None
    host.antsxnet_directory.mkdir(parents=True, exist_ok=True)
    for name, some in files.items():
        (host.antsxnet_directory / name).write_bytes(some)
    return host.antsxnet_directory


NUMBERS = {f"{BRAIN}.h5": "34821874", f"{TEMPLATE}.nii.gz": "22597175", f"{LUNG}.h5": "41965818"}
NOW = {name: content(number, name, 4000) for name, number in NUMBERS.items()}
CHANGED = f"{DEEP_ATROPOS}.h5"


def remember(host: Host, identifier: str, some: bytes, trust: Trust = "origin") -> None:
    blob = descriptor_of(some)
    record = Record(identifier, blob.digest, blob.size, trust, "x", "2026-01-01T00:00:00Z")
    Store(host.layout.root).records.remember(record)


def test_home_of_one_release_is_ok(host: Host) -> None:
    some = content("51906071", CHANGED, 4000)
    fill(host, NOW | {CHANGED: some})
    remember(host, "figshare:51906071", some)
    remember(host, "figshare:34821874", NOW[f"{BRAIN}.h5"])
    findings = run_check(home.check_home, host)
    assert levels(findings) == ["ok"]
    assert "4 files" in findings[0].what
    assert "antspynet==0.3" in findings[0].what


@pytest.mark.parametrize(("size", "by_size"), [(4000, False), (4100, True)])
def test_file_of_another_release_is_an_error(host: Host, size: int, by_size: bool) -> None:
    """A file of the same size has to be hashed; a file of another size is told by its size."""
    old, new = content("49946070", CHANGED, size), content("51906071", CHANGED, 4000)
    remember(host, "figshare:49946070", old)
    remember(host, "figshare:51906071", new)
    fill(host, NOW | {CHANGED: old, ONLY_NEW: content("1", ONLY_NEW, 4000)})
    error = text_of(run_check(home.check_home, host), "error")
    assert (
        f"mixes releases; these files are not those of {NEW}: {CHANGED} is "
        f"{'perhaps ' * by_size}figshare:49946070 of {OLD}" in error
    )
    assert "antscache run -- python" in error


@pytest.mark.parametrize(("size", "by_size"), [(4000, False), (4100, True)])
def test_home_is_compared_with_the_installed_release(
    host: Host, monkeypatch: pytest.MonkeyPatch, size: int, by_size: bool
) -> None:
    some = content("51906071", CHANGED, size)
    remember(host, "figshare:51906071", some)
    remember(host, "figshare:49946070", content("49946070", CHANGED, 4000))
    fill(host, NOW | {CHANGED: some})
    monkeypatch.setitem(vars(host), "manifest", host.catalog.find(OLD))  # as if it were installed
    assert f"are not those of {OLD}: {CHANGED} is {'perhaps ' * by_size}figshare:51906071 of {NEW}" in text_of(
        run_check(home.check_home, host), "error"
    )


def test_names_of_other_releases_or_none_are_reported(host: Host) -> None:
    fill(host, NOW | {f"{TRANSFORM}.mat": content("41052575", ".mat", 0), GONE: NOW[f"{BRAIN}.h5"], "mine.h5": NETWORK})
    findings = run_check(home.check_home, host)
    assert f"{GONE} ({GONE_FROM})" in text_of(findings, "warning")
    assert "mine.h5" in text_of(findings, "note")


def test_ambiguous_files_are_a_note(host: Host) -> None:
    """Files that may be of several releases, where no record tells which, are a note."""
    fill(host, NOW | {CHANGED: content("49946070", CHANGED, 4000)})
    assert CHANGED in text_of(run_check(home.check_home, host), "note")


def test_adopted_records_do_not_judge_a_home(host: Host) -> None:
    some = content("49946070", CHANGED, 4000)
    fill(host, NOW | {CHANGED: some})
    remember(host, "figshare:51906071", some, "adopted")
    assert f"no record tells which bytes these are: {CHANGED}, {BRAIN}.h5" in text_of(
        run_check(home.check_home, host), "note"
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_judgement_finds_exactly_the_foreign_files(data: st.DataObject) -> None:
    """No home of one release is said to be mixed, and every file of another release is found."""
    identifiers = st.sampled_from([f"figshare:{n}" for n in range(1, 9)])
    names = st.sampled_from(["a.h5", "b.h5", "c.nii.gz", "d.mat"])
    versions = [Release("antspynet", f"0.{n}.0") for n in range(1, data.draw(st.integers(2, 4)))] + [NEW]
    releases = {
        version: {
            name: frozenset({identifier})
            for name, identifier in data.draw(st.dictionaries(names, identifiers, min_size=1)).items()
        }
        for version in versions
    }
    blobs = {f"figshare:{n}": descriptor_of(f"bytes {n}".encode()) for n in range(1, 9)}
    known = {it: blobs[it] for it in data.draw(st.sets(identifiers))}
    home = data.draw(st.sampled_from(versions))
    hashed = data.draw(st.booleans())
    files = {name: next(iter(it)) for name, it in releases[home].items()}
    examined = [ExaminedFile(name, blobs[it].size, blobs[it] if hashed else None) for name, it in files.items()]
    got = judge(examined, releases, known, home)
    assert (got.release, got.mismatched, got.foreign, got.unknown) == (home, (), (), ())
    assert sorted((*got.fitting, *got.ambiguous)) == sorted(files)

    name = data.draw(st.sampled_from(sorted(files)))
    other = data.draw(identifiers.filter(lambda it: it != files[name]))
    bad = [g for g in examined if g.name != name] + [ExaminedFile(name, blobs[other].size, blobs[other])]
    got = judge(bad, releases, known, home)
    if other in known or files[name] in known:  # nothing else could tell
        assert [mismatched for mismatched, _ in got.mismatched] == [name]


IMAGE, NETWORK = content("1", "x.nii.gz", 200_000), content("2", "x.h5", 200_000)


@pytest.mark.parametrize(("name", "whole"), [("x.nii.gz", IMAGE), ("x.h5", NETWORK)])
def test_whole_file_has_no_problem(tmp_path: Path, name: str, whole: bytes) -> None:
    (tmp_path / name).write_bytes(whole)
    assert home._find_problem(tmp_path / name) == ""  # noqa: SLF001


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 199_999), name=st.sampled_from(["x.nii.gz", "x.h5"]))
def test_every_cut_file_is_found(tmp_path: Path, length: int, name: str) -> None:
    """Every cut file is found, although only a part of it is read."""
    (tmp_path / name).write_bytes((IMAGE if name == "x.nii.gz" else NETWORK)[:length])
    assert home._find_problem(tmp_path / name)  # noqa: SLF001


def test_image_with_appended_data_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(IMAGE + gzip.compress(b"more"))
    assert home._find_problem(tmp_path / "x.nii.gz") == ""  # noqa: SLF001


def test_only_the_head_of_a_network_is_read(host: Host) -> None:
    place = fill(host, {})
    head = hdf5_head(1 << 40)
    for name, missing in ("whole.h5", 0), ("cut.h5", 1):
        with (place / name).open("wb") as file:
            file.write(head)
            file.truncate(len(head) + (1 << 40) - missing)
    findings = run_check(home.check_home, host)
    assert "cut.h5 cannot be used: a cut HDF5 file" in text_of(findings, "error")
    assert "whole.h5" not in text_of(findings, "error")


def test_deep_reading_finds_damage_in_the_middle(host: Host) -> None:
    name = f"{TEMPLATE}.nii.gz"
    damaged = bytearray(content("22597175", name, 200_000))
    damaged[150_000] ^= 0xFF
    fill(host, {name: bytes(damaged)})
    assert text_of(run_check(home.check_home, host), "error") == ""
    assert "damaged gzip" in text_of(run_check(home.check_home, Host(host.settings, deep=True)), "error")


def test_remedies_remove_dangling_links_and_pipes(host: Host) -> None:
    place = fill(host, {})
    (place / "link to.h5").symlink_to("nowhere")
    os.mkfifo(place / "pipe.h5")
    findings = run_check(home.check_home, host)
    for finding in findings[:2]:
        subprocess.run(["sh", "-c", finding.remedy], check=True)
    assert levels(findings)[:2] == ["error", "warning"]
    assert list(place.iterdir()) == []


@needs_root
def test_files_of_root_in_a_home_are_reported(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(public))
    host = at(public / "root")
    fill(host, NOW)
    with user(USER):
        assert "the user root owns 4 files and directories" in text_of(run_check(home.check_home, host), "warning")
        assert "docker run without --user" in text_of(run_check(home.check_home, host), "warning")
    (public / ".keras/ANTsXNet").chmod(0o700)
    with user(USER):
        assert "it belongs to root" in text_of(run_check(home.check_home, host), "error")


# Origins


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an origin that answers take as long as it needs on a busy machine."""
    monkeypatch.setattr(origins, "SILENCE_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(origins, "TOTAL_TIMEOUT_SECONDS", 120.0)


def check_routes(host: Host, routes: str, timeout: float = 60.0) -> list[Finding]:
    """Return the findings about the origins `routes`, with the user's limit of `timeout` seconds without data."""
    own = Settings(root=str(host.layout.root), origins=tuple(routes.split()), timeout=timeout)
    return run_check(origins.check_origins, Host(own))


@pytest.mark.usefixtures("_patient")
def test_answers_of_origins_are_reported(host: Host, figshare: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    before = len(figshare.requests)
    findings = check_routes(host, figshare.origins)
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
def test_no_answering_origin_is_an_error(
    host: Host, figshare: StandIn, monkeypatch: pytest.MonkeyPatch, how: Misbehaviour
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    findings = check_routes(host, figshare.misbehaving_origins(how), timeout=1.0)
    assert levels(findings) == ["warning", "warning", "warning", "error"]
    assert "ANTSCACHE_MIRRORS" in findings[-1].remedy


def test_offline_asks_no_origin(host: Host, figshare: StandIn) -> None:
    before = len(figshare.requests)
    offline = Host(Settings(root=str(host.layout.root), origins=tuple(figshare.origins.split()), offline=True))
    assert levels(run_check(origins.check_origins, offline)) == ["note"]
    assert len(figshare.requests) == before


@pytest.mark.usefixtures("_patient")
def test_mirror_without_the_file_is_a_warning(
    host: Host, figshare: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    mirrors = (f"file://{tmp_path}/{{id}}", f"file://{tmp_path}/{{digest}}")
    routes = tuple(figshare.origins.split())
    one = Host(Settings(root=str(host.layout.root), origins=routes, mirrors=mirrors, timeout=60.0))
    findings = run_check(origins.check_origins, one)
    assert levels(findings) == ["warning", "warning", "ok", "ok", "note"]
    assert "no such file" in findings[0].what
    assert "its URL needs a digest" in findings[1].what


def test_invalid_proxy_is_an_error(antscache: AntsCache) -> None:
    ran: Ran = antscache("doctor", "--json", HTTP_PROXY="nonsense", no_proxy="x")
    assert "proxy" in text_of(
        [finding for fields in ran.json if (finding := Finding(**fields)).check == "origins"], "error"
    )
