"""Check the configured lower caches. Only the doctor reports those that cannot be used; other commands skip them."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.doctor.finding import note, ok, warning
from antscache.errors import StoreError
from antscache.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host

MAX_TRIED_FILES = 20  # files of a kind that are checked


def check_lowers(host: Host) -> Iterator[Finding]:
    """Check that each lower cache exists, can be read, and has a layout that this antscache understands."""
    for directory in host.settings.site_dirs:
        if os.path.realpath(directory) == os.path.realpath(host.settings.root):
            yield note(f"{directory} is the root itself, so it is no lower cache", _removal(directory))
        else:
            yield from _check(Store(Path(directory)))


def _check(lower: Store) -> Iterator[Finding]:
    root = lower.layout.root
    if not os.path.lexists(root):
        yield warning(f"{root} does not exist, or you may not look into its parent", _removal(root, "mount it"))
        return
    try:
        lower.check()
        is_root = lower.exists()
    except (StoreError, OSError) as error:
        yield warning(f"{root} is not used: {error}", getattr(error, "hint", "") or _removal(root))
        return
    if not is_root:
        yield warning(f"{root} is not an antscache root", _removal(root, "mount the right directory there"))
    elif path := _find_unreadable(lower):
        yield warning(f"{root} cannot be used: you may not read {path}", f"ask its owner to run: chmod -R a+rX {root}")
    else:
        yield ok(f"{root} is used")


def _find_unreadable(lower: Store) -> str:
    """Return a path in `lower` that you may not read, of the first few that are there; empty if you may read these."""
    for directory in lower.layout.blobs, lower.layout.records, lower.layout.url_records, lower.layout.refs:
        if not directory.exists():
            continue
        if not os.access(directory, os.R_OK | os.X_OK):
            return str(directory)
        with os.scandir(directory) as entries:
            for entry in islice(entries, MAX_TRIED_FILES):
                if not os.access(entry.path, os.R_OK):
                    return entry.path
    return ""


def _removal(directory: Path | str, alternative: str = "") -> str:
    """Return a remedy: `alternative`, if there is one, or to remove `directory` from the settings."""
    remove = f"remove {directory} from ANTSCACHE_SITE_DIRS, --site-dir or site_dirs in antscache.toml"
    return f"{alternative}, or {remove}" if alternative else remove
