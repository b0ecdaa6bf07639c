"""`antscache diff`: compare the entries of two releases."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, from_index, manifest, shared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.core import Change


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
    if json:
        render.print_json(change_facts(differences))
    else:
        print_changes(differences)
        invocation.say(count_changes(differences))


def count_changes(differences: Iterable[Change]) -> str:
    """Return the number of additions, removals and changes: "1 added, 0 removed, 2 changed"."""
    signs = Counter(_sign(change) for change in differences)
    return f"{signs['+']} added, {signs['-']} removed, {signs['~']} changed"


def change_facts(differences: Iterable[Change]) -> dict[str, Any]:
    """Return `differences` for JSON."""
    differences = tuple(differences)
    added = [change for change in differences if change.old is None]
    removed = [change for change in differences if change.new is None]
    changed = [(c.kind, c.name, c.old.identifier, c.new.identifier) for c in differences if c.old and c.new]
    return {
        "added": [{"kind": c.kind, "name": c.name, "identifier": c.new and c.new.identifier} for c in added],
        "removed": [{"kind": c.kind, "name": c.name, "identifier": c.old and c.old.identifier} for c in removed],
        "changed": [{"kind": k, "name": n, "old": before, "new": after} for k, n, before, after in changed],
    }


def print_changes(differences: Iterable[Change]) -> None:
    """Print additions (+), then removals (-), then changes (~), a line each."""
    rows = [
        (_sign(c), c.kind, c.name, " -> ".join(str(e.identifier) for e in (c.old, c.new) if e)) for c in differences
    ]
    render.print_table(sorted(rows, key=lambda row: "+-~".index(row[0])))


def _sign(change: Change) -> str:
    if change.old and change.new:
        return "~"
    return "-" if change.old else "+"
