"""Redirect the getters of ANTsPyNet and ANTsPy: they return files of antscache's view.

Written for Python 3.8, with the standard library alone: see `antscache_hook`. A call is answered

    for a name that is no entry ("show")     by upstream's function
    with a place of the caller's own         with the file there. antscache is called once to look at it, or to put it
                                             there; and again if it has changed
    for any other name                       with the file in the view, if it exists and has the recorded size; else
                                             antscache is called to fetch and verify it, or to say why it cannot

A place is a directory (set_antsxnet_cache_directory(), or an argument), a file name (target_file_name), or both.

The functions that need weights of Keras's own give Keras the word "imagenet" for them. They are called with the path of
the file in the view in its place, which Keras documents as equivalent: it loads that file, and looks for no other.
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
    from typing import Any, Dict, Optional, Tuple

    Entry = Dict[str, Any]  # the facts of an `EntryLocation` that antscache prints
    FileState = Optional[Tuple[int, int, int, int]]  # device, inode, size, time of change; None: there is no file

COMMAND_VARIABLE, HOOK_VARIABLE = "ANTSCACHE_COMMAND", "ANTSCACHE_HOOK"
OFFLINE_VARIABLE = "ANTSCACHE_OFFLINE"
RECORD_VARIABLE, RELEASE_VARIABLE = "ANTSCACHE_RECORD", "ANTSCACHE_RELEASE"
NO_DIRECTORY_VALUES = (None, "ANTsXNet")  # 0.1.9 to 0.2.2 pass the literal if the caller named no directory
RECORDED_KEYS = ("release", "kind", "name", "file", "identifier", "digest", "size")
ENTRY_KEYS = (*RECORDED_KEYS, "path")
IMAGENET = "imagenet"  # `weights=` of Keras's applications: this word, or the path of a file
LONG_WAIT_SECONDS = 60  # for antscache, until this process says that it waits
ANY_NAME = ""  # the name of the entry that stands for a getter whose names antscache cannot read

_views: dict[tuple[str, str], ViewClient] = {}
_default: list[Any] = [None]  # the directory of antspynet when its getters were redirected
_recorded: set[tuple[str, str]] = set()  # files and lines that this process has written to them
_said: set[str] = set()  # lines that this process has said, and does not repeat


class AntsCacheError(RuntimeError):
    """antscache cannot say where a file is. The text says why, and what to do next."""


class ViewClient:
    """The entries of the package installed in `directory`. antscache is asked once, when they are first needed."""

    def __init__(self, package: str, directory: str, finder: Any) -> None:
        self._package, self._directory, self._finder = package, directory, finder
        self._entries: dict[tuple[str, str], Entry] | None = None
        self._places: dict[tuple[str, str, str], tuple[FileState, Entry]] = {}

    def path(self, kind: str, name: str, arguments: dict[str, Any]) -> str | None:
        """Return the path of an entry's whole file, for a call with `arguments`; fetch it first if necessary.

        Returns:
            None if the release has no such entry.

        Raises:
            AntsCacheError: the file is missing and cannot be fetched; antscache cannot read the entry in the source;
                or the user named a release without the entry.
            TypeError: the caller names a place that is no path.
        """
        if self._entries is None:
            self._entries = self._ask("entries")
        entry = self._entries.get((kind, name))
        if entry is None and name != "show" and (kind, ANY_NAME) in self._entries:
            entry = {**self._entries[kind, ANY_NAME], "name": name}
        if entry is None:
            release = self._environ().get(RELEASE_VARIABLE, "")
            if release.startswith(f"{self._package}==") and name != "show":
                raise self._error(f"{release} has no {kind} {name} that can be fetched\nhint: run without naming it")
            return None
        place = None if kind == "keras" else find_place(self._package, arguments, entry["file"])
        if place is None:
            entry = self._in_view(entry)
        else:
            absolute = place if os.path.isabs(place) else os.path.join(os.getcwd(), place)
            entry = self._in_place(entry, absolute)
            entry = {**entry, "path": place if entry["path"] == absolute else entry["path"]}
        record(entry, self._environ().get(RECORD_VARIABLE))
        return str(entry["path"])

    def forget(self) -> None:
        """Forget the entries: antscache is asked again for the next one."""
        self._entries = None
        self._places.clear()

    def _in_view(self, entry: Entry) -> Entry:
        """Return `entry` with the path of its whole file in the view, or wherever antscache has found it."""
        if not is_complete(entry):
            announce_fetch(entry, self._environ())
            entry = self._fetch(entry)
            if self._entries is not None:
                self._entries[entry["kind"], entry["name"]] = entry
        return entry

    def _in_place(self, entry: Entry, place: str) -> Entry:
        """Return `entry` with the path `place`, which has its whole file afterwards; or else with one in the view.

        antscache is asked once, and again if the file at `place` has changed since.
        """
        key = entry["kind"], entry["name"], place
        state, known = state_of(place), self._places.get(key)
        if known is not None and known[0] == state and is_complete(known[1]):
            return known[1]
        if state is None and not is_complete(entry):
            announce_fetch(entry, self._environ())
        entry = self._fetch(entry, "--to", place)
        self._places[key] = state_of(place), entry
        return entry

    def _fetch(self, entry: Entry, *options: str) -> Entry:
        """Have antscache fetch `entry`, and return it with the path of its file.

        Raises:
            AntsCacheError: antscache cannot do it.
        """
        key = entry["kind"], entry["name"]
        entry = self._ask("fetch", *key, *options).get(key, entry)
        if not is_complete(entry):
            file, path = entry["file"], entry["path"]
            raise self._error(f"antscache says that {file} is present, but it is missing or incomplete: {path}")
        return entry

    def _ask(self, verb: str, *arguments: str) -> dict[tuple[str, str], Entry]:
        """Call `antscache hook VERB PACKAGE DIRECTORY ...`, and return the entries that it prints, by kind and name.

        antscache may live in another environment: no variable for this process's Python is passed on.

        Raises:
            AntsCacheError: antscache cannot be called, fails, or prints something else.
        """
        environ = {key: value for key, value in self._environ().items() if not key.startswith("PYTHON")}
        environ[HOOK_VARIABLE] = "0"
        hint = f"hint: install it again, or go without it: {HOOK_VARIABLE}=0"
        try:
            done, command = self._call(["hook", verb, self._package, self._directory, *arguments], environ)
        except (OSError, TypeError, ValueError, IndexError) as error:
            raise self._error(f"antscache cannot be called: {error}\n{hint}") from None
        stderr = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode != 0:
            if done.returncode < 0:
                stderr += f"\nantscache ({command[0]}) was ended by signal {-done.returncode}\nhint: try again"
            silent = f"antscache ({command[0]}) ended with exit code {done.returncode} and no message\n{hint}"
            raise self._error(stderr.strip() or silent)
        problem = "no entries"
        try:
            entries = _decode_entries(json.loads(done.stdout.decode("utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            entries, problem = {}, repr(error)
        if not entries:
            raise self._error(f"cannot understand the answer of antscache ({command[0]}): {problem}\n{hint}")
        if new := [line for line in stderr.splitlines() if line not in _said]:
            _said.update(new)
            say("\n".join(new))
        return entries

    def _error(self, text: str) -> Exception:
        """Make the error of this process: in a program that imports antscache itself, one of antscache's own."""
        return (self._finder.error or AntsCacheError)(text)

    def _environ(self) -> dict[str, str]:
        """Return the environment. If it has no variable of antscache's, the program has cleared it: they are added."""
        cleared = not any(name.startswith("ANTSCACHE_") for name in os.environ)
        return {**(self._finder.known if cleared else {}), **os.environ}

    def _call(self, arguments: Sequence[str], environ: dict[str, str]) -> Any:
        """Call antscache with `arguments`, and return the ended process and the command that called it.

        The command is ANTSCACHE_COMMAND; if that cannot be started, the one of this environment's hook. In a
        container the variable may come from the host, and name a program that the container does not have.
        """
        named = json.loads(environ.get(COMMAND_VARIABLE) or "[]")
        refusals = []
        for command in filter(None, (named, self._finder.command)):
            try:
                done = _run([*command, *arguments], environ)
            except OSError as error:  # noqa: PERF203
                refusals.append(error)
            else:
                return done, command
        raise refusals[0] if refusals else ValueError(f"{COMMAND_VARIABLE} is not set")


