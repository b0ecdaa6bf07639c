"""`antscache link`: put a release's files into a home outside the root."""

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
@click.option(
    "--home", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Make DIR a home with the files."
)
@click.option("--name", "names", multiple=True, metavar="NAME", help="Link only this entry; may be given again.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Link only entries of this kind.")
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
    home: Path,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    mode: Any,
    json: bool,
) -> None:
    """Put a release's files into a home outside the root.

    DIR suits an image, a container or another host: no link in it points out of DIR. Existing files are kept.
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
