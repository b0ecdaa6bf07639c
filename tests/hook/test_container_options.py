"""The options for container engines: read back as the engines read them, and tried on real engines."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import HANG_SECONDS, AntsCache, cannot, mirror_of_pcasl, require, snapshot, upstreams
from support.members import Forks, User
from support.users import everybodys

from antscache.errors import ConfigError
from antscache.hook.container_options import (
    BAKED_ROOT,
    CONTAINER_HOME,
    CONTAINER_ROOT,
    ENGINES,
    HostAccess,
    find_hidden,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["everybodys"]

ROOT, LOWER, DIRECTORY = Path("/home/ann/.cache/antscache"), Path("/lab/antscache"), Path("/home/ann/study")
HOST = HostAccess(ROOT, writable=False, lowers=(LOWER,), directory=DIRECTORY, user=1000, group=100)
CSV_ENGINES, BIND_ENGINES = ("docker", "podman"), ("singularity", "apptainer")

SMALL = "antspyx==0.6.3"  # a release of ten files
VIEW = "views/antspyx-0.6.3/.antspy"

# As engines read it


def values(words: Sequence[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def mounted(words: Sequence[str]) -> dict[Path, tuple[Path, bool]]:
    """Return the mounts that an engine reads from `words`: destination -> source, and True if it is read-only."""
    found = {}
    for value in values(words, "--mount"):
        [fields] = csv.reader(io.StringIO(value), strict=True)
        facts = dict(field.partition("=")[::2] for field in fields)
        assert facts.pop("type") == "bind"
        found[Path(facts.pop("destination"))] = Path(facts.pop("source")), facts.pop("readonly", None) == ""
        assert not facts
    for value in values(words, "--bind"):
        parts = [part.strip() for part in re.findall("[^,^:]+:?", value)]  # Apptainer's own expression
        assert all(part.endswith(":") for part in parts[:-1]), "more than one mount"
        source, destination, *options = (part.removesuffix(":") for part in parts)
        assert options in ([], ["ro"])
        found[Path(destination)] = Path(source), options == ["ro"]
    return found


def variables(words: Sequence[str]) -> dict[str, str]:
    """Return the variables that an engine sets for these `words`."""
    pairs = values(words, "--env")
    if "--bind" in words:  # Apptainer reads a value with another = as CSV, and a shell evaluates it
        assert not set("".join(pairs)) & set(',"$\\`')
    return dict(pair.partition("=")[::2] for pair in pairs)


CHARACTERS = st.characters(exclude_characters="/\0") | st.sampled_from(",:^\"'$\\` \n=")
NAME = st.text(CHARACTERS, min_size=1, max_size=8).filter(lambda each: each not in {".", ".."})
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize("engine", ENGINES)
@given(root=PATH, lower=PATH, directory=PATH)
@example(root='a,"b', lower="c,d", directory='"')
@example(root="a:b", lower="c", directory="d")
@example(root="a", lower="$(id)==", directory="d")
def test_engine_gets_each_path_unchanged(engine: str, root: str, lower: str, directory: str) -> None:
    """A path that an engine's syntax cannot hold is refused."""
    source, below, here = Path("/root", root), Path("/lab", lower), Path("/data", directory)
    host = HostAccess(source, writable=True, lowers=(below,), directory=here, user=1, group=1)
    try:
        words = ENGINES[engine](host)
    except ConfigError:
        return
    assert mounted(words) == {CONTAINER_ROOT: (source, False), below: (below, True), here: (here, False)}
    assert variables(words)["ANTSCACHE_SITE_DIRS"] == str(below)
    assert values(words, "--workdir") + values(words, "--pwd") == [str(here)]
    assert "\n" not in shlex.join(words)


