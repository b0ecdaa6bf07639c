"""Commands on a root, as values; and processes that carry them out, to be killed or held at one of their steps.

A step changes the disk: a name is made, moved or removed, or bytes are written or synced. Only steps in the given
directory count.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import msgspec
import pytest

from antscache.cache import Cache
from antscache.core.manifest import Manifest, Package, Release, make_entry, parse_release
from antscache.errors import AntsCacheError
from antscache.export import Target
from antscache.fetch import other_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from antscache.config import Settings
    from antscache.export import Format

DAY = 24 * 60 * 60
NAME_EVENTS = frozenset(
    {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod", "os.utime", "os.truncate"}
)
HELD_WAIT_SECONDS = 0.25  # for a command while another is held: one that needs a lock goes on after it is released
TIMEOUT_SECONDS = 600  # no process takes longer, however loaded the machine is

FILES = {"11": "a.nii.gz", "12": "a.nii.gz", "21": "b.nii.gz", "31": "c.mat", "32": "c.mat", "41": "d.nii.gz"}


def _manifest(package: Package, version: str, **identifiers: str) -> Manifest:
    entries = (
        make_entry("data", name, FILES[number] if len(name) == 1 else f"{name}.nii.gz", identifier=f"figshare:{number}")
        for name, number in sorted(identifiers.items())
    )
    return Manifest(Release(package, version), tuple(entries))


# The releases share some identifiers, and have different ones under some names; one has an identifier twice.
MANIFESTS = {
    str(each.release): each
    for each in (
        _manifest("antspynet", "90.1", a="11", b="21", c="31"),
        _manifest("antspynet", "90.2", a="12", b="21", c="31", d="41"),
        _manifest("antspynet", "90.3", a="12", b="21", b_again="21", c="32"),
        _manifest("antspyx", "90.1", a="11", d="41"),
    )
}

Taken = Literal["right", "other", "cut"]


@dataclass(frozen=True)
class Prefetch:
    """A prefetch of some names of a release."""

    release: str
    names: tuple[str, ...]
    offline: bool = False

    def carry_out(self, settings: Settings) -> object:
        cache = Cache(msgspec.structs.replace(settings, offline=self.offline))
        return cache.prefetch(cache.plan(MANIFESTS[self.release], names=self.names))


@dataclass(frozen=True)
class Link:
    """A link of a release's selection into a home outside the root."""

    release: str
    home: str

    def carry_out(self, settings: Settings) -> object:
        cache = Cache(settings)
        return cache.link(
            cache.selected(MANIFESTS[self.release].release), directory_in(Path(self.home), MANIFESTS[self.release])
        )


@dataclass(frozen=True)
class Remove:
    """A removal of a release."""

    release: str
    force: bool = False

    def carry_out(self, settings: Settings) -> object:
        return Cache(settings).remove(MANIFESTS[self.release].release, force=self.force)


@dataclass(frozen=True)
class Collect:
    """A garbage collection."""

    grace: int

    def carry_out(self, settings: Settings) -> object:
        return Cache(settings).gc(grace=self.grace)


@dataclass(frozen=True)
class Verify:
    """A verification of everything, with or without repair."""

    repair: bool
    offline: bool = False

    def carry_out(self, settings: Settings) -> object:
        return Cache(msgspec.structs.replace(settings, offline=self.offline)).verify(repair=self.repair)


@dataclass(frozen=True)
class Adopt:
    """An adoption of a directory with some of a release's files: each right, with other bytes of its form, or cut."""

    release: str
    files: tuple[tuple[str, Taken], ...]
    move: bool = False
    directory: str = ""

    def carry_out(self, settings: Settings) -> object:
        return Cache(settings).adopt(Path(self.directory), MANIFESTS[self.release], move=self.move)


@dataclass(frozen=True)
class Export:
    """An export of the held files of a release to a file."""

    release: str
    file: str
    format: Format

    def carry_out(self, settings: Settings) -> object:
        cache = Cache(settings)
        return cache.export(cache.plan_export([parse_release(self.release)]), Target(Path(self.file), self.format))


Command = Union[Prefetch, Link, Remove, Collect, Verify, Adopt, Export]  # noqa: UP007  as a value


