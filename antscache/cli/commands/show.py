"""`antscache show`: show the file and the identifier of a name in each release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared

if TYPE_CHECKING:
    from antscache.core import Entry


@click.command()
@click.argument("name")
@as_json
@shared
@click.pass_obj
def show(invocation: Invocation, name: str, json: bool) -> None:
    """Show the file and identifier of a name in each release.

    Shows "adopted" where your word alone says that the file held is this one, and what was found in it.
    """
    from antscache.core import unknown_names, with_optional

    cache = invocation.cache()
    catalog = cache.catalog
    manifests = [with_optional(manifest) for manifest in map(catalog.find, catalog.releases()) if manifest]
    entries = [(manifest.release, entry) for manifest in manifests for entry in manifest.entries if entry.name == name]
    if not entries:
        known = {entry.name for manifest in manifests for entry in manifest.entries}
        raise unknown_names([name], known, "any known release", "RELEASE")
    records = cache.records(entry for _, entry in entries)
    if json:
        keys = ("kind", "name", "file", "identifier", "reason", "problem")
        render.print_json(
            [
                {"release": str(release)}
                | {key: getattr(entry, key) for key in keys}
                | render.doubt_facts(records.get(str(entry.identifier)))
                for release, entry in entries
            ]
        )
        return
    render.print_table(
        (
            str(release),
            entry.kind,
            entry.file,
            entry.identifier or _why_none(entry),
            render.doubts(records.get(str(entry.identifier))),
        )
        for release, entry in entries
    )


def _why_none(entry: Entry) -> str:
    return f"unavailable: {entry.reason}" if entry.reason else f"unreadable: {entry.problem}"
