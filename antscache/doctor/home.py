"""A `~/.keras/ANTsXNet` that ANTsPyNet filled by itself: files that are cut, and files of another release.

ANTsPyNet takes what lies there under the name it wants, whatever it is. A cut `.nii.gz` is read without a word, and
the bytes that a name stands for differ from release to release (field notes).

As little is read as tells something: the head and the size of an HDF5 file say whether it is cut; so do the head and
the last four bytes of a compressed image, mostly, and where they do not, it is inflated. A file is hashed where its
name stands for several identifiers, something is recorded of one, and the size does not decide. `deep` reads
everything.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from antscache.core import Release, fetchable
from antscache.disk import owner_of
from antscache.doctor.finding import SHOWN, error, listed, note, ok, warning
from antscache.doctor.home_release import Glimpse, judge, meanings_of, undecided
from antscache.errors import AntsCacheError
from antscache.formats import Form, FormError, Hdf5, ItkTransform, NiftiGz, form_of, inspect
from antscache.root import Root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from antscache.core import Descriptor, Identifier, Manifest
    from antscache.doctor.finding import Finding
    from antscache.doctor.home_release import Judgement, Known, Names
    from antscache.doctor.host import Host

HEAD = 1 << 16  # bytes: more than a header of any kind, compressed
CHUNK = 1 << 20  # bytes read at a time
SUPERUSER = 0


def check_home(host: Host) -> Iterator[Finding]:
    """Whether `~/.keras/ANTsXNet` is whole, and of one release."""
    place = host.place
    if place is None:
        yield note("you have no home, so there is nothing to look at in it")
        return
    if not os.path.lexists(place):
        yield ok(f"there is no {place}")
        return
    if host.view:
        yield ok(f"{place} is the view of {host.view}, which `antscache verify` looks at")
        return
    if not os.access(place, os.R_OK | os.X_OK):
        yield error(f"you may not read {place}, which belongs to {owner_of(place)}", _chown(place))
        return
    releases, known = _releases(host), _known(host)
    readable = list[Glimpse]()
    for each in _look(place, meanings_of(releases), known, deep=host.deep):
        if isinstance(each, Glimpse):
            readable.append(each)
        else:
            yield each
    if not readable:
        yield ok(f"no file is in {place} that can be read")
    yield from _cut(place, readable)
    whole = [each for each in readable if not each.problem]
    judgement = judge(whole, releases, known, _in_use(host))
    yield from _told(place, judgement, whole, deep=host.deep)


# What it is judged by


def _releases(host: Host) -> dict[Release, Names]:
    """What each antspynet at hand means by its names, the newest last; the one in use among them."""
    manifests = [host.catalog.find(each) for each in host.catalog.releases() if each.package == "antspynet"]
    own = _manifest(host)
    return {each.release: _names(each) for each in [*manifests, own] if each}


def _names(manifest: Manifest) -> Names:
    names: dict[str, frozenset[Identifier]] = {}
    for entry in fetchable(manifest.entries):
        names[entry.file] = names.get(entry.file, frozenset()) | {str(entry.identifier)}
    return names


def _known(host: Host) -> dict[Identifier, Descriptor]:
    """What is recorded, but for what was adopted: that may be the word of this very home."""
    try:
        store = Root.open(host.settings).store
        records = [record for each in (*store.lowers, store) for record in each.records.readable()]
    except AntsCacheError:
        return {}  # the root's own check tells
    return {record.identifier: record.descriptor for record in records if record.trust != "adopted"}


def _in_use(host: Host) -> Release | None:
    manifest = _manifest(host)
    return manifest.release if manifest else None


def _manifest(host: Host) -> Manifest | None:
    try:
        return host.manifest
    except AntsCacheError:
        return None  # the check of the installation tells


# Looking


def _look(place: Path, meanings: Names, known: Known, *, deep: bool) -> Iterator[Glimpse | Finding]:
    """Each file in `place`, or what is to say of it where it cannot be looked at; and whose they are."""
    supers = [str(place)] if place.lstat().st_uid == SUPERUSER else []
    with os.scandir(place) as entries:
        paths = sorted(Path(entry.path) for entry in entries)
    for path in paths:
        try:
            if path.lstat().st_uid == SUPERUSER:
                supers.append(path.name)
            yield from _seen(path, meanings, known, deep=deep)
        except OSError as refused:  # noqa: PERF203  one that cannot be read is no reason not to look at the others
            yield warning(f"{path} cannot be read: {refused.strerror}", f"ls -l {shlex.quote(str(path))}")
    if supers and os.geteuid() != SUPERUSER:
        told = f"{len(supers)} files and directories at {place} belong to root, as after a docker run without --user"
        yield warning(told, _chown(place))


def _chown(place: Path) -> str:
    return f"sudo chown -R {os.geteuid()}:{os.getegid()} {shlex.quote(str(place))}"


def _seen(path: Path, meanings: Names, known: Known, *, deep: bool) -> Iterator[Glimpse | Finding]:
    remove = f"rm {shlex.quote(str(path))}"
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            yield error(f"{path} is a link that leads nowhere, and ANTsPyNet would write through it", remove)
        return
    if S_ISDIR(status.st_mode):
        return
    if not S_ISREG(status.st_mode):  # a FIFO would be waited for
        yield warning(f"{path} is not a file, and whoever reads it may wait for ever", remove)
        return
    file = Glimpse(path.name, status.st_size, problem="" if deep else _problem(path))
    yield _read(path) if deep or (not file.problem and undecided(file, meanings, known)) else file


def _read(path: Path) -> Glimpse:
    """Read all of the file at `path`: hash it, and check its form.

    Raises:
        OSError: it cannot be read.
    """
    blob, problem = inspect(path, path.name)
    return Glimpse(path.name, blob.size, blob, problem)


class _Image(NiftiGz):
    """A compressed image of which the beginning was seen."""

    def ends_with(self, tail: bytes) -> bool:
        """Whether the last four bytes of the file are those of one that is whole.

        They are how long it is when it is decompressed, modulo 2^32 (RFC 1952, 2.3.1), and the header tells that too.
        Of one that is cut they are any; of one that is whole they are others where something follows the voxels.
        """
        return bool(self._promised) and int.from_bytes(tail, "little") == self._promised % (1 << 32)


def _problem(path: Path) -> str:
    """Why a file cannot be what its name says, if it cannot; as little of it is read as tells that, mostly.

    Raises:
        OSError: it cannot be read.
    """
    form = form_of(path.name)
    if isinstance(form, NiftiGz):
        form = _Image()
    with path.open("rb") as file:
        try:
            _check(file, form)
        except FormError as wrong:
            return str(wrong)
    return ""


def _check(file: BinaryIO, form: Form) -> None:
    """Raise FormError where `file` is not of its form."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD)
    form.feed(head)
    if size > len(head):
        if isinstance(form, Hdf5):
            form.size = size  # it has passed, as far as its form looks at it
        elif isinstance(form, _Image):
            file.seek(-4, os.SEEK_END)
            if form.ends_with(file.read(4)):
                return
            _feed_rest(file, form, len(head))
        elif isinstance(form, ItkTransform):
            _feed_rest(file, form, len(head))
    form.finish()


