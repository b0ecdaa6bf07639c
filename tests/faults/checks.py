"""The conditions on a box at any time, and after its command has succeeded. Pure, and without antscache's code."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from faults.disk import File, Symlink
from faults.scenes import CONTENTS, FILES, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from faults.disk import Tree
    from faults.scenes import Scene

BLOBS, RECORDS, TRASH = "root/blobs/sha256", "root/identifiers/figshare", "root/trash"
URL_RECORDS, DESCRIPTION = "root/identifiers/url", "root/antscache.json"
_TEMPORARY_NAME = re.compile("[0-9a-f]{32}")


def sha256(content: bytes) -> str:
    """Return the digest of `content`, as in the names of blobs."""
    return hashlib.sha256(content).hexdigest()


def _below(tree: Tree, directory: str) -> Iterator[tuple[str, File]]:
    """Yield the name and the file of each file in a directory."""
    for path, each in tree.items():
        if isinstance(each, File) and str(PurePosixPath(path).parent) == directory:
            yield PurePosixPath(path).name, each


def whole(tree: Tree) -> set[str]:
    """Return the digests of the undamaged blobs, condemned ones included."""
    named = [*_below(tree, BLOBS), *((name.partition(".")[0], file) for name, file in _below(tree, TRASH))]
    return {name for name, file in named if sha256(file.content) == name}


def _resolved(tree: Tree, path: str) -> File | None:
    """Return the file at `path`, through a relative symlink if it is one; None if there is none."""
    each = tree.get(path)
    if isinstance(each, Symlink):
        parts: list[str] = []
        for part in (PurePosixPath(path).parent / each.target).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        each = tree.get("/".join(parts))
    return each if isinstance(each, File) else None


def recorded(tree: Tree) -> set[str]:
    """Return the digests in all records that can be read."""
    digests = set()
    for _, file in (*_below(tree, RECORDS), *_below(tree, URL_RECORDS)):
        with suppress(ValueError):
            digests.add(_named_by(file))
    return digests


def _named_by(record: File) -> str:
    return str(json.loads(record.content)["digest"]).removeprefix("sha256:")


def check_always(
    tree: Tree, scene: Scene, sizes: Mapping[str, int], durable: Collection[str], *, cut: bool
) -> list[str]:
    """Check the conditions that hold whenever the command ended, and return the problems.

    Args:
        tree: the box.
        scene: the scene of the command. Its starting point may be damaged on purpose.
        sizes: of blobs, by digest.
        durable: the digests of blobs that have been durable at some time.
        cut: True after a power cut: a blob may exist with another size, by which antscache recognizes it as damaged.
    """
    return [
        *_wrong_blobs(tree, scene, sizes, cut=cut),
        *_wrong_records(tree, scene, {*durable, *whole(tree)}),
        *_wrong_names(tree, scene),
        *_unreadable_json(tree, scene),
        *_low_layout(tree),
        *(f"the bytes of {FILES[name]} are lost" for name in scene.keeps if not _is_somewhere(tree, FILES[name])),
        *(f"{path} is not there" for path in scene.named if path not in tree),
    ]


def _wrong_blobs(tree: Tree, scene: Scene, sizes: Mapping[str, int], *, cut: bool) -> Iterator[str]:
    damaged = {sha256(CONTENTS[file]) for file in scene.damaged if file in CONTENTS}
    for name, file in _below(tree, BLOBS):
        right = sha256(file.content) == name or (name in damaged and set(file.content) == set(b"?"))
        recognizable = cut and len(file.content) != sizes.get(name, len(file.content))
        if not right and not recognizable:
            yield f"the blob {name} has other bytes"


def _wrong_records(tree: Tree, scene: Scene, durable: Collection[str]) -> Iterator[str]:
    for name, file in (*_below(tree, RECORDS), *_below(tree, URL_RECORDS)):
        try:
            digest = _named_by(file)
        except ValueError:
            if name not in scene.damaged:
                yield f"the record {name} cannot be read"
            continue
        if digest not in durable:
            yield f"the record {name} names a blob that was never durable"


def _wrong_names(tree: Tree, scene: Scene) -> Iterator[str]:
    for path in tree:
        name, file = PurePosixPath(path).name, _resolved(tree, path)
        in_view = path.startswith(("root/views/", "out/")) and not _TEMPORARY_NAME.fullmatch(name)
        right = {name, path}.isdisjoint(scene.damaged)
        if in_view and file is not None and right and file.content != CONTENTS[name]:
            yield f"{path} leads to other bytes"


def _unreadable_json(tree: Tree, scene: Scene) -> Iterator[str]:
    for path, each in tree.items():
        if path.endswith(".json") and isinstance(each, File) and PurePosixPath(path).name not in scene.damaged:
            try:
                json.loads(each.content)
            except ValueError:
                yield f"{path} cannot be read"


def _low_layout(tree: Tree) -> Iterator[str]:
    """Find records and selections with a URL in a root of layout 1, which earlier versions would take for damaged."""
    description = tree.get(DESCRIPTION)
    if isinstance(description, File) and b'"layout":1' in description.content:
        for path, each in tree.items():
            written = path.startswith(("root/identifiers/", "root/refs/"))
            if written and isinstance(each, File) and b'"url:' in each.content:
                yield f"{path} has a URL, and the root has layout 1"


def _is_somewhere(tree: Tree, file: str) -> bool:
    """Return True if the bytes of `file` are in the store, or in the directory to adopt."""
    digest = sha256(CONTENTS[file])
    return digest in whole(tree) or any(
        sha256(each.content) == digest
        for path, each in tree.items()
        if path.startswith("old/") and isinstance(each, File)
    )


def check_complete(tree: Tree, scene: Scene) -> list[str]:
    """Check the conditions that hold after the command has succeeded, and return the problems."""
    missing = [
        f"{directory}/{FILES[name]} is missing"
        for directory, names in scene.made.items()
        for name in names
        if (file := _resolved(tree, f"{directory}/{FILES[name]}")) is None or file.content != CONTENTS[FILES[name]]
    ]
    return missing + [f"{path} still exists" for path in scene.gone if path in tree]


def check_durable(durable: Tree, scene: Scene) -> list[str]:
    """Check that everything is durable that must be after the command has succeeded, and return the problems."""
    held = whole(durable) & {name for name, _ in _below(durable, BLOBS)}
    lost = [f"the blob of {FILES[name]}" for name in scene.durable if sha256(CONTENTS[FILES[name]]) not in held]
    lost += [
        f"the record of {FILES[name]}" for name in scene.durable if f"{RECORDS}/{NUMBERS[name]}.json" not in durable
    ]
    lost += [
        f"the word of an origin about {FILES[name]}"
        for name in scene.confirmed
        if isinstance(record := durable.get(f"{RECORDS}/{NUMBERS[name]}.json"), File) and b'"adopted"' in record.content
    ]
    if scene.durable and not any(path.startswith("root/refs/antspynet/0.3.2/") for path in durable):
        lost.append("the selection")
    return [f"{thing} is not durable after the command" for thing in lost]


def blobs(tree: Tree) -> list[tuple[str, File]]:
    """Return the digests and the files of all undamaged blobs."""
    return [(name, file) for name, file in _below(tree, BLOBS) if sha256(file.content) == name]
