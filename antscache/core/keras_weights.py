"""Keras's own ImageNet weights, which two functions of ANTsPyNet need: optional entries of its releases.

A release's source does not name them, so they are in no manifest, and in no identity. A name or the kind `keras`
selects them; nothing else does.

File, URL and MD5 are those of `WEIGHTS_PATH_NO_TOP` and `get_file()` in Keras's `src/applications/densenet.py` and
`vgg19.py`: the same in keras 2.13.1, 2.15.0 and 3.15.1, and in tf-keras 2.21.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache.core.manifest import Entry, Manifest

if TYPE_CHECKING:
    from antscache.core.identifiers import Identifier

_URL = "url:https://storage.googleapis.com/tensorflow/keras-applications"
_DENSENET121 = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
_VGG19 = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


class KerasWeights(NamedTuple):
    """Weights of Keras's own.

    Attributes:
        entry: of kind `keras`.
        md5: of the file, in 32 hex digits.
        function: the function of ANTsPyNet that needs them.
    """

    entry: Entry
    md5: str
    function: str


KERAS_WEIGHTS = (
    KerasWeights(
        Entry("keras", "densenet121_imagenet", _DENSENET121, f"{_URL}/densenet/{_DENSENET121}"),
        "30ee3e1110167f948a6b9946edeeb738",
        "chexnet",
    ),
    KerasWeights(
        Entry("keras", "vgg19_imagenet", _VGG19, f"{_URL}/vgg19/{_VGG19}"),
        "253f8cb515780f3b799900260a226db6",
        "neural_style_transfer",
    ),
)


def with_optional(manifest: Manifest) -> Manifest:
    """Return `manifest` with its release's optional entries too: the choice that names and kinds have."""
    if manifest.release.package != "antspynet":
        return manifest
    entries = {weights.entry for weights in KERAS_WEIGHTS}.union(manifest.entries)
    return msgspec.structs.replace(manifest, entries=tuple(sorted(entries, key=lambda one: (one.kind, one.name))))


def known_md5(identifier: Identifier | None) -> str | None:
    """Return the MD5 that the bytes of `identifier` are known to have; None if it is not known."""
    return next((weights.md5 for weights in KERAS_WEIGHTS if weights.entry.identifier == identifier), None)
