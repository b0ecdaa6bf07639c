"""A box: one directory with everything that a command can touch, read from a disk and written to one.

<box>/root/     the root
<box>/home/     HOME, and the working directory
<box>/out/      the home that `link` makes
<box>/old/      the directory that `adopt` takes over
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faults.disk import Directory, File, Symlink, Tree

if TYPE_CHECKING:
    from pathlib import Path


def take_up(box: Path) -> tuple[Tree, dict[str, int]]:
    """Return the contents of `box`, and the inode of each path; the empty path is `box` itself."""
    tree: Tree = {}
    inodes = {"": box.stat().st_ino}
    for path in sorted(box.rglob("*")):
        name, status = str(path.relative_to(box)), path.lstat()
        inodes[name] = status.st_ino
        if path.is_symlink():
            tree[name] = Symlink(str(path.readlink()))
        elif path.is_dir():
            tree[name] = Directory(status.st_mode & 0o7777)
        else:
            tree[name] = File(path.read_bytes(), status.st_mode & 0o7777, status.st_ino, status.st_mtime_ns)
    return tree, inodes


def put_down(tree: Tree, box: Path) -> None:
    """Make `box` with the contents of `tree`."""
    box.mkdir()
    made: dict[int, str] = {}
    for name, each in tree.items():
        path = f"{box}/{name}"
        if isinstance(each, Directory):
            os.mkdir(path, each.mode | 0o700)  # noqa: PTH102  there are many: strings are faster
        elif isinstance(each, Symlink):
            os.symlink(each.target, path)  # noqa: PTH211
        elif each.node in made:
            os.link(made[each.node], path)
        else:
            made[each.node] = path
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, each.mode)
            os.write(descriptor, each.content)
            if each.changed is not None:
                os.utime(descriptor, ns=(each.changed, each.changed))
            os.close(descriptor)
