"""Kill a scene's command at each of its calls, cut the power behind each of them, and check what is left.

A command runs in a fork of this process, where antscache is imported already: its calls that change the disk are the
same, and it starts ten times as fast.
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
from faults.disk import Tree, follow_disk, shape, simulate, states
from faults.tracing import TracedRun, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faults.disk import Operation, State
    from faults.scenes import Scene

Filesystem = Literal["ext4", "tmpfs"]
MEMORY = Path("/dev/shm")  # noqa: S108  a tmpfs on every Linux
INTERRUPTED_BYTES = 300_000  # of a large file, before its fetch is killed
CRASH_EXIT_CODE = 70  # EX_SOFTWARE: of a command that ended without antscache's own exit code
FILESYSTEM_BYTES = 96 << 20  # enough for all boxes of one time


class Impossible(Exception):  # noqa: N818  printed as a reason
    """This machine cannot do that; `str()` says why."""


class Broken(Exception):  # noqa: N818  the expected finding of the harness
    """A check has failed; `str()` says which."""


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """A command that has ended; `code` is None if it was killed."""

    code: int | None
    output: str


@dataclass(slots=True)
class Outcome:
    """The counts and the problems of a scene.

    Attributes:
        calls: the number of the command's calls that change the disk or sync it.
        kills: the number of calls at which it was killed.
        cuts: the number of different states that a power cut may leave.
        problems: the failed checks, in words.
    """

    scene: str
    filesystem: Filesystem
    calls: int = 0
    kills: int = 0
    cuts: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def _no_plant() -> None:
    """Leave antscache as it is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A place for the boxes of commands, and an origin for them.

    Attributes:
        place: a directory on the filesystem to try.
        jobs: processes at once.
        plant: breaks antscache in the process of a command before it starts, so that the checks must fail.
    """

    place: Path
    origins: str
    jobs: int = 2
    plant: Callable[[], object] = _no_plant

    # Commands

    def start(self, box: Path, arguments: Sequence[str], output: int, *, rebooted: bool = False) -> NoReturn:
        """Run antscache in `box`, in a process just forked for it, and end the process with it."""
        code: object = CRASH_EXIT_CODE
        try:
            os.dup2(output, 1)
            os.dup2(output, 2)
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

    def run(self, box: Path, arguments: Sequence[str], *, rebooted: bool = False) -> EndedCommand:
        """Run antscache with `arguments` to its end."""
        with tempfile.TemporaryFile(dir=MEMORY) as output:
            sys.stdout.flush()
            if not (pid := os.fork()):
                self.start(box, arguments, output.fileno(), rebooted=rebooted)
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            return EndedCommand(os.waitstatus_to_exitcode(status), output.read().decode())

    def follow(self, box: Path, arguments: Sequence[str], kill_at: int | None = None) -> tuple[TracedRun, EndedCommand]:
        """Run antscache call by call to its end, or kill it when it enters its call number `kill_at` on the disk."""
        with tempfile.TemporaryFile(dir=MEMORY) as output:
            sys.stdout.flush()
            traced = follow(partial(self.start, box, arguments, output.fileno()), box, kill_at)
            output.seek(0)
            return traced, EndedCommand(traced.code, output.read().decode())

    @contextmanager
    def box(self, tree: Tree) -> Iterator[Path]:
        """Make a box with the contents of `tree`, and remove it afterwards."""
        box = Path(tempfile.mkdtemp(dir=self.place)) / "box"
        put_down(tree, box)
        try:
            yield box
        finally:
            shutil.rmtree(box.parent)

    # Scenes

    def prepare(self, scene: Scene) -> Tree:
        """Return the starting point of the command of `scene`."""
        with self.box({}) as box:
            (box / "home").mkdir()
            scene.prepare(box, self._run_preparation)
            return take_up(box)[0]

    def _run_preparation(self, box: Path, arguments: Sequence[str]) -> None:
        """Run a command that prepares a scene; kill it in the middle of a large file, if it fetches one."""
        long = scenes.LONG in arguments
        with self.box(take_up(box)[0]) as rehearsal:
            traced = self.follow(rehearsal, arguments)[0] if long else None
        writes = (
            [
                number
                for number, operation in zip(traced.entered, traced.operations, strict=True)
                if operation.verb == "write" and operation.at >= INTERRUPTED_BYTES
            ]
            if traced
            else []
        )
        if writes:
            self.follow(box, arguments, writes[0])
            return
        ended = self.run(box, arguments)
        if ended.code != 0:
            raise Broken(f"antscache {' '.join(arguments)}: {ended.output}")

    def try_scene(self, scene: Scene, filesystem: Filesystem, *, mixtures: int, every: int = 1) -> Outcome:
        """Kill the command of `scene` at every call, and cut the power behind each.

        Args:
            scene: to try.
            filesystem: of `place`.
            mixtures: random states behind each call; -1 means no power cuts.
            every: 2 means every second kill and power cut, and so on.
        """
        outcome, began = Outcome(scene.name, filesystem), time.monotonic()
        try:
            self._try(scene, outcome, mixtures, every)
        except Broken as broken:
            outcome.problems.append(str(broken))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _try(self, scene: Scene, outcome: Outcome, mixtures: int, every: int) -> None:
        sound = replace(self, plant=_no_plant)
        with self.box(sound.prepare(scene)) as box:
            start, inodes = take_up(box)
            traced, ended = self.follow(box, scenes.command_in(scene, box))
            if ended.code != 0:
                raise Broken(f"{scene.name} ends with {ended.code}: {ended.output}")
            _check_simulation(start, inodes, traced, box)
            outcome.problems += self._check_finished(scene, box, checks.recorded(start))
        outcome.calls = len(traced.entered)
        kills = list(traced.entered)[::every]
        outcome.kills = len(kills)
        works: list[Callable[[], list[str]]] = [partial(self.kill, scene, start, number) for number in kills]
        if mixtures >= 0:
            sizes: dict[str, int] = {}
            durables, end = [], start
            durable = checks.recorded(start)  # by commands that succeeded
            for now, end in follow_disk(start, inodes, traced.operations):
                sizes |= {digest: len(file.content) for digest, file in checks.blobs(now)}
                durable = durable | checks.whole(end)
                durables.append(durable)
            outcome.problems += checks.check_durable(end, scene)
            cuts = list(states(start, inodes, traced.operations, mixtures))[::every]
            outcome.cuts = len(cuts)
            works += [partial(self.cut, scene, state, sizes, durables[state.done - 1]) for state in cuts]
        outcome.problems += _run_in_parallel(works, self.jobs)

    def kill(self, scene: Scene, tree: Tree, number: int) -> list[str]:
        """Kill the command at its call `number`, run it again, and return the problems.

        Also cut the power during the second run: it may build on changes that the killed process has not synced.
        """
        with self.box(tree) as box:
            (start, inodes), durable = take_up(box), checks.recorded(tree)
            command = scenes.command_in(scene, box)
            killed, _ = self.follow(box, command, number)
            left = take_up(box)[0]
            problems = checks.check_always(left, scene, {}, durable, cut=False)
            if not problems:
                again, ended = self.follow(box, command)
                problems = _check_exit_code(scene, ended) or self._check_finished(scene, box, durable)
                if shape(left) == shape(simulate(start, inodes, killed.operations)):  # no thread made another change
                    problems += _check_synced(scene, start, inodes, (*killed.operations, *again.operations))
        return [f"{scene.name}, killed at call {number}: {problem}" for problem in problems]

    def cut(self, scene: Scene, state: State, sizes: dict[str, int], durable: set[str]) -> list[str]:
        """Run the command on the state that a power cut has left, and return the problems."""
        problems = checks.check_always(state.tree, scene, sizes, durable, cut=True)
        if not problems:
            with self.box(state.tree) as box:
                (box / "home").mkdir(exist_ok=True)
                ended = self.run(box, scenes.command_in(scene, box), rebooted=True)
                problems = _check_exit_code(scene, ended) or self._check_finished(scene, box, durable)
        return [f"{scene.name}, power cut behind operation {state.done}: {problem}" for problem in problems]

    def _check_finished(self, scene: Scene, box: Path, durable: set[str]) -> list[str]:
        """Check a box whose command has succeeded, by `antscache verify` too, and return the problems."""
        verified = self.run(box, ("verify", "-j1"))
        if verified.code != 0:
            return [f"verify ends with {verified.code} then: {verified.output.strip()}"]
        left = take_up(box)[0]
        return checks.check_always(left, scene, {}, durable, cut=False) + checks.check_complete(left, scene)


def _check_exit_code(scene: Scene, ended: EndedCommand) -> list[str]:
    """Check that the same command, run again, has succeeded, and return the problems."""
    if ended.code in scene.codes:
        return []
    return [f"the same command ends with {ended.code}: {ended.output.strip()}"]


def _check_simulation(start: Tree, inodes: dict[str, int], traced: TracedRun, box: Path) -> None:
    """Check that the simulated disk has the contents of the real one.

    Raises:
        Broken: it has others, so its power cuts would prove nothing.
    """
    real, simulated = shape(take_up(box)[0]), shape(simulate(start, inodes, traced.operations))
    if real != simulated:
        raise Broken(f"the simulated disk is wrong: {set(real.items()) ^ set(simulated.items())}")


def _check_synced(scene: Scene, start: Tree, inodes: dict[str, int], operations: Sequence[Operation]) -> list[str]:
    """Check the durable contents behind each sync of `operations`, those of two processes; return the problems."""
    durable, sizes = checks.recorded(start), dict[str, int]()
    for operation, (now, synced) in zip(operations, follow_disk(start, inodes, operations), strict=True):
        sizes |= {digest: len(file.content) for digest, file in checks.blobs(now)}
        if operation.verb == "sync":
            durable |= checks.whole(synced)
            if problems := checks.check_always(synced, scene, sizes, durable, cut=True):
                return [f"then power cut after {operation.path} was synced: {problem}" for problem in problems]
    return []


def _reboot() -> None:
    """Make this process believe that the system has been restarted since the files were written."""
    from antscache.fetch import transfer

    transfer.boot_id = lambda: "after the power cut"  # type: ignore[assignment]


_works: Sequence[Callable[[], list[str]]] = ()


def _work(number: int) -> list[str]:
    return _works[number]()


def _run_in_parallel(works: Sequence[Callable[[], list[str]]], jobs: int) -> list[str]:
    """Call all `works` in forks of this process, and return all their problems."""
    global _works  # noqa: PLW0603  forks inherit it
    _works = works
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        return [problem for problems in pool.imap_unordered(_work, range(len(works)), 4) for problem in problems]


def import_all() -> None:
    """Import all of antscache, so that no forked command has to, and keep it in shared memory."""
    for module in pkgutil.walk_packages(antscache.__path__, "antscache."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # so that a fork's garbage collection does not touch, and so copy, these objects


@contextmanager
def serve_origin() -> Iterator[str]:
    """Run a stand-in for Figshare and yield its origins.

    It has a process of its own: this one forks, and must have no threads.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        files = {number: scenes.FILES[name] for name, number in scenes.NUMBERS.items()}
        with StandIn(files, size=scenes.SIZE, sizes=scenes.SIZES) as standin:
            os.write(writer, standin.origins.encode())
            os.close(writer)
            signal.sigwait([signal.SIGTERM])
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:  # noqa: PTH123
        origins = pipe.read()
    try:
        yield origins
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


@contextmanager
def make_place(filesystem: Filesystem) -> Iterator[Path]:
    """Make a small filesystem of that kind, and yield an empty directory on it.

    It is in memory, so that a sync takes no time.

    Raises:
        Impossible: this machine cannot make one.
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
            file.truncate(FILESYSTEM_BYTES)
        _run_system_command("mkfs.ext4", "-q", str(image))
        _run_system_command("mount", "-o", "loop", str(image), str(mounted))
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)


def _run_system_command(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Impossible(f"{command[0]} does not work here: {error}") from None
