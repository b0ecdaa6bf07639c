"""antscache: the data and networks that any release of ANTsPyNet asks for, verified and isolated per release.

    import antscache
    home = antscache.prefetch("antspynet==0.3.2", names=["brainExtractionRobustT1", "S_template3"])
    cache = antscache.Cache.open()
    plan = cache.plan("antspynet==0.3.2")
    cache.prefetch(plan)

Importing antscache imports nothing heavy: names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AntsCacheError", "Cache", "__version__", "prefetch"]

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from antscache.cache import Cache
    from antscache.errors import AntsCacheError
    from antscache.manifest import Kind


def prefetch(
    release: str | None = None, *, names: Collection[str] = (), kinds: Collection[Kind] = (), **flags: Any
) -> Path:
    """The home of the view of `release` (without one: of the antspynet in use), all files present and verified.

    Args:
        release: like `antspynet==0.3.2`, or just `0.3.2`.
        names: which entries; without, all.
        kinds: `data` or `network`; without, both.
        flags: settings, as the command line's flags are called: `root`, `offline`, `jobs`, ...

    Raises:
        AntsCacheError: it cannot be made so; see `antscache.errors` for the families.
    """
    from antscache.cache import Cache

    cache = Cache.open(**flags)
    return cache.prefetch(cache.plan(release, names=names, kinds=kinds)).home


def __getattr__(name: str) -> Any:
    if name == "Cache":
        from antscache.cache import Cache

        return Cache
    if name == "AntsCacheError":
        from antscache.errors import AntsCacheError

        return AntsCacheError
    raise AttributeError(f"module 'antscache' has no attribute {name!r}")
