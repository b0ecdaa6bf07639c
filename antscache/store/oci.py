"""The OCI documents that describe a root: pure.

Specification: OCI image-spec 1.1, image-layout.md, manifest.md ("Guidance for an Empty Descriptor", artifactType).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from antscache.core import Digest, Size, descriptor_of
from antscache.disk import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.core import Descriptor, Release

ARTIFACT_TYPE = "application/vnd.antsx.antsxnet.data.v1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE, REF_NAME = "org.opencontainers.image.title", "org.opencontainers.image.ref.name"  # annotations
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
EMPTY_CONTENT = b"{}"
EMPTY = descriptor_of(EMPTY_CONTENT)


def tag(release: Release) -> str:
    """What the artifact of `release` is called in the index; `+` is not allowed in a registry's tags."""
    return release.slug.replace("+", "_")


class OciDescriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How a document names a blob."""

    media_type: str
    digest: Digest
    size: Size
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None


EMPTY_DESCRIPTOR = OciDescriptor("application/vnd.oci.empty.v1+json", EMPTY.digest, EMPTY.size)


class ArtifactManifest(msgspec.Struct, frozen=True, rename="camel"):
    """The manifest of a release's artifact: one layer a file, the empty layer where nothing is held."""

    schema_version: int
    media_type: str
    artifact_type: str
    config: OciDescriptor
    layers: tuple[OciDescriptor, ...]


class ImageIndex(msgspec.Struct, frozen=True):
    """The content of `index.json`, as far as it is read here."""

    manifests: tuple[OciDescriptor, ...]


def artifact_manifest(files: Iterable[tuple[str, Descriptor]]) -> bytes:
    """Return the artifact manifest of `files` (file name, blob), with layers in the order of the names."""
    layers = tuple(
        OciDescriptor("application/octet-stream", blob.digest, blob.size, {TITLE: name}) for name, blob in sorted(files)
    )
    document = ArtifactManifest(2, MANIFEST_TYPE, ARTIFACT_TYPE, EMPTY_DESCRIPTOR, layers or (EMPTY_DESCRIPTOR,))
    return msgspec.json.encode(document) + b"\n"


def index_document(artifacts: Iterable[tuple[Release, Descriptor]]) -> bytes:
    """Return the content of `index.json`: each release's artifact under its tag, one a line."""
    lines = b",\n".join(index_line(release, blob) for release, blob in sorted(artifacts))
    head = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
    return head + b"\n" + lines + b"\n]}\n"


def index_line(release: Release, blob: Descriptor) -> bytes:
    """Return the descriptor in `index.json` of the artifact `blob` of `release`."""
    return msgspec.json.encode(
        OciDescriptor(MANIFEST_TYPE, blob.digest, blob.size, {REF_NAME: tag(release)}, ARTIFACT_TYPE)
    )


def tags_in(content: bytes) -> set[str]:
    """Return the tags that an `index.json` of this content names; none, if it is damaged."""
    try:
        found = msgspec.json.decode(content, type=ImageIndex)
    except DAMAGED:
        return set()
    return {(each.annotations or {}).get(REF_NAME, "") for each in found.manifests}
