"""The flags that verbs share, and the invocation that keeps their values."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from antscache.cli.render import print_line
from antscache.core import KIND_WORDS, Choice, escape, parse_kinds
from antscache.errors import ConfigError

if TYPE_CHECKING:
    from antscache.cache import Cache
    from antscache.core import Manifest, Release

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_NAMES_BYTES = 1 << 20  # read from standard input: 100 times the names of a release
SECONDS_PER_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
ROOT_HELP = "Use DIR as the root. [env: ANTSCACHE_DIR; default: the user's cache directory]"


class IdentifierType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """`figshare:N`, just the number, or `url:URL`."""

    name = "identifier"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse `value` as an identifier."""
        from antscache.core import parse_identifier

        identifier = parse_identifier(value)
        if identifier is None:
            self.fail(f"{value!r} is not an identifier like figshare:34821874 or url:https://HOST/FILE", param, ctx)
        return identifier


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """A number of seconds, or `90s`, `15m`, `2h`, `1d`, `2w`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse `value` as a duration, and return its seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a time like 90s, 15m, 2h or 1d", param, ctx)
        return float(match[1]) * SECONDS_PER_UNIT[match[2]]


@dataclass(slots=True)
class Invocation:
    """The shared flags of one command line, before and behind the verb.

    Attributes:
        flags: settings by their names.
        quiet: True if only data and errors are printed.
        debug: True if an error shows its traceback.
        printer: prints a line above the bars while some are drawn; else None.
    """

    flags: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False
    debug: bool = False
    printer: Callable[[str], None] | None = None

    def cache(self) -> Cache:
        """Open the cache that the flags name."""
        from antscache.cache import Cache

        return Cache.open(**self.flags)

    def say(self, line: str, *, hint: str = "") -> None:
        """Print `line` on stderr, and a line with the hint if there is one, unless --quiet."""
        if not self.quiet:
            for each in (line, *([f"hint: {hint}"] if hint else [])):
                if self.printer:
                    self.printer(escape(each))
                else:
                    print_line(each, err=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep the value of a shared flag in the invocation; the last one on the line wins."""
    invocation = context.find_object(Invocation)
    if invocation is None or value is None or value is False or value == ():
        return
    if parameter.name in {"quiet", "debug"}:
        setattr(invocation, parameter.name, True)
    else:
        invocation.flags[str(parameter.name)] = value


def _option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    """Make an option whose value goes into the invocation, and not to the command."""
    return click.option(*names, callback=_keep, expose_value=False, **attributes)


def shared(function: Function) -> Function:
    """Add the flags that every verb takes, before or behind its name."""
    root = _option("--root", metavar="DIR", help=ROOT_HELP)
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
                help="Read DIR as a lower cache; may be given again. [env: ANTSCACHE_SITE_DIRS]",
            ),
            _option("--offline", is_flag=True, help="Open no socket. [env: ANTSCACHE_OFFLINE]"),
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
            _option(
                "-j",
                "--jobs",
                type=click.IntRange(1, 64),
                metavar="N",
                help="Fetch up to N files at once. [env: ANTSCACHE_JOBS; default: 8]",
            ),
            _option(
                "--mirror",
                "mirrors",
                multiple=True,
                metavar="URL",
                help="Try this URL template first; may be given again. [env: ANTSCACHE_MIRRORS]",
            ),
            _option(
                "--origin",
                "origins",
                multiple=True,
                metavar="URL",
                help="Ask this URL template, not Figshare; may be given again. [env: ANTSCACHE_ORIGINS]",
            ),
            _option(
                "--timeout",
                type=float,
                metavar="SECONDS",
                help="Give up after this long without data. [env: ANTSCACHE_TIMEOUT; default: 60]",
            ),
            _option(
                "--pace",
                type=float,
                metavar="SECONDS",
                help="Wait this long between requests to api.figshare.com. [env: ANTSCACHE_PACE; default: 1]",
            ),
            _option(
                "--strict",
                is_flag=True,
                help="Refuse every finding in a file, also one that can do no harm. [env: ANTSCACHE_STRICT]",
            ),
            _option(
                "--link-mode",
                type=modes,
                help="Link views to blobs in this way. [env: ANTSCACHE_LINK_MODE; default: auto]",
            ),
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
                help="Read the release from this source tree, wheel or sdist.",
            ),
            click.option(
                "--python", type=click.Path(path_type=Path), help="Take the release that is installed for this Python."
            ),
        )
    ):
        function = option(function)
    return function


def from_index(function: Function) -> Function:
    """Add the flag of verbs that may read a release from the package index."""
    return _option(
        "--allow-build",
        "allow_build",
        is_flag=True,
        help="Let pip build a release without a wheel: this runs its code. [env: ANTSCACHE_ALLOW_BUILD]",
    )(function)


