"""Filesystems in one file: how large they become, and the programs that make them of a tree.

squashfs    mksquashfs, of squashfs-tools 4.4 or later; neither compressed nor with fragments: weights and gzipped
            images would hardly become smaller, and so the size is about that of the files
ext3        mke2fs, which copies the tree, then debugfs, of e2fsprogs: owners, modes and times are set in the image,
            because mke2fs takes them from the tree, which is of whoever exports, and of now

Equal trees make equal images by the same version of these programs.
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
from antscache.export.tree import DIRECTORY, FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.export.contents import Tree

Filesystem = Literal["squashfs", "ext3"]
PROGRAMS: dict[Filesystem, tuple[str, ...]] = {"squashfs": ("mksquashfs",), "ext3": ("mke2fs", "debugfs")}
PACKAGES: dict[Filesystem, str] = {"squashfs": "squashfs-tools", "ext3": "e2fsprogs"}
ADMINISTRATORS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where e2fsprogs is, and no user's PATH leads
# What would change an image, and is set here if it is needed.
IN_THE_WAY = ("SOURCE_DATE_EPOCH", "E2FSPROGS_", "MKE2FS_")
BLOCK = 4096  # bytes: an ext3 consists of such blocks, and mksquashfs fills up the last one


def size_of(filesystem: Filesystem, tree: Tree) -> int:
    """Return how many bytes the image of `tree` will have: of an ext3 exactly, of a squashfs about, and no fewer."""
    return _squashfs_size(tree) if filesystem == "squashfs" else _ext3_size(tree)


def check_programs(filesystem: Filesystem) -> None:
    """What makes such a filesystem is here.

    Raises:
        AntsCacheError: it is not.
    """
    for program in PROGRAMS[filesystem]:
        _found(program, PACKAGES[filesystem])


def make(filesystem: Filesystem, tree: Tree, root: Path, image: Path, seconds: int) -> None:
    """The new file `image` is the filesystem of the `tree` that is at `root`, all of it root's and of that time.

    Raises:
        StoreError: the program says that it cannot make it.
        OSError: the disk refused.
    """
    if filesystem == "squashfs":
        _make_squashfs(tree, root, image, seconds)
    else:
        _make_ext3(tree, root, image, seconds)


def _count(tree: Tree) -> int:
    """Return how many files, links and directories `tree` has."""
    return len(tree.files) + len(tree.links) + len(tree.directories)


def _blocks(size: int) -> int:
    """Return how many blocks `size` bytes take, the last one perhaps in part."""
    return -(-size // BLOCK)


# squashfs


def _squashfs_size(tree: Tree) -> int:
    """Return about how many bytes the image of `tree` has: never fewer than it will have.

    An inode, a name of 200 bytes and what a link leads to take less than 384 bytes together; the lists of where a
    file's bytes are take less than one byte in 10,000.
    """
    return _blocks(tree.size + tree.size // 10_000 + 384 * _count(tree)) * BLOCK


def _make_squashfs(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    modes = image.with_name("modes")
    named = [*((path, DIRECTORY) for path in tree.directories[1:]), *((path, FILE) for path in tree.files)]
    modes.write_text("".join(f"{path} m {mode:o} 0 0\n" for path, mode in named))
    root.chmod(DIRECTORY)
    plain = ["-noI", "-noD", "-noF", "-noX", "-no-fragments", "-no-duplicates", "-no-sparse", "-no-xattrs"]
    format_ = ["-comp", "gzip", "-b", "128K", "-exports"]  # gzip: nothing is compressed, but all know it
    same = ["-all-root", "-mkfs-time", str(seconds), "-all-time", str(seconds), "-pf", str(modes)]
    quiet = ["-noappend", "-quiet", "-no-progress", "-mem", "64M"]
    _run("squashfs", "mksquashfs", [str(root), str(image), *format_, *plain, *same, *quiet])


# ext3

RESERVED_INODES = 11  # ten, and lost+found
JOURNAL_BLOCKS = 1024  # the smallest journal
SPARE_BLOCKS = 64  # for superblock, lost+found and the like
EXT3_FEATURES = "none,has_journal,ext_attr,filetype,sparse_super,large_file"


def _ext3_size(tree: Tree) -> int:
    """Return how many bytes the image of `tree` has: more than it takes, whatever its files are.

    Beside its bytes a file, a link or a directory takes less than two blocks: an inode, its name, and one block, which
    says where a file's blocks are or what is in a directory or a link. Half a percent is for large files, which need
    one block more in 1,000, for what each group of blocks has, and for a last group that mke2fs gives up if it is
    small. Where not twice the journal is free, mke2fs makes none.
    """
    content = sum(map(_blocks, tree.files.values())) + 2 * _count(tree)
    return (JOURNAL_BLOCKS + SPARE_BLOCKS + max(JOURNAL_BLOCKS, content + content // 200)) * BLOCK


def _make_ext3(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    inodes = RESERVED_INODES + _count(tree)
    with image.open("wb") as file:  # mke2fs makes the filesystem as large as the file
        file.truncate(_ext3_size(tree))
    named = uuid.UUID(bytes=hashlib.sha256((root / "index.json").read_bytes()).digest()[:16], version=5)
    layout = ["-t", "ext3", "-O", EXT3_FEATURES, "-b", str(BLOCK), "-I", "256", "-N", str(inodes)]
    layout += ["-m", "0", "-J", f"size={JOURNAL_BLOCKS * BLOCK >> 20}", "-U", str(named)]
    extended = f"root_owner=0:0,hash_seed={named},nodiscard,lazy_itable_init=0,lazy_journal_init=0,no_copy_xattrs"
    # A time of 0 is none to these programs. mke2fs does without a configuration: every host has its own.
    environ = {"E2FSPROGS_FAKE_TIME": str(max(1, seconds)), "MKE2FS_CONFIG": str(image.with_name("none"))}
    _run("ext3", "mke2fs", ["-q", "-F", *layout, "-E", extended, "-d", str(root), str(image)], environ)
    script = image.with_name("script")
    fields = "".join(f"set_inode_field {line}\n" for line in _inode_fields(tree, seconds))
    script.write_text(f"{fields}set_super_value flags 1\n")  # else the processor decides how names would be hashed
    said = _run("ext3", "debugfs", ["-w", "-f", str(script), str(image)], environ).splitlines()
    if said[1:]:  # the first line says which version it is; it succeeds whatever happens
        raise _failed("debugfs", "ext3", said[1])


def _inode_fields(tree: Tree, seconds: int) -> Iterable[str]:
    """What debugfs is to set of each inode: paths need no quoting, as manifest.py says."""
    directories = [(path, f"040{DIRECTORY:o}") for path in (*tree.directories, Path("lost+found"))]
    files = [(path, f"0100{FILE:o}") for path in tree.files]
    for path, mode in (*directories, *files, *((path, "") for path in tree.links)):
        if mode:
            yield f"/{path} mode {mode}"
        for field in "uid", "gid":
            yield f"/{path} {field} 0"
        for field in "atime", "ctime", "mtime", "crtime":
            yield f"/{path} {field} @{seconds}"


# Programs


def _run(filesystem: Filesystem, program: str, arguments: list[str], environ: dict[str, str] | None = None) -> str:
    """What `program` says on its standard error; it ends when this does.

    Raises:
        StoreError: it says that it failed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(IN_THE_WAY)}
    with subprocess.Popen(
        [_found(program, PACKAGES[filesystem]), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**kept, "LC_ALL": "C", **(environ or {})},
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:  # it writes to what is about to be removed
            process.kill()
            process.wait()
            raise
    if process.returncode:
        said = [line for line in (*out.splitlines(), *err.splitlines()) if line.strip()]
        raise _failed(program, filesystem, said[-1] if said else f"it ended with {process.returncode}")
    return err


def _failed(program: str, filesystem: Filesystem, said: str) -> StoreError:
    return StoreError(
        f"{program} could not make the image: {said.strip()}",
        hint=f"see that there is space, and that {PACKAGES[filesystem]} is not too old (docs/export.md); or use "
        "--format dir",
    )


def _found(program: str, package: str) -> str:
    """Where `program` is.

    Raises:
        AntsCacheError: nowhere.
    """
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *ADMINISTRATORS))
    if found := shutil.which(program, path=places):
        return found
    raise AntsCacheError(
        f"{program} is not installed", hint=f"`apt-get install {package}` (or as your system says), or use --format dir"
    )
