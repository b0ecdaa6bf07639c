"""Settings: from flags, then the environment, then `antscache.toml` of the user, of the site, of the installation.

antscache.toml  environment            flag           meaning
root            ANTSCACHE_DIR          --root         the root; by default the platform's user cache directory
site_dirs       ANTSCACHE_SITE_DIRS    --site-dir     lower caches: roots that are only read, separated by `:`
offline         ANTSCACHE_OFFLINE      --offline      open no socket
mirrors         ANTSCACHE_MIRRORS      --mirror       URL templates that are tried first, separated by blanks
origins         ANTSCACHE_ORIGINS      --origin       URL templates with {id} instead of Figshare's three routes
jobs            ANTSCACHE_JOBS         --jobs         files to fetch at once
link_mode       ANTSCACHE_LINK_MODE    --link-mode    auto, reflink, hardlink or symlink
timeout         ANTSCACHE_TIMEOUT      --timeout      seconds without data after which a transfer fails
pace            ANTSCACHE_PACE         --pace         seconds from one start at api.figshare.com to the next
allow_build     ANTSCACHE_ALLOW_BUILD  --allow-build  let pip build an sdist that has no wheel, which runs its code
strict          ANTSCACHE_STRICT       --strict       refuse every finding, also one that can do no harm
mounted         ANTSCACHE_MOUNTED                     fetch only into a root on a mount of its own; images set this
baked                                                 the lower caches of an image; other settings do not displace them

Two settings come from the environment only: ANTSCACHE_TOKENS, which are secrets (each `host=token`, separated by
blanks), and SOURCE_DATE_EPOCH, which other programs use too.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import platformdirs

from antscache.core import FIGSHARE_ROUTES
from antscache.disk import is_mounted, is_persistent
from antscache.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LinkMode = Literal["auto", "reflink", "hardlink", "symlink", "copy"]

VARIABLES = {
    "root": "ANTSCACHE_DIR",
    "site_dirs": "ANTSCACHE_SITE_DIRS",
    "offline": "ANTSCACHE_OFFLINE",
    "mirrors": "ANTSCACHE_MIRRORS",
    "origins": "ANTSCACHE_ORIGINS",
    "jobs": "ANTSCACHE_JOBS",
    "link_mode": "ANTSCACHE_LINK_MODE",
    "timeout": "ANTSCACHE_TIMEOUT",
    "pace": "ANTSCACHE_PACE",
    "allow_build": "ANTSCACHE_ALLOW_BUILD",
    "strict": "ANTSCACHE_STRICT",
    "mounted": "ANTSCACHE_MOUNTED",
}
FLAGS = {key: f"--{key.replace('_', '-')}" for key in VARIABLES} | {
    "site_dirs": "--site-dir",
    "mirrors": "--mirror",
    "origins": "--origin",
}
EXPECTED = {  # the values of each key, in words that continue "is not"
    "root": "a directory",
    "site_dirs": "a list of directories",
    "offline": "yes or no",
    "mirrors": "a list of URL templates, with blanks between them",
    "origins": "a list of URL templates, with blanks between them",
    "jobs": "a whole number from 1 to 64",
    "link_mode": "auto, reflink, hardlink or symlink",
    "timeout": "a number of seconds, above 0 and up to 86400",
    "pace": "a number of seconds, from 0 to 3600",
    "allow_build": "yes or no",
    "strict": "yes or no",
    "mounted": "yes or no",
    "baked": "a list of directories",
}
_NO_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|\$[A-Za-z_{]")
TOKENS_VARIABLE = "ANTSCACHE_TOKENS"
SOURCE_DATE_VARIABLE = "SOURCE_DATE_EPOCH"
MAX_SOURCE_DATE_SECONDS = 2**32 - 1  # since 1970: the latest time that a squashfs can hold
BOOLEAN_TEXTS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings in force.

    Attributes:
        root: absolute; it need not exist yet.
        site_dirs: absolute; they need not exist.
        jobs: number of files to fetch at once.
        timeout: seconds without data after which a connection or a transfer fails.
        pace: seconds from one start at api.figshare.com to the next, over all processes on the root. Its documentation
            asks for no more than one request a second.
        allow_build: True if pip may build the sdist of a release that has no wheel: that runs the code in it.
        strict: True if every finding in a file refuses it (docs/fetching.md).
        mounted: True in a container. Nothing is fetched into a root that would be lost with the container. A root that
            a variable or a file names counts only if it exists or would outlive the container, because variables leak
            in from hosts. If there is no such root and `~/.keras` is a mount, which users make to keep ANTsPyNet's
            downloads, the root is in there.
        baked: the lower caches of an image, searched after `site_dirs`; missing ones are ignored. No flag or variable
            sets them, so none can displace the data of an image.
    """

    root: str = ""
    site_dirs: tuple[str, ...] = ()
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    origins: tuple[str, ...] = FIGSHARE_ROUTES
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    link_mode: Literal["auto", "reflink", "hardlink", "symlink"] = "auto"
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0
    pace: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    allow_build: bool = False
    strict: bool = False
    mounted: bool = False
    baked: tuple[str, ...] = ()


