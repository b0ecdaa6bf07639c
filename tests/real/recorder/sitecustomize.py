"""With this directory on `PYTHONPATH`, each Python process leaves a file in `$RECORDED` that says what it imported."""

import atexit
import os
import sys
from pathlib import Path


@atexit.register
def record() -> None:
    """Write the interpreter's prefix and the names of its modules, one a line."""
    Path(os.environ["RECORDED"], str(os.getpid())).write_text("\n".join([sys.prefix, *sys.modules]), encoding="utf-8")
