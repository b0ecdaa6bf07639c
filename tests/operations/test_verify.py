"""Verify: it finds every damage, names its path, and repairs it where that is possible."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import BRAIN, FEW, HANG_SECONDS, SIZE, TEMPLATE, AntsCache, hard_links_work, require, snapshot

from antscache.cache import Cache
from antscache.config import Settings
from antscache.core.digest import digest_of
from antscache.core.events import BytesRead, Event
from antscache.core.manifest import Entry, Release
from antscache.core.record import Record, Selection
from antscache.errors import Offline, StoreError, ViewError
from antscache.store.oci import EMPTY_BLOB
from antscache.testing import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from antscache.config import LinkMode
    from antscache.operations.survey import RootPart
    from antscache.operations.verify import Verified

OLD, NEW = Release("antspynet", "0.2.9"), Release("antspynet", "0.3.2")
DEEP_ATROPOS = "DeepAtroposHcpT1Weights"  # 49946070 in 0.2.9, 51906071 in 0.3.2
NAMES = [BRAIN, TEMPLATE, DEEP_ATROPOS]
FILES = {  # of the views of both: what they should lead to
    OLD: {f"{BRAIN}.h5": "34821874", f"{TEMPLATE}.nii.gz": "22597175", f"{DEEP_ATROPOS}.h5": "49946070"},
    NEW: {f"{BRAIN}.h5": "34821874", f"{TEMPLATE}.nii.gz": "22597175", f"{DEEP_ATROPOS}.h5": "51906071"},
}
LINKS = ["hardlink", "symlink", "clone"]  # a clone is a file of its own, as reflinks make them
HARDLINK = pytest.param("hardlink", marks=pytest.mark.hard_links)
without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Root(NamedTuple):
    """A root that holds some files of two releases."""

    path: Path
    origins: tuple[str, ...]

    def cache(self, *, offline: bool = False, lowers: tuple[Path, ...] = (), origins: str = "") -> Cache:
        return Cache(
            Settings(
                root=str(self.path),
                site_dirs=tuple(map(str, lowers)),
                offline=offline,
                origins=tuple(origins.split()) or self.origins,
                jobs=2,
                pace=0,
            )
        )

    def verify(self, *releases: Release, offline: bool = False, repair: bool = False, deep: bool = False) -> Verified:
        return self.cache(offline=offline).verify(releases, repair=repair, deep=deep)

    def view(self, release: Release) -> Path:
        return self.path / "views" / release.slug / ".keras/ANTsXNet"

    def targets(self, part: RootPart) -> list[Path]:
        """Return all files of a part."""
        patterns: dict[RootPart, str] = {
            "blob": "blobs/sha256/*",
            "record": "identifiers/figshare/*.json",
            "selection": "refs/*/*/*.json",
            "view": "views/*/.keras/ANTsXNet/*",
            "index": "index.json",
        }
        return sorted(self.path.glob(patterns[part]))

    def blob(self, content: bytes) -> Path:
        return self.path / "blobs/sha256" / digest_of(content).removeprefix("sha256:")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> dict[str, Root]:
    """Make a root for each way to link, to be copied; with symlinks where hard links are refused."""
    roots = {}
    hard = hard_links_work(tmp_path_factory.mktemp("links"))
    for link in LINKS:
        root = Root(tmp_path_factory.mktemp(link) / "root", tuple(_figshare.origins.split()))
        mode: LinkMode = "hardlink" if link == "hardlink" and hard else "symlink"
        cache = Cache(msgspec.structs.replace(root.cache().settings, link_mode=mode))
        for release in OLD, NEW:
            cache.prefetch(cache.plan(str(release), names=NAMES))
        for path in root.targets("view") if link == "clone" else ():
            shutil.copy2(path, path.with_name("clone"))
            path.with_name("clone").rename(path)
        roots[link] = root
    return roots


@pytest.fixture
def root(prepared: dict[str, Root], figshare: StandIn, tmp_path: Path) -> Root:
    return copied(prepared["hardlink"], tmp_path, figshare)


def copied(root: Root, directory: Path, figshare: StandIn) -> Root:
    """Copy `root`, to be damaged; hard links stay hard links."""
    subprocess.run(["cp", "-a", root.path, directory / "root"], check=True)
    return Root(directory / "root", tuple(figshare.origins.split()))


def right(root: Root, figshare: StandIn) -> set[Path]:
    """Return the names in views that lead to their bytes."""
    return {
        root.view(release) / file
        for release, files in FILES.items()
        for file, number in files.items()
        if (root.view(release) / file).is_file()
        and (root.view(release) / file).read_bytes() == figshare.content(number)
    }


NAMES_IN_VIEWS = 6  # names in both views
MEMORY_DIRECTORY = Path("/dev/shm")  # noqa: S108  where to sync costs nothing


# Ways to damage what is at a path


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file in place, as a disk or a careless program does: every name of it sees this, and its times stay."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        content = change(file.read())
        file.seek(0)
        file.write(content)
        file.truncate()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(0o444)


def flip(path: Path) -> None:
    rewrite(path, lambda content: content[:-1] + bytes([content[-1] ^ 0x80]))


def cut(path: Path) -> None:
    rewrite(path, lambda content: content[: len(content) // 2])


def empty(path: Path) -> None:
    rewrite(path, lambda _: b"")


def grow(path: Path) -> None:
    rewrite(path, lambda content: content + b"\0")


def remove(path: Path) -> None:
    path.unlink()


def swap(path: Path) -> None:
    """Put another file of the same size and with the same times there."""
    status, content = path.stat(), path.read_bytes()
    path.unlink()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def link_away(path: Path) -> None:
    """Move the right bytes elsewhere, and put a link to them there."""
    away = path.parents[len(path.parents) - 3] / f"away-{path.name}-{os.urandom(4).hex()}"
    shutil.copyfile(path, away)
    path.unlink()
    path.symlink_to(away)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_bytes(b"something")


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def of_another(path: Path) -> None:
    rewrite(path, lambda content: content.replace(b'"figshare:', b'"figshare:9'))


def select_another(path: Path) -> None:
    rewrite(path, lambda content: content.replace(BRAIN.encode(), BRAIN.encode() + b"2"))


FOREIGN: list[Callable[[Path], None]] = [flip, cut, empty, remove, dangle, make_directory]
DAMAGES: dict[RootPart, list[Callable[[Path], None]]] = {
    "blob": [*FOREIGN, grow, swap, make_pipe],
    "view": [*FOREIGN, swap, make_pipe],
    "record": [flip_ for flip_ in FOREIGN if flip_ not in {flip, remove}] + [of_another, make_pipe],
    "selection": [cut, empty, make_directory, select_another, make_pipe],
    "index": [flip, cut, empty, remove, dangle, make_directory],
}
CASES = [
    pytest.param(
        (part, damage), link, id=f"{part}-{damage.__name__}-{link}", marks=HARDLINK.marks if link == "hardlink" else ()
    )
    for part in DAMAGES
    for damage in DAMAGES[part]
    for link in LINKS
    # What a symlink leads to is a blob, whose bytes are damaged in another case.
    if not (link == "symlink" and part == "view" and damage in {flip, cut, empty, swap})
]


# Found and repaired


@pytest.mark.parametrize("link", [HARDLINK, *LINKS[1:]])
def test_a_sound_root_has_no_findings(prepared: dict[str, Root], figshare: StandIn, tmp_path: Path, link: str) -> None:
    """A repair writes nothing there."""
    root = copied(prepared[link], tmp_path, figshare)
    before, requests = snapshot(root.path), len(figshare.requests)
    verified = root.verify(repair=True, deep=True)
    assert verified.findings == verified.repaired == ()
    assert (snapshot(root.path), len(figshare.requests)) == (before, requests)
    held = root.targets("blob")
    assert verified.blobs == len(held)
    assert verified.size == sum(path.stat().st_size for path in held) + (
        NAMES_IN_VIEWS * SIZE if link == "clone" else 0
    )


@pytest.mark.parametrize(("case", "link"), CASES)
def test_each_damage_is_found_and_repaired(
    prepared: dict[str, Root],
    figshare: StandIn,
    tmp_path: Path,
    case: tuple[RootPart, Callable[[Path], None]],
    link: str,
) -> None:
    """The finding gives its path."""
    part, damage = case
    root = copied(prepared[link], tmp_path, figshare)
    target = next(path for path in root.targets(part) if path != root.blob(b"{}"))
    damage(target)
    found = root.verify().findings
    assert (part, str(target)) in {(finding.part, finding.path) for finding in found}
    verified = root.verify(repair=True)
    assert (verified.findings, verified.refused) == ((), ())
    assert set(found) == set(verified.repaired)
    assert root.verify().findings == ()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


@pytest.mark.parametrize("part", ["blob", "record", "index"])
def test_a_link_instead_of_a_file_is_found(root: Root, part: RootPart) -> None:
    """It is found although it leads to the right bytes."""
    target = root.targets(part)[0]
    link_away(target)
    assert (part, str(target)) in {(finding.part, finding.path) for finding in root.verify().findings}
    assert root.verify(repair=True).findings == ()
    assert not target.is_symlink()


damages = st.lists(
    st.tuples(st.sampled_from(sorted(DAMAGES)), st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=12
)


@settings(without_deadline, max_examples=25)
@given(link=st.sampled_from(LINKS), damages=damages)
@example(link="hardlink", damages=[("record", 0, 0), ("view", 1, 5)])  # a record that hides a view's damage
def test_a_repair_mends_any_damages_together(
    prepared: dict[str, Root], figshare: StandIn, link: str, damages: list[tuple[RootPart, int, int]]
) -> None:
    """It loses nothing that was right."""
    directory = Path(
        tempfile.mkdtemp(prefix="antscache-verify-", dir=MEMORY_DIRECTORY if MEMORY_DIRECTORY.is_dir() else None)
    )
    root = copied(prepared[link], directory, figshare)
    unreadable = set()  # the releases with a damaged selection
    for part, which, how in damages:
        targets = root.targets(part)
        if targets:
            target = targets[which % len(targets)]
            if target.is_file() and not (target.is_symlink() and part == "view" and how % 2) and target.stat().st_size:
                DAMAGES[part][how % len(DAMAGES[part])](target)
                if part == "selection":
                    unreadable.add(Release("antspynet", target.parent.name))
    before = right(root, figshare)
    lost = {
        root.view(release) / file
        for release in unreadable
        for file, number in FILES[release].items()
        if not os.path.lexists(root.view(release) / file)
        or not os.path.lexists(root.path / f"identifiers/figshare/{number}.json")
    }
    verified = root.verify(repair=True)
    assert (verified.findings, verified.refused) == ((), ())
    assert root.verify().findings == ()
    after = right(root, figshare)
    assert before <= after
    assert len(after | lost) == NAMES_IN_VIEWS
    shutil.rmtree(directory)


def test_a_record_of_wrong_size_is_repaired(root: Root, figshare: StandIn) -> None:
    path = root.path / "identifiers/figshare/34821874.json"
    rewrite(path, lambda content: content.replace(b'"size":4000', b'"size":4001'))
    assert {finding.path for finding in root.verify().findings if finding.part == "record"} == {str(path)}
    assert root.verify(repair=True).findings == ()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


def test_unused_blobs_are_verified_too(root: Root) -> None:
    """Damaged ones are moved aside."""
    store = root.cache().store
    sound, damaged = (store.layout.blob(store.add(content).digest) for content in (b"sound", b"damaged"))
    flip(damaged)
    [finding] = root.verify().findings
    assert (finding.part, finding.path) == ("blob", str(damaged))
    assert root.verify(repair=True).findings == ()
    assert (sound.exists(), damaged.exists()) == (True, False)


def test_an_unused_blob_may_vanish_meanwhile(root: Root) -> None:
    store = root.cache().store
    path = store.layout.blob(store.add(b"garbage").digest)
    gone = threading.Event()

    def listen(_: Event) -> None:
        if not gone.is_set():
            gone.set()
            path.unlink()

    settings = msgspec.structs.replace(root.cache().settings, jobs=1)
    assert Cache(settings).verify(listen=listen).findings == ()
    assert gone.is_set()


def test_damaged_blobs_never_come_back(root: Root, figshare: StandIn) -> None:
    path = root.blob(figshare.content("34821874"))
    flip(path)
    assert root.verify(repair=True, offline=True).findings
    cache = root.cache(offline=True)
    cache.gc(grace=0)
    with pytest.raises(Offline):
        cache.prefetch(cache.plan(str(NEW), names=[BRAIN]))
    assert not path.exists()
    assert len(list((root.path / "trash").iterdir())) <= 3


def test_files_are_read_several_at_once(root: Root) -> None:
    both = threading.Barrier(2, timeout=HANG_SECONDS)  # broken unless two threads come to read
    seen = []

    def listen(event: Event) -> None:
        assert isinstance(event, BytesRead)
        seen.append(event.count)
        if len(seen) <= 2:
            both.wait()

    assert root.cache().verify(listen=listen).findings == ()
    assert sum(seen) == root.verify().size


def test_a_missing_root_has_no_findings(tmp_path: Path) -> None:
    root = Root(tmp_path / "root", ())
    assert root.verify(repair=True).findings == ()
    assert not root.path.exists()


def test_selected_files_never_fetched_are_findings(root: Root, figshare: StandIn) -> None:
    """They stay findings until a repair fetches them."""
    cache = root.cache()
    plan = cache.plan(str(NEW), names=["xrayLungExtraction"])
    cache.store.refs.select(Selection(NEW, plan.entries))
    [finding] = root.verify(offline=True, repair=True).findings
    path = root.view(NEW) / "xrayLungExtraction.h5"
    assert (finding.part, finding.path, finding.problem) == ("view", str(path), "never fetched")
    assert root.verify(repair=True).findings == ()
    assert path.read_bytes() == figshare.content("41965818")


# Releases


def test_verify_reads_only_the_named_releases(root: Root, figshare: StandIn) -> None:
    flip(root.blob(figshare.content("49946070")))
    assert root.verify(NEW).findings == ()
    assert {finding.part for finding in root.verify(OLD).findings} == {"blob", "view"}
    assert root.verify(NEW, repair=True).findings == ()
    assert root.verify(OLD).findings
    assert root.verify(OLD, repair=True).findings == ()
    assert root.verify().findings == ()


def test_releases_are_repaired_independently(root: Root, figshare: StandIn) -> None:
    """The damage of one does not keep another from being repaired."""
    cut(next(root.path.glob("refs/antspynet/0.2.9/*.json")))
    (root.view(NEW) / f"{BRAIN}.h5").unlink()
    verified = root.verify(NEW, repair=True)
    assert verified.findings == ()
    assert any("0.2.9" in message for message in verified.refused)  # the index names all that is in use
    assert root.verify(repair=True).findings == ()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


def test_an_unused_release_is_an_error(root: Root) -> None:
    with pytest.raises(ViewError, match=r"0\.3\.0 is in use"):
        root.verify(Release("antspynet", "0.3.0"))


# Offline


def test_an_offline_repair_removes_wrong_names(root: Root, figshare: StandIn) -> None:
    """No view leads to wrong bytes then; the missing files are named."""
    requests = len(figshare.requests)
    flip(path := root.blob(figshare.content("34821874")))
    verified = root.verify(repair=True, offline=True)
    assert {(finding.part, finding.problem) for finding in verified.findings} >= {("blob", "not there")}
    assert {finding.path for finding in verified.findings} == {
        str(path),
        str(root.view(OLD) / f"{BRAIN}.h5"),
        str(root.view(NEW) / f"{BRAIN}.h5"),
    }
    assert verified.repaired == ()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS - 2
    assert not os.path.lexists(root.view(NEW) / f"{BRAIN}.h5")
    assert len(figshare.requests) == requests
    assert root.verify(repair=True).findings == ()


@pytest.mark.parametrize("link", [HARDLINK, "clone"])
def test_offline_a_blob_returns_from_a_view(
    prepared: dict[str, Root], figshare: StandIn, tmp_path: Path, link: str
) -> None:
    root = copied(prepared[link], tmp_path, figshare)
    path = root.blob(figshare.content("34821874"))
    path.unlink()
    (root.view(OLD) / f"{BRAIN}.h5").unlink()
    assert root.verify(repair=True, offline=True).findings == ()
    assert path.read_bytes() == figshare.content("34821874")
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


def test_offline_a_blob_returns_from_the_trash(root: Root, figshare: StandIn) -> None:
    from antscache.store.trash import Trash

    for path in root.view(OLD), root.view(NEW):
        (path / f"{BRAIN}.h5").unlink()
    Trash(root.cache().store.layout).condemn(digest_of(figshare.content("34821874")))
    assert root.verify(repair=True, offline=True).findings == ()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


def test_offline_names_index_and_selections_are_repaired(root: Root, figshare: StandIn) -> None:
    dangle(root.view(OLD) / f"{BRAIN}.h5")
    swap(root.view(NEW) / f"{BRAIN}.h5")
    cut(root.path / "index.json")
    cut(next(root.path.glob("refs/antspynet/0.3.2/*.json")))
    before = {path.name for path in root.targets("selection")}
    assert root.verify(repair=True, offline=True).findings == ()
    assert {path.name for path in root.targets("selection")} == before  # the very same
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


def test_offline_a_damaged_record_protects_its_blob(root: Root, figshare: StandIn) -> None:
    """It stays, so that no collection deletes anything."""
    path = root.path / "identifiers/figshare/34821874.json"
    cut(path)
    names = [root.view(release) / f"{BRAIN}.h5" for release in (OLD, NEW)]
    found = {finding.path for finding in root.verify(repair=True, offline=True).findings}
    assert found == {str(path), *map(str, names)}
    with pytest.raises(StoreError, match="damaged"):
        root.cache(offline=True).gc(grace=0)
    assert root.blob(figshare.content("34821874")).exists()
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


# Form


def adopt(root: Root, content: bytes, accepted: str = "") -> Path:
    """Store `content` as a network that a user vouches for."""
    store = root.cache().store
    blob = store.add(content)
    store.records.remember(Record("figshare:7", blob.digest, blob.size, "adopted", "here", "now", accepted=accepted))
    store.refs.select(Selection(NEW, (Entry("network", "seven", "seven.h5", "figshare:7"),)))
    root.verify(repair=True, offline=True)
    return store.layout.blob(blob.digest)


def test_deep_finds_files_of_wrong_form(root: Root) -> None:
    """Their bytes are those that are recorded."""
    path = adopt(root, b"no network")
    assert root.verify().findings == ()
    [finding] = root.verify(deep=True).findings
    assert (finding.part, finding.path, "not an HDF5 file" in finding.problem) == ("blob", str(path), True)
    assert root.verify(deep=True, repair=True).findings == (finding,)
    assert path.exists()


def test_deep_passes_over_accepted_files(root: Root) -> None:
    adopt(root, b"no network", accepted="no network")
    assert root.verify(deep=True).findings == ()


# Lower caches


def test_damage_below_is_fetched_into_the_root(root: Root, figshare: StandIn, tmp_path: Path) -> None:
    """The lower cache is left as it is."""
    upper = Root(tmp_path / "upper", root.origins)
    cache = upper.cache(lowers=(root.path,))
    cache.prefetch(cache.plan(str(NEW), names=NAMES))
    assert cache.verify().findings == ()
    path = root.blob(figshare.content("34821874"))
    flip(path)
    before = snapshot(root.path)
    assert str(path) in {finding.path for finding in cache.verify().findings}
    offline = upper.cache(lowers=(root.path,), offline=True).verify(repair=True)
    assert str(path) in {finding.path for finding in offline.findings}
    assert upper.cache(lowers=(root.path,)).verify(repair=True).findings == ()
    assert upper.cache(lowers=(root.path,)).verify().findings == ()
    assert upper.blob(figshare.content("34821874")).read_bytes() == figshare.content("34821874")
    assert (upper.view(NEW) / f"{BRAIN}.h5").read_bytes() == figshare.content("34821874")
    assert snapshot(root.path) == before


# Who may not read


def as_user(number: int, look: Callable[[], Verified]) -> list[str]:
    """Return the paths of the findings that another user has, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.getuid() != number:
                os.setgid(number)
                os.setuid(number)
            os.write(write, msgspec.json.encode([finding.path for finding in look().findings]))
        except BaseException as error:  # noqa: BLE001  the parent compares it
            os.write(write, msgspec.json.encode([repr(error)]))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return msgspec.json.decode(answer, type=list[str])