def directory_in(home: Path, manifest: Manifest) -> Path:
    """Return the directory of the release's files in `home`."""
    return home / (".antspy" if manifest.release.package == "antspyx" else ".keras/ANTsXNet")


@dataclass(frozen=True)
class Outcome:
    """The end of a command: its exit code, None if it was killed; its error's text; and its result."""

    code: int | None
    said: str = ""
    result: Any = None


KILLED = Outcome(None, "killed")
HELD = Outcome(None, "held")


def attempt(command: Command, settings: Settings) -> Outcome:
    """Carry out `command` in this process."""
    try:
        return Outcome(0, result=command.carry_out(settings))
    except AntsCacheError as error:
        return Outcome(error.exit_code, str(error))


# In other processes

context = multiprocessing.get_context("forkserver")


def import_ahead() -> None:
    """Start the process that all others are forked from, with everything imported that they need."""
    context.set_forkserver_preload(
        [
            "__main__",
            "antscache.operations.adopt",
            "antscache.operations.verify",
            "antscache.fetch.http",
            "support.commands",
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]))
        forkserver.ensure_running()


class Process:
    """A process that carries out `command`, and is killed or held at its step `at`; with 0 it runs to its end.

    It is forked from a process without threads, which has imported everything needed.
    """

    def __init__(self, command: Command, settings: Settings, place: Path, at: int, *, kill: bool) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_act, args=(command, settings, str(place), at, kill, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self.outcome: Outcome | None = None

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> bool:
        """Wait until the process has ended or is held; return False if neither happens within `seconds`."""
        if self.outcome or not self._pipe.poll(seconds):
            return self.outcome is not None
        try:
            outcome = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            outcome = KILLED
        assert not isinstance(outcome, str), outcome  # a traceback
        self.outcome = outcome
        return True

    def go_on(self) -> None:
        """Let the held process go on."""
        self.outcome = None
        self._pipe.send(None)

    def end(self) -> Outcome:
        """Wait for the process to end, release its resources, and return its outcome."""
        assert self.wait(), "the process hangs"
        assert self.outcome is not None
        self._process.join(TIMEOUT_SECONDS)
        self._pipe.close()
        self._process.close()
        return self.outcome


def killed_at(step: int, command: Command, settings: Settings, place: Path) -> Outcome:
    """Carry out `command` in a process that is killed before its step `step`, if it has as many."""
    return Process(command, settings, place, step, kill=True).end()


def one_beside_another(
    step: int, held: Command, other: Command, settings: Settings, place: Path
) -> tuple[Outcome, Outcome]:
    """Run `other` while a process with the command `held` is held before its step `step`; then let that go on.

    Returns:
        The outcomes of `held` and of `other`.
    """
    first = Process(held, settings, place, step, kill=False)
    first.wait()
    is_held = first.outcome == HELD
    second = Process(other, settings, place, 0, kill=False)
    second.wait(HELD_WAIT_SECONDS if is_held else TIMEOUT_SECONDS)  # it may wait for a lock of the first one
    if is_held:
        first.go_on()
    return first.end(), second.end()


def _act(command: Command, settings: Settings, place: str, at: int, kill: bool, pipe: Connection) -> None:  # noqa: PLR0913, PLR0917
    """Carry out `command` in a forked process, and send its outcome, or a traceback, through `pipe`."""

    def stop() -> None:
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(HELD)
        pipe.recv()

    other_processes.LEFT_FILE_POLL_SECONDS = 0.02  # a process goes on soon after a lock's release
    if at:
        _count_steps(place, at, stop)
    try:
        pipe.send(attempt(command, settings))
    except BaseException:  # noqa: BLE001  reported by the parent process
        pipe.send(traceback.format_exc())


def _count_steps(place: str, at: int, stop: Callable[[], None]) -> None:
    """Call `stop` before the step `at`, counted from 1."""
    count = itertools.count(1)

    def step() -> None:
        if next(count) == at:
            stop()

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if arguments[2] & os.O_CREAT and _is_in(place, arguments[0]):
                step()
        elif event in NAME_EVENTS and _is_in(place, arguments[0]):
            step()

    def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            step()
            return call(*arguments)

        return called

    sys.addaudithook(hear)
    os.write, os.fsync = stepping(os.write), stepping(os.fsync)


def _is_in(place: str, path: object) -> bool:
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(place)