def _run(words: Sequence[str], environ: dict[str, str]) -> Any:
    """Run a command as `subprocess.run` does, and say so if it takes long: a download does, and so does what hangs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        try:
            try:
                out, err = process.communicate(timeout=LONG_WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                shown = " ".join(map(ascii, words))
                say(f"still waiting for process {process.pid} after {LONG_WAIT_SECONDS} s (Ctrl-C ends it): {shown}")
                out, err = process.communicate()
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _decode_entries(answer: list[Entry]) -> dict[tuple[str, str], Entry]:
    return {(entry["kind"], entry["name"]): {key: entry[key] for key in ENTRY_KEYS} for entry in answer}


def forget() -> None:
    """Forget the entries of all packages: another antscache, or another root, may be in use now."""
    for view in _views.values():
        view.forget()


def redirect(module: ModuleType, package: str, kind: str, name: str, finder: Any) -> None:
    """Make the function `name` of `module` return files of the view.

    Raises:
        TypeError: it is not a function whose code can be exchanged.
    """
    view = _view_of(module, package, finder)

    def answer(original: Any, values: Any, named: Any) -> Any:
        arguments = bind_arguments(original, values, named)
        name = arguments.get("file_id")
        path = view.path(kind, name, arguments) if isinstance(name, str) else None
        return original(*values, **named) if path is None else path

    if exchange(module, name, answer) and package == "antspynet":
        current, usual = _cache_directory(), os.path.join(os.path.expanduser("~"), ".keras", "ANTsXNet")
        _default[0] = current if current in (None, usual) else object()  # the user set another one before


def _view_of(module: ModuleType, package: str, finder: Any) -> ViewClient:
    """Return the view of the installation of `package` that has `module`."""
    directory = os.path.abspath(module.__file__ or "")
    for _ in module.__name__.split("."):
        directory = os.path.dirname(directory)
    return _views.setdefault((package, directory), ViewClient(package, directory, finder))


def bind_arguments(function: Any, values: Any, named: Any) -> dict[str, Any]:
    """Return the arguments of a call by name; none, if `function` does not take them."""
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    arguments = dict(zip(parameters, values))
    if len(values) > len(parameters) or any(key in arguments or key not in parameters for key in named):
        return {}
    return {**arguments, **named}


def redirect_weights(module: ModuleType, name: str, weights: str, finder: Any) -> None:
    """Make the function `name` of `module` have Keras load its own `weights` from the view.

    Leave it alone if it is not the function that was expected.
    """
    view = _view_of(module, "antspynet", finder)

    def answer(original: Any, values: Any, named: Any) -> Any:
        path = view.path("keras", weights, {})
        return (original if path is None else replace_imagenet(original, path))(*values, **named)

    with suppress(TypeError):
        check(module, name)
        replace_imagenet(getattr(module, name), "")
        exchange(module, name, answer)


def replace_imagenet(function: Any, path: str) -> Any:
    """Return a copy of `function` that says `path` where it says "imagenet".

    Raises:
        TypeError: it says that nowhere.
    """
    code = function.__code__
    constants = tuple(path if type(each) is str and each == IMAGENET else each for each in code.co_consts)
    if constants == code.co_consts:
        raise TypeError(f"{function.__name__} does not say {IMAGENET}")
    copy: Any = FunctionType(
        code.replace(co_consts=constants), function.__globals__, function.__name__, function.__defaults__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def check(module: ModuleType, name: str) -> None:
    """Check that `module` has a function `name` whose code can be exchanged.

    Raises:
        TypeError: it has none.
    """
    function: Any = getattr(module, name, None)
    if type(function) is not FunctionType or function.__closure__ or not module.__file__:
        raise TypeError(f"{name} is not the function that was expected")


def exchange(module: ModuleType, name: str, answer: Any) -> bool:
    """Make every call of the function `name` of `module` call `answer(original, values, named)`.

    Exchanges the code of the function, which stays the same object: so references from before see the change too.

    Returns:
        False if its code had been exchanged already; nothing has changed.

    Raises:
        TypeError: it is not a function whose code can be exchanged.
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
    """Return True if the user has set another cache directory: set_antsxnet_cache_directory(), from 0.2.9 on."""
    return _cache_directory() is not _default[0]  # identity: the user may have set an equal one