@pytest.fixture
def somebody(root: Root) -> Iterator[int]:
    """Give the root to a user who is not root; yield their id."""
    if os.getuid():
        yield os.getuid()
        return
    number = 54321
    subprocess.run(["chown", "-R", f"{number}:{number}", root.path], check=True)
    parents = [path for path in root.path.parents if path != Path("/") and path.stat().st_uid == 0]
    modes = {path: path.stat().st_mode for path in parents}
    for path in parents:
        path.chmod(path.stat().st_mode | 0o111)
    yield number
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.parametrize("part", ["blob", "record", "selection", "index"])
def test_a_repair_makes_own_files_readable(root: Root, figshare: StandIn, somebody: int, part: RootPart) -> None:
    root.verify(repair=True)  # imports what a child may not read
    target = root.targets(part)[0]
    inode = target.stat().st_ino
    target.chmod(0)
    found, repaired, again = (
        as_user(somebody, partial(root.verify, offline=True, repair=repair)) for repair in (False, True, False)
    )
    assert str(target) in found
    assert repaired == again == []
    assert target.stat().st_mode & 0o444 == 0o444
    assert (target.stat().st_ino == inode) == (part != "index")
    assert len(right(root, figshare)) == NAMES_IN_VIEWS


# On the command line


@pytest.fixture
def held(antscache: AntsCache, tmp_path: Path) -> AntsCache:
    """Return antscache with two files, linked so that a blob and its name in the view are damaged together."""
    antscache.environ["ANTSCACHE_LINK_MODE"] = "hardlink" if hard_links_work(tmp_path) else "symlink"
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--name", TEMPLATE).succeeded()
    return antscache


