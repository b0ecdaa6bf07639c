"""Where things are below a root, and the OCI documents that describe them: pure.

    <root>/
      CACHEDIR.TAG                      backup tools skip it
      antscache.json                    the root's description: layout version, shared or not
      oci-layout, index.json            the root is a valid OCI image layout; index.json is recomputed from refs/
      blobs/sha256/<hex>                a blob
      identifiers/figshare/<id>.json    a record
      refs/<package>/<version>/<hex>.json   a selection
      views/<package>-<version>/        a view
      ingest/                           being written
      trash/                            condemned, and not gone yet
      catalog/                          manifests read on this host that are not shipped
      locks/                            who is fetching what, and when the next start at a paced origin is free

Specification: OCI image-spec 1.1, image-layout.md, manifest.md ("Guidance for an Empty Descriptor", artifactType).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from antscache.digest import Descriptor, Digest, descriptor_of, hexadecimal
from antscache.durable import DAMAGED, Staging
from antscache.manifest import Identifier, Release, figshare_number

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VERSION = 1  # of the layout; a root with a higher one was made by a newer antscache
ARTIFACT_TYPE = "application/vnd.antsx.antsxnet.data.v1"
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"  # fixed by https://bford.info/cachedir/
    b"# This directory holds what antscache can fetch again.\n"
)
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
EMPTY_CONTENT = b"{}"
EMPTY = descriptor_of(EMPTY_CONTENT)


class Description(msgspec.Struct, frozen=True):
    """The root's own description, `antscache.json`."""

    layout: int
    shared: bool = False


class Layout:
    """The paths below one root; computed from values that are safe path components, never from anything else.

    Attributes:
        shared: whether a group shares the root, as its description says once that has been read.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self.root = root
        self.shared = shared
        self.description = root / "antscache.json"
        self.tag = root / "CACHEDIR.TAG"
        self.oci = root / "oci-layout"
        self.index = root / "index.json"
        self.blobs = root / "blobs" / "sha256"
        self.records = root / "identifiers" / "figshare"
        self.refs = root / "refs"
        self.views = root / "views"
        self.ingest = root / "ingest"
        self.trash = root / "trash"
        self.catalog = root / "catalog"
        self.locks = root / "locks"
        self.identifier_locks = self.locks / "identifiers"
        self.pace = self.locks / "pace"

    @property
    def staging(self) -> Staging:
        """Where files are made, and with which modes."""
        return Staging(self.ingest, self.shared)

    @property
    def shared_root(self) -> Path | None:
        """The root, if a group shares it."""
        return self.root if self.shared else None

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories that every root has, each after the one it is in."""
        return (self.root, self.ingest, self.blobs, self.records, self.refs, self.views, self.locks)

    @property
    def later(self) -> tuple[Path, ...]:
        """Those that a root has once something comes there."""
        return (self.trash, self.catalog)

    def blob(self, digest: Digest) -> Path:
        """Where the bytes named `digest` are."""
        return self.blobs / hexadecimal(digest)

    def record(self, identifier: Identifier) -> Path:
        """Where the record of `identifier` is."""
        return self.records / f"{figshare_number(identifier)}.json"

    def selections(self, release: Release) -> Path:
        """The directory of the selections of `release`."""
        return self.refs / release.package / release.version

    def view(self, release: Release) -> Path:
        """The view of `release`: a directory in the shape of a home."""
        return self.views / release.slug


TOP_LEVEL = frozenset(
    [
        "CACHEDIR.TAG",
        "antscache.json",
        "oci-layout",
        "index.json",
        "blobs",
        "identifiers",
        "refs",
        "views",
        "ingest",
        "trash",
        "catalog",
        "locks",
    ]
)


def tag(release: Release) -> str:
    """What the artifact of `release` is called in the index; `+` is not allowed in a registry's tags."""
    return release.slug.replace("+", "_")


def artifact(files: Iterable[tuple[str, Descriptor]]) -> bytes:
    """The OCI artifact manifest of `files` (file name, blob), one layer a file in the order of their names."""
    layers = [
        _reference(blob, "application/octet-stream", {"org.opencontainers.image.title": name})
        for name, blob in sorted(files)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": ARTIFACT_TYPE,
        "config": _reference(EMPTY, "application/vnd.oci.empty.v1+json"),
        "layers": layers or [_reference(EMPTY, "application/vnd.oci.empty.v1+json")],
    }
    return msgspec.json.encode(document) + b"\n"


def index(artifacts: Iterable[tuple[Release, Descriptor]]) -> bytes:
    """The content of `index.json`: each release's artifact under its tag, one a line."""
    lines = b",\n".join(index_line(release, blob) for release, blob in sorted(artifacts))
    head = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
    return head + b"\n" + lines + b"\n]}\n"


def index_line(release: Release, blob: Descriptor) -> bytes:
    """The descriptor in `index.json` of the artifact `blob` of `release`."""
    annotations = {"org.opencontainers.image.ref.name": tag(release)}
    reference = _reference(blob, "application/vnd.oci.image.manifest.v1+json", annotations)
    return msgspec.json.encode(reference | {"artifactType": ARTIFACT_TYPE})


class _Line(msgspec.Struct, frozen=True):
    """A line of `index.json`, as far as it matters here."""

    annotations: dict[str, str]


class _Index(msgspec.Struct, frozen=True):
    manifests: tuple[_Line, ...]


def tags_in(content: bytes) -> set[str]:
    """The tags that an `index.json` of this content names; none, if it is damaged."""
    try:
        found = msgspec.json.decode(content, type=_Index)
    except DAMAGED:
        return set()
    return {line.annotations.get("org.opencontainers.image.ref.name", "") for line in found.manifests}


def _reference(blob: Descriptor, media_type: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    reference = {"mediaType": media_type, "digest": blob.digest, "size": blob.size}
    return reference | {"annotations": annotations} if annotations else reference
