"""The sources of manifests: wheels, sdists, trees, installations, and the package index through pip."""

from __future__ import annotations

import os
import re
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sources import DATA, ENTRIES, METADATA, NETWORKS, fake_python, getter, sdist, tree, wheel

from antscache.catalog.catalog import Catalog, encode_manifest
from antscache.catalog.getters import GETTERS
from antscache.catalog.installations import find_installation
from antscache.catalog.sources import MAX_SOURCE_BYTES, Reading, read_source
from antscache.core.manifest import Entry, Manifest, Release, parse_release
from antscache.errors import ManifestError, Offline

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import AntsCache


# Sources


def test_wheel_sdist_and_tree_give_equal_entries(tmp_path: Path) -> None:
    """They are read and not imported: an import of their modules would raise an error."""
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
def test_version_comes_from_the_metadata(tmp_path: Path, more: dict[str, str], version: str) -> None:
    assert read_source(tree(tmp_path, more=more)).release.version == version


def test_sources_of_antspyx_are_read_too(tmp_path: Path) -> None:
    module = GETTERS["antspyx"][0].module
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / module).write_text(getter("get_data", ".jpg", {"r16": 5}))
    assert str(read_source(tmp_path).release) == "antspyx==0"


@pytest.mark.parametrize("kind", ["nothing there", "an empty directory", "a text file", "half a wheel"])
def test_a_path_without_source_is_refused(tmp_path: Path, kind: str) -> None:
    """A path without a source is an error that names the path and has a hint."""
    path = tmp_path / "x"
    if kind == "an empty directory":
        path.mkdir()
    elif kind == "a text file":
        path.write_text("hello")
    elif kind == "half a wheel":
        whole = wheel(tmp_path, "0.3.3").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ManifestError) as caught:
        read_source(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from([wheel, sdist]), data=st.data())
def test_a_damaged_archive_is_read_or_refused(
    tmp_path: Path, kind: Callable[[Path, str], Path], data: st.DataObject
) -> None:
    path = kind(tmp_path, "0.3.3")
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(ManifestError):
        assert read_source(path).release.package == "antspynet"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, f"there is no {DATA}"),
        ("x = " + "-" * 100_000 + "1", f"{DATA}, line "),
        ("#" * (MAX_SOURCE_BYTES + 1), "larger than"),
        ("#" * (5 << 20), "larger than"),
        ("secret", f"cannot read {DATA}: "),
    ],
)
def test_an_unread_module_leaves_the_other_one(tmp_path: Path, text: str | None, problem: str) -> None:
    """A module of a getter that is not there, not understood, or cannot be opened."""
    path = tree(tmp_path) / DATA
    path.unlink()
    if text == "secret":
        path.symlink_to("/proc/self/mem")
    elif text is not None:
        path.write_text(text)
    reading = read_source(tmp_path)
    assert [entry.name for entry in reading.entries] == ["brain"]
    [unread] = reading.unread
    assert (unread.kind, problem in unread.problem) == ("data", True)


def test_version_of_many_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"setup.py has a version of 65 characters"):
        read_source(tree(tmp_path, more={"setup.py": f"setup(version={'1' * 65!r})"}))


