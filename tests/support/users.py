"""Other users of this machine, for tests that run as root: real user ids, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import HANG_SECONDS, cannot

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN, BOB = 12001, 12002  # user ids that nobody has; their groups have the same numbers
LAB = 12000  # another group of both

# Everything is imported first: the interpreter itself may be in a directory of root's.
_PROLOGUE = """
import encodings.idna, json, os, pwd, sys
from pathlib import Path
import antscache.operations.gc, antscache.operations.verify, antscache.fetch.fetcher, antscache.formats.hdf5_subprocess
from antscache import AntsCacheError
from antscache.cache import Cache
from antscache.config import Settings
from antscache.core import Selection
from antscache.store import Store
user, umask, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
os.setgroups([12000] if user in (12001, 12002) else [])
os.setgid(user); os.setuid(user); os.umask(umask); os.chdir("/")
os.environ["HOME"] = "/nonexistent"
"""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory that every user may write to. The test is skipped if this process cannot become another user."""
    if os.geteuid() != 0:
        cannot("only root becomes another user")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="antscache-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def run_as(user: int, code: str, *arguments: str | Path, umask: int = 0o022) -> Any:
    """Run `code` as `user`, and return the JSON that it prints, if any."""
    command = [sys.executable, "-c", _PROLOGUE + code, str(user), str(umask), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None
