"""Ask antspynet for entries, in each of several ways: `python ask.py < QUESTION`, run by a Python that has it.

    QUESTION    {"names": {"data": [...], "network": [...]}, "directories": [...]}
    it prints   {"data": {NAME: [PATH, ...]}, "network": {...}}

Each name is asked for without a directory and with each of the directories, by position and by keyword. It prints each
returned path once.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from antspynet.utilities import get_antsxnet_data, get_pretrained_network

if TYPE_CHECKING:
    from collections.abc import Callable

GETTERS = {"data": get_antsxnet_data, "network": get_pretrained_network}


def paths(getter: Callable[..., str], name: str, directories: list[Any]) -> list[str]:
    found = {getter(name), getter(file_id=name)}
    for directory in directories:
        found |= {getter(name, antsxnet_cache_directory=directory), getter(name, None, directory)}
    return sorted(found)


if __name__ == "__main__":
    question = json.load(sys.stdin)
    answer = {
        kind: {name: paths(GETTERS[kind], name, question["directories"]) for name in names}
        for kind, names in question["names"].items()
    }
    json.dump(answer, sys.stdout)
