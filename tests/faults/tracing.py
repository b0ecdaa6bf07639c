"""Run a command in a process of its own, list its calls that change a box, and kill it at a given one.

This uses ptrace(2), as strace does. strace itself does not serve: it counts calls by thread and by name
(`-e inject=fsync:when=3` is the main thread's third fsync, and a fetch happens in another thread). Here all calls of
all threads are one sequence.

A process is killed when it enters a call, before the call does anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from faults.disk import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

POSSIBLE = sys.platform == "linux" and platform.machine() == "x86_64"  # the numbers of system calls below are its own

# sys/ptrace.h, linux/ptrace.h
_TRACEME, _SETOPTIONS, _SYSCALL, _GET_SYSCALL_INFO = 0, 0x4200, 24, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000  # TRACESYSGOOD, FORK, VFORK, CLONE, EXEC; EXITKILL
_ENTRY, _EXIT = 1, 2
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_WALL = 0x40000000
_AT_FDCWD = -100
_FICLONE = 0x40049409

# asm/unistd_64.h: calls that change a disk, by the positions of their arguments: a path, or a directory and a path
# ("at"), or an open file ("fd").
_CALLS = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    296: "pwritev",
    40: "sendfile",
    326: "copy_file_range",
    16: "ioctl",
    2: "open",
    85: "creat",
    257: "openat",
    437: "openat2",
    82: "rename",
    264: "renameat",
    316: "renameat2",
    86: "link",
    265: "linkat",
    87: "unlink",
    263: "unlinkat",
    83: "mkdir",
    258: "mkdirat",
    84: "rmdir",
    88: "symlink",
    266: "symlinkat",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    285: "fallocate",
    90: "chmod",
    91: "fchmod",
    268: "fchmodat",
    452: "fchmodat2",
    280: "utimensat",
}


class _Info(ctypes.Structure):
    """ptrace_syscall_info; at an exit, `number` is the result of the call."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_int64),
        ("arguments", ctypes.c_uint64 * 6),
    )


@dataclass(frozen=True, slots=True)
class TracedRun:
    """The calls of an ended process.

    Attributes:
        operations: its successful changes to the box.
        entered: the number of each of them in the sequence of all entered calls, from one; the others failed.
        code: its exit code; None if it was killed.
    """

    operations: tuple[Operation, ...]
    entered: tuple[int, ...]
    code: int | None