def of_brain(antscache: AntsCache) -> Path:
    record = json.loads((antscache.root / "identifiers/figshare/34821874.json").read_text())
    return antscache.root / "blobs/sha256" / str(record["digest"]).removeprefix("sha256:")


def test_each_finding_is_a_line(held: AntsCache) -> None:
    """The exit code is 5 until all are repaired."""
    assert held("verify").succeeded().out == ""
    path = of_brain(held)
    flip(path)
    found = held("verify")
    assert found.code == 5
    assert [line.split(": ")[0] for line in found.out.splitlines()] == [
        f"blob {path}",
        f"view {held.root}/views/antspynet-0.3.2/.keras/ANTsXNet/{BRAIN}.h5",
    ]
    assert "2 findings" in found.err
    assert "hint: run `antscache verify --repair`" in found.err
    repaired = held("verify", "--repair", "0.3.2").succeeded()
    assert [line.split(": ")[0] for line in repaired.out.splitlines()] == [
        f"repaired {line.split(': ')[0]}" for line in found.out.splitlines()
    ]
    assert held("verify", "--deep", "-j", "1").succeeded().out == ""


def test_json_gives_findings_as_values(held: AntsCache) -> None:
    flip(path := of_brain(held))
    found = held("verify", "--json")
    assert found.code == 5
    first = found.json["findings"][0]
    assert (first["part"], first["path"], first["remedy"]) == ("blob", str(path), "move")
    assert found.json["repaired"] == []
    repaired = held("verify", "--json", "--repair").succeeded().json
    assert (repaired["findings"], len(repaired["repaired"])) == ([], 2)


