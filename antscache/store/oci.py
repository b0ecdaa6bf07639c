"""The OCI documents that describe a root: pure.

Specification: OCI image-spec 1.1, image-layout.md, manifest.md ("Guidance for an Empty Descriptor", artifactType).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from antscache.core import Descriptor, Release, descriptor_of
from antscache.disk import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterable

ARTIFACT_TYPE = "application/vnd.antsx.antsxnet.data.v1"
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
EMPTY_CONTENT = b"{}"
EMPTY = descriptor_of(EMPTY_CONTENT)


def tag(release: Release) -> str:
    """What the artifact of `release` is called in the index; `+` is not allowed in a registry's tags."""
    return release.slug.replace("+", "_")


def artifact_manifest(files: Iterable[tuple[str, Descriptor]]) -> bytes:
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


def index_document(artifacts: Iterable[tuple[Release, Descriptor]]) -> bytes:
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
