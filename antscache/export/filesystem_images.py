"""Make a filesystem image of a tree, with programs that are installed, and say its size beforehand.

squashfs    made by mksquashfs, of squashfs-tools 4.4 or later, without compression and without fragments: weights and
            gzipped images would hardly become smaller, so the image is about as large as the files
ext3        made by mke2fs, which copies the tree, and then debugfs, both of e2fsprogs. debugfs sets owners, modes and
            times in the image, because mke2fs takes them from the tree, where they are those of this user and of now

The same version of these programs makes equal images of equal trees.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from antscache.errors import AntsCacheError, StoreError
from antscache.export.tree import DIRECTORY_MODE, FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.export.contents import Tree

Filesystem = Literal["squashfs", "ext3"]
PROGRAMS: dict[Filesystem, tuple[str, ...]] = {"squashfs": ("mksquashfs",), "ext3": ("mke2fs", "debugfs")}
PACKAGES: dict[Filesystem, str] = {"squashfs": "squashfs-tools", "ext3": "e2fsprogs"}
ADMIN_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # of e2fsprogs; the PATH of most users lacks them
# Environment variables that change an image are not passed on. Those that are needed are set here.
DROPPED_VARIABLE_PREFIXES = ("SOURCE_DATE_EPOCH", "E2FSPROGS_", "MKE2FS_")
BLOCK_BYTES = 4096  # an ext3 consists of such blocks, and mksquashfs fills up the last one


def size_of(filesystem: Filesystem, tree: Tree) -> int:
    """Return the bytes of the image of `tree`: exact for an ext3, for a squashfs never too small."""
    return _squashfs_size(tree) if filesystem == "squashfs" else _ext3_size(tree)


def check_programs(filesystem: Filesystem) -> None:
    """Check that the programs that make such a filesystem are installed.

    Raises:
        AntsCacheError: one of them is not.
    """
    for program in PROGRAMS[filesystem]:
        _find_program(program, PACKAGES[filesystem])


def make(filesystem: Filesystem, tree: Tree, root: Path, image: Path, seconds: int) -> None:
    """Make the file `image`, a filesystem with a copy of the `tree` at `root`.

    In the image, everything belongs to the user root, and all times are `seconds` since 1970.

    Raises:
        StoreError: a program failed.
        OSError: the disk refused.
    """
    if filesystem == "squashfs":
        _make_squashfs(tree, root, image, seconds)
    else:
        _make_ext3(tree, root, image, seconds)


def _count(tree: Tree) -> int:
    """Return the number of files, links and directories of `tree`."""
    return len(tree.files) + len(tree.links) + len(tree.directories)


def _blocks(size: int) -> int:
    """Return the number of blocks that `size` bytes take."""
    return -(-size // BLOCK_BYTES)


# squashfs


def _squashfs_size(tree: Tree) -> int:
    """Return an estimate of the bytes of the image of `tree`, which is never too small.

    An inode, a name of 200 bytes and the target of a link take less than 384 bytes together. The lists of the blocks
    of a file take less than one byte in 10,000 of its bytes.
    """
    return _blocks(tree.size + tree.size // 10_000 + 384 * _count(tree)) * BLOCK_BYTES


def _make_squashfs(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    modes = image.with_name("modes")
    named = [*((path, DIRECTORY_MODE) for path in tree.directories[1:]), *((path, FILE_MODE) for path in tree.files)]
    modes.write_text("".join(f"{path} m {mode:o} 0 0\n" for path, mode in named))
    root.chmod(DIRECTORY_MODE)
    plain = ["-noI", "-noD", "-noF", "-noX", "-no-fragments", "-no-duplicates", "-no-sparse", "-no-xattrs"]
    format_ = [
        "-comp",
        "gzip",
        "-b",
        "128K",
        "-exports",
    ]  # gzip: nothing is compressed, but every squashfs reader knows it
    same = ["-all-root", "-mkfs-time", str(seconds), "-all-time", str(seconds), "-pf", str(modes)]
    quiet = ["-noappend", "-quiet", "-no-progress", "-mem", "64M"]
    _run("squashfs", "mksquashfs", [str(root), str(image), *format_, *plain, *same, *quiet])


# ext3

RESERVED_INODES = 11  # ten, and that of lost+found
JOURNAL_BLOCKS = 1024  # of the smallest journal
SPARE_BLOCKS = 64  # for the superblock, lost+found and the like
EXT3_FEATURES = "none,has_journal,ext_attr,filetype,sparse_super,large_file"


def _ext3_size(tree: Tree) -> int:
    """Return the bytes of the image of `tree`: enough for every tree with these paths and sizes.

    A file, a link or a directory takes less than two blocks beside its bytes: an inode, its name, and one block with
    the list of a file's blocks, the entries of a directory or the target of a link. Half a percent is added: a large
    file needs one block more in 1,000, each group of blocks has a header, and mke2fs drops a last group that is small.
    Where less than twice the size of the journal is free, mke2fs makes no journal.
    """
    content = sum(map(_blocks, tree.files.values())) + 2 * _count(tree)
    return (JOURNAL_BLOCKS + SPARE_BLOCKS + max(JOURNAL_BLOCKS, content + content // 200)) * BLOCK_BYTES


def _make_ext3(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    inodes = RESERVED_INODES + _count(tree)
    with image.open("wb") as file:  # mke2fs makes the filesystem as large as the file
        file.truncate(_ext3_size(tree))
    identity = uuid.UUID(bytes=hashlib.sha256((root / "index.json").read_bytes()).digest()[:16], version=5)
    layout = ["-t", "ext3", "-O", EXT3_FEATURES, "-b", str(BLOCK_BYTES), "-I", "256", "-N", str(inodes)]
    layout += ["-m", "0", "-J", f"size={JOURNAL_BLOCKS * BLOCK_BYTES >> 20}", "-U", str(identity)]
    extended = f"root_owner=0:0,hash_seed={identity},nodiscard,lazy_itable_init=0,lazy_journal_init=0,no_copy_xattrs"
    # These programs take a time of 0 for none. mke2fs gets no configuration file, because each host has its own.
    environ = {"E2FSPROGS_FAKE_TIME": str(max(1, seconds)), "MKE2FS_CONFIG": str(image.with_name("none"))}
    _run("ext3", "mke2fs", ["-q", "-F", *layout, "-E", extended, "-d", str(root), str(image)], environ)
    script = image.with_name("script")
    fields = "".join(f"set_inode_field {line}\n" for line in _inode_fields(tree, seconds))
    script.write_text(f"{fields}set_super_value flags 1\n")  # else the hash of names depends on the processor
    lines = _run("ext3", "debugfs", ["-w", "-f", str(script), str(image)], environ).splitlines()
    if lines[1:]:  # the first line is the version, the others are errors: its exit code is always 0
        raise _failure("debugfs", "ext3", lines[1])


def _inode_fields(tree: Tree, seconds: int) -> Iterable[str]:
    """Yield the inode fields that debugfs has to set. Paths need no quotes: manifest.py limits their characters."""
    directories = [(path, f"040{DIRECTORY_MODE:o}") for path in (*tree.directories, Path("lost+found"))]
    files = [(path, f"0100{FILE_MODE:o}") for path in tree.files]
    for path, mode in (*directories, *files, *((path, "") for path in tree.links)):
        if mode:
            yield f"/{path} mode {mode}"
        for field in "uid", "gid":
            yield f"/{path} {field} 0"
        for field in "atime", "ctime", "mtime", "crtime":
            yield f"/{path} {field} @{seconds}"


# Programs


def _run(filesystem: Filesystem, program: str, arguments: list[str], environ: dict[str, str] | None = None) -> str:
    """Run `program`, and return its standard error. When this function is interrupted, the program is killed.

    Raises:
        StoreError: `program` failed.
        AntsCacheError: `program` is not installed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED_VARIABLE_PREFIXES)}
    with subprocess.Popen(
        [_find_program(program, PACKAGES[filesystem]), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**kept, "LC_ALL": "C", **(environ or {})},
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:  # it would go on writing to a directory that is about to be removed
            process.kill()
            process.wait()
            raise
    if process.returncode:
        lines = [line for line in (*out.splitlines(), *err.splitlines()) if line.strip()]
        raise _failure(program, filesystem, lines[-1] if lines else f"exit code {process.returncode}")
    return err


def _failure(program: str, filesystem: Filesystem, message: str) -> StoreError:
    return StoreError(
        f"{program} could not make the image: {message.strip()}",
        hint=f"check that there is enough space, and that your {PACKAGES[filesystem]} is not too old (docs/export.md); "
        "or use --format dir",
    )


def _find_program(program: str, package: str) -> str:
    """Return the path of `program`.

    Raises:
        AntsCacheError: it is not installed.
    """
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *ADMIN_DIRECTORIES))
    if path := shutil.which(program, path=places):
        return path
    raise AntsCacheError(
        f"{program} is not installed", hint=f"install it (on Debian: `apt-get install {package}`), or use --format dir"
    )
