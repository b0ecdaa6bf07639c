"""The working directory holds data, not code: no verb imports a module from it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import BRAIN

from antscache.cli.commands import VERBS

if TYPE_CHECKING:
    from support import AntsCache

SCRIPT = Path(sys.executable).with_name("antscache")
# Each module writes its name to the witness, and then behaves as if it were not there.
PLANTED = """
import sys
with open({witness!r}, "a") as file:
    file.write(__name__ + "\\n")
raise ImportError("planted")
"""
OTHER_MODULES = ("ants", "antscache", "antspynet", "click", "h5py", "msgspec", "pip", "rich", "urllib3")
NAMES = (*sys.stdlib_module_names, *OTHER_MODULES)
# Verb: the arguments of calls that start other interpreters, or read sources, where a verb does so.
CALLS = {
    "adopt": ["adopt files --as 0.3.2 --offline"],
    "key": ["key 0.3.2", "key 0.3.2 --for brain_extraction:modality=t1"],
    "lock": ["lock 0.3.2", "lock 0.3.2 --check"],
    "cite": ["cite 0.3.2", "cite 0.3.2 --format csl-json"],
    "container-args": ["container-args docker"],
    "diff": ["diff 0.2.9 0.3.2"],
    "doctor": ["doctor --offline", f"doctor --offline --python {sys.executable}"],
    "export": ["export dir out"],
    "forget": ["forget figshare:34821874"],
    "gc": ["gc"],
    "hook": ["hook status", "hook enable --python {python}", "hook disable --python {python}"],
    "init": ["init"],
    "link": [f"link 0.3.2 --home home --name {BRAIN}"],
    "list": [
        "list --format csv",
        "list antspynet",
        "list antspynet==99.9",
        f"list antspynet --python {sys.executable}",
    ],
    "path": ["path", "path --root"],
    "prefetch": [f"prefetch 0.3.2 --name {BRAIN}", "prefetch"],
    "releases": ["releases"],
    "rm": ["rm 0.3.2"],
    "run": [f"run 0.3.2 -- {sys.executable} -I -c pass"],
    "show": [f"show {BRAIN}"],
    "status": ["status"],
    "verify": ["verify --deep"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_imports_from_the_working_directory(verb: str, antscache: AntsCache, tmp_path: Path) -> None:
    planted, witness = tmp_path / "planted", tmp_path / "witness"
    antscache("prefetch", "0.3.2", "--name", BRAIN).succeeded()
    if verb == "hook":
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "environment"], check=True)
    (planted / "files").mkdir(parents=True)
    for name in NAMES:
        (planted / f"{name}.py").write_text(PLANTED.format(witness=str(witness)))
    for call in CALLS[verb]:
        arguments = shlex.split(call.format(python=tmp_path / "environment/bin/python"))
        done = subprocess.run(
            [SCRIPT, *arguments], cwd=planted, env=antscache.environment(), capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        assert not witness.exists(), f"{call}: {witness.read_text()}"
