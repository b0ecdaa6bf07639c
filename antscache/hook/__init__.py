"""Direct an unmodified ANTsPyNet to its view: three ways to make a process use it.

hook.py               one process, and those it starts
environments.py       every process of an environment
container_options.py  a container that uses this host's cache (pure)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.hook.container_options import ENGINES, HostAccess, hides
    from antscache.hook.environments import Hooked, disable, enable, status
    from antscache.hook.hook import RELEASE, activate, environment

__all__ = [
    "ENGINES",
    "RELEASE",
    "Hooked",
    "HostAccess",
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
        "container_options": ("ENGINES", "HostAccess", "hides"),
        "environments": ("Hooked", "disable", "enable", "status"),
        "hook": ("RELEASE", "activate", "environment"),
    },
)
