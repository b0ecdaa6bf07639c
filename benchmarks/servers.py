"""Who serves: the stand-in for Figshare and the one for the Hub, each in a process of its own, on loopback."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measuring import sha256sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.cases import File, LinkSpeed

SHELF, FILES = "standin", "files.json"  # in the scratch directory: the stand-in's files, and a list of them
LEAST = 20_000  # bytes, of the files that the stand-in makes and nobody asks for


@dataclass(frozen=True, slots=True)
class Served:
    """A file that the stand-in holds.

    Attributes:
        entry: its name in the release.
        name: its file's name.
        url: where everyone begins to fetch it but antscache, which knows templates, and the Hub.
        sha256: its digest.
        size: in bytes, and not always what was asked for.
    """

    entry: str
    name: str
    url: str
    sha256: str
    size: int


@contextmanager
def figshare(scratch: Path, files: Sequence[File], pace: LinkSpeed) -> Iterator[str]:
    """The stand-in for Figshare, with all `files` made: the templates of its origins."""
    (scratch / SHELF).mkdir(exist_ok=True)
    sizes = [option for file in files for option in ("--size-of", f"{file.number}={file.size}")]
    command = ("-m", "antscache.testing", "--prepare", "--size", str(LEAST), *sizes, *pace.options)
    with _serving(command, {"TMPDIR": str(scratch / SHELF)}) as line:
        _, assignment = shlex.split(line)
        yield assignment.partition("=")[2]


def served(scratch: Path, files: Sequence[File], origins: str) -> tuple[Served, ...]:
    """What the stand-in at `origins` holds of `files`, in their order."""
    template = origins.split(maxsplit=1)[0]
    held = {path.name: (path, digest) for path, digest in sha256sums(scratch / SHELF).items()}
    return tuple(
        Served(file.entry, file.name, template.format(id=file.number), digest, path.stat().st_size)
        for file, (path, digest) in ((file, held[file.number]) for file in files)
    )


@contextmanager
def hub(scratch: Path, files: Sequence[Served], pace: LinkSpeed) -> Iterator[str]:
    """The one for the Hub, in front of the stand-in, which holds `files`: its URL."""
    (scratch / FILES).write_text(
        json.dumps([{"name": file.name, "url": file.url, "sha256": file.sha256, "size": file.size} for file in files])
    )
    with _serving(("-m", "benchmarks.hub", str(scratch / FILES), "--latency", str(pace.latency)), {}) as line:
        yield line.strip()


@contextmanager
def _serving(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """A Python that serves until the block ends: its first line on stdout, which it writes when it is ready."""
    command = (sys.executable, *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{' '.join(command[:3])} does not serve")
            yield line
        finally:
            process.terminate()
