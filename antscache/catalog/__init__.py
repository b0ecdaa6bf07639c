"""What releases ask for: manifests, shipped or read from a release's own source, which is never imported.

catalog.py         all manifests at hand, and where others come from
manifests/         those that antscache ships, one a release
getters.py         source text in, entries out (pure)
sources.py         where source text is: installed packages, wheels, sdists, source trees
installations.py   which package is installed for which Python
package_index.py   a release's artifact through pip
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.catalog.catalog import SHIPPED, Catalog, encode_manifest, read_artifact, shipped_manifest
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.catalog.installations import Installation, current_python, find_installation
    from antscache.catalog.package_index import download
    from antscache.catalog.sources import read_source

__all__ = [
    "SHIPPED",
    "Catalog",
    "Installation",
    "current_python",
    "download",
    "encode_manifest",
    "find_installation",
    "read_artifact",
    "read_source",
    "shipped_manifest",
]

__getattr__ = lazily(
    __name__,
    {
        "installations": ("Installation", "current_python", "find_installation"),
        "package_index": ("download",),
        "sources": ("read_source",),
    },
)
