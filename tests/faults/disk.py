"""A simulated disk that keeps synced changes only, and the contents that it may have after a power cut. Pure.

POSIX promises no more: the bytes of a file are kept once the file was synced, and a name once its directory was. Each
later change, of a name or of a file's bytes, may be kept or lost, independently of the others. Filesystems with a
journal keep more; a command that survives the cuts here survives theirs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = 0  # the number of the box's own node

Verb = Literal[
    "create", "mkdir", "symlink", "write", "truncate", "sync", "link", "rename", "unlink", "rmdir", "chmod", "utime"
]


@dataclass(frozen=True, slots=True)
class Operation:
    """A change to the disk, or a sync of it, that a process made.

    Attributes:
        path: relative to the box; for an open file the path by which it was opened.
        other: the new name of a link or rename, the target of a symlink.
        inode: the file's number, if the call was on an open file or made the file; else 0.
        at: the offset of a write, or the new length of a truncated file.
    """

    verb: Verb
    path: str
    other: str = ""
    inode: int = 0
    at: int = 0
    content: bytes = b""
    mode: int = 0


class File(NamedTuple):
    """A file in a tree; two names with one `node` are two links to it."""

    content: bytes
    mode: int
    node: int
    changed: int | None = None  # nanoseconds since 1970; None means the time of writing


class Directory(NamedTuple):
    """A directory in a tree."""

    mode: int


class Symlink(NamedTuple):
    """A symlink in a tree."""

    target: str


Tree: TypeAlias = "dict[str, File | Directory | Symlink]"  # by path relative to the box; parents come first


@dataclass(slots=True)
class _Node:
    """A file, directory or symlink, and its synced content. Modes and a symlink's target count as synced at once."""

    kind: Literal["file", "directory", "symlink"]
    mode: int = 0
    target: str = ""
    changed: int | None = None
    content: bytes = b""
    synced: bytes = b""
    entries: dict[str, int] = field(default_factory=dict)
    synced_entries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the contents that are possible after a power cut, by node; other nodes are as without the cut."""

    content: Mapping[int, bytes] = field(default_factory=dict)
    entries: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


class Disk:
    """The disk of a box: starts with `tree`, all of it synced, and changes by operations."""

    def __init__(self, tree: Tree, inodes: Mapping[str, int]) -> None:
        self._nodes = {ROOT: _Node("directory", 0o755)}
        self._at: dict[int, int] = {}  # the node of each real inode now: inode numbers are used again
        nodes: dict[int, int] = {}
        for path, each in tree.items():
            known = nodes.get(each.node) if isinstance(each, File) else None
            node = self._new(_made(each)) if known is None else known
            if isinstance(each, File):
                nodes[each.node] = node
            self._at[inodes[path]] = node
            self._directory(path).entries[PurePosixPath(path).name] = node
        for made in self._nodes.values():
            made.synced_entries = dict(made.entries)
        if "" in inodes:
            self._at[inodes[""]] = ROOT

    def _new(self, node: _Node) -> int:
        self._nodes[len(self._nodes)] = node
        return len(self._nodes) - 1

    def _find(self, path: str) -> int:
        node = ROOT
        for part in PurePosixPath(path).parts:
            node = self._nodes[node].entries[part]
        return node

    def _directory(self, path: str) -> _Node:
        return self._nodes[self._find(str(PurePosixPath(path).parent))]

    def _node(self, operation: Operation) -> _Node:
        return self._nodes[self._at[operation.inode] if operation.inode else self._find(operation.path)]

    def apply(self, operation: Operation) -> None:
        """Carry out `operation`. Only a sync makes changes durable."""
        name, verb = PurePosixPath(operation.path).name, operation.verb
        if verb in {"create", "mkdir", "symlink"}:
            self._make(operation, name)
        elif verb == "write":
            node = self._node(operation)
            before = node.content[: operation.at].ljust(operation.at, b"\0")
            node.content = before + operation.content + node.content[operation.at + len(operation.content) :]
        elif verb == "truncate":
            node = self._node(operation)
            node.content = node.content[: operation.at].ljust(operation.at, b"\0")
        elif verb == "sync":
            node = self._node(operation)
            node.synced, node.synced_entries = node.content, dict(node.entries)
        elif verb == "chmod":
            self._node(operation).mode = operation.mode
        elif verb in {"unlink", "rmdir"}:
            del self._directory(operation.path).entries[name]
        elif verb in {"link", "rename"}:
            self._name_again(operation, name)

    def _make(self, operation: Operation, name: str) -> None:
        entries = self._directory(operation.path).entries
        if operation.verb == "create":
            if name not in entries:
                entries[name] = self._new(_Node("file", operation.mode))
        elif operation.verb == "mkdir":
            entries[name] = self._new(_Node("directory", operation.mode))
        else:
            entries[name] = self._new(_Node("symlink", target=operation.other))
        self._at[operation.inode] = entries[name]

    def _name_again(self, operation: Operation, name: str) -> None:
        node, target = self._find(operation.path), PurePosixPath(operation.other).name
        entries = self._directory(operation.other).entries
        if operation.verb == "rename" and entries.get(target) != node:  # renaming onto its own file changes nothing
            del self._directory(operation.path).entries[name]
        entries[target] = node

    def tree(self, choice: Choice | None = None) -> Tree:
        """Return the contents of the disk; with `choice`, those after a power cut that left it."""
        found: Tree = {}
        self._walk(ROOT, "", choice or Choice(), found)
        return found

    def _walk(self, directory: int, prefix: str, choice: Choice, found: Tree) -> None:
        entries = choice.entries.get(directory, self._nodes[directory].entries)
        for name, number in sorted(entries.items()):
            node, path = self._nodes[number], f"{prefix}{name}"
            if node.kind == "file":
                found[path] = File(choice.content.get(number, node.content), node.mode, number, node.changed)
            elif node.kind == "symlink":
                found[path] = Symlink(node.target)
            else:
                found[path] = Directory(node.mode)
                self._walk(number, f"{path}/", choice, found)

    def durable(self) -> Tree:
        """Return the contents that no power cut takes away: the synced ones."""
        return self.tree(self._durable())

    def _durable(self) -> Choice:
        nodes = self._nodes.items()
        return Choice({n: node.synced for n, node in nodes}, {n: node.synced_entries for n, node in nodes})

    def after_power_cut(self, mixtures: int, seed: int) -> Iterator[Tree]:
        """Yield possible contents after a power cut: the extremes, each directory alone, and `mixtures` random ones."""
        durable, files, directories = self._durable(), self._dirty_files(), self._dirty_directories()
        yield self.tree()
        yield self.tree(durable)
        lost = [{number: _lost(self._nodes[number], how) for number in files} for how in range(_WAYS)]
        for contents in lost if files else ():
            yield self.tree(Choice(contents))
        zeros = lost[_ZEROS]
        for number in directories if len(directories) > 1 else ():
            old = self._nodes[number].synced_entries
            yield self.tree(Choice(zeros, {number: old}))
            others = {other: self._nodes[other].synced_entries for other in directories if other != number}
            yield self.tree(Choice(zeros, others))
        chance = random.Random(seed)  # noqa: S311  the same in every run
        for _ in range(mixtures if len(directories) + len(files) > 1 else 0):
            content = {number: _lost(self._nodes[number], chance.randrange(_WAYS + 1)) for number in files}
            yield self.tree(Choice(content, {n: self._mixed(self._nodes[n], chance) for n in directories}))

    def _dirty_files(self) -> list[int]:
        return [n for n, node in self._nodes.items() if node.kind == "file" and node.content != node.synced]

    def _dirty_directories(self) -> list[int]:
        return [n for n, node in self._nodes.items() if node.entries != node.synced_entries]

    @staticmethod
    def _mixed(node: _Node, chance: random.Random) -> dict[str, int]:
        """Return the names of a directory; a random part of those changed since its last sync is as it was then."""
        entries = dict(node.synced_entries)
        for name in sorted(node.entries.keys() | node.synced_entries.keys()):
            if node.entries.get(name) != node.synced_entries.get(name) and chance.random() < 1 / 2:
                entries.pop(name, None)
                if name in node.entries:
                    entries[name] = node.entries[name]
        return entries


_WAYS, _ZEROS = 3, 1


def _lost(node: _Node, how: int) -> bytes:
    """Return a file's bytes after a loss of those not synced: the synced ones, zeros, or half; else as they are."""
    if how == 0:
        return node.synced
    if how == _ZEROS:
        same = len(node.synced) if node.content.startswith(node.synced) else 0
        return node.content[:same].ljust(len(node.content), b"\0")
    return node.content[: len(node.content) // 2] if how < _WAYS else node.content


def _made(each: File | Directory | Symlink) -> _Node:
    if isinstance(each, File):
        return _Node("file", each.mode, changed=each.changed, content=each.content, synced=each.content)
    if isinstance(each, Directory):
        return _Node("directory", each.mode)
    return _Node("symlink", target=each.target)


def likeness(tree: Tree) -> tuple[object, ...]:
    """Return a value that is equal for equal trees: nodes are numbered in the order of the names."""
    nodes: dict[int, int] = {}
    entries: list[object] = []
    for path, entry in tree.items():
        if isinstance(entry, File):
            entries.append((path, entry._replace(node=nodes.setdefault(entry.node, len(nodes)))))
        else:
            entries.append((path, entry))
    return tuple(entries)


class State(NamedTuple):
    """Possible contents of a disk after a power cut.

    Attributes:
        done: the number of operations before the cut.
    """

    done: int
    tree: Tree


def states(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation], mixtures: int) -> Iterator[State]:
    """Yield the possible states after a power cut behind each of `operations`, each state once."""
    disk, seen = Disk(tree, inodes), {hash(likeness(tree))}
    for done, operation in enumerate(operations, 1):
        disk.apply(operation)
        for left in disk.after_power_cut(mixtures, done):
            if (like := hash(likeness(left))) not in seen:
                seen.add(like)
                yield State(done, left)


def follow_disk(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation]) -> Iterator[tuple[Tree, Tree]]:
    """Yield the contents of the disk, and the durable ones, behind each of `operations`."""
    disk = Disk(tree, inodes)
    for operation in operations:
        disk.apply(operation)
        yield disk.tree(), disk.durable()


def simulate(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation]) -> Tree:
    """Return the contents of the disk behind all `operations`."""
    disk = Disk(tree, inodes)
    for operation in operations:
        disk.apply(operation)
    return disk.tree()


def shape(tree: Tree) -> dict[str, object]:
    """Return the facts on which a simulated disk and a real one agree: each path's content, or a symlink's target."""
    return {
        path: (each.content, each.mode)
        if isinstance(each, File)
        else each
        if isinstance(each, Symlink)
        else "directory"
        for path, each in tree.items()
    }
