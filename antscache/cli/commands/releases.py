"""`antscache releases`: list the releases with a manifest at hand."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared


@click.command()
@as_json
@shared
@click.pass_obj
def releases(invocation: Invocation, json: bool) -> None:
    """List the releases with a manifest at hand.

    If you name another release, antscache reads it from the package index.
    """
    cache = invocation.cache()
    rows = []
    for release in cache.catalog.releases():
        entries = cache.manifest(release).entries
        rows.append((str(release), len(entries), sum(entry.identifier is None for entry in entries)))
    if json:
        render.print_json([{"release": name, "entries": count, "unavailable": never} for name, count, never in rows])
        return
    render.print_table(
        (name, f"{count} entries", f"{never} unavailable" if never else "") for name, count, never in rows
    )
