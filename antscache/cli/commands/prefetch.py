"""`antscache prefetch`: fetch and verify a release's files, and print its view's home."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import (
    IdentifierType,
    Invocation,
    as_json,
    choosing,
    fetching,
    from_index,
    locking,
    manifest,
    one_release,
    say_needed,
    shared,
)
from antscache.errors import ManifestError
from antscache.operations import read_lockfile

if TYPE_CHECKING:
    from antscache.cache import Cache, Sizes
    from antscache.core import Choice, Identifier, Manifest, Plan, Release, UsageRecord
    from antscache.operations import Prefetched

MAX_RECORD_BYTES = 64_000_000  # 200,000 lines


@click.command()
@click.argument("releases", metavar="[RELEASE...]", nargs=-1)
@one_release
@from_index
@choosing("Fetch")
@click.option("-n", "--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option("--sizes", is_flag=True, help="Ask origins for unknown sizes first, with a request for each file.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=IdentifierType(),
    metavar="IDENTIFIER",
    help="Accept figshare:N or url:URL in spite of what is found in it; may be given again.",
)
@click.option(
    "--from-record",
    "records",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fetch the entries that `antscache run --record FILE` wrote down; may be given again.",
)
@locking("Fetch exactly the bytes that the lockfile FILE names.")
@as_json
@fetching
@shared
@click.pass_obj
def prefetch(
    invocation: Invocation,
    releases: tuple[str, ...],
    source: Path | None,
    python: Path | None,
    choice: Choice,
    dry_run: bool,
    sizes: bool,
    accepted: tuple[str, ...],
    records: tuple[Path, ...],
    lockfile: Path | None,
    json: bool,
) -> None:
    """Fetch and verify a release's files, and print its view.

    Fetches the missing files only. Prints the home of each release's view; with --json, prints events instead. A
    process with HOME=$(antscache path RELEASE) runs ANTsPyNet with these files.
    """
    cache = invocation.cache()
    chosen = bool(releases or source or python or choice or accepted)
    if lockfile:
        if chosen or records:
            raise click.UsageError("--lock names the entries itself: leave out RELEASE and other choices")
        plans = cache.plan_lockfile(read_lockfile(lockfile))
    elif records:
        if chosen:
            raise click.UsageError("--from-record names the entries itself: leave out RELEASE and other choices")
        plans = cache.plan_usage(read_records(records))
    else:
        plans = [
            _plan(
                invocation,
                cache,
                manifest(cache, release, source, python, functions=bool(choice.functions)),
                choice,
                accepted,
            )
            for release in releases or (None,)
        ]
    sized = [(plan, cache.sizes(plan, ask=sizes)) for plan in plans]
    if dry_run:
        _print_plans(cache, sized, json=json)
        for plan, known in sized:
            if not json:
                _mention_user_home(invocation, cache, plan)
            cache.check_space(plan, known)
            plan.check_readable()
        return
    for plan, known in sized:
        result = carry_out(invocation, cache, plan, known, json=json)
        if not json:
            render.print_path(result.home)


def _plan(
    invocation: Invocation, cache: Cache, wanted: Manifest, choice: Choice, accepted: tuple[Identifier, ...]
) -> Plan:
    """Plan to fetch the chosen entries of `wanted`, and say what is open in what functions need."""
    say_needed(invocation, wanted, choice)
    return cache.plan(wanted, names=choice.names, kinds=choice.kinds, functions=choice.functions, accepted=accepted)


def read_records(records: tuple[Path, ...]) -> dict[Release, list[UsageRecord]]:
    """Read the uses in `records`, by release.

    Raises:
        ManifestError: a record cannot be read.
    """
    from antscache.core import read_usage_log

    usage: dict[Release, list[UsageRecord]] = {}
    for path in records:
        hint = "give the path of a record that `antscache run --record FILE` wrote"
        try:
            with path.open("rb") as file:
                content = file.read(MAX_RECORD_BYTES + 1)
        except OSError as error:
            raise ManifestError(f"cannot read {path}: {error.strerror}", hint=hint) from None
        if len(content) > MAX_RECORD_BYTES:
            raise ManifestError(f"cannot read {path}: larger than {render.size(MAX_RECORD_BYTES)}", hint=hint)
        for release, uses in read_usage_log(content, str(path)).items():
            usage.setdefault(release, []).extend(uses)
    return usage


def carry_out(
    invocation: Invocation, cache: Cache, plan: Plan, sizes: Sizes | None = None, *, json: bool = False
) -> Prefetched:
    """Prefetch one release and print the result; with `json`, print events.

    Args:
        invocation: the shared flags, such as --quiet.
        cache: the cache that gets the files.
        plan: the files of the release.
        sizes: the known sizes of the files to fetch; by default those that the cache knows.
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
        counts = f"{render.files(total)}, {total - missing} present, {missing} to fetch"
        invocation.say(f"{plan.release}: {counts}{_size_phrase(cache, plan, sizes)}{_pace_phrase(cache, plan)}")
        _mention_user_home(invocation, cache, plan)
    with show_fetch(invocation, plan.fetch, sizes, json=json) as listen:
        result = cache.prefetch(plan, listen, sizes)
    if json:
        print_event("prefetched", {"release": str(plan.release), "home": str(result.home), "present": total})
        return result
    outcome = _outcome(result) if plan.fetch else "nothing to fetch"
    never = f", {len(plan.unavailable)} unavailable" if plan.unavailable else ""
    invocation.say(f"{plan.release}: {render.files(total)} present, {outcome}{never}")
    render.say_how_linked(invocation, result.linked)
    return result


