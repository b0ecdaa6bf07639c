"""Standard streams that are closed, full or broken: the work is done, and lost data is an error of its own."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, TEMPLATE, Ran

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

LOST = "error: cannot write to stdout: "
REDIRECTIONS_OF_STDERR = ["2>&-", "2>/dev/full", "2> >(exec <&-)"]


def in_shell(antscache: AntsCache, arguments: str, redirection: str, **environ: str) -> Ran:
    """Run a command in bash with its streams redirected; its exit code, though it is in a pipe."""
    command = f"{shlex.join(antscache.command())} {arguments} {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=antscache.environment(**environ),
        cwd=antscache.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "internal error" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("redirection", REDIRECTIONS_OF_STDERR)
def test_talk_that_nobody_takes_stops_nothing(antscache: AntsCache, redirection: str) -> None:
    assert in_shell(antscache, f"prefetch 0.3.2 --name {BRAIN}", redirection).code == 0
    assert in_shell(antscache, "verify", redirection).code == 0
    assert in_shell(antscache, "run 0.3.2 -- true", redirection).code == 0
    assert in_shell(antscache, "prefetch 0.3.2 --name nonsense", redirection).code == 3


@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")], ids=["closed", "full"]
)
@pytest.mark.parametrize("environ", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_data_that_nobody_takes_is_an_error(
    antscache: AntsCache, redirection: str, why: str, environ: dict[str, str]
) -> None:
    """All releases are fetched before."""
    ran = in_shell(antscache, f"prefetch 0.3.2 0.2.9 --name {TEMPLATE}", redirection, **environ)
    assert (ran.code, LOST + why in ran.err) == (1, True), ran.err
    assert "1 of 211 files" in antscache("status").succeeded().out
    antscache("path", "0.2.9").succeeded()
    for arguments in "list 0.3.2", "list 0.3.2 --json", "path --root", "--version", "list --help":
        ran = in_shell(antscache, arguments, redirection, **environ)
        assert (ran.code, LOST + why in ran.err) == (1, True), arguments


def test_a_command_runs_without_stdout(antscache: AntsCache, tmp_path: Path) -> None:
    """It finds it closed, as the shell wants it."""
    witness = tmp_path / "witness"
    script = f"test -e /proc/self/fd/1 || touch {shlex.quote(str(witness))}"
    assert in_shell(antscache, f"run 0.3.2 -- sh -c {shlex.quote(script)}", ">&-").code == 0
    assert witness.exists() or sys.platform != "linux"


def test_no_file_takes_the_place_of_a_stream(antscache: AntsCache) -> None:
    """With all three closed, the next files that are opened would be descriptors 0 to 2."""
    assert in_shell(antscache, f"prefetch 0.3.2 --name {BRAIN}", "<&- >&- 2>&-").code == 1
    antscache("verify", "--deep").succeeded()
    assert "nothing to fetch" in antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded().err


def test_a_reader_may_leave(antscache: AntsCache) -> None:
    """The work goes on without a word, and the exit code tells that data was lost, as programs of the shell do."""
    ran = in_shell(antscache, f"prefetch 0.3.2 0.2.9 --name {TEMPLATE} -q", "| (exec <&-)")
    assert (ran.code, ran.err) == (1, "")
    antscache("path", "0.2.9").succeeded()


def test_what_a_program_printed_before_comes_first(antscache: AntsCache) -> None:
    """In a pipe Python keeps it back."""
    code = "import sys; print('before'); from antscache.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "path", "--root"],
        env=antscache.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["before", str(antscache.root)]


INTERRUPTED_IMPORT = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
raise SystemExit("not interrupted")
"""


@pytest.mark.parametrize("module", ["click", "msgspec", "rich.progress"])
def test_an_interrupted_import_is_no_traceback(antscache: AntsCache, tmp_path: Path, module: str) -> None:
    """The program ends by the signal, as shells expect it."""
    place = tmp_path / "planted" / module.replace(".", "/")
    place.parent.mkdir(parents=True)
    (place.parent / "__init__.py").touch()
    place.with_suffix(".py").write_text(INTERRUPTED_IMPORT)
    code = "import sys; sys.stderr.isatty = lambda: True; from antscache.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "list", "0.3.2"],
        env=antscache.environment(PYTHONPATH=tmp_path / "planted"),
        capture_output=True,
        text=True,
        check=False,
    )
    if module == "rich.progress":  # no module of this verb
        assert done.returncode == 0
    else:
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
