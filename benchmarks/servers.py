"""The servers: the stand-ins for Figshare and for the Hub, each in a process of its own, on loopback."""

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

STANDIN_DIRECTORY, FILES_JSON = "standin", "files.json"  # the stand-in's files, and a list of them, in `scratch`
OTHER_FILE_BYTES = 20_000  # of the stand-in's files that are not fetched


@dataclass(frozen=True, slots=True)
class Served:
    """A file that the stand-in holds.

    Attributes:
        entry: the name of its entry in the release.
        name: the file's name.
        url: the first URL for all tools but antscache, which has templates, and huggingface_hub.
        sha256: its digest.
        size: in bytes; not always the requested size.
    """

    entry: str
    name: str
    url: str
    sha256: str
    size: int


@contextmanager
def serve_figshare(scratch: Path, files: Sequence[File], pace: LinkSpeed) -> Iterator[str]:
    """Serve all `files` as Figshare, and yield the templates of the origins."""
    (scratch / STANDIN_DIRECTORY).mkdir(exist_ok=True)
    sizes = [option for file in files for option in ("--size-of", f"{file.number}={file.size}")]
    command = ("-m", "antscache.testing", "--prepare", "--size", str(OTHER_FILE_BYTES), *sizes, *pace.options)
    with _serving(command, {"TMPDIR": str(scratch / STANDIN_DIRECTORY)}) as line:
        _, assignment = shlex.split(line)
        yield assignment.partition("=")[2]


def list_served(scratch: Path, files: Sequence[File], origins: str) -> tuple[Served, ...]:
    """Return `files` as the stand-in at `origins` holds them, in their order."""
    template = origins.split(maxsplit=1)[0]
    held = {path.name: (path, digest) for path, digest in sha256sums(scratch / STANDIN_DIRECTORY).items()}
    return tuple(
        Served(file.entry, file.name, template.format(id=file.number), digest, path.stat().st_size)
        for file, (path, digest) in ((file, held[file.number]) for file in files)
    )


@contextmanager
def serve_hub(scratch: Path, files: Sequence[Served], pace: LinkSpeed) -> Iterator[str]:
    """Serve `files` as the Hub, in front of the stand-in that holds them, and yield the URL."""
    (scratch / FILES_JSON).write_text(
        json.dumps([{"name": file.name, "url": file.url, "sha256": file.sha256, "size": file.size} for file in files])
    )
    with _serving(("-m", "benchmarks.hub", str(scratch / FILES_JSON), "--latency", str(pace.latency)), {}) as line:
        yield line.strip()


@contextmanager
def _serving(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Run a Python program that serves until the block ends, and yield the first line of its stdout.

    It writes that line when it is ready.
    """
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
