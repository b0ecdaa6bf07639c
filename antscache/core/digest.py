"""Names for bytes: the digest, and the descriptor that adds the size."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

Digest = Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0)]


class Descriptor(msgspec.Struct, frozen=True, order=True):
    """The name of immutable bytes: `digest` is `sha256:<64 hex>`, `size` is in bytes."""

    digest: Digest
    size: Size


def digest_of(content: bytes) -> Digest:
    """Return the digest of `content`."""
    return digest_from_hex(hashlib.sha256(content).hexdigest())


def digest_from_hex(hexadecimal: str) -> Digest:
    """Return the digest with these 64 hexadecimal digits."""
    return f"sha256:{hexadecimal}"


def hexadecimal(digest: Digest) -> str:
    """Return the 64 hexadecimal digits of `digest`, which are the name of its blob."""
    return digest.removeprefix("sha256:")


def descriptor_of(content: bytes) -> Descriptor:
    """Return the descriptor of `content`."""
    return Descriptor(digest_of(content), len(content))
