"""The commands that are compared. The first of each table is the baseline."""

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

from benchmarks.cases import JOBS, LIMITED_RATE, RELEASE
from benchmarks.measuring import Contender, output_of
from benchmarks.servers import FILES_JSON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.cases import LinkSpeed
    from benchmarks.servers import Served

ANTSCACHE = str(Path(__file__).parent.parent / ".venvs" / "antscache" / "bin" / "antscache")  # as users install it
INJECT_DIRECTORY = str(Path(__file__).parent.parent / "antscache" / "inject")
ROOT_NAME = "root"  # of antscache's root in the scratch directory
LIBRARY_IMPORTS = {
    "pooch": "import pooch",
    "huggingface_hub": "from huggingface_hub import snapshot_download",
    "keras": "from keras.utils import get_file",
}
LIBRARY_PYTHON = Path(__file__).parent.parent / ".venvs" / "benchmark" / "bin" / "python"

# Names in the tables
CURL = "curl"
CURL_OPENSSL = "curl, openssl dgst -sha256"
CURL_SHA256SUM = "curl, sha256sum"
CURL_SYNC = "curl, sha256sum, sync"
ARIA2 = "aria2c -j8, checksums"
ARIA2_SPLIT = "aria2c -j8 -x4 -s4, checksums"
POOCH = "pooch, 8 threads"
HUB = "huggingface_hub, 8 threads"
KERAS = "keras get_file, in a loop"
PREFETCH = "antscache prefetch"
PREFETCH_KNOWN = "antscache prefetch, digests known"
PREFETCH_UNSCANNED = "antscache prefetch, without the scan"
HASHLIB = "hashlib, 2 threads"
VERIFY = "antscache verify -j2"


@dataclass(frozen=True, slots=True)
class Place:
    """A place to run contenders: a scratch directory, and the templates of the stand-in's origins."""

    scratch: Path
    origins: str

    @property
    def environment(self) -> dict[str, str]:
        """All environment variables: no proxy, and no configuration of the user who runs this."""
        return {
            "ANTSCACHE_DIR": str(self.scratch / ROOT_NAME),
            "ANTSCACHE_ORIGINS": self.origins,
            "HOME": str(self.scratch),
            "PATH": os.environ["PATH"],
        }


def list_entries(scratch: Path) -> list[dict[str, str]]:
    """Return the entries of the release, as antscache lists them."""
    listed: list[dict[str, str]] = json.loads(
        output_of(ANTSCACHE, "list", RELEASE, "--json", environment={"HOME": str(scratch)})
    )
    return listed


def find_missing() -> list[str]:
    """Return the programs and libraries that are not installed, and so not compared."""
    programs = [program for program in ("aria2c", "openssl", "strace") if shutil.which(program) is None]
    return programs + [library for library in LIBRARY_IMPORTS if version(library) is None]


@cache
def version(library: str) -> str | None:
    """Return the version of `library` in the benchmark's environment; None if it is not installed there."""
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    try:
        return output_of(str(LIBRARY_PYTHON), "-c", code, library).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def fetch_contenders(place: Place, files: Sequence[Served], endpoint: str, pace: LinkSpeed) -> tuple[Contender, ...]:
    """Return the contenders that fetch `files` into an empty directory, verified and durable or not."""
    absent = find_missing()
    prefetch = ["prefetch", RELEASE, "--jobs", str(JOBS)]
    if len(files) < len(list_entries(place.scratch)):
        prefetch += [option for file in files for option in ("--name", file.entry)]
    contenders = (
        *_curl(place, files),
        *_aria2(place, files),
        *_libraries(place, endpoint, slow=pace is LIMITED_RATE),
        Contender(PREFETCH, (ANTSCACHE, *prefetch), place.environment, ROOT_NAME),
        _prefetch_with_records(place, (ANTSCACHE, *prefetch)),
        _prefetch_without_scan(place, (ANTSCACHE, *prefetch)),
    )
    return tuple(contender for contender in contenders if _NEEDS.get(contender.name) not in absent)


_NEEDS = {
    CURL_OPENSSL: "openssl",
    ARIA2: "aria2c",
    ARIA2_SPLIT: "aria2c",
    POOCH: "pooch",
    HUB: "huggingface_hub",
    KERAS: "keras",
}


def _prefetch_with_records(place: Place, prefetch: Sequence[str]) -> Contender:
    """Return a prefetch that starts with the records of an earlier one, and none of its files."""
    earlier, records = place.scratch / "earlier", "identifiers"
    output_of(*prefetch, environment={**place.environment, "ANTSCACHE_DIR": str(earlier)})
    shutil.rmtree(place.scratch / records, ignore_errors=True)
    (earlier / records).rename(place.scratch / records)
    shutil.rmtree(earlier)
    script = f"mkdir {ROOT_NAME} && cp -r {records} {ROOT_NAME} && exec {shlex.join(prefetch)}"
    return Contender(PREFETCH_KNOWN, ("sh", "-c", script), place.environment, ROOT_NAME)


