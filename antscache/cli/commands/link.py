"""`antscache link`: make a release's view in a directory outside the root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from antscache.cli import render
from antscache.cli.options import KINDS, Invocation, as_json, one_release, release_of, shared
from antscache.core import home_directory


@click.command()
@click.argument("release", required=False)
@one_release
@click.option("--home", required=True, type=click.Path(path_type=Path), help="The directory to make a home of.")
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only this entry; may be given again.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only this kind.")
@click.option("--mode", type=click.Choice(["auto", "reflink", "hardlink", "copy"]), default="auto", help="How to link.")
@as_json
@shared
@click.pass_obj
def link(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    home: Path,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    mode: Any,
    json: bool,
) -> None:
    """Materialise a release's view in DIR, for an image, a container's home or another host.

    Nothing in DIR points out of it. What is there already is kept.
    """
    cache = invocation.cache()
    named = release_of(cache, release, source, python)
    home = home.absolute()
    entries = cache.selected(named, names=names, kinds=[KINDS[kind] for kind in kinds])
    linked = cache.link(entries, home / home_directory(named.package), mode)
    made = sum(linked.modes.values())
    invocation.say(f"{named}: {render.files(made)} linked, {linked.intact} already there")
    render.say_how_linked(invocation, linked)
    if json:
        render.print_json({"release": str(named), "home": str(home), "linked": made, "already": linked.intact})
    else:
        click.echo(home)