def of_kind(verb: str) -> Callable[[Function], Function]:
    """Make the flag of a command that can `verb` entries of some kinds alone."""
    words = click.Choice(list(KIND_WORDS))
    return click.option(
        "--kind", "kinds", multiple=True, type=words, help=f"{verb} only entries of this kind; may be given again."
    )


def choosing(verb: str) -> Callable[[Function], Function]:
    """Make the flags of a command that can `verb` some entries alone; it gets them as its argument `choice`."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_choice(
            *arguments: Any,
            names: tuple[str, ...],
            name_lists: tuple[Path, ...],
            kinds: tuple[str, ...],
            calls: tuple[str, ...],
            **others: Any,
        ) -> Any:
            listed = tuple(name for path in name_lists for name in _read_names(path))
            if name_lists and not listed:
                raise ConfigError(f"no names in {', '.join(map(str, name_lists))}", hint="write one name on each line")
            return function(*arguments, choice=Choice(calls, (*names, *listed), parse_kinds(kinds)), **others)

        command: Any = with_choice
        for option in reversed(
            (
                click.option(
                    "--for",
                    "calls",
                    multiple=True,
                    metavar="CALL",
                    help=f"{verb} what a function needs: FUNCTION or FUNCTION:ARGUMENT=VALUE,...; may be given again.",
                ),
                click.option(
                    "--name",
                    "names",
                    multiple=True,
                    metavar="NAME",
                    help=f"{verb} only this entry, or all that match 'NAME*'; may be given again.",
                ),
                click.option(
                    "--names-from",
                    "name_lists",
                    multiple=True,
                    type=click.Path(path_type=Path),
                    metavar="FILE",
                    help=f"{verb} the names in FILE, one on each line; `-` is standard input.",
                ),
                of_kind(verb),
            )
        ):
            command = option(command)
        return command  # type: ignore[no-any-return]

    return decorate


def _read_names(path: Path) -> tuple[str, ...]:
    """Return the names in `path`.

    Raises:
        ConfigError: the file cannot be read, or is no text.
    """
    from antscache import disk
    from antscache.core import parse_name_list

    try:
        content = sys.stdin.buffer.read(MAX_NAMES_BYTES) if str(path) == "-" else disk.read(path, follow=True)
        return parse_name_list(content.decode())
    except (OSError, *disk.DECODE_ERRORS) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path}: {reason}", hint="give a text file with one name on each line") from None


def say_needed(invocation: Invocation, manifest: Manifest, choice: Choice) -> None:
    """Say what is open in what the functions of `manifest` need."""
    from antscache.core import find_needed

    for remark in find_needed(manifest, choice.functions).remarks():
        invocation.say(f"note: {remark}")


def locking(text: str) -> Callable[[Function], Function]:
    """Make the flag of a command that can follow a lockfile; its help is `text`."""
    return click.option("--lock", "lockfile", type=click.Path(path_type=Path), metavar="FILE", help=text)


def as_json(function: Function) -> Function:
    """Add the flag of verbs that print data."""
    return click.option("--json", "json", is_flag=True, help="Print JSON.")(function)


def in_formats(*formats: str) -> Callable[[Function], Function]:
    """Make the flags of a command that prints data in one of `formats`, by default the first: --format, and --json.

    The command gets it as `format_`; --json is short for --format json.
    """
    words = click.Choice(formats)

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def call(*arguments: Any, format_: str | None, json: bool, **others: Any) -> object:
            if json and format_ not in {None, "json"}:
                raise click.UsageError(f"--json and --format {format_} contradict each other: give one of them")
            return function(*arguments, format_="json" if json else format_ or formats[0], **others)

        option = click.option("--format", "format_", type=words, help=f"Print in this format. [default: {formats[0]}]")
        return option(as_json(call))  # type: ignore[return-value]

    return add


def manifest(
    cache: Cache, release: str | None, source: Path | None, python: Path | None, *, functions: bool = False
) -> Manifest:
    """Return the manifest of the release that RELEASE, --from or --python names, or else of the current environment.

    With `functions`, it has the needs of the release's functions.

    Raises:
        ConfigError: more than one of them is given.
    """
    names = [name for name in (release, source, python) if name is not None]
    if len(names) > 1:
        raise ConfigError(
            f"{names[0]} and {names[1]} both name a release", hint="give one of RELEASE, --from, --python"
        )
    if release in {"antspynet", "antspyx"}:
        return cache.manifest(package=release, functions=functions)  # type: ignore[arg-type]  # narrowed by the set
    return cache.manifest(release, source=source, python=python, functions=functions)


def release_of(cache: Cache, release: str | None, source: Path | None, python: Path | None) -> Release:
    """Return the release that RELEASE, --from or --python names. One that is written out is not read."""
    if release and source is None and python is None and release not in {"antspynet", "antspyx"}:
        return cache.release(release)
    return manifest(cache, release, source, python).release
