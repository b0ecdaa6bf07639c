"""The manifests of antscache agree with what the releases themselves ask for.

The releases come from the package index, through pip as this machine has it set up. Their getters are executed, not
read: antscache's extractor is what is tested here, so it cannot be what it is compared with. TensorFlow, ants and
requests are stand-ins that note what would be fetched, and the home is empty.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support import REPOSITORY, cannot

from antscache.catalog.catalog import encode_manifest, read_artifact
from antscache.core.identifiers import identify_url
from antscache.core.manifest import parse_release

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import AntsCache

    Getter = Callable[[str], Any]

ANTSPYNET = (
    "0.1.1 0.1.2 0.1.3 0.1.4 0.1.5 0.1.6 0.1.7 0.1.8 0.1.9 0.2.0 0.2.1 0.2.2 0.2.3 0.2.8 0.2.9 0.3.0 0.3.1 0.3.2"
)
RELEASES = [*(f"antspynet=={version}" for version in ANTSPYNET.split()), "antspyx==0.6.3"]
WHEEL, SDIST = "antspynet==0.3.1", "antspynet==0.3.2"
MANIFESTS = REPOSITORY / "antscache" / "catalog" / "manifests"

# Of antspyx there is a wheel a platform: this is the one that the shipped manifest was made from.
RECORDED = ["--platform=manylinux_2_17_x86_64", "--implementation=cp", "--python-version=3.11", "--abi=cp311"]

# package -> (kind, module, function), in the order in which the modules import each other.
GETTERS = {
    "antspynet": (
        ("data", "antspynet.utilities.get_antsxnet_data", "get_antsxnet_data"),
        ("network", "antspynet.utilities.get_pretrained_network", "get_pretrained_network"),
    ),
    "antspyx": (("data", "ants.utils.get_ants_data", "get_data"),),
}
DIRECTORY = {"antspynet": ".keras/ANTsXNet", "antspyx": ".antspy"}  # below the home


class Index:
    """The package index. It downloads each artifact once, into a directory below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unreachable = ""

    def artifact(self, release: str) -> Path:
        """Return the published wheel or sdist of `release`; without an index, skip the test (or fail, in CI)."""
        directory = self._directory / release
        directory.mkdir(exist_ok=True)
        if not any(directory.iterdir()):
            self._download(release, directory)
        [artifact] = directory.iterdir()
        return artifact

    def _download(self, release: str, directory: Path) -> None:
        if self._unreachable:  # pip tries again and again before it gives up: once is enough
            cannot(self._unreachable)
        options = ["--only-binary=:all:", *RECORDED] if release.startswith("antspyx") else ["--ignore-requires-python"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", *options]
        done = subprocess.run(
            [*command, "--dest", str(directory), release],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            reason = f"pip does not get {release} from the package index: {done.stderr.strip()}"
            if "(from versions: none)" in done.stderr:
                self._unreachable = reason
            cannot(reason)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index(tmp_path_factory.mktemp("index"))


class Fetches:
    """A stand-in for the fetching functions of Keras and requests: it notes each URL and opens no socket."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def get_file(self, fname: str, origin: str, *, cache_subdir: str) -> str:
        self.urls.append(origin)
        return str(Path.home() / ".keras" / cache_subdir / fname)  # as Keras: an absolute directory stays what it is

    def get(self, url: str) -> SimpleNamespace:
        self.urls.append(url)
        return SimpleNamespace(content=b"")


def source(artifact: Path, file: str) -> bytes:
    """Return the text of `file` in a wheel or an sdist."""
    if zipfile.is_zipfile(artifact):
        with zipfile.ZipFile(artifact) as wheel:
            return wheel.read(file)
    with tarfile.open(artifact) as sdist:
        member = sdist.extractfile(f"{artifact.name.removesuffix('.tar.gz')}/{file}")
        assert member is not None
        return member.read()


def load_getters(
    artifact: Path, package: str, fetches: Fetches, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Getter]:
    """Return the getters in `artifact`, by kind; run their modules with stand-ins for all that they import.

    The packages' own `__init__` are stand-ins too: they would import everything else.
    """
    keras = SimpleNamespace(utils=SimpleNamespace(get_file=fetches.get_file))
    imported: dict[str, dict[str, Any]] = {
        "tensorflow": {"keras": keras},
        "requests": {"get": fetches.get},
        "ants": {},
        "ants.utils": {},
        "antspynet": {},
        "antspynet.utilities": {"brain_extraction": None},  # some releases import it where they fetch
    }
    for name, attributes in imported.items():
        standing_in = ModuleType(name)
        vars(standing_in).update(attributes)
        monkeypatch.setitem(sys.modules, name, standing_in)
    getters: dict[str, Getter] = {}
    for kind, name, function in GETTERS[package]:
        path = directory / f"{name}.py"
        path.write_bytes(source(artifact, f"{name.replace('.', '/')}.py"))
        module = load_module(name, path)
        monkeypatch.setitem(sys.modules, name, module)
        getters[kind] = getattr(module, function)
    return getters


def load_module(name: str, path: Path) -> ModuleType:
    """Run the module in `path` under `name`, and return it; other modules cannot import it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_getter(getter: Getter, name: str, fetches: Fetches) -> tuple[str | None, str | None]:
    """Return the file of `name` below the home and the URL that `getter` fetches; None for both if it refuses."""
    fetches.urls.clear()
    try:
        path = Path(getter(name))
    except (NotImplementedError, ValueError):
        assert not fetches.urls
        return None, None
    path.unlink(missing_ok=True)  # antspyx's getter writes; the next name finds an empty home again
    [url] = fetches.urls
    return path.relative_to(Path.home()).as_posix(), url


def shipped_path(release: str) -> Path:
    """Return the path of the shipped manifest of `release`."""
    return MANIFESTS / f"{release.replace('==', '-')}.json"


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_list_agrees_with_the_releases_getters(
    release: str, index: Index, antscache: AntsCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = release.partition("==")[0]
    monkeypatch.setenv("HOME", str(antscache.home))
    fetches = Fetches()
    getters = load_getters(index.artifact(release), package, fetches, tmp_path, monkeypatch)
    rows = antscache("list", release, "--json").succeeded().json
    says = {
        (row["kind"], row["name"]): (f"{DIRECTORY[package]}/{row['file']}", row["identifier"], row["status"])
        for row in rows
    }
    assert len(says) == len(rows)
    valid = {(kind, name) for kind, getter in getters.items() for name in getter("show") if name != "show"}
    assert {kind for kind, _ in valid} == getters.keys()
    assert valid - says.keys() == set()
    does = {}
    for kind, name in says:
        file, url = call_getter(getters[kind], name, fetches)
        identifier = identify_url(url) if url and url.startswith("http") else None  # else "Invalid argument."
        does[kind, name] = (
            file or says[kind, name][0],  # a getter that refuses a name does not say what it would call the file
            identifier,
            "missing" if identifier else "unavailable",
        )
    assert says == does


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_shipped_manifests_record_the_published_artifacts(release: str, index: Index) -> None:
    artifact = index.artifact(release)
    digest = f"sha256:{hashlib.sha256(artifact.read_bytes()).hexdigest()}"
    assert json.loads(shipped_path(release).read_bytes())["artifact"] == {"file": artifact.name, "digest": digest}


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_published_artifacts_give_the_shipped_manifests(release: str, index: Index) -> None:
    manifest = read_artifact(index.artifact(release), parse_release(release))
    assert encode_manifest(manifest) == shipped_path(release).read_bytes()


@pytest.mark.slow
def test_the_generator_makes_the_shipped_manifests(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for release in WHEEL, SDIST:
        index.artifact(release)  # or there is no index
    generator = load_module("generate_manifests", REPOSITORY / "tools" / "generate_manifests.py")
    monkeypatch.setattr(generator, "SHIPPED_DIRECTORY", tmp_path)
    generator.main([WHEEL, SDIST])
    assert capsys.readouterr().out.count("written") == 2
    for release in WHEEL, SDIST:
        assert (tmp_path / shipped_path(release).name).read_bytes() == shipped_path(release).read_bytes()


def test_every_shipped_manifest_is_compared_here() -> None:
    """The tests above compare every shipped manifest, and every release that the generator knows."""
    generator = load_module("generate_manifests", REPOSITORY / "tools" / "generate_manifests.py")
    assert sorted(generator.RELEASES) == sorted(RELEASES)
    assert {path.name for path in MANIFESTS.iterdir()} == {shipped_path(release).name for release in RELEASES}
