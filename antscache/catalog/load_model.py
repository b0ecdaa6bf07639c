"""The networks that a release loads with Keras's `load_model`, told by its source text. Pure.

`load_model` builds a network from the configuration in its file, and may run code that is named there. `load_weights`
reads numbers alone, and that is how ANTsPyNet uses most networks. A module that names `load_model` counts as loading
every network that it mentions: by name, as `"brainAgeDeepBrainNet"`, or by the beginning of one that it completes, as
`"sig_smallshort_train_" + ...`. So a network may count without need, and none is missed that the module names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_PREFIX_CHARACTERS = 8  # of a text that may be the beginning of a name; shorter ones are words like "conv"

_CALL = re.compile(r"\bload_model\b")
_WORD = re.compile(r"[\w.+-]+")
_TEXT = re.compile(rf"""["']([\w.+-]{{{MIN_PREFIX_CHARACTERS},}})["']""")


def find_loaded(module: str, names: Iterable[str]) -> set[str]:
    """Return those of `names` that `module`, the text of a module in Python, loads with `load_model`."""
    if not _CALL.search(module):
        return set()
    words, beginnings = set(_WORD.findall(module)), set(_TEXT.findall(module))
    return {name for name in names if name in words or not beginnings.isdisjoint(_beginnings(name))}


def _beginnings(name: str) -> set[str]:
    return {name[:length] for length in range(MIN_PREFIX_CHARACTERS, len(name) + 1)}
