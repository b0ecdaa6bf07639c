"""`antscache show`: show a name in each release, or what a function needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.cache import Cache
    from antscache.core import Entry, Manifest, Needed, NeededBy, PresentState


@click.command()
@click.argument("name")
@click.argument("release", required=False)
@as_json
@shared
@click.pass_obj
def show(invocation: Invocation, name: str, release: str | None, json: bool) -> None:
    """Show a name in each release, or what a function needs.

    Of a name, shows its file and identifier in each release, "adopted" where your word alone says that the file held is
    this one, what was found in it, the Keras that wrote it, and the functions that use it. Of a function, shows the
    arguments that decide which files it needs, in RELEASE or else in the newest release that has it.
    """
    from antscache.core import unknown_names, with_optional

    cache = invocation.cache()
    catalog = cache.catalog
    releases = [cache.manifest(release)] if release else list(filter(None, map(catalog.find, catalog.releases())))
    manifests = [with_optional(manifest) for manifest in releases]
    entries = [(manifest, entry) for manifest in manifests for entry in manifest.entries if entry.name == name]
    if entries:
        _print_entries(cache, entries, json=json)
        return
    having = [each for each in manifests if any(function.name == name for function in each.functions or ())]
    if having:
        _print_function(invocation, cache, having[-1], name, json=json)
        return
    known = {entry.name for manifest in manifests for entry in manifest.entries}
    known |= {function.name for manifest in manifests for function in manifest.functions or ()}
    raise unknown_names([name], known, release or "any known release", "RELEASE")


def _print_entries(cache: Cache, entries: Sequence[tuple[Manifest, Entry]], *, json: bool) -> None:
    """Print a line for each release that has the entry, and the functions that use it in the last one."""
    from antscache.core import users_of
    from antscache.operations import keras_versions

    records = cache.records(entry for _, entry in entries)
    keras = keras_versions(cache.root, [entry for _, entry in entries])
    if json:
        keys = ("kind", "name", "file", "identifier", "reason", "problem")
        render.print_json(
            [
                {"release": str(manifest.release)}
                | {key: getattr(entry, key) for key in keys}
                | render.doubt_facts(records.get(str(entry.identifier)))
                | {"keras": keras.get(str(entry.identifier))}
                | {"functions": users_of(manifest, entry.kind, entry.name)}
                for manifest, entry in entries
            ]
        )
        return
    render.print_table(
        (
            str(manifest.release),
            entry.kind,
            entry.file,
            entry.identifier or _why_none(entry),
            render.doubts(records.get(str(entry.identifier))),
            f"written by Keras {version}" if (version := keras.get(str(entry.identifier))) else "",
        )
        for manifest, entry in entries
    )
    manifest, entry = entries[-1]
    if users := users_of(manifest, entry.kind, entry.name):
        render.print_line(f"used in {manifest.release} by {', '.join(users)}")


def _why_none(entry: Entry) -> str:
    return f"unavailable: {entry.reason}" if entry.reason else f"unreadable: {entry.problem}"


def _print_function(invocation: Invocation, cache: Cache, manifest: Manifest, name: str, *, json: bool) -> None:
    """Print what each argument that decides makes the function need, and how much of it is held."""
    from antscache.core import describe_function, fetchable

    function, calls = describe_function(manifest, name)
    state = cache.root.present_state(fetchable(manifest.entries))
    if json:
        render.print_json(
            {
                "release": str(manifest.release),
                "function": name,
                "parameters": function.parameters,
                "deciding": function.deciding,
                "problem": function.problem,
                "calls": [_call_facts(each) for each in calls],
            }
        )
        return
    render.print_line(f"{name}({', '.join(function.parameters)}) in {manifest.release}")
    if function.problem:
        invocation.say(f"warning: antscache cannot tell what it needs: {function.problem}")
        return
    render.print_table(
        (
            each.title,
            f"{'' if each.exact else 'at most '}{render.files(len(each.needed.entries))}",
            _kinds(each.needed),
            _known_size(each.needed, state),
            f"{len(state.held_entries(each.needed.entries))} held",
        )
        for each in calls
    )
    for remark in dict.fromkeys(remark for each in calls for remark in each.needed.choices):
        render.print_line(str(remark))


def _kinds(needed: Needed) -> str:
    """Return how many of the entries are of each kind: "1 data, 1 network"."""
    counts = {kind: sum(entry.kind == kind for entry in needed.entries) for kind in ("data", "network", "keras")}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _known_size(needed: Needed, state: PresentState) -> str:
    """Return the size of the entries as far as it is known."""
    sizes = [record.size for entry in needed.entries if (record := state.records.get(str(entry.identifier)))]
    unknown = len(needed.entries) - len(sizes)
    if not sizes:
        return "of unknown size" if unknown else ""
    return render.size(sum(sizes)) + (f" and {unknown} of unknown size" if unknown else "")


def _call_facts(each: NeededBy) -> dict[str, Any]:
    return {
        "call": each.call,
        "exact": each.exact,
        "entries": [{"kind": entry.kind, "name": entry.name} for entry in each.needed.entries],
        "choices": [{"kind": choice.kind, "parameter": choice.parameter} for choice in each.needed.choices],
    }
