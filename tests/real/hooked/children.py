"""Let child processes ask ANTsPyNet for files, one for each file: `python children.py MEANS KIND/NAME...`.

The last line of stdout is a JSON object: `parent`, the number of this process, and `answers`, the list of their
answers. This process imports ANTsPyNet itself only if it forks them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ask import ask  # type: ignore[import-not-found]  # it is beside this program

if TYPE_CHECKING:
    from collections.abc import Callable

Answers = list[dict[str, Any]]
HERE = Path(__file__).parent


def by_multiprocessing(method: str, asked: list[str]) -> Answers:
    """Ask in a pool of workers, which are started by `method`."""
    if method == "fork":
        import antspynet  # noqa: F401  as a program would have
    with multiprocessing.get_context(method).Pool(len(asked)) as pool:
        return pool.map(ask, asked, chunksize=1)


def by_joblib(asked: list[str]) -> Answers:
    """Ask in loky's workers, joblib's default."""
    from joblib import Parallel, delayed  # type: ignore[import-not-found,import-untyped,unused-ignore]

    answers: Answers = Parallel(n_jobs=max(2, len(asked)))(
        delayed(ask)(each) for each in asked
    )  # 1 would be this process
    return answers


def by_subprocess(asked: list[str]) -> Answers:
    """Ask in another program."""
    done = subprocess.run([sys.executable, HERE / "ask.py", *asked], stdout=subprocess.PIPE, text=True, check=True)
    answers: Answers = json.loads(done.stdout.splitlines()[-1])
    return answers


def by_notebook(asked: list[str]) -> Answers:
    """Ask in the kernel of a notebook, over sockets in a directory: there may be no network at all."""
    from nbclient import NotebookClient  # type: ignore[import-not-found,unused-ignore]
    from nbformat.v4 import new_code_cell, new_notebook  # type: ignore[import-not-found,unused-ignore]
    from traitlets.config import Config  # type: ignore[import-not-found,unused-ignore]

    path, wanted = str(HERE), list(asked)
    notebook = new_notebook(
        cells=[
            new_code_cell(f"import sys; sys.path.append({path!r})"),
            new_code_cell("import json; from ask import ask"),
            new_code_cell(f"answers = [ask(each) for each in {wanted!r}]"),
            new_code_cell("print(json.dumps(answers))"),
        ]
    )
    with tempfile.TemporaryDirectory() as directory:
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": str(Path(directory, "kernel"))}})
        NotebookClient(notebook, kernel_name="python3", timeout=200, startup_timeout=200, config=sockets).execute()
    answers: Answers = json.loads(notebook.cells[-1].outputs[-1].text)
    return answers


MEANS: dict[str, Callable[[list[str]], Answers]] = {
    "fork": partial(by_multiprocessing, "fork"),
    "spawn": partial(by_multiprocessing, "spawn"),
    "forkserver": partial(by_multiprocessing, "forkserver"),
    "joblib": by_joblib,
    "subprocess": by_subprocess,
    "notebook": by_notebook,
}

if __name__ == "__main__":
    means, *names = sys.argv[1:]
    print("\n" + json.dumps({"parent": os.getpid(), "answers": MEANS[means](names)}))  # noqa: T201