@pytest.mark.parametrize("engine", ENGINES)
@given(name=st.text("abcxyz09._-+ äß漢'()[]{}#;&*?!~<>|%@=", min_size=1, max_size=12))
def test_a_path_of_other_characters_is_not_refused(engine: str, name: str) -> None:
    path = Path("/at", f"a{name}b")
    ENGINES[engine](replace(HOST, root=path, lowers=(path / "l",), directory=path / "d"))


@pytest.mark.parametrize(
    ("name", "engines"),
    [
        ("a:b", BIND_ENGINES),
        ("a,b", BIND_ENGINES),
        ("a^b", BIND_ENGINES),
        ("a\nb", tuple(ENGINES)),
        ("a\tb", tuple(ENGINES)),
        ("a ", tuple(ENGINES)),
        ("a\u2003", tuple(ENGINES)),
        ("a\udcffb", tuple(ENGINES)),
        ("../a", tuple(ENGINES)),
    ],
)
def test_unusable_root_is_refused_with_a_hint(name: str, engines: Sequence[str]) -> None:
    for engine, make in ENGINES.items():
        host = replace(HOST, root=Path("/at", name), lowers=())
        if engine not in engines:
            make(host)
            continue
        with pytest.raises(ConfigError, match="cannot hold the path '/at/") as raised:
            make(host)
        assert "symbolic link" in raised.value.hint
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(("name", "engines"), [("a:b", tuple(ENGINES)), ("a$b", BIND_ENGINES), ("a`b", BIND_ENGINES)])
def test_lower_cache_unfit_for_a_variable_is_refused(name: str, engines: Sequence[str]) -> None:
    for engine, make in ENGINES.items():
        host = replace(HOST, lowers=(Path("/at", name),))
        if engine in engines:
            with pytest.raises(ConfigError, match="cannot hold the path"):
                make(host)
        else:
            make(host)


@pytest.mark.parametrize("engine", BIND_ENGINES)
def test_root_in_a_variable_runs_no_shell_commands(engine: str) -> None:
    host = replace(HOST, root=Path("/at/$(id)"))
    ENGINES[engine](host)
    with pytest.raises(ConfigError, match=r"ANTSCACHE_DIR cannot hold the path '/at/\$\(id\)': it has '\$' in it"):
        ENGINES[engine](replace(host, lowers=(CONTAINER_ROOT,)))


# The options


