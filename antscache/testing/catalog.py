"""The identifiers that the shipped manifests name, so that the stand-in can answer for all of them."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from antscache.manifest import Manifest, fetchable, figshare_number


def catalog_files() -> dict[str, str]:
    """Figshare number to file name for every identifier in `antscache/manifests/*.json`.

    Where releases have several names for an identifier, the first in the order of the manifests' names is taken.

    Raises:
        msgspec.DecodeError: a file there is no manifest.
    """
    found: dict[str, str] = {}
    shipped = files("antscache").joinpath("manifests")
    for resource in sorted(shipped.iterdir(), key=lambda resource: resource.name):
        if not resource.name.endswith(".json"):
            continue
        manifest = msgspec.json.decode(resource.read_bytes(), type=Manifest)
        for entry in fetchable(manifest.entries):
            if entry.identifier is not None:
                found.setdefault(figshare_number(entry.identifier), entry.file)
    return found
