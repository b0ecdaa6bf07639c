"""The lower caches that are configured: those that cannot be used are passed over in silence by everything else."""

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

SAMPLE = 20  # files of a kind that are looked at


def check_lowers(host: Host) -> Iterator[Finding]:
    """Whether each lower cache is there, can be read, and is understood."""
    for directory in host.settings.site_dirs:
        if os.path.realpath(directory) == os.path.realpath(host.settings.root):
            yield note(f"{directory} is the root itself, and not below it", _take_out(directory))
        else:
            yield from _checked(Store(Path(directory)))


def _checked(lower: Store) -> Iterator[Finding]:
    root = lower.layout.root
    if not os.path.lexists(root):
        yield warning(f"{root} is not there, or you may not look into what it is in", _take_out(root, "mount it"))
        return
    try:
        lower.check()
        there = lower.exists()
    except (StoreError, OSError) as error:
        yield warning(f"{root} is not used: {error}", getattr(error, "hint", "") or _take_out(root))
        return
    if not there:
        yield warning(f"{root} is no root of antscache", _take_out(root, "mount what belongs there"))
    elif closed := _closed(lower):
        yield warning(f"{root} cannot be used: you may not read {closed}", f"ask its owner for: chmod -R a+rX {root}")
    else:
        yield ok(f"{root} is used in place")


def _closed(lower: Store) -> str:
    """Something in `lower` that cannot be read, of the first few that are there; empty if there is none."""
    for directory in lower.layout.blobs, lower.layout.records, lower.layout.refs:
        if not directory.exists():
            continue
        if not os.access(directory, os.R_OK | os.X_OK):
            return str(directory)
        with os.scandir(directory) as entries:
            for entry in islice(entries, SAMPLE):
                if not os.access(entry.path, os.R_OK):
                    return entry.path
    return ""


def _take_out(directory: Path | str, otherwise: str = "") -> str:
    taken = f"take {directory} out of ANTSCACHE_SITE_DIRS, --site-dir or site_dirs in antscache.toml"
    return f"{otherwise}, or {taken}" if otherwise else taken
