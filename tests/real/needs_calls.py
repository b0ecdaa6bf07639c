"""Calls of a release's functions with every combination of the arguments that decide, and the static answer to each."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antscache.core import KERAS_WEIGHTS, find_needed
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from antscache.core import Function, Manifest

MAX_CALLS = 64  # of a function
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
MORE_VALUES: dict[str, list[Any]] = {  # which the functions know, and do not compare their arguments with
    "brain_extraction_modality": ["t1combined[5]"],
    "expansion_factor": [[2, 2, 2], [1, 1, 3], [5, 5, 5]],
    "feature": ["grader", "no such"],
    "initial_template": ["adni"],
    "modality": ["t1combined[5]", "ex5coronal", "ex5sagittal"],
    "template": ["adni", "croppedMni152"],
    "template_transform_type": ["Rigid"],
    "which_model": [0, 1, 4, "v0"],
}


@dataclass(frozen=True)
class Static:
    """The static answer to a call.

    Attributes:
        names: kind and name of what it can ask for, in the release or not.
        refused: True if the answer is that the function refuses the arguments.
    """

    names: frozenset[tuple[str, str]]
    refused: bool


def calls_of(function: Function) -> list[dict[str, Any]]:
    """Return the arguments of some calls of `function`: the defaults, and combinations of the values that decide."""
    choices = [list(values(function, parameter)) for parameter in function.deciding]
    combinations = [
        {name: value for name, value in zip(function.deciding, chosen, strict=True) if value is not DEFAULT}
        for chosen in itertools.product(*choices)
    ]
    first, *others = combinations
    if len(others) >= MAX_CALLS:
        others = random.Random(0).sample(others, MAX_CALLS - 1)  # noqa: S311  the same on every run
    return [first, *others]


def values(function: Function, parameter: str) -> Iterator[Any]:
    """Yield arguments of `parameter` that decide differently; `DEFAULT` comes first, where there is one or an image is."""
    found: list[Any] = [*MORE_VALUES.get(parameter, ())]
    for test in function.tests:
        if test.parameter != parameter:
            continue
        wanted = list(test.value) if isinstance(test.value, tuple) else [test.value]
        if test.operator in {"==", "is in", "contains"} and test.subject in {(parameter,), (parameter, "lower()")}:
            found += [*wanted, "other"] if isinstance(wanted[0], str) else [*wanted, IMAGE][: 1 + (wanted == [None])]
        elif test.operator == "is true":
            found += [True, False]
        elif test.operator in {"<", "<=", ">", ">="}:
            found += [test.value - 1, test.value, test.value + 1]  # type: ignore[operator]
        elif test.operator == "is a":
            found += [IMAGE, *(LISTS if "list" in wanted else ())]
    if False in found or True in found:
        found += [True, False]
    default = function.defaults.get(parameter, DEFAULT)
    if parameter in function.defaults or not any(isinstance(value, str) for value in found):
        yield DEFAULT
    for index, value in enumerate(found):
        if value not in found[:index] and (value != default or type(value) is not type(default)):
            yield value


def written(function: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as `--for` reads it."""
    return f"{function}:{','.join(f'{name}={_written(value)}' for name, value in arguments.items())}".rstrip(":")


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return "image" if value == IMAGE else repr(value)


def static(manifest: Manifest, function: Function, arguments: Mapping[str, Any]) -> Static:
    """Return the static answer to a call."""
    try:
        needed = find_needed(manifest, [written(function.name, arguments)])
    except ManifestError as error:
        absent = str(error).partition(f"{function.name} asks for ")[2].partition(" if ")[0]
        names = {(kind, absent) for kind in ("data", "network")} if absent else set()
        return Static(frozenset(names), refused=not absent)
    names = {(entry.kind, entry.name) for entry in needed.entries}
    names |= {(kind, name) for kind in ("data", "network") for name in needed.absent}
    defaults = function.defaults
    names |= {(c.kind, str(arguments.get(c.parameter, defaults.get(c.parameter)))) for c in needed.choices}
    return Static(frozenset(names), refused=False)
