"""How antscache is set up: flags, then environment, then `antscache.toml`: the user's, the site's, the installation's.

antscache.toml  environment          flag         meaning
root            ANTSCACHE_DIR        --root       the root; else the platform's user cache directory
site_dirs       ANTSCACHE_SITE_DIRS  --site-dir   lower caches: roots that are read and never written, `:` between them
offline         ANTSCACHE_OFFLINE    --offline    open no socket
mirrors         ANTSCACHE_MIRRORS    --mirror     URL templates tried first, blank between them
origins         ANTSCACHE_ORIGINS    --origin     URL templates with {id} instead of Figshare's three routes
jobs            ANTSCACHE_JOBS       --jobs       files under way at once
link_mode       ANTSCACHE_LINK_MODE  --link-mode  auto, reflink, hardlink or symlink
timeout         ANTSCACHE_TIMEOUT    --timeout    seconds of silence after which a transfer has failed
pace            ANTSCACHE_PACE       --pace       seconds from one start at api.figshare.com to the next
mounted         ANTSCACHE_MOUNTED                 fetch only into a root that is on a mount of its own: what images set
baked                                             what an image holds: lower caches, whatever else is named

Secrets stand in the environment alone: ANTSCACHE_TOKENS, a blank between them, each `host=token`. So does
SOURCE_DATE_EPOCH, by which other programs go as well.
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
from antscache.disk import is_mounted, outlives
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
    "mounted": "ANTSCACHE_MOUNTED",
}
TOKENS = "ANTSCACHE_TOKENS"
SOURCE_DATE = "SOURCE_DATE_EPOCH"
LATEST = 2**32 - 1  # seconds since 1970, which is what a squashfs can say
SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings in force.

    Attributes:
        root: absolute; it need not exist yet.
        site_dirs: absolute; they need not be there.
        jobs: files under way at once.
        timeout: seconds of silence after which a connection or a transfer has failed.
        pace: seconds from one start at api.figshare.com to the next, by all processes on the root. Its documentation
            asks for no more than one request a second.
        mounted: nothing is fetched into a root that is gone with the container, and a root that a variable or a file
            names counts only if it is there, or would not be: variables leak in from hosts. If none is named or
            mounted, and `~/.keras` is a mount, which users make to keep what ANTsPyNet downloads, the root is in there.
        baked: lower caches below `site_dirs`, as an image has them; those that are not there are not missed. No flag or
            variable says them, so that none displaces what an image holds.
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
    mounted: bool = False
    baked: tuple[str, ...] = ()


def load(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `flags` (those that were given), `environ` and the configuration files add up to.

    Raises:
        ConfigError: a value cannot be used; the message names where it stands.
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
    usual = _directory(directories, "user_cache_path")
    merged["root"] = flags.get("root") or _root(merged, installed.get("root"), usual)
    merged |= _checked({key: value for key, value in flags.items() if value not in (None, ())}, "the command line")
    if merged["root"] is None:
        hint = "name a root with --root or ANTSCACHE_DIR, or set HOME"
        raise ConfigError("you have no home that a root could be in", hint=hint)
    merged["root"] = _absolute(str(merged["root"]))
    merged["site_dirs"] = [_absolute(each) for each in merged.get("site_dirs", ())]
    merged["baked"] = [os.path.expanduser(each) for each in merged.get("baked", ())]  # noqa: PTH111  home or not
    return msgspec.convert(merged, Settings)


def _root(named: Mapping[str, Any], installed: str | None, usual: Path | None) -> str | Path | None:
    """The root that is `named`, or the installation's, or the usual one.

    In a container it is one that outlives it, if there is one: named, the installation's, or in `~/.keras`, which users
    mount to keep what is downloaded (`docker run -v DIR:/home/antspyuser/.keras`).
    """
    root = named.get("root")
    if not named.get("mounted"):
        return root or installed or usual
    if root and ((there := Path(_absolute(root))).is_dir() or outlives(there)):
        return there
    if not (installed and outlives(Path(installed))):
        with suppress(RuntimeError):
            keras = Path.home() / ".keras"
            if is_mounted(keras) and os.access(keras, os.W_OK):
                return keras / "antscache"
    return installed or usual


def _directory(directories: platformdirs.PlatformDirs, name: str) -> Path | None:
    """One of the platform's directories; None where the user has no home that it would be in."""
    try:
        found: Path = getattr(directories, name)
    except RuntimeError:
        return None
    return found if found.is_absolute() else None  # older platformdirs leave `~` in it


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:
        raise ConfigError(f"{path} is in a home that is not there", hint="write the whole path, or set HOME") from None


def tokens(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The tokens of mirrors, by host or host:port.

    Raises:
        ConfigError: the variable is not `host=token`, blank between them; the message holds none of it.
    """
    found = {}
    for pair in environ.get(TOKENS, "").split():
        host, separator, token = pair.partition("=")
        if not (host and separator and token and token.isascii() and token.isprintable()):
            raise ConfigError(f"the environment ({TOKENS}) is not what it should be", hint="write host=token")
        found[host.lower()] = token
    return found


def source_date(environ: Mapping[str, str] = os.environ) -> int:
    """The time that what is exported is of, in seconds since 1970.

    As https://reproducible-builds.org/specs/source-date-epoch/ has it, and 0 without.

    Raises:
        ConfigError: the variable is no such number.
    """
    text = environ.get(SOURCE_DATE) or "0"
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > LATEST:
        hint = "write the seconds since 1970, as `date +%s` does, or unset it"
        raise ConfigError(f"the environment ({SOURCE_DATE}) is not a time: {text!r}", hint=hint)
    return int(text)


def _file(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        if isinstance(error, PermissionError) and not os.path.lexists(path):
            return {}  # a home that is not ours to look into, as in a container that runs as any user
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
        raise ConfigError(f"{where}: {error}", hint=f"known keys are {', '.join(VARIABLES)}") from None
    return values


def written(flags: Mapping[str, Any]) -> dict[str, str]:
    """`flags` as environment variables say the same."""
    made = {}
    for key, value in flags.items():
        if isinstance(value, tuple | list):
            made[VARIABLES[key]] = (os.pathsep if key == "site_dirs" else " ").join(value)
        elif value is not None:
            made[VARIABLES[key]] = str(int(value) if isinstance(value, bool) else value)
    return made


def _parsed(key: str, text: str) -> Any:
    """The text of an environment variable as the value it writes; what it cannot be stays text, and is refused."""
    if key in {"offline", "mounted"}:
        return SWITCH.get(text.lower(), text)
    if key in {"mirrors", "origins"}:
        return text.split()
    if key == "site_dirs":
        return [each for each in text.split(os.pathsep) if each]
    if key in {"jobs", "timeout", "pace"}:
        try:
            return int(text) if key == "jobs" else float(text)
        except ValueError:
            return text
    return text
