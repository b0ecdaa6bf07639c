"""The six networks on which antspynet 0.2.9 and 0.3.2 differ, run by a Python that has one of the two.

    python conflicting.py make DIRECTORY OUTPUT    make random weights, as DIRECTORY/<name>.h5, and predict with them
    python conflicting.py predict OUTPUT           predict with the files whose paths the release's getter returns

The architectures are the release's, built as its own functions build them: `deep_atropos`, `mouse_brain_parcellation`
and `harvard_oxford_atlas_labeling`. Only the patch is smaller, on which no weight depends: those functions predict
millions of voxels, after a registration. OUTPUT (.npz) holds each prediction of each network.

`predict` prints "ready" after all imports and "done" after all predictions, and waits for a line each time: so a test
knows that two of them run at the same time. Its last line is the paths, as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import antspynet
import h5py
import keras
import numpy as np
from antspynet.architectures import create_unet_model_3d
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

if TYPE_CHECKING:
    from collections.abc import Mapping

RELEASE = version("antspynet")
PATCH = (32, 32, 32)


def unet(channels: int, outputs: int, filters: tuple[int, ...]) -> keras.Model:
    return create_unet_model_3d(
        (*PATCH, channels),
        number_of_outputs=outputs,
        mode="classification",
        number_of_filters=filters,
        convolution_kernel_size=(3, 3, 3),
        deconvolution_kernel_size=(2, 2, 2),
    )


def atropos(images: int) -> keras.Model:
    """Build the network of deep_atropos for so many images and its six priors."""
    return unet(images + 6, 7, (16, 32, 64, 128))


def harvard_oxford() -> keras.Model:
    """Build the network of harvard_oxford_atlas_labeling, with a second output; the later release has fewer labels."""
    inner = unet(1, {"0.2.9": 36, "0.3.2": 23}[RELEASE], (16, 32, 64, 128))
    foreground = keras.layers.Conv3D(1, 1, activation="sigmoid")(inner.layers[-2].output)
    return keras.Model(inputs=inner.input, outputs=[inner.output, foreground])


def mouse() -> keras.Model:
    """Build that of mouse_brain_parcellation(which_parcellation="nick"), for an image and the priors of six labels."""
    return unet(7, 7, (16, 32, 64, 128, 256))


NETWORKS = {
    "DeepAtroposHcpT1Weights": lambda: atropos(1),
    "DeepAtroposHcpT1T2Weights": lambda: atropos(2),
    "DeepAtroposHcpT1FAWeights": lambda: atropos(2),
    "DeepAtroposHcpT1T2FAWeights": lambda: atropos(3),
    "HarvardOxfordAtlasSubcortical": harvard_oxford,
    "mouseT2wBrainParcellation3DNick": mouse,
}


def make(directory: Path) -> None:
    """Write weights in the layout of the published files, legacy HDF5: the same on every run, and others by release."""
    keras.utils.set_random_seed(int(RELEASE.replace(".", "")))
    for name, network in NETWORKS.items():
        with h5py.File(directory / f"{name}.h5", "w") as weights:
            save_weights_to_hdf5_group(weights, network())


def predict(paths: Mapping[str, str]) -> dict[str, Any]:
    predictions = {}
    for name, network in NETWORKS.items():
        model = network()
        model.load_weights(paths[name])
        noise = 10 * np.random.default_rng(0).standard_normal((1, *model.input_shape[1:]), dtype=np.float32)
        found = model.predict(noise, verbose=0)
        for number, each in enumerate(found if isinstance(found, list) else [found]):
            predictions[f"{name}.{number}"] = each
    return predictions


def tell(word: str) -> None:
    """Print `word`, and wait for a line on stdin."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        made, output = Path(sys.argv[2]), sys.argv[3]
        make(made)
        np.savez(output, **predict({name: str(made / f"{name}.h5") for name in NETWORKS}))
    else:
        output = sys.argv[2]
        tell("ready")
        named = {name: antspynet.get_pretrained_network(name) for name in NETWORKS}
        np.savez(output, **predict(named))
        tell("done")
        sys.stdout.write(json.dumps(named))
