"""Check a `~/.keras/ANTsXNet` that ANTsPyNet filled by itself, for cut files and for files of another release.

ANTsPyNet uses any file there that has the right name. It reads a cut `.nii.gz` without a warning, and the same name
stands for different bytes in different releases (field notes).

The check reads as little as it can. The head and the size of an HDF5 file tell if it is cut. The head and the last four
bytes of a compressed image mostly tell; where they do not, the image is inflated. A file is hashed only if its name
stands for several identifiers, one of them is recorded, and the size does not decide. `deep` reads everything.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from antscache import disk
from antscache.core import Release, identifiers_by_file
from antscache.doctor.finding import MAX_SHOWN, count_files, count_paths, error, list_names, note, ok, warning
from antscache.doctor.home_release import ExaminedFile, judge, merge_names, needs_digest
from antscache.doctor.host import SUPERUSER_UID
from antscache.errors import AntsCacheError
from antscache.formats import Form, FormError, Hdf5, ItkTransform, NiftiGz, form_of, inspect
from antscache.root import Root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from antscache.core import Descriptor, Identifier, Manifest
    from antscache.doctor.finding import Finding
    from antscache.doctor.home_release import IdentifiersByName, Judgement, RecordedBlobs
    from antscache.doctor.host import Host

HEAD_BYTES = 1 << 16  # more than the compressed header of any kind of file
READ_CHUNK_BYTES = 1 << 20


def check_home(host: Host) -> Iterator[Finding]:
    """Check that the files in `~/.keras/ANTsXNet` are whole, and belong to one release."""
    directory = host.antsxnet_directory
    if directory is None:
        yield note("you have no home directory, so there is no ~/.keras/ANTsXNet to check")
        return
    if not os.path.lexists(directory):
        yield ok(f"{directory} does not exist")
        return
    if host.view_slug:
        yield ok(f"{directory} is the view of {host.view_slug}; `antscache verify` checks its files")
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        what = f"you may not read {directory}: it belongs to {disk.owner_of(directory)}"
        yield error(what, _chown_command(directory))
        return
    releases, recorded = _names_by_release(host), _recorded_blobs(host)
    readable = list[ExaminedFile]()
    for result in _examine_files(directory, merge_names(releases), recorded, deep=host.deep):
        if isinstance(result, ExaminedFile):
            readable.append(result)
        else:
            yield result
    if not readable:
        yield ok(f"{directory} has no files that can be read")
    yield from _report_unusable(directory, readable)
    whole = [file for file in readable if not file.problem]
    judgement = judge(whole, releases, recorded, _installed_release(host))
    yield from _report_releases(directory, judgement, whole, deep=host.deep)


# Manifests and records to compare the files with


def _names_by_release(host: Host) -> dict[Release, IdentifiersByName]:
    """Return the names of every known antspynet release, the newest last, and of the installed one."""
    manifests = [host.catalog.find(release) for release in host.catalog.releases() if release.package == "antspynet"]
    installed = _installed_manifest(host)
    return {manifest.release: identifiers_by_file([manifest]) for manifest in [*manifests, installed] if manifest}


def _recorded_blobs(host: Host) -> dict[Identifier, Descriptor]:
    """Return the recorded blob of each identifier, without adopted ones: those may come from this very home."""
    try:
        store = Root.open(host.settings).store
        records = [record for source in (*store.lowers, store) for record in source.records.readable()]
    except AntsCacheError:
        return {}  # the check of the root reports this
    return {record.identifier: record.descriptor for record in records if not record.is_adopted}


def _installed_release(host: Host) -> Release | None:
    """Return the installed antspynet release, or None if there is none or it is not understood."""
    manifest = _installed_manifest(host)
    return manifest.release if manifest else None


def _installed_manifest(host: Host) -> Manifest | None:
    try:
        return host.manifest
    except AntsCacheError:
        return None  # the check of the installation reports this


# Reading the files


def _examine_files(
    directory: Path, all_names: IdentifiersByName, recorded: RecordedBlobs, *, deep: bool
) -> Iterator[ExaminedFile | Finding]:
    """Yield each file in `directory`, or a finding where one cannot be examined, and a finding about root's files."""
    owned_by_root = [str(directory)] if directory.lstat().st_uid == SUPERUSER_UID else []
    with os.scandir(directory) as entries:
        paths = sorted(Path(entry.path) for entry in entries)
    for path in paths:
        try:
            if path.lstat().st_uid == SUPERUSER_UID:
                owned_by_root.append(path.name)
            yield from _examine_file(path, all_names, recorded, deep=deep)
        except OSError as refused:  # noqa: PERF203  the other files are examined all the same
            yield warning(f"{path} cannot be read: {refused.strerror}", f"ls -l {shlex.quote(str(path))}")
    if owned_by_root and os.geteuid() != SUPERUSER_UID:
        what = f"the user root owns {count_paths(len(owned_by_root))} at {directory}"
        yield warning(f"{what}, as after a docker run without --user", _chown_command(directory))


