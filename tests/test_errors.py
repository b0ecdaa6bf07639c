"""Bad input: one clear error, a hint, the documented exit code, and a root as usable as before."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, FEW, LUNG, TEMPLATE, AntsCache, Ran, cannot, require, snapshot

from antscache.cache import Cache
from antscache.core.manifest import Release
from antscache.testing import Misbehaviour, StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "34821874"


@pytest.fixture
def used(antscache: AntsCache, figshare: StandIn) -> Iterator[AntsCache]:
    """A root in use, which is as usable after the test as before it."""
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


def failed(ran: Ran, code: int, *told: str) -> None:
    """`ran` ended with `code`, said all of `told` once, and what to do next."""
    assert ran.code == code, ran.err
    assert ran.err.count("error: ") == 1, ran.err
    assert ran.err.count("hint: ") == 1, ran.err
    for each in told:
        assert each in ran.err


def prefetch(used: AntsCache, origins: str, *arguments: str) -> Ran:
    return used("prefetch", "0.3.2", "--name", BRAIN, *arguments, ANTSCACHE_ORIGINS=origins)


# What is asked for


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["prefetch", "0.3.99"], 3, "the package index has no antspynet==0.3.99"),
        (["prefetch", "numpy==1.0"], 3, "not a package antscache knows: 'numpy'"),
        (["prefetch", "antspynet>=0.3"], 3, "not a release"),
        (["prefetch", "0.3.2", "--name", "brainExtractionRobustT7"], 3, "did you mean brainExtractionRobustT2, brain"),
        (["prefetch", "0.2.3", "--name", "allen_sr_weights"], 3, "allen_sr_weights: the release has an empty URL"),
        (["list", "--from", "/nonexistent"], 3, "cannot read /nonexistent"),
        (["list", "0.3.2", "--python", "/usr/bin/python3"], 2, "both name a release"),
        (["show", "brainExtractionRobustT7"], 3, "did you mean brainExtractionRobustT2, brain"),
        (["path", "0.2.9"], 7, "nothing of antspynet==0.2.9 is held"),
        (["link", "0.2.9", "--home", "x"], 7, "nothing of antspynet==0.2.9 is held"),
        (["prefetch", "0.3.2", "--mirror", "https://host"], 2, "not a URL template"),
        (["prefetch", "0.3.2", "--timeout", "0"], 2, "the command line: Expected `float` > 0"),
        (["prefetch", "0.2.9", "--offline"], 9, "run `antscache prefetch antspynet==0.2.9` where"),
        (["prefetch", "0.3.2", "--name", BRAIN, "--offline"], 9, f"prefetch antspynet==0.3.2 --name {BRAIN}` where"),
        (["prefetch", "0.3.99", "--offline"], 9, "neither shipped with antscache nor kept"),
    ],
)
def test_what_cannot_be_done_is_one_error_with_a_hint(
    used: AntsCache, arguments: list[str], code: int, told: str
) -> None:
    failed(used(*arguments), code, told)


def test_an_unknown_verb_or_flag_is_a_usage_error(antscache: AntsCache) -> None:
    for arguments in ["pull"], ["prefetch", "--nmae", "x"], ["prefetch", "0.3.2", "--jobs", "many"]:
        ran = antscache(*arguments)
        assert (ran.code, "Error: " in ran.err) == (2, True)
    assert "did you mean `antscache prefetch`?" in antscache("pull").err


# The root


def test_a_root_of_a_newer_layout_is_refused_by_every_verb_and_left_alone(used: AntsCache) -> None:
    description = used.root / "antscache.json"
    kept = description.read_bytes()
    description.write_text('{"layout": 2}')
    before = snapshot(used.root)
    for arguments in ["prefetch", "0.3.2"], ["path", "0.3.2"], ["list", "0.3.2"], ["status"], ["releases"]:
        failed(used(*arguments), 6, "has layout 2", "pip install -U antscache")
    assert snapshot(used.root) == before
    description.write_bytes(kept)


def test_a_file_in_place_of_the_root_is_an_error(antscache: AntsCache) -> None:
    antscache.root.write_text("not a directory")
    failed(antscache("prefetch", "0.3.2"), 6, str(antscache.root), "Not a directory")


def test_a_directory_of_somebody_elses_is_not_used_as_a_root(antscache: AntsCache) -> None:
    failed(antscache("prefetch", "0.3.2", "--root", antscache.home.parent), 6, "not empty")
    assert not (antscache.home.parent / "blobs").exists()


def without_privilege(antscache: AntsCache, *arguments: str) -> Ran:
    """antscache, held to the permissions of files even if we are root."""
    command = antscache.command(*arguments)
    if os.geteuid() == 0:
        dropped = "-dac_override,-dac_read_search"
        command = [require("setpriv"), f"--bounding-set={dropped}", f"--inh-caps={dropped}", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=antscache.environment(), timeout=60)
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("below", ["", "identifiers/figshare", "refs/antspynet"])
def test_a_root_that_may_not_be_read_is_an_error(used: AntsCache, below: str) -> None:
    (used.root / below).chmod(0)
    try:
        ran = without_privilege(used, "prefetch", "0.3.2", "--name", LUNG)
        failed(ran, 6, "Permission denied", "you have no permission")
    finally:
        (used.root / below).chmod(0o755)


def test_a_root_that_may_not_be_written_to_serves_what_it_has_and_refuses_the_rest(used: AntsCache) -> None:
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


def test_a_full_disk_is_named_as_such_and_the_root_stays_usable(antscache: AntsCache, tmp_path: Path) -> None:
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
            timeout=60,
            env=antscache.environment(ANTSCACHE_ORIGINS=standin.origins, TMPDIR=tmp_path),
        )
    assert done.stdout.split("\n")[:3] == ["full 6", "warning: 1 of 2 files missing", "larger 0"], done.stderr
    assert done.stderr.count("error: ") == 1
    assert "No space left on device" in done.stderr
    assert "hint: the disk is full: free some space" in done.stderr
    assert "no origin" not in done.stderr


# Origins


def test_an_origin_that_is_down_is_one_error_with_every_attempt(used: AntsCache) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        ran = prefetch(used, f"http://{host}/{{id}}")
    failed(ran, 4, f"figshare:{NUMBER} ({BRAIN}.h5 of antspynet==0.3.2)", f"{host}  no answer: Connection refused")


def test_many_files_from_an_origin_that_is_down_are_still_one_error_and_soon(antscache: AntsCache) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{unused.getsockname()[1]}/{{id}}"
        ran = antscache("prefetch", "0.3.2", ANTSCACHE_ORIGINS=origin, timeout=30)
    failed(ran, 4, "no origin delivered 211 files", "... and 206 more")
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (Misbehaviour.CHALLENGE, "202 bot challenge"),
        (Misbehaviour.HTML_AS_BINARY, "an HTML page"),
        (Misbehaviour.REDIRECT_FILE, "a redirect to file:, which is not http(s)"),
        (Misbehaviour.TRUNCATED, "a cut HDF5 file"),
    ],
    ids=lambda each: getattr(each, "value", ""),
)
def test_an_answer_that_is_refused_is_named_in_the_error(
    used: AntsCache, figshare: StandIn, how: Misbehaviour, told: str
) -> None:
    """All ways to go wrong: test_misbehaviour.py."""
    ran = prefetch(used, figshare.misbehaving_origins(how))
    failed(ran, 4, told, f"figshare:{NUMBER} ({BRAIN}.h5 of antspynet==0.3.2)")
    assert f"failed {BRAIN}.h5 figshare:{NUMBER} {told}" in ran.err


def test_what_does_not_look_like_the_file_can_be_accepted_by_its_identifier_and_the_record_says_so(
    antscache: AntsCache, figshare: StandIn
) -> None:
    origins = figshare.misbehaving_origins(Misbehaviour.WRONG_TYPE)
    arguments = ["prefetch", "0.3.2", "--name", BRAIN, "--origin", origins.split()[0]]
    refused = antscache(*arguments)
    failed(refused, 4, "not an HDF5 file", f"--accept figshare:{NUMBER}")
    failed(antscache(*arguments, "--accept", "figshare:22597175"), 4, "not an HDF5 file")
    ran = antscache(*arguments, "--accept", NUMBER).succeeded()
    assert "accepted although it is not an HDF5 file" in ran.err
    record = json.loads((antscache.root / f"identifiers/figshare/{NUMBER}.json").read_text())
    assert record["checks"] == ["length", "md5"]
    assert record["accepted"].startswith("not an HDF5 file")


def test_a_page_of_html_cannot_be_accepted(antscache: AntsCache, figshare: StandIn) -> None:
    origins = figshare.misbehaving_origins(Misbehaviour.HTML_AS_BINARY)
    ran = antscache("prefetch", "0.3.2", "--name", BRAIN, "--accept", NUMBER, ANTSCACHE_ORIGINS=origins)
    failed(ran, 4, "an HTML page")


def test_a_cut_template_is_refused(antscache: AntsCache, figshare: StandIn) -> None:
    origins = figshare.misbehaving_origins(Misbehaviour.TRUNCATED)
    ran = antscache("prefetch", "0.3.2", "--name", TEMPLATE, ANTSCACHE_ORIGINS=origins)
    failed(ran, 4, "a cut gzip file: it does not decompress to its end")


def test_other_bytes_than_were_recorded_are_an_integrity_error_with_both_digests(
    antscache: AntsCache, figshare: StandIn
) -> None:
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


def started(antscache: AntsCache, standin: StandIn, *arguments: str) -> subprocess.Popen[str]:
    """A prefetch that has begun to receive a file."""
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


def test_a_prefetch_that_was_killed_is_simply_run_again(antscache: AntsCache) -> None:
    with StandIn(FEW, size=3_000_000, rate=1_000_000) as slow:
        process = started(antscache, slow, "--name", BRAIN)
        process.kill()
        process.communicate(timeout=10)
    assert antscache("path", "0.3.2").code == 7
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    antscache("path", "0.3.2").succeeded()


def test_a_reader_that_goes_away_hears_nothing_more(antscache: AntsCache) -> None:
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


def test_a_traceback_is_shown_to_whoever_asks_for_it(antscache: AntsCache) -> None:
    done = subprocess.run(
        antscache.command("--debug", "path", "0.3.2"), env=antscache.environment(), capture_output=True, check=False
    )
    assert b"Traceback" in done.stderr
    assert b"ViewError" in done.stderr


def test_what_nobody_has_thought_of_is_told_without_a_traceback(antscache: AntsCache) -> None:
    code = (
        "import antscache.cache as c; from antscache.cli import main\n"
        "def broken(*a, **k): raise ZeroDivisionError('x')\n"
        "c.Cache.view = broken; main(['path', '0.3.2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=antscache.environment(), capture_output=True, text=True, check=False
    )
    failed(Ran(done.returncode, done.stdout, done.stderr), 1, "ZeroDivisionError: x", "--debug")
