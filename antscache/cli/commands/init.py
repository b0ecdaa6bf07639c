"""`antscache init`: make the root, or share it with a group."""

from __future__ import annotations

import shlex

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared
from antscache.errors import ConfigError


@click.command()
@click.option("--shared", "with_group", is_flag=True, help="Share the root: a group reads and adds, others read.")
@click.option("--group", metavar="NAME", help="Share with group NAME. [default: the directory's group]")
@as_json
@shared
@click.pass_obj
def init(invocation: Invocation, with_group: bool, group: str | None, json: bool) -> None:
    """Make the root, or share it with a group.

    Prints the root's path. An existing root stays as it is; with --shared it is opened to the group. Other commands
    make a root of your own when they need one. Where your root was on a disk that is not mounted now, only --root makes
    another. Members of a shared root trust each other with the files that their programs load: see docs/sharing.md.
    """
    from antscache.disk import group_name, owner_of
    from antscache.store import find_impassable_parent, group_number

    if group and not with_group:
        raise ConfigError("--group goes with --shared", hint="add --shared, or leave --group out")
    store = invocation.cache().store
    root, unchanged, anew = store.layout.root, [], "root" in invocation.flags
    if with_group:
        unchanged = store.share(group_number(group) if group else None, anew=anew)
    else:
        store.create(anew=anew)
    named = group_name(root.stat().st_gid) if store.layout.shared else None
    if json:
        render.print_json({"root": str(root), "shared": store.layout.shared, "group": named})
    else:
        render.print_path(root)
    if named:
        invocation.say(f"shared with the group {named}: its members trust each other's files")
    if unchanged:
        owners = ", ".join(sorted({owner_of(path) for path in unchanged}))
        files = f"{render.files(len(unchanged))} of other users"
        what = f"warning: {files} stay as they are, such as {unchanged[0]}"
        invocation.say(what, hint=f"they are shared already, or {owners} can chmod them")
    if named and (above := find_impassable_parent(root)):
        hint = f"run `chmod g+x {shlex.quote(str(above))}`, or choose another root"
        invocation.say(f"warning: the group cannot enter {above}", hint=hint)
