"""Call the real ANTsPyNet on an image of noise: `python extract.py brain|chest|lung OUTPUT`, by a Python that has it.

OUTPUT (.npy) holds the probability images that the function returns. The program does nothing to direct ANTsPyNet to
its files: HOME decides.
"""

from __future__ import annotations

import sys

import ants
import numpy as np
from antspynet.utilities import brain_extraction, lung_extraction


def noise(*size: int) -> ants.ANTsImage:
    """Return the same image on every run. Its spacing is the one that brain_extraction gives to its template."""
    voxels = np.random.default_rng(0).random(size, dtype=np.float32)
    return ants.from_numpy(voxels, spacing=(1.5,) * len(size))


def brain() -> list[ants.ANTsImage]:
    """Return the probabilities of brain."""
    return [brain_extraction(noise(40, 48, 40), modality="t1")]


def chest() -> list[ants.ANTsImage]:
    """Return those of background, left lung, right lung and airways, in a CT: the old releases know no "xray"."""
    return list(lung_extraction(noise(24, 20, 16), modality="ct")["probability_images"])


def lung() -> list[ants.ANTsImage]:
    """Return the probabilities of background, left lung and right lung, in an X-ray image."""
    return list(lung_extraction(noise(120, 100), modality="xray")["probability_images"])


if __name__ == "__main__":
    organ, output = sys.argv[1:]
    np.save(output, [image.numpy() for image in {"brain": brain, "chest": chest, "lung": lung}[organ]()])
