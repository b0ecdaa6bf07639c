"""antscache's command line within this process: a call takes milliseconds, so that thousands can be tried."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from antscache.cli import main
from support import Ran

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 9}  # that errors.py documents, but for Ctrl-C's


class _Output(io.TextIOWrapper):
    """Text that programs write as to a terminal's file, in memory."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="", write_through=True)

    @property
    def text(self) -> str:
        self.seek(0)
        return self.read()


def run_within(arguments: Sequence[str], environ: Mapping[str, str], directory: Path) -> Ran:
    """Run a command in `directory` with `environ` alone, and return how it ended."""
    out, err = _Output(), _Output()
    code: object = None
    before, handlers = Path.cwd(), {each: signal.getsignal(each) for each in signal.valid_signals()}
    os.chdir(directory)
    try:
        with (
            patch.dict(os.environ, environ, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main(arguments)
    except SystemExit as ended:
        code = ended.code
    finally:
        os.chdir(before)
        for each, handler in handlers.items():  # `run` sets some back, which would end this process at a closed socket
            if handler is not None and handler is not signal.getsignal(each):
                signal.signal(each, handler)
    assert isinstance(code, int)
    return Ran(code, out.text, err.text)
