"""The manifests of releases: shipped, or read from a release's own source, which is never imported.

catalog.py         all manifests at hand, and how others are read
manifests/         those that antscache ships, one a release
known.py           the bytes that shipped lockfiles name
known/             these lockfiles
getters.py         source text in, entries out (pure)
sources.py         the source text in installed packages, wheels, sdists, source trees
archives.py        the members of a wheel or an sdist, within bounds
installations.py   the packages installed for a Python interpreter
package_index.py   a release's artifact through pip
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.catalog.catalog import SHIPPED_DIRECTORY, Catalog, encode_manifest, read_artifact, shipped_manifest
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.catalog.installations import (
        Installation,
        ask_python,
        current_python,
        find_installation,
        python_command,
    )
    from antscache.catalog.known import known_blobs
    from antscache.catalog.package_index import download
    from antscache.catalog.sources import read_source

__all__ = [
    "SHIPPED_DIRECTORY",
    "Catalog",
    "Installation",
    "ask_python",
    "current_python",
    "download",
    "encode_manifest",
    "find_installation",
    "known_blobs",
    "python_command",
    "read_artifact",
    "read_source",
    "shipped_manifest",
]

__getattr__ = lazily(
    __name__,
    {
        "installations": ("Installation", "ask_python", "current_python", "find_installation", "python_command"),
        "known": ("known_blobs",),
        "package_index": ("download",),
        "sources": ("read_source",),
    },
)
