"""The source text of a release in an installed package, a wheel, an sdist or a source tree.

Nothing is imported. Sources are not trusted: antscache reads the metadata and the package's modules as text of bounded
size, and evaluates the getters alone. `archives` bounds the reading of an archive, `getters` that evaluation.
"""

from __future__ import annotations

import ast
import email.parser
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from antscache import disk
from antscache.catalog.archives import MAX_MEMBER_BYTES, MAX_MEMBERS, open_archive
from antscache.catalog.getters import GETTERS, PARSE_ERRORS, extract
from antscache.catalog.load_model import find_loaded
from antscache.core import Entry, Package, Release, UnreadGetter, digest_of, parse_release
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from antscache.catalog.archives import Members
    from antscache.core import Digest

MAX_SOURCE_BYTES = 1 << 18  # of Python source: getters have 60 kB; Python's parser takes 5 s for so many f-strings
MAX_PACKAGE_CHARACTERS = 1 << 24  # of all modules: antspynet 0.3.2 has 1.9 million
MAX_PROJECT_BYTES = 1 << 16  # of a pyproject.toml
MAX_PROJECT_LINE_CHARACTERS = 1000  # the reader of TOML takes the square of a dotted key's length, or more
MAX_VERSION_CHARACTERS = 64
UNKNOWN_VERSION = "0"  # of a source without metadata
UNLISTED = "\0.py"  # for the modules of a directory that is not listed: a name that no file can have

# The errors of reading a damaged, encrypted or too deeply nested file. (RuntimeError: encryption, unknown compression,
# recursion; ValueError: numbers in headers.)
READ_ERRORS = (
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
    """The content of a source.

    Attributes:
        release: the one that its metadata names.
        entries: those that its getters ask for.
        unread: the getters that cannot be read.
        texts: the text of each module of the package, by its path from the directory that holds the package; None if
            one cannot be read.
    """

    release: Release
    entries: tuple[Entry, ...]
    unread: tuple[UnreadGetter, ...] = ()
    texts: Mapping[str, str] | None = None

    @property
    def loaded(self) -> tuple[str, ...] | None:
        """The names of the networks that the package loads with `load_model`; None if it may load any."""
        names = [entry.name for entry in self.entries if entry.kind == "network"]
        if names and self.texts is None:
            return None
        return tuple(sorted({name for text in (self.texts or {}).values() for name in find_loaded(text, names)}))

    @property
    def source(self) -> Digest | None:
        """The digest over the text of the modules; None if one cannot be read."""
        return None if self.texts is None else digest_of(msgspec.json.encode(sorted(self.texts.items())))


class _Project(msgspec.Struct):
    version: str | None = None


class _PyProject(msgspec.Struct):
    project: _Project = msgspec.field(default_factory=_Project)


def read_source(path: Path, package: Package | None = None, version: str | None = None) -> Reading:
    """Read a wheel, an sdist, a source tree, or the directory that holds an installed package.

    Args:
        path: the file or directory.
        package: the package that is expected there; None: any.
        version: the version in the installation's metadata; None: the version in the source, or 0 if it has none.

    Raises:
        ManifestError: there is no such package at `path`, or its source is not understood.
    """
    try:
        if path.is_dir():
            return _read(_tree(path), path, package, version)
        with open_archive(path) as members:
            return _read(members, path, package, version)
    except READ_ERRORS as error:
        hint = "--from takes a source tree, a wheel (.whl) or an sdist (.tar.gz)"
        raise ManifestError(f"cannot read {path}: {_reason(error)}", hint=hint) from error


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return "it is not an archive" if isinstance(error, tarfile.ReadError) and "invalid header" in reason else reason


def _read(members: Members, path: Path, package: Package | None, version: str | None) -> Reading:
    for candidate, getters in GETTERS.items():
        modules = {getter.module: _find(members, getter.module) for getter in getters}
        if package in {None, candidate} and any(modules.values()):
            sources = {module: _getter_text(members, module, member, path) for module, member in modules.items()}
            release = parse_release(f"{candidate}=={version or _version(members, candidate, path)}")
            try:
                entries, unread = extract(candidate, sources)
                texts = _module_texts(members, modules, path) if candidate == "antspynet" else None  # it has functions
                return Reading(release, entries, unread, texts)
            except ManifestError as error:
                raise ManifestError(f"cannot read {candidate} in {path}: {error}", hint=error.hint) from None
    expected = package or " or ".join(GETTERS)
    raise ManifestError(
        f"no {expected} in {path}", hint="give the directory that holds the package, a wheel or an sdist"
    )


def _module_texts(members: Members, getters: Mapping[str, str | None], path: Path) -> Mapping[str, str] | None:
    """Return the text of each module of the package, by its path from the directory that holds the package.

    None if a module cannot be listed or read, or if all have more than MAX_PACKAGE_CHARACTERS.

    Args:
        members: of the source at `path`.
        getters: the member of each getter's module; they tell where the package is.
        path: of the source.
    """
    getter, found = next((getter, found) for getter, found in getters.items() if found)
    top = found.removesuffix(getter)
    package = top + getter.partition("/")[0] + "/"
    texts, left = dict[str, str](), MAX_PACKAGE_CHARACTERS
    try:
        for module in (name for name in members if name.startswith(package) and name.endswith(".py")):
            text = _text(members, module, path)
            left -= len(text)
            if left < 0:
                return None
            texts[module.removeprefix(top)] = text
    except (ManifestError, *READ_ERRORS):
        return None
    return texts


def _find(members: Members, module: str) -> str | None:
    """Find the member with the path `module`, at the top or below the fewest directories, as an sdist has it."""
    names = [name for name in members if name == module or name.endswith("/" + module)]
    return min(names, key=lambda name: (name.count("/"), name), default=None)


def _getter_text(members: Members, module: str, member: str | None, path: Path) -> str | ManifestError:
    """Return the text of a getter's module, or the error of reading it."""
    if member is None:
        return ManifestError(f"there is no {module}", hint="give a complete package")
    try:
        return _text(members, member, path, MAX_SOURCE_BYTES)
    except ManifestError as error:
        return error
    except READ_ERRORS as error:
        return ManifestError(f"cannot read {member}: {_reason(error)}", hint="give a complete package")


def _text(members: Members, member: str, path: Path, limit: int = MAX_MEMBER_BYTES) -> str:
    content = members[member]()
    if len(content) > limit:
        raise ManifestError(
            f"{path}: {member} is larger than {limit} bytes",
            hint="give another source: this one is damaged, or no source of ANTsPyNet",
        )
    return content.decode("utf-8", errors="replace")


def _version(members: Members, package: Package, path: Path) -> str:
    """Return the version in a source's metadata, `pyproject.toml` or `setup.py`; 0 if there is none."""
    # An installed package's metadata stands beside it; an sdist's PKG-INFO at its top.
    pattern = re.compile(rf"(?:[^/]+/)?(?:{package}-[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)|PKG-INFO)")
    for name in sorted(members):
        if pattern.fullmatch(name):
            message = email.parser.HeaderParser().parsestr(_text(members, name, path))
            if str(message["Name"]).lower() == package and message["Version"]:
                return _short_version(str(message["Version"]), path, name)
    for file, limit, read in (
        ("pyproject.toml", MAX_PROJECT_BYTES, _project_version),
        ("setup.py", MAX_SOURCE_BYTES, _setup_version),
    ):
        if (member := _find(members, file)) and (version := read(_text(members, member, path, limit))):
            return _short_version(version, path, member)
    return UNKNOWN_VERSION


def _short_version(version: str, path: Path, member: str) -> str:
    if len(version) > MAX_VERSION_CHARACTERS:
        raise ManifestError(
            f"{path}: {member} has a version of {len(version)} characters",
            hint="give another source: this one is damaged, or no source of ANTsPyNet",
        )
    return version


def _project_version(text: str) -> str | None:
    """Return the version in a `pyproject.toml`; None if it has none, or is not one that people write."""
    if any(len(line) > MAX_PROJECT_LINE_CHARACTERS for line in text.splitlines()):
        return None
    try:
        project = msgspec.toml.decode(text, type=_PyProject).project
    except (msgspec.MsgspecError, RecursionError, ValueError):  # nested too deeply; a number of too many digits
        return None
    return project.version


def _setup_version(text: str) -> str | None:
    """Return the literal `version=` in the call of setup(), read by `ast`; None if there is none."""
    try:
        tree = ast.parse(text)
    except PARSE_ERRORS:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="version", value=ast.Constant(value=str() as version)):
                return version
    return None


