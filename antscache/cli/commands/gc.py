"""`antscache gc`: delete files that no release in use needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Duration, Invocation, as_json, shared

if TYPE_CHECKING:
    from antscache.operations import Garbage


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option(
    "--grace",
    type=Duration(),
    default="1d",
    metavar="TIME",
    help="Leave alone what is younger. [1d; also 90s, 15m, 2h]",
)
@as_json
@shared
@click.pass_obj
def gc(invocation: Invocation, dry_run: bool, grace: float, json: bool) -> None:
    """Free what no release in use needs.

    Such files are condemned first, and deleted by a gc that is at least the grace later: whoever needs one meanwhile
    has it back. Safe beside prefetches.
    """
    cache = invocation.cache()
    garbage = cache.gc(grace=grace, dry_run=dry_run)
    if json:
        render.print_json(_facts(garbage))
        return
    if dry_run:
        render.print_table(_rows(garbage))
    condemned = sum(blob.size for blob in garbage.condemned)
    would = "would be " if dry_run else ""
    click.echo(
        f"{would}deleted: {render.files(len(garbage.deleted))} ({render.size(garbage.freed)}); "
        f"{would}condemned: {render.files(len(garbage.condemned))} ({render.size(condemned)})"
    )
    if garbage.restored:
        invocation.say(f"{would}restored: {render.files(len(garbage.restored))}, which a release needs again")
    if garbage.young:
        invocation.say(f"too young to condemn: {render.files(garbage.young)} that no release needs")
    if garbage.waiting:
        invocation.say(f"condemned before, and not for long enough to delete: {render.files(garbage.waiting)}")
    if garbage.left:
        invocation.say(f"left: {render.files(garbage.left)} of other users, who can run `antscache gc` themselves")
    if (garbage.condemned or garbage.waiting) and not dry_run:
        after = f"{render.duration(grace)} after it was condemned" if grace else "from now on"
        invocation.say(f"hint: what is condemned is deleted by a gc {after}")


def _rows(garbage: Garbage) -> list[tuple[str, str, str]]:
    rows = [("delete", str(each.digest or each.path.name), render.size(each.size)) for each in garbage.deleted]
    rows += [("condemn", blob.digest, render.size(blob.size)) for blob in garbage.condemned]
    rows += [("restore", str(each.digest), render.size(each.size)) for each in garbage.restored]
    return rows + [("remove", str(path), "abandoned") for path in garbage.abandoned]


def _facts(garbage: Garbage) -> dict[str, Any]:
    return {
        "deleted": [{"digest": each.digest, "size": each.size} for each in garbage.deleted],
        "condemned": [{"digest": blob.digest, "size": blob.size} for blob in garbage.condemned],
        "restored": [{"digest": each.digest, "size": each.size} for each in garbage.restored],
        "abandoned": [str(path) for path in garbage.abandoned],
        "young": garbage.young,
        "waiting": garbage.waiting,
        "left": garbage.left,
    }
