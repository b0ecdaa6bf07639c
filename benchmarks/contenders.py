"""What is compared: the first of each is the baseline."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cases import JOBS, RATE, RELEASE
from benchmarks.measuring import Contender, said
from benchmarks.servers import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.cases import LinkSpeed
    from benchmarks.servers import Served

WALKING = str(Path(sys.executable).with_name("antscache"))  # where developers' tools are, h5py among them
ANTSCACHE = str(Path(__file__).parent.parent / ".venvs" / "antscache" / "bin" / "antscache")  # as it is installed
INJECT = str(Path(__file__).parent.parent / "antscache" / "inject")
ROOT = "root"  # in the scratch directory: antscache's
LIBRARIES = {
    "pooch": "import pooch",
    "huggingface_hub": "from huggingface_hub import snapshot_download",
    "keras": "from keras.utils import get_file",
}
PYTHON = Path(__file__).parent.parent / ".venvs" / "benchmark" / "bin" / "python"

BARE = "curl"
OPENSSL = "curl, openssl dgst -sha256"
SUMMED = "curl, sha256sum"
SYNCED = "curl, sha256sum, sync"
ARIA2 = "aria2c -j8, checksums"
SPLIT = "aria2c -j8 -x4 -s4, checksums"
POOCH = "pooch, 8 threads"
HUB = "huggingface_hub, 8 threads"
KERAS = "keras get_file, in a loop"
OURS = "antscache prefetch"
TOLD = "antscache prefetch, digests known"
WALKED = "antscache prefetch, h5py at hand"
HASHED = "hashlib, 2 threads"
VERIFIED = "antscache verify -j2"


@dataclass(frozen=True, slots=True)
class Place:
    """Where contenders run: a scratch directory, and the templates of the stand-in's origins."""

    scratch: Path
    origins: str

    @property
    def environment(self) -> dict[str, str]:
        """The only environment variables there are: no proxy, no configuration of whoever runs this."""
        return {
            "ANTSCACHE_DIR": str(self.scratch / ROOT),
            "ANTSCACHE_ORIGINS": self.origins,
            "HOME": str(self.scratch),
            "PATH": os.environ["PATH"],
        }


def listing(scratch: Path) -> list[dict[str, str]]:
    """What antscache says that the release asks for."""
    listed: list[dict[str, str]] = json.loads(
        said(ANTSCACHE, "list", RELEASE, "--json", environment={"HOME": str(scratch)})
    )
    return listed


def missing() -> list[str]:
    """What is not installed, and therefore not compared."""
    programs = [program for program in ("aria2c", "openssl", "strace") if shutil.which(program) is None]
    return programs + [library for library in LIBRARIES if version(library) is None]


@cache
def version(library: str) -> str | None:
    """The version of `library` in the benchmark's environment; None where it is not there."""
    ask = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    try:
        return said(str(PYTHON), "-c", ask, library).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def fetching(place: Place, files: Sequence[Served], endpoint: str, pace: LinkSpeed) -> tuple[Contender, ...]:
    """From nothing to `files`; verified and durable or not."""
    absent = missing()
    prefetch = ["prefetch", RELEASE, "--jobs", str(JOBS)]
    if len(files) < len(listing(place.scratch)):
        prefetch += [option for file in files for option in ("--name", file.entry)]
    contenders = (
        *_curl(place, files),
        *_aria2(place, files),
        *_libraries(place, endpoint, slow=pace is RATE),
        Contender(OURS, (ANTSCACHE, *prefetch), place.environment, ROOT),
        _told(place, (ANTSCACHE, *prefetch)),
        Contender(WALKED, (WALKING, *prefetch), place.environment, ROOT),
    )
    return tuple(contender for contender in contenders if _NEEDS.get(contender.name) not in absent)


_NEEDS = {
    OPENSSL: "openssl",
    ARIA2: "aria2c",
    SPLIT: "aria2c",
    POOCH: "pooch",
    HUB: "huggingface_hub",
    KERAS: "keras",
}


def _told(place: Place, prefetch: Sequence[str]) -> Contender:
    """With the records of an earlier fetch, and nothing else of it."""
    earlier, records = place.scratch / "earlier", "identifiers"
    said(*prefetch, environment={**place.environment, "ANTSCACHE_DIR": str(earlier)})
    shutil.rmtree(place.scratch / records, ignore_errors=True)
    (earlier / records).rename(place.scratch / records)
    shutil.rmtree(earlier)
    script = f"mkdir {ROOT} && cp -r {records} {ROOT} && exec {shlex.join(prefetch)}"
    return Contender(TOLD, ("sh", "-c", script), place.environment, ROOT)