def _cache_directory() -> Any:
    return getattr(sys.modules.get("antspynet.utilities.get_antsxnet_data"), "_antsxnet_cache_directory", None)


def find_place(package: str, arguments: dict[str, Any], file: str) -> str | None:
    """Return the path where upstream looks for `file` if the caller names a directory or a file name; else None.

    Raises:
        TypeError: what the caller names is no path.
    """
    target = arguments.get("target_file_name")
    if package == "antspyx":  # which puts the directory before its own file names as it is, with or without a slash
        directory = arguments.get("antsx_cache_directory")
        if target is None:
            return None if directory is None else os.fsdecode(directory) + file
        return os.fsdecode(target)
    directory = arguments.get("antsxnet_cache_directory")
    keras = os.path.join(os.path.expanduser("~"), ".keras")
    if directory in NO_DIRECTORY_VALUES:
        if target is None and not is_moved():
            return None
        directory = _cache_directory() or os.path.join(keras, "ANTsXNet")
    path = os.path.join(os.fsdecode(directory), file if target is None else os.fsdecode(target))
    return path if os.path.exists(path) else os.path.join(keras, path)  # Keras makes a relative path there


def announce_fetch(entry: Entry, environ: dict[str, str]) -> None:
    """Say that the file of `entry` is about to be fetched, if it can be, unless this process has said so."""
    line = f"getting {entry['file']} of {entry['release']}"
    offline = environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes", "on")
    if entry["identifier"] and not offline and line not in _said:
        _said.add(line)
        say(line)


