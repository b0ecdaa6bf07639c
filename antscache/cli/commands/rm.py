"""`antscache rm`: take a release out of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, one_release, release_of, shared

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("release", required=False)
@one_release
@click.option("-f", "--force", is_flag=True, help="Remove the selections of other users as well.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the names to remove, and do nothing.")
@as_json
@shared
@click.pass_obj
def rm(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    force: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Take a release out of use.

    Removes its view. A later gc deletes the files that no other release needs. Files in the view that antscache did
    not put there are kept and listed.
    """
    cache = invocation.cache()
    named = release_of(cache, release, source, python)
    removed = cache.remove(named, force=force, dry_run=dry_run)
    for name in removed.kept:
        invocation.say(f"kept {removed.home / name}, which is another user's, or not antscache's")
    if removed.others:
        invocation.say(f"{named} stays in use: other users selected it ({removed.others})")
    if json:
        facts = {"release": str(named), "removed": removed.names, "kept": removed.kept, "own": removed.own}
        render.print_json(facts)
        return
    if dry_run:
        render.print_table(("remove", name) for name in removed.names)
    outcome = "would be removed" if dry_run else "removed"
    render.print_line(f"{named}: {render.files(len(removed.names))} {outcome} from its view")
    if removed.own:
        when = "then frees" if dry_run else "frees"
        size = render.size(removed.own)
        invocation.say(f"hint: `antscache gc --now` {when} {size} that no other release needs; without --now, in a day")