@pytest.mark.parametrize("text", ["a" + ".a" * 1000 + " = 1", "a = " + "[" * 900], ids=["keys", "arrays"])
def test_project_file_that_takes_long_is_left(tmp_path: Path, text: str) -> None:
    source = tree(tmp_path, more={"pyproject.toml": f'{text}\n[project]\nversion = "7"\n'})
    assert read_source(source).release.version == "0"


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("place", [DATA, "antspynet-1.dist-info/METADATA", "setup.py", "antspynet-1.tar.gz"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_no_pipe_or_device_is_read(tmp_path: Path, place: str, make: Callable[[Path], object]) -> None:
    """One in a source tree, or in the place of an archive, ends in an error or counts as absent: the reading ends."""
    path = tree(tmp_path / "tree") / place
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    make(path)
    with suppress(ManifestError):
        read_source(path if place.endswith(".gz") else tmp_path / "tree")


def test_a_source_without_readable_getters_is_refused(tmp_path: Path) -> None:
    path = sdist(tmp_path, "1", {DATA: "#" * (5 << 20), NETWORKS: "def get_pretrained_network(): pass"})
    with pytest.raises(ManifestError, match=f"cannot read antspynet in {path}: .*larger than"):
        read_source(path)


# Identity


def catalog(tmp_path: Path, *, offline: bool = True) -> Catalog:
    return Catalog(tmp_path / "kept", offline=offline)


def test_a_changed_installation_gets_its_own_version(tmp_path: Path) -> None:
    """An installation that differs from the published release has eight digits of its identity in its version."""
    manifest = catalog(tmp_path).source(tree(tmp_path / "tree", "0.3.2"))
    identity = Manifest(Release("antspynet", "0.3.2"), ENTRIES).identity
    assert str(manifest.release) == f"antspynet==0.3.2+{identity.removeprefix('sha256:')[:8]}"


def test_an_own_version_is_found_by_its_name(tmp_path: Path) -> None:
    """Also if the eight digits of the identity are decimal ones and begin with 0, which PEP 440 takes for a number."""
    release = Release("antspynet", "0.9.9")
    numbers = (Entry("data", "a", "a.nii.gz", f"figshare:{number}") for number in range(1, 100_000))
    entry = next(
        each for each in numbers if re.match("sha256:0[0-9]{7}", Manifest(release, (each,)).identity) is not None
    )
    own = catalog(tmp_path).identified(Reading(release, (entry,))).release
    assert own == parse_release(str(own))


def test_an_unknown_version_is_no_published_release(tmp_path: Path) -> None:
    assert "+" in catalog(tmp_path).source(tree(tmp_path / "tree", "0.9.9")).release.version


def test_an_unchanged_installation_is_the_published_release(tmp_path: Path) -> None:
    published = Manifest(Release("antspynet", "0.9.9"), ENTRIES)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.9.9.json").write_bytes(encode_manifest(published))
    assert catalog(tmp_path).source(tree(tmp_path / "tree", "0.9.9")) == published


@pytest.mark.parametrize("content", [b"", b"{", encode_manifest(Manifest(Release("antspynet", "1"), ()))])
def test_a_damaged_kept_manifest_is_ignored(tmp_path: Path, content: bytes) -> None:
    """A kept manifest that is damaged, or of another release, counts as absent."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.9.9.json").write_bytes(content)
    assert catalog(tmp_path).find(Release("antspynet", "0.9.9")) is None


def test_manifest_of_no_version_breaks_no_list(tmp_path: Path) -> None:
    """In a shared root any member can put one there."""
    (tmp_path / "kept").mkdir()
    for version in "0..1", "1+", "0.1.x":
        content = f'{{"release":{{"package":"antspynet","version":"{version}"}},"entries":[]}}'
        (tmp_path / f"kept/antspynet-{version}.json").write_text(content)
    assert catalog(tmp_path).releases() == Catalog(tmp_path / "none", offline=True).releases()


def test_shipped_manifests_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some installers link an installed package's files to their own cache; nobody else's are followed."""
    whole = encode_manifest(Manifest(Release("antspynet", "0.9.9"), ENTRIES))
    (tmp_path / "whole.json").write_bytes(whole)
    for name in "shipped", "kept":
        (tmp_path / name).mkdir()
        (tmp_path / name / "antspynet-0.9.9.json").symlink_to(tmp_path / "whole.json")
    assert catalog(tmp_path).find(Release("antspynet", "0.9.9")) is None
    monkeypatch.setattr("antscache.catalog.catalog.SHIPPED_DIRECTORY", tmp_path / "shipped")
    assert catalog(tmp_path).find(Release("antspynet", "0.9.9"))


ELSEWHERE = "http://files.example.org/7/adni.nii.gz"
EARLIER_REASON = f"not a Figshare file identifier: {ELSEWHERE}"


def test_earlier_manifests_are_understood_as_today(tmp_path: Path) -> None:
    """An earlier antscache called URLs of most forms unavailable; their release keeps its version all the same."""
    earlier = Manifest(
        Release("antspynet", "0.9.9"), (Entry("data", "adni", "adni.nii.gz", reason=EARLIER_REASON), ENTRIES[1])
    )
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.9.9.json").write_bytes(encode_manifest(earlier))
    source = tree(tmp_path / "tree", "0.9.9", {DATA: getter("get_antsxnet_data", ".nii.gz", {"adni": ELSEWHERE})})
    manifest = catalog(tmp_path).source(source)
    assert manifest.release == earlier.release
    assert manifest.entries[0].identifier == f"url:{ELSEWHERE}"


def test_installation_keeps_its_earlier_own_version(tmp_path: Path) -> None:
    """It was made of identifiers as an earlier antscache understood them."""
    earlier = Manifest(
        Release("antspynet", "0.3.2+0a1b2c3d"),
        (Entry("data", "adni", "adni.nii.gz", reason=EARLIER_REASON), ENTRIES[1]),
    )
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/antspynet-0.3.2+0a1b2c3d.json").write_bytes(encode_manifest(earlier))
    source = tree(tmp_path / "tree", "0.3.2", {DATA: getter("get_antsxnet_data", ".nii.gz", {"adni": ELSEWHERE})})
    assert catalog(tmp_path).source(source).release == earlier.release
    assert catalog(tmp_path).source(tree(tmp_path / "other", "0.3.2")).release != earlier.release


# Installations


def test_an_installed_package_is_found_without_import(antscache: AntsCache, tmp_path: Path) -> None:
    site = tree(tmp_path / "site", "0.3.3")
    for named in ["--python", sys.executable], ["antspynet"]:
        ran = antscache("list", *named, "--json", PYTHONPATH=site).succeeded()
        assert [row["identifier"] for row in ran.json] == ["figshare:11", "figshare:22"]


def test_the_working_directory_is_no_installation(
    antscache: AntsCache,
) -> None:
    """A directory `antspynet` in it is not taken for an installed package."""
    tree(antscache.home, "0.3.3")
    ran = antscache("list", "--python", sys.executable)
    assert (ran.code, "no antspynet is installed" in ran.err) == (3, True)


def test_order_of_current_environments(tmp_path: Path) -> None:
    """The current environment is that of VIRTUAL_ENV, else of CONDA_PREFIX, else of the PATH."""
    environments = {
        name: fake_python(tmp_path / name, tree(tmp_path / f"site-{name}", version))
        for name, version in (("venv", "1.0"), ("conda", "2.0"), ("path", "3.0"))
    }
    environ = {
        "VIRTUAL_ENV": str(environments["venv"]),
        "CONDA_PREFIX": str(environments["conda"]),
        "PATH": f"{environments['path']}/bin:{os.environ['PATH']}",
    }
    versions = []
    while environ:
        installation = find_installation("antspynet", None, environ)
        versions.append(installation and installation.version)
        environ.pop(next(iter(environ)))
    assert versions == ["1.0", "2.0", "3.0"]


def test_output_at_an_interpreters_start_is_ignored(tmp_path: Path) -> None:
    site = tree(tmp_path / "site", "0.3.3", {"sitecustomize.py": "print('welcome to the cluster')"})
    installation = find_installation("antspynet", fake_python(tmp_path / "env", site) / "bin/python")
    assert installation is not None
    assert (installation.directory, installation.version) == (site, "0.3.3")


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/true", "/bin/false", "/"])
def test_a_broken_interpreter_is_named(python: str) -> None:
    """A path that does not work as an interpreter is an error that names it."""
    with pytest.raises(ManifestError, match="does not run as a Python") as caught:
        find_installation("antspynet", Path(python))
    assert python in str(caught.value)


def test_without_antspynet_the_error_lists_releases(antscache: AntsCache) -> None:
    ran = antscache("prefetch")
    assert ran.code == 3
    assert "antspynet==0.3.2" in ran.err
    assert "0.1.1" in ran.err


# The package index


def test_unknown_releases_are_read_through_pip(antscache: AntsCache, tmp_path: Path) -> None:
    """A release that is not shipped is read through pip, and its manifest is kept for use offline."""
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "0.3.3")
    ran = antscache("list", "0.3.3", "--json", PIP_FIND_LINKS=tmp_path / "links").succeeded()
    assert [row["name"] for row in ran.json] == ["adni", "brain"]
    again = antscache("list", "0.3.3", "--json", "--offline").succeeded()
    assert again.json == ran.json
    assert "antspynet==0.3.3" in antscache("releases").out


def test_pips_error_is_shown_for_missing_releases(antscache: AntsCache) -> None:
    ran = antscache("prefetch", "9.9.9")
    assert (ran.code, antscache.root.exists()) == (3, False)
    said = "from the package index; pip says: No matching distribution found"
    assert f"cannot get a wheel of antspynet==9.9.9 {said}" in ran.err
    assert "hint: " in ran.err


PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import pathlib

def prepare_metadata_for_build_wheel(directory, settings=None):
    pathlib.Path({witness!r}).touch()
    info = pathlib.Path(directory, "antspynet-0.3.3.dist-info")
    info.mkdir()
    (info / "METADATA").write_text({metadata!r})
    return info.name

def build_wheel(*_):
    raise NotImplementedError
"""


@pytest.mark.parametrize("allowed", [False, True])
def test_sdist_is_built_only_where_allowed(antscache: AntsCache, tmp_path: Path, *, allowed: bool) -> None:
    """Its build backend is code."""
    (tmp_path / "links").mkdir()
    witness = tmp_path / "witness"
    backend = BACKEND.format(witness=str(witness), metadata=METADATA.format("0.3.3"))
    path = sdist(tmp_path / "links", "0.3.3", {"pyproject.toml": PYPROJECT, "backend.py": backend})
    flags = ["--allow-build"] if allowed else []
    ran = antscache("list", "0.3.3", *flags, PIP_FIND_LINKS=tmp_path / "links")
    assert (ran.code, witness.exists()) == ((0, True) if allowed else (3, False))
    assert ("download that and name it with --from" in ran.err) != allowed
    assert ("--allow-build, and pip builds it, which runs its code" in ran.err) != allowed
    antscache("list", "--from", path).succeeded()


def test_an_artifact_of_another_release_is_refused(antscache: AntsCache, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    path = wheel(tmp_path / "links", "0.3.4")
    path.rename(path.with_name("antspynet-0.3.3-py3-none-any.whl"))
    ran = antscache("list", "0.3.3", PIP_FIND_LINKS=tmp_path / "links")
    assert ran.code == 3


def test_offline_the_package_index_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(Offline, match=r"antspynet==0\.3\.3"):
        catalog(tmp_path).manifest(Release("antspynet", "0.3.3"))


def test_a_local_version_is_not_in_the_index(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is an installation"):
        catalog(tmp_path, offline=False).manifest(Release("antspynet", "0.3.2+1a2b3c4d"))
