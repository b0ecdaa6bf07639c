"""Export the files of releases as a root of their own, which is used elsewhere as a lower cache.

    contents.py            the contents of an export, and the plan of its tree
    write.py               write an export beside its target, and give it its name last
    tree.py                make the tree, with the code that makes every root
    filesystem_images.py   put a tree into one file: squashfs, ext3

An export does not tell who made it, where and when: the same selection and the same bytes give the same names, bytes,
modes and times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.export.contents import Contents, ExportedRelease, plan_export, plan_locked_export
    from antscache.export.write import Format, Target, check_target, format_of, write_export

__all__ = [
    "Contents",
    "ExportedRelease",
    "Format",
    "Target",
    "check_target",
    "format_of",
    "plan_export",
    "plan_locked_export",
    "write_export",
]

__getattr__ = lazily(
    __name__,
    {
        "contents": ("Contents", "ExportedRelease", "plan_export", "plan_locked_export"),
        "write": ("Format", "Target", "check_target", "format_of", "write_export"),
    },
)
