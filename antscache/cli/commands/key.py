"""`antscache key`: print the digest of what would be selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import (
    Invocation,
    as_json,
    choosing,
    from_index,
    manifest,
    one_release,
    say_needed,
    shared,
)

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Choice


@click.command()
@click.argument("release", required=False)
@one_release
@from_index
@choosing("Choose")
@as_json
@shared
@click.pass_obj
def key(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    choice: Choice,
    json: bool,
) -> None:
    """Print a digest of the entries that a prefetch would select.

    It changes when an entry changes its name, its file or its identifier, and does not depend on the files that are
    held: use it as the key of a CI cache.
    """
    from antscache.core import Manifest, choose

    wanted = manifest(invocation.cache(), release, source, python, functions=bool(choice.functions))
    say_needed(invocation, wanted, choice)
    entries = choose(wanted, choice).entries
    digest = Manifest(wanted.release, entries).identity
    if json:
        render.print_json({"release": str(wanted.release), "key": digest, "entries": len(entries)})
    else:
        render.print_line(digest)