@dataclass(slots=True)
class _Follower:
    """One run of `follow`."""

    box: str
    kill_at: int | None
    pid: int
    entered: int = 0
    finished: list[tuple[int, Operation]] = field(default_factory=list)
    _pending: dict[int, tuple[int, Operation]] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _info: _Info = field(default_factory=_Info)

    def follow(self) -> int | None:
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSTOPPED(status):
            raise PermissionError(errno.EPERM, "ptrace(2) is refused here")
        _ptrace(_SETOPTIONS, self.pid, 0, _OPTIONS)
        self._known.add(self.pid)
        _ptrace(_SYSCALL, self.pid, 0, 0)
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._stopped(thread, os.WSTOPSIG(status), status >> 16)
            elif thread == self.pid:  # reported after all other threads
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None

    def _stopped(self, thread: int, why: int, event: int) -> None:
        deliver = 0
        if why == _SYSCALL_STOP:
            self._call(thread)
        elif why == signal.SIGSTOP and thread not in self._known:
            self._known.add(thread)  # a new thread begins with this signal
        elif not event:
            deliver = why
        with suppress(ProcessLookupError):  # it was killed
            _ptrace(_SYSCALL, thread, 0, deliver)

    def _call(self, thread: int) -> None:
        try:
            _ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(_Info), ctypes.addressof(self._info))
        except ProcessLookupError:
            return
        if self._info.op == _ENTRY and self._info.number in _CALLS:
            call = _Call(thread, _CALLS[self._info.number], tuple(self._info.arguments), self.box)
            operation = call.operation()
            if operation:
                self.entered += 1
                if self.entered == self.kill_at:
                    os.kill(self.pid, signal.SIGKILL)
                self._pending[thread] = self.entered, operation
        elif self._info.op == _EXIT and thread in self._pending:
            number, operation = self._pending.pop(thread)
            if self._info.number >= 0:
                self.finished.append((number, _finished(operation, thread, self._info.number, self.box)))


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that a thread has entered."""

    thread: int
    name: str
    arguments: tuple[int, ...]
    box: str

    def operation(self) -> Operation | None:
        """Return the change that the call makes to the box; None if it makes none.

        Raises:
            NotImplementedError: the simulated disk does not know the call.
        """
        return getattr(self, f"_{self.name}", self._unknown)()

    def _unknown(self) -> Operation | None:
        for index in (0, 1, 2):
            if self._open_file(index) is not None and self.name != "ioctl":
                raise NotImplementedError(f"{self.name} in {self.box}: the simulated disk does not know it")
        return None

    # Open files

    def _open_file(self, index: int) -> tuple[str, int] | None:
        """Return the path in the box by which a file was opened, and its inode; None for a file outside."""
        link = f"/proc/{self.thread}/fd/{_signed(self.arguments[index])}"
        try:
            path = os.readlink(link)  # noqa: PTH115
            if not (path == self.box or path.startswith(self.box + "/")):
                return None
            return path[len(self.box) + 1 :], os.stat(link).st_ino  # noqa: PTH116
        except OSError:
            return None

    def _written(self, at: int | None) -> Operation | None:
        if (file := self._open_file(0)) is None:
            return None
        if at is None:
            at = int(Path(f"/proc/{self.thread}/fdinfo/{self.arguments[0]}").read_text().split()[1])
        content = self._memory(self.arguments[1], self.arguments[2])
        return Operation("write", file[0], inode=file[1], at=at, content=content)

    def _write(self) -> Operation | None:
        return self._written(None)

    def _pwrite64(self) -> Operation | None:
        return self._written(self.arguments[3])

    def _fsync(self) -> Operation | None:
        file = self._open_file(0)
        return Operation("sync", file[0], inode=file[1]) if file else None

    _fdatasync = _fsync

    def _ftruncate(self) -> Operation | None:
        file = self._open_file(0)
        return Operation("truncate", file[0], inode=file[1], at=self.arguments[1]) if file else None

    def _fchmod(self) -> Operation | None:
        file = self._open_file(0)
        return Operation("chmod", file[0], inode=file[1], mode=self.arguments[1]) if file else None

    def _ioctl(self) -> Operation | None:
        """Return a clone as one write of all bytes of its source."""
        file = self._open_file(0) if self.arguments[1] == _FICLONE else None
        if file is None:
            return None
        content = Path(f"/proc/{self.thread}/fd/{self.arguments[2]}").read_bytes()
        return Operation("write", file[0], inode=file[1], content=content)

    # Paths

    def _path(self, index: int, directory: int | None = None) -> str | None:
        """Return the path in the box that an argument names, relative to the directory that another one has open."""
        path = self._text(self.arguments[index])
        if not path.startswith("/"):
            number = _AT_FDCWD if directory is None else _signed(self.arguments[directory])
            where = "cwd" if number == _AT_FDCWD else f"fd/{number}"
            path = f"{os.readlink(f'/proc/{self.thread}/{where}')}/{path}"  # noqa: PTH115
        path = os.path.normpath(path)
        return path[len(self.box) + 1 :] if path.startswith(self.box + "/") else None

    def _opened(self, path: str | None, flags: int) -> Operation | None:
        if path is None or not flags & (os.O_CREAT | os.O_TRUNC):
            return None
        if flags & os.O_TRUNC and not flags & os.O_EXCL and Path(self.box, path).exists():
            return Operation("truncate", path)
        return Operation("create", path)

    def _open(self) -> Operation | None:
        return self._opened(self._path(0), self.arguments[1])

    def _openat(self) -> Operation | None:
        return self._opened(self._path(1, 0), self.arguments[2])

    def _named(self, verb: str, path: str | None, other: str | None) -> Operation | None:
        if path is None and other is None:
            return None
        if path is None or other is None:
            raise NotImplementedError(f"a {verb} that leads out of the box")
        return Operation(verb, path, other)  # type: ignore[arg-type]

    def _rename(self) -> Operation | None:
        return self._named("rename", self._path(0), self._path(1))

    def _renameat(self) -> Operation | None:
        return self._named("rename", self._path(1, 0), self._path(3, 2))

    _renameat2 = _renameat

    def _link(self) -> Operation | None:
        return self._named("link", self._path(0), self._path(1))

    def _linkat(self) -> Operation | None:
        return self._named("link", self._path(1, 0), self._path(3, 2))

    def _symlink(self) -> Operation | None:
        path = self._path(1)
        return Operation("symlink", path, self._text(self.arguments[0])) if path is not None else None

    def _symlinkat(self) -> Operation | None:
        path = self._path(2, 1)
        return Operation("symlink", path, self._text(self.arguments[0])) if path is not None else None

    def _unlink(self) -> Operation | None:
        path = self._path(0)
        return Operation("unlink", path) if path is not None else None

    def _unlinkat(self) -> Operation | None:
        path = self._path(1, 0)
        return Operation("unlink", path) if path is not None else None

    def _rmdir(self) -> Operation | None:
        path = self._path(0)
        return Operation("rmdir", path) if path is not None else None

    def _mkdir(self) -> Operation | None:
        path = self._path(0)
        return Operation("mkdir", path) if path is not None else None

    def _mkdirat(self) -> Operation | None:
        path = self._path(1, 0)
        return Operation("mkdir", path) if path is not None else None

    def _chmod(self) -> Operation | None:
        path = self._path(0)
        return Operation("chmod", path, mode=self.arguments[1]) if path is not None else None

    def _fchmodat(self) -> Operation | None:
        path = self._path(1, 0)
        return Operation("chmod", path, mode=self.arguments[2]) if path is not None else None

    _fchmodat2 = _fchmodat

    def _utimensat(self) -> Operation | None:
        if self.arguments[1] == 0:
            file = self._open_file(0)
            return Operation("utime", file[0]) if file else None
        path = self._path(1, 0)
        return Operation("utime", path) if path is not None else None

    # The process's memory

    def _memory(self, address: int, size: int) -> bytes:
        memory = os.open(f"/proc/{self.thread}/mem", os.O_RDONLY)
        try:
            return os.pread(memory, size, address)
        finally:
            os.close(memory)

    def _text(self, address: int) -> str:
        """Return the string at `address`, up to its zero. Pages are read one by one: the next one may not exist."""
        text = b""
        while b"\0" not in text:
            text += self._memory(address + len(text), 4096 - (address + len(text)) % 4096)
        return os.fsdecode(text.partition(b"\0")[0])


def _finished(operation: Operation, thread: int, result: int, box: str) -> Operation:
    """Return `operation` with the facts that are known only after it: inode, mode, bytes written."""
    if operation.verb == "create":
        status = os.stat(f"/proc/{thread}/fd/{result}")  # noqa: PTH116
        return replace(operation, inode=status.st_ino, mode=stat.S_IMODE(status.st_mode))
    if operation.verb in {"mkdir", "symlink"}:
        status = os.lstat(f"{box}/{operation.path}")
        return replace(operation, inode=status.st_ino, mode=stat.S_IMODE(status.st_mode))
    if operation.verb == "write" and result and len(operation.content) > result:
        return replace(operation, content=operation.content[:result])
    return operation


def _signed(argument: int) -> int:
    """Return an argument as the signed int that it is."""
    return ctypes.c_int32(argument & 0xFFFFFFFF).value


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def follow(start: Callable[[], NoReturn], box: Path, kill_at: int | None = None) -> TracedRun:
    """Run `start` in a process of its own, and kill it when it enters its call number `kill_at` that changes `box`.

    All its threads have ended afterwards. Other children of the caller must not end meanwhile.

    Raises:
        PermissionError: this system refuses ptrace(2).
    """
    pid = os.fork()
    if not pid:
        try:
            _ptrace(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            start()
        finally:
            os._exit(1)
    follower = _Follower(str(box), kill_at, pid)
    code = follower.follow()
    finished = follower.finished
    return TracedRun(tuple(operation for _, operation in finished), tuple(number for number, _ in finished), code)
