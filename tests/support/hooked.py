"""Processes that use ANTsPyNet without knowing of antscache, in their own interpreter, with the hook or without."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import HANG_SECONDS, REPOSITORY, AntsCache, Ran, upstreams
from support.upstreams import GENERATIONS, PYTHON, Upstream

if TYPE_CHECKING:
    from antscache.testing import StandIn

HOME = ".keras/ANTsXNet"
INJECT = REPOSITORY / "antscache" / "inject"
NEWEST = GENERATIONS[-1]

# The beginning of most scripts.
IMPORTS = """
import json, os, sys
import antspynet
from antspynet import get_antsxnet_data as data, get_pretrained_network as network

def outcome(function):
    try:
        value = function()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
    return list(value) if isinstance(value, tuple) else value
"""


@dataclass
class Lab:
    """antscache, and processes that use ANTsPyNet without knowing of it."""

    antscache: AntsCache
    place: Path
    figshare: StandIn
    made: dict[str, Upstream] = field(default_factory=dict)
    views: dict[str, Path] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.antscache.home / HOME

    def upstream(self, version: str = NEWEST) -> Upstream:
        if version not in self.made:
            self.made[version] = upstreams.make(self.place, version)
        return self.made[version]

    def view(self, version: str = NEWEST, *names: str) -> Path:
        """Prefetch the files of a release, all or those of `names`, and return their directory in its view."""
        if version not in self.views:
            chosen = [word for name in names for word in ("--name", name)]
            ran = self.antscache("prefetch", "--from", self.upstream(version).directory, *chosen)
            self.views[version] = Path(ran.succeeded().out.strip(), HOME)
        return self.views[version]

    def hooked(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Ran:
        """Run `code` in a process with the hook, as `antscache run` starts it."""
        command = json.dumps(self.antscache.command())
        path = f"{INJECT}:{environ.pop('PYTHONPATH', upstream.path)}"
        return self.plain(upstream, code, *arguments, **{"ANTSCACHE_COMMAND": command, "PYTHONPATH": path, **environ})

    def answer(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Any:
        """Run `code` with the hook, and return the last line that it prints, as JSON."""
        return json.loads(self.hooked(upstream, IMPORTS + code, *arguments, **environ).succeeded().out.splitlines()[-1])

    def plain(self, upstream: Upstream, code: str, *arguments: str, **environ: str) -> Ran:
        """Run `code` in a process without a hook, by the interpreter PYTHON; a warning in it is an error."""
        environ = {"PYTHONPATH": upstream.path, **environ}
        done = subprocess.run(
            [environ.pop("PYTHON", PYTHON), "-W", "error", "-c", code, *arguments],
            env=self.antscache.environment(**environ),
            cwd=self.antscache.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        return Ran(done.returncode, done.stdout, done.stderr)
