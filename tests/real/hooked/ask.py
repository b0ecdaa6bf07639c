"""Ask the real ANTsPyNet for files: `python ask.py KIND/NAME...`, run by a Python that has it.

The last line of stdout is a JSON list with its answers. The program does nothing to direct ANTsPyNet to its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def ask(asked: str) -> dict[str, Any]:
    """Ask ANTsPyNet for a file, and return the path and facts of the file there, or the error."""
    from antspynet.utilities import get_antsxnet_data, get_pretrained_network

    kind, name = asked.split("/")
    answer: dict[str, Any] = {"asked": asked, "pid": os.getpid()}
    try:
        path = {"data": get_antsxnet_data, "network": get_pretrained_network}[kind](name)
        content = Path(path).read_bytes()
    except Exception as error:  # noqa: BLE001  any error is an answer
        return {**answer, "error": f"{type(error).__name__}: {error}"}
    begins, digest = content[:20].decode("latin-1"), hashlib.sha256(content).hexdigest()
    return {**answer, "path": path, "size": len(content), "begins": begins, "sha256": digest}


if __name__ == "__main__":
    print("\n" + json.dumps([ask(each) for each in sys.argv[1:]]))  # noqa: T201
