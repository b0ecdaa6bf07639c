"""`antscache link`: put a release's files into a home or a directory outside the root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, choosing, one_release, release_of, shared

if TYPE_CHECKING:
    from antscache.core import Choice


@click.command()
@click.argument("release", required=False)
@one_release
@click.option("--home", metavar="DIR", type=click.Path(path_type=Path), help="Make DIR a home with the files.")
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Put the files into DIR itself, as for set_antsxnet_cache_directory(DIR).",
)
@choosing("Link")
@click.option(
    "--mode", type=click.Choice(["auto", "reflink", "hardlink", "copy"]), default="auto", help="Link in this way."
)
@as_json
@shared
@click.pass_obj
def link(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    home: Path | None,
    directory: Path | None,
    choice: Choice,
    mode: Any,
    json: bool,
) -> None:
    """Put a release's files into a place outside the root.

    DIR suits an image, a container or another host: no link in it points out of DIR. Existing files are kept.
    """
    target = home or directory
    if target is None or (home and directory):
        raise click.UsageError("give --home DIR or --directory DIR")
    cache = invocation.cache()
    named = release_of(cache, release, source, python)
    target = target.absolute()
    names = choice.names_in(cache.manifest(named)) if choice.functions else choice.names
    entries = cache.selected(named, names=names, kinds=choice.kinds)
    linked = cache.link(entries, target, mode, home_of=named.package if home else None)
    made = sum(linked.modes.values())
    invocation.say(f"{named}: {render.files(made)} linked, {linked.intact} already there")
    render.say_how_linked(invocation, linked)
    if json:
        place = {"home" if home else "directory": str(target)}
        render.print_json({"release": str(named), **place, "linked": made, "already": linked.intact})
    else:
        render.print_path(target)
