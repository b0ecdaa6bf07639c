"""Check the versions of antscache and antspynet, and the directory that the installed antspynet reads."""

from __future__ import annotations

import platform
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from antscache import __version__, hook
from antscache.doctor.finding import error as wrong
from antscache.doctor.finding import list_names, note, ok, warning
from antscache.errors import AntsCacheError
from antscache.formats import Hdf5Scanner, ScannerError
from antscache.root import Root
from antscache.views import find_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.core import Release
    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.hook import HookStatus


def check_versions() -> Iterator[Finding]:
    """Report the versions of antscache, Python and the system, and a scanner of networks that does not work."""
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield ok(f"antscache {__version__} on Python {platform.python_version()}, {system}")
    with closing(Hdf5Scanner()) as scanner:
        try:
            scanner.start()
        except ScannerError as broken:
            what = f"networks are not scanned for code and for links to other files: {broken}"
            yield warning(what, f"{sys.executable} -m pip install --force-reinstall h5py")


def check_installation(host: Host) -> Iterator[Finding]:
    """Check which antspynet is installed, and that it reads the files of its own release."""
    installed, manifest = host.installation, host.manifest
    if installed is None or manifest is None:
        remedy = "to check another environment: antscache doctor --python PATH"
        yield note("no antspynet is installed in this environment", remedy)
        return
    yield ok(f"{manifest.release} is installed for {installed.python}, in {installed.directory}")
    if "+" in manifest.release.version:
        yield note(f"its source differs from the published {installed.version}, so it counts as a release of its own")
    hooked = hook.status(installed.python)
    if hooked.target:
        yield from _check_hook(host, manifest.release, hooked)
    else:
        yield from _check_home(host, manifest.release)


def _check_hook(host: Host, release: Release, hooked: HookStatus) -> Iterator[Finding]:
    """Check that the hook, which is on, has all that it needs."""
    if hooked.missing_file:
        what = f"the hook is on, but needs {hooked.missing_file}, which does not exist any more"
        yield wrong(what, f"antscache hook enable --python {hooked.python}")
    else:
        yield ok(f"the hook is on: this antspynet reads the view of {release}, wherever its home is")
        yield from _check_missing(host, release)


def _check_home(host: Host, release: Release) -> Iterator[Finding]:
    """Check that the user's own home leads to the view of `release`, because no hook is on."""
    directory = host.antsxnet_directory
    if directory is None:
        what = "you have no home directory, and ANTsPyNet looks for its files there"
        yield wrong(what, f'export HOME="$(antscache path {release})"')
        return
    slug = host.view_slug
    if slug is None:
        remedy = "antscache run -- python ...; or for good: antscache hook enable"
        detail = "is not a view" if directory.exists() else "does not exist: it would download its files there"
        yield note(f"without the hook this antspynet reads {directory}, which {detail}", remedy)
    elif slug != release.slug:
        yield wrong(f"this antspynet reads {directory}, which is the view of {slug}", "antscache run -- python ...")
    else:
        yield ok(f"this antspynet reads {directory}, which is its view")
        yield from _check_missing(host, release)


def _check_missing(host: Host, release: Release) -> Iterator[Finding]:
    """Check that no file is missing from the view of `release`."""
    try:
        missing = find_view(Root.open(host.settings), release).missing
    except AntsCacheError as error:
        yield warning(str(error), error.hint)
        return
    if missing:
        yield warning(
            f"missing from the view of {release}: {list_names(list(missing))}", f"antscache prefetch {release}"
        )
