"""The verbs that only look: list, status, releases, show, diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.group import antscache
from antscache.cli.options import KINDS, Invocation, as_json, manifest, one_release, shared

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from antscache.cache import Usage


@antscache.command(name="list")
@click.argument("release", required=False)
@one_release
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only this kind.")
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
    """List what is held; with RELEASE, everything the release asks for and whether it is present."""
    cache = invocation.cache()
    if release is None and source is None and python is None:
        _print_usages(cache.usages(), json=json)
        return
    wanted = {KINDS[kind] for kind in kinds or KINDS}
    found = cache.statuses(manifest(cache, release, source, python))
    rows = [(entry, status) for entry, status in found if entry.kind in wanted]
    if json:
        keys = ("kind", "name", "file", "identifier")
        render.print_json([{key: getattr(entry, key) for key in keys} | {"status": status} for entry, status in rows])
        return
    render.print_table(
        (
            entry.kind,
            entry.name,
            entry.file,
            entry.identifier or "-",
            f"{status}: {entry.reason}" if entry.reason else status,
        )
        for entry, status in rows
    )


def _print_usages(usages: Iterable[Usage], *, json: bool) -> None:
    if json:
        render.print_json(
            [
                {
                    "release": str(usage.release),
                    "entries": usage.entries,
                    "present": usage.present,
                    "size": usage.size,
                    "own": usage.own,
                    "shared": usage.shared,
                    "below": usage.below,
                    "home": str(usage.home),
                }
                for usage in usages
            ]
        )
        return
    render.print_table(
        (
            str(usage.release),
            f"{usage.present} of {render.files(usage.entries)}",
            render.size(usage.size),
            f"{render.size(usage.own)} of its own",
            f"{render.size(usage.shared)} shared",
            f"{render.size(usage.below)} in lower caches" if usage.below else "",
        )
        for usage in usages
    )


@antscache.command()
@as_json
@shared
@click.pass_obj
def status(invocation: Invocation, json: bool) -> None:
    """Show the root, its lower caches, the releases in use, and what they cost alone and shared."""
    from antscache.space import free

    cache = invocation.cache()
    usages, (blobs, size), root = cache.usages(), cache.store.stored(), cache.store.layout.root
    space = free(root)
    if json:
        releases = [
            {
                "release": str(u.release),
                "size": u.size,
                "own": u.own,
                "shared": u.shared,
                "below": u.below,
                "missing": u.entries - u.present,
            }
            for u in usages
        ]
        lowers = [{"root": str(lower.layout.root), "unused": None} for lower in cache.store.lowers]
        lowers += [{"root": str(each.directory), "unused": each.why} for each in cache.unused]
        facts = {"root": str(root), "blobs": blobs, "size": size, "free": space, "lowers": lowers, "releases": releases}
        render.print_json(facts)
        return
    click.echo(f"root   {root}{'' if cache.store.exists() else ' (not made yet)'}")
    for lower in cache.store.lowers:
        click.echo(f"below  {lower.layout.root}: {', '.join(map(str, lower.refs.releases())) or 'no release in use'}")
    for unused in cache.unused:
        click.echo(f"below  {unused.directory}: not used, {unused.why}")
    click.echo(f"blobs  {blobs} in {render.size(size)}{'' if space is None else f', {render.size(space)} free'}")
    _print_usages(usages, json=False)


@antscache.command()
@as_json
@shared
@click.pass_obj
def releases(invocation: Invocation, json: bool) -> None:
    """List the releases whose manifests are at hand; others are read from the package index when named."""
    cache = invocation.cache()
    rows = []
    for release in cache.catalog.releases():
        entries = cache.manifest(release).entries
        rows.append((str(release), len(entries), sum(entry.identifier is None for entry in entries)))
    if json:
        render.print_json([{"release": name, "entries": count, "unavailable": never} for name, count, never in rows])
        return
    render.print_table(
        (name, f"{count} entries", f"{never} unavailable" if never else "") for name, count, never in rows
    )


@antscache.command()
@click.argument("name")
@as_json
@shared
@click.pass_obj
def show(invocation: Invocation, name: str, json: bool) -> None:
    """Show what NAME is in every release at hand."""
    from antscache.plan import unknown_names

    catalog = invocation.cache().catalog
    manifests = [found for found in map(catalog.at_hand, catalog.releases()) if found]
    entries = [(each.release, entry) for each in manifests for entry in each.entries if entry.name == name]
    if not entries:
        known = {entry.name for each in manifests for entry in each.entries}
        raise unknown_names([name], known, "any release at hand")
    if json:
        keys = ("kind", "name", "file", "identifier", "reason")
        render.print_json([{"release": str(r)} | {key: getattr(entry, key) for key in keys} for r, entry in entries])
        return
    render.print_table(
        (str(release), entry.kind, entry.file, entry.identifier or f"unavailable: {entry.reason}")
        for release, entry in entries
    )


@antscache.command()
@click.argument("old", metavar="RELEASE_A")
@click.argument("new", metavar="RELEASE_B")
@as_json
@shared
@click.pass_obj
def diff(invocation: Invocation, old: str, new: str, json: bool) -> None:
    """Show which names RELEASE_B adds (+), removes (-) or gives other bytes (~)."""
    from antscache.manifest import changes

    cache = invocation.cache()
    found = changes(manifest(cache, old, None, None), manifest(cache, new, None, None))
    added = [change for change in found if change.old is None]
    removed = [change for change in found if change.new is None]
    changed = [(c.kind, c.name, c.old.identifier, c.new.identifier) for c in found if c.old and c.new]
    if json:
        render.print_json(
            {
                "added": [{"kind": c.kind, "name": c.name, "identifier": c.new and c.new.identifier} for c in added],
                "removed": [
                    {"kind": c.kind, "name": c.name, "identifier": c.old and c.old.identifier} for c in removed
                ],
                "changed": [{"kind": k, "name": n, "old": before, "new": after} for k, n, before, after in changed],
            }
        )
        return
    rows = [("+", c.kind, c.name, str(c.new and c.new.identifier)) for c in added]
    rows += [("-", c.kind, c.name, str(c.old and c.old.identifier)) for c in removed]
    rows += [("~", kind, name, f"{before} -> {after}") for kind, name, before, after in changed]
    render.print_table(rows)
    invocation.say(f"{len(added)} added, {len(removed)} removed, {len(changed)} changed")
