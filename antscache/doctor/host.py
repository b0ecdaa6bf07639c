"""The machine that is examined: its settings, its home, its installed antspynet."""

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

SUPERUSER_UID = 0


class Host:
    """The machine that checks look at.

    Args:
        settings: the settings in force.
        python: the interpreter whose antspynet is examined; None stands for that of the current environment.
        deep: whether to read all files in `~/.keras/ANTsXNet` completely.
    """

    def __init__(self, settings: Settings, python: Path | None = None, *, deep: bool = False) -> None:
        self.settings = settings
        self.deep = deep
        self.layout = Layout(Path(settings.root))
        below = [Layout(Path(lower)).catalog for lower in lower_directories(settings)]
        self.catalog = Catalog(self.layout.catalog, offline=True, below=below)
        self._python = python

    @property
    def antsxnet_directory(self) -> Path | None:
        """The directory in the user's home where ANTsPyNet looks by default; None if the user has no home."""
        home = os.path.expanduser("~")  # noqa: PTH111  as ANTsPyNet does: without a home it stays `~`
        return None if home == "~" else Path(home) / home_directory("antspynet")

    @property
    def view_slug(self) -> str | None:
        """The name of the view that `antsxnet_directory` leads to, in the root or a lower cache; None if to no view."""
        real = Path(os.path.realpath(self.antsxnet_directory or "/"))
        for root in (self.settings.root, *lower_directories(self.settings)):
            views = Path(os.path.realpath(Layout(Path(root)).views))
            if real != views and real.is_relative_to(views):
                return real.relative_to(views).parts[0]
        return None

    @cached_property
    def installation(self) -> Installation | None:
        """The installed antspynet, or None if there is none.

        Raises:
            ManifestError: `python` does not run.
        """
        return find_installation("antspynet", self._python)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest of the installed antspynet, or None if there is none.

        Raises:
            ManifestError: `python` does not run, or the source of its antspynet is not understood.
        """
        installed = self.installation
        if installed is None:
            return None
        return self.catalog.identified(read_source(installed.directory, "antspynet", installed.version))


def nearest_existing(path: Path) -> Path:
    """Return `path`, or else the closest of its parents that exists."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), Path("/"))
