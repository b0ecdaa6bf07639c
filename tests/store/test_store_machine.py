"""A store never lies, whatever is done to it, in any order, killed or beside others.

Hypothesis drives a real root, with a real origin and real processes, and compares it with a plain model (`model.py`).
More and longer runs: `ANTSCACHE_TESTS_EXAMPLES=2000 pytest tests/store/test_store_machine.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, event, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.commands import (
    DAY,
    FILES,
    MANIFESTS,
    Adopt,
    Collect,
    Command,
    Link,
    Outcome,
    Prefetch,
    Remove,
    Taken,
    Verify,
    attempt,
    directory_in,
    import_ahead,
    killed_at,
    one_beside_another,
)
from support.model import Disk, Model, digest, snapshot, touches_the_index

from antscache.config import Settings
from antscache.core.manifest import Release, make_entry
from antscache.errors import FetchError, IntegrityError, Offline, StoreError, ViewError
from antscache.testing import Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from antscache.core.manifest import Entry

SIZE = 600  # bytes of a file
OTHER_CONTENTS = {number: content(f"9{number}", file, SIZE) for number, file in FILES.items()}  # of the same form
MISBEHAVIOURS = {Misbehaviour.MISSING, Misbehaviour.HTML, Misbehaviour.CORRUPT, Misbehaviour.HTML_AS_BINARY}


@pytest.fixture(scope="module")
def origin() -> Iterator[StandIn]:
    import_ahead()
    with StandIn(FILES, size=SIZE) as standin:
        yield standin


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a killed process loses nothing that it wrote, synced or not."""
    memory = Path("/dev/shm")  # noqa: S108  a new directory there
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)


FAILURES: dict[type[Command], int] = {
    Remove: ViewError.exit_code,
    Link: ViewError.exit_code,
    Collect: StoreError.exit_code,
}


class Damage(Enum):
    """The damage that the test itself does to a root."""

    FLIPPED = auto()
    """A blob has other bytes."""
    CUT = auto()
    """A blob has fewer bytes."""
    GONE = auto()
    """A blob is not there."""
    RECORD = auto()
    """A record cannot be read."""
    SELECTION = auto()
    """A selection cannot be read."""
    INDEX = auto()
    """There is no index."""
    NAME_GONE = auto()
    """A name in a view is not there."""
    NAME_REPLACED = auto()
    """A name in a view has other bytes."""
    NAME_FORGED = auto()
    """A name in a view has other bytes, and size and time of the right ones."""


# What to do

releases = st.sampled_from(sorted(MANIFESTS))


@st.composite
def prefetches(draw: st.DrawFn) -> Prefetch:
    chosen = draw(releases)
    names = st.lists(st.sampled_from([entry.name for entry in MANIFESTS[chosen].entries]), min_size=1, unique=True)
    return Prefetch(chosen, tuple(draw(names)), offline=draw(st.sampled_from([False, False, True])))


@st.composite
def adoptions(draw: st.DrawFn) -> Adopt:
    chosen = draw(releases)
    available = [entry.name for entry in MANIFESTS[chosen].entries]
    names = draw(st.lists(st.sampled_from(available), min_size=1, unique=True))
    kinds: st.SearchStrategy[Taken] = st.sampled_from(["right", "right", "other", "cut"])
    return Adopt(chosen, tuple((name, draw(kinds)) for name in names), move=draw(st.booleans()))


links = st.builds(Link, releases, st.sampled_from(["one", "two"]))
removals = st.builds(Remove, releases, st.booleans())
collections = st.builds(Collect, st.sampled_from([0, DAY]))
verifications = st.builds(Verify, st.booleans(), st.booleans())
commands: st.SearchStrategy[Command] = st.one_of(prefetches(), links, removals, collections, verifications, adoptions())
MIN_SELECTIONS_FOR_DAMAGE = 3  # with so many, one can be spared
steps = st.one_of(st.integers(1, 12), st.integers(1, 60))
picks = st.integers(0, 11)  # of what there is, in its order


