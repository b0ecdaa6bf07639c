"""The verbs: one file each, named like its verb, with `_` for `-`.

A file holds the verb's flags, its help and its output; the work is done elsewhere, mostly by `antscache.Cache`.
A new verb is a file here and a line in `VERBS`. Importing this package imports no verb, so that `antscache path`
answers in a tenth of a second and waits for no other verb's imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["VERBS", "load"]

# Verb -> its module in this package, and the command in that module.
VERBS = {
    "adopt": "adopt.adopt",
    "cite": "cite.cite",
    "container-args": "container_args.container_args",
    "diff": "diff.diff",
    "doctor": "doctor.doctor",
    "export": "export.export",
    "forget": "forget.forget",
    "gc": "gc.gc",
    "hook": "hook.group",
    "init": "init.init",
    "key": "key.key",
    "link": "link.link",
    "list": "list.list_",
    "lock": "lock.lock",
    "path": "path.path",
    "prefetch": "prefetch.prefetch",
    "releases": "releases.releases",
    "rm": "rm.rm",
    "run": "run.run",
    "show": "show.show",
    "status": "status.status",
    "verify": "verify.verify",
}


def load(verb: str) -> click.Command:
    """Import the module of `verb` and return its command."""
    module, name = VERBS[verb].split(".")
    command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
    return command
