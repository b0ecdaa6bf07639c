"""Errors: one clear message, a hint, the documented exit code, and a root that is as usable as before."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, HANG_SECONDS, LUNG, TEMPLATE, AntsCache, Ran, cannot, require, snapshot

from antscache.cache import Cache
from antscache.core.manifest import Release
from antscache.testing import Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "34821874"


@pytest.fixture
def used(antscache: AntsCache, figshare: StandIn) -> Iterator[AntsCache]:
    """A root in use; after the test, check that it is as usable as before."""
    origins = figshare.origins.split()
    cache = Cache.open(antscache.root, origins=origins)
    cache.prefetch(cache.plan("0.3.2", names=[LUNG]))
    before = snapshot(antscache.root)
    yield antscache
    after = snapshot(antscache.root)
    assert {name: after.get(name) for name in before if name != "index.json"} == {
        name: content for name, content in before.items() if name != "index.json"
    }
    assert not [name for name in after if name.startswith("ingest/")]
    again = Cache.open(antscache.root, origins=origins)
    assert f"{LUNG}.h5" not in again.view(Release("antspynet", "0.3.2")).missing
    again.prefetch(again.plan("0.3.2", names=[BRAIN]))


def failed(ran: Ran, code: int, *texts: str) -> None:
    """Check that `ran` ended with `code` and printed one error with all of `texts`, and one hint."""
    assert ran.code == code, ran.err
    assert ran.err.count("error: ") == 1, ran.err
    assert ran.err.count("hint: ") == 1, ran.err
    for text in texts:
        assert text in ran.err


def prefetch(used: AntsCache, origins: str, *arguments: str) -> Ran:
    return used("prefetch", "0.3.2", "--name", BRAIN, *arguments, ANTSCACHE_ORIGINS=origins)


# What is asked for


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["prefetch", "0.3.99"], 3, "cannot get a wheel of antspynet==0.3.99 from the package index"),
        (["prefetch", "numpy==1.0"], 3, "unknown package: 'numpy'"),
        (["prefetch", "antspynet>=0.3"], 3, "not a release"),
        (["prefetch", "0.3.2", "--name", "brainExtractionRobustT7"], 3, "did you mean brainExtractionRobustT2, brain"),
        (["prefetch", "0.2.3", "--name", "allen_sr_weights"], 3, "allen_sr_weights: the release has an empty URL"),
        (["list", "--from", "/nonexistent"], 3, "cannot read /nonexistent"),
        (["list", "0.3.2", "--python", "/usr/bin/python3"], 2, "both name a release"),
        (["show", "brainExtractionRobustT7"], 3, "did you mean brainExtractionRobustT2, brain"),
        (["path", "0.2.9"], 7, "nothing of antspynet==0.2.9 is held"),
        (["link", "0.2.9", "--home", "x"], 7, "nothing of antspynet==0.2.9 is held"),
        (["prefetch", "0.3.2", "--mirror", "https://host/s3cr3t"], 2, "mirror 1 at host is not a URL template"),
        (["prefetch", "0.3.2", "--timeout", "0"], 2, "--timeout is not a number of seconds, above 0"),
        (["prefetch", "0.2.9", "--offline"], 9, "run `antscache prefetch antspynet==0.2.9` where"),
        (["prefetch", "0.3.2", "--name", BRAIN, "--offline"], 9, f"prefetch antspynet==0.3.2 --name {BRAIN}` where"),
        (["prefetch", "0.3.99", "--offline"], 9, "neither shipped with antscache nor kept here"),
    ],
)
def test_impossible_requests_give_one_error(used: AntsCache, arguments: list[str], code: int, text: str) -> None:
    """A request that cannot be met is one error with a hint and the documented exit code."""
    failed(used(*arguments), code, text)


def test_unknown_verbs_and_flags_are_usage_errors(antscache: AntsCache) -> None:
    for arguments in ["pull"], ["prefetch", "--nmae", "x"], ["prefetch", "0.3.2", "--jobs", "many"]:
        ran = antscache(*arguments)
        assert (ran.code, "Error: " in ran.err) == (2, True)
    assert "did you mean `antscache prefetch`?" in antscache("pull").err


# The root


def test_a_newer_root_is_refused_and_unchanged(used: AntsCache) -> None:
    description = used.root / "antscache.json"
    kept = description.read_bytes()
    description.write_text('{"layout": 3}')
    before = snapshot(used.root)
    for arguments in ["prefetch", "0.3.2"], ["path", "0.3.2"], ["list", "0.3.2"], ["status"], ["releases"]:
        failed(used(*arguments), 6, "has layout 3", "pip install -U antscache")
    assert snapshot(used.root) == before
    description.write_bytes(kept)


def test_a_file_is_no_root(antscache: AntsCache) -> None:
    antscache.root.write_text("not a directory")
    failed(antscache("prefetch", "0.3.2"), 6, str(antscache.root), "Not a directory")


def test_a_directory_with_other_files_is_no_root(antscache: AntsCache) -> None:
    failed(antscache("prefetch", "0.3.2", "--root", antscache.home.parent), 6, "not empty")
    assert not (antscache.home.parent / "blobs").exists()


def without_privilege(antscache: AntsCache, *arguments: str) -> Ran:
    """Run antscache without root's privilege to ignore the permissions of files."""
    command = antscache.command(*arguments)
    if os.geteuid() == 0:
        dropped = "-dac_override,-dac_read_search"
        command = [require("setpriv"), f"--bounding-set={dropped}", f"--inh-caps={dropped}", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=antscache.environment(), timeout=HANG_SECONDS
    )
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("below", ["", "identifiers/figshare", "refs/antspynet"])
def test_an_unreadable_root_is_an_error(used: AntsCache, below: str) -> None:
    (used.root / below).chmod(0)
    try:
        ran = without_privilege(used, "prefetch", "0.3.2", "--name", LUNG)
        failed(ran, 6, "Permission denied", "you have no permission")
    finally:
        (used.root / below).chmod(0o755)


