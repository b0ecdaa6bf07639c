"""Weights of Keras's own: `keras_weights.py make DIRECTORY`, or `keras_weights.py use` in a process with the hook.

make    random weights in the layout of the published files, under their names
use     call chexnet and neural_style_transfer, and print the weights that Keras was told, and what it loaded
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np


def make(directory: Path) -> None:
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    keras.utils.set_random_seed(1)
    models = {
        "densenet121": keras.applications.DenseNet121(weights=None, include_top=False),
        "vgg19": keras.applications.VGG19(weights=None, include_top=False),
    }
    for name, model in models.items():
        with h5py.File(directory / f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5", "w") as file:
            save_weights_to_hdf5_group(file, model)


def has_weights_of(model: Any, path: str) -> bool:
    """Return True if all weights of `model` are those in the file at `path`."""
    with h5py.File(path) as file:
        pairs = [
            (file[layer.name][name], weight)
            for layer in filter(lambda layer: layer.weights, model.layers)
            for name, weight in zip(file[layer.name].attrs["weight_names"], layer.weights, strict=True)
        ]
        return bool(pairs) and all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in pairs)


def use() -> None:
    import ants
    import antspynet
    import tensorflow as tf
    from tensorflow.keras.applications import vgg19

    answers: list[tuple[str, bool]] = []

    def watch(module: Any, name: str) -> None:
        original = getattr(module, name)

        def watched(**named: Any) -> Any:
            model = original(**named)
            answers.append((named["weights"], has_weights_of(model, named["weights"])))
            return model

        setattr(module, name, watched)

    watch(tf.keras.applications, "DenseNet121")
    watch(vgg19, "VGG19")
    image = ants.from_numpy(np.random.default_rng(1).random((64, 64)).astype("float32"))
    with suppress(ValueError):  # the network that it loads next, ANTsPyNet's own, is none: the stand-in made it up
        antspynet.chexnet(image, lung_mask=image)
    antspynet.neural_style_transfer(image, image, number_of_iterations=1)
    sys.stdout.write(f"{json.dumps(answers)}\n")


if __name__ == "__main__":
    make(Path(sys.argv[2])) if sys.argv[1] == "make" else use()
