"""`antscache gc`: delete files that no release in use needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Duration, Invocation, as_json, shared

if TYPE_CHECKING:
    from antscache.operations import Garbage


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option(
    "--grace",
    type=Duration(),
    metavar="TIME",
    help="Spare files younger than TIME, such as 90s, 15m, 2h. [default: 1d]",
)
@click.option("--now", is_flag=True, help="Spare none, and delete at once what is condemned.")
@as_json
@shared
@click.pass_obj
def gc(invocation: Invocation, dry_run: bool, grace: float | None, now: bool, json: bool) -> None:
    """Delete files that no release in use needs.

    The first gc condemns a file, and a gc after the grace time deletes it. Until then, a prefetch that needs the file
    restores it. With --now, this gc does both. You may run gc and prefetches at the same time.
    """
    from antscache.operations import GRACE_SECONDS

    if now and grace is not None:
        raise click.UsageError("--now has no grace: leave out --grace")
    cache, grace = invocation.cache(), GRACE_SECONDS if grace is None else grace
    garbage = cache.gc(grace=grace, now=now, dry_run=dry_run)
    if json:
        render.print_json(_facts(garbage))
        return
    if dry_run:
        render.print_table(_rows(garbage))
    condemned = sum(blob.size for blob in garbage.condemned)
    would = "would be " if dry_run else ""
    render.print_line(
        f"{would}deleted: {render.files(len(garbage.deleted))} ({render.size(garbage.freed)}); "
        f"{would}condemned: {render.files(len(garbage.condemned))} ({render.size(condemned)})"
    )
    if garbage.restored:
        invocation.say(f"{would}restored: {render.files(len(garbage.restored))}, which a release needs again")
    if garbage.young:
        invocation.say(
            f"too young to condemn: {render.files(garbage.young)} that no release needs",
            hint="`antscache gc --now` deletes them at once",
        )
    if garbage.waiting:
        invocation.say(f"condemned earlier, and too recently to delete: {render.files(garbage.waiting)}")
    if garbage.left:
        invocation.say(f"left: {render.files(garbage.left)} of other users, who can run `antscache gc` themselves")
    if (garbage.condemned or garbage.waiting) and not dry_run:
        when = f"{render.duration(grace)} after they were condemned" if grace else "from now on"
        invocation.say(f"hint: a gc deletes condemned files {when}")


def _rows(garbage: Garbage) -> list[tuple[str, str, str]]:
    rows = [("delete", str(file.digest or file.path.name), render.size(file.size)) for file in garbage.deleted]
    rows += [("condemn", blob.digest, render.size(blob.size)) for blob in garbage.condemned]
    rows += [("restore", str(file.digest), render.size(file.size)) for file in garbage.restored]
    return rows + [("remove", str(path), "abandoned") for path in garbage.abandoned]


def _facts(garbage: Garbage) -> dict[str, Any]:
    return {
        "deleted": [{"digest": file.digest, "size": file.size} for file in garbage.deleted],
        "condemned": [{"digest": blob.digest, "size": blob.size} for blob in garbage.condemned],
        "restored": [{"digest": file.digest, "size": file.size} for file in garbage.restored],
        "abandoned": [str(path) for path in garbage.abandoned],
        "young": garbage.young,
        "waiting": garbage.waiting,
        "left": garbage.left,
    }
