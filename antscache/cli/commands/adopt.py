"""`antscache adopt`: take over the files of an ANTsPyNet that ran without antscache."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import (
    IdentifierType,
    Invocation,
    as_json,
    fetching,
    from_index,
    manifest,
    one_release,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.operations import Judged


class _NamedFile(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """`FILE=figshare:N`, or `FILE=N`."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split `value` into the name of a file and an identifier."""
        file, _, identifier = str(value).rpartition("=")
        if not file:
            self.fail(f"{value!r} is not FILE=IDENTIFIER, like a.h5=figshare:34821874", param, ctx)
        return file, IdentifierType().convert(identifier, param, ctx)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--as", "release", metavar="RELEASE", help="Take files of unknown bytes for those of RELEASE.")
@one_release
@from_index
@click.option(
    "--identifier",
    "named",
    multiple=True,
    type=_NamedFile(),
    metavar="FILE=ID",
    help="Take FILE in DIR for ID, where its name could be several; may be given again.",
)
@click.option("--move", is_flag=True, help="Move the files instead of cloning or copying them.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the fate of each file, and do nothing.")
@as_json
@fetching
@shared
@click.pass_obj
def adopt(
    invocation: Invocation,
    directory: Path,
    release: str | None,
    source: Path | None,
    python: Path | None,
    named: tuple[tuple[str, str], ...],
    move: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Take over files that ANTsPyNet itself downloaded.

    DIR is a home, its .keras, or its .keras/ANTsXNet. Files whose bytes are recorded are recognised under any name.
    Other files are taken for the release's file of the same name, on your word, if they have its form. Origins are
    asked for their size and MD5 first, unless --offline. Files that are cut, that are not the release's, or whose name
    could be several files, are listed and left alone.
    """
    from antscache.cli import progress
    from antscache.operations import files_to_adopt, size_of_files

    cache = invocation.cache()
    wanted = manifest(cache, release, source, python)
    directory = directory.absolute()
    size = size_of_files(files_to_adopt(directory, wanted.release.package))
    times = 1 if dry_run else 2  # files that are taken are read again
    with progress.show_reading(invocation, times * size) as listen:
        judged = cache.adopt(directory, wanted, identifiers=dict(named), move=move, dry_run=dry_run, listen=listen)
    counts = Counter(file.fate for file in judged)
    if json:
        render.print_json({"release": str(wanted.release), "files": [_judgement(file) for file in judged]})
    else:
        names = [", ".join(entry.name for entry in file.entries) for file in judged]
        rows = zip(judged, names, strict=True)
        render.print_table([(file.fate, file.seen.path.name, name or file.why) for file, name in rows])
        would = "would be " if dry_run else ""
        summary = f"{would}recognised: {counts['recognised']}, {would}taken: {counts['taken']}, left: {counts['left']}"
        render.print_line(f"{wanted.release}: {summary}")
    _say_trust(invocation, judged, offline=cache.settings.offline)
    for file in judged:
        if file.findings:
            invocation.say(f"note: found in {file.seen.path}: {'; '.join(file.findings)}")
        if file.entries and file.why:
            invocation.say(f"{file.seen.path}: {file.why}")
    copied = sum(file.way == "copy" for file in judged)
    if copied and not move:
        invocation.say(f"{render.files(copied)} copied: these bytes are on disk twice")


def _say_trust(invocation: Invocation, judged: Iterable[Judged], *, offline: bool) -> None:
    """Tell the user which files an origin has confirmed, and which rest on their word alone."""
    held = [file for file in judged if file.entries]
    if confirmed := [file for file in held if file.source]:
        sources = ", ".join(sorted({file.source for file in confirmed}))
        invocation.say(f"{render.files(len(confirmed))} confirmed by size and MD5: {sources}")
    if adopted := [file for file in held if file.trust == "adopted"]:
        why = "offline, so no origin was asked" if offline else "no origin told their MD5"
        invocation.say(f"{render.files(len(adopted))} held on your word alone ({why}): listed as adopted")


def _judgement(judged: Judged) -> dict[str, Any]:
    keys = ("kind", "name", "file", "identifier")
    return {
        "path": str(judged.seen.path),
        "fate": judged.fate,
        "why": judged.why,
        "blob": judged.seen.blob,
        "entries": [{key: getattr(entry, key) for key in keys} for entry in judged.entries],
        "checks": judged.checks,
        "findings": judged.findings,
        "trust": judged.trust if judged.entries else None,
        "way": judged.way,
    }
