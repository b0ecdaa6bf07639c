"""What runs in the subprocess: an HDF5 file is looked through for what makes whole bytes unsafe. Executes nothing.

It reads no dataset and opens no other file, so that neither the file nor the HDF5 library can lead it anywhere.
`Hdf5Scanner` runs it as a script, and it knows nothing of antscache. One JSON a line: it begins with `{"ready": true}`
or `{"broken": why}`; then to each path that comes in, `{"hazards": [...], "more": 0}` or `{"refused": why}` goes out.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

LINKS = 100_000  # that are looked at, in some seconds; the largest Keras networks have thousands
CONFIGURATION = 8 << 20  # bytes of a model_config that are read; a layer takes a few hundred, a network has hundreds
SHOWN = 5  # hazards spelled out; the rest is counted
LONGEST = 120  # characters of a name, or of the library's message, that are told
FILES = 16  # open at once; one is needed
REFUSALS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)  # h5py has no class of its own


class Link(NamedTuple):
    """A link as it stands in its group, unfollowed."""

    group: Any
    name: bytes
    place: str
    kind: int
    address: int  # of the object, if the link is a hard one


def hazards(path: str) -> Iterator[str]:
    """What in the HDF5 file at `path` leads out of it, or is code, in words.

    Links are looked at; hard ones alone are followed, to each object once. CVE-2026-1669: external links, external
    storage and virtual datasets read other files. CVE-2025-1550 and its kin: a Lambda layer in `model_config`, an
    attribute of Keras's legacy HDF5 format, holds Python bytecode.

    Raises:
        REFUSALS: the HDF5 library refuses the file, or it has more than LINKS links.
    """
    import h5py
    from h5py import h5d, h5g, h5l, h5o

    with h5py.File(path, "r") as file:
        yield from _in_configuration(file)
        root = file["/"].id
        seen = {h5o.get_info(root).addr}
        links = _links(root, "", LINKS)
        counted = len(links)
        while links:
            link = links.pop()
            if link.kind == h5l.TYPE_EXTERNAL:
                target, _ = link.group.links.get_val(link.name)
                yield f"an external link {told(link.place)} to {told(target)}"
            elif link.kind == h5l.TYPE_HARD and (b"/" in link.name or link.name == b"."):
                # No library writes it, and to open it could lead through an external link.
                yield f"a link with a path for its name, {told(link.place)}"
            elif link.kind == h5l.TYPE_HARD and link.address not in seen:
                seen.add(link.address)
                found = h5o.open(link.group, link.name)
                if isinstance(found, h5d.DatasetID):
                    yield from _in_storage(found, link.place)
                elif isinstance(found, h5g.GroupID):
                    inner = _links(found, link.place, LINKS - counted)
                    counted += len(inner)
                    links += inner


def _links(group: Any, place: str, most: int) -> list[Link]:
    """The links of a group. h5py's `visititems` does not show external ones."""
    from h5py import h5l

    found: list[Link] = []

    def add(name: bytes, link: Any) -> bool:  # `link` is another one at the next call; True ends it
        shown = f"{place}/{name.decode(errors='surrogateescape')}"[-2 * LONGEST :]
        found.append(Link(group, name, shown, link.type, link.u if link.type == h5l.TYPE_HARD else 0))
        return len(found) > most

    group.links.iterate(add, info=True)
    if len(found) > most:
        raise ValueError(f"more than {LINKS} links")
    return found


def _in_storage(dataset: Any, place: str) -> Iterator[str]:
    """Where a dataset's values are, if not in this file. Its shape is not asked for: that opens virtual sources."""
    from h5py import h5d

    created = dataset.get_create_plist()
    if created.get_external_count():
        name, _, _ = created.get_external(0)
        yield f"a dataset {told(place)} stored in {told(name)}"
    if created.get_layout() == h5d.VIRTUAL:
        yield f"a virtual dataset {told(place)}"


def _in_configuration(file: Any) -> Iterator[str]:
    """Code in `model_config`. One that cannot be judged is a hazard as well, for Keras writes none such."""
    from h5py import h5a

    if not h5a.exists(file.id, b"model_config"):
        return
    attribute = h5a.open(file.id, b"model_config")
    written = attribute.get_type().get_size() * attribute.get_space().get_simple_extent_npoints()
    text = file.attrs["model_config"] if written <= CONFIGURATION else b""
    if not isinstance(text, (str, bytes)):
        yield "a model_config that is no text"
    elif max(written, len(text)) > CONFIGURATION:  # a string of variable length is written elsewhere
        yield f"a model_config of more than {CONFIGURATION} bytes"
    else:
        try:
            configuration = json.loads(text)
        except (RecursionError, ValueError):
            yield "a model_config that is no JSON"
        else:
            yield from _in_layers(configuration)


def _in_layers(configuration: Any) -> Iterator[str]:
    """Bytecode in a network's configuration, at any depth; a function that is only named is none.

    Keras 2: `{"function": [base64, defaults, closure], "function_type": "lambda"}`; `output_shape` and `mask` likewise.
    Keras 3: `{"function": {"class_name": "__lambda__", "config": {"code": base64}}}`.
    """
    todo: list[tuple[str, Any]] = [("", [configuration])]
    while todo:
        layer, part = todo.pop()
        if isinstance(part, dict):
            layer = str(part.get("name", layer))
            types = [value for key, value in part.items() if key.endswith("_type")]
            if part.get("class_name") == "__lambda__" or "lambda" in types:
                yield f"Python bytecode in the layer {told(layer)} of its model_config"
            part = list(part.values())
        todo += [(layer, value) for value in part if isinstance(value, (dict, list))]


def told(words: str | bytes) -> str:
    """Words out of the file, quoted, with control characters escaped, and no longer than a line bears."""
    text = words if isinstance(words, str) else words.decode(errors="surrogateescape")
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 :]}")


def _answer(path: str) -> dict[str, Any]:
    """What is said about one file."""
    found: list[str] = []
    more = 0
    try:
        for hazard in hazards(path):
            if len(found) < SHOWN:
                found.append(hazard)
            else:
                more += 1
    except MemoryError:
        return {"refused": "it takes too much memory"}
    except REFUSALS as error:
        return {"refused": told(str(error))}
    return {"hazards": found, "more": more}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201  this is how it answers


def _limit(kind: int, most: int) -> None:
    """The system gives this process no more than `most` of something, nor more than it gave before."""
    _, hard = resource.getrlimit(kind)
    with suppress(OSError, ValueError):  # not every system limits everything (macOS: memory)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(memory: str, seconds: str, *places: str) -> None:
    """Answer for one file after another, until nobody asks any more.

    Args:
        memory: bytes of address space that there are.
        seconds: of processor time that there are for each file, so that it ends even when nobody is left to end it.
        places: where h5py and what it imports are.
    """
    sys.path += places
    try:
        import h5py  # noqa: F401  before there are limits, and before the first file's time runs
    except ImportError as error:
        _say({"broken": told(str(error))})
        return
    _limit(resource.RLIMIT_AS, int(memory))
    _limit(resource.RLIMIT_NOFILE, FILES)
    for nothing in resource.RLIMIT_CORE, resource.RLIMIT_FSIZE:
        _limit(nothing, 0)
    _say({"ready": True})
    for path in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + float(seconds)))
        _say(_answer(json.loads(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
