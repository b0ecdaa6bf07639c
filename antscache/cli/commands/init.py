"""`antscache init`: make the root, or share it with a group."""

from __future__ import annotations

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared
from antscache.errors import ConfigError


@click.command()
@click.option("--shared", "with_group", is_flag=True, help="Share it: a group adds and uses, everybody else reads.")
@click.option("--group", metavar="NAME", help="The group; else the one that the directory has.")
@as_json
@shared
@click.pass_obj
def init(invocation: Invocation, with_group: bool, group: str | None, json: bool) -> None:
    """Make the root, and print where it is. One that is there stays as it is, but for --shared, which opens it.

    Other commands make a root of your own when they need one. In a shared one members trust each other with what their
    programs load: see docs/sharing.md.
    """
    from antscache.disk import group_name, owner_of
    from antscache.store import closed, group_number

    if group and not with_group:
        raise ConfigError("--group goes with --shared", hint="add --shared, or leave --group out")
    store = invocation.cache().store
    root, others = store.layout.root, []
    if with_group:
        others = store.share(group_number(group) if group else None)
    else:
        store.create()
    named = group_name(root.stat().st_gid) if store.layout.shared else None
    if json:
        render.print_json({"root": str(root), "shared": store.layout.shared, "group": named})
    else:
        click.echo(root)
    if named:
        invocation.say(f"shared with the group {named}: its members trust each other with what their programs load")
    if others:
        owners = ", ".join(sorted({owner_of(path) for path in others}))
        told = f"{render.files(len(others))} of others stay as they are, such as {others[0]}"
        invocation.say(f"warning: {told}\nhint: they are shared already, or {owners} can chmod them")
    if named and (above := closed(root)):
        invocation.say(f"warning: the group cannot pass {above}\nhint: run `chmod g+x {above}`, or choose another root")
