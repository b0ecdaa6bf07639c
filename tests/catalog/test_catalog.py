"""Where manifests come from: sources of all kinds, installations, and the package index through pip."""

from __future__ import annotations

import os
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sources import DATA, ENTRIES, NETWORKS, fake_python, getter, sdist, tree, wheel

from antscache.catalog.catalog import Catalog, encode_manifest
from antscache.catalog.getters import GETTERS
from antscache.catalog.installations import find_installation
from antscache.catalog.sources import read_source
from antscache.core.manifest import Manifest, Release
from antscache.errors import ManifestError, Offline

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import AntsCache


# Sources


def test_a_wheel_an_sdist_and_a_tree_are_read_alike_and_nothing_of_them_is_imported(tmp_path: Path) -> None:
    for path in wheel(tmp_path, "0.3.3"), sdist(tmp_path, "0.3.3"), tree(tmp_path / "tree", "0.3.3"):
        reading = read_source(path)
        assert (str(reading.release), reading.entries) == ("antspynet==0.3.3", ENTRIES)


@pytest.mark.parametrize(
    ("more", "version"),
    [
        (
            {"pyproject.toml": '[build-system]\nrequires = []\n[project]\nname = "antspynet"\nversion = "0.4.0"\n'},
            "0.4.0",
        ),
        ({"setup.py": "from setuptools import setup\nsetup(name='antspynet', version='0.1.1')\n"}, "0.1.1"),
        ({"pyproject.toml": "not toml", "setup.py": "setup(version='0.2.0')"}, "0.2.0"),
        ({"setup.py": "raise SystemExit('setup.py was run')"}, "0"),
        ({}, "0"),
    ],
)
def test_a_trees_version_is_what_its_metadata_says(tmp_path: Path, more: dict[str, str], version: str) -> None:
    assert read_source(tree(tmp_path, more=more)).release.version == version


def test_the_example_files_of_antspyx_are_read_the_same_way(tmp_path: Path) -> None:
    module = GETTERS["antspyx"][0].module
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / module).write_text(getter("get_data", ".jpg", {"r16": 5}))
    assert str(read_source(tmp_path).release) == "antspyx==0"


