"""`antscache show`: show the file and the identifier of a name in each release."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared


@click.command()
@click.argument("name")
@as_json
@shared
@click.pass_obj
def show(invocation: Invocation, name: str, json: bool) -> None:
    """Show what NAME is in every release at hand."""
    from antscache.core import unknown_names

    catalog = invocation.cache().catalog
    manifests = [found for found in map(catalog.find, catalog.releases()) if found]
    entries = [(each.release, entry) for each in manifests for entry in each.entries if entry.name == name]
    if not entries:
        known = {entry.name for each in manifests for entry in each.entries}
        raise unknown_names([name], known, "any release at hand")
    if json:
        keys = ("kind", "name", "file", "identifier", "reason")
        render.print_json([{"release": str(r)} | {key: getattr(entry, key) for key in keys} for r, entry in entries])
        return
    render.print_table(
        (str(release), entry.kind, entry.file, entry.identifier or f"unavailable: {entry.reason}")
        for release, entry in entries
    )
