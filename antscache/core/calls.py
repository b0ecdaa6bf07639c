"""Calls of a release's functions as you write them after `--for`, and the entries that they need. Pure.

    brain_extraction:modality=t1      one argument; several are divided by commas
    cortical_thickness:t1=[image,None,image]      a list of this shape; `[...]` is any list
    deep_flash:t2                     an argument that is given: anything but None and a list

Values are Python's literals; `image` is one image, and everything else is text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from antscache.core.keras_weights import with_optional
from antscache.core.needs import ANYTHING, GIVEN, IMAGE, Function, ask, holes, matches
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from antscache.core.manifest import Entry, Kind, Manifest

MAX_CALL_CHARACTERS = 1000
MAX_ARGUMENTS = 100
_CALL = re.compile(r"([A-Za-z_]\w*)(?::(.*))?", re.ASCII | re.DOTALL)
_PARAMETER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WORD = re.compile(r"\w[\w.]+")  # a value rather than a part of one, like a bracket
_OPENING, _CLOSING = "([{", ")]}"


class Call(NamedTuple):
    """A call of a function, with the arguments that you give."""

    function: str
    arguments: dict[str, Any]
    text: str


class OpenName(NamedTuple):
    """An entry of `kind` that the caller of `function` chooses, by an argument."""

    function: str
    kind: Kind
    parameter: str

    def __str__(self) -> str:
        return f"{self.function} also needs the {self.kind} that you choose by `{self.parameter}`"


@dataclass(frozen=True, slots=True)
class Needed:
    """The entries that some calls need.

    Attributes:
        entries: all that they can ask for, sorted by kind and name.
        choices: what they ask for as well, by a name that only you know.
        undecided: the parameters that would decide, for each call that leaves some open.
        unknown: the places in the source where a name is asked for that antscache cannot tell.
        absent: the names that they ask for and the release does not have.
    """

    entries: tuple[Entry, ...]
    choices: tuple[OpenName, ...] = ()
    undecided: tuple[tuple[Call, tuple[str, ...]], ...] = ()
    unknown: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def remarks(self) -> Iterator[str]:
        """Yield a sentence for each thing that is open."""
        for call, parameters in self.undecided:
            deciding = " and ".join(f"`{name}`" for name in parameters)
            yield f"one call of `{call.text}` needs only some of these files, as {deciding} decides"
        yield from map(str, self.choices)
        for place in self.unknown:
            yield f"antscache cannot tell which file is asked for: {place}"
        if self.absent:
            yield f"the release asks for files that it does not have: {', '.join(self.absent)}"


def parse_call(text: str) -> Call:
    """Return the call that `text` writes.

    Raises:
        ManifestError: it is none.
    """
    hint = "write a call like brain_extraction:modality=t1, with commas between arguments"
    match = _CALL.fullmatch(text.strip()) if len(text) <= MAX_CALL_CHARACTERS else None
    if match is None:
        raise ManifestError(f"not a function with its arguments: {text[:MAX_CALL_CHARACTERS]!r}", hint=hint)
    arguments: dict[str, Any] = {}
    for part in _split(match[2]) if match[2] is not None else ():
        name, equals, value = part.partition("=")
        if not _PARAMETER.fullmatch(name.strip()) or len(arguments) >= MAX_ARGUMENTS:
            raise ManifestError(f"not an argument in {text!r}: {part!r}", hint=hint)
        if name.strip() in arguments:
            raise ManifestError(f"two values for {name.strip()} in {text!r}", hint=hint)
        try:
            arguments[name.strip()] = _parse_value(value.strip()) if equals else GIVEN
        except RecursionError:
            raise ManifestError(f"the value of {name.strip()} is nested too deeply", hint=hint) from None
    return Call(match[1], arguments, text.strip())


def _split(text: str) -> Iterator[str]:
    """Yield the parts of `text` between commas; those within brackets and quotes do not divide it."""
    depth, quote, start = 0, "", 0
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth <= 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _parse_value(text: str) -> Any:
    """Return the value that `text` writes: a literal of Python, `image`, a list of these, or else the text itself."""
    import ast  # these two, most commands never need
    import warnings

    if text == "image":
        return IMAGE
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1].strip().removesuffix(",")
        return [_parse_value(part.strip()) for part in _split(inner)] if inner else []
    if text == "...":
        return ANYTHING
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those of "1if"
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool | list | tuple | None) else text


def find_needed(manifest: Manifest, calls: Iterable[str]) -> Needed:
    """Return the entries of `manifest` that `calls` can ask for, each written as for `parse_call`.

    Raises:
        ManifestError: there is no such function, parameter or value, or the functions of the release are not known.
    """
    entries: dict[tuple[Kind, str], Entry] = {}
    choices: dict[OpenName, None] = {}
    undecided: list[tuple[Call, tuple[str, ...]]] = []
    unknown: dict[str, None] = {}
    absent: dict[str, None] = {}
    known = {(entry.kind, entry.name): entry for entry in with_optional(manifest).entries}
    for call in map(parse_call, calls):
        function = find_function(manifest, call)
        asked = ask(function, call.arguments)
        if not asked.returns:
            raise _refused(manifest, function, call)
        if asked.undecided:
            undecided.append((call, asked.undecided))
        unknown |= dict.fromkeys(f"{each} in {manifest.release}" for each in asked.unknown)
        for kind, name in asked.names:
            if not holes(name):
                if (kind, name) in known:
                    entries[kind, name] = known[kind, name]
                elif chosen := [p for p, value in call.arguments.items() if isinstance(value, str) and value in name]:
                    raise _no_such_value(manifest, call, chosen[0], name)
                else:
                    absent[name] = None
            elif name == f"{{{holes(name)[0]}}}":
                choices[OpenName(function.name, kind, holes(name)[0])] = None
            else:
                entries |= {key: entry for key, entry in known.items() if key[0] == kind and matches(name, key[1])}
    found = tuple(entries[key] for key in sorted(entries))
    return Needed(found, tuple(choices), tuple(undecided), tuple(unknown), tuple(sorted(absent)))


def find_function(manifest: Manifest, call: Call) -> Function:
    """Return the function of `manifest` that `call` names, with parameters for all its arguments.

    Raises:
        ManifestError: there is none, or antscache cannot tell what it needs.
    """
    functions = {function.name: function for function in known_functions(manifest)}
    function = functions.get(call.function)
    if function is None:
        raise no_such_function(manifest, call.function)
    if unknown := [name for name in call.arguments if name not in function.parameters]:
        raise ManifestError(
            f"{function.name} of {manifest.release} has no parameter {', '.join(unknown)}",
            hint=f"its parameters are {', '.join(function.parameters)}",
        )
    if function.problem:
        raise ManifestError(
            f"antscache cannot tell what {function.name} of {manifest.release} needs: {function.problem}",
            hint="choose files with --name, or leave --for out",
        )
    return function


def no_such_function(manifest: Manifest, name: str) -> ManifestError:
    """Return the error for `name`, which is no function of `manifest` that needs entries."""
    functions = [function.name for function in manifest.functions or ()]
    close = difflib.get_close_matches(name, functions, 3, cutoff=0.6)
    listing = f"`antscache list {manifest.release} --functions` prints all"
    hint = f"did you mean {', '.join(close)}? {listing}" if close else listing
    return ManifestError(f"{manifest.release} has no function {name} that needs files", hint=hint)


def known_functions(manifest: Manifest) -> tuple[Function, ...]:
    """Return the functions of `manifest` that need entries.

    Raises:
        ManifestError: they have not been read.
    """
    if manifest.functions is None:
        raise ManifestError(
            f"the functions of {manifest.release} have not been read",
            hint="name its source with --from or --python, or choose files with --name",
        )
    return manifest.functions


def _refused(manifest: Manifest, function: Function, call: Call) -> ManifestError:
    """Return the error for arguments that the function itself refuses."""
    known = [
        f"{name} can be {', '.join(map(_shown, values))}"
        for name in call.arguments
        if (values := function.known_values(name))
    ]
    hint = "; ".join(known) or f"`antscache show {function.name}` prints the arguments that it knows"
    return ManifestError(f"{function.name} of {manifest.release} refuses `{call.text}`", hint=hint)


def _no_such_value(manifest: Manifest, call: Call, parameter: str, name: str) -> ManifestError:
    return ManifestError(
        f"{call.function} asks for {name} if {parameter} is {_shown(call.arguments[parameter])}, and "
        f"{manifest.release} has no such file",
        hint=f"`antscache list {manifest.release}` prints all names",
    )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


class NeededBy(NamedTuple):
    """A call of a function, and what it needs.

    Attributes:
        title: the argument that this call gives, or "by default", or "in all".
        call: as `parse_call` reads it.
        exact: False if other arguments decide which of the entries are asked for.
    """

    title: str
    call: str
    needed: Needed
    exact: bool


def describe_function(manifest: Manifest, name: str) -> tuple[Function, tuple[NeededBy, ...]]:
    """Return the function `name` of `manifest`, and its needs: by default, by each argument that decides, and in all.

    Raises:
        ManifestError: there is no such function.
    """
    function = next((each for each in known_functions(manifest) if each.name == name), None)
    if function is None:
        raise no_such_function(manifest, name)
    if function.problem:
        return function, ()
    calls = [("by default", name)]
    for parameter in function.deciding:
        calls += [(written, f"{name}:{written}") for written in _written_values(function, parameter)]
    if function.deciding:
        calls.append(("in all", any_call(function)))
    found = []
    for title, call in calls:
        try:
            needed = find_needed(manifest, [call])
        except ManifestError:
            continue  # the function compares its argument with this value, and refuses it
        found.append(NeededBy(title, call, needed, not needed.undecided))
    return function, tuple(found)


def any_call(function: Function) -> str:
    """Return a call of `function` of which no argument is known, as `parse_call` reads it."""
    return f"{function.name}:{','.join(f'{parameter}=...' for parameter in function.deciding)}".rstrip(":")


def _written_values(function: Function, parameter: str) -> Iterator[str]:
    """Yield the values of `parameter` that decide, each written as for `parse_call`, but for its default."""
    default = function.defaults.get(parameter, GIVEN)
    values: list[Any] = []
    for test in function.tests:
        if test.subject == (parameter,):
            if test.operator in {"==", "is in"}:
                values += test.value if isinstance(test.value, tuple) else [test.value]
            elif test.operator == "contains" and _WORD.fullmatch(str(test.value)):
                values.append(test.value)
            elif test.operator == "is true":
                values += [True, False]
            elif test.operator == "is a" and "list" in (test.value or ()):  # type: ignore[operator]
                yield f"{parameter}=[...]"
    for value in dict.fromkeys(values):
        if value != default or isinstance(value, bool) != isinstance(default, bool):
            yield f"{parameter}={_shown(value)}"
    if None in values and default is None:
        yield parameter


def users_of(manifest: Manifest, kind: Kind, name: str) -> tuple[str, ...]:
    """Return the functions of `manifest` that can ask for the entry with this kind and name."""
    return tuple(
        function.name
        for function in manifest.functions or ()
        if any(
            each == kind and (matches(pattern, name) if holes(pattern) else pattern == name)
            for each, pattern in ask(function, dict.fromkeys(function.parameters, ANYTHING)).names
            if pattern != f"{{{''.join(holes(pattern))}}}"
        )
    )


def parse_name_list(content: str) -> tuple[str, ...]:
    """Return the names in the text of a file: one on a line; blank lines and what follows a `#` do not count."""
    lines = (line.partition("#")[0].strip().strip("\ufeff") for line in content.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


def expand_names(names: Collection[str], entries: Collection[Entry]) -> tuple[str, ...]:
    """Return `names` with each file name as the entry's name, and each pattern (`*`, `?`, `[a-z]`) as all that match.

    A name that nothing matches stays as it is.
    """
    from fnmatch import fnmatchcase

    known = {entry.name for entry in entries}
    of_file = {entry.file: entry.name for entry in entries}
    found: dict[str, None] = {}
    for name in names:
        if name not in known and any(character in name for character in "*?["):
            matching = [each for each in known if fnmatchcase(each, name)]
            matching += [each for file, each in of_file.items() if fnmatchcase(file, name)]
            found |= dict.fromkeys(sorted(matching) or [name])
        else:
            found[name if name in known else of_file.get(name, name)] = None
    return tuple(found)
