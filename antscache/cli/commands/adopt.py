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
@click.option("--as", "release", metavar="RELEASE", help="Take files of unknown bytes for those of RELEASE.")
@one_release
@click.option("--move", is_flag=True, help="Move the files instead of cloning or copying them.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the fate of each file, and do nothing.")
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
    """Take over files that ANTsPyNet itself downloaded.

    DIR is a home, its .keras, or its .keras/ANTsXNet. Files whose bytes are recorded are recognised under any name.
    Other files are taken for the release's file of the same name, on your word, if they have its form. Files that are
    cut, or that are not the release's, are listed and left alone.
    """
    from antscache.cli import progress
    from antscache.operations import escape_path, files_to_adopt, size_of_files

    cache = invocation.cache()
    wanted = manifest(cache, release, source, python)
    directory = directory.absolute()
    size = size_of_files(files_to_adopt(directory, wanted.release.package))
    times = 1 if dry_run else 2  # files that are taken are read again
    with progress.show_reading(invocation, times * size) as listen:
        judged = cache.adopt(directory, wanted, move=move, dry_run=dry_run, listen=listen)
    counts = Counter(file.fate for file in judged)
    if json:
        render.print_json({"release": str(wanted.release), "files": [_judgement(file) for file in judged]})
    else:
        names = [", ".join(entry.name for entry in file.entries) for file in judged]
        rows = zip(judged, names, strict=True)
        render.print_table([(file.fate, escape_path(file.seen.path.name), name or file.why) for file, name in rows])
        would = "would be " if dry_run else ""
        summary = f"{would}recognised: {counts['recognised']}, {would}taken: {counts['taken']}, left: {counts['left']}"
        click.echo(f"{wanted.release}: {summary}")
    for file in judged:
        if file.entries and file.why:
            invocation.say(f"{escape_path(file.seen.path)}: {file.why}")
    copied = sum(file.way == "copy" for file in judged)
    if copied and not move:
        invocation.say(f"{render.files(copied)} copied: these bytes are on disk twice")


def _judgement(judged: Judged) -> dict[str, Any]:
    from antscache.operations import escape_path

    keys = ("kind", "name", "file", "identifier")
    return {
        "path": escape_path(judged.seen.path),
        "fate": judged.fate,
        "why": judged.why,
        "blob": judged.seen.blob,
        "entries": [{key: getattr(entry, key) for key in keys} for entry in judged.entries],
        "checks": judged.checks,
        "way": judged.way,
    }
