"""`antscache container-args`: print the options that let a container use this cache."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, from_index, manifest, one_release, shared
from antscache.errors import StoreError
from antscache.hook import ENGINES, HostAccess, find_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from antscache.cache import Cache
    from antscache.views import EntryLocation


@click.command("container-args")
@click.argument("engine", type=click.Choice(list(ENGINES)))
@click.argument("release", required=False)
@one_release
@from_index
@as_json
@shared
@click.pass_obj
def container_args(
    invocation: Invocation, engine: str, release: str | None, source: Path | None, python: Path | None, json: bool
) -> None:
    """Print the options that let a container use this cache.

    docker run $(antscache container-args docker RELEASE) IMAGE my_script.py

    The container gets the cache, its lower caches, the working directory, your user and an empty home, and nothing
    else of this host. The cache is read-only if RELEASE is complete. It is writable without RELEASE, or if files are
    missing. With --offline the container gets no network. Blanks in paths are quoted; a shell's eval reads them.
    """
    cache = invocation.cache()
    for unused in cache.unused:
        invocation.say(f"note: the lower cache {unused.directory} is not used: {unused.why}")
    lowers = tuple(lower.layout.root for lower in cache.store.lowers)
    known = manifest(cache, release, source, python) if release or source or python else None
    located = cache.locate(known) if known else ()
    missing = [location for location in located if not _is_reached(location, lowers)]
    prefetch = f"antscache prefetch {_named(release, source, python)}".rstrip()
    root = _root(cache, prefetch, needed=not known or bool(missing))
    fetching = root is not None and not cache.settings.offline and os.access(root, os.W_OK)
    if missing:
        _warn(invocation, located, missing, lowers, fetching=fetching, prefetch=prefetch)
    directory = _working_directory(invocation, [root, *lowers])
    host = HostAccess(
        root=root,
        writable=fetching and (not known or bool(missing)),
        lowers=lowers,
        directory=directory,
        user=os.geteuid(),
        group=os.getegid(),
        groups=_groups([root, *lowers, directory]),
        offline=cache.settings.offline,
    )
    _print(invocation, ENGINES[engine](host), json=json)


def _named(release: str | None, source: Path | None, python: Path | None) -> str:
    """Return the arguments that name this release on another command line."""
    if source:
        return f"--from {shlex.quote(str(source))}"
    return f"--python {shlex.quote(str(python))}" if python else release or ""


def _root(cache: Cache, prefetch: str, *, needed: bool) -> Path | None:
    """Return the root, or None if it does not exist and is not `needed`.

    Raises:
        StoreError: it does not exist, and it is needed.
    """
    root = cache.store.layout.root
    try:
        exists = cache.store.exists()
    except OSError:  # we may not look into it; lower caches work without it
        exists = False
    if not exists and needed:
        raise StoreError(f"there is no cache in {root}", hint=f"run `{prefetch}`, or `antscache init` for an empty one")
    if not exists:
        return None
    return root.resolve() if ".." in root.parts else root


def _is_reached(located: EntryLocation, lowers: Iterable[Path]) -> bool:
    """Return True if a container finds the file too."""
    return located.path is not None and _astray(located.path, lowers) is None


def _astray(path: Path, lowers: Iterable[Path]) -> Path | None:
    """Return the cache that a view's `path` links into, if that cache is not mounted; else None."""
    target = path.readlink() if path.is_symlink() else Path()
    if not target.is_absolute() or any(target.is_relative_to(lower) for lower in lowers):
        return None
    return target.parent.parent.parent  # of blobs/sha256/<hex>


def _warn(
    invocation: Invocation,
    located: Sequence[EntryLocation],
    missing: Sequence[EntryLocation],
    lowers: Sequence[Path],
    *,
    fetching: bool,
    prefetch: str,
) -> None:
    """Warn of the files of a release that a container does not find."""
    release = missing[0].release
    if astray := next(
        (cache for location in missing if location.path and (cache := _astray(location.path, lowers))), None
    ):
        problem = f"files of {release} are links into {astray}, which is not mounted: no lower cache has this path"
        invocation.say(f"warning: {problem}", hint=f"add it with --site-dir {shlex.quote(str(astray))}")
    if absent := [location.file for location in missing if location.path is None]:
        missing_files = f"{len(absent)} of {render.files(len(located))} of {release} missing, such as {absent[0]}"
        consequence = (
            "the cache is writable, and they are fetched on request" if fetching else "asking for them is an error"
        )
        invocation.say(f"warning: {missing_files}: {consequence}", hint=f"run `{prefetch}`")


def _working_directory(invocation: Invocation, caches: Iterable[Path | None]) -> Path | None:
    """Return the working directory under the shell's name for it, or None if a container cannot have it."""
    try:
        directory = Path.cwd()
    except OSError:
        invocation.say("note: the working directory is not mounted: it no longer exists")
        return None
    named = Path(os.environ.get("PWD", ""))
    if named.is_absolute() and ".." not in named.parts and named.exists() and named.samefile(directory):
        directory = named
    real = directory.resolve()
    inside = next((cache for cache in caches if cache and real.is_relative_to(cache.resolve())), None)
    reason = f"it is in the cache {inside}" if inside else None
    if own := find_hidden(directory):
        reason = f"the container has its own {own}"
    if reason:
        invocation.say(f"note: the working directory {directory} is not mounted: {reason}")
    return None if reason else directory


def _groups(paths: Iterable[Path | None]) -> tuple[int, ...]:
    """Return your supplementary groups that some of `paths` belong to."""
    others = {*os.getgroups()} - {os.getegid()}
    return tuple(sorted({path.stat().st_gid for path in paths if path} & others))


def _print(invocation: Invocation, words: Sequence[str], *, json: bool) -> None:
    if json:
        render.print_json(words)
        return
    line = shlex.join(words)
    render.print_for_programs(line)
    if line != " ".join(words):
        invocation.say('note: some words are quoted; write eval "COMMAND $(antscache container-args ...) IMAGE ..."')
