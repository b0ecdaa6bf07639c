"""Direct an unmodified ANTsPyNet to its view: in a process, in what it starts, in an environment, in a container.

hook.py         one process and its children; a whole environment
containers.py   the options with which a container uses this host's cache (pure)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.hook.containers import ENGINES, Host, hides
    from antscache.hook.hook import RELEASE, Hooked, activate, disable, enable, environment, status

__all__ = [
    "ENGINES",
    "RELEASE",
    "Hooked",
    "Host",
    "activate",
    "disable",
    "enable",
    "environment",
    "hides",
    "status",
]

__getattr__ = lazily(
    __name__,
    {
        "containers": ("ENGINES", "Host", "hides"),
        "hook": ("Hooked", "RELEASE", "activate", "disable", "enable", "environment", "status"),
    },
)
