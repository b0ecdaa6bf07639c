"""The script in the subprocess: it scans HDF5 files for links to other files and for code, and executes nothing.

It reads no dataset and opens no other file, so that neither the file nor the HDF5 library can make it read other files.
`Hdf5Scanner` runs it as a script, so it imports nothing of antscache. The first line of its input is the JSON of
`Allowed`. It prints one JSON object a line: first `{"ready": true}` or `{"broken": REASON}`; then it answers each path
on its input with `{"findings": [[KIND, TEXT], ...], "more": {KIND: 0}, "keras": VERSION}` or `{"refused": REASON}`.
"""

from __future__ import annotations

import json
import math
import re
import resource
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINKS = 100_000  # of one file, which takes some seconds; the largest Keras networks have thousands
MAX_CONFIGURATION_BYTES = 8 << 20  # of a model_config; a layer takes a few hundred, and a network has hundreds
MAX_SHOWN_HAZARDS = 5  # of one kind in one file; the others are counted
MAX_SHOWN_CHARACTERS = 120  # of a name, or of the library's message
MAX_VERSION_BYTES = 64  # of a keras_version
MAX_OPEN_FILES = 16  # at once; one is needed
# The errors of h5py, which has no class of its own for them.
HDF5_ERRORS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


LEADS_OUT, CODE = "leads out", "code"  # the kinds of findings
KERAS_MODULE = re.compile(r"(keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(\.\w+)*")
FUNCTION_MODULE = re.compile(rf"builtins|{KERAS_MODULE.pattern}")  # Keras 3 writes the first of its own functions too
OWN_MODULE = re.compile(r"antspynet(\.\w+)*")


class Allowed(NamedTuple):
    """The names that a configuration may have: `keras_classes.py` says where they come from.

    Attributes:
        classes: of Keras's.
        functions: of Keras's.
        own_layers: of ANTsPyNet's.
        tensorflow: functions; a name that ends in a dot stands for all that is below it.
    """

    classes: frozenset[str]
    functions: frozenset[str]
    own_layers: frozenset[str]
    tensorflow: frozenset[str]


class Link(NamedTuple):
    """A link in a group, not followed."""

    group: Any
    name: bytes
    place: str
    kind: int
    address: int  # of the object, if the link is a hard one


def hazards(path: str, allowed: Allowed) -> Iterator[tuple[str, str]]:
    """Describe everything in the HDF5 file at `path` that refers to other files or may run code, each with its kind.

    Only hard links are followed, to each object once. CVE-2026-1669: external links, external storage and virtual
    datasets read other files. CVE-2025-1550, CVE-2025-9905 and similar ones: `model_config` and `training_config`,
    attributes of Keras's legacy HDF5 format, name functions and hold Python bytecode.

    Raises:
        HDF5_ERRORS: the HDF5 library refuses the file, or it has more than MAX_LINKS links.
    """
    import h5py

    with h5py.File(path, "r") as file:
        for attribute in "model_config", "training_config":
            yield from ((CODE, text) for text in _in_attribute(file, attribute, allowed))
        yield from ((LEADS_OUT, text) for text in _leading_out(file["/"].id))


def _leading_out(root: Any) -> Iterator[str]:
    """Describe the links and datasets below `root` that other files are read for."""
    from h5py import h5d, h5g, h5l, h5o

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


def _in_attribute(file: Any, name: str, allowed: Allowed) -> Iterator[str]:
    """Describe the code that an attribute with a configuration names. One that Keras does not write so is found too."""
    from h5py import h5a

    if not h5a.exists(file.id, name.encode()):
        return
    attribute = h5a.open(file.id, name.encode())
    written = attribute.get_type().get_size() * attribute.get_space().get_simple_extent_npoints()
    text = file.attrs[name] if written <= MAX_CONFIGURATION_BYTES else b""
    if not isinstance(text, (str, bytes)):
        yield f"a {name} that is not text"
    elif max(written, len(text)) > MAX_CONFIGURATION_BYTES:  # `written` misses the length of variable-length strings
        yield f"a {name} of more than {MAX_CONFIGURATION_BYTES} bytes"
    else:
        try:
            configuration = json.loads(text)
        except (RecursionError, ValueError):
            yield f"a {name} that is not JSON"
        else:
            for found, layer in in_configuration(configuration, allowed):
                yield f"{found} in {f'the layer {quote(layer)} of ' if layer else ''}its {name}"


def keras_version(path: str) -> str:
    """Return the version of Keras that wrote the network at `path`, as it says itself; empty if it does not.

    Keras's legacy format has it as an attribute of the file (`save`) or of its weights (`save_weights`).

    Raises:
        HDF5_ERRORS: the HDF5 library refuses the file.
    """
    import h5py
    from h5py import h5a

    with h5py.File(path, "r") as file:
        name = b"keras_version"
        if not h5a.exists(file.id, name):
            return ""
        attribute = h5a.open(file.id, name)
        if attribute.get_type().get_size() * attribute.get_space().get_simple_extent_npoints() > MAX_VERSION_BYTES:
            return ""
        text = file.attrs["keras_version"]
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return words if isinstance(words, str) and re.fullmatch(r"[\w.+-]{1,64}", words) else ""