def test_a_repair_names_undelivered_files(held: AntsCache) -> None:
    """It lists every attempt, and repairs the rest."""
    flip(of_brain(held))
    (held.root / f"views/antspynet-0.3.2/.keras/ANTsXNet/{TEMPLATE}.nii.gz").unlink()
    with StandIn(FEW, size=2000) as other:  # other bytes than are recorded
        ran = held("verify", "--repair", ANTSCACHE_ORIGINS=other.origins)
    assert ran.code == 5
    assert "34821874" in ran.err
    assert "other bytes" in ran.err or "recorded" in ran.err
    assert f"repaired view {held.root}/views/antspynet-0.3.2/.keras/ANTsXNet/{TEMPLATE}.nii.gz: not there" in ran.out
    assert f"blob {of_brain(held)}: not there" in ran.out
    held("verify", "--repair").succeeded()


def test_wrong_releases_and_flags_are_errors(held: AntsCache) -> None:
    assert held("verify", "0.2.9").code == 7
    assert held("verify", "no release").code == 3
    assert held("verify", "--sums", "--repair").code == 2


# sha256sum


def failing(listed: bytes) -> set[str]:
    """Return the paths that sha256sum finds wrong."""
    command = [require("sha256sum"), "--check", "--quiet"]
    done = subprocess.run(command, input=listed, capture_output=True, check=False, env={"LC_ALL": "C"})
    lines = done.stdout.decode().splitlines()
    assert (done.returncode == 0) == (not lines)
    return {line.rpartition(": FAILED")[0] for line in lines}


