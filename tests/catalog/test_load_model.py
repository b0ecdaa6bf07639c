"""The networks that a release loads with `load_model`, told by its source."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest
from support import sources

from antscache.catalog import SHIPPED_DIRECTORY, encode_manifest, read_source, shipped_manifest
from antscache.catalog import sources as module
from antscache.catalog.archives import MAX_MEMBER_BYTES
from antscache.catalog.catalog import Catalog
from antscache.catalog.load_model import find_loaded
from antscache.catalog.sources import MAX_PACKAGE_CHARACTERS
from antscache.core.manifest import parse_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NAMES = ("brainAge", "koniqMS", "koniqMS2", "sig_small_train_1x1", "sig_small_train_2x2", "unetT1")
MODULE = "antspynet/utilities/use.py"


@pytest.mark.parametrize(
    ("source", "loaded"),
    [
        ('model = tf.keras.models.load_model(get_pretrained_network("brainAge"))', ("brainAge",)),
        ('valid = ("koniqMS", "koniqMS2")\nload_model(get(which), compile=False)', ("koniqMS", "koniqMS2")),
        ('load_model(get("sig_small_train_" + size))', ("sig_small_train_1x1", "sig_small_train_2x2")),
        ('"""get_pretrained_network("unetT1")"""\nmodel = load_model (model)', ("unetT1",)),
        ('model.load_weights(get_pretrained_network("brainAge"))', ()),
        ('from keras.models import load_model as load\nload(get("brainAge"))', ("brainAge",)),
        ('my_load_model(get("brainAge")); load_models("unetT1")', ()),
        ('load_model(get("unet" + "koniq"))', ()),  # words that are shorter than the beginning of a name
        ('load_model("koniqMS"', ("koniqMS",)),  # no valid Python, as the source of 0.1.1 for today's Python
    ],
)
def test_a_module_loads_what_it_names(source: str, loaded: tuple[str, ...]) -> None:
    assert find_loaded(source, NAMES) == set(loaded)


@pytest.mark.parametrize("form", ["tree", "wheel", "sdist"])
def test_every_form_of_source_is_read(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.FILES, MODULE, 'load_model(get_pretrained_network("brain"))')
    path = {"tree": sources.tree, "wheel": sources.wheel, "sdist": sources.sdist}[form](tmp_path, "9.9")
    assert read_source(path).loaded == ("brain",)


def test_modules_outside_the_package_do_not_count(tmp_path: Path) -> None:
    path = sources.sdist(tmp_path, "9.9", {"tests/test_use.py": 'load_model("brain")'})
    assert read_source(path).loaded == ()


def test_an_unreadable_module_leaves_it_open(tmp_path: Path) -> None:
    path = sources.tree(tmp_path, "9.9", {MODULE: "#" * (MAX_MEMBER_BYTES + 1)})
    assert read_source(path).loaded is None


def test_modules_without_an_end_leave_it_open(tmp_path: Path) -> None:
    modules = {f"antspynet/utilities/m{number}.py": "#" * MAX_MEMBER_BYTES for number in range(5)}
    assert MAX_MEMBER_BYTES * 5 > MAX_PACKAGE_CHARACTERS
    assert read_source(sources.tree(tmp_path, "9.9", modules)).loaded is None


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that the listing of a directory has given out, below packages."""
    paths: list[Path] = []

    def given_out(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if "antspynet" in Path(entry.path).parent.parts:
                paths.append(Path(entry.path))
            assert len(paths) < 1_000, "it does not end"
            yield entry

    @contextmanager
    def scandir(directory: Path, listed: Callable[..., Any] = os.scandir) -> Iterator[Iterator[os.DirEntry[str]]]:
        with listed(directory) as entries:
            yield given_out(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    return paths


@pytest.mark.parametrize("target", ["../../../elsewhere", ".", "..", "/"])
def test_linked_directories_leave_it_open(tmp_path: Path, looked_at: list[Path], target: str) -> None:
    """They are not followed: a circle has no end, and the modules behind such a link may load everything."""
    path = sources.tree(tmp_path / "tree", "9.9")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/use.py").write_text('load_model("brain")')
    (path / "antspynet/utilities/linked").symlink_to(target)
    reading = read_source(path)
    assert (reading.entries, reading.loaded) == (sources.ENTRIES, None)
    names = [PurePath(name).name for name in sources.FILES if name.startswith("antspynet/")]
    assert sorted(looked.name for looked in looked_at) == sorted([*names, "utilities", "linked"])


def test_a_linked_package_is_read(tmp_path: Path) -> None:
    """Developers may have linked it into their environment."""
    path = sources.tree(tmp_path / "tree", "9.9", {MODULE: 'load_model("brain")'})
    (path / "antspynet").rename(tmp_path / "antspynet")
    (path / "antspynet").symlink_to(tmp_path / "antspynet")
    assert read_source(path).loaded == ("brain",)


@pytest.mark.parametrize("name", ["m{}.py", "d{}/m.py", "{}.txt"])
def test_names_without_an_end_leave_it_open(
    tmp_path: Path, looked_at: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """They are modules, directories, or other files; the release is read all the same."""
    path = sources.tree(tmp_path, "9.9", {f"antspynet/{name.format(number)}": "" for number in range(500)})
    monkeypatch.setattr(module, "MAX_MEMBERS", 20)
    reading = read_source(path)
    assert (reading.entries, reading.loaded) == (sources.ENTRIES, None)
    assert len(looked_at) == 20 + 1


def test_a_directory_without_permission_leaves_it_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sources.tree(tmp_path, "9.9", {MODULE: 'load_model("brain")'})

    def refuse(directory: Path, listed: Callable[..., Any] = os.scandir) -> Any:
        if Path(directory).name == "utilities":
            raise PermissionError
        return listed(directory)

    monkeypatch.setattr(os, "scandir", refuse)
    assert read_source(path).loaded is None


def test_a_manifest_keeps_what_is_loaded(tmp_path: Path) -> None:
    """Kept in a root, it is read again with the same."""
    catalog = Catalog(tmp_path / "kept", offline=True)
    manifest = catalog.source(sources.tree(tmp_path / "tree", "9.9", {MODULE: 'load_model("brain")'}))
    (tmp_path / "kept").mkdir()
    (tmp_path / f"kept/{manifest.release.slug}.json").write_bytes(encode_manifest(manifest))
    assert (manifest.loaded, catalog.find(manifest.release)) == (("brain",), manifest)


def test_shipped_manifests_say_what_is_loaded() -> None:
    newest = shipped_manifest(parse_release("0.3.2"))
    assert newest
    assert newest.loaded
    assert {name.partition("_train_")[0] for name in newest.loaded} == {
        "brainAgeDeepBrainNet",
        "koniqMS",
        "koniqMS2",
        "koniqMS3",
        "sig_smallshort",
        "tidsQualityAssessment",
    }
    manifests = Catalog(SHIPPED_DIRECTORY, offline=True).manifests()
    assert all(one.loaded for one in manifests if one.release.package == "antspynet")