def state_of(path: str) -> FileState:
    """Return the state of the file at `path`, which changes with its bytes; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_complete(entry: Entry) -> bool:
    """Return True if the file of `entry` exists and has the recorded size: nothing is computed with a cut file."""
    try:
        return entry["path"] is not None and os.stat(entry["path"]).st_size == entry["size"]
    except OSError:
        return False


def record(entry: Entry, template: str | None) -> None:
    """Append a line for `entry` to the file that `template`, ANTSCACHE_RECORD, names: once in a process.

    A file that cannot be written to is reported to the user, and stops nobody.
    """
    if not template or not entry["identifier"]:  # what has no identifier cannot be fetched by a record
        return
    path = template.replace("%p", str(os.getpid()))
    line = json.dumps({key: entry[key] for key in RECORDED_KEYS}) + "\n"
    if (path, line) in _recorded:
        return
    _recorded.add((path, line))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, line.encode())  # in one call, so that the lines of several processes do not mix
        finally:
            os.close(file)
    except OSError as error:
        say(f"cannot write the record of used entries: {error}")


def say(message: str) -> None:
    """Write `message` to stderr, if there is one."""
    with suppress(AttributeError, OSError, ValueError):  # stderr may be None, or closed
        sys.stderr.write(f"antscache: {message}\n")
        sys.stderr.flush()
