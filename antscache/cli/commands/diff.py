"""`antscache diff`: compare the entries of two releases."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, from_index, manifest, shared


@click.command()
@click.argument("old", metavar="RELEASE_A")
@click.argument("new", metavar="RELEASE_B")
@from_index
@as_json
@shared
@click.pass_obj
def diff(invocation: Invocation, old: str, new: str, json: bool) -> None:
    """Compare the entries of two releases.

    Marks names that RELEASE_B adds (+), removes (-) or gives other bytes (~).
    """
    from antscache.core import find_changes

    cache = invocation.cache()
    differences = find_changes(manifest(cache, old, None, None), manifest(cache, new, None, None))
    added = [change for change in differences if change.old is None]
    removed = [change for change in differences if change.new is None]
    changed = [(c.kind, c.name, c.old.identifier, c.new.identifier) for c in differences if c.old and c.new]
    if json:
        render.print_json(
            {
                "added": [{"kind": c.kind, "name": c.name, "identifier": c.new and c.new.identifier} for c in added],
                "removed": [
                    {"kind": c.kind, "name": c.name, "identifier": c.old and c.old.identifier} for c in removed
                ],
                "changed": [{"kind": k, "name": n, "old": before, "new": after} for k, n, before, after in changed],
            }
        )
        return
    rows = [("+", c.kind, c.name, str(c.new and c.new.identifier)) for c in added]
    rows += [("-", c.kind, c.name, str(c.old and c.old.identifier)) for c in removed]
    rows += [("~", kind, name, f"{before} -> {after}") for kind, name, before, after in changed]
    render.print_table(rows)
    invocation.say(f"{len(added)} added, {len(removed)} removed, {len(changed)} changed")
