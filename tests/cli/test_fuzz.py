"""Whatever the arguments, the settings and the files below a root are: a documented exit code, and no internal error.

`make fuzz` tries more: ANTSCACHE_TESTS_EXAMPLES of each.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import BRAIN, LUNG, SIZE, AntsCache
from support.within import EXIT_CODES, run_within

from antscache.catalog.catalog import encode_manifest
from antscache.cli.commands import VERBS, load
from antscache.cli.lazy_group import antscache as program
from antscache.config import VARIABLES
from antscache.core.manifest import Entry, Manifest, Release, make_entry
from antscache.testing import content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from antscache.testing import StandIn

EXAMPLES = int(os.environ.get("ANTSCACHE_TESTS_EXAMPLES", "0"))  # 0: 60, the same in every run
SHELL_EXIT_CODES = {126, 127}  # of `run`, for a command that cannot be run
RELEASE = Release("antspynet", "90.1")
ENTRIES = (
    make_entry("network", BRAIN, f"{BRAIN}.h5", identifier="figshare:34821874"),
    Entry("data", "never", "never.h5", reason="the release has no URL for it"),
)
COMMANDS = (
    "list",
    f"list {RELEASE}",
    "releases",
    "status",
    f"show {BRAIN}",
    f"path {RELEASE}",
    f"cite {RELEASE}",
    f"list {RELEASE} --format csv",
    f"path {RELEASE} --digest",
    f"key {RELEASE}",
    f"lock {RELEASE}",
    "verify",
    "verify --repair",
    "gc -n",
    "gc --grace 0s",
    f"prefetch {RELEASE}",
    f"prefetch -n {RELEASE}",
    f"link {RELEASE}",
    f"rm {RELEASE}",
    f"export {RELEASE} out",
    f"diff 0.3.2 {RELEASE}",
    "forget figshare:34821874",
    "container-args docker",
    "adopt files --as 0.3.2",
    "init",
)
fuzzed = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass
class Place:
    """A root with a few files, a kept manifest and files to adopt; each command finds it as new, and is offline."""

    antscache: AntsCache
    kept: Path

    def renew(self) -> None:
        for name in "root", "home":
            shutil.rmtree(self.kept.parent / name, ignore_errors=True)
            shutil.copytree(self.kept / name, self.kept.parent / name, symlinks=True)

    def run(self, arguments: list[str], **environ: str) -> None:
        """Run a command, and check that it ends as it should."""
        ran = run_within(arguments, self.antscache.environment(**environ), self.antscache.home)
        assert "internal error" not in ran.err, (arguments, ran.err)
        assert ran.code in EXIT_CODES | SHELL_EXIT_CODES, (arguments, ran.err)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, _figshare: StandIn) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("fuzz")
    antscache = AntsCache(base / "root", base / "home", _figshare.origins)
    (antscache.home / "files").mkdir(parents=True)
    (antscache.home / f"files/{LUNG}.h5").write_bytes(content("41965818", f"{LUNG}.h5", SIZE))
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    (antscache.root / "catalog").mkdir(exist_ok=True)
    (antscache.root / f"catalog/{RELEASE.slug}.json").write_bytes(encode_manifest(Manifest(RELEASE, ENTRIES)))
    antscache("prefetch", str(RELEASE)).succeeded()
    for name in "root", "home":
        shutil.copytree(base / name, base / "kept" / name, symlinks=True)
    antscache.environ |= {"ANTSCACHE_OFFLINE": "1", "PATH": str(base / "none")}
    refused = OSError(errno.ENOENT, "no programs here")
    with (
        patch("os.execvpe", side_effect=refused),
        patch("antscache.hook.environments._find_site_packages", lambda _: antscache.home),
    ):
        yield Place(antscache, base / "kept")


# Arguments

# No text names anything outside of the home: it has no "/", and no "~".
CHARACTERS = st.characters(codec="utf-8", exclude_characters="/~\0")
TEXTS = st.text(CHARACTERS, max_size=20).filter(lambda text: ".." not in text)
BYTES = st.binary(max_size=4).map(lambda data: os.fsdecode(bytes(set(data) - {0, *b"/~."})))
NUMBERS = ("0", "1", "-1", "1e309", "nan", "9" * 400, "0s", "1w", "1" * 5000)
NAMES = (str(RELEASE), "90.1", "0.3.2", "0.2.9", "antspyx==0.6.3", "antspynet", "0.3.2+1a2b3c4d", "1!2", BRAIN, LUNG)
OTHERS = (
    "files",
    "out",
    "",
    " ",
    "-",
    "--",
    "figshare:34821874",
    "figshare:0",
    "url:http://127.0.0.1:9/a",
    "network",
    "docker",
)


def options(command: click.Command) -> list[str]:
    """Return the options of a command, and of those below it."""
    below = list(command.commands.values()) if isinstance(command, click.Group) and command is not program else []
    own = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    return [*(name for name in own if name.startswith("-")), *(name for each in below for name in options(each))]


# Without --debug, which shows the traceback of each error.
VERB_OPTIONS = {verb: sorted({*options(load(verb)), *options(program), "--help"} - {"--debug"}) for verb in VERBS}
HOOK_VERBS = ("status", "enable", "disable", "entries", "fetch")
WORDS = st.sampled_from([*NUMBERS, *NAMES, *OTHERS, *HOOK_VERBS]) | TEXTS | BYTES


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    verb = draw(st.sampled_from(sorted(VERBS)))
    words = draw(st.lists(WORDS | st.sampled_from(VERB_OPTIONS[verb]), max_size=6))
    return draw(st.sampled_from([[verb, *words], [*words, verb], words]))


@fuzzed
@given(command_lines())
@example(["list", "1" * 5000])
def test_no_arguments_break_a_command(place: Place, arguments: list[str]) -> None:
    place.renew()
    place.run(arguments)


# Settings

VALUES = WORDS | st.sampled_from(["true", "off", "hardlink", "http://127.0.0.1:9/{id}", "file:{id}", "h=t", ":", ","])
ENVIRONMENTS = st.dictionaries(
    st.sampled_from([*VARIABLES.values(), "ANTSCACHE_TOKENS", "SOURCE_DATE_EPOCH", "XDG_CACHE_HOME", "HOME", "TZ"]),
    VALUES,
    max_size=4,
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*NUMBERS, *NAMES]),
    lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=9), more, max_size=3),
    max_leaves=6,
)
LOCAL_COMMANDS = (
    "list",
    "status",
    f"path {RELEASE}",
    f"prefetch -n {RELEASE}",
    f"link {RELEASE}",
    "container-args docker",
)


@fuzzed
@given(ENVIRONMENTS, st.sampled_from(LOCAL_COMMANDS))
@example({"ANTSCACHE_OFFLINE": "\udcff"}, "list")
def test_no_variables_break_a_command(place: Place, environ: dict[str, str], command: str) -> None:
    place.renew()
    place.run(command.split(), **environ)


@fuzzed
@given(st.dictionaries(st.sampled_from([*VARIABLES, "baked"]) | st.text(max_size=5), JSON), st.binary(max_size=9))
def test_no_configuration_breaks_a_command(place: Place, values: dict[str, Any], more: bytes) -> None:
    place.renew()
    file = place.antscache.home / ".config/antscache/antscache.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())
    file.write_bytes(lines.encode() + (more if len(more) > 4 else b""))
    place.run(["status"])


# Files

FILES = (
    "antscache.json",
    "index.json",
    "oci-layout",
    "identifiers/figshare/34821874.json",
    f"refs/{RELEASE.package}/{RELEASE.version}/*.json",
    f"catalog/{RELEASE.slug}.json",
)


def change(draw: st.DataObject, tree: Any) -> Any:
    """Return `tree` with a value somewhere in it replaced, removed or added."""
    if not isinstance(tree, dict | list) or not tree or draw.draw(st.integers(0, 3)) == 0:
        return draw.draw(JSON)
    if isinstance(tree, dict):
        key = draw.draw(st.sampled_from(sorted(tree)))
        others = {name: value for name, value in tree.items() if name != key}
        return draw.draw(st.sampled_from([others, {**others, key: change(draw, tree[key])}]))
    at = draw.draw(st.integers(0, len(tree) - 1))
    return [*tree[:at], change(draw, tree[at]), *tree[at + 1 :]]


@fuzzed
@given(st.sampled_from(FILES), st.sampled_from(COMMANDS), st.data())
def test_no_json_breaks_a_command(place: Place, file: str, command: str, draw: st.DataObject) -> None:
    place.renew()
    (path,) = place.antscache.root.glob(file)
    changed = json.dumps(change(draw, json.loads(path.read_bytes())))
    path.unlink()
    path.write_text(changed)
    place.run(command.split())


@fuzzed
@given(st.sampled_from(FILES), st.sampled_from(COMMANDS), st.binary())
def test_no_bytes_break_a_command(place: Place, file: str, command: str, data: bytes) -> None:
    place.renew()
    (path,) = place.antscache.root.glob(file)
    path.unlink()
    path.write_bytes(data)
    place.run(command.split())
