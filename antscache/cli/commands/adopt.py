"""`antscache adopt`: take over the files of an ANTsPyNet that ran without antscache."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, manifest, one_release, shared

if TYPE_CHECKING:
    from antscache.operations import Judged


@click.command()
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
    from antscache.cli import progress
    from antscache.operations import files_to_adopt, shown, size_of_files

    cache = invocation.cache()
    meant = manifest(cache, release, source, python)
    directory = directory.absolute()
    size = size_of_files(files_to_adopt(directory, meant.release.package))
    times = 1 if dry_run else 2  # what is taken is read again
    with progress.show_reading(invocation, times * size) as listen:
        judged = cache.adopt(directory, meant, move=move, dry_run=dry_run, listen=listen)
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
    from antscache.operations import shown

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
