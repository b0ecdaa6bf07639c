"""antscache processes of other users, with real user ids, groups and umasks.

Each is a fork of one process that imports everything while it is still root: the interpreter may be in a directory that
only root can read.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from support import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
PRELOADED_MODULES = (
    "encodings.ascii",
    "encodings.idna",
    "netrc",
    "http.cookiejar",
    "rich.progress",
    "rich.console",
    "requests",
    "urllib3",
    "uuid",
)


@dataclass
class Forks:
    """A process that forks others. Only one thread at a time may ask it."""

    process: subprocess.Popen[str]

    def ask(self, **question: Any) -> Any:
        """Send a question, and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    """Start a process that forks others, and end it with the `with` block."""
    command = [sys.executable, "-m", "support.members"]
    with subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class User:
    """A user of this host, with a home of their own.

    Attributes:
        groups: numbers of their groups; new files belong to the first.
    """

    forks: Forks
    number: int
    groups: tuple[int, ...]
    umask: int
    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str | Path, **environ: str | Path) -> Ran:
        """Run antscache with these arguments to its end."""
        return self.wait(self.start(*arguments, **environ))

    def run(self, code: str) -> Ran:
        """Run this Python code to its end."""
        return self.wait(self.start_code(code, ()))

    def start(self, *arguments: str | Path, **environ: str | Path) -> int:
        """Start antscache with these arguments, and return its process id."""
        return self.start_code("from antscache.cli import main; main()", arguments, environ)

    def start_code(
        self, code: str, arguments: tuple[str | Path, ...], environ: dict[str, str | Path] | None = None
    ) -> int:
        """Start this Python code with these arguments, and return its process id."""
        started: int = self.forks.ask(
            do="fork",
            user=self.number,
            groups=self.groups,
            umask=self.umask,
            home=str(self.home),
            environ={**self.environ, **{key: str(value) for key, value in (environ or {}).items()}},
            code=code,
            arguments=[str(argument) for argument in arguments],
        )
        return started

    def wait(self, process: int) -> Ran:
        """Wait until a started process has ended, and return its outcome."""
        code = self.forks.ask(do="wait", process=process)
        out, err = ((self.home / f"{process}.{stream}").read_text() for stream in ("out", "err"))
        assert "Traceback" not in err, err
        return Ran(code, out, err)


def _serve() -> None:
    import antscache

    for module in pkgutil.walk_packages(antscache.__path__, "antscache."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in PRELOADED_MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(question["process"], 0)[1])
        elif not (answer := os.fork()):
            _become(question)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(question: dict[str, Any]) -> NoReturn:
    """Turn this process into the user of `question`, and run its code to the end."""
    for number, stream in ((1, "out"), (2, "err")):
        path = Path(question["home"]) / f"{os.getpid()}.{stream}"
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setgroups(question["groups"])
    os.setgid(question["groups"][0])
    os.setuid(question["user"])
    os.umask(question["umask"])
    os.chdir(question["home"])
    os.environ.clear()
    os.environ.update(question["environ"] | {"HOME": question["home"], "PATH": os.defpath})
    sys.argv = ["antscache", *question["arguments"]]
    code: Any = 0
    try:
        exec(question["code"], {})  # noqa: S102  a test's own code
    except SystemExit as exit_:
        code = exit_.code or 0
    except BaseException:  # noqa: BLE001  as an interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS.parent))
    _serve()
