"""All put together: a scene's command killed at each of its calls, and the power cut behind each of them.

A command runs in a fork of this process, where antscache is imported already: what it does to the disk is the same, and
it starts ten times as fast.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import antscache
from antscache.testing import StandIn
from faults import checks, scenes
from faults.boxes import put_down, take_up
from faults.disk import Tree, followed, shape, simulated, states
from faults.tracing import Followed, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faults.disk import Operation, State
    from faults.scenes import Scene

Filesystem = Literal["ext4", "tmpfs"]
MEMORY = Path("/dev/shm")  # noqa: S108  a tmpfs on every Linux
MIDDLE = 300_000  # bytes of a file that are there when it is interrupted
FAILED = 70  # how a command ends that antscache did not end: EX_SOFTWARE
BOXES = 96 << 20  # bytes of a filesystem with all boxes on it that there are at one time


class Impossible(Exception):  # noqa: N818  told as a reason
    """This machine cannot do that; `str()` says why."""


class Broke(Exception):  # noqa: N818  what is looked for
    """Something is not as it must be."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended; `code` is None if it was killed."""

    code: int | None
    said: str


@dataclass(slots=True)
class Outcome:
    """What came of a scene.

    Attributes:
        calls: how many calls of the command change the disk or sync it.
        kills: how many of them it was killed at.
        cuts: how many different states of the disk a power cut may leave.
        broken: what was not as it must be, in words.
    """

    scene: str
    filesystem: Filesystem
    calls: int = 0
    kills: int = 0
    cuts: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def _nothing() -> None:
    """antscache as it is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where commands are tried, and whom they fetch from.

    Attributes:
        place: a directory on a filesystem whose boxes are made there.
        jobs: processes at once.
        plant: breaks antscache in the process of a command before it starts: what the checks must find.
    """

    place: Path
    origins: str
    jobs: int = 2
    plant: Callable[[], object] = _nothing

    # Commands

    def start(self, box: Path, arguments: Sequence[str], said: int, *, rebooted: bool = False) -> NoReturn:
        """Be antscache in `box`: called in a process that was just forked for it, which ends with it."""
        code: object = FAILED
        try:
            os.dup2(said, 1)
            os.dup2(said, 2)
            environment = self._environment(box)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(box / "home")
            self.plant()
            if rebooted:
                _reboot()
            from antscache.cli import main

            main(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 0)

    def _environment(self, box: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(box / "home"),
            "ANTSCACHE_DIR": str(box / "root"),
            "ANTSCACHE_ORIGINS": self.origins,
            "PIP_NO_INDEX": "1",
            "no_proxy": "*",
        }

    def run(self, box: Path, arguments: Sequence[str], *, rebooted: bool = False) -> Ended:
        """antscache with `arguments`, to its end."""
        with tempfile.TemporaryFile(dir=MEMORY) as said:
            sys.stdout.flush()
            if not (pid := os.fork()):
                self.start(box, arguments, said.fileno(), rebooted=rebooted)
            _, status = os.waitpid(pid, 0)
            said.seek(0)
            return Ended(os.waitstatus_to_exitcode(status), said.read().decode())

    def follow(self, box: Path, arguments: Sequence[str], kill_at: int | None = None) -> tuple[Followed, Ended]:
        """antscache with `arguments`, call by call; to its end, or until it enters its call `kill_at` on the disk."""
        with tempfile.TemporaryFile(dir=MEMORY) as said:
            sys.stdout.flush()
            traced = follow(partial(self.start, box, arguments, said.fileno()), box, kill_at)
            said.seek(0)
            return traced, Ended(traced.code, said.read().decode())

    @contextmanager
    def box(self, tree: Tree) -> Iterator[Path]:
        """A box with what is in `tree`, which is gone afterwards."""
        box = Path(tempfile.mkdtemp(dir=self.place)) / "box"
        put_down(tree, box)
        try:
            yield box
        finally:
            shutil.rmtree(box.parent)

    # Scenes

    def prepared(self, scene: Scene) -> Tree:
        """What the command of `scene` starts from."""
        with self.box({}) as box:
            (box / "home").mkdir()
            scene.prepare(box, self._to_the_end)
            return take_up(box)[0]

    def _to_the_end(self, box: Path, arguments: Sequence[str]) -> None:
        """As scenes prepare: a file that is larger than others is left in the middle."""
        long = scenes.LONG in arguments
        with self.box(take_up(box)[0]) as rehearsal:
            traced = self.follow(rehearsal, arguments)[0] if long else None
        writes = (
            [
                number
                for number, operation in zip(traced.entered, traced.operations, strict=True)
                if operation.verb == "write" and operation.at >= MIDDLE
            ]
            if traced
            else []
        )
        if writes:
            self.follow(box, arguments, writes[0])
            return
        ended = self.run(box, arguments)
        if ended.code != 0:
            raise Broke(f"antscache {' '.join(arguments)}: {ended.said}")

    def try_scene(self, scene: Scene, filesystem: Filesystem, *, mixtures: int, every: int = 1) -> Outcome:
        """The command of `scene`, killed at every call, and with the power cut behind each.

        Args:
            scene: to try.
            filesystem: of `place`.
            mixtures: of what may be left of each state, taken by chance; -1 cuts no power.
            every: only so manieth of both are tried.
        """
        outcome, began = Outcome(scene.name, filesystem), time.monotonic()
        try:
            self._try(scene, outcome, mixtures, every)
        except Broke as broke:
            outcome.broken.append(str(broke))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _try(self, scene: Scene, outcome: Outcome, mixtures: int, every: int) -> None:
        sound = replace(self, plant=_nothing)
        with self.box(sound.prepared(scene)) as box:
            start, inodes = take_up(box)
            traced, ended = self.follow(box, scenes.command_in(scene, box))
            if ended.code != 0:
                raise Broke(f"{scene.name} ends with {ended.code}: {ended.said}")
            _check_simulation(start, inodes, traced, box)
            outcome.broken += self._through(scene, box, checks.recorded(start))
        outcome.calls = len(traced.entered)
        kills = list(traced.entered)[::every]
        outcome.kills = len(kills)
        works: list[Callable[[], list[str]]] = [partial(self.kill, scene, start, number) for number in kills]
        if mixtures >= 0:
            sizes: dict[str, int] = {}
            durables, end = [], start
            durable = checks.recorded(start)  # by commands that went through
            for now, end in followed(start, inodes, traced.operations):
                sizes |= {digest: len(file.content) for digest, file in checks.blobs(now)}
                durable = durable | checks.whole(end)
                durables.append(durable)
            outcome.broken += checks.fleeting(end, scene)
            cuts = list(states(start, inodes, traced.operations, mixtures))[::every]
            outcome.cuts = len(cuts)
            works += [partial(self.cut, scene, state, sizes, durables[state.done - 1]) for state in cuts]
        outcome.broken += _in_parallel(works, self.jobs)

    def kill(self, scene: Scene, tree: Tree, number: int) -> list[str]:
        """What is not as it must be after the command was killed at that call, and run again.

        And if a power cut comes then: what one process has not synced before it was killed, another may build on.
        """
        with self.box(tree) as box:
            (start, inodes), durable = take_up(box), checks.recorded(tree)
            command = scenes.command_in(scene, box)
            killed, _ = self.follow(box, command, number)
            left = take_up(box)[0]
            found = checks.broken(left, scene, {}, durable, cut=False)
            if not found:
                again, ended = self.follow(box, command)
                found = _not_ended(scene, ended) or self._through(scene, box, durable)
                if shape(left) == shape(simulated(start, inodes, killed.operations)):  # no thread did more unseen
                    found += _unsynced(scene, start, inodes, (*killed.operations, *again.operations))
        return [f"{scene.name}, killed at call {number}: {each}" for each in found]

    def cut(self, scene: Scene, state: State, sizes: dict[str, int], durable: set[str]) -> list[str]:
        """What is not as it must be when a power cut has left that."""
        found = checks.broken(state.tree, scene, sizes, durable, cut=True)
        if not found:
            with self.box(state.tree) as box:
                (box / "home").mkdir(exist_ok=True)
                ended = self.run(box, scenes.command_in(scene, box), rebooted=True)
                found = _not_ended(scene, ended) or self._through(scene, box, durable)
        return [f"{scene.name}, power cut behind operation {state.done}: {each}" for each in found]

    def _through(self, scene: Scene, box: Path, durable: set[str]) -> list[str]:
        """What is not as it must be in a box whose command is through."""
        verified = self.run(box, ("verify", "-j1"))
        if verified.code != 0:
            return [f"verify ends with {verified.code} then: {verified.said.strip()}"]
        left = take_up(box)[0]
        return checks.broken(left, scene, {}, durable, cut=False) + checks.incomplete(left, scene)