def _tree(directory: Path) -> Members:
    """Return the files of interest in a source tree or a site-packages directory: metadata, and modules of packages."""
    names = [getter.module for getters in GETTERS.values() for getter in getters]
    names += ["PKG-INFO", "pyproject.toml", "setup.py"]
    files = {name: directory / name for name in names if (directory / name).is_file()}
    for pattern in "*.dist-info/METADATA", "*.egg-info/PKG-INFO":
        files |= {str(path.relative_to(directory)): path for path in directory.glob(pattern) if path.is_file()}
    for package in {name.partition("/")[0] for name in names if "/" in name}:
        files |= {str(path.relative_to(directory)): path for path in _modules(directory / package)}

    def reader(path: Path) -> Callable[[], bytes]:
        def read() -> bytes:
            with disk.opened(path) as file:
                return file.read(MAX_MEMBER_BYTES + 1)

        return read

    return {name: reader(path) for name, path in files.items()}


def _modules(package: Path) -> Iterator[Path]:
    """Yield the modules in the directory `package`; at most MAX_MEMBERS names in it are looked at.

    No link to a directory is followed. For the modules of a directory that is not listed, or not to its end, this
    yields the path `UNLISTED` in it, which cannot be read.
    """
    directories, left = [package], MAX_MEMBERS
    while directories:
        directory = directories.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        yield directory / UNLISTED
                        return
                    path = directory / entry.name
                    if entry.is_dir():
                        if entry.is_symlink():
                            yield path / UNLISTED
                        else:
                            directories.append(path)
                    elif entry.name.endswith(".py") and entry.is_file():
                        yield path
        except OSError:
            yield directory / UNLISTED
