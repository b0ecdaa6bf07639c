"""`antscache list`: list the releases in use, or the entries of one release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import (
    Choice,
    Invocation,
    as_json,
    choosing,
    from_index,
    manifest,
    one_release,
    say_needed,
    shared,
)
from antscache.core import KIND_WORDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from antscache.core import Kind, Manifest
    from antscache.views import ReleaseUsage


@click.command(name="list")
@click.argument("release", required=False)
@one_release
@from_index
@choosing("List")
@click.option("--functions", is_flag=True, help="List the functions of RELEASE that need files, and how many.")
@as_json
@shared
@click.pass_obj
def list_(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    choice: Choice,
    functions: bool,
    json: bool,
) -> None:
    """List the releases in use, or the entries of one release.

    With RELEASE, lists each entry with its file, its identifier, and its status: present, missing, unavailable (the
    release has no URL for it), or unreadable (antscache cannot read its URL). It is "adopted" if only your word says
    that it is this file. A "finding" is something in the file that did not refuse it. Keras's own weights, which two
    functions need, are listed by --kind keras alone.
    """
    from antscache.core import find_entries, parse_kinds, with_optional

    cache = invocation.cache()
    if release is None and source is None and python is None and not choice and not functions:
        usages = cache.usages()
        if json:
            render.print_json([_usage_facts(usage) for usage in usages])
        else:
            print_usages(usages)
            if not usages:
                invocation.say(
                    f"no release is in use in {cache.store.layout.root}",
                    hint="`antscache releases` lists those that `antscache prefetch RELEASE` fetches",
                )
        return
    chosen = manifest(cache, release, source, python, functions=functions or bool(choice.functions))
    if functions:
        print_functions(chosen, json=json)
        return
    say_needed(invocation, chosen, choice)
    wanted = parse_kinds(choice.kinds or KIND_WORDS)
    offered = with_optional(chosen) if choice else chosen
    entries = set(find_entries(offered, choice.names, wanted if choice.kinds else (), choice.functions))
    rows = [(entry, status) for entry, status in cache.statuses(offered) if entry in entries]
    records = cache.records(entry for entry, status in rows if status == "present")
    if json:
        keys = ("kind", "name", "file", "identifier")
        render.print_json(
            [
                {key: getattr(entry, key) for key in keys}
                | {"status": status}
                | render.doubt_facts(records.get(str(entry.identifier)))
                for entry, status in rows
            ]
        )
        _say_unread(invocation, chosen, wanted)
        return
    render.print_table(
        (
            entry.kind,
            entry.name,
            entry.file,
            entry.identifier or "-",
            f"{status}: {entry.reason or entry.problem}" if entry.reason or entry.problem else status,
            render.doubts(records.get(str(entry.identifier))),
        )
        for entry, status in rows
    )
    _say_unread(invocation, chosen, wanted)


def print_functions(chosen: Manifest, *, json: bool) -> None:
    """Print the functions that need files: for a call with defaults, and for any call.

    Raises:
        ManifestError: the functions of the release have not been read.
    """
    from antscache.core import any_call, find_needed, known_functions

    counts = [
        (function, [len(find_needed(chosen, [call]).entries) for call in (function.name, any_call(function))])
        for function in known_functions(chosen)
        if not function.problem
    ]
    unread = [function for function in known_functions(chosen) if function.problem]
    if json:
        keys = ("name", "parameters", "deciding", "problem")
        facts = [(each, dict(zip(("default", "most"), count, strict=True))) for each, count in counts]
        rows = [*facts, *((each, {}) for each in unread)]
        render.print_json([{key: getattr(each, key) for key in keys} | count for each, count in rows])
        return
    render.print_table(
        (
            function.name,
            render.files(default),
            f"at most {most}, by {', '.join(function.deciding)}" if function.deciding else "",
        )
        for function, (default, most) in counts
    )
    render.print_table((function.name, f"unreadable: {function.problem}") for function in unread)


def _say_unread(invocation: Invocation, chosen: Manifest, kinds: Collection[Kind]) -> None:
    """Say which getters of a release cannot be read, so that their entries are not listed."""
    for getter in chosen.unread:
        if getter.kind in kinds:
            invocation.say(f"warning: unreadable: {getter}")


def _usage_facts(usage: ReleaseUsage) -> dict[str, Any]:
    return {
        "release": str(usage.release),
        "entries": usage.entries,
        "offered": usage.offered,
        "present": usage.present,
        "size": usage.size,
        "own": usage.own,
        "shared": usage.shared,
        "below": usage.below,
        "adopted": usage.adopted,
        "home": str(usage.home),
    }


def print_usages(usages: Iterable[ReleaseUsage]) -> None:
    """Print a line for each release: its files, and the bytes of its own and shared with others."""
    render.print_table(
        (
            str(usage.release),
            f"{usage.present} of {render.files(usage.offered)}",
            render.size(usage.size),
            f"{render.size(usage.own)} of its own",
            f"{render.size(usage.shared)} shared",
            f"{render.size(usage.below)} in lower caches" if usage.below else "",
            f"{usage.entries - usage.present} missing" if usage.entries > usage.present else "",
            f"{usage.adopted} adopted" if usage.adopted else "",
        )
        for usage in usages
    )
