"""`antscache path`: print the home of a release's view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, one_release, release_of, shared_but_root

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("release", required=False)
@one_release
@click.option("--keras", "level", flag_value=".keras", help="Print the path of the view's .keras.")
@click.option("--antsxnet", "level", flag_value=".keras/ANTsXNet", help="Print the path of the view's .keras/ANTsXNet.")
@click.option("--root", "root", is_flag=True, help="Print the root of the cache; needs no RELEASE.")
@click.option("--digest", is_flag=True, help="Print the digest over the view's names and bytes instead.")
@shared_but_root
@click.pass_obj
def path(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    level: str | None,
    root: bool,
    digest: bool,
) -> None:
    """Print the home of a release's view.

    A process with this HOME runs ANTsPyNet with the files of the view. For another root, write
    `antscache --root DIR path RELEASE`.

    Equal views have equal digests, on any host.
    """
    cache = invocation.cache()
    if root:
        render.print_path(cache.store.layout.root)
        return
    named = release_of(cache, release, source, python)
    if digest:
        render.print_line(cache.view_digest(named))
        return
    view = cache.view(named)
    if view.missing:
        missing = f"{len(view.missing)} of {render.files(view.selected)} missing from the view"
        invocation.say(f"warning: {missing}, such as {view.missing[0]}", hint=f"run `antscache prefetch {named}`")
    render.print_path(view.home / level if level else view.home)
