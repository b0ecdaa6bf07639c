"""The OCI documents that describe a root, as pure functions.

Specification: OCI image-spec 1.1, image-layout.md, manifest.md ("Guidance for an Empty Descriptor", artifactType).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from antscache.core import Digest, Size, descriptor_of, digest_of
from antscache.disk import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.core import Descriptor, Release

ARTIFACT_TYPE = "application/vnd.antsx.antsxnet.data.v1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE_ANNOTATION, REF_NAME_ANNOTATION = "org.opencontainers.image.title", "org.opencontainers.image.ref.name"
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
EMPTY_CONTENT = b"{}"
EMPTY_BLOB = descriptor_of(EMPTY_CONTENT)


def tag(release: Release) -> str:
    """Return the tag of the artifact of `release`, with `_` for `+`, which registries do not allow in tags."""
    return release.slug.replace("+", "_")


class OciDescriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A descriptor of a blob in a document: its digest, size and type, and annotations."""

    media_type: str
    digest: Digest
    size: Size
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None


EMPTY_DESCRIPTOR = OciDescriptor("application/vnd.oci.empty.v1+json", EMPTY_BLOB.digest, EMPTY_BLOB.size)


class ArtifactManifest(msgspec.Struct, frozen=True, rename="camel"):
    """The manifest of a release's artifact: one layer for each file, or the empty layer if the root holds no file."""

    schema_version: int
    media_type: str
    artifact_type: str
    config: OciDescriptor
    layers: tuple[OciDescriptor, ...]


class ImageIndex(msgspec.Struct, frozen=True):
    """The part of `index.json` that antscache reads."""

    manifests: tuple[OciDescriptor, ...]


def artifact_manifest(files: Iterable[tuple[str, Descriptor]]) -> bytes:
    """Return the artifact manifest of `files` (file name, blob), with layers in the order of the names."""
    layers = tuple(
        OciDescriptor("application/octet-stream", blob.digest, blob.size, {TITLE_ANNOTATION: name})
        for name, blob in sorted(files)
    )
    document = ArtifactManifest(2, MANIFEST_TYPE, ARTIFACT_TYPE, EMPTY_DESCRIPTOR, layers or (EMPTY_DESCRIPTOR,))
    return msgspec.json.encode(document) + b"\n"


def view_digest(files: Iterable[tuple[str, Descriptor]]) -> Digest:
    """Return the digest of a view with these `files` (file name, blob): that of their artifact manifest.

    Equal views have equal digests, on any host.
    """
    return digest_of(artifact_manifest(files))


def index_document(artifacts: Iterable[tuple[Release, Descriptor]]) -> bytes:
    """Return the content of `index.json`: each release's artifact under its tag, one on each line."""
    lines = b",\n".join(index_line(release, blob) for release, blob in sorted(artifacts))
    head = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
    return head + b"\n" + lines + b"\n]}\n"


def index_line(release: Release, blob: Descriptor) -> bytes:
    """Return the descriptor in `index.json` of the artifact `blob` of `release`."""
    return msgspec.json.encode(
        OciDescriptor(MANIFEST_TYPE, blob.digest, blob.size, {REF_NAME_ANNOTATION: tag(release)}, ARTIFACT_TYPE)
    )


def tags_in(content: bytes) -> set[str]:
    """Return the tags that an `index.json` with this content names; none if it is damaged."""
    try:
        index = msgspec.json.decode(content, type=ImageIndex)
    except DECODE_ERRORS:
        return set()
    return {(manifest.annotations or {}).get(REF_NAME_ANNOTATION, "") for manifest in index.manifests}
