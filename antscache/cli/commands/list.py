"""`antscache list`: list the releases in use, or the entries of one release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import (
    Invocation,
    choosing,
    from_index,
    in_formats,
    manifest,
    one_release,
    say_needed,
    shared,
)
from antscache.core import KIND_WORDS, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from antscache.core import Choice, Kind, Manifest
    from antscache.views import EntryStatus, ReleaseUsage

SHORT_DIGEST_LENGTH = 12  # hexadecimal digits
USAGE_COLUMNS = (
    "release", "entries", "offered", "present", "size", "own", "shared", "below", "adopted", "home",
)  # fmt: skip
ENTRY_COLUMNS = (
    "kind", "name", "file", "identifier", "status", "digest", "size", "trust", "checks", "findings", "reason",
)  # fmt: skip
FUNCTION_COLUMNS = ("function", "files", "most", "deciding", "parameters", "problem")


@click.command(name="list")
@click.argument("release", required=False)
@one_release
@from_index
@choosing("List")
@click.option("--functions", is_flag=True, help="List the functions of RELEASE that need files, and how many.")
@in_formats("table", "csv", "markdown", "json")
@shared
@click.pass_obj
def list_(
    invocation: Invocation,
    release: str | None,
    source: Path | None,
    python: Path | None,
    choice: Choice,
    functions: bool,
    format_: str,
) -> None:
    """List the releases in use, or the entries of one release.

    With RELEASE, lists each entry with its identifier, the beginning of its sha256, its size and its name. One that is
    not held has its status instead: missing, unavailable (the release has no URL for it), or unreadable (antscache
    cannot read its URL). It is "adopted" if only your word says that it is this file. A "finding" is something in the
    file that did not refuse it. Keras's own weights, which two functions need, are listed by --kind keras alone.

    The other formats have whole digests, sizes in bytes, the file's name, its trust, and the checks that it passed.
    """
    from antscache.core import find_entries, parse_kinds, with_optional

    cache = invocation.cache()
    if release is None and source is None and python is None and not choice and not functions:
        usages = cache.usages()
        if format_ != "table":
            render.print_rows([_usage_facts(usage) for usage in usages], USAGE_COLUMNS, format_)
            return
        print_usages(usages)
        if not usages:
            invocation.say(
                f"no release is in use in {cache.store.layout.root}",
                hint="`antscache releases` lists those that `antscache prefetch RELEASE` fetches",
            )
        return
    chosen = manifest(cache, release, source, python, functions=functions or bool(choice.functions))
    if functions:
        _print_functions(chosen, format_)
        return
    say_needed(invocation, chosen, choice)
    wanted = choice.kinds or parse_kinds(KIND_WORDS)
    offered = with_optional(chosen) if choice else chosen
    entries = set(find_entries(offered, choice.names, choice.kinds, choice.functions))
    statuses = [one for one in cache.statuses(offered) if one.entry in entries]
    if format_ == "table":
        render.print_table(map(_entry_row, statuses))
    else:
        render.print_rows([_entry_facts(one) for one in statuses], ENTRY_COLUMNS, format_)
    _say_unread(invocation, chosen, wanted)


def _print_functions(chosen: Manifest, format_: str) -> None:
    """Print the functions that need files: for a call with defaults, and for any call.

    Raises:
        ManifestError: the functions of the release have not been read.
    """
    from antscache.core import any_call, find_needed, known_functions

    def count(call: str) -> int:
        return len(find_needed(chosen, [call]).entries)

    functions = known_functions(chosen)
    counts = [(0, 0) if each.problem else (count(each.name), count(any_call(each))) for each in functions]
    if format_ == "table":
        render.print_table(
            (
                each.name,
                f"unreadable: {each.problem}" if each.problem else render.files(files),
                f"at most {most}" if most != files else "",
                f"by {', '.join(each.deciding)}" if each.deciding else "",
            )
            for each, (files, most) in zip(functions, counts, strict=True)
        )
        return
    facts = [
        {"function": each.name, "files": files, "most": most}
        | {key: getattr(each, key) for key in ("deciding", "parameters", "problem")}
        for each, (files, most) in zip(functions, counts, strict=True)
    ]
    render.print_rows(facts, FUNCTION_COLUMNS, format_)


def _entry_row(one: EntryStatus) -> tuple[str, ...]:
    """Return the row of an entry for people: its name comes last, so that rows of short names fit 80 columns."""
    entry, record = one.entry, one.record
    remark = entry.reason or entry.problem or render.doubts(record)
    return (
        entry.kind,
        entry.identifier or "-",
        hexadecimal(record.digest)[:SHORT_DIGEST_LENGTH] if record else one.status,
        render.size(record.size) if record else "",
        f"{entry.name} ({remark})" if remark else entry.name,
    )


def _entry_facts(one: EntryStatus) -> dict[str, Any]:
    """Return all that is known of an entry, for programs; of one that is not held, no digest, size, trust or checks."""
    entry, record = one.entry, one.record
    return {
        "kind": entry.kind,
        "name": entry.name,
        "file": entry.file,
        "identifier": entry.identifier,
        "status": one.status,
        "digest": record and record.digest,
        "size": record and record.size,
        "trust": record and record.trust,
        "checks": record and record.checks,
        "findings": record.findings if record else (),
        "reason": entry.reason or entry.problem,
    }


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
