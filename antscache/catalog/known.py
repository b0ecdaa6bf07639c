"""Known digests: lockfiles that are shipped with antscache, each measured by somebody on a host with access.

    known/antspynet-0.3.2.lock    made by `antscache lock --measured`

The bytes that they name are trusted before a first download. A release's file is read for the files of that release
that have no record yet, and no other file is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import parse_lockfile
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antscache.core import Descriptor, Identifier, Release

KNOWN_DIRECTORY = Path(__file__).parent / "known"


def known_blobs(release: Release) -> Mapping[Identifier, Descriptor]:
    """Return the bytes that the shipped lockfile of `release` names; none if no lockfile is shipped for it.

    An installation that differs from the published release has most of its identifiers, and so their bytes.

    Raises:
        ManifestError: the file is damaged.
    """
    path = KNOWN_DIRECTORY / f"{release.slug.partition('+')[0]}.lock"
    try:
        content = disk.read(path, follow=True)  # an installer may have linked it
    except FileNotFoundError:
        return {}
    except (OSError, *disk.DECODE_ERRORS) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"cannot read {path}: {reason}", hint="install antscache again") from None
    return parse_lockfile(content, str(path)).blobs
