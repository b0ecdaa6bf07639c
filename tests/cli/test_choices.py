"""Entries that a command line chooses: --for, --name with patterns and file names, --names-from."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import h5py
import pytest
from support import BRAIN, TEMPLATE

if TYPE_CHECKING:
    from pathlib import Path

    from support import AntsCache

T1 = ("--for", "brain_extraction:modality=t1")
COMMANDS = (("prefetch", "-n", "0.3.2"), ("list", "0.3.2"))


def listed(antscache: AntsCache, *words: str | Path) -> set[str]:
    return {row["name"] for row in antscache("list", "0.3.2", *words, "--json").succeeded().json}


def test_for_fetches_what_a_call_needs(antscache: AntsCache) -> None:
    """And nothing else."""
    home = antscache("prefetch", "0.3.2", *T1).succeeded().out.strip()
    assert "1 data" not in home
    rows = antscache("list", "0.3.2", "--json").succeeded().json
    assert {row["name"] for row in rows if row["status"] == "present"} == {BRAIN, TEMPLATE}


def test_for_says_what_an_argument_would_decide(antscache: AntsCache) -> None:
    done = antscache("prefetch", "-n", "0.3.2", "--for", "brain_extraction").succeeded()
    assert "24 to fetch" in done.out
    assert "as `modality` decides" in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_function_exits_with_3(antscache: AntsCache, command: tuple[str, ...]) -> None:
    done = antscache(*command, "--for", "brain_extrction")
    assert (done.code, done.out) == (3, "")
    assert "did you mean brain_extraction" in done.err


def test_for_chooses_in_export_and_link(antscache: AntsCache, tmp_path: Path) -> None:
    antscache("prefetch", "0.3.2", *T1, "--name", "xrayLung*").succeeded()
    antscache("link", "0.3.2", "--home", tmp_path / "home", *T1).succeeded()
    assert {path.name for path in (tmp_path / "home/.keras/ANTsXNet").iterdir()} == {
        f"{BRAIN}.h5",
        f"{TEMPLATE}.nii.gz",
    }
    planned = antscache("export", "0.3.2", tmp_path / "out", "-n", *T1).succeeded().out
    assert f"{BRAIN}.h5" in planned
    assert "xrayLung" not in planned


def test_run_for_fetches_before_the_command(antscache: AntsCache) -> None:
    code = "import os; print(len(os.listdir(os.environ['HOME_OF_VIEW'])))"
    home = antscache("prefetch", "0.3.2", "--name", TEMPLATE).succeeded().out.strip()
    directory = f"{home}/.keras/ANTsXNet"
    done = antscache("run", "0.3.2", *T1, "--", sys.executable, "-c", code, HOME_OF_VIEW=directory).succeeded()
    assert done.out.strip() == "2"


def test_run_for_offline_names_what_is_missing(antscache: AntsCache) -> None:
    done = antscache("run", "0.3.2", "--offline", *T1, "--", "echo", "ran")
    assert (done.code, done.out) == (9, "")


def test_names_come_from_a_file(antscache: AntsCache, tmp_path: Path) -> None:
    (names := tmp_path / "names.txt").write_text(f"# for the paper\r\n{TEMPLATE}.nii.gz\r\n\r\n{BRAIN}\r\n")
    assert listed(antscache, "--names-from", names) == {BRAIN, TEMPLATE}


def test_names_come_from_standard_input(antscache: AntsCache) -> None:
    command = antscache.command("list", "0.3.2", "--names-from", "-")
    done = subprocess.run(
        command, input=f"{TEMPLATE}\n", capture_output=True, text=True, check=True, env=antscache.environment()
    )
    assert done.stdout.splitlines() == [line for line in done.stdout.splitlines() if TEMPLATE in line] != []


@pytest.mark.parametrize("content", [None, b"", b"# nothing\n", b"\xff\xfe", b"nobody\n"])
def test_a_file_without_names_is_an_error(antscache: AntsCache, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    done = antscache("list", "0.3.2", "--names-from", path)
    assert done.code in {2, 3}
    assert done.out == ""
    assert "hint: " in done.err


def test_patterns_choose_names(antscache: AntsCache) -> None:
    assert listed(antscache, "--name", "xrayLung*") == {"xrayLungExtraction", "xrayLungOrientation", "xrayLungPriors"}
    assert listed(antscache, "--name", "xrayLung*.h5") == {"xrayLungExtraction", "xrayLungOrientation"}


def test_a_pattern_that_matches_nothing_is_an_error(antscache: AntsCache) -> None:
    assert antscache("prefetch", "0.3.2", "--name", "nothing*").code == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_function_is_no_misspelt_name(antscache: AntsCache, command: tuple[str, ...]) -> None:
    """The name of a function is answered with --for, and not with a network of similar name."""
    done = antscache(*command, "--name", "brain_extraction")
    assert done.code == 3
    assert "brain_extraction is a function" in done.err
    assert "did you mean" not in done.err


def test_functions_are_listed(antscache: AntsCache) -> None:
    rows = antscache("list", "0.3.2", "--functions", "--json").succeeded().json
    brain = next(row for row in rows if row["function"] == "brain_extraction")
    assert (brain["files"], brain["most"], brain["deciding"]) == (24, 24, ["modality"])


def test_show_tells_what_a_function_needs(antscache: AntsCache) -> None:
    antscache("prefetch", "0.3.2", *T1).succeeded()
    lines = antscache("show", "brain_extraction").succeeded().out.splitlines()
    assert lines[0] == "brain_extraction(image, modality, verbose) in antspynet==0.3.2"
    assert any(line.startswith("modality=t1 ") and line.endswith("2 held") for line in lines)


def test_show_names_the_functions_of_a_name(antscache: AntsCache) -> None:
    assert "brain_extraction" in antscache("show", BRAIN).succeeded().out
    rows = antscache("show", BRAIN, "0.3.2", "--json").succeeded().json
    assert "brain_extraction" in rows[0]["functions"]


def test_show_names_the_keras_of_a_held_network(antscache: AntsCache, tmp_path: Path) -> None:
    with h5py.File(tmp_path / f"{BRAIN}.h5", "w") as network:
        network.attrs["keras_version"] = "2.4.0"
        network["weights"] = [0.0] * 10
    mirror = f"{tmp_path.as_uri()}/{{file}}"
    antscache("prefetch", "0.3.2", "--name", BRAIN, "--mirror", mirror).succeeded()
    assert "written by Keras 2.4.0" in antscache("show", BRAIN, "0.3.2").succeeded().out
    assert antscache("show", BRAIN, "0.3.2", "--json").succeeded().json[0]["keras"] == "2.4.0"
