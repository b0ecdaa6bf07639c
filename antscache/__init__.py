"""antscache: the data and networks that any release of ANTsPyNet asks for, verified and isolated per release.

    import antscache
    antscache.activate()                        # this process's antspynet uses its own view
    home = antscache.prefetch("antspynet==0.3.2", names=["brainExtractionRobustT1", "S_template3"])
    cache = antscache.Cache.open()
    plan = cache.plan("antspynet==0.3.2")
    cache.prefetch(plan)

Importing antscache imports nothing heavy: names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AntsCacheError", "Cache", "__version__", "activate", "prefetch"]

if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from pathlib import Path

    from antscache.cache import Cache
    from antscache.core import Kind
    from antscache.errors import AntsCacheError


def activate(release: str | None = None, *, record: str | os.PathLike[str] | None = None, **flags: Any) -> None:
    """This process's antspynet uses its own view, imported already or not; so do processes that it starts from now on.

    What is not there is fetched when it is asked for.

    Args:
        release: whose view it is to be; without, as an `antscache run` around it says, or that of the installation that
            is imported.
        record: a file to note in what is asked for; %p in its name becomes the number of each process.
        flags: settings, as the command line's flags are called: `root`, `offline`, ...

    Raises:
        AntsCacheError: `release` is not written like one, or a setting cannot be used; nothing is changed.
        ImportError: the antspynet that is imported cannot be directed; nothing is changed.
    """
    from pathlib import Path

    from antscache import hook
    from antscache.core import parse_release

    hook.activate(flags, release=parse_release(release) if release else None, record=Path(record) if record else None)


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
