"""The getters of ANTsPyNet and ANTsPy, redirected: what they are asked for comes from antscache's view.

In Python 3.8's grammar and of the standard library alone: see `antscache_hook`. Who wins:

    a directory of the caller's       upstream's own function: set_antsxnet_cache_directory(), or an argument
    a file name of the caller's       the same: target_file_name
    what is no entry, such as "show"  the same
    anything else                     the file in the view, if it is there and has the size that is recorded; else
                                      antscache is called, which fetches and verifies it, or says why not
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any, Dict

    Entry = Dict[str, Any]  # what antscache prints: `EntryLocation`

COMMAND, HOOK, RECORD = "ANTSCACHE_COMMAND", "ANTSCACHE_HOOK", "ANTSCACHE_RECORD"
RELEASE = "ANTSCACHE_RELEASE"
NO_DIRECTORY = (None, "ANTsXNet")  # what 0.1.9 to 0.2.2 pass where the caller named none
DIRECTORIES = ("antsxnet_cache_directory", "antsx_cache_directory")
NOTED = ("release", "kind", "name", "file", "identifier", "digest", "size")
KEYS = (*NOTED, "path")

_views: dict[tuple[str, str], ViewClient] = {}
_default: list[Any] = [None]  # where antspynet looked when its getters were redirected
_noted: set[tuple[str, str]] = set()  # what this process has noted, and where


class AntsCacheError(RuntimeError):
    """antscache cannot say where a file is. The text says why, and what to do next."""


class ViewClient:
    """What antscache says of the installation of a package in `directory`: asked once, when it is first needed."""

    def __init__(self, package: str, directory: str, command: Sequence[str]) -> None:
        self._package, self._directory, self._command = package, directory, command
        self._entries: dict[tuple[str, str], Entry] | None = None

    def path(self, kind: str, name: str) -> str | None:
        """Where the file of an entry is, whole; None if the release has no such entry, or nothing to fetch for it.

        Raises:
            AntsCacheError: it is not there, and cannot be fetched; or the user has named a release without it.
        """
        if self._entries is None:
            self._entries = self._ask("entries")
        entry = self._entries.get((kind, name))
        if entry is None:
            named = os.environ.get(RELEASE, "")
            if named.startswith(f"{self._package}==") and name != "show":
                raise AntsCacheError(f"{named} has no {kind} {name} that can be fetched\nhint: run without naming it")
            return None
        if not is_whole(entry):
            say(f"getting {entry['file']} of {entry['release']}")
            entry = self._ask("fetch", kind, name).get((kind, name), entry)
            if not is_whole(entry):
                raise AntsCacheError(f"antscache says that {entry['file']} is there, and it is not: {entry['path']}")
            self._entries[kind, name] = entry
        note(entry)
        return str(entry["path"])

    def forget(self) -> None:
        """Ask anew."""
        self._entries = None

    def _ask(self, verb: str, *arguments: str) -> dict[tuple[str, str], Entry]:
        """What antscache answers to `antscache hook VERB PACKAGE DIRECTORY ...`, by kind and name.

        It may live in another environment: nothing that is set for this one's Python reaches it.

        Raises:
            AntsCacheError: it cannot be called, fails, or is not understood.
        """
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environ[HOOK] = "0"
        way_out = f"hint: install it again, or go without it: {HOOK}=0"
        try:
            done, command = self._call(["hook", verb, self._package, self._directory, *arguments], environ)
        except (OSError, TypeError, ValueError, IndexError) as error:
            raise AntsCacheError(f"antscache cannot be called: {error}\n{way_out}") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            if done.returncode < 0:
                said += f"\nantscache ({command[0]}) was ended by signal {-done.returncode}\nhint: ask again"
            told = f"antscache ({command[0]}) ended with {done.returncode} and said nothing\n{way_out}"
            raise AntsCacheError(said.strip() or told)
        said = ""
        try:
            found = _entries(json.loads(done.stdout.decode("utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            found, said = {}, repr(error)
        if not found:
            raise AntsCacheError(f"antscache ({command[0]}) is not understood: {said or 'no entries'}\n{way_out}")
        if noted := done.stderr.decode("utf-8", "replace").strip():
            say(noted)
        return found

    def _call(self, arguments: Sequence[str], environ: dict[str, str]) -> Any:
        """What antscache has answered, and how it was called: as the environment says, else as this one's hook does.

        In a container the environment may be the host's, and name what is not there.
        """
        named = json.loads(os.environ.get(COMMAND) or "[]")
        refusals = []
        for command in filter(None, (named, self._command)):
            try:
                done = subprocess.run(
                    [*command, *arguments], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
            except OSError as error:  # noqa: PERF203
                refusals.append(error)
            else:
                return done, command
        raise refusals[0] if refusals else ValueError("nothing says how")


def _entries(answer: list[Entry]) -> dict[tuple[str, str], Entry]:
    return {(each["kind"], each["name"]): {key: each[key] for key in KEYS} for each in answer}


def forget() -> None:
    """What antscache has said is asked anew: it may be called otherwise now."""
    for view in _views.values():
        view.forget()


def redirect(module: ModuleType, package: str, kind: str, name: str, command: Sequence[str]) -> None:
    """The function `name` of `module` asks antscache.

    Raises:
        TypeError: it is no function whose code can be exchanged.
    """
    directory = os.path.abspath(module.__file__ or "")
    for _ in module.__name__.split("."):
        directory = os.path.dirname(directory)
    view = _views.setdefault((package, directory), ViewClient(package, directory, command))

    def answer(original: Any, values: Any, named: Any) -> Any:
        asked = bound(original, values, named)
        name = asked.get("file_id")
        if not isinstance(name, str) or is_elsewhere(asked) or (package == "antspynet" and is_moved()):
            return original(*values, **named)
        path = view.path(kind, name)
        return original(*values, **named) if path is None else path

    if exchange(module, name, answer) and package == "antspynet":
        here, usual = _cache_directory(), os.path.join(os.path.expanduser("~"), ".keras", "ANTsXNet")
        _default[0] = here if here in (None, usual) else object()  # or it was set before the hook was on


def bound(function: Any, values: Any, named: Any) -> dict[str, Any]:
    """The arguments of a call by name; none, if `function` does not take them."""
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    asked = dict(zip(parameters, values))
    if len(values) > len(parameters) or any(key in asked or key not in parameters for key in named):
        return {}
    return {**asked, **named}


def announce(module: ModuleType, name: str, file: str) -> None:
    """The function `name` of `module`, which has Keras download `file`, says so; offline it is an error instead.

    Where it is another function than was expected, nothing is said: there is nothing to go wrong.
    """

    def answer(original: Any, values: Any, named: Any) -> Any:
        home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")  # as Keras
        path = os.path.join(home, "models", file)
        if not os.path.exists(path):
            told = f"{name}() needs {file}, which is Keras's own, in {os.path.dirname(path)}"
            if os.environ.get("ANTSCACHE_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
                raise AntsCacheError(f"{told}; antscache does not keep it\nhint: copy it there from another host's")
            say(f"{told}: Keras downloads it, and checks its MD5")
        return original(*values, **named)

    with suppress(TypeError):
        exchange(module, name, answer)


def check(module: ModuleType, name: str) -> None:
    """The function `name` of `module` is one whose code can be exchanged.

    Raises:
        TypeError: it is not.
    """
    function: Any = getattr(module, name, None)
    if type(function) is not FunctionType or function.__closure__ or not module.__file__:
        raise TypeError(f"{name} is not the function that was expected")


def exchange(module: ModuleType, name: str, answer: Any) -> bool:
    """Who calls the function `name` of `module` calls `answer(original, values, named)`, under whatever name.

    It stays the same object, and its code is exchanged: so it does not matter who has imported it already. A second
    call changes nothing, and returns False.

    Raises:
        TypeError: it is no function whose code can be exchanged.
    """
    check(module, name)
    function: Any = getattr(module, name)
    if hasattr(function, "__antscache__"):
        return False
    original: Any = FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    original.__doc__, original.__kwdefaults__ = function.__doc__, function.__kwdefaults__
    function.__globals__["_antscache_answer"] = lambda values, named: answer(original, values, named)
    function.__dict__.update(__wrapped__=original, __antscache__=True)
    function.__defaults__ = function.__kwdefaults__ = None
    function.__code__ = _redirected.__code__
    return True


def _redirected(*values: Any, **named: Any) -> Any:
    return _antscache_answer(values, named)  # type: ignore[name-defined]  # noqa: F821  of the getter's module


def is_moved() -> bool:
    """Whether the user has set another cache directory: by set_antsxnet_cache_directory(), from 0.2.9 on."""
    return _cache_directory() is not _default[0]  # the very object: it may be set to what it was


def _cache_directory() -> Any:
    return getattr(sys.modules.get("antspynet.utilities.get_antsxnet_data"), "_antsxnet_cache_directory", None)


def is_elsewhere(asked: dict[str, Any]) -> bool:
    """Whether the caller names a directory or a file name of their own."""
    directories = [asked.get(each) for each in DIRECTORIES]
    return asked.get("target_file_name") is not None or any(each not in NO_DIRECTORY for each in directories)


def is_whole(entry: Entry) -> bool:
    """Whether the file of `entry` is there and has the size that is recorded: a cut one is not computed with."""
    try:
        return entry["path"] is not None and os.stat(entry["path"]).st_size == entry["size"]
    except OSError:
        return False


def note(entry: Entry) -> None:
    """`entry` is in the record of what was asked for, if one is kept: a line, at the end of the file."""
    place = os.environ.get(RECORD)
    if not place:
        return
    path = place.replace("%p", str(os.getpid()))
    line = json.dumps({key: entry[key] for key in NOTED}) + "\n"
    if (path, line) in _noted:
        return
    _noted.add((path, line))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, line.encode())  # at once: lines of processes that write here together do not mix
        finally:
            os.close(file)
    except OSError as error:
        say(f"cannot record what is used: {error}")


def say(what: str) -> None:
    """Tell the user, if anybody listens."""
    with suppress(AttributeError, OSError, ValueError):  # stderr may be None, or closed
        sys.stderr.write(f"antscache: {what}\n")
        sys.stderr.flush()
