"""Filesystems in one file: how large they become, and the programs that make them of a tree.

squashfs    mksquashfs, of squashfs-tools 4.4 or later; neither compressed nor with fragments: weights and gzipped
            images would hardly become smaller, and so the size is known before
ext3        mke2fs, which copies the tree, then debugfs, of e2fsprogs: owners, modes and times are set in the image,
            because mke2fs takes them from the tree, which is of whoever exports, and of now

Equal trees make equal images by the same version of these programs.
"""

from __future__ import annotations

import hashlib
import itertools
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


def size_of(filesystem: Filesystem, tree: Tree) -> int:
    """How many bytes the image of `tree` has at most: of a squashfs all but exactly, of an ext3 exactly."""
    return squashfs_size(tree) if filesystem == "squashfs" else ext3_blocks(tree)[0] * EXT3_BLOCK


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


def _units(size: int, unit: int) -> int:
    """How many units `size` takes, the last one perhaps in part."""
    return -(-size // unit)


# squashfs (https://docs.kernel.org/filesystems/squashfs.html)

DATA_BLOCK = 128 << 10  # bytes: mksquashfs's default
META_BLOCK = 8 << 10
SUPERBLOCK, PADDED = 96, 4096
FAR = 1 << 32  # bytes: what begins or ends beyond them has a larger inode
FILE_INODE, FAR_INODE, DIRECTORY_INODE, LINK_INODE = 32, 56, 40, 24
NAME, RUN = 8, 12  # of each name in a directory, beside itself; of each run of names whose inodes are together
RUN_LENGTH = 256
LONGEST = 256  # bytes of a name


def squashfs_size(tree: Tree) -> int:
    """How many bytes the image of `tree` has at most, and, less 64 a directory and 4096, at least: pure."""
    directories, names = tree.directories, [*tree.files, *tree.links, *tree.directories]
    inode = FILE_INODE if tree.size + FAR_INODE * len(names) < FAR else FAR_INODE
    inodes = sum(inode + 4 * _units(size, DATA_BLOCK) for size in tree.files.values())
    inodes += sum(LINK_INODE + size for size in tree.links.values()) + DIRECTORY_INODE * len(directories)
    runs = 3 * len(directories) + _units(len(names), RUN_LENGTH) + _units(inodes, META_BLOCK)
    listed = RUN * runs + sum(NAME + len(os.fsencode(path.name)) for path in names)
    inodes += listed // META_BLOCK * (RUN + LONGEST)  # a large directory has a table of its own
    exported = 8 * len(names)
    tables = sum(map(_in_meta_blocks, (inodes, listed, exported, 4)))
    pointers = 8 * (_units(exported, META_BLOCK) + 1)  # to the export table, and to the one of owners
    return _units(SUPERBLOCK + tree.size + tables + pointers, PADDED) * PADDED


def _in_meta_blocks(size: int) -> int:
    return size + 2 * _units(size, META_BLOCK)


def _make_squashfs(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    modes = image.with_name("modes")
    named = [*((path, DIRECTORY) for path in tree.directories[1:]), *((path, FILE) for path in tree.files)]
    modes.write_text("".join(f"{path} m {mode:o} 0 0\n" for path, mode in named))
    root.chmod(DIRECTORY)
    plain = ["-noI", "-noD", "-noF", "-noX", "-no-fragments", "-no-duplicates", "-no-sparse", "-no-xattrs"]
    format_ = ["-comp", "gzip", "-b", str(DATA_BLOCK), "-exports"]  # gzip: nothing is compressed, but all know it
    same = ["-all-root", "-mkfs-time", str(seconds), "-all-time", str(seconds), "-pf", str(modes)]
    quiet = ["-noappend", "-quiet", "-no-progress", "-mem", "64M"]
    _run("squashfs", "mksquashfs", [str(root), str(image), *format_, *plain, *same, *quiet])


# ext3 (https://docs.kernel.org/filesystems/ext4/; block maps, as ext2 has them)

EXT3_BLOCK = 4096
GROUP = 32768  # blocks
JOURNAL = 1024  # blocks: the smallest journal
RESERVED = 11  # inodes: ten, and lost+found
INODES_A_BLOCK = 16
DIRECT, POINTERS = 12, 1024  # blocks that an inode names itself, and that a block of pointers does
FAST_LINK = 60  # bytes: a link that is shorter is in its inode
LOST_AND_FOUND = 4  # blocks
SPARE = 64  # blocks: mke2fs gives up a last group with less than 50 for files
EXT3_FEATURES = "none,has_journal,ext_attr,filetype,sparse_super,large_file"


def ext3_blocks(tree: Tree) -> tuple[int, int]:
    """How many blocks and inodes an ext3 has that `tree` fits into, and little more: pure."""
    inodes = RESERVED + len(tree.files) + len(tree.links) + len(tree.directories)
    content = JOURNAL + _pointers(JOURNAL) + LOST_AND_FOUND + SPARE
    content += sum(_with_pointers(size) for size in tree.files.values())
    content += sum(size >= FAST_LINK for size in tree.links.values())
    content += sum(map(_with_pointers, _directory_sizes(tree)))
    for groups in itertools.count(1):
        table = _units(_units(inodes, groups), INODES_A_BLOCK)
        overhead = 1 + _units(groups * 32, EXT3_BLOCK) + 2 + table  # superblock, descriptors, bitmaps, inodes
        last = (groups - 1) * GROUP + overhead + SPARE
        blocks = max(content + groups * overhead, last, 2 * JOURNAL + overhead + SPARE)
        if blocks <= groups * GROUP:
            return blocks, inodes
    raise AssertionError


def _with_pointers(size: int) -> int:
    """The blocks that a file of this size takes."""
    blocks = _units(size, EXT3_BLOCK)
    return blocks + _pointers(blocks)


def _pointers(blocks: int) -> int:
    """The blocks that say which ones the `blocks` of a file are."""
    count, reach, below = 0, POINTERS, blocks - DIRECT
    for depth in range(1, 4):
        if below <= 0:
            break
        part = min(below, reach)
        count += sum(_units(part, POINTERS**level) for level in range(1, depth + 1))
        below, reach = below - part, reach * POINTERS
    return count


def _directory_sizes(tree: Tree) -> Iterable[int]:
    """The bytes of each directory at most: no name goes over the end of a block."""
    sizes = dict.fromkeys(tree.directories, 24)
    for path in (*tree.files, *tree.links, *tree.directories[1:]):
        sizes[path.parent] += 8 + _units(len(os.fsencode(path.name)), 4) * 4
    return (_units(size, EXT3_BLOCK - 8 - LONGEST) * EXT3_BLOCK for size in sizes.values())


def _make_ext3(tree: Tree, root: Path, image: Path, seconds: int) -> None:
    blocks, inodes = ext3_blocks(tree)
    with image.open("wb") as file:
        file.truncate(blocks * EXT3_BLOCK)
    named = uuid.UUID(bytes=hashlib.sha256((root / "index.json").read_bytes()).digest()[:16], version=5)
    layout = ["-t", "ext3", "-O", EXT3_FEATURES, "-b", str(EXT3_BLOCK), "-I", "256", "-N", str(inodes)]
    layout += ["-m", "0", "-J", f"size={JOURNAL * EXT3_BLOCK >> 20}", "-U", str(named)]
    extended = f"root_owner=0:0,hash_seed={named},nodiscard,lazy_itable_init=0,lazy_journal_init=0,no_copy_xattrs"
    # A time of 0 is none to these programs. mke2fs does without a configuration: every host has its own.
    environ = {"E2FSPROGS_FAKE_TIME": str(max(1, seconds)), "MKE2FS_CONFIG": str(image.with_name("none"))}
    _run("ext3", "mke2fs", ["-q", "-F", *layout, "-E", extended, "-d", str(root), str(image), str(blocks)], environ)
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
