"""Make an unmodified ANTsPyNet use its view, in three ways.

hook.py               one process, and those it starts
environments.py       every process of an environment
container_options.py  a container that uses this host's cache (pure)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.hook.container_options import ENGINES, HostAccess, find_hidden
    from antscache.hook.environments import HookStatus, disable, enable, status
    from antscache.hook.hook import LOCK_VARIABLE, RELEASE_VARIABLE, activate, environment

__all__ = [
    "ENGINES",
    "LOCK_VARIABLE",
    "RELEASE_VARIABLE",
    "HookStatus",
    "HostAccess",
    "activate",
    "disable",
    "enable",
    "environment",
    "find_hidden",
    "status",
]

__getattr__ = lazily(
    __name__,
    {
        "container_options": ("ENGINES", "HostAccess", "find_hidden"),
        "environments": ("HookStatus", "disable", "enable", "status"),
        "hook": ("LOCK_VARIABLE", "RELEASE_VARIABLE", "activate", "environment"),
    },
)
