"""Where a release's source text is: an installed package, a wheel, an sdist or a source tree.

Nothing is imported or unpacked.

What is read is untrusted: only the getters' modules and the metadata are read, as text of bounded size, from regular
members of an archive; no path is taken from it.
"""

from __future__ import annotations

import ast
import email.parser
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from antscache.catalog.getters import GETTERS, UNPARSABLE, extract
from antscache.core import Entry, Package, Release, parse_release
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 << 20  # bytes of one source file; the getters have 60 kB
UNVERSIONED = "0"

# What reading a damaged, encrypted or absurdly nested file raises. (RuntimeError: encryption, unknown compression,
# recursion; ValueError: numbers in headers.)
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source turned out to be: the release it says it is, and what it asks for."""

    release: Release
    entries: tuple[Entry, ...]


class _Project(msgspec.Struct):
    version: str | None = None


class _PyProject(msgspec.Struct):
    project: _Project = msgspec.field(default_factory=_Project)


# A source as a mapping from the paths of its members to a function that reads one.
Members = Mapping[str, Callable[[], bytes]]


def read_source(path: Path, package: Package | None = None, version: str | None = None) -> Reading:
    """Read a wheel, an sdist, a source tree, or the directory that holds an installed package.

    Args:
        path: the file or directory.
        package: which package is expected there; without, whichever is found.
        version: what the installation says its version is; without, what the source says, or 0 if it says nothing.

    Raises:
        ManifestError: there is no such package at `path`, or its source is not understood.
    """
    try:
        if path.is_dir():
            return _read(_tree(path), path, package, version)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read(_zip(archive), path, package, version)
        with tarfile.open(path) as archive:
            return _read(_tar(archive), path, package, version)
    except UNREADABLE as error:
        raise ManifestError(
            f"cannot read {path}: {error}", hint="--from takes a source tree, a wheel (.whl) or an sdist (.tar.gz)"
        ) from error


def _read(members: Members, path: Path, package: Package | None, version: str | None) -> Reading:
    for candidate, getters in GETTERS.items():
        found = {getter.module: _find(members, getter.module) for getter in getters}
        if package in {None, candidate} and any(found.values()):
            if missing := [module for module, member in found.items() if member is None]:
                raise ManifestError(f"{path} has no {missing[0]}", hint="this is not a whole package")
            sources = {module: _text(members, member, path) for module, member in found.items() if member}
            release = parse_release(f"{candidate}=={version or _version(members, candidate, path)}")
            try:
                return Reading(release, extract(candidate, sources))
            except ManifestError as error:
                raise ManifestError(f"{path}: {error}", hint=error.hint) from None
    wanted = package or " or ".join(GETTERS)
    raise ManifestError(f"no {wanted} in {path}", hint="give the directory that holds the package, a wheel or an sdist")


def _find(members: Members, module: str) -> str | None:
    """The shallowest member that is `module`: an sdist and a repository keep it below a directory."""
    found = [name for name in members if name == module or name.endswith("/" + module)]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def _text(members: Members, member: str, path: Path) -> str:
    content = members[member]()
    if len(content) > LARGEST:
        raise ManifestError(f"{path}: {member} is larger than {LARGEST} bytes", hint="this is not a source file")
    return content.decode("utf-8", errors="replace")


def _version(members: Members, package: Package, path: Path) -> str:
    """The version a source says it has, from its metadata, `pyproject.toml` or `setup.py`; else 0."""
    # An installed package's metadata stands beside it; an sdist's PKG-INFO at its top.
    pattern = re.compile(rf"(?:[^/]+/)?(?:{package}-[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)|PKG-INFO)")
    for name in sorted(members):
        if pattern.fullmatch(name):
            message = email.parser.HeaderParser().parsestr(_text(members, name, path))
            if str(message["Name"]).lower() == package and message["Version"]:
                return str(message["Version"])
    for file, read in ("pyproject.toml", _project_version), ("setup.py", _setup_version):
        if (member := _find(members, file)) and (found := read(_text(members, member, path))):
            return found
    return UNVERSIONED


def _project_version(text: str) -> str | None:
    try:
        project = msgspec.toml.decode(text, type=_PyProject).project
    except msgspec.MsgspecError:
        return None
    return project.version


def _setup_version(text: str) -> str | None:
    """The literal `version=` of the call of setup(), read by `ast`."""
    try:
        tree = ast.parse(text)
    except UNPARSABLE:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="version", value=ast.Constant(value=str() as version)):
                return version
    return None


def _tree(directory: Path) -> Members:
    """The files of a source tree, or of a site-packages directory, that are read: found by name, not by a walk."""
    wanted = [getter.module for getters in GETTERS.values() for getter in getters]
    wanted += ["PKG-INFO", "pyproject.toml", "setup.py"]
    found = {name: directory / name for name in wanted if (directory / name).is_file()}
    for metadata in ("*.dist-info/METADATA", "*.egg-info/PKG-INFO"):
        found |= {str(path.relative_to(directory)): path for path in directory.glob(metadata)}

    def reader(path: Path) -> Callable[[], bytes]:
        def read() -> bytes:
            with path.open("rb") as file:
                return file.read(LARGEST + 1)

        return read

    return {name: reader(path) for name, path in found.items()}


def _zip(archive: zipfile.ZipFile) -> Members:
    def reader(member: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            with archive.open(member) as file:
                return file.read(LARGEST + 1)

        return read

    return {member.filename: reader(member) for member in archive.infolist() if not member.is_dir()}


def _tar(archive: tarfile.TarFile) -> Members:
    def reader(member: tarfile.TarInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            file = archive.extractfile(member)
            return file.read(LARGEST + 1) if file else b""

        return read

    return {member.name: reader(member) for member in archive if member.isreg()}