def _outcome(result: Prefetched) -> str:
    """Say how much was fetched; "verified" only if networks of unknown bytes were scanned too."""
    received = render.size(sum(event.blob.size for event in result.fetched))
    unscanned = sum(
        event.file.endswith(".h5") and not {"digest", "walk"}.intersection(event.checks) for event in result.fetched
    )
    if unscanned:
        return f"{len(result.fetched)} fetched ({received}), {unscanned} of them networks that were not scanned"
    return f"{len(result.fetched)} fetched and verified ({received})"


def _mention_user_home(invocation: Invocation, cache: Cache, plan: Plan) -> None:
    """Say how many of the missing files the user's own `~/.keras/ANTsXNet` has, by their names."""
    if invocation.quiet or not plan.missing:
        return
    directory, names = cache.files_in_user_home(plan)
    if names:
        adopt = f"`antscache adopt {shlex.quote(str(directory))} --as {plan.release}`"
        invocation.say(f"note: {directory} has {len(names)} of these files: {adopt} takes them over")


def _plan_facts(cache: Cache, plan: Plan, sizes: Sizes) -> dict[str, Any]:
    need = cache.need(plan, sizes)
    return {
        "release": str(plan.release),
        "present": [entry.name for entry, _ in plan.present],
        "missing": [entry.name for entry in plan.missing],
        "unavailable": [entry.name for entry in plan.unavailable],
        "problems": plan.problems,
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
        known = {identifier: render.size(size) for identifier, size in sizes.items()}
        rows = [
            ("fetch", entry.kind, entry.file, str(entry.identifier), known.get(entry.identifier, ""))
            for entry in plan.missing
            if entry.identifier
        ]
        rows += [("never", entry.kind, entry.file, f"unavailable: {entry.reason}", "") for entry in plan.unavailable]
        render.print_table([*rows, *(("never", "", "", f"unreadable: {problem}", "") for problem in plan.problems)])
        to_fetch = f"{len(plan.missing)} to fetch{_size_phrase(cache, plan, sizes)}"
        unreadable = f", {len(plan.problems)} unreadable" if plan.problems else ""
        counts = f"{to_fetch}, {len(plan.present)} present, {len(plan.unavailable)} unavailable{unreadable}"
        render.print_line(f"{plan.release}: {counts}{_pace_phrase(cache, plan)}")


def _size_phrase(cache: Cache, plan: Plan, sizes: Sizes) -> str:
    """Format the known sizes of the files to fetch as a phrase."""
    if not plan.fetch:
        return ""
    need = cache.need(plan, sizes)
    known = len(plan.fetch) - need.unknown
    if not known:
        return " (of unknown size)"
    return f" ({render.size(need.download)}{f', and {need.unknown} of unknown size' if need.unknown else ''})"


def _pace_phrase(cache: Cache, plan: Plan) -> str:
    """Format the minimum duration that the pace of Figshare's API imposes as a phrase."""
    seconds = cache.least_seconds(plan) if plan.fetch else 0.0
    return f", which takes at least {render.duration(seconds)} at Figshare's pace" if seconds > 1 else ""
