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
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    pace: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    allow_build: bool = False
    strict: bool = False
    mounted: bool = False
    baked: tuple[str, ...] = ()


def load(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from `flags` (those that the user gave), `environ` and the configuration files.

    Raises:
        ConfigError: a value cannot be used; the message says where it was found.
    """
    directories = platformdirs.PlatformDirs("antscache", appauthor=False)
    installed = _file(Path(sys.prefix) / "antscache.toml")
    merged: dict[str, Any] = {key: value for key, value in installed.items() if key != "root"}
    for name in "site_config_path", "user_config_path":
        if directory := _directory(directories, name):
            merged |= _file(directory / "antscache.toml")
    for key, variable in VARIABLES.items():
        if environ.get(variable):
            merged |= _checked({key: _parsed(key, environ[variable])}, f"the environment ({variable})")
    default = _directory(directories, "user_cache_path")
    merged["root"] = flags.get("root") or _root(merged, installed.get("root"), default)
    merged |= _checked({key: value for key, value in flags.items() if value not in (None, ())}, "the command line")
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
    if not (installed and is_persistent(Path(installed))):
        with suppress(RuntimeError):
            keras = Path.home() / ".keras"
            if is_mounted(keras) and os.access(keras, os.W_OK):
                return keras / "antscache"
    return installed or default


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


def _checked(values: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", hint=f"antscache knows the keys {', '.join(VARIABLES)}") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: this is no text in UTF-8", hint="only paths may have other bytes") from None
    return values


def to_environment(flags: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that set the same as `flags`."""
    variables = {}
    for key, value in flags.items():
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
    if key in {"jobs", "timeout", "pace"}:
        try:
            return int(text) if key == "jobs" else float(text)
        except ValueError:
            return text
    return text