def _chown_command(directory: Path) -> str:
    return f"sudo chown -R {os.geteuid()}:{os.getegid()} {shlex.quote(str(directory))}"


def _examine_file(
    path: Path, all_names: IdentifiersByName, recorded: RecordedBlobs, *, deep: bool
) -> Iterator[ExaminedFile | Finding]:
    remove = f"rm {shlex.quote(str(path))}"
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            yield error(f"{path} is a link to a missing file, which ANTsPyNet would create", remove)
        return
    if S_ISDIR(status.st_mode):
        return
    if not S_ISREG(status.st_mode):  # opening a FIFO would wait for a writer
        yield warning(f"{path} is not a regular file: a program that reads it may wait for ever", remove)
        return
    file = ExaminedFile(path.name, status.st_size, problem="" if deep else _find_problem(path))
    read_all = deep or (not file.problem and needs_digest(file, all_names, recorded))
    yield _read_all(path) if read_all else file


def _read_all(path: Path) -> ExaminedFile:
    """Read all of the file at `path`: hash it, and check its form.

    Raises:
        OSError: it cannot be read.
    """
    seen = inspect(path, path.name)
    return ExaminedFile(path.name, seen.blob.size, seen.blob, seen.problem)


class _ImageHead(NiftiGz):
    """A compressed image whose beginning was read."""

    def ends_with(self, tail: bytes) -> bool:
        """Return True if `tail`, the last four bytes of the file, is the image's decompressed size modulo 2^32.

        A whole gzip file ends so (RFC 1952, 2.3.1), and the header of the image tells its size as well. A cut file ends
        with any bytes. A whole file with something behind its voxels ends with another size.
        """
        return bool(self._promised) and int.from_bytes(tail, "little") == self._promised % (1 << 32)


def _find_problem(path: Path) -> str:
    """Return why the file at `path` cannot have the form that its name says; empty if it can, as far as was read.

    Reads the head of the file, and more only where the head does not tell if the file is cut.

    Raises:
        OSError: it cannot be read.
    """
    form = form_of(path.name)
    if isinstance(form, NiftiGz):
        form = _ImageHead()
    with disk.opened(path) as file:
        try:
            _check_form(file, form)
        except FormError as wrong:
            return str(wrong)
    return ""


def _check_form(file: BinaryIO, form: Form) -> None:
    """Raise FormError if `file` does not have the form `form`."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD_BYTES)
    form.feed(head)
    if size > len(head):
        if isinstance(form, Hdf5):
            form.size = size  # the form needs no more than the head and the size
        elif isinstance(form, _ImageHead):
            file.seek(-4, os.SEEK_END)
            if form.ends_with(file.read(4)):
                return
            _feed_rest(file, form, len(head))
        elif isinstance(form, ItkTransform):
            _feed_rest(file, form, len(head))
    form.finish()


def _feed_rest(file: BinaryIO, form: Form, start: int) -> None:
    file.seek(start)
    while chunk := file.read(READ_CHUNK_BYTES):
        form.feed(chunk)


# Reporting


def _report_unusable(directory: Path, files: Iterable[ExaminedFile]) -> Iterator[Finding]:
    unusable = [file for file in files if file.problem]
    for file in unusable[:MAX_SHOWN]:
        path = directory / file.name
        yield error(f"{path} cannot be used: {file.problem}", f"rm {shlex.quote(str(path))}")
    if len(unusable) > MAX_SHOWN:
        names = [file.name for file in unusable[MAX_SHOWN:]]
        what = f"{len(names)} more files in {directory} cannot be used: {list_names(names)}"
        yield error(what, "remove them, then run antscache doctor again")


def _report_releases(
    directory: Path, judgement: Judgement, files: Sequence[ExaminedFile], *, deep: bool
) -> Iterator[Finding]:
    release = judgement.release
    if release is None:
        if files:
            yield note(f"no release asks for any file in {directory}")
        return
    remedy = "antscache run -- python ...; or for good: antscache hook enable"
    if judgement.mismatched:
        names = list_names([f"{name} is {description}" for name, description in judgement.mismatched])
        yield error(f"{directory} mixes releases; these files are not those of {release}: {names}", remedy)
    if judgement.foreign:
        names = list_names([f"{name} ({other})" for name, other in judgement.foreign])
        yield warning(f"{directory} has files that {release} does not ask for, but other releases do: {names}", remedy)
    if judgement.ambiguous:
        names = list_names(list(judgement.ambiguous))
        files_there = f"{directory} has {count_files(len(judgement.ambiguous))}"
        what = f"{files_there} under names that stand for different bytes in different releases"
        yield note(f"{what}, and no record tells which bytes these are: {names}", remedy)
    if judgement.unknown:
        yield note(f"no release asks for these files in {directory}: {list_names(list(judgement.unknown))}")
    if judgement.fitting:
        extent = "read completely" if deep else "read in part; antscache doctor --deep reads everything"
        what = f"{count_files(len(judgement.fitting))} in {directory} may belong to {release} ({extent})"
        yield ok(f"{what}; to take them over: antscache adopt {shlex.quote(str(directory))} --as {release}")
