"""The verbs that keep a root sound and small: verify, gc, rm."""

from __future__ import annotations

import os
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
    from antscache.adopt import Judged
    from antscache.cache import Cache
    from antscache.gc import Garbage
    from antscache.verify import Verified


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
        invocation.say(f"kept {removed.home / name}, which is not yours to remove, or not antscache's")
    if removed.others:
        invocation.say(f"{named} stays in use: others selected it ({removed.others})")
    if json:
        facts = {"release": str(named), "removed": removed.names, "kept": removed.kept, "own": removed.own}
        render.print_json(facts)
        return
    if dry_run:
        render.print_table(("remove", name) for name in removed.names)
    did = "would be removed" if dry_run else "removed"
    click.echo(f"{named}: {render.files(len(removed.names))} {did} from its view")
    if removed.own:
        can = "could then free" if dry_run else "can free"
        invocation.say(f"hint: `antscache gc` {can} {render.size(removed.own)} that nothing else in use shares")


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
    from antscache.digest import hexadecimal
    from antscache.manifest import parse_release

    if sums and (deep or repair or json):
        raise click.UsageError("--sums reads nothing: give it alone, or with RELEASEs")
    cache = invocation.cache()
    named = [parse_release(release) for release in releases]
    if sums:
        for digest, path in cache.sums(named):
            click.echo(_sum(hexadecimal(digest), os.fsencode(path)))
        return
    size = cache.store.stored()[1] if render.is_terminal() else 0
    with read(invocation, size) as heard, shown(invocation, (), json=False) as listen:
        verified = cache.verify(named, deep=deep, repair=repair, heard=heard, listen=listen)
    if json:
        render.print_json(verified)
    else:
        for finding in verified.repaired:
            click.echo(f"repaired {finding.part} {finding.path}: {finding.problem}")
        for finding in verified.findings:
            click.echo(f"{finding.part} {finding.path}: {finding.problem}")
        invocation.say(f"{verified.blobs} blobs read, {render.size(verified.size)}")
    if verified.findings:
        raise _unsound(verified, cache, repair=repair)
    for told in verified.refused:
        invocation.say(f"warning: {told}")


def _unsound(verified: Verified, cache: Cache, *, repair: bool) -> IntegrityError:
    """What to raise for what was found and is not repaired."""
    count = len(verified.findings)
    told = f"{count} finding{'s' if count > 1 else ''} in {cache.store.layout.root}"
    if not repair:
        hint = "run `antscache verify --repair`"
    elif cache.settings.offline:
        hint = "run `antscache verify --repair` where there is network access"
    else:
        hint = "what is listed could not be repaired; an origin that did not deliver may do so later"
    return IntegrityError("\n".join([told, *verified.refused]), hint=hint)


def _sum(digits: str, path: bytes) -> bytes:
    r"""A line for `sha256sum -c`, as it writes them itself: names that would break a line are escaped, and begin so."""
    escaped = path.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
    return (b"\\" if escaped != path else b"") + digits.encode() + b"  " + escaped


@antscache.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
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

    DIR is a home, its .keras, or the ANTsXNet in there. Files whose bytes are recorded are recognised, whatever they
    are called. Others are taken for what the release calls so, on your word, if they look like it. What is cut, or not
    the release's, is named and left alone.
    """
    from antscache.adopt import files, shown, size_of
    from antscache.cli import progress

    cache = invocation.cache()
    meant = manifest(cache, release, source, python)
    directory = directory.absolute()
    size = size_of(files(directory, meant.release.package)) * (1 if dry_run else 2)  # what is taken is read again
    with progress.read(invocation, size) as heard, progress.shown(invocation, (), json=False) as listen:
        judged = cache.adopt(directory, meant, move=move, dry_run=dry_run, heard=heard, listen=listen)
    counts = Counter(each.fate for each in judged)
    if json:
        render.print_json({"release": str(meant.release), "files": [_judgement(each) for each in judged]})
    else:
        names = [", ".join(entry.name for entry in each.entries) for each in judged]
        rows = zip(judged, names, strict=True)
        render.print_table([(each.fate, shown(each.seen.path.name), name or each.why) for each, name in rows])
        would = "would be " if dry_run else ""
        told = f"{would}recognised: {counts['recognised']}, {would}taken: {counts['taken']}, left: {counts['left']}"
        click.echo(f"{meant.release}: {told}")
    for each in judged:
        if each.entries and each.why:
            invocation.say(f"{shown(each.seen.path)}: {each.why}")
    copied = sum(each.way == "copy" for each in judged)
    if copied and not move:
        invocation.say(f"{render.files(copied)} copied: these bytes are on disk twice")


def _judgement(judged: Judged) -> dict[str, Any]:
    from antscache.adopt import shown

    keys = ("kind", "name", "file", "identifier")
    return {
        "path": shown(judged.seen.path),
        "fate": judged.fate,
        "why": judged.why,
        "blob": judged.seen.blob,
        "entries": [{key: getattr(entry, key) for key in keys} for entry in judged.entries],
        "checks": judged.checks,
        "way": judged.way,
    }


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