def _curl(place: Place, files: Sequence[Served]) -> Iterator[Contender]:
    made = "curl"
    settings = (f'url = "{file.url}"\noutput = "{file.name}"\n' for file in files)
    (place.scratch / "curl.cfg").write_text("".join(settings))
    get = f"mkdir {made} && cd {made} && curl -sS --fail --parallel --parallel-max {JOBS} -L -K ../curl.cfg"
    scripts = {
        BARE: get,
        OPENSSL: f"{get} && openssl dgst -sha256 -r -- *",
        SUMMED: f"{get} && sha256sum -- *",
        SYNCED: f"{get} && sha256sum -- * && sync -- * .",
    }
    for name, script in scripts.items():
        yield Contender(name, ("sh", "-c", script), place.environment, made)


def _aria2(place: Place, files: Sequence[Served]) -> Iterator[Contender]:
    made = "aria2"
    wanted = (f"{file.url}\n out={file.name}\n checksum=sha-256={file.sha256}\n" for file in files)
    (place.scratch / "aria2.txt").write_text("".join(wanted))
    command = ("aria2c", "--no-conf", "--quiet", "--file-allocation=none", "-i", "aria2.txt", "-d", made, f"-j{JOBS}")
    yield Contender(ARIA2, (*command, "-x1", "-s1"), place.environment, made)
    yield Contender(SPLIT, (*command, "-x4", "-s4"), place.environment, made)


def _libraries(place: Place, endpoint: str, *, slow: bool) -> Iterator[Contender]:
    program = (str(PYTHON), str(Path(__file__).with_name("libraries.py")))
    environment = _quiet({**place.environment, "HF_ENDPOINT": endpoint})
    for name in (POOCH, HUB, KERAS):
        library = _NEEDS[name]
        yield Contender(name, (*program, library, FILES, library), environment, library, once=slow and name == KERAS)


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **environment,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "KERAS_BACKEND": "jax",
    }


def starting(place: Place) -> tuple[Contender, ...]:
    """What a command takes that has nothing to do, and what a library's import takes."""
    environment, absent = place.environment, missing()
    imports = (
        Contender(statement, (str(PYTHON), "-c", statement), _quiet(environment))
        for library, statement in LIBRARIES.items()
        if library not in absent
    )
    return (
        Contender("python -c pass", (sys.executable, "-c", "pass"), environment),
        Contender("the same with the hook", (sys.executable, "-c", "pass"), environment | {"PYTHONPATH": INJECT}),
        Contender("antscache --version", (ANTSCACHE, "--version"), environment),
        Contender("antscache path", (ANTSCACHE, "path", RELEASE), environment),
        Contender(OURS, (ANTSCACHE, "prefetch", RELEASE), environment),
        *imports,
    )


def linking(place: Place) -> tuple[Contender, ...]:
    """From a view to the same files in another directory: the same bytes on disk, and bytes of its own."""
    environment, home = place.environment, "home"
    view = f"{ROOT}/views/{RELEASE.replace('==', '-')}/.keras/ANTsXNet"
    link = (ANTSCACHE, "link", RELEASE, "--home", home)
    return (
        Contender("cp -a, nothing synced", ("cp", "-a", view, home), environment, home),
        Contender("cp -a + sync", ("sh", "-c", f"cp -a {view} {home} && sync -- {home}/* {home}"), environment, home),
        Contender("antscache link --mode copy (synced)", (*link, "--mode", "copy"), environment, home),
        Contender("cp -al", ("cp", "-al", view, home), environment, home),
        Contender("antscache link", link, environment, home),
    )


def verifying(place: Place) -> tuple[Contender, ...]:
    """Every blob read and hashed again, by as many threads or processes as each other; and with all that names it."""
    environment, blobs, two = place.environment, f"{ROOT}/blobs/sha256", ("xargs", "-0", "-P2", "-n100")
    hashes = (sys.executable, str(Path(__file__).with_name("hashes.py")), blobs, "2")

    def each(*command: str) -> tuple[str, ...]:
        return "sh", "-c", f"find {blobs} -type f -print0 | {shlex.join((*two, *command))}"

    return (
        Contender(HASHED, hashes, environment),
        Contender("openssl dgst -sha256, 2 processes", each("openssl", "dgst", "-sha256", "-r"), environment),
        Contender("sha256sum, 2 processes", each("sha256sum"), environment),
        Contender(VERIFIED, (ANTSCACHE, "verify", "-j2"), environment),
        Contender("antscache status", (ANTSCACHE, "status"), environment),
        Contender("antscache prefetch, nothing to do", (ANTSCACHE, "prefetch", "9.7", "--offline"), environment),
        Contender("antscache gc -n", (ANTSCACHE, "gc", "-n"), environment),
    )