def sums(antscache: AntsCache, *releases: str) -> bytes:
    done = subprocess.run(
        antscache.command("verify", "--sums", *releases),
        capture_output=True,
        check=True,
        env=antscache.environment(),
        cwd=antscache.home,
    )
    return done.stdout


@settings(without_deadline, max_examples=25)
@given(
    link=st.sampled_from(LINKS),
    damages=st.lists(st.tuples(st.sampled_from(["blob", "view"]), st.integers(0, 10), st.integers(0, 6)), max_size=4),
)
def test_sha256sum_comes_to_the_same_verdict(
    prepared: dict[str, Root], figshare: StandIn, link: str, damages: list[tuple[RootPart, int, int]]
) -> None:
    """It agrees with verify about blobs and names in views."""
    directory = Path(
        tempfile.mkdtemp(prefix="antscache-verify-", dir=MEMORY_DIRECTORY if MEMORY_DIRECTORY.is_dir() else None)
    )
    root = copied(prepared[link], directory, figshare)
    for part, which, how in damages:
        targets = root.targets(part)
        target = targets[which % len(targets)]
        if target.is_file() and target.stat().st_size:
            [*FOREIGN, swap][how](target)
    listed = "".join(f"{digest.removeprefix('sha256:')}  {path}\n" for digest, path in root.cache().sums())
    found = {finding.path for finding in root.verify().findings if finding.part in {"blob", "view"}}
    assert failing(listed.encode()) == found
    shutil.rmtree(directory)


