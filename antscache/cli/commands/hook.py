"""`antscache hook`: switch the hook on or off in an environment, and answer its requests (hidden: entries, fetch)."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.lazy_group import HintingGroup
from antscache.cli.options import Invocation, as_json, fetching, shared
from antscache.core import PACKAGES, Manifest, Remarked, parse_release, select, with_optional
from antscache.errors import ConfigError, ManifestError, Offline
from antscache.views import EntryLocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from antscache.cache import Cache
    from antscache.core import Event, Package, Release
    from antscache.hook import HookStatus
    from antscache.operations import FollowedLock


@click.group("hook", cls=HintingGroup)
def group() -> None:
    """Make an environment's ANTsPyNet use its own view.

    `enable` writes one file into site-packages, and `disable` removes it. The hook works in every process of the
    environment. ANTSCACHE_HOOK=0 switches it off for one process.
    """


def _environment_flags(function: Any) -> Any:
    """Add the flags that enable, disable and status share."""
    python = click.option("--python", type=click.Path(path_type=Path), help="Choose the environment of this Python.")
    return python(as_json(shared(click.pass_obj(function))))


@group.command()
@_environment_flags
def enable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook on in an environment.

    The environment is that of --python, or the current one.
    """
    from antscache import hook

    _report(invocation, hook.enable(_python(python)), json=json)


@group.command()
@_environment_flags
def disable(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Switch the hook off in an environment.

    The environment is that of --python, or the current one. No file of the hook is left in it.
    """
    from antscache import hook

    _report(invocation, hook.disable(_python(python)), json=json)


@group.command()
@_environment_flags
def status(invocation: Invocation, python: Path | None, json: bool) -> None:
    """Show if the hook is on in an environment.

    The environment is that of --python, or the current one. --json adds the antscache command that the hook calls.
    """
    from antscache import hook

    _report(invocation, hook.status(_python(python)), json=json)


def _python(python: Path | None) -> Path:
    """Return `python` if it is given, else the interpreter of the current environment."""
    from antscache.catalog import current_python

    return python or current_python()


def _report(invocation: Invocation, hooked: HookStatus, *, json: bool) -> None:
    target = hooked.target
    if json:
        command = target.command if target else ()
        facts = {"python": str(hooked.python), "file": str(hooked.file), "command": command}
        render.print_json({**facts, "works": bool(target) and not hooked.missing_file})
        return
    render.print_line(f"on for {hooked.python}: {hooked.file}" if target else f"off for {hooked.python}")
    if hooked.missing_file:
        invocation.say(f"warning: {hooked.missing_file} no longer exists", hint="run `antscache hook enable` again")


# The requests of the hook


@group.command(hidden=True)
@click.argument("package", type=click.Choice(PACKAGES))
@click.argument("directory", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def entries(invocation: Invocation, package: Package, directory: Path) -> None:
    """Print the entries of the PACKAGE in DIRECTORY as JSON, with their paths.

    Those that cannot be fetched have no identifier.
    """
    cache = invocation.cache()
    with _way_out():
        manifest = _manifest_of(cache, package, directory)
        located = cache.locate(manifest)
        if not located:
            raise ManifestError(f"no name of {manifest.release} has a URL", hint=f"check the package in {directory}")
    never = [entry for entry in manifest.entries if entry.reason]
    optional = tuple(entry for entry in with_optional(manifest).entries if entry not in manifest.entries)
    located += cache.locate(Manifest(manifest.release, optional))
    if lock := _followed_lock(manifest.release):  # a file without a path is asked for by `fetch`, which refuses it
        located = tuple(each if lock.allows(each) else replace(each, path=None) for each in located)
    _print([*located, *(EntryLocation.of(manifest.release, entry) for entry in never)])


@group.command(hidden=True)
@click.argument("package", type=click.Choice(PACKAGES))
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("kind", type=click.Choice(["data", "network", "keras"]))
@click.argument("name")
@click.option("--to", "place", type=click.Path(path_type=Path), help="Use a whole file there, or put the file there.")
@fetching
@shared
@click.pass_obj
def fetch(invocation: Invocation, package: Package, directory: Path, kind: Any, name: str, place: Path | None) -> None:
    """Fetch one entry, and print its path as JSON."""
    cache = invocation.cache()
    said = set[str]()

    def listen(event: Event) -> None:
        if isinstance(event, Remarked) and event.text not in said:
            said.add(event.text)
            invocation.say(f"note: {event.text}", hint=event.hint)

    with _way_out():
        manifest = _manifest_of(cache, package, directory)
        offered = with_optional(manifest)
        entry = next((entry for entry in offered.entries if (entry.kind, entry.name) == (kind, name)), None)
        if entry is None:
            (entry,) = select(offered, [name], [kind])  # raises the error for such a name
    lock = _followed_lock(manifest.release)
    if lock:
        lock.check_named(entry)
    with _way_out():
        try:
            location = cache.provide(manifest, entry, place=place, listen=listen)
        except Offline as error:
            if cache.catalog.find(manifest.release):
                raise
            command = f"antscache prefetch --from {shlex.quote(str(directory))} --name {name}"
            raise Offline(str(error), hint=f"run `{command}` where there is network access") from None
    if lock:
        lock.check_bytes(location)
    _print([location])


@contextmanager
def _way_out() -> Iterator[None]:
    """Add to the error of a source that antscache cannot read how to run without the hook."""
    try:
        yield
    except ManifestError as error:
        hint = f"{error.hint}; or go without antscache: ANTSCACHE_HOOK=0"
        raise ManifestError(str(error), hint=hint) from None


def _print(located: Iterable[EntryLocation]) -> None:
    """Print `located` as the JSON that `inject/antscache_getters.py` reads: in ASCII, whatever bytes a path has."""
    facts = (
        {**asdict(location), "release": str(location.release), "path": location.path and str(location.path)}
        for location in located
    )
    render.print_json(list(facts))


def _manifest_of(cache: Cache, package: Package, directory: Path) -> Manifest:
    """Return the manifest of the release that the user names, or else of the installation in `directory`."""
    release = _requested_release()
    if release and release.package == package:
        return cache.manifest(release)
    return cache.catalog.source(directory, package)


def _followed_lock(release: Release) -> FollowedLock | None:
    """Return the part of `antscache run --lock FILE` for `release`; None if no lockfile is followed."""
    from antscache.hook import LOCK_VARIABLE
    from antscache.operations import follow_lock

    path = os.environ.get(LOCK_VARIABLE)
    return follow_lock(Path(path), release) if path else None


def _requested_release() -> Release | None:
    from antscache.hook import RELEASE_VARIABLE

    try:
        return parse_release(os.environ[RELEASE_VARIABLE]) if os.environ.get(RELEASE_VARIABLE) else None
    except ManifestError as error:
        raise ConfigError(f"the environment ({RELEASE_VARIABLE}): {error}", hint=error.hint) from None
