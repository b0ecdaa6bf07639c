"""antscache: the data and networks that any release of ANTsPyNet asks for, verified and isolated per release.

    import antscache
    antscache.activate()                        # this process's antspynet uses its own view
    home = antscache.prefetch("antspynet==0.3.2", names=["brainExtractionRobustT1", "S_template3"])
    cache = antscache.Cache.open()
    plan = cache.plan("antspynet==0.3.2")
    cache.prefetch(plan)

`import antscache` is quick: the names are loaded at their first use.
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
    from antscache.errors import AntsCacheError


def activate(release: str | None = None, *, record: str | os.PathLike[str] | None = None, **flags: Any) -> None:
    """Direct the antspynet of this process, imported already or not, to the view of its release.

    Processes that it starts from now on do the same. A missing file is fetched when antspynet asks for it.

    Args:
        release: the release of the view. None: the one that an `antscache run` around this process names, else that of
            the imported installation.
        record: a file to append the requested entries to, or None; %p in its name becomes the number of each process.
        flags: settings, named like the command line's flags: `root`, `offline`, ...

    Raises:
        AntsCacheError: `release` is not written like one, or a setting cannot be used; nothing is changed.
        ImportError: the imported antspynet cannot be directed to a view; nothing is changed.
        TypeError: there is no such setting.
    """
    from pathlib import Path

    from antscache import hook
    from antscache.core import parse_release

    hook.activate(flags, release=parse_release(release) if release else None, record=Path(record) if record else None)


def prefetch(
    release: str | None = None,
    *,
    names: str | Collection[str] = (),
    kinds: str | Collection[str] = (),
    functions: str | Collection[str] = (),
    **flags: Any,
) -> Path:
    """Make the files of `release` present and verified, and return the home of its view.

    Args:
        release: like `antspynet==0.3.2`, or just `0.3.2`. None: the antspynet in use.
        names: of the entries to fetch, or patterns; none: all of them.
        kinds: of the entries to fetch, `data` or `network` (or `model`); none: both.
        functions: fetch what these functions need, like `brain_extraction:modality=t1`; with `names`, those as well.
        flags: settings, named like the command line's flags: `root`, `offline`, `jobs`, ...

    Raises:
        AntsCacheError: some files cannot be made present; `antscache.errors` lists the families of errors.
        TypeError: there is no such setting.
    """
    from antscache.cache import Cache

    cache = Cache.open(**flags)
    return cache.prefetch(cache.plan(release, names=names, kinds=kinds, functions=functions)).home


def __getattr__(name: str) -> Any:
    if name == "Cache":
        from antscache.cache import Cache

        return Cache
    if name == "AntsCacheError":
        from antscache.errors import AntsCacheError

        return AntsCacheError
    raise AttributeError(f"module 'antscache' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
