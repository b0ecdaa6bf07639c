"""No text from outside reaches the terminal as a command, or adds a line to the output."""

from __future__ import annotations

import json
import os
import pty
import shutil
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
    from collections.abc import Callable

    from support import Ran

    from antscache.testing import StandIn

HOSTILE = "\x1b[2J\x9b31m\u202e\r\nerror: forged"
NUMBER = "34821874"
RELEASE = Release("antspynet", "9.9")


def write(path: Path, content: str = "{}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")


def leave_behind(path: Path) -> None:
    """Make a file that nobody has written to for decades."""
    path.touch()
    os.utime(path, (0, 0))


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
    layout.trash.mkdir()
    (base / "files").mkdir()
    for directory in view, layout.ingest, layout.trash, layout.blobs, base / "files":
        leave_behind(directory / HOSTILE)
    write(layout.records / "1.json")
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
    "gc": ["gc", "-n"],
    "show": ["show", "one"],
    "verify": ["verify"],
    "link": ["link", str(RELEASE), "--home", "made"],
    "export": ["export", str(RELEASE), "out"],
}
JSON_COMMANDS = {name: arguments for name, arguments in COMMANDS.items() if name != "prefetch with problems"} | {
    "init": ["init"],
    "link": ["link", "0.3.2", "--home", HOSTILE],
    "export": ["export", "-n", "0.3.2", HOSTILE],
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


@pytest.mark.parametrize("format_", ["csv", "markdown"])
def test_tables_for_programs_are_printable(hostile: AntsCache, format_: str) -> None:
    ran = run(hostile, ["list", str(RELEASE), "--format", format_])
    lines = ran.out.replace("\r\n", "\n").split("\n")
    assert [line for line in lines if not line.isprintable() or line.startswith("error: forged")] == []
    assert ran.out.count("forged") == 2


@pytest.mark.parametrize("arguments", [*JSON_COMMANDS.values()], ids=[*JSON_COMMANDS])
def test_json_is_ascii(hostile: AntsCache, arguments: list[str]) -> None:
    ran = run(hostile, [*arguments, "--json"])
    assert ran.out.isascii()
    assert json.loads(ran.out) is not None
    assert all(line.isprintable() for line in ran.out.split("\n"))


# One text at a time


RECORD = f"identifiers/figshare/{NUMBER}.json"
SELECTIONS = "refs/antspynet/0.3.2"


def rewrite(path: Path, **changes: object) -> None:
    """Change the JSON in a file, which may be one that nobody may write to."""
    content = json.loads(path.read_text("utf-8")) | changes
    path.unlink()
    path.write_text(json.dumps(content), "utf-8")


def write_selection(root: Path, kind: str) -> None:
    entries = [{"kind": kind, "name": "x", "file": "x", "identifier": "figshare:1"}]
    selection = {"release": {"package": "antspynet", "version": "0.3.2"}, "entries": entries}
    write(root / f"{SELECTIONS}/0.json", json.dumps(selection))


def write_manifest(root: Path, release: Release = RELEASE, name: str = BRAIN, **found: str) -> None:
    manifest = Manifest(release, (Entry("network", name, f"{BRAIN}.h5", **found),))
    write(root / f"catalog/{RELEASE.slug}.json", encode_manifest(manifest).decode())


def disagree_below(root: Path) -> None:
    """Make a lower cache that knows other bytes, from a host with such a name."""
    lower = root.with_name("lower")
    shutil.copytree(root, lower, symlinks=True)
    rewrite(lower / RECORD, digest=f"sha256:{'0' * 64}", source=HOSTILE)


READERS = {
    "gc": ["gc", "-n"],
    "show": ["show", BRAIN],
    "verify": ["verify"],
    "diff": ["diff", "0.3.2", str(RELEASE), "--offline"],
    "releases": ["releases"],
    "link": ["link", "0.3.2", "--home", "made"],
    "export": ["export", "-n", "0.3.2", "out"],
}
# What plants a text in a root, and the commands that print it: none where a pattern refuses it, or nobody reads it.
PLANTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "finding of a record": (lambda root: rewrite(root / RECORD, findings=[HOSTILE]), {"show"}),
    "source of a record": (lambda root: rewrite(root / RECORD, source=HOSTILE), set()),
    "source of a record below": (disagree_below, {"verify"}),
    "trust of a record": (lambda root: rewrite(root / RECORD, trust=HOSTILE), set()),
    "identifier of a record": (lambda root: rewrite(root / RECORD, identifier=HOSTILE), set()),
    "name of a record": (lambda root: write(root / f"identifiers/figshare/{HOSTILE}.json"), set()),
    "name of a selection": (
        lambda root: write(root / f"{SELECTIONS}/{HOSTILE}.json"),
        {"gc", "verify", "link", "export"},
    ),
    "kind in a selection": (lambda root: write_selection(root, HOSTILE), {"gc", "verify", "link", "export"}),
    "version with selections": (lambda root: write(root / f"refs/antspynet/{HOSTILE}/0.json"), {"gc"}),
    "package with selections": (lambda root: write(root / f"refs/{HOSTILE}/0.3.2/0.json"), {"gc"}),
    "reason in a manifest": (lambda root: write_manifest(root, reason=HOSTILE), {"show"}),
    "problem in a manifest": (lambda root: write_manifest(root, problem=HOSTILE), {"show"}),
    "name in a manifest": (lambda root: write_manifest(root, name=HOSTILE, reason="none"), set()),
    "version in a manifest": (
        lambda root: write_manifest(root, Release("antspynet", f"9.9{HOSTILE}"), reason="none"),
        set(),
    ),
    "identifier in a manifest": (lambda root: write_manifest(root, identifier=HOSTILE), set()),
    "name of a manifest": (lambda root: write(root / f"catalog/antspynet-{HOSTILE}.json"), set()),
    "name in ingest": (lambda root: leave_behind(root / f"ingest/{HOSTILE}"), {"gc"}),
    "name in trash": (lambda root: leave_behind(root / f"trash/{HOSTILE}"), set()),
    "name of a blob": (lambda root: leave_behind(root / f"blobs/sha256/{HOSTILE}"), set()),
    "name of a view": (lambda root: leave_behind(root / f"views/{HOSTILE}"), set()),
    "name in a view": (lambda root: leave_behind(root / f"views/antspynet-0.3.2/.keras/ANTsXNet/{HOSTILE}"), set()),
}


@pytest.fixture(scope="module")
def prefetched(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> AntsCache:
    """A root with one file, and a trash."""
    base = tmp_path_factory.mktemp("prefetched")
    antscache = AntsCache(base / "root", base, _figshare.origins)
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    (antscache.root / "trash").mkdir()
    return antscache


@pytest.mark.parametrize(("plant", "printed"), PLANTS.values(), ids=PLANTS)
def test_planted_texts_are_printed_escaped(
    antscache: AntsCache, prefetched: AntsCache, plant: Callable[[Path], object], printed: set[str]
) -> None:
    """Each of the commands that can read the text prints it within a line, or never."""
    shutil.copytree(prefetched.root, antscache.root, symlinks=True)
    plant(antscache.root)
    antscache.environ["ANTSCACHE_SITE_DIRS"] = str(antscache.root.with_name("lower"))
    ran = {name: run(antscache, arguments) for name, arguments in READERS.items()}
    said = {name: f"{one.out}\n{one.err}" for name, one in ran.items()}
    lines = [(name, line) for name, text in said.items() for line in text.split("\n")]
    assert [line for line in lines if not line[1].isprintable() or line[1].startswith("error: forged")] == []
    assert {name for name, text in said.items() if "forged" in text} == printed


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
