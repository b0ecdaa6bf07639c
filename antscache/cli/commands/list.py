"""`antscache list`: list the releases in use, or the entries of one release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, from_index, manifest, of_kind, one_release, shared
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
@of_kind("List")
@as_json
@shared
@click.pass_obj
def list_(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    kinds: tuple[str, ...],
    json: bool,
) -> None:
    """List the releases in use, or the entries of one release.

    With RELEASE, lists each entry with its file, its identifier, and its status: present, missing, unavailable (the
    release has no URL for it), or unreadable (antscache cannot read its URL). It is "adopted" if only your word says
    that it is this file. A "finding" is something in the file that did not refuse it. Keras's own weights, which two
    functions need, are listed by --kind keras alone.
    """
    from antscache.core import parse_kinds, with_optional

    cache = invocation.cache()
    if release is None and source is None and python is None:
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
    wanted = parse_kinds(kinds or KIND_WORDS)
    chosen = manifest(cache, release, source, python)
    offered = with_optional(chosen) if kinds else chosen
    rows = [(entry, status) for entry, status in cache.statuses(offered) if entry.kind in wanted]
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