def in_configuration(configuration: Any, allowed: Allowed) -> Iterator[tuple[str, str]]:
    """Yield each part of a configuration that is not `allowed`, and its layer; not the parts within it."""
    todo: list[tuple[str, Any]] = [("", [configuration])]
    while todo:
        layer, part = todo.pop()
        if isinstance(part, dict):
            inner = part.get("config")
            names = (part.get("name"), inner.get("name") if isinstance(inner, dict) else None, layer)
            layer = next(name for name in names if isinstance(name, str))
            if found := _judge(part, allowed):
                yield found, layer
                continue
            part = list(part.values())
        todo += [(layer, value) for value in part if isinstance(value, (dict, list))]


def _judge(part: dict[str, Any], allowed: Allowed) -> str:
    """Describe the code or the file that an object of a configuration names; empty if it names none.

    Keras 2: `{"class_name": "Lambda", "config": {"function": [base64, defaults, closure], "function_type": "lambda"}}`;
    `output_shape` and `mask` likewise; or `"function": NAME, "module": MODULE`.
    Keras 3: `{"class_name": "Lambda", "config": {"function": FUNCTION}}`, where FUNCTION is
    `{"class_name": "__lambda__", "config": {"code": base64}}` or `{"class_name": "function", "config": NAME, "module":
    MODULE}`.
    """
    kind, inner = part.get("class_name"), part.get("config")
    settings, found = inner if isinstance(inner, dict) else {}, ""
    if kind == "__lambda__" or any(key.endswith("_type") and value == "lambda" for key, value in part.items()):
        found = "Python bytecode"
    elif isinstance(part.get("vocabulary"), str):  # of a StringLookup, for instance
        found = f"the file name {quote(part['vocabulary'])}"
    elif kind == "Lambda":
        found = next((inside for inside, _ in in_configuration(settings, allowed)), _called(settings))
    elif kind == "function":
        if not (isinstance(inner, str) and inner in allowed.functions and _is_in(FUNCTION_MODULE, part.get("module"))):
            found = _called({"function": inner, "module": part.get("module")})
    elif kind in ("TFOpLambda", "SlicingOpLambda"):
        function = str(settings.get("function")).removeprefix("compat.v1.")
        if not any(function == name or (name[-1] == "." and function.startswith(name)) for name in allowed.tensorflow):
            found = f"the TensorFlow function {quote(function)}"
    elif isinstance(kind, str) and not _is_allowed_class(part, kind, allowed):
        found = f"the class {quote(kind)}{_of_module(part)}"
    return found


def _is_allowed_class(part: dict[str, Any], kind: str, allowed: Allowed) -> bool:
    """Return True if `kind` is a class of Keras's or of ANTsPyNet's, by its name and the module that it gives."""
    names, module = (kind, str(part.get("registered_name") or kind)), part.get("module")
    if all(re.sub("V[12]$", "", name) in allowed.classes for name in names):
        return _is_in(KERAS_MODULE, module)
    return all(name.removeprefix("Custom>") in allowed.own_layers for name in names) and _is_in(OWN_MODULE, module)


def _is_in(modules: re.Pattern[str], module: object) -> bool:
    """Return True if `module` is one of `modules`; also without a module, because Keras then looks into its own."""
    return module is None or (isinstance(module, str) and modules.fullmatch(module) is not None)


def _called(settings: dict[str, Any]) -> str:
    """Describe the function that `settings` name: a Lambda has to call one."""
    function = settings.get("function")
    if isinstance(function, dict):
        return _called({"function": str(function.get("config")), "module": function.get("module")})
    return f"the function {quote(str(function))}{_of_module(settings)}"


def _of_module(part: dict[str, Any]) -> str:
    return f" of {quote(str(part['module']))}" if part.get("module") else ""


def quote(words: str | bytes) -> str:
    """Return `words` from the file in quotes, shortened to a line, with control characters escaped."""
    text = words if isinstance(words, str) else words.decode(errors="surrogateescape")
    if len(text) > MAX_SHOWN_CHARACTERS:
        text = f"{text[: MAX_SHOWN_CHARACTERS // 2]}...{text[-MAX_SHOWN_CHARACTERS // 2 :]}"
    return repr(text)


def _answer(path: str, allowed: Allowed) -> dict[str, Any]:
    """Scan one file, and return the answer about it."""
    shown: list[tuple[str, str]] = []
    version = ""
    counts = {LEADS_OUT: 0, CODE: 0}
    try:
        for kind, text in hazards(path, allowed):
            counts[kind] += 1
            if counts[kind] <= MAX_SHOWN_HAZARDS:
                shown.append((kind, text))
        version = keras_version(path)
    except MemoryError:
        return {"refused": "the scan takes too much memory"}
    except HDF5_ERRORS as error:
        return {"refused": quote(str(error))}
    more = {kind: max(0, count - MAX_SHOWN_HAZARDS) for kind, count in counts.items()}
    return {"findings": shown, "more": more, "keras": version}


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
    allowed = Allowed(**{name: frozenset(names) for name, names in json.loads(sys.stdin.readline()).items()})
    _print_answer({"ready": True})
    for path in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + float(seconds)))
        _print_answer(_answer(json.loads(path), allowed))


if __name__ == "__main__":
    main(*sys.argv[1:])
