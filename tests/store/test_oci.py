"""The root as tools that are not ours read it: skopeo, umoci, and a real registry between two OCI layouts."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import BRAIN, LUNG, TEMPLATE, TRANSFORM, require, snapshot

from antscache import disk
from antscache.cache import Cache
from antscache.config import Settings
from antscache.testing import Misbehaviour

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support import AntsCache

    from antscache.core import Staging
    from antscache.testing import StandIn

DEADLINE_SECONDS = 600.0  # for a program that needs a fraction of one
REPOSITORY = "antsx/antsxnet"  # in the registry

# image-spec 1.1, manifest.md, "Guidance for an Empty Descriptor"
EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
}

# A module of an installation that somebody has changed: upstream's form, with fewer names than upstream has.
GETTER = """\
import tensorflow as tf

def {function}(file_id=None, target_file_name=None, antsxnet_cache_directory="ANTsXNet"):

    def switch(argument):
        switcher = {urls}
        return(switcher.get(argument, "Invalid argument."))

    valid_list = {names}

    if not file_id in valid_list:
        raise ValueError("No data with the id you passed - try \\"show\\" to get list of valid ids.")

    if file_id == "show":
       return(valid_list)

    url = switch(file_id)

    if target_file_name is None:
        target_file_name = file_id + "{suffix}"

    return(tf.keras.utils.get_file(target_file_name, url, cache_subdir=antsxnet_cache_directory))
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A real registry without TLS on a free loopback port: its host and port."""
    program, log, configuration = require("docker-registry"), tmp_path / "registry.log", tmp_path / "registry.yml"
    configuration.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
        'http: {addr: "127.0.0.1:0"}\n'
    )
    command = [program, "serve", str(configuration)]
    environ = {"HOME": str(tmp_path)}  # REGISTRY_* in the developer's own would change the configuration
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=tmp_path
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the registry's host and port, once it says that it listens: the kernel chooses the port."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return match[1]
        time.sleep(0.01)
    pytest.fail(f"docker-registry does not listen: {log.read_text()}")


def read_by(program: str, antscache: AntsCache, *arguments: str | Path) -> str:
    """Return the output of `program`, run without anything of the developer's own set-up in its environment."""
    done = subprocess.run(
        [require(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=antscache.environment(),
        cwd=antscache.home,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspected(antscache: AntsCache, tag: str) -> Any:
    """Return the artifact manifest behind `tag`, as skopeo reads it from the root."""
    return json.loads(read_by("skopeo", antscache, "inspect", "--raw", f"oci:{antscache.root}:{tag}"))


def listed(antscache: AntsCache) -> list[str]:
    """Return the tags in the root, as umoci reads them."""
    return read_by("umoci", antscache, "ls", "--layout", antscache.root).split()


def copied(antscache: AntsCache, source: str, destination: str) -> None:
    """Copy `source` to `destination`, unsigned, and without TLS where one of them is a registry."""
    insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    read_by("skopeo", antscache, "--insecure-policy", "copy", "--quiet", *insecure, source, destination)


def prefetched(antscache: AntsCache, release: str, *names: str) -> Path:
    """Prefetch `names`, and return the ANTsXNet directory of the view."""
    flags = [flag for name in names for flag in ("--name", name)]
    return Path(antscache("prefetch", release, *flags).succeeded().out.strip()) / ".keras/ANTsXNet"


def manifest_digest(layout: Path, tag: str) -> str:
    """Return the digest of `tag` in the `index.json` of `layout`."""
    [digest] = [
        str(manifest["digest"])
        for manifest in json.loads((layout / "index.json").read_bytes())["manifests"]
        if manifest["annotations"]["org.opencontainers.image.ref.name"] == tag
    ]
    return digest


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def source_tree(directory: Path, version: str, data: Mapping[str, str], networks: Mapping[str, str]) -> Path:
    """Make a source tree of an antspynet with these names and Figshare numbers only."""
    for function, suffix, numbers in (
        ("get_antsxnet_data", ".nii.gz", data),
        ("get_pretrained_network", ".h5", networks),
    ):
        urls = {name: f"https://figshare.com/ndownloader/files/{number}" for name, number in numbers.items()}
        module = directory / "antspynet" / "utilities" / f"{function}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(GETTER.format(function=function, suffix=suffix, urls=urls, names=(*numbers, "show")))
    (directory / "pyproject.toml").write_text(f'[project]\nname = "antspynet"\nversion = "{version}"\n')
    return directory


def test_skopeo_reads_the_files_as_layers(antscache: AntsCache) -> None:
    """The files of a release are the layers of its artifact."""
    prefetched(antscache, "0.3.2", BRAIN, TEMPLATE)
    view = prefetched(antscache, "0.3.2", TRANSFORM)
    present = {row["file"] for row in antscache("list", "0.3.2", "--json").json if row["status"] == "present"}
    manifest = inspected(antscache, "antspynet-0.3.2")
    assert manifest["artifactType"] == "application/vnd.antsx.antsxnet.data.v1"
    assert manifest["config"] == EMPTY
    assert present == {f"{BRAIN}.h5", f"{TEMPLATE}.nii.gz", f"{TRANSFORM}.mat"}
    assert manifest["layers"] == [
        {
            "mediaType": "application/octet-stream",
            "digest": sha256((view / file).read_bytes()),
            "size": (view / file).stat().st_size,
            "annotations": {"org.opencontainers.image.title": file},
        }
        for file in sorted(present)
    ]


def test_umoci_lists_exactly_the_releases_in_use(antscache: AntsCache) -> None:
    prefetched(antscache, "0.3.2", BRAIN)
    prefetched(antscache, "0.2.9", TEMPLATE)
    assert sorted(listed(antscache)) == ["antspynet-0.2.9", "antspynet-0.3.2"]


def test_an_artifact_survives_a_registry_byte_by_byte(antscache: AntsCache, registry: str, tmp_path: Path) -> None:
    prefetched(antscache, "0.3.2", BRAIN, LUNG, TEMPLATE)
    tag, fresh = "antspynet-0.3.2", tmp_path / "fresh"
    copied(antscache, f"oci:{antscache.root}:{tag}", f"docker://{registry}/{REPOSITORY}:{tag}")
    copied(antscache, f"docker://{registry}/{REPOSITORY}:{tag}", f"oci:{fresh}:{tag}")
    digest, manifest = manifest_digest(antscache.root, tag), inspected(antscache, tag)
    assert manifest_digest(fresh, tag) == digest
    wanted = {digest, EMPTY["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert len(wanted) == 5
    copies = {f"sha256:{path.name}": path.read_bytes() for path in (fresh / "blobs/sha256").iterdir()}
    assert copies.keys() == wanted
    for path in (antscache.root / "blobs/sha256").iterdir():
        assert copies[f"sha256:{path.name}"] == path.read_bytes()


def test_release_without_files_has_the_empty_layer(antscache: AntsCache, figshare: StandIn, registry: str) -> None:
    """A registry accepts its artifact."""
    down = figshare.misbehaving_origins(Misbehaviour.MISSING)
    assert antscache("prefetch", "0.3.2", "--name", BRAIN, ANTSCACHE_ORIGINS=down).code == 4
    assert listed(antscache) == ["antspynet-0.3.2"]
    assert inspected(antscache, "antspynet-0.3.2")["layers"] == [EMPTY]
    copied(antscache, f"oci:{antscache.root}:antspynet-0.3.2", f"docker://{registry}/{REPOSITORY}:antspynet-0.3.2")


def test_registry_accepts_the_tag_of_changed_installations(antscache: AntsCache, registry: str, tmp_path: Path) -> None:
    """Its version has a `+`, which no tag may have."""
    tree = source_tree(tmp_path / "tree", "0.3.2", {TEMPLATE: "22597175"}, {BRAIN: "34821874"})
    antscache("prefetch", "--from", tree).succeeded()
    [usage] = antscache("list", "--json").json
    assert re.fullmatch(r"antspynet==0\.3\.2\+[0-9a-f]{8}", usage["release"])
    tag = usage["release"].replace("==", "-").replace("+", "_")
    assert listed(antscache) == [tag]
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in inspected(antscache, tag)["layers"]]
    assert titles == [f"{TEMPLATE}.nii.gz", f"{BRAIN}.h5"]
    remote = f"docker://{registry}/{REPOSITORY}:{tag}"
    copied(antscache, f"oci:{antscache.root}:{tag}", remote)
    there = read_by("skopeo", antscache, "inspect", "--raw", "--tls-verify=false", remote)
    assert sha256(there.encode()) == manifest_digest(antscache.root, tag)


def test_prefetches_at_once_are_all_in_the_index(
    antscache: AntsCache,
) -> None:
    versions = ["0.2.1", "0.2.2", "0.2.3", "0.2.8", "0.2.9", "0.3.0", "0.3.1", "0.3.2"]
    with ThreadPoolExecutor(len(versions)) as pool:
        list(pool.map(lambda version: prefetched(antscache, version, BRAIN, TEMPLATE), versions))
    assert sorted(listed(antscache)) == [f"antspynet-{version}" for version in versions]
    for version in versions:
        assert len(inspected(antscache, f"antspynet-{version}")["layers"]) == 2


def test_index_written_late_hides_no_other_prefetch(antscache: AntsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    prefetched(antscache, "0.3.1", BRAIN)
    write = disk.replace
    overtaken: list[Path] = []

    def late(path: Path, content: bytes, staging: Staging) -> None:
        if path.name == "index.json" and not overtaken:
            overtaken.append(prefetched(antscache, "0.2.9", TEMPLATE))
            assert sorted(listed(antscache)) == ["antspynet-0.2.9", "antspynet-0.3.1", "antspynet-0.3.2"]
        write(path, content, staging)

    monkeypatch.setattr(disk, "replace", late)
    cache = Cache(Settings(root=str(antscache.root), offline=True))
    cache.prefetch(cache.plan("antspynet==0.3.2", names=[BRAIN]))
    assert overtaken
    assert sorted(listed(antscache)) == ["antspynet-0.2.9", "antspynet-0.3.1", "antspynet-0.3.2"]


def test_other_tools_change_nothing_in_the_root(antscache: AntsCache, tmp_path: Path) -> None:
    prefetched(antscache, "0.3.2", BRAIN)
    before = snapshot(antscache.root)
    listed(antscache)
    inspected(antscache, "antspynet-0.3.2")
    copied(antscache, f"oci:{antscache.root}:antspynet-0.3.2", f"oci:{tmp_path / 'fresh'}:antspynet-0.3.2")
    assert snapshot(antscache.root) == before
