"""Generate the shipped manifests, `antscache/catalog/manifests/*.json`, from the artifacts on the package index.

    python tools/generate_manifests.py            all releases
    python tools/generate_manifests.py antspynet==0.3.3 ...    these, into the same directory

Each artifact is downloaded through pip (with the user's pip configuration), read by antscache's own extractor, and
recorded with its file name and digest. The package index should serve the same artifacts as before: this prints which
manifests it has written, and `git diff` shows the changes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from antscache.catalog import SHIPPED_DIRECTORY, download, encode_manifest, read_artifact
from antscache.core import parse_release

if TYPE_CHECKING:
    from collections.abc import Sequence

ANTSPYNET_VERSIONS = (
    "0.1.1 0.1.2 0.1.3 0.1.4 0.1.5 0.1.6 0.1.7 0.1.8 0.1.9 0.2.0 0.2.1 0.2.2 0.2.3 0.2.8 0.2.9 0.3.0 0.3.1 0.3.2"
)
# antspyx has a wheel for each platform, all with the same example files: this one is recorded.
ANTSPYX_PIP_OPTIONS = (
    "--only-binary=:all: --platform=manylinux_2_17_x86_64 --implementation=cp --python-version=3.11 --abi=cp311"
)
RELEASES = [f"antspynet=={version}" for version in ANTSPYNET_VERSIONS.split()] + ["antspyx==0.6.3"]


def main(releases: Sequence[str]) -> None:
    """Write the manifest of each of `releases`."""
    for text in releases:
        release = parse_release(text)
        options = ANTSPYX_PIP_OPTIONS.split() if release.package == "antspyx" else ()
        with download(release, *options, allow_build=release.package == "antspynet") as artifact:  # 0.3.2 has no wheel
            manifest = read_artifact(artifact, release)
        if problems := [*manifest.unread, *(entry.name for entry in manifest.entries if entry.problem)]:
            sys.exit(f"{release} cannot be read whole: {', '.join(map(str, problems))}")
        path = SHIPPED_DIRECTORY / f"{release.slug}.json"
        content = encode_manifest(manifest)
        outcome = "unchanged" if path.exists() and path.read_bytes() == content else "written"
        path.write_bytes(content)
        print(f"{release}: {len(manifest.entries)} entries from {artifact.name}, {outcome}")


if __name__ == "__main__":
    main(sys.argv[1:] or RELEASES)
