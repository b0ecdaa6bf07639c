"""`antscache prefetch`: fetch and verify a release's files, and print its view's home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import KINDS, IdentifierType, Invocation, as_json, fetching, manifest, one_release, shared
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from antscache.cache import Cache, Sizes
    from antscache.core import Plan, Release, UsageRecord
    from antscache.operations import Prefetched


@click.command()
@click.argument("releases", metavar="[RELEASE...]", nargs=-1)
@one_release
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only this entry; may be given again.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only this kind.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option(
    "--sizes", is_flag=True, help="Ask origins for the sizes that are not known: a request a file, at their pace."
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=IdentifierType(),
    metavar="IDENTIFIER",
    help="Take what figshare:N is, although it does not look like the file; may be given again.",
)
@click.option(
    "--from-record",
    "records",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `antscache run --record FILE` has noted, and nothing else; may be given again.",
)
@as_json
@fetching
@shared
@click.pass_obj
def prefetch(
    invocation: Invocation,
    releases: tuple[str, ...],
    source: Path | None,
    python: Path | None,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    dry_run: bool,
    sizes: bool,
    accepted: tuple[str, ...],
    records: tuple[Path, ...],
    json: bool,
) -> None:
    """Make a release's files present and verified, and print its view.

    Prints the view's home, one line a release: HOME=$(antscache path RELEASE) lets an ANTsPyNet use it. With --json,
    one event a line instead.
    """
    cache = invocation.cache()
    if records:
        if releases or source or python or names or kinds or accepted:
            raise click.UsageError("--from-record says itself which releases and names")
        plans = cache.plan_usage(_noted(records))
    else:
        manifests = [manifest(cache, release, source, python) for release in releases or (None,)]
        wanted = [KINDS[kind] for kind in kinds]
        plans = [cache.plan(each, names=names, kinds=wanted, accepted=accepted) for each in manifests]
    sized = [(plan, cache.sizes(plan, ask=sizes)) for plan in plans]
    if dry_run:
        _print_plans(cache, sized, json=json)
        for plan, known in sized:
            cache.check_space(plan, known)
        return
    for plan, known in sized:
        result = carry_out(invocation, cache, plan, known, json=json)
        if not json:
            click.echo(result.home)


def _noted(records: tuple[Path, ...]) -> dict[Release, list[UsageRecord]]:
    """Read the uses that `records` note, by release.

    Raises:
        ManifestError: a record cannot be read.
    """
    from antscache.core import read_usage_log

    noted: dict[Release, list[UsageRecord]] = {}
    for path in records:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ManifestError(f"cannot read {path}: {error.strerror}", hint="give a file that is there") from None
        for release, uses in read_usage_log(content, str(path)).items():
            noted.setdefault(release, []).extend(uses)
    return noted


def carry_out(
    invocation: Invocation, cache: Cache, plan: Plan, sizes: Sizes | None = None, *, json: bool = False
) -> Prefetched:
    """Prefetch one release and say what happened; with `json`, in events.

    Args:
        invocation: whose flags say how to talk.
        cache: where it becomes present.
        plan: of the release.
        sizes: of what it fetches, as far as they are known; what is at hand, without.
        json: print events.

    Raises:
        AntsCacheError: as `Cache.prefetch` does.
    """
    from antscache.cli.progress import print_event, show_fetch

    sizes = cache.sizes(plan) if sizes is None else sizes
    total, missing = len(plan.entries), len(plan.missing)
    if missing:
        for unused in cache.unused:
            invocation.say(f"note: the lower cache {unused.directory} is not used: {unused.why}")
    if json:
        print_event("planned", _plan_facts(cache, plan, sizes))
    elif missing:
        told = f"{render.files(total)}, {total - missing} present, {missing} to fetch{_told_size(cache, plan, sizes)}"
        invocation.say(f"{plan.release}: {told}{_told_pace(cache, plan)}")
    with show_fetch(invocation, plan.fetch, sizes, json=json) as listen:
        result = cache.prefetch(plan, listen, sizes)
    if json:
        print_event("prefetched", {"release": str(plan.release), "home": str(result.home), "present": total})
        return result
    received = sum(event.blob.size for event in result.fetched)
    did = f"{len(result.fetched)} fetched and verified ({render.size(received)})" if plan.fetch else "nothing to fetch"
    never = f", {len(plan.unavailable)} unavailable" if plan.unavailable else ""
    invocation.say(f"{plan.release}: {render.files(total)} present, {did}{never}")
    render.say_how_linked(invocation, result.linked)
    return result


def _plan_facts(cache: Cache, plan: Plan, sizes: Sizes) -> dict[str, Any]:
    need = cache.need(plan, sizes)
    return {
        "release": str(plan.release),
        "present": [entry.name for entry, _ in plan.present],
        "missing": [entry.name for entry in plan.missing],
        "unavailable": [entry.name for entry in plan.unavailable],
        "seconds": cache.least_seconds(plan) if plan.fetch else 0.0,
        "size": need.download,
        "unknown": need.unknown,
        "short": need.short,
    }


def _print_plans(cache: Cache, plans: list[tuple[Plan, Sizes]], *, json: bool) -> None:
    if json:
        render.print_json([_plan_facts(cache, plan, sizes) for plan, sizes in plans])
        return
    for plan, sizes in plans:
        told = {identifier: render.size(size) for identifier, size in sizes.items()}
        rows = [
            ("fetch", entry.kind, entry.file, str(entry.identifier), told.get(entry.identifier, ""))
            for entry in plan.missing
            if entry.identifier
        ]
        rows += [("never", entry.kind, entry.file, f"unavailable: {entry.reason}", "") for entry in plan.unavailable]
        render.print_table(rows)
        to_fetch = f"{len(plan.missing)} to fetch{_told_size(cache, plan, sizes)}"
        counts = f"{to_fetch}, {len(plan.present)} present, {len(plan.unavailable)} unavailable"
        click.echo(f"{plan.release}: {counts}{_told_pace(cache, plan)}")


def _told_size(cache: Cache, plan: Plan, sizes: Sizes) -> str:
    """Say in a phrase how many bytes are to be fetched, as far as that is known."""
    if not plan.fetch:
        return ""
    need = cache.need(plan, sizes)
    known = len(plan.fetch) - need.unknown
    if not known:
        return " (of unknown size)"
    return f" ({render.size(need.download)}{f', and {need.unknown} of unknown size' if need.unknown else ''})"


def _told_pace(cache: Cache, plan: Plan) -> str:
    """Say in a phrase how long the fetch takes at least, at the pace that Figshare's API asks for."""
    seconds = cache.least_seconds(plan) if plan.fetch else 0.0
    return f", which takes at least {render.duration(seconds)} at Figshare's pace" if seconds > 1 else ""
