"""HDF5 files looked through before they are trusted, with h5py where it is at hand, in a subprocess that is held short.

Bytes that are what was promised can still be unsafe: CVE-2026-1669 (links and datasets that read other files),
CVE-2025-1550 (code in a network's configuration). `hdf5_hazards.py` tells what is looked for. h5py is C code that the
file's bytes steer, so it runs in a process that can be killed, and never in this one.
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

from antscache.errors import AntsCacheError
from antscache.formats import hdf5_hazards
from antscache.formats.forms import FormError

SECONDS = 30.0  # for one file, on the clock and of the processor; the most that is looked at takes some seconds
STARTING = 120.0  # seconds until h5py is imported: its own files may come from a slow disk
MEMORY = 2 << 30  # bytes of address space; h5py starts with 120 MB, and no dataset is read
LONGEST = 1 << 16  # bytes of an answer; the worker's own are shorter
FAREWELL = 1.0  # seconds that a process has to be gone
ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # no plugins: H5PL_NO_PLUGIN in H5PLpublic.h
    "HDF5_USE_FILE_LOCKING": "FALSE",  # a file that is only read needs no lock, and some filesystems have none
    "MKL_NUM_THREADS": "1",  # or numpy's import starts a thread a core
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
INHERITED = ("LD_LIBRARY_PATH",)  # without it some clusters' Python does not start


class ScannerError(AntsCacheError):
    """h5py is installed and cannot be used; nothing is known about any file."""


class _SilenceError(Exception):
    """The walker does not answer; `str()` says why."""


def is_h5py_installed() -> bool:
    """Whether h5py is installed where this runs. It is not imported."""
    return _place("h5py") is not None


def _place(package: str) -> str | None:
    """The directory that a package would be imported from."""
    spec = importlib.util.find_spec(package)
    return str(Path(spec.origin).parents[1]) if spec and spec.origin else None


class Hdf5Scanner:
    """Walks HDF5 files in one subprocess that is started at the first file and serves the rest.

    Thread-safe, one file at a time. Close it; when this process ends otherwise, the subprocess ends as well.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False

    def walk(self, path: Path) -> tuple[str, ...]:
        """The hazards in the file at `path`, in words: none if it is empty, five and a count if there are many.

        Raises:
            FormError: it cannot be walked: the HDF5 library refuses it, or the walker died on it, took too long or was
                closed. The next file gets a fresh subprocess.
            ScannerError: no worker can be started.
        """
        with self._lock:
            try:
                return self._walk(path)
            except BaseException:  # what the file did to the library, or an interruption left unheard, nobody knows
                self._end()
                raise

    def close(self) -> None:
        """End the subprocess at once, even while it walks a file for another thread. No other is started."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._lock:
            self._end()

    def _walk(self, path: Path) -> tuple[str, ...]:
        if self._process and not self._process.alive:
            self._end()  # it was killed since the last file, which is not this file's fault
        try:
            process = self._process or self._start()
            answer = process.ask(str(path.absolute()), self._seconds)
        except _SilenceError as silence:
            answer = {"refused": "it was broken off" if self._closed else str(silence)}
        if "refused" in answer:
            raise FormError(f"an HDF5 file that cannot be walked: {answer['refused']}")
        return (*answer["hazards"], *([f"{answer['more']} more"] if answer["more"] else []))

    def _start(self) -> _Process:
        """A subprocess that has imported h5py."""
        try:
            self._process = process = _Process(self._memory, self._seconds)
            greeting = {} if self._closed else process.hear(STARTING)
        except (OSError, _SilenceError) as error:
            greeting = {"broken": str(error)}
        if self._closed:
            raise _SilenceError
        if "broken" in greeting:
            raise ScannerError(
                f"h5py cannot be used to look into HDF5 files: {greeting['broken']}",
                hint="install h5py anew, or uninstall it to go without",
            )
        return process

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None


class _Process:
    """One `hdf5_hazards.py`, and the line to it: when this end is gone, it ends."""

    def __init__(self, memory: int, seconds: float) -> None:
        places = dict.fromkeys(place for place in (_place("h5py"), _place("numpy")) if place)
        self._line, its_end = socket.socketpair()
        try:
            # Isolated (-I) from the environment and the working directory, and from what .pth files execute (-S); in a
            # session of its own, so that Ctrl-C does not reach it.
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", hdf5_hazards.__file__, str(memory), str(seconds), *places],
                stdin=its_end.fileno(),
                stdout=its_end.fileno(),
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=ENVIRONMENT | {name: os.environ[name] for name in INHERITED if name in os.environ},
                start_new_session=True,
            )
        except OSError:
            self._line.close()
            raise
        finally:
            its_end.close()
        self._lines = self._line.makefile("rb")

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, path: str, seconds: float) -> dict[str, Any]:
        """What it says about the file at `path`.

        Raises:
            _SilenceError: nothing, in time.
        """
        with suppress(ConnectionError):  # it is dead, and of what is found out by listening
            self._line.sendall(json.dumps(path).encode() + b"\n")
        return self.hear(seconds)

    def hear(self, seconds: float) -> dict[str, Any]:
        """What it says next.

        Raises:
            _SilenceError: nothing, in time.
        """
        self._line.settimeout(seconds)
        try:
            said: dict[str, Any] = json.loads(self._lines.readline(LONGEST))
        except TimeoutError:
            raise _SilenceError(f"it takes more than {seconds:g} s") from None
        except (ConnectionError, ValueError):
            self.end()
            raise _SilenceError(f"the walker died: {self._death()}") from None
        return said

    def _death(self) -> str:
        """What it died of. A signal tells: there is one for too much of the processor's time."""
        code = self._popen.returncode
        return f"exit status {code}" if code is None or code >= 0 else str(signal.strsignal(-code))

    def kill(self) -> None:
        """It ends soon; whoever waits for its answer waits no longer."""
        self._popen.kill()

    def end(self) -> None:
        """It is gone, unless the system cannot kill it (a disk that does not answer)."""
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(FAREWELL)
        self._lines.close()
        self._line.close()
