"""The flags that verbs share, and the invocation they add up to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from antscache.errors import ConfigError

if TYPE_CHECKING:
    from antscache.cache import Cache
    from antscache.core import Kind, Manifest, Release

Function = TypeVar("Function", bound=Callable[..., Any])

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # seconds
KINDS: dict[str, Kind] = {"data": "data", "network": "network", "model": "network"}  # upstream says model


class IdentifierType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """`figshare:N`, or just the number."""

    name = "identifier"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the identifier that `value` writes."""
        from antscache.core import parse_identifier

        identifier = parse_identifier(value)
        if identifier is None:
            self.fail(f"{value!r} is not an identifier like figshare:34821874", param, ctx)
        return identifier


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """A number of seconds, or `90s`, `15m`, `2h`, `1d`, `2w`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds that `value` writes."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a time like 90s, 15m, 2h or 1d", param, ctx)
        return float(match[1]) * UNITS[match[2]]


@dataclass(slots=True)
class Invocation:
    """One run of the command line: the shared flags, wherever on the line they stood."""

    flags: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False
    debug: bool = False

    def cache(self) -> Cache:
        """Open the cache that the flags name."""
        from antscache.cache import Cache

        return Cache.open(**self.flags)

    def say(self, text: str) -> None:
        """Print `text` on stderr, unless --quiet."""
        if not self.quiet:
            click.echo(text, err=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Put the value of a shared flag where the command finds it; the last one on the line wins."""
    invocation = context.find_object(Invocation)
    if invocation is None or value is None or value is False or value == ():
        return
    if parameter.name in {"quiet", "debug"}:
        setattr(invocation, parameter.name, True)
    else:
        invocation.flags[str(parameter.name)] = value


def _option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    return click.option(*names, callback=_keep, expose_value=False, **attributes)


def shared(function: Function) -> Function:
    """Add the flags that every verb takes, before or behind its name."""
    root = _option("--root", metavar="DIR", help="The root. [ANTSCACHE_DIR; else the user's cache directory]")
    return root(shared_but_root(function))


def shared_but_root(function: Function) -> Function:
    """Add the flags that every verb takes, but for --root."""
    for option in reversed(
        (
            _option(
                "--site-dir",
                "site_dirs",
                multiple=True,
                metavar="DIR",
                help="A lower cache: read, never written. [ANTSCACHE_SITE_DIRS]",
            ),
            _option("--offline", is_flag=True, help="Open no socket. [ANTSCACHE_OFFLINE]"),
            _option("-q", "--quiet", is_flag=True, help="Print data and errors only."),
            _option("--debug", is_flag=True, help="Show the traceback of an error."),
        )
    ):
        function = option(function)
    return function


def fetching(function: Function) -> Function:
    """Add the flags of verbs that fetch and link."""
    modes = click.Choice(["auto", "reflink", "hardlink", "symlink"])
    for option in reversed(
        (
            _option("-j", "--jobs", type=click.IntRange(1, 64), help="Files under way at once. [ANTSCACHE_JOBS; 8]"),
            _option("--mirror", "mirrors", multiple=True, metavar="URL", help="Try first. [ANTSCACHE_MIRRORS]"),
            _option(
                "--origin", "origins", multiple=True, metavar="URL", help="Instead of Figshare. [ANTSCACHE_ORIGINS]"
            ),
            _option("--timeout", type=float, metavar="SECONDS", help="Of silence. [ANTSCACHE_TIMEOUT; 60]"),
            _option(
                "--pace",
                type=float,
                metavar="SECONDS",
                help="Between starts at api.figshare.com. [ANTSCACHE_PACE; 1]",
            ),
            _option("--link-mode", type=modes, help="How views lead to blobs. [ANTSCACHE_LINK_MODE; auto]"),
        )
    ):
        function = option(function)
    return function


def one_release(function: Function) -> Function:
    """Add the flags that name an installation or a source instead of a release."""
    for option in reversed(
        (
            click.option(
                "--from",
                "source",
                type=click.Path(path_type=Path),
                help="A source tree, wheel or sdist to read instead.",
            ),
            click.option("--python", type=click.Path(path_type=Path), help="The Python whose antspynet is meant."),
        )
    ):
        function = option(function)
    return function


def as_json(function: Function) -> Function:
    """Add the flag of verbs that print data."""
    return click.option("--json", "json", is_flag=True, help="Print JSON.")(function)


def manifest(cache: Cache, release: str | None, source: Path | None, python: Path | None) -> Manifest:
    """Return the manifest of what RELEASE, --from or --python names; without any, of the current environment.

    Raises:
        ConfigError: more than one of them is given.
    """
    given = [each for each in (release, source, python) if each is not None]
    if len(given) > 1:
        raise ConfigError(f"{given[0]} and {given[1]} both name a release", hint="give RELEASE, --from or --python")
    if release in {"antspynet", "antspyx"}:
        return cache.manifest(package=release)  # type: ignore[arg-type]  # narrowed by the set
    return cache.manifest(release, source=source, python=python)


def release_of(cache: Cache, release: str | None, source: Path | None, python: Path | None) -> Release:
    """Return the release as `manifest()` does, where its name is enough: one that is written out is not looked up."""
    from antscache.core import parse_release

    if release and source is None and python is None and release not in {"antspynet", "antspyx"}:
        return parse_release(release)
    return manifest(cache, release, source, python).release
