"""Calls of a release's functions with every combination of the arguments that decide, and the static answer to each."""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antscache.core import ask, find_needed, parse_call
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from antscache.core import ArgumentTest, Function, Kind, Manifest

MAX_CALLS = 64  # of a function, where the page is written
FEW_CALLS = 4  # of a function, where it is not
MODALITIES = 14  # calls of brain_extraction then
IMAGE = {"image": True}  # as record_needs.py reads it
LISTS = [
    [IMAGE],
    [IMAGE, IMAGE],
    [IMAGE, IMAGE, IMAGE],
    [IMAGE, IMAGE, None],
    [IMAGE, None, IMAGE],
    [IMAGE, None, None],
    [[IMAGE], IMAGE],
]
DEFAULT = object()  # the call does not give the parameter
MORE_VALUES: dict[str, dict[str, list[Any]]] = {  # with which the functions do not compare their arguments
    "brain_extraction": {"modality": ["t1combined[5]"]},
    "longitudinal_cortical_thickness": {"initial_template": ["adni"]},
    "mouse_brain_extraction": {"modality": ["ex5coronal", "ex5sagittal"]},
    "mri_super_resolution": {
        "expansion_factor": [[2, 2, 2], [1, 1, 3], [5, 5, 5]],
        "feature": ["grader", "other"],
    },
    "preprocess_brain_image": {
        "brain_extraction_modality": ["t1combined[5]"],
        "template": ["adni", "croppedMni152"],
        "template_transform_type": ["Rigid"],
    },
    "shiva_pvs_segmentation": {"which_model": [0, 1, 4]},
    "shiva_wmh_segmentation": {"which_model": [0, 1, 4]},
    "whole_head_inpainting": {"mode": ["average", "meg"]},
}

TWO_DIMENSIONAL = {  # functions of such images
    "arterial_lesion_segmentation",
    "check_xray_lung_orientation",
    "chexnet",
    "mouse_histology_hemispherical_coronal_mask",
    "mouse_histology_super_resolution",
    "neural_style_transfer",
}


@dataclass(frozen=True)
class Static:
    """The static answer to a call.

    Attributes:
        names: kind and name of what it can ask for, in the release or not.
        refused: True if it is that the function refuses the arguments.
    """

    names: frozenset[tuple[Kind, str]]
    refused: bool


def calls_of(function: Function) -> list[dict[str, Any]]:
    """Return the arguments of some calls of `function`: the defaults, and combinations of the values that decide."""
    choices = [list(values(function, parameter)) for parameter in function.deciding]
    combinations = [
        {name: value for name, value in zip(function.deciding, chosen, strict=True) if value is not DEFAULT}
        for chosen in itertools.product(*choices)
    ]
    first, *others = combinations
    few = MODALITIES if function.name == "brain_extraction" else FEW_CALLS
    most = MAX_CALLS if os.environ.get("ANTSCACHE_TESTS_UPDATE") else few
    if len(others) >= most:
        others = random.Random(0).sample(others, most - 1)  # noqa: S311  the same on every run
    return [first, *others]


def values(function: Function, parameter: str) -> Iterator[Any]:
    """Yield arguments of `parameter` that decide differently: first its default, or an image if that can be one."""
    found: list[Any] = [*MORE_VALUES.get(function.name, {}).get(parameter, ())]
    for test in function.tests:
        if test.parameter == parameter:
            found += tested(test)
    if False in found or True in found:
        found += [True, False]
    default = function.defaults.get(parameter, DEFAULT)
    if parameter in function.defaults or not any(isinstance(value, str) for value in found):
        yield DEFAULT
    for index, value in enumerate(found):
        if value not in found[:index] and (value != default or type(value) is not type(default)):
            yield value


def tested(test: ArgumentTest) -> list[Any]:
    """Return arguments for both outcomes of a test."""
    wanted = list(test.value) if isinstance(test.value, tuple) else [test.value]
    match test.operator:
        case "is true":
            return [True, False]
        case "is a":
            return [IMAGE, *(LISTS if "list" in wanted else ())]
        case "==" | "is in" | "contains" if test.subject[1:] in {(), ("lower()",)}:
            others = ["other"] if isinstance(wanted[0], str) else [IMAGE] if wanted == [None] else []
            return [*wanted, *others]
        case "<" | "<=" | ">" | ">=" if isinstance(test.value, int):
            return [test.value - 1, test.value, test.value + 1]
    return []


def dimension(function: Function, arguments: Mapping[str, Any]) -> int:
    """Return the dimension of the images of a call."""
    return 2 if function.name in TWO_DIMENSIONAL or arguments.get("modality") == "xray" else 3


def written(function: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as `--for` reads it."""
    return f"{function}:{','.join(f'{name}={_written(value)}' for name, value in arguments.items())}".rstrip(":")


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return "image" if value == IMAGE else repr(value)


def static(manifest: Manifest, function: Function, arguments: Mapping[str, Any]) -> Static:
    """Return the static answer to a call."""
    call = written(function.name, arguments)
    asked = ask(function, parse_call(call).arguments)
    try:
        needed = find_needed(manifest, [call])
    except ManifestError:  # the function refuses it, or the release has no file that it asks for
        return Static(asked.names, refused=not asked.returns)
    names = {(entry.kind, entry.name) for entry in needed.entries}
    names |= {(kind, name) for kind, name in asked.names if name in needed.absent}
    chosen = {**function.defaults, **arguments}
    names |= {(choice.kind, str(chosen[choice.parameter])) for choice in needed.choices}
    return Static(frozenset(names), refused=False)
