"""Where manifests come from: shipped with antscache, read on this host and kept, or read from the package index.

    manifests/antspynet-0.3.2.json              shipped: read from the published artifact, whose digest it records
    <root>/catalog/antspynet-0.3.3.json         kept: read from the package index
    <root>/catalog/antspynet-0.3.2+1a2b3c4d.json  kept: an installation that differs from the published 0.3.2

The installed source is the authority on what a release asks for, not its version: an installation whose identity is
not that of a published release at hand is that version plus `+` and eight digits of its identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import Artifact, Manifest, Package, Release, digest_of, hexadecimal
from antscache.errors import ManifestError, Offline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.catalog.sources import Reading
    from antscache.core import Staging

SHIPPED = Path(__file__).parent / "manifests"


class Catalog:
    """All manifests at hand.

    Args:
        kept: the directory of manifests read on this host; it need not exist.
        offline: whether the package index may be asked.
        below: more directories of the kind, which are not written to.
    """

    def __init__(self, kept: Path, *, offline: bool, below: Sequence[Path] = ()) -> None:
        self._kept = kept
        self._offline = offline
        self._places = (SHIPPED, kept, *below)

    def releases(self) -> tuple[Release, ...]:
        """The releases whose manifests are at hand, by package and version."""
        from packaging.version import Version

        files = [file for place in self._places for file in place.glob("*.json")]
        releases = {manifest.release for manifest in map(_decoded, files) if manifest}
        return tuple(sorted(releases, key=lambda release: (release.package, Version(release.version))))

    def manifest(self, release: Release) -> Manifest:
        """The manifest of `release`, from the package index if it is not at hand.

        Raises:
            ManifestError: there is no such release, or its source is not understood.
            Offline: it is not at hand, and the index may not be asked.
        """
        if found := self.find(release):
            return found
        if "+" in release.version:
            raise ManifestError(
                f"{release} is an installation, and has not been read on this host",
                hint="give --python or --from to name the installation itself",
            )
        if self._offline:
            raise Offline(
                f"the manifest of {release} is neither shipped with antscache nor kept on this host",
                hint=f"run `antscache list {release}` once with network access, or give --from",
            )
        return self._published(release)

    def find(self, release: Release) -> Manifest | None:
        """The manifest of `release` if it is shipped or kept."""
        for directory in self._places:
            manifest = _decoded(directory / f"{release.slug}.json")
            if manifest and manifest.release == release:
                return manifest
        return None

    def installed(self, package: Package, python: Path | None) -> Manifest:
        """The manifest of the `package` installed for `python`, or in the current environment.

        Raises:
            ManifestError: there is none, or its source is not understood.
        """
        from antscache.catalog.installations import find_installation
        from antscache.catalog.sources import read_source

        found = find_installation(package, python)
        if found is None:
            named = [release.version for release in self.releases() if release.package == package]
            raise ManifestError(
                f"no {package} is installed {f'for {python}' if python else 'in this environment'}",
                hint=f"give --python or --from, or name a release, like {package}=={named[-1]} ({', '.join(named)})",
            )
        return self.identified(read_source(found.directory, package, found.version))

    def source(self, path: Path, package: Package | None = None) -> Manifest:
        """The manifest of the source at `path`: a tree, a wheel or an sdist; of this `package`, if it is said which.

        Raises:
            ManifestError: there is none, or it is not understood.
        """
        from antscache.catalog.sources import read_source

        return self.identified(read_source(path, package))

    def identified(self, reading: Reading) -> Manifest:
        """`reading` as the published release it is, or as the one of its own that it is."""
        manifest = Manifest(reading.release, reading.entries)
        published = self.find(reading.release)
        if published and published.identity == manifest.identity:
            return published
        version = reading.release.version
        own = f"{version}{'.' if '+' in version else '+'}{hexadecimal(manifest.identity)[:8]}"
        return Manifest(Release(reading.release.package, own), reading.entries)

    def save(self, manifest: Manifest, staging: Staging) -> None:
        """`manifest` is at hand from now on, if the disk allows; the shipped ones are anyway."""
        if self.find(manifest.release) == manifest:
            return
        try:
            disk.make_directory(self._kept, staging.directory.parent if staging.shared else None)
            disk.replace(self._kept / f"{manifest.release.slug}.json", encode_manifest(manifest), staging)
        except OSError:
            return  # kept manifests save a download; a cache that cannot be written to works without

    def _published(self, release: Release) -> Manifest:
        from antscache.catalog.package_index import download

        with download(release) as file:
            return read_artifact(file, release)


def shipped_manifest(release: Release) -> Manifest | None:
    """The manifest of `release` that antscache brings, if it does."""
    return _decoded(SHIPPED / f"{release.slug}.json")


def read_artifact(file: Path, release: Release) -> Manifest:
    """The manifest of the published `file` (a wheel or an sdist of `release`), which it records.

    Raises:
        ManifestError: the file is not of that release, or its source is not understood.
    """
    from antscache.catalog.sources import read_source

    reading = read_source(file, release.package)
    if reading.release != release:
        raise ManifestError(f"{file.name} is {reading.release}, not {release}", hint="report this to the package index")
    return Manifest(release, reading.entries, Artifact(file.name, digest_of(file.read_bytes())))


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest's file: JSON, one line an entry, so that changes can be read."""
    head = msgspec.json.encode({"release": manifest.release, "artifact": manifest.artifact})
    entries = b",\n".join(msgspec.json.encode(entry) for entry in manifest.entries)
    return head[:-1] + b',"entries":[\n' + entries + b"\n]}\n"


def _decoded(path: Path) -> Manifest | None:
    """The manifest in `path`; None if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, *disk.DAMAGED):
        return None