@pytest.mark.hard_links
def test_sha256sum_reads_the_list_of_any_root(antscache: AntsCache, tmp_path: Path) -> None:
    """Even if the root's name has a backslash, a line break or a carriage return."""
    antscache.root = tmp_path / "a\\b\nc\rd é"
    antscache.environ["ANTSCACHE_LINK_MODE"] = "hardlink"
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("prefetch", "0.2.9", "--name", TEMPLATE).succeeded()
    assert failing(listed := sums(antscache)) == set()
    assert len(listed.splitlines()) == 2 + 2 + 3  # blobs, names, and what the layout needs
    assert len(sums(antscache, "0.2.9").splitlines()) == 2
    flip(of_brain(antscache))
    assert len(failing(listed)) == 2


@pytest.mark.parametrize("damage", [remove, flip, make_directory])
def test_the_empty_blob_is_made_again(root: Root, damage: Callable[[Path], None]) -> None:
    path = root.cache().store.layout.blob(EMPTY_BLOB.digest)
    damage(path)
    assert [finding.path for finding in root.verify().findings] == [str(path)]
    assert root.verify(repair=True).findings == ()
    assert path.read_bytes() == b"{}"


# What an interrupted command leaves


def test_an_unfinished_view_is_no_damage(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    view = antscache.root / f"views/antspynet-0.3.2/.keras/ANTsXNet/{BRAIN}.h5"
    view.unlink()
    ran = antscache("verify")
    assert (ran.code, "error: a name in a view is not there" in ran.err) == (7, True)
    assert ran.err.count("hint: no file is damaged: `antscache verify --repair`") == 1
    antscache("verify", "--repair", "--offline").succeeded()
    assert view.exists()


def test_an_old_index_is_no_error(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    (antscache.root / "index.json").unlink()
    assert "note: the index is not up to date" in antscache("verify").succeeded().err


def test_damage_beside_it_is_damage(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    (antscache.root / "index.json").unlink()
    next((antscache.root / "blobs/sha256").iterdir()).chmod(0o644)
    (antscache.root / f"views/antspynet-0.3.2/.keras/ANTsXNet/{BRAIN}.h5").write_bytes(b"other")
    assert antscache("verify").code == 5
