"""Call functions of the real antspynet and record what they ask for: `python record_needs.py < QUESTION > ANSWER`.

    QUESTION    [[FUNCTION, {PARAMETER: VALUE}, DIMENSION], ...]
    ANSWER      a line for each call: {"asked": [[KIND, NAME], ...], "error": null or "TYPE: TEXT", "seconds": ...}

A VALUE is JSON, {"image": true} for an image, or a list of these. Every parameter without a default is an image, unless
the call gives it.

Run by a Python that has antspynet, with an empty HOME. Real are antspynet, its getters and the networks, as its own
functions build them. Not real are the downloads, which are noise or empty; the weights and the predictions of the
networks; registration, resampling and other slow functions of antspyx. So the code goes its ways in seconds, and the
results mean nothing.
"""

from __future__ import annotations

import inspect
import json
import re
import signal
import sys
import time
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ants
import antspynet
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALL_SECONDS = 60  # of processor time
SIZE = (64, 96, 64)  # of images and of most templates; networks halve it up to five times
GETTERS = {"get_antsxnet_data": "data", "get_pretrained_network": "network"}
COMPONENTS = {  # of templates that the code splits into images: along a last axis
    "croppedMni152Priors": 7,
    "deepFlashPriors": 7,
    "luna16LungPriors": 3,
    "magetCerebellumTemplatePriors": 28,
    "priorDeepFlashLeftLabels": 8,
    "priorDeepFlashRightLabels": 8,
    "priorDktLabels": 17,
    "protonLobePriors": 6,
    "xrayLungPriors": 2,
}
LABELS = ("Labels", "Mask", "Segmentation")  # ends of the names of templates with few values
SIZES = {  # of templates, and of images for a function
    "brain_age": (64, 64, 128),
    "croppedMni152": (64, 64, 128),
    "lung_airway_segmentation": (160, 160, 160),
    "lung_pulmonary_artery_segmentation": (160, 160, 160),
    "mraTemplate": (160, 160, 160),
    "mraTemplateBrainMask": (160, 160, 160),
    "mraTemplateVesselPrior": (160, 160, 160),
    "whole_head_inpainting": (32, 32, 32),
    "xrayLungPriors": (256, 256),
}
COLOURED = {"mouse_histology_super_resolution"}  # functions of images with three channels
PATCHES = 8  # of each image that is divided into patches
IMAGE = {"image": True}  # as a QUESTION writes it
asked: list[tuple[str, str]] = []  # by the call that runs
networks: dict[str, Any] = {}  # that the calls of a function built


