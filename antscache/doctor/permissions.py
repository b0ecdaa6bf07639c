"""Check the owners and modes of the files in the root: what you, root, and a group may do with them."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE, S_IRGRP, S_ISDIR, S_ISGID
from typing import TYPE_CHECKING

from antscache import store
from antscache.disk import user_name
from antscache.doctor.finding import count_paths, error, note, ok, warning
from antscache.doctor.host import SUPERUSER_UID, nearest_existing
from antscache.doctor.root import is_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host

GROUP_ACCESS_BITS = 0o050  # a umask of 077 takes these from the group, and a umask of 022 does not


@dataclass(slots=True)
class Permissions:
    """The files and directories in a root, by what you and its group may do with them.

    Attributes:
        owned_by_root: the number of those that belong to the user root.
        unwritable: directories that you may not write to.
        unreadable: files and directories that you may not read.
        closed: those that their group may not read, and directories without setgid, which do not pass on their group.
    """

    owned_by_root: int = 0
    unwritable: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def check_owners(host: Host) -> Iterator[Finding]:
    """Check that you may read the files in the root and write to its directories, and so may a group that shares it."""
    root = host.layout.root
    if not root.is_dir() or _is_empty(root):
        yield from _check_parent(root)
        return
    permissions, shared = _collect(root), is_shared(host.layout)
    findings = [
        *_check_root_user(root, permissions, shared=shared),
        *_check_modes(root, permissions),
        *_check_group(root, permissions, shared=shared),
    ]
    yield from findings or [ok(f"{root} belongs to {user_name(root.stat().st_uid)}, and you may write to it")]


def _is_empty(root: Path) -> bool:
    try:
        return not os.listdir(root)  # noqa: PTH208  the names are enough
    except OSError:
        return False


def _check_parent(root: Path) -> Iterator[Finding]:
    """Check that `root`, which does not exist or is empty, can be created."""
    place = nearest_existing(root)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield ok(f"{root} can be created in {place}")
    elif place.is_dir():
        owner = user_name(place.stat().st_uid)
        what = f"{root} cannot be created: {place} belongs to {owner}, and you may not write to it"
        yield error(what, "name another root with --root or ANTSCACHE_DIR")
    else:
        yield error(f"{root} cannot be created: {place} is not a directory", "name another root with --root")


def _collect(root: Path) -> Permissions:
    """Look at everything in `root`, except the files of views, which have the owners and modes of their blobs."""
    permissions = Permissions()
    views = str(root / "views")
    _add(permissions, str(root))
    for directory, directories, files in os.walk(root, onerror=lambda _: None):
        names = directories if directory.startswith(views) else directories + files
        for name in names:
            _add(permissions, os.path.join(directory, name))  # noqa: PTH118  there may be many
    return permissions


def _add(permissions: Permissions, path: str) -> None:
    """Add the file or directory at `path` to `permissions`."""
    try:
        status = os.lstat(path)
    except OSError:
        return  # it was deleted meanwhile
    directory = S_ISDIR(status.st_mode)
    permissions.owned_by_root += status.st_uid == SUPERUSER_UID
    if not os.access(path, os.R_OK | (os.X_OK if directory else 0)) and not os.path.islink(path):  # noqa: PTH114
        permissions.unreadable.append(path)
    if directory and not os.access(path, os.W_OK | os.X_OK):
        permissions.unwritable.append(path)
    if not status.st_mode & S_IRGRP or (directory and not status.st_mode & S_ISGID):
        permissions.closed.append(path)


def _check_root_user(root: Path, permissions: Permissions, *, shared: bool) -> Iterator[Finding]:
    """Check that no files of the user root are in `root` where others use it, and that root will not add any."""
    me, owner = os.geteuid(), root.stat().st_uid
    if me == SUPERUSER_UID:
        if owner != SUPERUSER_UID:
            as_owner = f"docker run --user {owner}:{root.stat().st_gid}"
            consequence = "who may not change the files that you write there"
            what = f"you are root, but {root} belongs to {user_name(owner)}, {consequence}"
            yield warning(what, f"run antscache as its owner; in a container: {as_owner}")
    elif permissions.owned_by_root and not (owner == SUPERUSER_UID and _is_readers(root)):
        new_owner = f"{me}" if shared else f"{me}:{os.getegid()}"
        paths = f"{count_paths(permissions.owned_by_root)} in {root}"
        what = f"the user root owns {paths}, as after a docker run without --user"
        remedy = f"sudo find {shlex.quote(str(root))} -user root -exec chown -h {new_owner} {{}} +"
        remedy += f"; from now on: docker run --user {me}:{os.getegid()}"
        blocked = any(Path(path).stat().st_uid == SUPERUSER_UID for path in permissions.unwritable)
        yield error(f"{what}, and you may not write there", remedy) if blocked else warning(what, remedy)


def _is_readers(root: Path) -> bool:
    """Return True if you may read `root` and not write to it, as a lab's cache lets its users."""
    return os.access(root, os.R_OK | os.X_OK) and not os.access(root, os.W_OK)