def test_a_read_only_root_serves_its_files(used: AntsCache) -> None:
    """A root without write permission serves the files that it has, and refuses others."""
    directories = [used.root, *(path for path in used.root.rglob("*") if path.is_dir())]
    for path in directories:
        path.chmod(0o555)
    try:
        ran = without_privilege(used, "prefetch", "0.3.2", "--name", LUNG)
        assert (ran.code, "nothing to fetch" in ran.err) == (0, True)
        assert without_privilege(used, "path", "0.3.2").code == 0
        failed(without_privilege(used, "prefetch", "0.3.2", "--name", BRAIN), 6, "Permission denied")
    finally:
        for path in directories:
            path.chmod(0o755)


FULL_DISK = """
set -e
mount -t tmpfs -o size=2m tmpfs "$ANTSCACHE_DIR"
"$@" prefetch 0.3.2 --name {small} >&2
set +e
"$@" prefetch 0.3.2 --name {large} >&2; echo "full $?"
set -e
[ $(df --output=avail -B1 "$ANTSCACHE_DIR" | tail -1) -ge 1000000 ]
"$@" path 0.3.2 2>&1 >/dev/null | grep -o 'warning: 1 of 2 files missing'
"$@" prefetch 0.3.2 --name {small} >&2
mount -o remount,size=64m "$ANTSCACHE_DIR"
"$@" prefetch 0.3.2 --name {large} >&2; echo "larger $?"
"$@" path 0.3.2 >&2
"""


def test_a_full_disk_leaves_a_usable_root(antscache: AntsCache, tmp_path: Path) -> None:
    """The error says that the disk is full and blames no origin, and the root stays usable."""
    unshare = require("unshare")
    if subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        cannot("no mount namespaces here")
    antscache.root.mkdir()
    script = FULL_DISK.format(small=LUNG, large=BRAIN)
    small = content("41965818", f"{LUNG}.h5", 200_000)
    with StandIn(FEW, size=5_000_000, contents={"41965818": small}) as standin:
        done = subprocess.run(
            [unshare, "-rm", "sh", "-c", script, "sh", *antscache.command()],
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
            env=antscache.environment(ANTSCACHE_ORIGINS=standin.origins, TMPDIR=tmp_path),
        )
    assert done.stdout.split("\n")[:3] == ["full 6", "warning: 1 of 2 files missing", "larger 0"], done.stderr
    assert done.stderr.count("error: ") == 1
    assert "No space left on device" in done.stderr
    assert "hint: the disk is full: free some space" in done.stderr
    assert "no origin" not in done.stderr


# Origins


def test_a_dead_origin_is_one_error(used: AntsCache) -> None:
    """A dead origin is one error, which names the file and the attempt."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        ran = prefetch(used, f"http://{host}/{{id}}")
    failed(ran, 4, f"figshare:{NUMBER} ({BRAIN}.h5 of antspynet==0.3.2)", f"{host}  no answer: Connection refused")


def test_many_failures_are_one_error(antscache: AntsCache) -> None:
    """The error lists five of the 211 files and counts the others."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{unused.getsockname()[1]}/{{id}}"
        ran = antscache("prefetch", "0.3.2", ANTSCACHE_ORIGINS=origin)
    failed(ran, 4, "no origin delivered 211 files", "... and 206 more")
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (Misbehaviour.CHALLENGE, "202 bot challenge"),
        (Misbehaviour.HTML_AS_BINARY, "an HTML page"),
        (Misbehaviour.REDIRECT_FILE, "a redirect to file:, which is not http(s)"),
        (Misbehaviour.CORRUPT, "damaged: the MD5"),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_the_error_names_the_refused_answer(used: AntsCache, figshare: StandIn, how: Misbehaviour, text: str) -> None:
    """The error says why the answer was refused. (test_misbehaviour.py has all misbehaviours.)"""
    ran = prefetch(used, figshare.misbehaving_origins(how))
    failed(ran, 4, text, f"figshare:{NUMBER} ({BRAIN}.h5 of antspynet==0.3.2)")
    assert f"failed {BRAIN}.h5 figshare:{NUMBER} {text}" in ran.err