def noise(size: tuple[int, ...]) -> ants.ANTsImage:
    """Return an image of noise with something in the middle."""
    voxels = np.random.default_rng(0).random(size, dtype=np.float32)
    voxels[tuple(slice(length // 4, -(length // 4)) for length in size[:3])] += 10
    return ants.from_numpy(voxels)


def labels(size: tuple[int, ...]) -> ants.ANTsImage:
    """Return an image of six labels around a background."""
    voxels = np.zeros(size, dtype=np.float32)
    for label, slab in enumerate(np.array_split(np.arange(size[0] // 4, size[0] * 3 // 4), 6)):
        voxels[slab, size[1] // 4 : size[1] * 3 // 4] = label + 1
    return ants.from_numpy(voxels)


def given(name: str, value: Any, size: tuple[int, ...]) -> Any:
    """Return the argument that a VALUE stands for, with images of `size`: what fits the parameter's name."""
    if isinstance(value, list):
        return [given(name, each, size) for each in value]
    if value != IMAGE:
        return value
    if name == "t1s":
        return [noise(size)]
    if name == "which_model":
        return Loaded("")
    return ants.threshold_image(noise(size), 5, 20, 1, 0) if "mask" in name else noise(size)


# What stands in for the downloads


@cache
def downloaded(file: str) -> str:
    """Return a file that stands in for `file`."""
    path = Path.home() / "files" / file
    path.parent.mkdir(exist_ok=True)
    name = file.partition(".")[0]
    if file.endswith(".nii.gz"):
        size = SIZES.get(name, SIZE)
        size = (*size, COMPONENTS[name]) if name in COMPONENTS else size
        make = labels if name.endswith(LABELS) else noise
        ants.image_write(make(size), str(path))
    elif file.endswith(".mat"):
        ants.write_transform(ants.new_ants_transform(dimension=3), str(path))
    else:
        path.touch()
    return str(path)


def fake_file(fname: str, *_: Any, **__: Any) -> str:
    """Stand in for Keras's `get_file`, which the getters call, and Keras itself for weights of its own."""
    if "imagenet" in fname or re.match("vgg|densenet", fname):
        asked.append(("keras", fname))
    return downloaded(fname)


def recording(getter: Callable[..., str], kind: str) -> Callable[..., str]:
    """Return `getter` so that it records the names that it is called with."""

    @wraps(getter)
    def record(file_id: str, *arguments: Any, **named: Any) -> str:
        asked.append((kind, str(file_id)))
        return getter(file_id, *arguments, **named)

    return record


# What stands in for computations


class Loaded:
    """A network whose file holds its architecture too: by the file's name, it rates images, or makes them finer."""

    input_shape = (None, None, None, None, 1)

    def __init__(self, file: str, *_: Any, **__: Any) -> None:
        self._makes_images = "SuperResolution" in file or "sig_" in file
        self._ratings = 1 if "brainAge" in file else 5

    def predict(self, images: Any, *_: Any, **__: Any) -> Any:
        return images[:1] if self._makes_images else np.ones((len(images), self._ratings))


def predict(network: keras.Model, images: Any, *_: Any, **__: Any) -> Any:
    """Return arrays of the shapes that the network predicts for `images`."""
    first = images[0] if isinstance(images, list | tuple) else images
    if not isinstance(network.output_shape, list):
        return predicted((len(first), *network.output_shape[1:]), first.shape)
    return [predicted((len(first), *shape[1:]), first.shape) for shape in network.output_shape]


def predicted(shape: tuple[int | None, ...], input_shape: tuple[int, ...]) -> Any:
    """Return an array of `shape`, with lengths of the input for None.

    Each channel is 1 in a slab of its own; the only one is 1 but for a slab.
    """
    values = np.zeros([length or input_shape[axis] for axis, length in enumerate(shape)], dtype=np.float32)
    if values.ndim < 3:
        return values + 0.5
    if values.shape[-1] == 1:
        values[:, : values.shape[1] // 3] = values[:, values.shape[1] // 2 :] = 1
        return values
    for channel, slab in enumerate(np.array_split(np.arange(values.shape[1]), values.shape[-1])):
        values[:, slab, ..., channel] = 1
    return values


def resized(image: ants.ANTsImage, size: Any, spacing: Any = None) -> ants.ANTsImage:
    """Return `image` with `size` voxels, each of them one of its own."""
    axes = [np.arange(new) * old // new for new, old in zip(map(int, size), image.shape, strict=True)]
    return ants.from_numpy(
        image.numpy()[np.ix_(*axes)], image.origin, spacing or image.spacing, image.direction, image.has_components
    )


def fit(image: ants.ANTsImage, domain: ants.ANTsImage) -> ants.ANTsImage:
    """Return `image` with the voxels of `domain`."""
    return ants.copy_image_info(domain, resized(image, domain.shape))


def fit_to(image: ants.ANTsImage, target: ants.ANTsImage, *_: Any, **__: Any) -> ants.ANTsImage:
    return fit(image, target)


def resample(image: ants.ANTsImage, resample_params: Any, use_voxels: Any = None, *_: Any, **__: Any) -> Any:
    if use_voxels:
        return resized(image, resample_params)
    lengths = zip(image.shape, image.spacing, resample_params, strict=True)
    return resized(image, [max(1, count * old // new) for count, old, new in lengths], tuple(resample_params))


def register(fixed: ants.ANTsImage, moving: ants.ANTsImage, *_: Any, **__: Any) -> dict[str, Any]:
    transforms = [downloaded("any.mat")]
    return {
        "warpedmovout": fit(moving, fixed),
        "warpedfixout": fit(fixed, moving),
        "fwdtransforms": transforms,
        "invtransforms": transforms,
    }


def apply_transforms(fixed: ants.ANTsImage, moving: ants.ANTsImage, *_: Any, **__: Any) -> ants.ANTsImage:
    return fit(moving, fixed)


def segment(a: ants.ANTsImage, *_: Any, **__: Any) -> dict[str, Any]:
    return {"segmentation": ants.image_clone(a) * 0 + 1, "probabilityimages": [a] * 6}


def same(image: ants.ANTsImage, *_: Any, **__: Any) -> ants.ANTsImage:
    return ants.image_clone(image)


def thickness(s: Any, g: ants.ANTsImage, *_: Any, **__: Any) -> ants.ANTsImage:
    return fit(g, s)


def crop(image: ants.ANTsImage, lowerind: Any, upperind: Any) -> ants.ANTsImage:
    return resized(image, [upper - lower for lower, upper in zip(lowerind, upperind, strict=True)])


def decrop(cropped_image: ants.ANTsImage, full_image: ants.ANTsImage) -> ants.ANTsImage:
    return fit(cropped_image, full_image)


def divide(_: ants.ANTsImage, patch_size: Any, *__: Any, return_as_array: bool = False, **___: Any) -> Any:
    patches = np.broadcast_to(np.linspace(0, 1, patch_size[-1], dtype=np.float32), (PATCHES, *patch_size))
    return patches if return_as_array else list(patches)


def put_together(patches: Any, domain_image: ants.ANTsImage, *_: Any, **__: Any) -> ants.ANTsImage:
    return fit(ants.from_numpy(np.array(patches[0], dtype=np.float32)), domain_image)


FAKES = {
    "apply_transforms": apply_transforms,
    "atropos": segment,
    "crop_indices": crop,
    "decrop_image": decrop,
    "denoise_image": same,
    "extract_image_patches": divide,
    "kelly_kapowski": thickness,
    "n4_bias_field_correction": same,
    "pad_or_crop_image_to_size": resized,
    "reconstruct_image_from_patches": put_together,
    "registration": register,
    "resample_image": resample,
    "resample_image_to_target": fit_to,
}


def replace(old: Any, new: Any) -> None:
    """Replace `old` by `new` in all modules of antspynet."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "antspynet":
            for key in [key for key, value in vars(module).items() if value is old]:
                setattr(module, key, new)


def install_fakes() -> None:
    """Replace what is not to run."""
    for name, kind in GETTERS.items():
        getter = getattr(antspynet.utilities, name)
        replace(getter, recording(getter, kind))
    for name, fake in FAKES.items():
        setattr(ants, name, fake)
        replace(getattr(antspynet.utilities, name, fake), fake)  # which old releases have themselves
    zeros = np.zeros
    small_zeros = lambda shape, dtype=np.float32, **more: zeros(shape, dtype, **more)  # noqa: E731
    setattr(np, "zeros", small_zeros)  # noqa: B010  half of the memory
    pd.Series.__int__ = lambda series: int(series.iloc[0])  # as before pandas 3, which the releases do not know
    tf.keras.utils.get_file = fake_file
    for name in "file_utils", "data_utils":  # of Keras 3 and 2
        if module := sys.modules.get(f"keras.src.utils.{name}"):
            module.get_file = fake_file  # type: ignore[attr-defined]
    replace(keras.models.load_model, Loaded)
    keras.models.load_model = tf.keras.models.load_model = Loaded
    keras.Model.load_weights = lambda *_, **__: None
    keras.Model.predict = predict
    for _, create in inspect.getmembers(antspynet.architectures, inspect.isfunction):
        replace(create, kept(create))


def kept(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return `create` so that it builds a network once for equal arguments."""

    @wraps(create)
    def build(*arguments: Any, **named: Any) -> Any:
        key = repr((create, arguments, named))
        if key not in networks:
            networks[key] = create(*arguments, **named)
        return networks[key]

    return build


def late(*_: Any) -> None:
    raise TimeoutError(f"after {CALL_SECONDS} seconds of processor time")


def call(function: Callable[..., Any], arguments: dict[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    """Call `function`, and return what it asked for."""
    asked.clear()
    started, error = time.monotonic(), None
    parameters = inspect.signature(function).parameters.items()
    required = {name: IMAGE for name, each in parameters if each.default is each.empty}
    signal.setitimer(signal.ITIMER_PROF, CALL_SECONDS)
    try:
        args = {name: given(name, value, size) for name, value in {**required, **arguments}.items()}
        if function.__name__ in COLOURED:
            args["image"] = ants.merge_channels([args["image"]] * 3)
        function(**args)
    except Exception as caught:  # noqa: BLE001  whatever the function raises is part of the answer
        error = f"{type(caught).__name__}: {str(caught).strip()[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"asked": sorted(set(asked)), "error": error, "seconds": round(time.monotonic() - started, 1)}


def answers(question: list[tuple[str, dict[str, Any], int]]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each call."""
    install_fakes()
    before = None
    for name, arguments, dimension in question:
        if name != before:
            networks.clear()
            keras.backend.clear_session()
        before = name
        yield call(getattr(antspynet, name), arguments, SIZES.get(name, SIZE[:dimension]))


if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr  # on which antspynet prints
    signal.signal(signal.SIGPROF, late)
    for answer in answers(json.load(sys.stdin)):
        print(json.dumps(answer), file=output, flush=True)
