"""`antscache container-args`: print the options with which a container uses this cache."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, manifest, one_release, shared
from antscache.errors import StoreError
from antscache.hook import ENGINES, HostAccess, hides

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from antscache.cache import Cache
    from antscache.views import EntryLocation


@click.command("container-args")
@click.argument("engine", type=click.Choice(list(ENGINES)))
@click.argument("release", required=False)
@one_release
@as_json
@shared
@click.pass_obj
def container_args(
    invocation: Invocation, engine: str, release: str | None, source: Path | None, python: Path | None, json: bool
) -> None:
    """Print the options with which ENGINE has a container use this cache, and nothing else of this host.

    docker run $(antscache container-args docker RELEASE) IMAGE my_script.py

    The container has the cache, its lower caches, the working directory, your user and an empty home. If RELEASE is
    complete the cache is read-only; without RELEASE, or if something is missing, it is writable. --offline leaves the
    container no network. Blanks in paths are quoted: for a shell's eval.
    """
    cache = invocation.cache()
    for unused in cache.unused:
        invocation.say(f"note: the lower cache {unused.directory} is not used: {unused.why}")
    lowers = tuple(lower.layout.root for lower in cache.store.lowers)
    known = manifest(cache, release, source, python) if release or source or python else None
    located = cache.locate(known) if known else ()
    missing = [each for each in located if not _is_reached(each, lowers)]
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
    """Return the arguments that name the release, for another command."""
    if source:
        return f"--from {shlex.quote(str(source))}"
    return f"--python {shlex.quote(str(python))}" if python else release or ""


def _root(cache: Cache, prefetch: str, *, needed: bool) -> Path | None:
    """Return the root; None if there is none, and none is needed.

    Raises:
        StoreError: there is none, and one is needed.
    """
    root = cache.store.layout.root
    try:
        there = cache.store.exists()
    except OSError:  # it may not be looked into, and lower caches can do without it
        there = False
    if not there and needed:
        raise StoreError(f"no cache is in {root}", hint=f"run `{prefetch}`, or `antscache init` for an empty one")
    if not there:
        return None
    return root.resolve() if ".." in root.parts else root


def _is_reached(located: EntryLocation, lowers: Iterable[Path]) -> bool:
    """Return whether a container finds the file as well."""
    return located.path is not None and _astray(located.path, lowers) is None


def _astray(path: Path, lowers: Iterable[Path]) -> Path | None:
    """Return the cache that a view's `path` leads into, if a container has nothing under that name."""
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
    """Warn of the files of a release that a container will not find."""
    release = missing[0].release
    if astray := next((found for each in missing if each.path and (found := _astray(each.path, lowers))), None):
        what = f"files of {release} are links into {astray}, which is not mounted: no lower cache is named so"
        invocation.say(f"warning: {what}\nhint: name it so, with --site-dir {shlex.quote(str(astray))}")
    if absent := [each.file for each in missing if each.path is None]:
        some = f"{len(absent)} of {render.files(len(located))} of {release} missing, such as {absent[0]}"
        then = "the cache is writable, and what is asked for is fetched" if fetching else "to ask for them is an error"
        invocation.say(f"warning: {some}: {then}\nhint: run `{prefetch}`")


def _working_directory(invocation: Invocation, caches: Iterable[Path | None]) -> Path | None:
    """Return the working directory as the shell names it, if a container can have it."""
    try:
        directory = Path.cwd()
    except OSError:
        invocation.say("note: the working directory is not mounted: it is gone")
        return None
    named = Path(os.environ.get("PWD", ""))
    if named.is_absolute() and ".." not in named.parts and named.exists() and named.samefile(directory):
        directory = named
    real = directory.resolve()
    why = next((f"it is in the cache {each}" for each in caches if each and real.is_relative_to(each.resolve())), None)
    if own := hides(directory):
        why = f"the container has its own {own}"
    if why:
        invocation.say(f"note: the working directory {directory} is not mounted: {why}")
    return None if why else directory


def _groups(paths: Iterable[Path | None]) -> tuple[int, ...]:
    """Return your groups that some of `paths` belong to, but for your first one."""
    others = {*os.getgroups()} - {os.getegid()}
    return tuple(sorted({path.stat().st_gid for path in paths if path} & others))


def _print(invocation: Invocation, words: Sequence[str], *, json: bool) -> None:
    if json:
        render.print_json(words)
        return
    line = shlex.join(words)
    click.echo(line)
    if line != " ".join(words):
        invocation.say('note: some words are quoted: write eval "COMMAND $(antscache container-args ...) IMAGE ..."')