def _feed_rest(file: BinaryIO, form: Form, start: int) -> None:
    file.seek(start)
    while chunk := file.read(CHUNK):
        form.feed(chunk)


# Telling


def _cut(place: Path, files: Iterable[Glimpse]) -> Iterator[Finding]:
    bad = [each for each in files if each.problem]
    for each in bad[:SHOWN]:
        path = place / each.name
        yield error(f"{path} cannot be used: {each.problem}", f"rm {shlex.quote(str(path))}")
    if len(bad) > SHOWN:
        more = [each.name for each in bad[SHOWN:]]
        yield error(f"{len(more)} more files in {place} cannot be used: {listed(more)}", "remove them, then look again")


def _told(place: Path, found: Judgement, files: Sequence[Glimpse], *, deep: bool) -> Iterator[Finding]:
    release = found.release
    if release is None:
        if files:
            yield note(f"no release asks for anything in {place}")
        return
    remedy = "antscache run -- python ...; or for good: antscache hook enable"
    adopt = f"antscache adopt {shlex.quote(str(place))} --as {release}"
    if found.other:
        told = listed([f"{name} is {what}" for name, what in found.other])
        yield error(f"{place} mixes releases: of what {release} asks for, {told}", remedy)
    if found.elsewhere:
        told = listed([f"{name} ({other})" for name, other in found.elsewhere])
        yield warning(f"{place} has files that {release} does not ask for, and others do: {told}", remedy)
    if found.untold:
        told = f"{len(found.untold)} files in {place} have names that releases give different bytes"
        yield note(f"{told}, and nothing recorded tells which these are: {listed(list(found.untold))}", remedy)
    if found.unknown:
        yield note(f"no release asks for these in {place}: {listed(list(found.unknown))}")
    if found.sound:
        how = "read and hashed" if deep else "looked at (antscache doctor --deep reads all of them)"
        yield ok(f"{len(found.sound)} files in {place} may be those of {release}, {how}; to take them over: {adopt}")
