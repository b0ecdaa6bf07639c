"""`antscache cite`: state which files were used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache import __version__
from antscache.cli import render
from antscache.cli.commands.prefetch import read_records
from antscache.cli.options import Invocation, in_formats, locking, one_release, release_of, shared
from antscache.errors import ManifestError
from antscache.operations import read_lockfile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antscache.cache import Cache
    from antscache.core import Citation


@click.command()
@click.argument("release", required=False)
@one_release
@click.option(
    "--record",
    "records",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Cite the files that `antscache run --record FILE` wrote down; may be given again.",
)
@locking("Cite the files of the lockfile FILE.")
@in_formats("text", "markdown", "bibtex", "csl-json", "json")
@shared
@click.pass_obj
def cite(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    records: tuple[Path, ...],
    lockfile: Path | None,
    format_: str,
) -> None:
    """State which files you used, for a publication.

    Prints a sentence for your methods section, with the release, the number of files, and the digest of a view with
    exactly these files; a table for your supplement, with the name, identifier, sha256 and address of each file; and
    the references. With --record, these are the files that a run used; with --lock, those of a lockfile; else all that
    you selected of RELEASE.

    The formats bibtex and csl-json have the references alone, with an entry for each file.
    """
    cache = invocation.cache()
    if not records and not lockfile:
        _print(cache.cite(release_of(cache, release, source, python)), format_)
        return
    if release or source or python or (records and lockfile):
        raise click.UsageError("--record and --lock name the files themselves: leave out RELEASE and other choices")
    citations = cache.cite(read_lockfile(lockfile) if lockfile else read_records(records))
    if not citations:
        hint = "run a command that uses ANTsPyNet: `antscache run --record FILE -- CMD`"
        raise ManifestError(f"no entry is recorded in {', '.join(map(str, records))}", hint=hint)
    _print(citations, format_)
    _say_unknown(invocation, cache, citations)


def _print(citations: Sequence[Citation], format_: str) -> None:
    from antscache import core

    makers: dict[str, Callable[[Sequence[Citation], str], str | list[dict[str, Any]]]] = {
        "text": core.as_text,
        "markdown": core.as_markdown,
        "bibtex": core.as_bibtex,
        "csl-json": core.as_csl_json,
        "json": core.as_facts,
    }
    made = makers[format_](citations, __version__)
    if isinstance(made, str):
        for line in made.splitlines():
            render.print_line(line)
    else:
        render.print_json(made)


def _say_unknown(invocation: Invocation, cache: Cache, citations: Sequence[Citation]) -> None:
    """Say of how many files nobody here can tell whether they were adopted."""
    unknown = sum(file.trust is None for citation in citations for file in citation.files)
    if unknown:
        invocation.say(
            f"note: the bytes of {render.files(unknown)} are not recorded in {cache.store.layout.root}: "
            "the citation cannot say whether they were adopted"
        )