def _not_ended(scene: Scene, ended: Ended) -> list[str]:
    """Why the same command, run again, is not through."""
    if ended.code in scene.codes:
        return []
    return [f"the same command ends with {ended.code}: {ended.said.strip()}"]


def _check_simulation(start: Tree, inodes: dict[str, int], traced: Followed, box: Path) -> None:
    """The simulated disk holds what the real one does.

    Raises:
        Broke: it does not, so nothing that it says is worth anything.
    """
    real, told = shape(take_up(box)[0]), shape(simulated(start, inodes, traced.operations))
    if real != told:
        raise Broke(f"the simulated disk is wrong: {set(real.items()) ^ set(told.items())}")


def _unsynced(scene: Scene, start: Tree, inodes: dict[str, int], operations: Sequence[Operation]) -> list[str]:
    """What is not as it must be of what is durable behind any of `operations`, those of two processes."""
    durable, sizes = checks.recorded(start), dict[str, int]()
    for operation, (now, synced) in zip(operations, followed(start, inodes, operations), strict=True):
        sizes |= {digest: len(file.content) for digest, file in checks.blobs(now)}
        if operation.verb == "sync":
            durable |= checks.whole(synced)
            if found := checks.broken(synced, scene, sizes, durable, cut=True):
                return [f"then power cut after {operation.path} was synced: {each}" for each in found]
    return []