def test_users_can_accept_a_file_of_another_form(antscache: AntsCache, figshare: StandIn) -> None:
    """`--accept IDENTIFIER` takes a file of another form, and its record notes the defect."""
    mirror, _, _ = figshare.misbehaving_origins(Misbehaviour.WRONG_TYPE).split()
    origin, _, _ = figshare.misbehaving_origins(Misbehaviour.MISSING).split()
    arguments = ["prefetch", "0.3.2", "--name", BRAIN, "--mirror", mirror, "--origin", origin]
    refused = antscache(*arguments)
    failed(refused, 4, "not an HDF5 file", f"--accept figshare:{NUMBER}")
    failed(antscache(*arguments, "--accept", "figshare:22597175"), 4, "not an HDF5 file")
    ran = antscache(*arguments, "--accept", NUMBER).succeeded()
    assert "accepted although it is not an HDF5 file" in ran.err
    record = json.loads((antscache.root / f"identifiers/figshare/{NUMBER}.json").read_text())
    assert record["checks"] == ["length", "md5"]
    assert record["accepted"].startswith("not an HDF5 file")


def test_an_html_page_cannot_be_accepted(antscache: AntsCache, figshare: StandIn) -> None:
    origins = figshare.misbehaving_origins(Misbehaviour.HTML_AS_BINARY)
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--accept", NUMBER, ANTSCACHE_ORIGINS=origins)
    failed(ran, 4, "an HTML page")


def test_a_mirrors_cut_template_is_refused(antscache: AntsCache, figshare: StandIn) -> None:
    mirror, _, _ = figshare.misbehaving_origins(Misbehaviour.TRUNCATED).split()
    missing = figshare.misbehaving_origins(Misbehaviour.MISSING)
    ran = antscache("prefetch", "0.3.2", "--name", TEMPLATE, "--mirror", mirror, ANTSCACHE_ORIGINS=missing)
    failed(ran, 4, "a cut gzip file: it does not decompress to its end")


def test_changed_bytes_are_an_integrity_error(antscache: AntsCache, figshare: StandIn) -> None:
    """Other bytes than recorded are an integrity error that names the recorded digest."""
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    [blob] = [path for path in antscache.root.glob("blobs/sha256/*") if path.stat().st_size == 4000]
    sound = blob.read_bytes()
    blob.unlink()
    ran = antscache(
        "prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_ORIGINS=figshare.misbehaving_origins(Misbehaviour.OTHER)
    )
    failed(ran, 5, blob.name, "is recorded")
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    assert blob.read_bytes() == sound


# Signals


def start_prefetch(antscache: AntsCache, standin: StandIn, *arguments: str) -> subprocess.Popen[str]:
    """Start a prefetch, and return its process once it receives a file."""
    process = subprocess.Popen(
        antscache.command("prefetch", "0.3.2", *arguments),
        env=antscache.environment(ANTSCACHE_ORIGINS=standin.origins),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(request.route == "storage" for request in standin.requests):
        assert process.poll() is None
    return process


def test_a_killed_prefetch_can_be_run_again(antscache: AntsCache) -> None:
    with StandIn(FEW, size=3_000_000, rate=50_000) as slow:
        process = start_prefetch(antscache, slow, "--name", BRAIN)
        process.kill()
        process.communicate(timeout=HANG_SECONDS)
    assert antscache("path", "0.3.2").code == 7
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("path", "0.3.2").succeeded()


def test_a_closed_pipe_is_no_error(antscache: AntsCache) -> None:
    """A reader of the output that goes away causes no error message."""
    process = subprocess.Popen(
        antscache.command("list", "0.3.2"), env=antscache.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


# Tracebacks


def test_debug_shows_the_traceback(antscache: AntsCache) -> None:
    done = subprocess.run(
        antscache.command("--debug", "path", "0.3.2"), env=antscache.environment(), capture_output=True, check=False
    )
    assert b"Traceback" in done.stderr
    assert b"ViewError" in done.stderr


def test_an_internal_error_shows_no_traceback(antscache: AntsCache) -> None:
    code = (
        "import antscache.cache as c; from antscache.cli import main\n"
        "def broken(*a, **k): raise ZeroDivisionError('x')\n"
        "c.Cache.view = broken; main(['path', '0.3.2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=antscache.environment(), capture_output=True, text=True, check=False
    )
    failed(Ran(done.returncode, done.stdout, done.stderr), 1, "ZeroDivisionError: x", "--debug")