class Store(RuleBasedStateMachine):
    """A root, two homes outside, and the model of them.

    Attributes:
        origin: the origin of all files.
        within: the directory for a new one that everything is in.
    """

    origin: ClassVar[StandIn]
    within: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        for number in FILES:
            self.origin.behave(number)
        self.place = Path(tempfile.mkdtemp(dir=self.within))
        self.outside = self.place / "outside"
        self.outside.mkdir()
        (self.outside / "file").write_bytes(b"nobody touches this")
        self.broken: dict[str, Misbehaviour] = {}
        self.made = 0

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    @initialize(mode=st.sampled_from(["auto", "symlink"]), first=prefetches())
    def make(self, mode: Any, first: Prefetch) -> None:
        root = self.place / "root"
        right = {
            f"figshare:{number}": [digest(self.origin.content(number)), digest(OTHER_CONTENTS[number])]
            for number in FILES
        }
        self.disk = Disk(root)
        self.model = Model(self.disk, right)
        self.settings = Settings(
            root=str(root), origins=tuple(self.origin.origins.split()), jobs=1, link_mode=mode, timeout=30
        )

        self.do(first)

    # Commands

    @rule(command=prefetches())
    def prefetch(self, command: Prefetch) -> None:
        self.do(command)

    @precondition(lambda self: self.model.selected)
    @rule(command=links)
    def link(self, command: Link) -> None:
        self.do(command)

    @precondition(lambda self: self.model.selected)
    @rule(command=removals)
    def remove(self, command: Remove) -> None:
        self.do(command)

    @rule(command=collections)
    def collect(self, command: Collect) -> None:
        self.do(command)

    @rule(command=verifications)
    def verify(self, command: Verify) -> None:
        self.do(command)

    @rule(command=adoptions())
    def adopt(self, command: Adopt) -> None:
        self.do(command)

    def do(self, command: Command) -> None:
        """Carry out `command` in this process, alone."""
        command = self.prepared(command)
        expected = self.codes(command)
        looks = isinstance(command, Verify) and not command.repair
        # A link that fails may have brought back what had been condemned, and leaves the home as it was.
        watched = Path(command.home) if isinstance(command, Link) else self.place
        before = snapshot(watched)
        outcome = attempt(command, self.settings)
        note(f"-> {outcome.code} {outcome.said}")
        assert outcome.code in expected, f"{outcome.said} ({outcome.code}, not {expected})"
        if looks or (isinstance(command, (Link, Collect)) and outcome.code):
            assert snapshot(watched) == before
        self.done([(command, outcome)])

    @rule(command=commands, step=steps)
    def be_killed(self, command: Command, step: int) -> None:
        self.be_killed_at(step, command)

    def be_killed_at(self, step: int, command: Command) -> None:
        command = self.prepared(command)
        expected = self.codes(command)
        outcome = killed_at(step, command, self.settings, self.place)
        note(f"-> {outcome.code} {outcome.said}")
        assert outcome.code in {None, *expected}, f"{outcome.said} ({outcome.code}, not {expected})"
        self.done([(command, outcome)])

    @rule(command=prefetches(), step=st.integers(1, 60))
    def a_prefetch_is_killed(self, command: Prefetch, step: int) -> None:
        self.be_killed_at(step, command)

    @precondition(lambda self: self.model.held.keys() - self.model.protected())
    @rule(command=prefetches(), step=st.integers(1, 12), collect_first=st.booleans())
    def prefetch_beside_a_collection(self, command: Prefetch, step: int, collect_first: bool) -> None:
        pair = (Collect(0), command) if collect_first else (command, Collect(0))
        self.do_one_beside(pair[0], step, pair[1])

    @rule(held=commands, step=steps, other=commands)
    def do_beside(self, held: Command, step: int, other: Command) -> None:
        self.do_one_beside(held, step, other)

    def do_one_beside(self, held: Command, step: int, other: Command) -> None:
        held, other = self.prepared(held), self.prepared(other)
        outcomes = one_beside_another(step, held, other, self.settings, self.place)
        note(f"-> {outcomes}")
        if not (self.broken or self.model.unreadable):
            for command, outcome in zip((held, other), outcomes, strict=True):
                may_fail = isinstance(command, (Link, Remove)) or (isinstance(command, Prefetch) and command.offline)
                assert may_fail or outcome.code == 0, outcome.said
        self.done(list(zip((held, other), outcomes, strict=True)))

    def done(self, commands: list[tuple[Command, Outcome]]) -> None:
        """Tell the model the outcomes of commands that ran at the same time."""
        model = self.model
        adds_and_removes = [command for command, _ in commands]
        certain, possible = model.before(*adds_and_removes)
        succeeded = [command for command, outcome in commands if outcome.code == 0]
        removed = {release_of(command) for command in adds_and_removes if isinstance(command, Remove)}
        # A command that mends something beside the removal of its release leaves other releases' index lines alone.
        mends = len(commands) > 1 and not model.is_whole()
        had = {release: model.entries(release) for release in removed}
        for command, outcome in commands:
            event(f"{type(command).__name__} {'beside another ' if len(commands) > 1 else ''}-> {outcome.code}")
            model.weaken(command, certain)
        if len(commands) > 1:
            model.take_names(possible)
        for command in succeeded:
            if isinstance(command, Prefetch) and release_of(command) not in removed:
                choice = model.choice(command)
                assert choice
                certain = certain | {choice}
            if isinstance(command, Remove) and len(commands) == 1:
                possible = certain
        model.observe(certain, possible)
        for command, outcome in commands:
            if outcome.code == 0:
                self.promised(command, outcome, removed, alone=len(commands) == 1)
                if isinstance(command, Remove) and len(commands) == 1:
                    self.was_removed(command, had[release_of(command)])

        if (
            not mends
            and all(outcome.code == 0 for _, outcome in commands)
            and (self.disk.root / "antscache.json").exists()
        ):
            self.check_index(succeeded)

    def check_index(self, commands: list[Command]) -> None:
        """Check the index, as far as these commands have made it right."""
        if any(touches_the_index(command) for command in commands):
            self.model.check_index()
        releases = [release_of(command) for command in commands if isinstance(command, (Prefetch, Adopt))]
        if releases := [release for release in releases if self.model.entries(release)]:
            self.model.check_index(releases)

    def promised(self, command: Command, outcome: Outcome, removed: set[Release], *, alone: bool) -> None:
        """Check the promises of a command that succeeded."""
        model = self.model
        if isinstance(command, Prefetch) and release_of(command) not in removed:
            choice = model.choice(command)
            assert choice
            model.strengthen(*choice)
        if isinstance(command, Adopt) and release_of(command) not in removed:
            model.strengthen(release_of(command), {entry for judged in outcome.result for entry in judged.entries})
            self.was_adopted(command)
        if isinstance(command, Link):
            self.was_linked(command, alone=alone)
        if not alone:
            return
        if isinstance(command, Verify):
            self.was_verified(command, outcome)
        if isinstance(command, Collect) and command.grace == 0:
            contents = {name for right in model.right.values() for name in right}
            unreached = {path.name for path in self.disk.blobs.glob("*")} & contents - model.protected()
            assert not unreached, "no ref reaches it, and it was not condemned"

    def was_adopted(self, adopt: Adopt) -> None:
        names = {entry.name: entry.file for entry in MANIFESTS[adopt.release].entries}
        for name, kind in adopt.files:
            path = Path(adopt.directory) / names[name]
            if kind == "cut" or not adopt.move:
                assert path.exists(), f"{path} is the user's, and gone"
            elif not path.exists():
                number = next(str(e.identifier) for e in MANIFESTS[adopt.release].entries if e.name == name)
                content = self.origin.content(number[9:]) if kind == "right" else OTHER_CONTENTS[number[9:]]
                assert self.disk.blob(digest(content)).read_bytes() == content, f"{path} is lost"

    def was_linked(self, link: Link, *, alone: bool) -> None:
        directory = directory_in(Path(link.home), MANIFESTS[link.release])
        for entry in self.model.entries(release_of(link)):
            if not alone and not (directory / entry.file).exists():
                continue  # it was selected meanwhile
            name = digest((directory / entry.file).read_bytes())
            assert name in {*self.model.right[str(entry.identifier)], *self.model.bad}
            if name not in self.model.bad:
                self.model.homes[directory / entry.file] = name

    def was_removed(self, remove: Remove, entries: Iterable[Entry]) -> None:
        view = self.disk.view(MANIFESTS[remove.release])
        for entry in entries:
            path = view / entry.file
            if path.exists() and path not in self.model.mine:
                # A name of other bytes, or one of which nobody knows the blob any more, may be the user's.
                known = self.model.known.get(str(entry.identifier))
                blob = self.disk.blob(known) if known else None
                assert blob is None or not blob.exists() or not path.samefile(blob) or self.model.unreadable

    def was_verified(self, verify: Verify, outcome: Outcome) -> None:
        model = self.model
        if not verify.repair:
            reported = {finding.path for finding in outcome.result.findings}
            damaged = {str(path) for path in model.unreadable}
            damaged |= {str(path) for name in model.damaged if (path := self.disk.blob(name)).exists()}
            damaged |= set(self.wrong_names())
            assert damaged <= reported, "damaged, and not reported"
            assert not (reported and model.is_whole() and self.index_is_right()), "reported, and not damaged"
            return
        stay = {self.disk.record(str(entry.identifier)) for _, entries in model.selected for entry in entries}
        assert model.unreadable <= (stay if verify.offline or outcome.result.refused else set())
        assert not outcome.result.refused or self.broken, outcome.result.refused
        assert all(not self.disk.blob(name).exists() for name in model.damaged)
        if not (verify.offline or outcome.result.refused):
            model.forged.clear()
            for release in {release for release, _ in model.selected}:
                model.strengthen(release, model.entries(release))
            assert outcome.result.findings == ()

    def wrong_names(self) -> Iterator[str]:
        """Yield the names in views that are missing or do not have the recorded bytes."""
        for release, entries in self.model.selected:
            for entry in entries:
                path = self.disk.view(MANIFESTS[str(release)]) / entry.file
                recorded = self.disk.recorded(str(entry.identifier))
                if not (recorded and path.exists() and digest(path.read_bytes()) == recorded[0]):
                    blob = self.disk.blob(recorded[0]) if recorded else path  # which a killed repair may have moved
                    yield str(blob if blob.exists() and path.exists() and path.samefile(blob) else path)

    def index_is_right(self) -> bool:
        try:
            self.model.check_index()
        except (AssertionError, OSError, ValueError, KeyError):
            return False
        return True

    # The outcomes to expect

    def codes(self, command: Command) -> set[int]:
        """Return the exit codes with which a command may end."""
        model = self.model
        if isinstance(command, Verify):
            return {0}
        if any(path.is_relative_to(self.disk.root / "refs") for path in model.unreadable):
            return {0, StoreError.exit_code, Offline.exit_code, ViewError.exit_code, *self.refusals()}
        if isinstance(command, Prefetch):
            return self.codes_of_prefetch(command)
        return {0 if self.can_be_done(command) else FAILURES[type(command)]}

    def can_be_done(self, command: Command) -> bool:
        """Return True if the command has everything it needs."""
        if isinstance(command, Remove):
            manifest = MANIFESTS[command.release]
            in_use = self.model.entries(manifest.release) or self.disk.view(manifest).is_dir()
            return bool(in_use) or self.disk.names(manifest.release)
        if isinstance(command, Link):
            return self.can_link(command)
        if isinstance(command, Collect):
            entries = {str(entry.identifier) for _, entries in self.model.selected for entry in entries}
            return not any(self.disk.record(identifier) in self.model.unreadable for identifier in entries)
        return True

    def codes_of_prefetch(self, command: Prefetch) -> set[int]:
        choice = self.model.choice(command)
        assert choice
        recorded = [self.disk.recorded(str(entry.identifier)) for entry in choice[1]]
        if all(self.disk.can_have(blob) for blob in recorded):
            return {0}
        return {Offline.exit_code} if command.offline else {0, *self.refusals()}

    def refusals(self) -> set[int]:
        """Return the exit codes of a fetch that fails because the origin misbehaves."""
        return {FetchError.exit_code, IntegrityError.exit_code} if self.broken else set()

    def can_link(self, link: Link) -> bool:
        entries = self.model.entries(release_of(link))
        directory = directory_in(Path(link.home), MANIFESTS[link.release])
        for entry in entries:
            blob = self.disk.recorded(str(entry.identifier))
            if blob is None or not self.disk.has(blob):
                return False
            path = directory / entry.file
            if path.exists() and path.read_bytes() != self.disk.blob(blob[0]).read_bytes():
                return False
        return bool(entries)

    def prepared(self, command: Command) -> Command:
        """Make the directories that the command needs, and return the command with their paths."""
        if isinstance(command, Link):
            return Link(command.release, str(self.place / command.home))
        if not isinstance(command, Adopt):
            return command
        self.made += 1
        directory = self.place / f"adopted-{self.made}"
        directory.mkdir()
        entries = {entry.name: entry for entry in MANIFESTS[command.release].entries}
        for name, kind in command.files:
            number = str(entries[name].identifier).removeprefix("figshare:")
            right = self.origin.content(number)
            (directory / entries[name].file).write_bytes(
                {"right": right, "other": OTHER_CONTENTS[number], "cut": right[: SIZE // 4]}[kind]
            )
        return Adopt(command.release, command.files, command.move, str(directory))

    # Other events in a root's life

    @rule()
    def a_day_passes(self) -> None:
        """Make everything under the root a day older; the clock stays that of this machine."""
        files = {path.lstat().st_ino: path for path in self.disk.root.rglob("*") if path.is_file()}
        for path in files.values():
            if not path.is_symlink():
                status = path.stat()
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - DAY * 10**9))
        for path in sorted(self.disk.root.glob("trash/*.*")):
            name, seconds, *rest = path.name.split(".")
            path.rename(path.with_name(".".join([name, str(int(seconds) - DAY), *rest])))
        self.model.a_day_passes()

    @rule(
        number=st.sampled_from(sorted(FILES)), how=st.sampled_from(sorted(MISBEHAVIOURS, key=str)), once=st.booleans()
    )
    def the_origin_misbehaves(self, number: str, how: Misbehaviour, once: bool) -> None:
        self.origin.misbehave(number, how, 1 if once else None)
        self.broken[number] = how

    @precondition(lambda self: self.broken)
    @rule()
    def the_origin_behaves(self) -> None:
        for number in self.broken:
            self.origin.behave(number)
        self.broken.clear()

    @precondition(lambda self: self.model.selected)
    @rule(what=st.sampled_from(Damage), pick=picks)
    def something_is_damaged(self, what: Damage, pick: int) -> None:
        if what in {Damage.FLIPPED, Damage.CUT, Damage.GONE}:
            self.damage_blob(pick, what)
        elif what is Damage.RECORD:
            self.damage_record(pick)
        elif what is Damage.SELECTION:
            self.damage_selection(pick)
        elif what is Damage.INDEX:
            (self.disk.root / "index.json").unlink(missing_ok=True)
        else:
            self.damage_name(pick, what)

    def damage_blob(self, pick: int, how: Damage) -> None:
        contents = {name for right in self.model.right.values() for name in right}
        names = sorted(contents.intersection(path.name for path in self.disk.blobs.glob("*")) - self.model.damaged)
        if not names:
            return
        name = names[pick % len(names)]
        blob = self.disk.blob(name)
        shared = [path for path in self.model.homes if path.exists() and path.samefile(blob)]
        self.model.blob_is_damaged(name, [] if how is Damage.GONE else shared)
        if how is Damage.GONE:
            blob.unlink()
            return
        right = blob.read_bytes()
        wrong = right[: len(right) // 2] + (
            b"" if how is Damage.CUT else bytes([right[-1] ^ 1]) * (len(right) - len(right) // 2)
        )
        blob.chmod(0o644)
        blob.write_bytes(wrong)  # in place, and so under every name that it has
        blob.chmod(0o444)
        self.model.bad.add(digest(wrong))
        self.model.damaged.add(name)

    def damage_record(self, pick: int) -> None:
        known = sorted(self.model.known)
        if known:
            identifier = known[pick % len(known)]
            self.overwrite(self.disk.record(identifier))
            self.model.record_is_damaged(identifier)

    def damage_selection(self, pick: int) -> None:
        paths = [path for path, selection in self.disk.selections() if selection]
        if len(paths) < MIN_SELECTIONS_FOR_DAMAGE:  # as long as one cannot be read, little can be done
            return
        path = paths[pick % len(paths)]
        self.overwrite(path)
        self.model.selected.clear()
        self.model.observe(set(), set(self.choices_on_disk()))

    def choices_on_disk(self) -> Iterator[Any]:
        for _, selection in self.disk.selections():
            if selection:
                yield Release(**selection["release"]), frozenset(make_entry(**entry) for entry in selection["entries"])

    def overwrite(self, path: Path) -> None:
        path.chmod(0o644)
        path.write_bytes(b'{"cut')
        path.chmod(0o444)
        self.model.unreadable.add(path)

    def damage_name(self, pick: int, how: Damage) -> None:
        linked = [
            (manifest, file)
            for manifest in MANIFESTS.values()
            for file in sorted(self.model.linked.get(manifest.release, ()))
        ]
        if not linked:
            return
        chosen, file = linked[pick % len(linked)]
        path = self.disk.view(chosen) / file
        status, right = path.stat(), path.read_bytes()
        path.unlink()
        self.model.linked[chosen.release].discard(file)
        if how is Damage.NAME_GONE:
            return
        wrong = bytes(len(right)) if how is Damage.NAME_FORGED else b"something else"
        path.write_bytes(wrong)
        if how is Damage.NAME_FORGED:
            self.model.forged.add(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.model.bad.add(digest(wrong))

    @precondition(lambda self: self.model.selected)
    @rule(pick=picks, file=st.sampled_from(["mine.txt", "a.nii.gz", "b.nii.gz"]))
    def the_user_puts_a_file_into_a_view(self, pick: int, file: str) -> None:
        views = [manifest for manifest in MANIFESTS.values() if self.disk.view(manifest).is_dir()]
        if not views:
            return
        chosen = views[pick % len(views)]
        path = self.disk.view(chosen) / file
        if not os.path.lexists(path) and file not in {entry.file for entry in self.model.entries(chosen.release)}:
            path.write_bytes(b"the user's own")
            self.model.mine[path] = b"the user's own"

    # The invariant

    @invariant()
    def the_store_does_not_lie(self) -> None:
        if hasattr(self, "model"):
            self.model.check()
            assert snapshot(self.outside) == {"file": b"nobody touches this"}
            assert {path.name for path in self.place.iterdir()} <= {
                "root",
                "outside",
                "one",
                "two",
                *(f"adopted-{number}" for number in range(1, self.made + 1)),
            }


def release_of(command: Prefetch | Link | Remove | Adopt) -> Release:
    return MANIFESTS[command.release].release


def drive(origin: StandIn, place: Path, examples: int, steps: int) -> None:
    Store.origin, Store.within = origin, place
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_store_agrees_with_a_model(origin: StandIn, place: Path) -> None:
    """Whatever commands run in whatever order, killed or beside others, the store never lies."""
    drive(origin, place, int(os.environ.get("ANTSCACHE_TESTS_EXAMPLES", "60")), 25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_store_agrees_with_a_model_for_longer(origin: StandIn, place: Path) -> None:
    drive(origin, place, 150, 60)