def _reboot() -> None:
    """The system of this process is another than the one that wrote what is there."""
    from antscache.fetch import transfer

    transfer.boot = lambda: "after the power cut"  # type: ignore[assignment]


_works: Sequence[Callable[[], list[str]]] = ()


def _work(number: int) -> list[str]:
    return _works[number]()


def _in_parallel(works: Sequence[Callable[[], list[str]]], jobs: int) -> list[str]:
    """What all `works` tell, done in forks of this process."""
    global _works  # noqa: PLW0603  forks have it without its being sent
    _works = works
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        return [each for told in pool.imap_unordered(_work, range(len(works)), 4) for each in told]


def imported() -> None:
    """All of antscache is imported, so that no command has to do it, and stays as it is in memory."""
    for module in pkgutil.walk_packages(antscache.__path__, "antscache."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # so that forks do not copy what they only count


@contextmanager
def origin() -> Iterator[str]:
    """A stand-in in a process of its own, for this one must have no threads: it forks. Where it is."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        files = {number: scenes.FILES[name] for name, number in scenes.NUMBERS.items()}
        with StandIn(files, size=scenes.SIZE, sizes=scenes.SIZES) as standin:
            os.write(tell, standin.origins.encode())
            os.close(tell)
            signal.sigwait([signal.SIGTERM])
        os._exit(0)
    os.close(tell)
    with open(told) as where:  # noqa: PTH123
        origins = where.read()
    try:
        yield origins
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


@contextmanager
def place(filesystem: Filesystem) -> Iterator[Path]:
    """An empty directory on a small filesystem of that kind: in memory, so that a sync costs nothing but its call.

    Raises:
        Impossible: this machine cannot make one here.
    """
    if not MEMORY.is_dir():
        raise Impossible(f"no {MEMORY}")
    with tempfile.TemporaryDirectory(prefix="antscache-faults-", dir=MEMORY) as scratch:
        if filesystem == "tmpfs":
            yield Path(scratch)
            return
        if os.getuid() != 0:
            raise Impossible("only root mounts an ext4")
        image, mounted = Path(scratch) / "image", Path(scratch) / "mounted"
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(BOXES)
        _work_here("mkfs.ext4", "-q", str(image))
        _work_here("mount", "-o", "loop", str(image), str(mounted))
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)


def _work_here(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Impossible(f"{command[0]} does not work here: {error}") from None
