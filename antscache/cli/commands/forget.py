"""`antscache forget`: take a record back."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.options import IdentifierType, Invocation, as_json, shared


@click.command()
@click.argument("identifier", type=IdentifierType())
@click.option("-n", "--dry-run", is_flag=True, help="Print the record and the names to remove, and do nothing.")
@as_json
@shared
@click.pass_obj
def forget(invocation: Invocation, identifier: str, dry_run: bool, json: bool) -> None:
    """Forget which bytes IDENTIFIER has.

    Removes its record, and its files from views. The next prefetch fetches them again. Use it to take back an adopt,
    or if a record is wrong. A later gc deletes the bytes.
    """
    forgotten = invocation.cache().forget(identifier, dry_run=dry_run)
    for path in forgotten.kept:
        invocation.say(f"kept {path}, which is another user's")
    if json:
        render.print_json(forgotten)
        return
    if dry_run:
        render.print_table(("remove", path) for path in forgotten.names)
    outcome = "would be forgotten" if dry_run else "forgotten"
    record = f", recorded as {forgotten.record.describe()}" if forgotten.record else ""
    render.print_line(f"{identifier}{record}: {outcome}, {render.files(len(forgotten.names))} in views")