def _check_modes(root: Path, permissions: Permissions) -> Iterator[Finding]:
    """Check that you may read `root` and write to its directories, except those that `_check_root_user` reports."""
    me, status = os.geteuid(), root.stat()
    mine = [path for path in permissions.unwritable if Path(path).stat().st_uid == me]
    others = [path for path in permissions.unwritable if Path(path).stat().st_uid not in {me, SUPERUSER_UID}]
    if status.st_uid == SUPERUSER_UID and _is_readers(root):
        others = permissions.unwritable
    use_as_lower = "to use its files, set ANTSCACHE_SITE_DIRS to it, and ANTSCACHE_DIR to a root of your own"
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        what = f"{root} is on a read-only filesystem: you can use its files, but antscache cannot add any"
        yield warning(what, use_as_lower)
    elif mine:
        yield error(f"you may not write to {mine[0]}, although it is yours", f"chmod u+rwx {shlex.quote(mine[0])}")
    elif others:
        owner = user_name(Path(others[0]).stat().st_uid)
        if _is_readers(root):
            yield note(f"{root} belongs to {owner}: you can use its files, and not add any", use_as_lower)
        else:
            yield warning(f"you may not write to {others[0]}: it belongs to {owner}", use_as_lower)
    elif me != SUPERUSER_UID and status.st_uid not in {me, SUPERUSER_UID}:
        yield note(f"{root} belongs to {user_name(status.st_uid)}, and you may write to it")
    if permissions.unreadable:
        path = permissions.unreadable[0]
        more = f" and {len(permissions.unreadable) - 1} more" if len(permissions.unreadable) > 1 else ""
        owner = user_name(os.lstat(path).st_uid)
        remedy = f"its owner has to run: chmod -R a+rX {shlex.quote(str(root))}"
        yield error(f"you may not read {path}{more}: it belongs to {owner}", remedy)


def _check_group(root: Path, permissions: Permissions, *, shared: bool) -> Iterator[Finding]:
    """Check that the group of a shared `root` may use everything in it, and that your umask lets it."""
    if not shared:
        return
    quoted = shlex.quote(str(root))
    if permissions.closed:
        paths = f"{count_paths(len(permissions.closed))}, for example {permissions.closed[0]}"
        what = f"closed to the group of {root}: {paths}"
        yield warning(what, f"their owners have to run: antscache init --shared --root {quoted}")
    if above := store.find_impassable_parent(root):
        what = f"{above} is closed to the group of {root}, so the group cannot get to the root"
        yield warning(what, f"chmod g+x {shlex.quote(str(above))}")
    umask = _read_umask()
    if umask & GROUP_ACCESS_BITS:
        what = f"your umask is {umask:04o}: files that you copy to {root} yourself are closed to its group"
        yield note(f"{what}; those that antscache writes are not", "run umask 0002 before you copy files there")


def _read_umask() -> int:
    """Return the umask. Where the system tells it (Linux 4.7 or later), it is not changed, not even for a moment."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration):
        umask = os.umask(0o077)
        os.umask(umask)
        return S_IMODE(umask)
