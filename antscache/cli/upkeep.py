"""The verbs that keep a root sound and small: verify, gc, rm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.group import antscache
from antscache.cli.options import (
    Duration,
    Invocation,
    as_json,
    fetching,
    manifest,
    one_release,
    release_of,
    shared,
)
from antscache.errors import IntegrityError

if TYPE_CHECKING:
    from antscache.gc import Garbage


@antscache.command()
@click.argument("release", required=False)
@one_release
@click.option("-f", "--force", is_flag=True, help="Take away what other users selected as well.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed, and do nothing.")
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
    """Take a release out of use: its view goes, and a later gc frees what no other release needs.

    Files in the view that antscache did not put there are kept and named.
    """
    cache = invocation.cache()
    named = release_of(cache, release, source, python)
    removed = cache.remove(named, force=force, dry_run=dry_run)
    for name in removed.kept:
        invocation.say(f"kept {removed.directory / name}, which is not antscache's")
    if removed.others:
        invocation.say(f"{named} stays in use: others selected it ({removed.others})")
    if json:
        facts = {"release": str(named), "removed": removed.names, "kept": removed.kept, "own": removed.own}
        render.print_json(facts)
        return
    did = "would be removed" if dry_run else "removed"
    click.echo(f"{named}: {render.files(len(removed.names))} {did} from its view")
    if removed.own:
        invocation.say(f"hint: `antscache gc` frees {render.size(removed.own)} that no other release shares")


@antscache.command()
@click.argument("releases", metavar="[RELEASE...]", nargs=-1)
@click.option("--deep", is_flag=True, help="Repeat the checks of form as well: whole images are inflated.")
@click.option("--repair", is_flag=True, help="Move what is damaged aside, fetch it again, and make views anew.")
@click.option("--sums", is_flag=True, help="Print a list for `sha256sum -c`, and read nothing.")
@as_json
@fetching
@shared
@click.pass_obj
def verify(invocation: Invocation, releases: tuple[str, ...], deep: bool, repair: bool, sums: bool, json: bool) -> None:
    """Read everything again, or what RELEASEs use, and compare it with what it should be.

    Exits with 5 if anything is not.
    """
    from antscache.cli.progress import read, shown
    from antscache.manifest import parse_release
    from antscache.verify import sums as list_sums

    cache = invocation.cache()
    named = [parse_release(release) for release in releases]
    if sums:
        for digest, path in list_sums(cache.store, named):
            click.echo(f"{digest.removeprefix('sha256:')}  {path}")
        return
    with read(invocation, cache.store.stored()[1]) as heard, shown(invocation, (), json=False) as listen:
        verified = cache.verify(named, deep=deep, repair=repair, heard=heard, listen=listen)
    if json:
        render.print_json(verified)
    else:
        for finding in verified.repaired:
            click.echo(f"repaired {finding.part} {finding.path}: {finding.problem}")
        for finding in verified.findings:
            click.echo(f"{finding.part} {finding.path}: {finding.problem}")
        invocation.say(f"{verified.blobs} blobs in {render.size(verified.size)} read")
    if verified.findings:
        count = len(verified.findings)
        told = f"{count} finding{'s' if count > 1 else ''} in {cache.store.layout.root}"
        hint = "look at what is listed" if repair else "run `antscache verify --repair`"
        raise IntegrityError(told, hint=hint)


@antscache.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--as", "release", metavar="RELEASE", help="What files of unknown bytes are taken for.")
@one_release
@click.option("--move", is_flag=True, help="Take the files away from there, rather than clone or copy them.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would become of each file, and do nothing.")
@as_json
@shared
@click.pass_obj
def adopt(
    invocation: Invocation,
    directory: Path,
    release: str | None,
    source: Path | None,
    python: Path | None,
    move: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Take over the files of an ANTsPyNet that ran without antscache, such as ~/.keras/ANTsXNet.

    Files whose bytes are recorded are recognised, whatever they are called. Others are taken for what the release calls
    so, on your word, if they look like it. What is cut, or not the release's, is named and left alone.
    """
    from antscache.cli.progress import read

    cache = invocation.cache()
    meant = manifest(cache, release, source, python)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    with read(invocation, size) as heard:
        adopted = cache.adopt(directory.absolute(), meant, move=move, dry_run=dry_run, heard=heard)
    if json:
        keys = ("kind", "name", "file", "identifier")
        facts = [
            {
                "path": str(each.seen.path),
                "fate": each.fate,
                "why": each.why,
                "entries": [{key: getattr(entry, key) for key in keys} for entry in each.entries],
            }
            for each in adopted.judged
        ]
        render.print_json({"release": str(meant.release), "files": facts})
        return
    rows = [(e.fate, e.seen.path.name, ", ".join(n.name for n in e.entries) or e.why) for e in adopted.judged]
    render.print_table(rows)
    counts = Counter(each.fate for each in adopted.judged)
    would = "would be " if dry_run else ""
    told = f"{would}recognised: {counts['recognised']}, {would}taken: {counts['taken']}, left: {counts['left']}"
    click.echo(f"{meant.release}: {told}")
    if adopted.copied:
        invocation.say(f"{render.files(adopted.copied)} copied: these bytes are on disk twice")


@antscache.command()
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
    if garbage.young:
        invocation.say(f"{render.files(garbage.young)} that no release needs are younger than the grace, and stay")
    if garbage.left:
        invocation.say(f"{render.files(garbage.left)} belong to others, who have to run gc themselves")
    if garbage.condemned and not dry_run:
        invocation.say(f"hint: what is condemned is deleted by a gc in {render.duration(grace)} or later")


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
        "left": garbage.left,
    }