def _prefetch_without_scan(place: Place, prefetch: Sequence[str]) -> Contender:
    """Return a prefetch whose h5py cannot be imported, so that it scans no network."""
    broken = place.scratch / "broken"
    (broken / "h5py").mkdir(parents=True, exist_ok=True)
    (broken / "h5py" / "__init__.py").write_text("raise ImportError\n")
    return Contender(PREFETCH_UNSCANNED, tuple(prefetch), {**place.environment, "PYTHONPATH": str(broken)}, ROOT_NAME)


def _curl(place: Place, files: Sequence[Served]) -> Iterator[Contender]:
    made = "curl"
    settings = (f'url = "{file.url}"\noutput = "{file.name}"\n' for file in files)
    (place.scratch / "curl.cfg").write_text("".join(settings))
    get = f"mkdir {made} && cd {made} && curl -sS --fail --parallel --parallel-max {JOBS} -L -K ../curl.cfg"
    scripts = {
        CURL: get,
        CURL_OPENSSL: f"{get} && openssl dgst -sha256 -r -- *",
        CURL_SHA256SUM: f"{get} && sha256sum -- *",
        CURL_SYNC: f"{get} && sha256sum -- * && sync -- * .",
    }
    for name, script in scripts.items():
        yield Contender(name, ("sh", "-c", script), place.environment, made)


def _aria2(place: Place, files: Sequence[Served]) -> Iterator[Contender]:
    made = "aria2"
    wanted = (f"{file.url}\n out={file.name}\n checksum=sha-256={file.sha256}\n" for file in files)
    (place.scratch / "aria2.txt").write_text("".join(wanted))
    command = ("aria2c", "--no-conf", "--quiet", "--file-allocation=none", "-i", "aria2.txt", "-d", made, f"-j{JOBS}")
    yield Contender(ARIA2, (*command, "-x1", "-s1"), place.environment, made)
    yield Contender(ARIA2_SPLIT, (*command, "-x4", "-s4"), place.environment, made)


def _libraries(place: Place, endpoint: str, *, slow: bool) -> Iterator[Contender]:
    program = (str(LIBRARY_PYTHON), str(Path(__file__).with_name("libraries.py")))
    environment = _quiet({**place.environment, "HF_ENDPOINT": endpoint})
    for name in (POOCH, HUB, KERAS):
        library = _NEEDS[name]
        yield Contender(
            name, (*program, library, FILES_JSON, library), environment, library, once=slow and name == KERAS
        )


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **environment,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "KERAS_BACKEND": "jax",
    }


def start_contenders(place: Place) -> tuple[Contender, ...]:
    """Return commands with nothing to do, and imports of libraries."""
    environment, absent = place.environment, find_missing()
    imports = (
        Contender(statement, (str(LIBRARY_PYTHON), "-c", statement), _quiet(environment))
        for library, statement in LIBRARY_IMPORTS.items()
        if library not in absent
    )
    return (
        Contender("python -c pass", (sys.executable, "-c", "pass"), environment),
        Contender(
            "the same with the hook", (sys.executable, "-c", "pass"), environment | {"PYTHONPATH": INJECT_DIRECTORY}
        ),
        Contender("antscache --version", (ANTSCACHE, "--version"), environment),
        Contender("antscache path", (ANTSCACHE, "path", RELEASE), environment),
        Contender(PREFETCH, (ANTSCACHE, "prefetch", RELEASE), environment),
        *imports,
    )


def link_contenders(place: Place) -> tuple[Contender, ...]:
    """Return the contenders that make another directory with the files of a view: by copies, and by links."""
    environment, home = place.environment, "home"
    view = f"{ROOT_NAME}/views/{RELEASE.replace('==', '-')}/.keras/ANTsXNet"
    link = (ANTSCACHE, "link", RELEASE, "--home", home)
    return (
        Contender("cp -a, nothing synced", ("cp", "-a", view, home), environment, home),
        Contender("cp -a + sync", ("sh", "-c", f"cp -a {view} {home} && sync -- {home}/* {home}"), environment, home),
        Contender("antscache link --mode copy (synced)", (*link, "--mode", "copy"), environment, home),
        Contender("cp -al", ("cp", "-al", view, home), environment, home),
        Contender("antscache link", link, environment, home),
    )


def verify_contenders(place: Place) -> tuple[Contender, ...]:
    """Return the contenders that read and hash every blob, with two threads or processes; and maintenance commands."""
    environment, blobs, two = place.environment, f"{ROOT_NAME}/blobs/sha256", ("xargs", "-0", "-P2", "-n100")
    hashes = (sys.executable, str(Path(__file__).with_name("hashes.py")), blobs, "2")

    def by_xargs(*command: str) -> tuple[str, ...]:
        return "sh", "-c", f"find {blobs} -type f -print0 | {shlex.join((*two, *command))}"

    return (
        Contender(HASHLIB, hashes, environment),
        Contender("openssl dgst -sha256, 2 processes", by_xargs("openssl", "dgst", "-sha256", "-r"), environment),
        Contender("sha256sum, 2 processes", by_xargs("sha256sum"), environment),
        Contender(VERIFY, (ANTSCACHE, "verify", "-j2"), environment),
        Contender("antscache status", (ANTSCACHE, "status"), environment),
        Contender("antscache prefetch, nothing to do", (ANTSCACHE, "prefetch", "9.7", "--offline"), environment),
        Contender("antscache gc -n", (ANTSCACHE, "gc", "-n"), environment),
    )
