"""A root for elsewhere: what is held of releases, as a root of its own that is used as a lower cache.

    contents.py            what an export holds, and the tree that it becomes
    write.py               make it beside the target, and give it its name last
    tree.py                the tree, made by what makes every root
    filesystem_images.py   a tree in one file: squashfs, ext3

Nothing tells by whom, where and when an export was made: the same selection and the same bytes are the same names,
bytes, modes and times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.export.contents import Contents, ExportedRelease, plan_export
    from antscache.export.write import Format, Target, check_target, format_of, write_export

__all__ = [
    "Contents",
    "ExportedRelease",
    "Format",
    "Target",
    "check_target",
    "format_of",
    "plan_export",
    "write_export",
]

__getattr__ = lazily(
    __name__,
    {
        "contents": ("Contents", "ExportedRelease", "plan_export"),
        "write": ("Format", "Target", "check_target", "format_of", "write_export"),
    },
)
