"""The paths below a root, computed from values that are safe path components.

<root>/
  CACHEDIR.TAG                      backup tools skip it
  antscache.json                    the root's description: layout version, shared or not
  oci-layout, index.json            the root is a valid OCI image layout; index.json is recomputed from refs/
  blobs/sha256/<hex>                a blob
  identifiers/figshare/<id>.json    the record of a Figshare number
  identifiers/url/<sha256 of the URL>.json   the record of a URL; the root has layout 2 then
  refs/<package>/<version>/<hex>.json   a selection
  views/<package>-<version>/        a view
  ingest/                           files that are being written
  trash/                            blobs that gc has condemned and not deleted yet
  catalog/                          manifests read on this host that are not shipped
  locks/<key>.lock                  <id> or <sha256 of the URL>: locked by the process that fetches that identifier
  locks/antscache.json.lock         locked by the process that changes the root's description
  locks/pace, pace.lock             the time of the next free start at a paced origin; the lock for reserving it
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache.core.digest import Digest, hexadecimal
from antscache.core.identifiers import identifier_key, url_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from antscache.core.identifiers import Identifier
    from antscache.core.manifest import Entry, Package, Release

FIRST_LAYOUT_VERSION = 1  # of a root whose identifiers are all Figshare numbers; every antscache can read it
LAYOUT_VERSION = 2  # of a root with URLs as identifiers too; a newer antscache made a root with a higher one
KERAS_DIRECTORY = PurePosixPath(".keras/models")  # where Keras looks for weights of its own
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"  # fixed by https://bford.info/cachedir/
    b"# This directory holds what antscache can fetch again.\n"
)


class Description(msgspec.Struct, frozen=True):
    """The root's own description, `antscache.json`."""

    layout: int
    shared: bool = False


class Staging(NamedTuple):
    """A directory of a root in which files are made before they get their names.

    Attributes:
        shared: True if a group shares the root, so that new files get the modes that its members need.
    """

    directory: Path
    shared: bool = False


def needed_layout(identifiers: Iterable[Identifier | None]) -> int:
    """Return the lowest layout version of a root in which `identifiers` may be written."""
    return LAYOUT_VERSION if any(each and url_of(each) for each in identifiers) else FIRST_LAYOUT_VERSION


def home_directory(package: Package) -> PurePosixPath:
    """Return the directory in the home where `package` looks for its files (field notes: "Where it looks")."""
    return PurePosixPath(".antspy") if package == "antspyx" else PurePosixPath(".keras/ANTsXNet")


def home_directories(package: Package) -> tuple[PurePosixPath, ...]:
    """Return all directories in a home that a view of `package` may have files in, its own one first."""
    return (home_directory(package), *([KERAS_DIRECTORY] if package == "antspynet" else []))


def place_in_home(package: Package, entry: Entry) -> str:
    """Return the path in a home at which a view of `package` has the file of `entry`."""
    return f"{KERAS_DIRECTORY if entry.kind == 'keras' else home_directory(package)}/{entry.file}"


class Layout:
    """The paths below one root, computed from values that are safe path components and from nothing else.

    Attributes:
        shared: True if a group shares the root, as its description says; False until the description has been read.
        durable_version: a layout version that the description is known to have, even after a power cut.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self.root = root
        self.shared = shared
        self.durable_version = FIRST_LAYOUT_VERSION
        self.description = root / "antscache.json"
        self.tag = root / "CACHEDIR.TAG"
        self.oci = root / "oci-layout"
        self.index = root / "index.json"
        self.blobs = root / "blobs" / "sha256"
        self.records = root / "identifiers" / "figshare"
        self.url_records = root / "identifiers" / "url"
        self.refs = root / "refs"
        self.views = root / "views"
        self.ingest = root / "ingest"
        self.trash = root / "trash"
        self.catalog = root / "catalog"
        self.locks = root / "locks"
        self.pace = self.locks / "pace"

    @property
    def staging(self) -> Staging:
        """The directory in which files are made, and their modes."""
        return Staging(self.ingest, self.shared)

    @property
    def shared_root(self) -> Path | None:
        """The root if a group shares it, else None."""
        return self.root if self.shared else None

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories that every root has, parents first."""
        return (self.root, self.ingest, self.blobs, self.records, self.refs, self.views, self.locks)

    @property
    def optional_directories(self) -> tuple[Path, ...]:
        """The directories that a root gets with their first file."""
        return (self.url_records, self.trash, self.catalog)

    def blob(self, digest: Digest) -> Path:
        """Return the path of the bytes named `digest`."""
        return self.blobs / hexadecimal(digest)

    def record(self, identifier: Identifier) -> Path:
        """Return the path of the record of `identifier`."""
        return (self.url_records if url_of(identifier) else self.records) / f"{identifier_key(identifier)}.json"

    def selections(self, release: Release) -> Path:
        """Return the directory of the selections of `release`."""
        return self.refs / release.package / release.version

    def view(self, release: Release) -> Path:
        """Return the path of the view of `release`: a directory in the shape of a home."""
        return self.views / release.slug

    def place_in_view(self, release: Release, entry: Entry) -> Path:
        """Return the path of the file of `entry` in the view of `release`."""
        return self.view(release) / place_in_home(release.package, entry)


TOP_LEVEL_NAMES = frozenset(
    [
        "CACHEDIR.TAG",
        "antscache.json",
        "oci-layout",
        "index.json",
        "blobs",
        "identifiers",
        "refs",
        "views",
        "ingest",
        "trash",
        "catalog",
        "locks",
    ]
)
