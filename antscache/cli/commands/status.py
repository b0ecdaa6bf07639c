"""`antscache status`: show the root, its lower caches and the releases in use."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.commands.list import print_usages
from antscache.cli.options import Invocation, as_json, shared
from antscache.errors import StoreError


@click.command()
@as_json
@shared
@click.pass_obj
def status(invocation: Invocation, json: bool) -> None:
    """Show the root, its lower caches and the releases in use.

    Shows for each release the bytes of its own, the bytes that it shares with others, and how many files are adopted:
    your word alone says what they are. Shows whether the names in views share the space of blobs.
    """
    from antscache.disk import free_space

    cache = invocation.cache()
    usages, (blobs, size), root = cache.usages(), cache.store.stored(), cache.store.layout.root
    space, names = free_space(root), cache.names_in_views()
    if json:
        releases = [
            {
                "release": str(u.release),
                "size": u.size,
                "own": u.own,
                "shared": u.shared,
                "below": u.below,
                "offered": u.offered,
                "missing": u.entries - u.present,
                "adopted": u.adopted,
            }
            for u in usages
        ]
        lowers = [{"root": str(lower.layout.root), "unused": None} for lower in cache.store.lowers]
        lowers += [{"root": str(unused.directory), "unused": unused.why} for unused in cache.unused]
        facts = {"root": str(root), "blobs": blobs, "size": size, "free": space, "lowers": lowers, "releases": releases}
        copied = sum(name.size for name in names.copies)
        views = {"names": names.count, "copies": len(names.copies), "copied": copied, "clones": names.clones}
        render.print_json(facts | {"views": views})
        return
    render.print_line(f"root   {root}{'' if cache.store.exists() else ' (not made yet)'}")
    for lower in cache.store.lowers:
        try:
            in_use = ", ".join(map(str, lower.refs.releases())) or "no release in use"
        except StoreError as error:  # other commands pass over it
            in_use = str(error)
        render.print_line(f"below  {lower.layout.root}: {in_use}")
    for unused in cache.unused:
        render.print_line(f"below  {unused.directory}: not used, {unused.why}")
    render.print_line(f"blobs  {blobs} in {render.size(size)}{'' if space is None else f', {render.size(space)} free'}")
    render.print_line(f"views  {render.names(names)}")
    print_usages(usages)
    if not usages:
        invocation.say("hint: `antscache releases` lists those that `antscache prefetch RELEASE` fetches")
