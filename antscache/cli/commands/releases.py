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
        manifest = cache.manifest(release)
        never = sum(entry.reason is not None for entry in manifest.entries)
        problems = sum(entry.problem is not None for entry in manifest.entries) + len(manifest.unread)
        rows.append((str(release), len(manifest.entries), never, problems))
    if json:
        keys = ("release", "entries", "unavailable", "unreadable")
        render.print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    render.print_table(
        (
            name,
            f"{count} entries",
            ", ".join([f"{never} unavailable"] * bool(never) + [f"{problems} unreadable"] * bool(problems)),
        )
        for name, count, never, problems in rows
    )
