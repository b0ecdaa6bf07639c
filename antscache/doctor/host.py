"""The machine that is examined: its settings, its home, the antspynet that is in use on it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.catalog import Catalog, find_installation, read_source
from antscache.core import Layout, home_directory
from antscache.root import lower_directories

if TYPE_CHECKING:
    from antscache.catalog import Installation
    from antscache.config import Settings
    from antscache.core import Manifest


class Host:
    """What checks look at.

    Args:
        settings: those in force.
        python: the interpreter whose antspynet is meant; None is the current environment's.
        deep: whether to read all of the files in the home.
    """

    def __init__(self, settings: Settings, python: Path | None = None, *, deep: bool = False) -> None:
        self.settings = settings
        self.deep = deep
        self.layout = Layout(Path(settings.root))
        below = [Layout(Path(each)).catalog for each in lower_directories(settings)]
        self.catalog = Catalog(self.layout.catalog, offline=True, below=below)
        self._python = python

    @property
    def place(self) -> Path | None:
        """Where an ANTsPyNet of this user looks, unless told otherwise; None if the user has no home."""
        home = os.path.expanduser("~")  # noqa: PTH111  as ANTsPyNet does: where there is no home, it stays `~`
        return None if home == "~" else Path(home) / home_directory("antspynet")

    @property
    def view(self) -> str | None:
        """The view that `place` is, of the root or a lower cache, by the name of its directory; None if it is none."""
        real = Path(os.path.realpath(self.place or "/"))
        for root in (self.settings.root, *lower_directories(self.settings)):
            views = Path(os.path.realpath(Layout(Path(root)).views))
            if real != views and real.is_relative_to(views):
                return real.relative_to(views).parts[0]
        return None

    @cached_property
    def installation(self) -> Installation | None:
        """The antspynet in use, if there is one.

        Raises:
            ManifestError: the interpreter that was named does not run.
        """
        return find_installation("antspynet", self._python)

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the antspynet in use asks for.

        Raises:
            ManifestError: as `installation`; or its source is not understood.
        """
        found = self.installation
        return self.catalog.identified(read_source(found.directory, "antspynet", found.version)) if found else None


def nearest(path: Path) -> Path:
    """`path`, or the closest directory above it that is there."""
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), Path("/"))
