"""All manifests: shipped with antscache, read on this host and kept, or read from the package index.

    manifests/antspynet-0.3.2.json              shipped: read from the published artifact, whose digest it records
    <root>/catalog/antspynet-0.3.3.json         kept: read from the package index
    <root>/catalog/antspynet-0.3.2+1a2b3c4d.json  kept: an installation that differs from the published 0.3.2

The source decides what a release asks for, not its version: an installation whose identity differs from that of the
published release gets a version of its own, with `+` and eight digits of its identity.

Earlier versions of antscache understood two forms of URLs alone, and kept manifests that call all others unavailable.
They are understood here as if they had been read today, so that releases and installations keep their versions.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.core import Artifact, Entry, Manifest, Package, Release, hexadecimal, parse_release
from antscache.errors import ManifestError, Offline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.catalog.sources import Reading
    from antscache.core import Staging

SHIPPED_DIRECTORY = Path(__file__).parent / "manifests"
EARLIER_URL_REASON = "not a Figshare file identifier: "  # of entries that earlier versions of antscache wrote


class Catalog:
    """All manifests at hand.

    Args:
        kept: the directory of manifests that were read on this host; it need not exist.
        offline: True if the package index must not be asked.
        allow_build: True if pip may build an sdist from there, which runs its code.
        below: more such directories, which are never written to.
    """

    def __init__(self, kept: Path, *, offline: bool, allow_build: bool = False, below: Sequence[Path] = ()) -> None:
        self._kept = kept
        self._offline = offline
        self._allow_build = allow_build
        self._places = (SHIPPED_DIRECTORY, kept, *below)

    def releases(self) -> tuple[Release, ...]:
        """Return the releases whose manifests are at hand, sorted by package and version."""
        from packaging.version import Version

        releases = {manifest.release for manifest in self.manifests()}
        return tuple(sorted(releases, key=lambda release: (release.package, Version(release.version))))

    def manifests(self, package: Package | None = None) -> tuple[Manifest, ...]:
        """Return the manifests at hand, or those of `package`; one that several places have, several times."""
        files = [file for place in self._places for file in place.glob(f"{package or ''}*.json")]
        found = (manifest for manifest in map(_decoded, files) if manifest)
        return tuple(manifest for manifest in found if package in (None, manifest.release.package))

    def manifest(self, release: Release) -> Manifest:
        """Return the manifest of `release`; read it through the package index if it is not at hand.

        Raises:
            ManifestError: there is no such release, or its source is not understood.
            Offline: the manifest is not at hand, and the index must not be asked.
        """
        if manifest := self.find(release):
            return manifest
        if "+" in release.version:
            raise ManifestError(
                f"{release} is an installation that antscache has not read on this host",
                hint="name the installation itself with --python or --from",
            )
        if self._offline:
            raise Offline(
                f"missing and offline: the manifest of {release} (neither shipped with antscache nor kept here)",
                hint=f"run `antscache list {release}` once with network access, or name its source with --from",
            )
        return self._published(release)

    def find(self, release: Release) -> Manifest | None:
        """Return the manifest of `release` if it is shipped or kept, else None."""
        for directory in self._places:
            manifest = _decoded(directory / f"{release.slug}.json")
            if manifest and manifest.release == release:
                return manifest
        return None

    def resolve(self, release: Release) -> Release:
        """Return the release at hand that is the same by PEP 440: 0.3.0 for 0.3; `release` itself if none is."""
        if any((place / f"{release.slug}.json").is_file() for place in self._places):
            return release
        from packaging.version import InvalidVersion, Version

        written = Version(release.version)
        for file in (file for place in self._places for file in place.glob(f"{release.package}-*.json")):
            version = file.stem.removeprefix(f"{release.package}-")
            with suppress(InvalidVersion, ManifestError):
                if Version(version) == written:
                    return parse_release(f"{release.package}=={version}")
        return release

    def installed(self, package: Package, python: Path | None, *, functions: bool = False) -> Manifest:
        """Return the manifest of the `package` that is installed for `python`, or in the current environment.

        Args:
            package: that is installed.
            python: the interpreter of the installation; None: the environment's.
            functions: read the needs of its functions too, which takes longer.

        Raises:
            ManifestError: it is not installed there, or its source is not understood.
        """
        from antscache.catalog.installations import find_installation
        from antscache.catalog.sources import read_source

        installation = find_installation(package, python)
        if installation is None:
            versions = [release.version for release in self.releases() if release.package == package]
            known = f"{package}=={versions[-1]} ({', '.join(versions)})"
            raise ManifestError(
                f"no {package} is installed {f'for {python}' if python else 'in this environment'}",
                hint=f"give --python or --from, or name a release, like {known}",
            )
        return self.identified(read_source(installation.directory, package, installation.version), functions=functions)

    def source(self, path: Path, package: Package | None = None, *, functions: bool = False) -> Manifest:
        """Return the manifest of the source at `path`: a tree, a wheel or an sdist.

        Args:
            path: of the source.
            package: the package that is expected there; None: any.
            functions: read the needs of its functions too, which takes longer.

        Raises:
            ManifestError: there is no such source, or it is not understood.
        """
        from antscache.catalog.sources import read_source

        return self.identified(read_source(path, package), functions=functions)

    def identified(self, reading: Reading, *, functions: bool = False) -> Manifest:
        """Return the published manifest if `reading` asks for the same, else a manifest with a version of its own.

        With `functions`, it has the needs of the functions in `reading`, also where their code was changed.
        """
        manifest = Manifest(reading.release, reading.entries, unread=reading.unread, loaded=reading.loaded)
        published = self.find(reading.release)
        same = published if published and _is_same(published, manifest) else None
        if functions and not (same and same.functions is not None and same.source == reading.source):
            manifest = _with_functions(manifest, reading)
        if same:
            found = {"functions": manifest.functions, "source": manifest.source}
            return same if manifest.functions is None else msgspec.structs.replace(same, **found)
        separator = "." if "+" in reading.release.version else "+"
        # Read like the name that you write: of digits alone, PEP 440 takes leading zeros away.
        own = parse_release(f"{reading.release}{separator}{hexadecimal(manifest.identity)[:8]}")
        kept = self.find(own) or self._kept_by_earlier(manifest, f"{reading.release.slug}{separator}*.json")
        return msgspec.structs.replace(manifest, release=kept.release if kept else own)

    def _kept_by_earlier(self, manifest: Manifest, pattern: str) -> Manifest | None:
        """Return a kept manifest with the same entries; an earlier antscache made its version of other identifiers."""
        found = (_decoded(file) for place in self._places for file in sorted(place.glob(pattern)))
        return next((kept for kept in found if kept and _is_same(kept, manifest)), None)

    def save(self, manifest: Manifest, staging: Staging) -> None:
        """Keep `manifest` on this host, unless what it asks for is at hand already. Do nothing if the disk refuses."""
        known = self.find(manifest.release)
        if known and _is_same(known, manifest) and (known.functions is not None or manifest.functions is None):
            return
        try:
            disk.make_directory(self._kept, staging.directory.parent if staging.shared else None)
            disk.replace(self._kept / f"{manifest.release.slug}.json", encode_manifest(manifest), staging)
        except OSError:
            return  # a kept manifest saves a download; a cache that cannot be written to works without it

    def _published(self, release: Release) -> Manifest:
        from antscache.catalog.package_index import download

        with download(release, allow_build=self._allow_build) as file:
            return read_artifact(file, release)


def shipped_manifest(release: Release) -> Manifest | None:
    """Return the manifest of `release` that is shipped with antscache, or None."""
    return _decoded(SHIPPED_DIRECTORY / f"{release.slug}.json")


def read_artifact(file: Path, release: Release) -> Manifest:
    """Return the manifest in the published `file`, a wheel or an sdist of `release`; it records the file's digest.

    Raises:
        ManifestError: the file is not of that release, or its source is not understood.
    """
    from packaging.version import Version

    from antscache.catalog.sources import read_source

    reading = read_source(file, release.package)
    if Version(reading.release.version) != Version(release.version):
        raise ManifestError(f"{file.name} is {reading.release}, not {release}", hint="report this to the package index")
    artifact = Artifact(file.name, disk.hash_file(file).digest)
    return _with_functions(
        Manifest(reading.release, reading.entries, artifact, reading.unread, reading.loaded), reading
    )


def _with_functions(manifest: Manifest, reading: Reading) -> Manifest:
    """Return `manifest` with the needs of the functions in `reading`, if its modules can be read."""
    if reading.release.package != "antspynet" or reading.texts is None:
        return manifest
    from antscache.catalog.functions import read_functions

    return msgspec.structs.replace(manifest, functions=read_functions(reading.texts), source=reading.source)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest's file: JSON, one line for each entry and function, so that diffs are readable."""
    unread = {"unread": manifest.unread} if manifest.unread else {}
    loaded = {} if manifest.loaded is None else {"loaded": manifest.loaded}
    source = {"source": manifest.source} if manifest.source else {}
    facts = {"release": manifest.release, "artifact": manifest.artifact, **unread, **loaded, **source}
    lists = {"entries": manifest.entries} | ({} if manifest.functions is None else {"functions": manifest.functions})
    parts = [
        b'"%s":[\n%s\n]' % (name.encode(), b",\n".join(map(msgspec.json.encode, each))) for name, each in lists.items()
    ]
    return msgspec.json.encode(facts)[:-1] + b"," + b",".join(parts) + b"}\n"


def _decoded(path: Path) -> Manifest | None:
    """Return the manifest in `path`, or None if there is none that can be read."""
    try:
        # An installer may have linked the shipped ones: `uv pip install --link-mode symlink` does.
        manifest = msgspec.json.decode(disk.read(path, follow=path.parent == SHIPPED_DIRECTORY), type=Manifest)
    except (OSError, *disk.DECODE_ERRORS):
        return None
    return msgspec.structs.replace(manifest, entries=tuple(map(_understood_today, manifest.entries)))


def _understood_today(entry: Entry) -> Entry:
    """Return `entry` as it is read today, if an earlier antscache did not understand its URL."""
    if not (entry.reason or "").startswith(EARLIER_URL_REASON):
        return entry
    from antscache.catalog.getters import identify  # with ast, which most commands never need

    identifier, problem = identify(str(entry.reason).removeprefix(EARLIER_URL_REASON))
    return Entry(entry.kind, entry.name, entry.file, identifier, problem=problem)


def _is_same(one: Manifest, other: Manifest) -> bool:
    """Return True if both ask for the same, as far as they can be read."""
    return one.identity == other.identity and [each.kind for each in one.unread] == [each.kind for each in other.unread]
