"""Save every architecture that ANTsPyNet builds: `python make_architectures.py DIRECTORY`, by a Python that has it.

    DIRECTORY/whole/<architecture>.h5       save(): weights, model_config and training_config, Keras's legacy HDF5
    DIRECTORY/legacy/<architecture>.h5      the weights alone, in the same format, as the published files have it
    DIRECTORY/weights/<architecture>.h5     save_weights() of today's Keras

The networks are as small as their functions allow. Prints a JSON object: each architecture that cannot be built, with
the reason.
"""

from __future__ import annotations

import inspect
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from antspynet import architectures
from make_weights import save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Arguments of each function but the first, the size of an image; `variants` are built in addition.
SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"number_of_dense_units": 8, "number_of_outputs": 3},
    "compact_convolutional_transformer": {"number_of_outputs": 3, "number_of_transformer_layers": 1},
    "convolutional_autoencoder": {"number_of_filters_per_layer": (4, 8, 16, 5)},
    "deep_back_projection_network": {
        "number_of_base_filters": 4,
        "number_of_feature_filters": 8,
        "number_of_back_projection_stages": 2,
    },
    "denoising_auto_encoder_super_resolution": {"number_of_filters": 4},
    "densenet": {"number_of_outputs": 3},
    "denseunet": {
        "number_of_layers_per_dense_block": (2, 2),
        "growth_rate": 4,
        "initial_number_of_filters": 8,
    },
    "expanded_super_resolution": {"number_of_filters": (4, 4, 4, 4)},
    "image_super_resolution": {"number_of_filters": (4, 4)},
    "partial_convolution_unet": {"number_of_filters": (4, 8), "kernel_size": (3, 3)},
    "resnet": {"number_of_outputs": 3, "lowest_resolution": 8},
    "resnet_super_resolution": {"number_of_filters": 4},
    "resunet": {"number_of_filters_at_base_layer": 4},
    "simple_classification_with_spatial_transformer_network": {},
    "simple_fully_convolutional_network": {"number_of_filters_per_layer": (4, 8, 8, 8, 8, 4)},
    "unet": {"number_of_layers": 2, "number_of_filters_at_base_layer": 4},
    "vgg": {"number_of_outputs": 3, "lowest_resolution": 4, "number_of_dense_units": 8},
    "vision_transformer": {"number_of_outputs": 3, "number_of_transformer_layers": 1, "mlp_head_units": [8]},
    "wide_resnet": {"number_of_outputs": 3},
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "resnet": {"cardinality": {"cardinality": 4}, "squeeze": {"squeeze_and_excite": True}},
    "partial_convolution_unet": {
        "priors": {"number_of_priors": 2},
        "plain": {"use_partial_conv": False},
    },
    "unet": {
        "attention": {"additional_options": ("attentionGating",)},
        "nn_upsampling": {"additional_options": ("nnUnetActivationStyle",)},
        "regression": {"mode": "regression"},
        "sigmoid": {"mode": "sigmoid"},
    },
    "vgg": {"regression": {"mode": "regression"}},
}
SIZES: dict[str, tuple[int, ...]] = {  # where 32 voxels in each direction are too few
    "alexnet_2d": (64, 64, 1),
    "alexnet_3d": (64, 64, 64, 1),
    "hippmapp3r_unet_3d": (64, 64, 64, 1),
    "hypermapp3r_unet_3d": (64, 64, 64, 1),
    "nobrainer_unet_3d": (32, 32, 32, 1),
    "simple_fully_convolutional_network_3d": (64, 64, 64, 1),
    "sysu_media_unet_2d": (64, 64, 2),
    "sysu_media_unet_3d": (64, 64, 64, 2),
    "vision_transformer_2d": (24, 24, 1),
    "vision_transformer_3d": (24, 24, 24, 1),
}
OTHERS: dict[str, Callable[[], keras.Model]] = {  # whose first argument is no size of an image
    "autoencoder": lambda: architectures.create_autoencoder_model((16, 8, 4)),
    "dense": lambda: architectures.create_dense_model(16, number_of_filters_at_base_layer=8, number_of_outputs=3),
    "rmnet_generator": architectures.create_rmnet_generator,
    "shiva_unet_3d": architectures.create_shiva_unet_model_3d,
}


def networks() -> Iterator[tuple[str, Callable[[], keras.Model]]]:
    """Yield each architecture: its name, and a function that builds it."""
    for function_name, function in inspect.getmembers(architectures, inspect.isfunction):
        name = function_name.removeprefix("create_").replace("_model", "")
        if name in OTHERS:
            yield name, OTHERS[name]
            continue
        family, size = name[:-3], SIZES.get(name, (32, 32, 1) if name.endswith("2d") else (32, 32, 32, 1))
        for variant, more in {"": {}, **VARIANTS.get(family, {})}.items():
            arguments = {**SMALL.get(family, {}), **fitting(more, function)}
            yield f"{name}_{variant}".rstrip("_"), partial(function, size, **arguments)
    for name, adversarial in inspect.getmembers(architectures, inspect.isclass):
        for part in "generator", "discriminator", "critic":
            if any(part in line for line in inspect.getsource(adversarial).splitlines() if "self." in line):
                yield f"{name}_{part}", partial(part_of, adversarial, part)


def fitting(more: dict[str, Any], function: Callable[..., keras.Model]) -> dict[str, Any]:
    """Return those of `more` that an older release has too."""
    return {key: value for key, value in more.items() if key in inspect.signature(function).parameters}


def part_of(adversarial: Any, part: str) -> keras.Model:
    """Build a pair of networks, and return one of them."""
    more = {"use_image_net_weights": False, "number_of_residual_blocks": 1}
    return getattr(adversarial((32, 32, 3), **fitting(more, adversarial)), part)


def main(directory: Path) -> None:
    """Build and save all of them."""
    failed = {}
    for form in "whole", "legacy", "weights":
        (directory / form).mkdir()
    for name, build in networks():
        keras.backend.clear_session()
        try:
            built = build()
        except Exception as error:  # noqa: BLE001  some cannot be built with the Keras that is installed
            failed[name] = f"{type(error).__name__}: {str(error).strip()[:100]}"
            continue
        network = built[0] if isinstance(built, (list, tuple)) else built  # an autoencoder comes with its encoder
        network.compile(optimizer="adam", loss="mse", metrics=["mae"])
        network.save(directory / "whole" / f"{name}.h5")
        save(network, directory / "legacy" / f"{name}.h5")
        network.save_weights(directory / "weights" / f"{name}.weights.h5")
        (directory / "weights" / f"{name}.weights.h5").rename(directory / "weights" / f"{name}.h5")
    sys.stdout.write(json.dumps(failed) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
