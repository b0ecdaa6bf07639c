"""get_antspynet_data.py: the script that Dockerfiles call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from support import BRAIN, HANG_SECONDS, LUNG, REPOSITORY, TEMPLATE, AntsCache, Ran, mirror_of_pcasl

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = REPOSITORY / "get_antspynet_data.py"
Script = Callable[..., Ran]


@pytest.fixture
def script(antscache: AntsCache) -> Script:
    def run(*arguments: str | Path, name: str = "", **environ: str | Path) -> Ran:
        path = SCRIPT
        if name:
            path = antscache.home / name
            path.write_bytes(SCRIPT.read_bytes())
        done = subprocess.run(
            [sys.executable, str(path), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=antscache.environment(**environ),
            cwd=antscache.home,
            timeout=HANG_SECONDS,
        )
        assert "Traceback" not in done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    data, networks = tmp_path / "data.txt", tmp_path / "networks.txt"
    data.write_text(f"{TEMPLATE}\n\nshow\n")
    networks.write_text(f"{BRAIN}\n  {LUNG}  \n")
    return data, networks


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


ALL_LISTED = {f"{TEMPLATE}.nii.gz", f"{BRAIN}.h5", f"{LUNG}.h5"}


def test_older_form_fills_antsxnet_below_keras(
    script: Script, tmp_path: Path, lists: tuple[Path, Path], figshare: StandIn
) -> None:
    script(tmp_path / ".keras", "1", *lists, "--release", "0.3.2").succeeded()
    assert names(tmp_path / ".keras") == {"ANTsXNet"}
    assert names(tmp_path / ".keras/ANTsXNet") == ALL_LISTED
    assert (tmp_path / f".keras/ANTsXNet/{BRAIN}.h5").read_bytes() == figshare.content("34821874")


def test_relative_path_starts_at_the_working_directory(
    script: Script, antscache: AntsCache, lists: tuple[Path, Path]
) -> None:
    script("here/.keras", "1", lists[0], "--release", "0.3.2").succeeded()
    assert names(antscache.home / "here/.keras/ANTsXNet") == {f"{TEMPLATE}.nii.gz"}


def test_do_install_0_does_nothing(script: Script, antscache: AntsCache, tmp_path: Path) -> None:
    ran = script(tmp_path / ".keras", "0").succeeded()
    assert (ran.out, ran.err) == ("", "")
    assert not (tmp_path / ".keras").exists()
    assert not antscache.root.exists()


def test_newer_form_fills_the_cache_directory(script: Script, tmp_path: Path, lists: tuple[Path, Path]) -> None:
    flags = ["--data-key-file", lists[0], "--model-key-file", lists[1], "--strict", "--release", "antspynet==0.3.2"]
    script("--cache-dir", tmp_path / "cache", *flags).succeeded()
    assert names(tmp_path / "cache") == ALL_LISTED


def test_default_directory_is_that_of_antspynet(script: Script, antscache: AntsCache) -> None:
    script("--data-keys", TEMPLATE, "--release", "0.3.2").succeeded()
    assert names(antscache.home / ".keras/ANTsXNet") == {f"{TEMPLATE}.nii.gz"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--data-keys", TEMPLATE], {f"{TEMPLATE}.nii.gz"}),
        (["--model-keys", BRAIN, LUNG], {f"{BRAIN}.h5", f"{LUNG}.h5"}),
        (["--data-keys", TEMPLATE, "--model-keys", BRAIN], {f"{TEMPLATE}.nii.gz", f"{BRAIN}.h5"}),
    ],
)
def test_naming_one_kind_fetches_that_kind_only(
    script: Script, tmp_path: Path, flags: list[str], expected: set[str]
) -> None:
    script("--cache-dir", tmp_path / "cache", *flags, "--release", "0.3.2").succeeded()
    assert names(tmp_path / "cache") == expected


def test_naming_nothing_fetches_everything(script: Script, tmp_path: Path) -> None:
    script(tmp_path / ".keras", "1", "--release", "antspyx==0.6.3", ANTSCACHE_MIRRORS=mirror_of_pcasl()).succeeded()
    assert len(names(tmp_path / ".keras/ANTsXNet")) == 10


def test_verbose_prints_the_path_of_each_file(script: Script, tmp_path: Path) -> None:
    ran = script("--cache-dir", tmp_path, "--data-keys", TEMPLATE, "--verbose", "--release", "0.3.2").succeeded()
    assert ran.out == f"{tmp_path}/{TEMPLATE}.nii.gz\n"


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_failed_download_makes_the_script_fail(
    script: Script, tmp_path: Path, figshare: StandIn, strict: list[str]
) -> None:
    origins = figshare.misbehaving_origins(Misbehaviour.CHALLENGE)
    ran = script(
        "--cache-dir", tmp_path / "cache", "--data-keys", TEMPLATE, "--release", "0.3.2", *strict,
        ANTSCACHE_ORIGINS=origins,
    )  # fmt: skip
    assert (ran.code, "202 bot challenge" in ran.err) == (4, True)
    assert names(tmp_path / "cache") == set()


def test_unknown_name_makes_the_script_fail(script: Script, tmp_path: Path) -> None:
    ran = script("--cache-dir", tmp_path / "cache", "--data-keys", "S_template", "--release", "0.3.2")
    assert (ran.code, f"did you mean {TEMPLATE}" in ran.err) == (3, True)


def test_cut_file_is_neither_trusted_nor_replaced(script: Script, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / f"cache/{TEMPLATE}.nii.gz").write_bytes(b"cut")
    ran = script("--cache-dir", tmp_path / "cache", "--data-keys", TEMPLATE, "--release", "0.3.2")
    assert (ran.code, f"other bytes under {TEMPLATE}.nii.gz" in ran.err) == (7, True)
    assert (tmp_path / f"cache/{TEMPLATE}.nii.gz").read_bytes() == b"cut"


def test_without_antspynet_the_release_is_required(script: Script, tmp_path: Path) -> None:
    ran = script("--cache-dir", tmp_path / "cache", "--data-keys", TEMPLATE)
    assert (ran.code, "no antspynet is installed" in ran.err) == (3, True)


def test_without_arguments_each_form_behaves_as_upstream(script: Script) -> None:
    """The older script prints its usage and exits with 1; the newer one begins."""
    older = script(name="get_antsxnet_data.py")
    assert (older.code, "doInstall=1" in older.err) == (1, True)
    newer = script(name="download_antsxnet_data.py")
    assert (newer.code, "no antspynet is installed" in newer.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--cache-dir", "y"], "both name a directory"),
        (["x", "yes"], "doInstall"),
        (["x", "1", "/nonexistent.txt"], "cannot read a list of names"),
        (["--data-keys", "a", "--data-key-file", "b"], "not allowed with"),
    ],
)
def test_wrong_arguments_are_a_usage_error(script: Script, arguments: list[str], message: str) -> None:
    ran = script(*arguments)
    assert (ran.code, message in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "beside"), [([".keras"], ".keras"), (["--cache-dir", "elsewhere"], "elsewhere")], ids=["keras", "any"]
)
def test_downloads_in_an_image_stay_beside_the_directory(
    script: Script, antscache: AntsCache, lists: tuple[Path, Path], arguments: list[str], beside: str
) -> None:
    """Without a mounted cache, downloads stay in `antscache/` beside the directory, and serve another run."""
    options = ["1", *map(str, lists)] if arguments == [".keras"] else ["--data-key-file", str(lists[0])]
    environ = {"ANTSCACHE_MOUNTED": "1", "ANTSCACHE_DIR": "", "XDG_CACHE_HOME": "/nowhere"}
    script(*arguments, *options, "--release", "0.3.2", **environ).succeeded()
    directory, root = antscache.home / beside, antscache.home / beside / "antscache"
    files = directory / "ANTsXNet" if beside == ".keras" else directory
    assert f"{TEMPLATE}.nii.gz" in names(files)
    antscache("verify", "--root", root).succeeded()
    again = script(*arguments, *options, "--release", "0.3.2", ANTSCACHE_OFFLINE="1", **environ).succeeded()
    assert "nothing to fetch" in again.err


def test_broken_installation_names_its_remedy(script: Script, tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('no _core')")
    ran = script(tmp_path / ".keras", PYTHONPATH=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: antscache cannot be imported: no _core\nhint: run `pip install antscache`")
