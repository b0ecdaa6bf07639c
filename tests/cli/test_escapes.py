"""No text from outside reaches the terminal as a command, or adds a line to the output."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support import BRAIN, AntsCache
from support.within import run_within

from antscache.catalog.catalog import encode_manifest
from antscache.core.layout import Layout
from antscache.core.manifest import Entry, Manifest, Release, UnreadGetter
from antscache.core.record import Record

if TYPE_CHECKING:
    from support import Ran

    from antscache.testing import StandIn

HOSTILE = "\x1b[2J\x9b31m\u202e\r\nerror: forged"
NUMBER = "34821874"
RELEASE = Release("antspynet", "9.9")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> AntsCache:
    """A root with such texts wherever another member, a source or a name can put one."""
    base = tmp_path_factory.mktemp("hostile")
    antscache = AntsCache(base / f"root{HOSTILE}", base, _figshare.origins)
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    layout = Layout(antscache.root)
    record = layout.record(f"figshare:{NUMBER}")
    changed = msgspec.structs.replace(msgspec.json.decode(record.read_bytes(), type=Record), source=HOSTILE)
    record.unlink()
    record.write_bytes(msgspec.json.encode(changed))
    entries = (Entry("data", "one", "one.h5", reason=HOSTILE), Entry("data", "two", "two.h5", problem=HOSTILE))
    manifest = Manifest(RELEASE, entries, unread=(UnreadGetter("network", HOSTILE),))
    (layout.root / "catalog").mkdir(exist_ok=True)
    (layout.root / f"catalog/{RELEASE.slug}.json").write_bytes(encode_manifest(manifest))
    view = next(layout.views.glob("*/.keras/ANTsXNet"))
    (layout.root / "trash").mkdir(exist_ok=True)
    (base / "files").mkdir()
    for directory in view, layout.root / "trash", layout.root / "blobs/sha256", base / "files":
        (directory / HOSTILE).touch()
        os.utime(directory / HOSTILE, (0, 0))
    (base / "files" / os.fsdecode(b"caf\xe9.h5")).touch()
    return antscache


COMMANDS = {
    "list a release": ["list", str(RELEASE)],
    "status": ["status"],
    "rm": ["rm", "-n", "0.3.2"],
    "prefetch": ["prefetch", "-n", str(RELEASE)],
    "prefetch with problems": ["prefetch", str(RELEASE), "--offline"],
    "adopt": ["adopt", "-n", "files", "--as", "0.3.2", "--offline"],
    "doctor": ["doctor", "--offline"],
    "forget": ["forget", "-n", f"figshare:{NUMBER}"],
}
JSON_COMMANDS = {name: arguments for name, arguments in COMMANDS.items() if name != "prefetch with problems"} | {
    "show": ["show", BRAIN],
    "init": ["init"],
}
ECHOES = {
    "verb": [HOSTILE],
    "option": [f"--{HOSTILE}"],
    "value": ["gc", "--grace", HOSTILE],
    "release": ["list", HOSTILE],
    "name": ["prefetch", "0.3.2", "--name", HOSTILE],
    "source": ["list", "--from", HOSTILE],
    "python": ["list", "--python", HOSTILE],
    "directory": ["adopt", HOSTILE, "--as", "0.3.2"],
    "identifier": ["forget", HOSTILE],
    "command": ["run", "0.3.2", "--", HOSTILE],
    "many words": ["run", HOSTILE, HOSTILE, "--", "true"],
}


def run(antscache: AntsCache, arguments: list[str]) -> Ran:
    return run_within(arguments, antscache.environment(), antscache.home)


@pytest.mark.parametrize("arguments", [*COMMANDS.values(), *ECHOES.values()], ids=[*COMMANDS, *ECHOES])
def test_each_line_is_printable_and_its_own(hostile: AntsCache, arguments: list[str]) -> None:
    ran = run(hostile, arguments)
    lines = [*ran.out.split("\n"), *ran.err.split("\n")]
    assert [line for line in lines if not line.isprintable() or line.startswith("error: forged")] == []
    assert "forged" in ran.out + ran.err


@pytest.mark.parametrize("arguments", [*JSON_COMMANDS.values()], ids=[*JSON_COMMANDS])
def test_json_is_ascii(hostile: AntsCache, arguments: list[str]) -> None:
    ran = run(hostile, [*arguments, "--json"])
    assert ran.out.isascii()
    assert json.loads(ran.out) is not None
    assert all(line.isprintable() for line in ran.out.split("\n"))


def test_paths_are_exact_for_programs(hostile: AntsCache) -> None:
    assert Path(run(hostile, ["path", "--root"]).out.removesuffix("\n")) == hostile.root


def test_paths_are_escaped_on_a_terminal(hostile: AntsCache) -> None:
    terminal, end = pty.openpty()
    with subprocess.Popen(hostile.command("path", "--root"), stdout=end, env=hostile.environment()):
        os.close(end)
        shown = b""
        try:
            while chunk := os.read(terminal, 1024):
                shown += chunk
        except OSError:  # the other end was closed
            pass
    os.close(terminal)
    assert shown.decode().removesuffix("\r\n").isprintable()
