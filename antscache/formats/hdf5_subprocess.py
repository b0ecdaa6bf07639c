"""A scanner of HDF5 files, which uses h5py in a subprocess with limits of time and memory.

Even undamaged files can be unsafe: CVE-2026-1669 (links and datasets that read other files), CVE-2025-1550 and
CVE-2025-9905 (code in a network's configuration). `hdf5_hazards.py` finds these hazards. h5py is C code that untrusted
bytes control, so it runs in a process that can be killed, and never in this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from antscache.core import Finding
from antscache.errors import AntsCacheError
from antscache.formats import hdf5_hazards, keras_classes
from antscache.formats.forms import FormError

FILE_TIMEOUT_SECONDS = 30.0  # for one file, of real time and of processor time; MAX_LINKS links take some seconds
START_TIMEOUT_SECONDS = 120.0  # until h5py is imported: its files may be on a slow disk
MAX_MEMORY_BYTES = 2 << 30  # of address space; h5py starts with 120 MB, and no dataset is read
MAX_ANSWER_BYTES = 1 << 16  # the answers of `hdf5_hazards.py` are shorter
KILL_WAIT_SECONDS = 1.0  # for a killed process to end
CHILD_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # no plugins: H5PL_NO_PLUGIN in H5PLpublic.h
    "HDF5_USE_FILE_LOCKING": "FALSE",  # reading needs no lock, and some filesystems have none
    "MKL_NUM_THREADS": "1",  # otherwise the import of numpy starts a thread for each core
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
ALLOWED_NAMES = {
    "classes": sorted(keras_classes.KERAS_CLASSES),
    "functions": sorted(keras_classes.FUNCTIONS),
    "own_layers": sorted(keras_classes.ANTSPYNET_LAYERS),
    "tensorflow": sorted(keras_classes.TENSORFLOW_FUNCTIONS),
}
INHERITED_VARIABLES = ("LD_LIBRARY_PATH",)  # on some clusters Python does not start without it


class ScannerError(AntsCacheError):
    """h5py does not work here, so no file can be scanned."""


class _NoAnswerError(Exception):
    """The subprocess does not answer; `str()` gives the reason."""


def _place(package: str) -> str | None:
    """Return the directory that `package` would be imported from, or None if it is not installed."""
    spec = importlib.util.find_spec(package)
    return str(Path(spec.origin).parents[1]) if spec and spec.origin else None


class Hdf5Scanner:
    """A scanner of HDF5 files in one subprocess, which starts with the first file and serves all others.

    Thread-safe; it scans one file at a time. Close it after use. If this process ends without that, the subprocess ends
    too.
    """

    def __init__(self, *, seconds: float = FILE_TIMEOUT_SECONDS, memory: int = MAX_MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False

    def start(self) -> None:
        """Start the subprocess, which the first scan does otherwise.

        Raises:
            ScannerError: no subprocess can be started, or h5py does not work in it.
        """
        with self._lock, suppress(_NoAnswerError):  # it was closed
            self._process = self._process or self._start()

    def scan(self, path: Path) -> tuple[Finding, ...]:
        """Return the findings in the file at `path`: of each kind at most five, and the number of the others.

        Raises:
            FormError: the file cannot be scanned: the HDF5 library refuses it, or the scanner died, took too long or
                was closed. The next file gets a new subprocess.
            ScannerError: no subprocess can be started, or h5py does not work in it.
        """
        answer = self._ask(path)
        findings = tuple(Finding(kind, text) for kind, text in answer["findings"])
        return (*findings, *(Finding(kind, f"{count} more") for kind, count in answer["more"].items() if count))

    def keras_version(self, path: Path) -> str:
        """Return the version of Keras that wrote the network at `path`, as the file says; empty if it does not.

        Raises:
            FormError, ScannerError: as `scan` does.
        """
        return str(self._ask(path)["keras"])

    def close(self) -> None:
        """End the subprocess at once, even while it scans a file for another thread. No other one is started."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._lock:
            self._end()

    def _ask(self, path: Path) -> dict[str, Any]:
        """Return the subprocess's answer about the file at `path`."""
        with self._lock:
            try:
                return self._answer(path)
            except BaseException:  # the library may be damaged, or an answer may still be unread
                self._end()
                raise

    def _answer(self, path: Path) -> dict[str, Any]:
        if self._process and not self._process.alive:
            self._end()  # it was killed after the last file, so this file is not the cause
        try:
            process = self._process or self._start()
            answer = process.ask(str(path.absolute()), self._seconds)
        except _NoAnswerError as error:
            answer = {"refused": "the scan was interrupted" if self._closed else str(error)}
        if "refused" in answer:
            raise FormError(f"an HDF5 file that cannot be scanned: {answer['refused']}")
        return answer

    def _start(self) -> _Process:
        """Start a subprocess, and return it once it has imported h5py."""
        try:
            self._process = process = _Process(self._memory, self._seconds)
            greeting = {} if self._closed else process.read_answer(START_TIMEOUT_SECONDS)
        except (OSError, _NoAnswerError) as error:
            greeting = {"broken": str(error)}
        if self._closed:
            raise _NoAnswerError
        if "broken" in greeting:
            raise ScannerError(
                f"h5py cannot be used to scan HDF5 files: {greeting['broken']}",
                hint=f"run `{sys.executable} -m pip install --force-reinstall h5py`",
            )
        return process

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None


