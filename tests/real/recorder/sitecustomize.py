"""Let each Python process with this directory on `PYTHONPATH` write its imports into a file in `$RECORDED`."""

import atexit
import os
import sys
from pathlib import Path


@atexit.register
def record() -> None:
    """Write the interpreter's prefix and the names of its modules, one a line."""
    Path(os.environ["RECORDED"], str(os.getpid())).write_text("\n".join([sys.prefix, *sys.modules]), encoding="utf-8")
