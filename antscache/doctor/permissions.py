"""Whose the root is, and what each user may do in it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE, S_IRGRP, S_ISDIR, S_ISGID
from typing import TYPE_CHECKING

from antscache import store
from antscache.disk import user_name
from antscache.doctor.finding import error, note, ok, warning
from antscache.doctor.host import nearest
from antscache.doctor.root import is_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host

SUPERUSER = 0
GROUP = 0o050  # what a umask of 077 takes from the group, and one of 022 does not


@dataclass(slots=True)
class Owned:
    """What lies in a root, by what may be done with it; paths of files and directories.

    Attributes:
        supers: how many belong to root.
        unwritable: directories that may not be written to.
        unreadable: files and directories that may not be read.
        closed: those that their group may not read, and directories that do not hand their group on.
    """

    supers: int = 0
    unwritable: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def check_owners(host: Host) -> Iterator[Finding]:
    """Whether what the root holds can be read, and written to by who uses it."""
    root = host.layout.root
    if not root.is_dir() or _is_empty(root):
        yield from _not_made(root)
        return
    owned, shared = _look(root), is_shared(host.layout)
    found = [*_of_root(root, owned, shared=shared), *_of_modes(root, owned), *_of_group(root, owned, shared=shared)]
    yield from found or [ok(f"{root} belongs to {user_name(root.stat().st_uid)}, and you may write to it")]


def _is_empty(root: Path) -> bool:
    try:
        return not os.listdir(root)  # noqa: PTH208  its names are enough
    except OSError:
        return False


def _not_made(root: Path) -> Iterator[Finding]:
    there = nearest(root)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield ok(f"{root} can be made in {there}")
    elif there.is_dir():
        told = (
            f"{root} cannot be made: {there} belongs to {user_name(there.stat().st_uid)}, and you may not write to it"
        )
        yield error(told, "name another root with --root or ANTSCACHE_DIR")
    else:
        yield error(f"{root} cannot be made: {there} is not a directory", "name another root with --root")


def _look(root: Path) -> Owned:
    """What is in `root`. The links of views are left out: they share their blobs' owners and modes."""
    owned = Owned()
    views = str(root / "views")
    _add(owned, str(root))
    for directory, directories, files in os.walk(root, onerror=lambda _: None):
        names = directories if directory.startswith(views) else directories + files
        for name in names:
            _add(owned, os.path.join(directory, name))  # noqa: PTH118  there may be many
    return owned


def _add(owned: Owned, path: str) -> None:
    try:
        status = os.lstat(path)
    except OSError:
        return  # gone meanwhile
    directory = S_ISDIR(status.st_mode)
    owned.supers += status.st_uid == SUPERUSER
    if not os.access(path, os.R_OK | (os.X_OK if directory else 0)) and not os.path.islink(path):  # noqa: PTH114
        owned.unreadable.append(path)
    if directory and not os.access(path, os.W_OK | os.X_OK):
        owned.unwritable.append(path)
    if not status.st_mode & S_IRGRP or (directory and not status.st_mode & S_ISGID):
        owned.closed.append(path)


def _of_root(root: Path, owned: Owned, *, shared: bool) -> Iterator[Finding]:
    """What belongs to root and should not, or will if it goes on like that."""
    me, owner = os.geteuid(), root.stat().st_uid
    if me == SUPERUSER:
        if owner != SUPERUSER:
            as_owner = f"docker run --user {owner}:{root.stat().st_gid}"
            told = f"you are root and {root} belongs to {user_name(owner)}, who may not change what you write there"
            yield warning(told, f"run antscache as its owner; in a container: {as_owner}")
    elif owned.supers:
        whose = f"{me}" if shared else f"{me}:{os.getegid()}"
        told = f"{owned.supers} files and directories in {root} belong to root, as after a docker run without --user"
        remedy = f"sudo find {shlex.quote(str(root))} -user root -exec chown -h {whose} {{}} +"
        remedy += f"; from now on: docker run --user {me}:{os.getegid()}"
        bad = any(Path(path).stat().st_uid == SUPERUSER for path in owned.unwritable)
        yield error(f"{told}, and you may not write there", remedy) if bad else warning(told, remedy)


def _of_modes(root: Path, owned: Owned) -> Iterator[Finding]:
    """What may not be written to or read."""
    me, status = os.geteuid(), root.stat()
    mine = [path for path in owned.unwritable if Path(path).stat().st_uid == me]
    others = [path for path in owned.unwritable if Path(path).stat().st_uid not in {me, SUPERUSER}]
    lower = "to read what it holds, set ANTSCACHE_SITE_DIRS to it and name a root of your own with ANTSCACHE_DIR"
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        yield warning(f"{root} is on a read-only filesystem: what it holds can be used, and nothing added", lower)
    elif mine:
        yield error(f"you may not write to {mine[0]}, which is yours", f"chmod u+rwx {shlex.quote(mine[0])}")
    elif others:
        whose = user_name(Path(others[0]).stat().st_uid)
        yield warning(f"you may not write to {others[0]}, which belongs to {whose}", lower)
    elif me != SUPERUSER and status.st_uid not in {me, SUPERUSER}:
        yield note(f"{root} belongs to {user_name(status.st_uid)}, and you may write to it")
    if owned.unreadable:
        more = f" and {len(owned.unreadable) - 1} more" if len(owned.unreadable) > 1 else ""
        whose = user_name(os.lstat(owned.unreadable[0]).st_uid)
        remedy = f"let {whose} run: chmod -R a+rX {shlex.quote(str(root))}"
        yield error(f"you may not read {owned.unreadable[0]}{more}, which belongs to {whose}", remedy)


def _of_group(root: Path, owned: Owned, *, shared: bool) -> Iterator[Finding]:
    """What a group that shares the root cannot use."""
    if not shared:
        return
    quoted = shlex.quote(str(root))
    if owned.closed:
        told = f"{len(owned.closed)} files and directories in {root} are closed to its group, such as {owned.closed[0]}"
        yield warning(told, f"let whom they belong to run: antscache init --shared --root {quoted}")
    if above := store.closed(root):
        yield warning(f"{above} is closed to the group of {root}, which is below it", f"chmod g+x {above}")
    umask = _umask()
    if umask & GROUP:
        told = f"your umask is {umask:04o}: antscache opens to the group what it makes in {root}, other programs do not"
        yield note(told, "umask 0002 before you put anything there by hand")


def _umask() -> int:
    """The umask, without a moment in which it is another one, where the system tells (Linux from 4.7 on)."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration):
        umask = os.umask(0o077)
        os.umask(umask)
        return S_IMODE(umask)
