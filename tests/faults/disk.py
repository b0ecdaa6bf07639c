"""A disk that keeps what was synced and no more, and what it may hold after a power cut: pure.

POSIX promises that little: the bytes of a file are there once the file was synced, a name once its directory was. Of
what was changed since, anything may be there or not: each name and each file's bytes for themselves. Filesystems with a
journal keep more; what holds here holds on them too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = 0  # the node that everything is below

Verb = Literal[
    "create", "mkdir", "symlink", "write", "truncate", "sync", "link", "rename", "unlink", "rmdir", "chmod", "utime"
]


@dataclass(frozen=True, slots=True)
class Operation:
    """A change to the disk, or a sync of it, that a process made.

    Attributes:
        path: relative to the box; of an open file the one it was opened by.
        other: the new name of a link or rename, the target of a symlink.
        inode: the file's number, where it is told by an open file or was made.
        at: where the content is written, or the length that a file is cut to.
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
    changed: int | None = None  # nanoseconds since 1970; None is whenever it is put down


class Directory(NamedTuple):
    """A directory in a tree."""

    mode: int


class Symlink(NamedTuple):
    """A symlink in a tree."""

    target: str


Tree: TypeAlias = "dict[str, File | Directory | Symlink]"  # by path relative to the box; parents come first


@dataclass(slots=True)
class _Node:
    """What is there, and what of it was synced; of a symlink and a directory's mode no less than is there."""

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
    """Which of what may be there is there; nodes that are not named are as they are, without the power cut."""

    content: Mapping[int, bytes] = field(default_factory=dict)
    entries: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


class Disk:
    """A box's disk from `tree` on, which was synced, as operations change it."""

    def __init__(self, tree: Tree, inodes: Mapping[str, int]) -> None:
        self._nodes = {ROOT: _Node("directory", 0o755)}
        self._at: dict[int, int] = {}  # what a real inode's number stands for now: numbers are used again
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
        """`operation` has happened; nothing else than a sync makes it durable."""
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
        """What is there, if of what may be there `choice` is."""
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
        """What is there whatever happens: what was synced."""
        return self.tree(self._durable())

    def _durable(self) -> Choice:
        nodes = self._nodes.items()
        return Choice({n: node.synced for n, node in nodes}, {n: node.synced_entries for n, node in nodes})

    def after_power_cut(self, mixtures: int, seed: int) -> Iterator[Tree]:
        """Some of what may be there: the extremes, each directory for itself, and `mixtures` taken by chance."""
        durable, files, directories = self._durable(), self._dirty_files(), self._dirty_directories()
        yield self.tree()
        yield self.tree(durable)
        lost = [{number: _lost(self._nodes[number], how) for number in files} for how in range(_WAYS)]
        for each in lost if files else ():
            yield self.tree(Choice(each))
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
        """Each name that was changed since the last sync as it was then, or as it is."""
        entries = dict(node.synced_entries)
        for name in sorted(node.entries.keys() | node.synced_entries.keys()):
            if node.entries.get(name) != node.synced_entries.get(name) and chance.random() < 1 / 2:
                entries.pop(name, None)
                if name in node.entries:
                    entries[name] = node.entries[name]
        return entries


_WAYS, _ZEROS = 3, 1


def _lost(node: _Node, how: int) -> bytes:
    """A file's bytes when what was not synced is lost: as synced, with zeros in its place, or cut; else as they are."""
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
    """What is equal for two trees that are equal: links are numbered in the order of the names."""
    nodes: dict[int, int] = {}
    told: list[object] = []
    for path, each in tree.items():
        if isinstance(each, File):
            told.append((path, each._replace(node=nodes.setdefault(each.node, len(nodes)))))
        else:
            told.append((path, each))
    return tuple(told)


class State(NamedTuple):
    """What a disk may hold after a power cut.

    Attributes:
        done: behind how many operations the power went.
    """

    done: int
    tree: Tree


def states(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation], mixtures: int) -> Iterator[State]:
    """What a disk may hold after a power cut behind each of `operations`, each only once."""
    disk, seen = Disk(tree, inodes), {hash(likeness(tree))}
    for done, operation in enumerate(operations, 1):
        disk.apply(operation)
        for each in disk.after_power_cut(mixtures, done):
            if (like := hash(likeness(each))) not in seen:
                seen.add(like)
                yield State(done, each)


def followed(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation]) -> Iterator[tuple[Tree, Tree]]:
    """What there is, and what of it is durable, behind each of `operations`."""
    disk = Disk(tree, inodes)
    for operation in operations:
        disk.apply(operation)
        yield disk.tree(), disk.durable()


def simulated(tree: Tree, inodes: Mapping[str, int], operations: Sequence[Operation]) -> Tree:
    """What there is behind all `operations`."""
    disk = Disk(tree, inodes)
    for operation in operations:
        disk.apply(operation)
    return disk.tree()


def shape(tree: Tree) -> dict[str, object]:
    """What a simulated disk and a real one agree on: each path's content, or where it leads."""
    return {
        path: (each.content, each.mode)
        if isinstance(each, File)
        else each
        if isinstance(each, Symlink)
        else "directory"
        for path, each in tree.items()
    }
