"""Make stand-ins for ANTsPyNet's files: `python make_weights.py DIRECTORY`, run by a Python that has ANTsPyNet.

    DIRECTORY/<Figshare number>/<ANTsPyNet's file name>

Networks have the architecture that the release's functions build and seeded random weights, in the legacy HDF5 layout
of the published files; templates are as small as they may be. Each file's bytes are the same on every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ants
import h5py
import keras
import numpy as np
from antspynet.architectures import create_unet_model_2d, create_unet_model_3d
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

TEMPLATE_SIZE = (48, 56, 48)  # the network takes its size from the template; each must be divisible by 8
XRAY_SIZE = (256, 256)  # what lung_extraction resamples to


def brain_network(path: Path, seed: int) -> None:
    """What `brain_extraction(modality="t1")` builds."""
    keras.utils.set_random_seed(seed)
    network = create_unet_model_3d(
        (*TEMPLATE_SIZE, 1),
        number_of_outputs=1,
        mode="sigmoid",
        number_of_filters=(16, 32, 64, 128),
        dropout_rate=0.0,
        convolution_kernel_size=3,
        deconvolution_kernel_size=2,
        weight_decay=1e-5,
    )
    save(network, path)


def lung_network(path: Path, seed: int) -> None:
    """What `lung_extraction(modality="xray")` builds."""
    keras.utils.set_random_seed(seed)
    network = create_unet_model_2d(
        (*XRAY_SIZE, 3),
        number_of_outputs=3,
        mode="classification",
        number_of_filters_at_base_layer=32,
        number_of_layers=4,
        convolution_kernel_size=(3, 3),
        deconvolution_kernel_size=(2, 2),
        dropout_rate=0.0,
        weight_decay=0,
        additional_options=None,
    )
    save(network, path)


def save(network: keras.Model, path: Path) -> None:
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, network)


def template(path: Path, size: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(size, dtype=np.float32)
    ants.image_write(ants.from_numpy(image), str(path))


def main(directory: Path) -> None:
    def place(number, file):
        path = directory / number / file
        path.parent.mkdir(parents=True)
        return path

    brain_network(place("34821874", "brainExtractionRobustT1.h5"), seed=1)
    brain_network(place("34792930", "brainExtractionRobustT1.h5"), seed=2)  # the same name in antspynet==0.1.7
    template(place("22597175", "S_template3.nii.gz"), TEMPLATE_SIZE)
    lung_network(place("41965818", "xrayLungExtraction.h5"), seed=3)
    template(place("41965815", "xrayLungPriors.nii.gz"), (*XRAY_SIZE, 2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
