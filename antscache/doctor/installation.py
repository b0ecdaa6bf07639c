"""What is installed: antscache and what it uses, and the antspynet in use with where it would look."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from antscache import __version__, hook
from antscache.doctor.finding import error as wrong
from antscache.doctor.finding import listed, note, ok, warning
from antscache.errors import AntsCacheError
from antscache.formats import is_h5py_installed
from antscache.root import Root
from antscache.views import find_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Release
    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.hook import Hooked


def check_versions() -> Iterator[Finding]:
    """What antscache runs on."""
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield ok(f"antscache {__version__} on Python {platform.python_version()}, {system}")
    if not is_h5py_installed():
        yield note(
            "h5py is not installed, so a network of unknown digest is not walked through for what leads out of it",
            "pip install 'antscache[hdf5]'",
        )


def check_installation(host: Host) -> Iterator[Finding]:
    """Which antspynet is in use, what it asks for, and what it would see."""
    found, manifest = host.installation, host.manifest
    if found is None or manifest is None:
        yield note("no antspynet is installed in this environment", "name another one: antscache doctor --python PATH")
        return
    yield ok(f"{manifest.release} is in use, of {found.python}, in {found.directory}")
    if "+" in manifest.release.version:
        yield note(f"its source is not that of a published {found.version}, so it is a release of its own")
    hooked = hook.status(found.python)
    if hooked.enabled:
        yield from _hooked(host, manifest.release, hooked)
    else:
        yield from _seen(host, manifest.release)


def _hooked(host: Host, release: Release, hooked: Hooked) -> Iterator[Finding]:
    """Whether the hook, which is on, leads anywhere."""
    if hooked.gone:
        told = f"the hook is on and leads to {hooked.gone}, which is not there any more"
        yield wrong(told, f"antscache hook enable --python {hooked.python}")
    else:
        yield ok(f"the hook is on, so it sees the view of {release}, wherever its home is")
        yield from _missing(host, release)


def _seen(host: Host, release: Release) -> Iterator[Finding]:
    """Whether what `release` would see is its view."""
    place = host.place
    if place is None:
        yield wrong("you have no home, and ANTsPyNet looks for its files there", f"export {_home_is(release)}")
        return
    slug = host.view
    if slug is None:
        filled = "whatever filled it" if place.exists() else "which is not there, and would fill it anew"
        remedy = "antscache run -- python ...; or for good: antscache hook enable"
        yield note(f"it would see {place}, no view but {filled}", remedy)
    elif slug != release.slug:
        yield wrong(f"it would see {place}, which is the view of {slug}", "antscache run -- python ...")
    else:
        yield ok(f"it would see {place}, which is its view")
        yield from _missing(host, release)


def _missing(host: Host, release: Release) -> Iterator[Finding]:
    try:
        missing = find_view(Root.open(host.settings), release).missing
    except AntsCacheError as error:
        yield warning(str(error), error.hint)
        return
    if missing:
        yield warning(f"missing from it: {listed(list(missing))}", f"antscache prefetch {release}")


def _home_is(release: Release) -> str:
    return f'HOME="$(antscache path {release})"'