class _Process:
    """A process that runs `hdf5_hazards.py`, and the socket to it; the process ends when the socket closes."""

    def __init__(self, memory: int, seconds: float) -> None:
        places = dict.fromkeys(place for place in (_place("h5py"), _place("numpy")) if place)
        self._line, its_end = socket.socketpair()
        try:
            # Isolated (-I) from the environment and the working directory, and (-S) from the code in .pth files; in a
            # session of its own, so that Ctrl-C does not reach it.
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", hdf5_hazards.__file__, str(memory), str(seconds), *places],
                stdin=its_end.fileno(),
                stdout=its_end.fileno(),
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=CHILD_ENVIRONMENT | {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ},
                start_new_session=True,
            )
        except OSError:
            self._line.close()
            raise
        finally:
            its_end.close()
        self._lines = self._line.makefile("rb")
        with suppress(ConnectionError):  # the process is dead, and `read_answer` finds the cause
            self._line.sendall(json.dumps(ALLOWED_NAMES).encode() + b"\n")

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, path: str, seconds: float) -> dict[str, Any]:
        """Ask for a scan of the file at `path`, and return the answer.

        Raises:
            _NoAnswerError: no answer came in `seconds`, or the process died.
        """
        with suppress(ConnectionError):  # the process is dead, and `read_answer` finds the cause
            self._line.sendall(json.dumps(path).encode() + b"\n")
        return self.read_answer(seconds)

    def read_answer(self, seconds: float) -> dict[str, Any]:
        """Return the next answer of the process.

        Raises:
            _NoAnswerError: no answer came in `seconds`, or the process died.
        """
        self._line.settimeout(seconds)
        try:
            answer: dict[str, Any] = json.loads(self._lines.readline(MAX_ANSWER_BYTES))
        except TimeoutError:
            raise _NoAnswerError(f"the scan takes more than {seconds:g} s") from None
        except (ConnectionError, ValueError):
            self.end()
            raise _NoAnswerError(f"the scanner died: {self._cause_of_death()}") from None
        return answer

    def _cause_of_death(self) -> str:
        """Return the exit status of the process, or the signal that killed it (one means too much processor time)."""
        code = self._popen.returncode
        return f"exit status {code}" if code is None or code >= 0 else str(signal.strsignal(-code))

    def kill(self) -> None:
        """Kill the process, so that a thread that waits for its answer stops waiting."""
        self._popen.kill()

    def end(self) -> None:
        """End the process, unless it waits for a dead disk and cannot be killed, and close the socket to it."""
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(KILL_WAIT_SECONDS)
        self._lines.close()
        self._line.close()
