"""`antscache export`: write releases to a root for images or offline hosts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, choosing, locking, release_of, shared
from antscache.operations import read_lockfile

if TYPE_CHECKING:
    from antscache.cache import Cache
    from antscache.core import Choice
    from antscache.export import Contents, Format, Target


@click.command()
@click.argument("arguments", metavar="[RELEASE...] FILE", nargs=-1)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["dir", "squashfs", "ext3"]),
    help="Make FILE a directory or an image. [default: by its name: .sqsh, .sqfs, .squashfs; .ext3, .img; else dir]",
)
@choosing("Export")
@click.option(
    "--layers",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Divide the directory into N image layers, and one for the rest.",
)
@locking("Export exactly the files of the lockfile FILE.")
@click.option("--adopted", is_flag=True, help="Export adopted files as well, on your word.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the files to export, and write nothing.")
@as_json
@shared
@click.pass_obj
def export(
    invocation: Invocation,
    arguments: tuple[str, ...],
    format_: Format | None,
    choice: Choice,
    layers: int | None,
    lockfile: Path | None,
    adopted: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Write releases to a root for images or offline hosts.

    FILE becomes a root with the files that this cache holds of the RELEASEs; use it as a lower cache. Every file is
    verified on the way. The same files make the same FILE on every host. Prints FILE's path.
    """
    from antscache import export as exporting

    if lockfile and (len(arguments) != 1 or choice):
        raise click.UsageError("--lock names the entries itself: give FILE alone")
    if not lockfile and len(arguments) < 2:  # noqa: PLR2004  a RELEASE and FILE
        raise click.UsageError("give at least one RELEASE, and then FILE")
    *releases, file = arguments
    target = exporting.Target(Path(file).absolute(), format_ or exporting.format_of(Path(file)), layers or 0)
    if layers and target.format != "dir":
        raise click.UsageError(f"--layers is for directories, and {target.file.name} becomes a {target.format}")
    cache = invocation.cache()
    named = dict.fromkeys(release_of(cache, release, None, None) for release in releases)
    if lockfile:
        contents = cache.plan_locked_export(read_lockfile(lockfile), adopted=adopted)
    else:
        manifests = [cache.manifest(release) for release in named] if choice.functions else []
        names = dict.fromkeys(name for each in manifests for name in choice.names_in(each)) or choice.names
        contents = cache.plan_export(named, names=tuple(names), kinds=choice.kinds, adopted=adopted)
    for release in named:
        if not any(part.release == release for part in contents.parts):
            invocation.say(f"note: {release} is left out: it has none of the chosen entries")
    if dry_run:
        _print_plan(invocation, contents, target, json=json)
        exporting.check_target(contents, target)
    else:
        _carry_out(invocation, cache, contents, target, json=json)


def _print_plan(invocation: Invocation, contents: Contents, target: Target, *, json: bool) -> None:
    """Print the files to export."""
    if json:
        _print_facts(contents, target, target.size_of(contents))
        return
    render.print_table(
        ("export", str(part.release), entry.kind, entry.file, render.size(record.size))
        for part in contents.parts
        for entry, record in part.files
    )
    render.print_line(_summary(contents, target))
    _say_digests(invocation, contents)


def _carry_out(invocation: Invocation, cache: Cache, contents: Contents, target: Target, *, json: bool) -> None:
    """Export `contents` to `target`, and print the result.

    Raises:
        AntsCacheError: as `Cache.export` does.
    """
    from antscache.cli import progress
    from antscache.export import check_target

    check_target(contents, target)
    invocation.say(_summary(contents, target))
    with progress.show_reading(invocation, contents.size) as listen:
        size = cache.export(contents, target, listen)
    invocation.say(f"written and verified: {render.size(size)}")
    if json:
        _print_facts(contents, target, size)
    else:
        _say_digests(invocation, contents)
        render.print_path(target.file)


def _summary(contents: Contents, target: Target) -> str:
    """Summarise in a phrase how much is exported, and how large the result is."""
    made = "directory" if target.format == "dir" else "image"
    files = f"{render.files(len(contents.names))}, {render.size(contents.size)}"
    return f"{files}; the {made} will take {render.size(target.size_of(contents))}"


def _say_digests(invocation: Invocation, contents: Contents) -> None:
    """Print the digest of each release on stderr. Exports of the same files have the same digest."""
    for part in contents.parts:
        invocation.say(f"{part.release} is {part.digest}")


def _print_facts(contents: Contents, target: Target, size: int) -> None:
    file = os.fsencode(target.file).decode(errors="backslashreplace")
    releases = [{"release": str(part.release), "digest": part.digest} for part in contents.parts]
    render.print_json({"file": file, "format": target.format, "size": size, "releases": releases})