@pytest.mark.parametrize(
    "kind", ["nothing there", "an empty directory", "a text file", "half a wheel", "half a package"]
)
def test_what_is_no_source_is_an_error_with_a_hint(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "an empty directory":
        path.mkdir()
    elif kind == "a text file":
        path.write_text("hello")
    elif kind == "half a wheel":
        whole = wheel(tmp_path, "0.3.3").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "half a package":
        (tree(path) / DATA).unlink()
    with pytest.raises(ManifestError) as caught:
        read_source(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from([wheel, sdist]), data=st.data())
def test_no_damage_to_an_archive_is_more_than_an_error(
    tmp_path: Path, kind: Callable[[Path, str], Path], data: st.DataObject
) -> None:
    path = kind(tmp_path, "0.3.3")
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(ManifestError):
        assert read_source(path).release.package == "antspynet"


def test_a_source_nested_beyond_reason_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        read_source(tree(tmp_path, more={DATA: "x = " + "-" * 100_000 + "1"}))


def test_no_member_of_an_archive_leads_out_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "antspynet-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in DATA, NETWORKS:
            member = tarfile.TarInfo(f"antspynet-1/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(member)
    with pytest.raises(ManifestError, match="no antspynet or antspyx in"):
        read_source(path)


def test_a_source_file_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = sdist(tmp_path, "1", {DATA: "#" * (5 << 20)})
    with pytest.raises(ManifestError, match="larger than"):
        read_source(path)


# Identity


def catalog(tmp_path: Path, *, offline: bool = True) -> Catalog:
    return Catalog(tmp_path / "kept", offline=offline)


def test_an_installation_that_differs_from_the_published_release_has_a_name_of_its_own(tmp_path: Path) -> None:
    found = catalog(tmp_path).source(tree(tmp_path / "tree", "0.3.2"))
    identity = Manifest(Release("antspynet", "0.3.2"), ENTRIES).identity
    assert str(found.release) == f"antspynet==0.3.2+{identity.removeprefix('sha256:')[:8]}"


def test_an_installation_of_an_unknown_version_is_not_taken_for_a_published_release(tmp_path: Path) -> None:
    assert "+" in catalog(tmp_path).source(tree(tmp_path / "tree", "0.9.9")).release.version


def test_an_installation_that_is_the_published_release_has_its_name(tmp_path: Path) -> None:
    published = Manifest(Release("antspynet", "0.9.9"), ENTRIES)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.9.9.json").write_bytes(encode_manifest(published))
    assert catalog(tmp_path).source(tree(tmp_path / "tree", "0.9.9")) == published


@pytest.mark.parametrize("content", [b"", b"{", encode_manifest(Manifest(Release("antspynet", "1"), ()))])
def test_a_kept_manifest_that_is_damaged_or_of_another_release_is_not_believed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.9.9.json").write_bytes(content)
    assert catalog(tmp_path).find(Release("antspynet", "0.9.9")) is None


# Installations


def test_an_installed_package_is_found_and_nothing_of_it_is_imported(antscache: AntsCache, tmp_path: Path) -> None:
    site = tree(tmp_path / "site", "0.3.3")
    for named in ["--python", sys.executable], ["antspynet"]:
        ran = antscache("list", *named, "--json", PYTHONPATH=site).succeeded()
        assert [row["identifier"] for row in ran.json] == ["figshare:11", "figshare:22"]


def test_a_directory_called_antspynet_where_one_happens_to_be_is_no_installation(
    antscache: AntsCache,
) -> None:
    tree(antscache.home, "0.3.3")
    ran = antscache("list", "--python", sys.executable)
    assert (ran.code, "no antspynet is installed" in ran.err) == (3, True)


def test_the_current_environment_is_virtual_env_then_conda_then_the_path(tmp_path: Path) -> None:
    environments = {
        name: fake_python(tmp_path / name, tree(tmp_path / f"site-{name}", version))
        for name, version in (("venv", "1.0"), ("conda", "2.0"), ("path", "3.0"))
    }
    environ = {
        "VIRTUAL_ENV": str(environments["venv"]),
        "CONDA_PREFIX": str(environments["conda"]),
        "PATH": f"{environments['path']}/bin:{os.environ['PATH']}",
    }
    found = []
    while environ:
        installation = find_installation("antspynet", None, environ)
        found.append(installation and installation.version)
        environ.pop(next(iter(environ)))
    assert found == ["1.0", "2.0", "3.0"]


def test_an_interpreter_that_talks_at_its_start_is_understood(tmp_path: Path) -> None:
    site = tree(tmp_path / "site", "0.3.3", {"sitecustomize.py": "print('welcome to the cluster')"})
    found = find_installation("antspynet", fake_python(tmp_path / "env", site) / "bin/python")
    assert found is not None
    assert (found.directory, found.version) == (site, "0.3.3")


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/true", "/bin/false", "/"])
def test_what_is_no_python_is_an_error_that_names_it(python: str) -> None:
    with pytest.raises(ManifestError, match="does not run as a Python") as caught:
        find_installation("antspynet", Path(python))
    assert python in str(caught.value)


def test_without_any_antspynet_the_error_lists_what_can_be_named(antscache: AntsCache) -> None:
    ran = antscache("prefetch")
    assert ran.code == 3
    assert "antspynet==0.3.2" in ran.err
    assert "0.1.1" in ran.err


# The package index


def test_a_release_that_is_not_shipped_is_read_through_pip_and_kept(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "0.3.3")
    ran = antscache("list", "0.3.3", "--json", PIP_FIND_LINKS=tmp_path / "links").succeeded()
    assert [row["name"] for row in ran.json] == ["adni", "brain"]
    again = antscache("list", "0.3.3", "--json", "--offline").succeeded()
    assert again.json == ran.json
    assert "antspynet==0.3.3" in antscache("releases").out


def test_a_release_that_nobody_has_is_an_error_in_pips_words(antscache: AntsCache) -> None:
    ran = antscache("prefetch", "9.9.9")
    assert (ran.code, antscache.root.exists()) == (3, False)
    assert "the package index has no antspynet==9.9.9, as pip says: No matching distribution found" in ran.err
    assert "hint: " in ran.err


def test_an_artifact_of_another_release_is_not_believed(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    made = wheel(tmp_path / "links", "0.3.4")
    made.rename(made.with_name("antspynet-0.3.3-py3-none-any.whl"))
    ran = antscache("list", "0.3.3", PIP_FIND_LINKS=tmp_path / "links")
    assert ran.code == 3


def test_offline_the_package_index_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(Offline, match=r"antspynet==0\.3\.3"):
        catalog(tmp_path).manifest(Release("antspynet", "0.3.3"))


def test_an_installation_that_was_never_read_cannot_be_had_from_the_index(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is an installation"):
        catalog(tmp_path, offline=False).manifest(Release("antspynet", "0.3.2+1a2b3c4d"))