def load(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from `flags` (those that the user gave), `environ` and the configuration files.

    Raises:
        ConfigError: a value cannot be used; the message says where it was found.
        TypeError: `flags` has a key that is no setting.
    """
    if unknown := [key for key in flags if key not in VARIABLES]:
        raise TypeError(f"there is no setting {unknown[0]!r}: antscache knows {', '.join(VARIABLES)}")
    directories = platformdirs.PlatformDirs("antscache", appauthor=False)
    installed = _file(Path(sys.prefix) / "antscache.toml")
    merged: dict[str, Any] = {key: value for key, value in installed.items() if key != "root"}
    for name in "site_config_path", "user_config_path":
        if directory := _directory(directories, name):
            merged |= _file(directory / "antscache.toml")
    for key, variable in VARIABLES.items():
        if environ.get(variable):
            merged |= _checked({key: _parsed(key, environ[variable])}, "the environment", VARIABLES)
    default = _directory(directories, "user_cache_path")
    given = _checked({key: value for key, value in flags.items() if value not in (None, ())}, "the flags", FLAGS)
    merged["root"] = given.get("root") or _root(merged, installed.get("root"), default)
    merged |= given
    if merged["root"] is None:
        hint = "name a root with --root or ANTSCACHE_DIR, or set HOME"
        raise ConfigError("there is no place for a root, because you have no home directory", hint=hint)
    merged["root"] = _absolute(str(merged["root"]))
    merged["site_dirs"] = [_absolute(path) for path in merged.get("site_dirs", ())]
    merged["baked"] = [os.path.expanduser(path) for path in merged.get("baked", ())]  # noqa: PTH111  there may be no home
    return msgspec.convert(merged, Settings)


def _root(settings: Mapping[str, Any], installed: str | None, default: Path | None) -> str | Path | None:
    """Choose the root: the one in `settings`, else the installation's, else the default.

    In a container, prefer one that outlives the container: the one in `settings`, the installation's, or one in
    `~/.keras`, which users mount to keep downloads (`docker run -v DIR:/home/antspyuser/.keras`).
    """
    root = settings.get("root")
    if not settings.get("mounted"):
        return root or installed or default
    if root and ((path := Path(_absolute(root))).is_dir() or is_persistent(path)):
        return path
    keras = None if installed and is_persistent(Path(installed)) else mounted_keras()
    return keras / "antscache" if keras and os.access(keras, os.W_OK) else installed or default


def mounted_keras() -> Path | None:
    """Return your `~/.keras` if a filesystem that outlives a container is mounted there, else None."""
    with suppress(RuntimeError):
        keras = Path.home() / ".keras"
        return keras if is_mounted(keras) else None
    return None


def state_directory() -> Path | None:
    """Return your directory for notes of antscache's own; None if you have no home. It need not exist."""
    return _directory(platformdirs.PlatformDirs("antscache", appauthor=False), "user_state_path")


def _directory(directories: platformdirs.PlatformDirs, name: str) -> Path | None:
    """Return one of the platform's directories; None if the user has no home for it."""
    try:
        path: Path = getattr(directories, name)
    except RuntimeError:
        return None
    return path if path.is_absolute() else None  # older platformdirs leave `~` in it


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:
        raise ConfigError(
            f"{path} is in a home that does not exist", hint="write the whole path, or set HOME"
        ) from None


def read_tokens(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the tokens of mirrors in `environ`, by host or host:port.

    Raises:
        ConfigError: the variable is no list of `host=token`; the message holds no part of it.
    """
    tokens = {}
    for pair in environ.get(TOKENS_VARIABLE, "").split():
        host, separator, token = pair.partition("=")
        if not (host and separator and token and token.isascii() and token.isprintable()):
            raise ConfigError(
                f"the environment ({TOKENS_VARIABLE}) holds something else than tokens",
                hint="write host=token, with blanks between several of them",
            )
        tokens[host.lower()] = token
    return tokens


def read_source_date(environ: Mapping[str, str] = os.environ) -> int:
    """Return the modification time of everything in an export, in seconds since 1970; 0 if `environ` has none.

    Source: https://reproducible-builds.org/specs/source-date-epoch/

    Raises:
        ConfigError: the variable is no such number.
    """
    text = environ.get(SOURCE_DATE_VARIABLE) or "0"
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > MAX_SOURCE_DATE_SECONDS:
        hint = "write the seconds since 1970, as `date +%s` does, or unset it"
        raise ConfigError(f"the environment ({SOURCE_DATE_VARIABLE}) is not a time: {text!r}", hint=hint)
    return int(text)


def _file(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        if isinstance(error, PermissionError) and not os.path.lexists(path):
            return {}  # a home without permission for this user, as in a container that runs as any user
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="make it readable, or remove it") from None
    try:
        values: dict[str, Any] = msgspec.toml.decode(content)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="see docs/configuration.md for its keys") from None
    return _checked(values, str(path))


def _checked(values: dict[str, Any], where: str, names: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return `values` if each can be used.

    Args:
        values: by key.
        where: the place that they stand in.
        names: what keys are called there, if not by themselves.

    Raises:
        ConfigError: there is no such key, or a value is none of that key.
    """
    for key, value in values.items():
        if key not in EXPECTED:
            from difflib import get_close_matches

            closest = next(iter(get_close_matches(key, EXPECTED, 1)), None)
            meant = f"did you mean {closest}? " if closest else ""
            raise ConfigError(f"{where}: unknown key {key!r}", hint=f"{meant}antscache knows {', '.join(EXPECTED)}")
        if not _is_usable(key, value):
            shown = "" if key in {"mirrors", "origins"} else f": {value!r}"  # URLs may have tokens in them
            raise ConfigError(f"{where}: {names.get(key, key)} is not {EXPECTED[key]}{shown}", hint=_hint(value))
    return values


def _is_usable(key: str, value: Any) -> bool:
    try:
        msgspec.convert({key: value}, Settings)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter: only paths may have bytes that are no UTF-8
        return False
    if key in {"root", "site_dirs", "baked"}:
        return all(_is_path(path) for path in ([value] if key == "root" else value))
    if key in {"mirrors", "origins"}:
        return all(template.count("://") == 1 for template in value)
    return True


def _is_path(text: str) -> bool:
    """Return True if `text` can be meant as a path: it is not empty, no URL, and no variable that nobody expanded."""
    return bool(text.strip()) and text == text.strip() and "\0" not in text and not _NO_PATH.match(text)


def _hint(value: Any) -> str:
    if isinstance(value, str) and value.startswith("$"):
        return "write the value of the variable: only a shell expands its name"
    return "docs/configuration.md lists all settings and their values"


def to_environment(flags: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that set the same as `flags`.

    Raises:
        ConfigError: a lower cache cannot be named in a variable.
    """
    variables = {}
    for key, value in flags.items():
        if key == "site_dirs" and value and (unnamed := [path for path in value if os.pathsep in path]):
            hint = f"give it a name without {os.pathsep}, for instance by a symlink"
            raise ConfigError(f"{unnamed[0]} cannot be named in {VARIABLES[key]}", hint=hint)
        if isinstance(value, tuple | list):
            variables[VARIABLES[key]] = (os.pathsep if key == "site_dirs" else " ").join(value)
        elif value is not None:
            variables[VARIABLES[key]] = str(int(value) if isinstance(value, bool) else value)
    return variables


def _parsed(key: str, text: str) -> Any:
    """Parse the text of an environment variable. An unusable text is returned as it is, and refused later."""
    if key in {"offline", "allow_build", "strict", "mounted"}:
        return BOOLEAN_TEXTS.get(text.lower(), text)
    if key in {"mirrors", "origins"}:
        return text.split()
    if key == "site_dirs":
        return [path for path in text.split(os.pathsep) if path]
    if key == "jobs":
        return int(text) if re.fullmatch("[0-9]{1,4}", text) else text
    if key in {"timeout", "pace"}:
        return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", text) else text
    return text
