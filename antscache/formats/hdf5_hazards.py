"""The script in the subprocess: it scans HDF5 files for links to other files and for code, and executes nothing.

It reads no dataset and opens no other file, so that neither the file nor the HDF5 library can make it read other files.
`Hdf5Scanner` runs it as a script, so it imports nothing of antscache. It prints one JSON object a line. The first is
`{"ready": true}` or `{"broken": REASON}`; then it answers each path on its input with `{"hazards": [...], "more": 0}`
or `{"refused": REASON}`.
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

MAX_LINKS = 100_000  # of one file, which takes some seconds; the largest Keras networks have thousands
MAX_CONFIGURATION_BYTES = 8 << 20  # of a model_config; a layer takes a few hundred, and a network has hundreds
MAX_SHOWN_HAZARDS = 5  # of one file; the others are counted
MAX_SHOWN_CHARACTERS = 120  # of a name, or of the library's message
MAX_OPEN_FILES = 16  # at once; one is needed
# The errors of h5py, which has no class of its own for them.
HDF5_ERRORS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Link(NamedTuple):
    """A link in a group, not followed."""

    group: Any
    name: bytes
    place: str
    kind: int
    address: int  # of the object, if the link is a hard one


def hazards(path: str) -> Iterator[str]:
    """Describe everything in the HDF5 file at `path` that refers to other files or is code.

    Only hard links are followed, to each object once. CVE-2026-1669: external links, external storage and virtual
    datasets read other files. CVE-2025-1550 and similar ones: a Lambda layer in `model_config`, an attribute of Keras's
    legacy HDF5 format, holds Python bytecode.

    Raises:
        HDF5_ERRORS: the HDF5 library refuses the file, or it has more than MAX_LINKS links.
    """
    import h5py
    from h5py import h5d, h5g, h5l, h5o

    with h5py.File(path, "r") as file:
        yield from _in_configuration(file)
        root = file["/"].id
        seen = {h5o.get_info(root).addr}
        links = _links(root, "", MAX_LINKS)
        counted = len(links)
        while links:
            link = links.pop()
            if link.kind == h5l.TYPE_EXTERNAL:
                other_file, _ = link.group.links.get_val(link.name)
                yield f"an external link {quote(link.place)} to {quote(other_file)}"
            elif link.kind == h5l.TYPE_HARD and (b"/" in link.name or link.name == b"."):
                # No library writes such a link, and opening it could follow an external link.
                yield f"a link whose name is a path, {quote(link.place)}"
            elif link.kind == h5l.TYPE_HARD and link.address not in seen:
                seen.add(link.address)
                target = h5o.open(link.group, link.name)
                if isinstance(target, h5d.DatasetID):
                    yield from _in_storage(target, link.place)
                elif isinstance(target, h5g.GroupID):
                    inner = _links(target, link.place, MAX_LINKS - counted)
                    counted += len(inner)
                    links += inner


def _links(group: Any, place: str, most: int) -> list[Link]:
    """Return the links of a group, external ones too, which h5py's `visititems` omits.

    Raises:
        ValueError: the group has more than `most` links.
    """
    from h5py import h5l

    collected: list[Link] = []

    def add(name: bytes, link: Any) -> bool:  # h5py reuses `link` for the next call; True ends the iteration
        shown = f"{place}/{name.decode(errors='surrogateescape')}"[-2 * MAX_SHOWN_CHARACTERS :]
        collected.append(Link(group, name, shown, link.type, link.u if link.type == h5l.TYPE_HARD else 0))
        return len(collected) > most

    group.links.iterate(add, info=True)
    if len(collected) > most:
        raise ValueError(f"more than {MAX_LINKS} links")
    return collected


def _in_storage(dataset: Any, place: str) -> Iterator[str]:
    """Describe a dataset whose values are in other files, without reading its shape: that would open those files."""
    from h5py import h5d

    created = dataset.get_create_plist()
    if created.get_external_count():
        name, _, _ = created.get_external(0)
        yield f"a dataset {quote(place)} stored in {quote(name)}"
    if created.get_layout() == h5d.VIRTUAL:
        yield f"a virtual dataset {quote(place)}"


def _in_configuration(file: Any) -> Iterator[str]:
    """Describe code in `model_config`. A `model_config` of another form than Keras writes is a hazard too."""
    from h5py import h5a

    if not h5a.exists(file.id, b"model_config"):
        return
    attribute = h5a.open(file.id, b"model_config")
    written = attribute.get_type().get_size() * attribute.get_space().get_simple_extent_npoints()
    text = file.attrs["model_config"] if written <= MAX_CONFIGURATION_BYTES else b""
    if not isinstance(text, (str, bytes)):
        yield "a model_config that is not text"
    elif max(written, len(text)) > MAX_CONFIGURATION_BYTES:  # `written` misses the length of variable-length strings
        yield f"a model_config of more than {MAX_CONFIGURATION_BYTES} bytes"
    else:
        try:
            configuration = json.loads(text)
        except (RecursionError, ValueError):
            yield "a model_config that is not JSON"
        else:
            yield from _in_layers(configuration)


def _in_layers(configuration: Any) -> Iterator[str]:
    """Describe bytecode at any depth of a network's configuration. A function that is only named is no bytecode.

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
                yield f"Python bytecode in the layer {quote(layer)} of its model_config"
            part = list(part.values())
        todo += [(layer, value) for value in part if isinstance(value, (dict, list))]


def quote(words: str | bytes) -> str:
    """Return `words` from the file in quotes, shortened to a line, with control characters escaped."""
    text = words if isinstance(words, str) else words.decode(errors="surrogateescape")
    if len(text) > MAX_SHOWN_CHARACTERS:
        text = f"{text[: MAX_SHOWN_CHARACTERS // 2]}...{text[-MAX_SHOWN_CHARACTERS // 2 :]}"
    return repr(text)


def _answer(path: str) -> dict[str, Any]:
    """Scan one file, and return the answer about it."""
    shown: list[str] = []
    more = 0
    try:
        for hazard in hazards(path):
            if len(shown) < MAX_SHOWN_HAZARDS:
                shown.append(hazard)
            else:
                more += 1
    except MemoryError:
        return {"refused": "the scan takes too much memory"}
    except HDF5_ERRORS as error:
        return {"refused": quote(str(error))}
    return {"hazards": shown, "more": more}


def _print_answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201  the parent process reads this


def _limit(kind: int, most: int) -> None:
    """Limit a resource of this process to `most`, or to the present limit if that is lower."""
    _, hard = resource.getrlimit(kind)
    with suppress(OSError, ValueError):  # not every system limits everything (macOS: memory)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(memory: str, seconds: str, *places: str) -> None:
    """Scan one file after another, until the input ends.

    Args:
        memory: the limit of address space, in bytes.
        seconds: the limit of processor time for each file, so that this process ends even if its parent is gone.
        places: the directories of h5py and the packages that it imports.
    """
    sys.path += places
    try:
        import h5py  # noqa: F401  before the limits are set and the time of the first file runs
    except ImportError as error:
        _print_answer({"broken": quote(str(error))})
        return
    _limit(resource.RLIMIT_AS, int(memory))
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    for kind in resource.RLIMIT_CORE, resource.RLIMIT_FSIZE:
        _limit(kind, 0)
    _print_answer({"ready": True})
    for path in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + float(seconds)))
        _print_answer(_answer(json.loads(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
