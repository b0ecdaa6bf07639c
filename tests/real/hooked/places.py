"""Ask the real ANTsPyNet for files in places of one's own: `python places.py CALLS`, run by a Python that has it.

CALLS is a JSON list of [KIND, NAME, DIRECTORY or null, FILE or null]. The last line of stdout is a JSON list of the
answers: [PATH, SHA256], with an empty SHA256 for a directory, or [ERROR].
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import antspynet

GETTERS = {"data": antspynet.get_antsxnet_data, "network": antspynet.get_pretrained_network}


def ask(kind: str, name: str, directory: str | None, file: str | None) -> list[str]:
    """Name the directory in the way of the release: by its setting, or by a parameter."""
    named: dict[str, Any] = {} if file is None else {"target_file_name": file}
    if directory is not None and hasattr(antspynet, "set_antsxnet_cache_directory"):
        antspynet.set_antsxnet_cache_directory(directory)
    elif directory is not None:
        named["antsxnet_cache_directory"] = directory
    try:
        path = GETTERS[kind](name, **named)
        return [path, "" if Path(path).is_dir() else hashlib.sha256(Path(path).read_bytes()).hexdigest()]
    except Exception as error:  # noqa: BLE001  any error is an answer
        return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    print("\n" + json.dumps([ask(*call) for call in json.loads(sys.argv[1])]))  # noqa: T201