@pytest.mark.parametrize("engine", ENGINES)
def test_container_gets_caches_and_working_directory_only(engine: str) -> None:
    words = ENGINES[engine](HOST)
    expected = {CONTAINER_ROOT: (ROOT, True), LOWER: (LOWER, True), DIRECTORY: (DIRECTORY, False)}
    assert mounted(words) == expected
    assert variables(words) == {"ANTSCACHE_SITE_DIRS": "/lab/antscache"} | (
        {"HOME": str(CONTAINER_HOME)} if engine in CSV_ENGINES else {}
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_without_lower_caches_an_image_keeps_its_own(engine: str) -> None:
    assert "ANTSCACHE_SITE_DIRS" not in variables(ENGINES[engine](replace(HOST, lowers=())))


@pytest.mark.parametrize("engine", ENGINES)
def test_writable_root_is_mounted_writable(engine: str) -> None:
    assert mounted(ENGINES[engine](replace(HOST, writable=True)))[CONTAINER_ROOT] == (ROOT, False)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_root_only_lower_caches_are_mounted(engine: str) -> None:
    assert mounted(ENGINES[engine](replace(HOST, root=None, directory=None))) == {LOWER: (LOWER, True)}


@pytest.mark.parametrize("engine", ENGINES)
def test_home_is_scratch(engine: str) -> None:
    """No directory of the host is mounted as the home."""
    words = ENGINES[engine](HOST)
    assert CONTAINER_HOME not in mounted(words)
    assert values(words, "--tmpfs") + values(words, "--scratch") in (
        ["/home/antscache-home:mode=1777,exec"],
        [str(CONTAINER_HOME)],
    )
    assert [variables(words).get("HOME"), *values(words, "--home")] in (
        [str(CONTAINER_HOME)],
        [None, str(CONTAINER_HOME)],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_container_without_working_directory_starts_at_home(engine: str) -> None:
    words = ENGINES[engine](replace(HOST, directory=None))
    assert values(words, "--workdir") + values(words, "--pwd") == [str(CONTAINER_HOME)]
    assert values(words, "--no-mount") == (["cwd"] if engine in BIND_ENGINES else [])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("offline", [True, False])
def test_offline_container_has_no_network(engine: str, *, offline: bool) -> None:
    """antscache in it knows that it is offline."""
    words = ENGINES[engine](replace(HOST, offline=offline))
    assert values(words, "--network") == (["none"] if offline else [])
    assert variables(words).get("ANTSCACHE_OFFLINE") == ("1" if offline else None)


def test_docker_container_runs_as_the_caller() -> None:
    """Also if the caller is root."""
    assert values(ENGINES["docker"](HOST), "--user") == ["1000:100"]
    assert values(ENGINES["docker"](replace(HOST, user=0, group=0)), "--user") == ["0:0"]
    assert values(ENGINES["docker"](replace(HOST, groups=(7, 8))), "--group-add") == ["7", "8"]


def test_rootless_podman_keeps_the_callers_number() -> None:
    """Podman of root gets the same options as Docker."""
    words = ENGINES["podman"](replace(HOST, groups=(7, 8)))
    assert values(words, "--userns") == ["keep-id"]
    assert values(words, "--user") == ["1000:100"]
    assert values(words, "--group-add") == ["keep-groups"]
    assert "--group-add" not in ENGINES["podman"](HOST)
    assert ENGINES["podman"](replace(HOST, user=0)) == ENGINES["docker"](replace(HOST, user=0))


@pytest.mark.parametrize("engine", BIND_ENGINES)
def test_singularity_gets_no_host_variables_or_home(engine: str) -> None:
    assert {"--cleanenv", "--no-home"} <= set(ENGINES[engine](HOST))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lower", [CONTAINER_ROOT, CONTAINER_ROOT / "site", CONTAINER_ROOT.parent])
def test_root_yields_its_place_to_lower_cache(engine: str, lower: Path) -> None:
    """The root then has its own path in the container, and a variable names it."""
    words = ENGINES[engine](replace(HOST, lowers=(lower,)))
    assert mounted(words) == {lower: (lower, True), ROOT: (ROOT, True), DIRECTORY: (DIRECTORY, False)}
    assert variables(words)["ANTSCACHE_DIR"] == str(ROOT)


@pytest.mark.parametrize("engine", ENGINES)
def test_inner_mount_comes_after_outer_mount(engine: str) -> None:
    host = replace(HOST, lowers=(Path("/a/b/c/d"), Path("/a/b")), directory=Path("/a/b/c"))
    order = list(mounted(ENGINES[engine](host)))
    assert order.index(Path("/a/b")) < order.index(Path("/a/b/c")) < order.index(Path("/a/b/c/d"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lower", ["/", "/usr", "/home", "/run", "/etc"])
def test_lower_cache_over_needed_directories_is_refused(engine: str, lower: str) -> None:
    with pytest.raises(ConfigError, match=f"the lower cache {lower} must have the same path .* would hide /") as raised:
        ENGINES[engine](replace(HOST, lowers=(Path(lower),)))
    assert raised.value.hint


@pytest.mark.parametrize("engine", ENGINES)
def test_lower_cache_may_be_in_a_system_directory(engine: str) -> None:
    """Also where images have their own data."""
    for lower in BAKED_ROOT, Path("/usr/share/antscache"), Path("/run/media/disk/antscache"):
        words = ENGINES[engine](replace(HOST, lowers=(lower,)))
        assert mounted(words)[lower] == (lower, True)
        assert variables(words)["ANTSCACHE_SITE_DIRS"] == str(lower)


IMAGE_DIRECTORIES = "/ /usr /usr/lib/python3 /etc /proc/1 /lib64 /var /var/cache/antscache/x /opt /opt/antscache /home"
HOST_DIRECTORIES = "/home/ann /tmp /mnt /srv /data/x /opt/study /usr/users/ann /run/media/disk /dev/shm/x /var/tmp"


@pytest.mark.parametrize("directory", IMAGE_DIRECTORIES.split())
def test_directories_over_the_images_own_are_found(directory: str) -> None:
    assert find_hidden(Path(directory))


@pytest.mark.parametrize("directory", HOST_DIRECTORIES.split())
def test_the_hosts_own_directories_hide_nothing(directory: str) -> None:
    assert find_hidden(Path(directory)) is None


# The command


@pytest.fixture
def whole(antscache: AntsCache) -> AntsCache:
    """antscache with all of a small release."""
    antscache("prefetch", SMALL, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    return antscache


def words_of(antscache: AntsCache, *arguments: str | Path) -> tuple[list[str], str]:
    """Return the words that `antscache container-args` prints, and its messages."""
    ran = antscache("container-args", *arguments).succeeded()
    assert ran.out.count("\n") == 1
    return shlex.split(ran.out), ran.err


@pytest.mark.parametrize("engine", ENGINES)
def test_complete_release_gets_a_read_only_root(whole: AntsCache, engine: str) -> None:
    """There is no message on stderr."""
    before = snapshot(whole.root)
    words, said = words_of(whole, engine, SMALL)
    assert mounted(words) == {CONTAINER_ROOT: (whole.root, True), whole.home: (whole.home, False)}
    assert not said
    assert snapshot(whole.root) == before


def test_incomplete_release_gets_a_writable_root(
    antscache: AntsCache,
) -> None:
    """A warning says how many files are missing."""
    antscache("prefetch", SMALL, "--name", "r16").succeeded()
    words, said = words_of(antscache, "docker", SMALL)
    assert mounted(words)[CONTAINER_ROOT] == (antscache.root, False)
    assert re.search(f"warning: 9 of 10 files of {SMALL} missing, such as .*: the cache is writable, and they", said)
    assert f"hint: run `antscache prefetch {SMALL}`" in said
    assert antscache("-q", "container-args", "docker", SMALL).err == ""


def test_absent_release_gets_a_writable_root(antscache: AntsCache) -> None:
    """The container can fetch all of it."""
    antscache("init").succeeded()
    words, said = words_of(antscache, "docker", SMALL)
    assert mounted(words)[CONTAINER_ROOT] == (antscache.root, False)
    assert "10 of 10 files" in said


def test_a_view_that_was_damaged_is_not_complete(whole: AntsCache) -> None:
    (whole.root / VIEW / "r16slice.jpg").unlink()
    words, said = words_of(whole, "docker", SMALL)
    assert mounted(words)[CONTAINER_ROOT] == (whole.root, False)
    assert "1 of 10 files" in said


def test_root_is_writable_without_a_release(whole: AntsCache) -> None:
    """There is no message on stderr."""
    words, said = words_of(whole, "docker")
    assert mounted(words)[CONTAINER_ROOT] == (whole.root, False)
    assert not said


def test_offline_root_is_read_only(antscache: AntsCache) -> None:
    """Also if files are missing."""
    antscache("init").succeeded()
    words, said = words_of(antscache, "docker", SMALL, "--offline")
    assert mounted(words)[CONTAINER_ROOT] == (antscache.root, True)
    assert "10 of 10 files" in said
    assert "asking for them is an error" in said
    assert mounted(words_of(antscache, "docker", "--offline")[0])[CONTAINER_ROOT] == (antscache.root, True)


def test_hint_names_the_source_of_the_release(antscache: AntsCache, tmp_path: Path) -> None:
    antscache("init").succeeded()
    source = upstreams.make(tmp_path / "some sources", "0.3.2").directory
    _, said = words_of(antscache, "docker", "--from", source)
    assert f"hint: run `antscache prefetch --from '{source}'`" in said


@pytest.mark.parametrize("named", [(), (SMALL,)])
def test_missing_root_is_an_error(antscache: AntsCache, named: tuple[str, ...]) -> None:
    """No options are printed, and the command in the hint makes a root."""
    for engine in ENGINES:
        ran = antscache("container-args", engine, *named)
        assert (ran.code, ran.out) == (6, "")
        assert f"error: there is no cache in {antscache.root}\n" in ran.err
        assert f"hint: run `antscache prefetch{''.join(f' {each}' for each in named)}`, or `antscache init`" in ran.err
    assert not antscache.root.exists()


def test_lower_cache_keeps_its_path(antscache: AntsCache, tmp_path: Path) -> None:
    """Files in it do not count as missing."""
    lower = tmp_path / "lower"
    antscache("prefetch", SMALL, "--name", "r16", "--root", lower).succeeded()
    antscache("prefetch", SMALL, "--site-dir", lower, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    words, said = words_of(antscache, "docker", SMALL, "--site-dir", lower)
    assert mounted(words)[lower] == (lower, True)
    assert mounted(words)[CONTAINER_ROOT] == (antscache.root, True)
    assert not said


def test_a_complete_lower_cache_needs_no_root(antscache: AntsCache, tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    antscache("prefetch", SMALL, "--root", lower, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    words, said = words_of(antscache, "docker", SMALL, "--site-dir", lower)
    assert mounted(words) == {lower: (lower, True), antscache.home: (antscache.home, False)}
    assert not said
    assert antscache("container-args", "docker", "--site-dir", lower).code == 6


def test_view_into_an_unmounted_cache_is_warned_of(antscache: AntsCache, tmp_path: Path) -> None:
    """The hint has the name by which the lower cache has to be given."""
    lower, alias = tmp_path / "lower", tmp_path / "alias"
    antscache("prefetch", SMALL, "--name", "r16", "--root", lower).succeeded()
    alias.symlink_to(lower)
    antscache("prefetch", SMALL, "--site-dir", alias, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    words, said = words_of(antscache, "docker", SMALL, "--site-dir", lower)
    assert f"are links into {alias}, which is not mounted" in said
    assert mounted(words)[CONTAINER_ROOT] == (antscache.root, False)
    assert f"hint: add it with --site-dir {alias}\n" in said
    assert not words_of(antscache, "docker", SMALL, "--site-dir", alias)[1]


def test_unusable_lower_cache_is_noted_and_left_out(whole: AntsCache, tmp_path: Path) -> None:
    words, said = words_of(whole, "docker", SMALL, "--site-dir", tmp_path / "none")
    assert set(mounted(words)) == {CONTAINER_ROOT, whole.home}
    assert f"note: the lower cache {tmp_path / 'none'} is not used" in said


def test_working_directory_over_the_images_own_is_skipped(whole: AntsCache) -> None:
    words, said = words_of(replace(whole, home=Path("/usr/lib")), "docker", SMALL)
    assert set(mounted(words)) == {CONTAINER_ROOT}
    assert values(words, "--workdir") == [str(CONTAINER_HOME)]
    assert "note: the working directory /usr/lib is not mounted: the container has its own /" in said


def test_working_directory_in_a_cache_is_skipped(whole: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(whole.root / "views")
    words, said = words_of(replace(whole, home=tmp_path / "alias"), "docker", SMALL)
    assert set(mounted(words)) == {CONTAINER_ROOT}
    assert f"is not mounted: it is in the cache {whole.root}" in said


def test_deleted_working_directory_is_skipped(whole: AntsCache) -> None:
    command = shlex.join(whole.command("container-args", "docker", SMALL))
    script = f"mkdir gone; cd gone; rmdir ../gone; exec {command}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=whole.home, env=whole.environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr == "note: the working directory is not mounted: it no longer exists\n"
    assert set(mounted(shlex.split(done.stdout))) == {CONTAINER_ROOT}


def test_working_directory_is_named_as_by_the_shell(whole: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(whole.home)
    alias = str(tmp_path / "alias")
    others = (str(tmp_path), str(tmp_path / "none"), f"{alias}/../alias", "alias", "")
    for named, expected in [(alias, Path(alias)), *((other, whole.home) for other in others)]:
        words, _ = words_of(replace(whole, environ={"PWD": named}), "docker", SMALL)
        assert set(mounted(words)) == {CONTAINER_ROOT, expected}
        assert values(words, "--workdir") == [str(expected)]


def test_root_with_dots_is_mounted_by_real_path(whole: AntsCache) -> None:
    words, _ = words_of(whole, "docker", SMALL, "--root", f"../{whole.root.name}")
    assert mounted(words)[CONTAINER_ROOT] == (whole.root, True)


def test_blanks_are_quoted_for_eval(antscache: AntsCache, tmp_path: Path) -> None:
    """One note says so."""
    spaced = replace(antscache, root=tmp_path / "my root")
    spaced("init").succeeded()
    ran = spaced("container-args", "docker").succeeded()
    assert ran.err.count("note: ") == 1
    assert "write eval" in ran.err
    words = subprocess.run(
        ["sh", "-c", f"eval \"printf '%s\\n' {ran.out.rstrip()}\""], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == spaced("container-args", "docker", "--json").json
    assert (tmp_path / "my root", False) in mounted(words).values()


@pytest.mark.parametrize("engine", ENGINES)
def test_json_is_the_list_of_the_same_words(whole: AntsCache, engine: str) -> None:
    ran = whole("container-args", engine, SMALL, "--json").succeeded()
    assert ran.json == words_of(whole, engine, SMALL)[0]


@pytest.mark.parametrize("engine", BIND_ENGINES)
def test_command_refuses_an_unusable_root(antscache: AntsCache, tmp_path: Path, engine: str) -> None:
    """No options are printed."""
    odd = replace(antscache, root=tmp_path / "a:b")
    odd("init").succeeded()
    ran = odd("container-args", engine)
    assert (ran.code, ran.out) == (2, "")
    assert "error: --bind cannot hold the path" in ran.err
    assert "hint: " in ran.err


def test_unknown_engine_error_lists_known_engines(antscache: AntsCache) -> None:
    ran = antscache("container-args", "dokcer")
    assert ran.code == 2
    assert all(f"'{engine}'" in ran.err for engine in ENGINES)


# Other users

NOBODY, LAB, CLUB = 65534, 32001, 32002  # a user that every host has, and groups that none has


@pytest.fixture
def become(forked: Forks, everybodys: Path) -> Callable[..., User]:
    """Make a user who works in a directory of their own."""

    def become(user: int, *groups: int) -> User:
        directory = everybodys / "my study"
        directory.mkdir()
        os.chown(directory, user, user)
        return User(forked, user, (user, *groups), 0o022, directory)

    return become


def test_container_gets_the_groups_it_needs(become: Callable[..., User], everybodys: Path) -> None:
    """Those of the caller's groups that some mounted path belongs to."""
    root, ann = everybodys / "root", become(NOBODY, LAB, CLUB)
    ann("init", "--root", root).succeeded()
    assert "--group-add" not in ann("container-args", "docker", "--root", root).succeeded().out
    os.chown(root, NOBODY, LAB)
    words = ann("container-args", "docker", "--root", root, "--json").succeeded().json
    assert values(words, "--user") == [f"{NOBODY}:{NOBODY}"]
    assert values(words, "--group-add") == [str(LAB)]


def test_root_of_another_user_is_mounted_read_only(
    antscache: AntsCache, become: Callable[..., User], everybodys: Path
) -> None:
    root = everybodys / "root"
    antscache("prefetch", SMALL, "--root", root, "--name", "r16").succeeded()
    ran = become(NOBODY)("container-args", "docker", SMALL, "--root", root, "--json").succeeded()
    assert mounted(ran.json)[CONTAINER_ROOT] == (root, True)
    assert "9 of 10 files" in ran.err
    assert "asking for them is an error" in ran.err


def test_unreadable_root_is_skipped_if_not_needed(
    antscache: AntsCache, become: Callable[..., User], everybodys: Path
) -> None:
    """A lower cache has the whole release."""
    root, lower, ann = everybodys / "root", everybodys / "lower", become(NOBODY)
    antscache("prefetch", SMALL, "--root", lower, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    antscache("init", "--root", root).succeeded()
    root.chmod(0o700)
    named = ("--root", root, "--site-dir", lower, "--json")
    ran = ann("container-args", "docker", SMALL, *named).succeeded()
    assert mounted(ran.json) == {lower: (lower, True), ann.home: (ann.home, False)}
    assert ann("container-args", "docker", *named).code == 6


# On real engines

CALLERS = pytest.mark.parametrize("user", [NOBODY, 0], ids=["a user", "root"])
APPLETS = ("sh", "cat", "echo", "id", "ls", "pwd", "sha256sum", "touch", "wc")
LEAKS = {"PYTHONPATH": "/leak", "ANTSCACHE_DIR": "/leak", "KERAS_HOME": "/leak"}
LOOK_SCRIPT = """\
echo user=$(id -u):$(id -g)
echo directory=$(pwd)
echo home=$HOME:$(ls -A $HOME | wc -l)
touch $HOME/new && echo home-writable
touch made && echo directory-writable
touch /var/cache/antscache/new && echo root-writable
touch {lower}/new && echo lower-writable
echo interfaces=$(cat /proc/net/dev | wc -l)
echo variables=$ANTSCACHE_SITE_DIRS:$ANTSCACHE_OFFLINE:$PYTHONPATH$ANTSCACHE_DIR$KERAS_HOME
cd /var/cache/antscache/{view} && sha256sum *
"""


@dataclass(frozen=True)
class Engine:
    """An engine of this machine: its name, and a function that runs a script in a container of a tiny image."""

    name: str
    run: Callable[[int, Sequence[str], str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The file system of a tiny image, with the directories that our images have. Every user may read it."""
    busybox = require("busybox")
    if subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode == 0:
        cannot("busybox is not static (Debian: busybox-static)")
    with tempfile.TemporaryDirectory(prefix="antscache-image-") as name:
        tree = Path(name)
        tree.chmod(0o755)
        for directory in "bin", "etc", "home/antspyuser", "tmp", "var/cache/antscache":
            (tree / directory).mkdir(parents=True)
        shutil.copy(busybox, tree / "bin/busybox")
        for applet in APPLETS:
            (tree / "bin" / applet).symlink_to("busybox")
        yield tree


@pytest.fixture(scope="module")
def docker(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    program = os.environ.get("DOCKER") or require("docker")
    if subprocess.run([program, "version"], capture_output=True, check=False).returncode:
        cannot("no Docker daemon answers")
    tag = f"antscache-tests:{uuid.uuid4().hex}"
    archive = tmp_path_factory.mktemp("docker") / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(image, ".")
    subprocess.run([program, "import", str(archive), tag], check=True, capture_output=True)

    def run(_: int, words: Sequence[str], script: str) -> subprocess.CompletedProcess[str]:
        network = [] if "--network" in words else ["--network", "none"]  # not all machines have another one
        command = [program, "run", "--rm", *network, *words, tag, "/bin/sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)

    yield Engine("docker", run)
    subprocess.run([program, "rmi", "--force", tag], check=True, capture_output=True)


@pytest.fixture(scope="module")
def apptainer(image: Path) -> Engine:
    program = require("apptainer")

    def run(user: int, words: Sequence[str], script: str) -> subprocess.CompletedProcess[str]:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        privileges = [] if user else ["--no-privs"]
        command = [*become, program, "--silent", "exec", *privileges, *words, str(image), "/bin/sh", "-c", script]
        environ = {"PATH": os.environ["PATH"], **LEAKS}
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS, env=environ)

    return Engine("apptainer", run)


@pytest.fixture(params=["docker", "apptainer"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.mark.slow
@pytest.mark.images
@CALLERS
def test_real_container_reads_the_whole_view(
    engine: Engine, user: int, antscache: AntsCache, become: Callable[..., User], everybodys: Path
) -> None:
    """It runs as the caller, and writes to its home and the working directory only."""
    comma, caller = "," if engine.name == "docker" else "", become(user)
    root, lower, directory = everybodys / f"the{comma} root", everybodys / "lower", caller.home
    antscache("prefetch", SMALL, "--name", "r16", "--root", lower).succeeded()
    antscache("prefetch", SMALL, "--root", root, "--site-dir", lower, ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    view = {path.name: path for path in (root / VIEW).iterdir()}
    assert any(path.is_symlink() for path in view.values())
    named = ("container-args", engine.name, SMALL, "--root", root, "--site-dir", lower, "--offline", "--json")
    words = caller(*named).succeeded().json

    done = engine.run(user, words, LOOK_SCRIPT.format(lower=lower, view=VIEW))
    lines = done.stdout.splitlines()
    assert lines[:7] == [
        f"user={user}:{user}",
        f"directory={directory}",
        f"home={CONTAINER_HOME}:0",
        "home-writable",
        "directory-writable",
        "interfaces=3",
        f"variables={lower}:1:",
    ], done.stderr
    assert done.stderr.count("Read-only file system") == 2
    sums = subprocess.run(["sha256sum", *sorted(view)], cwd=root / VIEW, capture_output=True, text=True, check=True)
    assert sorted(lines[7:]) == sorted(sums.stdout.splitlines())
    assert (directory / "made").stat().st_uid == user
    assert not list(everybodys.glob("*/new"))


@pytest.mark.slow
@pytest.mark.images
@CALLERS
def test_real_container_writes_to_a_writable_root(
    engine: Engine, user: int, become: Callable[..., User], everybodys: Path
) -> None:
    root, caller = everybodys / "root", become(user)
    caller("init", "--root", root).succeeded()
    words = caller("container-args", engine.name, "--root", root, "--json").succeeded().json

    done = engine.run(user, words, "echo some > /var/cache/antscache/new; pwd")
    assert done.stdout == f"{caller.home}\n", done.stderr
    assert (root / "new").read_text() == "some\n"
    assert (root / "new").stat().st_uid == user


@pytest.mark.slow
@pytest.mark.images
@CALLERS
def test_real_container_has_root_and_lower_cache(engine: Engine, user: int, everybodys: Path) -> None:
    """The lower cache has the root's place in the options alone: the host's /var/cache is left alone."""
    root, lower = everybodys / "root", everybodys / "lower"
    for cache in root, lower:
        cache.mkdir()
        (cache / "name").write_text(f"{cache.name}\n")
    host = HostAccess(root, writable=False, lowers=(CONTAINER_ROOT,), directory=None, user=user, group=user)
    words = [word.replace(f"source={CONTAINER_ROOT},", f"source={lower},") for word in ENGINES[engine.name](host)]
    words = [word.replace(f"{CONTAINER_ROOT}:{CONTAINER_ROOT}:", f"{lower}:{CONTAINER_ROOT}:") for word in words]

    done = engine.run(user, words, f"cat $ANTSCACHE_DIR/name {CONTAINER_ROOT}/name")
    assert done.stdout == "root\nlower\n", done.stderr
