"""Make stand-ins for ANTsPyNet's files: `python make_weights.py DIRECTORY`, run by a Python that has ANTsPyNet.

    DIRECTORY/<Figshare number>/<ANTsPyNet's file name>

A network has the architecture that the release's own function builds, and seeded random weights in the layout of the
published files: legacy HDF5, without the architecture. A template is noise, as small as the functions allow. The bytes
are the same on every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ants
import h5py
import keras
import numpy as np
from antspynet.architectures import create_unet_model_2d, create_unet_model_3d

TEMPLATE = (48, 56, 48)  # the network takes its size from the template; three poolings halve each
XRAY = (256, 256)  # to which lung_extraction resamples
CT = (128, 128, 128)  # the same, of a CT


def brain_network() -> keras.Model:
    """Build the network of brain_extraction(modality="t1")."""
    return create_unet_model_3d(
        (*TEMPLATE, 1),
        number_of_outputs=1,
        mode="sigmoid",
        number_of_filters=(16, 32, 64, 128),
        dropout_rate=0.0,
        convolution_kernel_size=3,
        deconvolution_kernel_size=2,
        weight_decay=1e-5,
    )


def chest_network() -> keras.Model:
    """Build the network of lung_extraction(modality="ct")."""
    return create_unet_model_3d(
        (*CT, 4),
        number_of_outputs=4,
        mode="classification",
        number_of_layers=4,
        number_of_filters_at_base_layer=16,
        dropout_rate=0.0,
        convolution_kernel_size=(3, 3, 3),
        deconvolution_kernel_size=(2, 2, 2),
        weight_decay=1e-5,
        additional_options=("attentionGating",),
    )


def lung_network() -> keras.Model:
    """Build the network of lung_extraction(modality="xray")."""
    return create_unet_model_2d(
        (*XRAY, 3),
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


NETWORKS = {
    "34821874/brainExtractionRobustT1.h5": (brain_network, 1),
    "34792930/brainExtractionRobustT1.h5": (brain_network, 2),  # as antspynet==0.1.7 has it
    "41965818/xrayLungExtraction.h5": (lung_network, 3),
    "28357818/lungCtWithPriorsSegmentationWeights.h5": (chest_network, 4),
}
TEMPLATES = {
    "22597175/S_template3.nii.gz": TEMPLATE,
    "41965815/xrayLungPriors.nii.gz": (*XRAY, 2),  # left and right
    "28253796/luna16LungPriors.nii.gz": (16, 16, 16, 3),  # left, right and airways
}


def save(network: keras.Model, file: Path) -> None:
    if keras.__version__.startswith("2."):  # whose own layout it is
        network.save_weights(file)
        return
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(file, "w") as weights:
        save_weights_to_hdf5_group(weights, network)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    for file in (*NETWORKS, *TEMPLATES):
        (directory / file).parent.mkdir(parents=True)
    for file, (network, seed) in NETWORKS.items():
        keras.backend.clear_session()  # layers are numbered anew
        keras.utils.set_random_seed(seed)
        save(network(), directory / file)
    for file, size in TEMPLATES.items():
        voxels = np.random.default_rng(0).random(size, dtype=np.float32)
        ants.image_write(ants.from_numpy(voxels), str(directory / file))
