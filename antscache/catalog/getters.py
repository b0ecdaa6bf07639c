"""Source text in, entries out: the files that a release's getters fetch, read by `ast`, never imported. Pure.

A getter (`get_antsxnet_data`, `get_pretrained_network`, antspyx's `get_data`) is read as the function it is:

    def getter(file_id, target_file_name, ...):
        def switch(argument):
            switcher = {name: URL, ...}                    -> the URLs
            return switcher.get(argument, "Invalid argument.")
        valid_list = (name, ..., "show")                   -> the names it accepts
        url = switch(file_id)
        if target_file_name is None: ...                   -> the file name, evaluated for each name

All published releases have this form (field notes, "What ANTsPyNet asks for"). A getter of any other form, such as one
with a URL outside the dictionary, is not read, and a URL that is no literal is the problem of its name. Both texts name
the line: a guessed identifier is worse than none.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from antscache.core import Entry, Identifier, Kind, Package, UnreadGetter, identify_url, make_entry
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The errors of ast.parse: ValueError for NUL bytes, the last two for code that is nested too deeply.
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)

MAX_FILE_CHARACTERS = 255  # of a file name while it is built: no disk holds a longer one
MAX_STEPS = 1_000_000  # for the file names of a getter: the published ones take 4,000
MAX_SHOWN_CHARACTERS = 200  # of a text of the source in a message

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Getter:
    """A function of a release that fetches files.

    Attributes:
        kind: of the entries that it fetches.
        module: its source file, relative to the directory that holds the package.
        function: its name.
        directory: its parameter for the cache directory, if the function prefixes file names with that; else None.
    """

    kind: Kind
    module: str
    function: str
    directory: str | None = None


GETTERS: dict[Package, tuple[Getter, ...]] = {
    "antspynet": (
        Getter("data", "antspynet/utilities/get_antsxnet_data.py", "get_antsxnet_data"),
        Getter("network", "antspynet/utilities/get_pretrained_network.py", "get_pretrained_network"),
    ),
    "antspyx": (Getter("data", "ants/utils/get_ants_data.py", "get_data", "antsx_cache_directory"),),
}


class Extracted(NamedTuple):
    """The entries in the source of a release, sorted by kind and name; and the getters that cannot be read."""

    entries: tuple[Entry, ...]
    unread: tuple[UnreadGetter, ...]


class Url(NamedTuple):
    """The URL of a name: its value in the dictionary, as text if that is a literal, and its line."""

    text: str | None
    line: int


def extract(package: Package, sources: Mapping[str, str | ManifestError]) -> Extracted:
    """Extract the entries of a release of `package` from its getters' source.

    A name that the release refuses, or has no URL for, has a reason instead of an identifier. One whose URL cannot be
    an identifier has a problem. A getter that cannot be read does not keep others from being read.

    Args:
        package: the package that has the getters.
        sources: the text of each getter's module, by its path, or the error of reading it.

    Raises:
        ManifestError: nothing can be read; the message names file and line.
    """
    entries: dict[tuple[Kind, str], Entry] = {}
    errors: dict[Kind, ManifestError] = {}
    for getter in GETTERS[package]:
        try:
            reading = _Reading(getter, sources[getter.module])
            entries |= {(entry.kind, entry.name): entry for entry in reading.entries()}
        except ManifestError as error:  # noqa: PERF203  the other getter as well
            errors[getter.kind] = error
    problems = [*map(str, errors.values()), *(f"{e.name}: {e.problem}" for e in entries.values() if e.problem)]
    if all(entry.problem for entry in entries.values()):
        raise _not_understood(problems[0] if problems else "its getters have no names")
    unread = tuple(UnreadGetter(kind, str(error)) for kind, error in errors.items())
    return Extracted(tuple(entries[key] for key in sorted(entries)), unread)


class _Reading:
    """A getter's source while it is read."""

    def __init__(self, getter: Getter, text: str | ManifestError) -> None:
        self.getter = getter
        if isinstance(text, ManifestError):
            raise text
        try:
            tree = ast.parse(text)
        except PARSE_ERRORS as error:
            line = error.lineno if isinstance(error, SyntaxError) else 1
            raise self.not_understood(f"not valid Python: {str(error) or 'nested too deeply'}", line or 1) from None
        self.steps = 0
        self.function = self.only(
            [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == getter.function],
            f"the function {getter.function}",
        )
        self.naming = self.naming_statements()

    def entries(self) -> list[Entry]:
        """Return an entry for each name that the getter knows."""
        switcher, urls = self.urls()
        valid = self.valid_names()
        self.check_url_is_looked_up(switcher)
        lines = valid | {name: url.line for name, url in urls.items()}
        return [self.entry(name, urls.get(name), name in valid, line) for name, line in lines.items()]

    def entry(self, name: str, url: Url | None, accepted: bool, line: int) -> Entry:  # noqa: FBT001
        identifier = reason = problem = None
        if not accepted:
            reason = f"not in valid_list: the release refuses this name (its URL is {_shown(url and url.text)})"
        elif url is None:
            reason = "in valid_list, but the release has no URL for it"
        elif url.text == "":
            reason = "the release has an empty URL for it"
        else:
            identifier, problem = identify(url.text)
        found = {"identifier": identifier, "reason": reason, "problem": problem and f"line {line}: {problem}"}
        file = self.file_name(name)
        try:
            return make_entry(self.getter.kind, name, file, **found)
        except msgspec.ValidationError as error:
            raise self.not_understood(
                f"not a usable name: {_shown(name)} with file {_shown(file)} ({error})", line
            ) from None

    def urls(self) -> tuple[ast.Assign, dict[str, Url]]:
        """Return the assignment of the dictionary `switcher`, and the dictionary.

        The last of several equal names wins, as in Python.
        """
        assign = self.assignment("switcher")
        if not isinstance(assign.value, ast.Dict):
            raise self.not_understood("switcher is not a dictionary literal", assign)
        urls = {}
        for key, value in zip(assign.value.keys, assign.value.values, strict=True):
            text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
            urls[self.text(key or assign)] = Url(text, value.lineno)
        return assign, urls

    def valid_names(self) -> dict[str, int]:
        """Return the names that the getter accepts, without "show", and their lines."""
        assign = self.assignment("valid_list")
        if not isinstance(assign.value, ast.Tuple | ast.List):
            raise self.not_understood("valid_list is not a literal", assign)
        names = {self.text(item): item.lineno for item in assign.value.elts}
        return {name: line for name, line in names.items() if name != "show"}

    def check_url_is_looked_up(self, switcher: ast.Assign) -> None:
        """Check that `url` comes from `switcher`, that nothing changes either, and that there is no other URL.

        Raises:
            ManifestError: one of these does not hold.
        """
        within = {id(node) for node in ast.walk(switcher)}
        docstring = ast.get_docstring(self.function, clean=False)
        for node in ast.walk(self.function):
            match node:
                case ast.Constant(value=str() as text) if (
                    "://" in text and text != docstring and id(node) not in within
                ):
                    raise self.not_understood("a URL outside of switcher", node)
                case ast.Attribute(value=ast.Name(id="switcher"), attr="get"):
                    pass
                case ast.Attribute(value=ast.Name(id="switcher")) | ast.Subscript(value=ast.Name(id="switcher")):
                    raise self.not_understood("switcher is used for more than switcher.get()", node)
        url = self.assignment("url")
        if not (isinstance(url.value, ast.Call) and isinstance(url.value.func, ast.Name)):
            raise self.not_understood("url is not looked up in switcher", url)

    def naming_statements(self) -> list[ast.If]:
        """Return the statements that decide the file name: `if target_file_name is None: ...`."""
        naming = []
        for statement in self.function.body:
            if isinstance(statement, ast.If) and "target_file_name" in _names(statement.test):
                naming.append(statement)
            elif any("target_file_name" in _assigned(node) for node in ast.walk(statement)):
                raise self.not_understood("target_file_name is set outside of `if target_file_name is None`", statement)
        return naming

    def file_name(self, name: str) -> str:
        """Return the file name of `name`, as the getter computes it without a target_file_name."""
        values: dict[str, str | None] = {"file_id": name, "target_file_name": None}
        if self.getter.directory:
            values[self.getter.directory] = ""
        try:
            for statement in self.naming:
                self.run(statement, values)
        except RecursionError:
            raise self.not_understood("the file name is built with code that is nested too deeply", statement) from None
        file = values["target_file_name"]
        if file is None:
            raise self.not_understood(f"no file name for {_shown(name)}", self.function)
        return file

    def run(self, statement: ast.stmt, values: dict[str, str | None]) -> None:
        """Execute a statement that builds a file name. Only the few forms that getters use are known."""
        self.count_step(statement)
        if isinstance(statement, ast.If):
            for inner in statement.body if self.evaluate(statement.test, values) else statement.orelse:
                self.run(inner, values)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = self.evaluate(statement.value, values)
            if not isinstance(value, str):
                raise self.not_understood("a file name is not text", statement)
            values[statement.targets[0].id] = value
        else:
            raise self.not_understood("the file name is built with a statement that antscache does not know", statement)

    def evaluate(self, node: ast.expr, values: Mapping[str, str | None]) -> str | bool | None:
        self.count_step(node)
        match node:
            case ast.Constant(value=str() | None as value):
                return value
            case ast.Name(id=name) if name in values:
                return values[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                parts = self.evaluate(left, values), self.evaluate(right, values)
                if isinstance(parts[0], str) and isinstance(parts[1], str):
                    if len(parts[0]) + len(parts[1]) > MAX_FILE_CHARACTERS:
                        raise self.not_understood(f"a file name of more than {MAX_FILE_CHARACTERS} characters", node)
                    return parts[0] + parts[1]
            case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
                return self.evaluate(left, values) == self.evaluate(right, values)
            case ast.Compare(left=left, ops=[ast.NotEq() | ast.IsNot()], comparators=[right]):
                return self.evaluate(left, values) != self.evaluate(right, values)
            case ast.BoolOp(op=ast.Or(), values=alternatives):
                return any(self.evaluate(alternative, values) for alternative in alternatives)
        raise self.not_understood("the file name is built with an expression that antscache does not know", node)

    def count_step(self, node: ast.AST) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise self.not_understood(f"the file names take more than {MAX_STEPS} steps", node)

    def assignment(self, name: str) -> ast.Assign:
        """Return the one assignment to `name` in the function, nested functions included."""
        assignments = [node for node in ast.walk(self.function) if name in _assigned(node)]
        assignment = self.only(assignments, f"an assignment to {name}")
        if not isinstance(assignment, ast.Assign):
            raise self.not_understood(f"{name} is not simply assigned", assignment)
        return assignment

    def only(self, nodes: list[Node], what: str) -> Node:
        if len(nodes) != 1:
            raise self.not_understood(f"{what} is expected once, found {len(nodes)} times", nodes[1] if nodes else 1)
        return nodes[0]

    def text(self, node: ast.AST) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise self.not_understood("a string literal is expected", node)

    def not_understood(self, what: str, where: ast.AST | int) -> ManifestError:
        line = where if isinstance(where, int) else getattr(where, "lineno", 1)
        return _not_understood(f"{self.getter.module}, line {line}: {what}")


def _not_understood(problem: str) -> ManifestError:
    return ManifestError(
        problem, hint="this antscache does not know this form of source: try a newer one (`pip install -U antscache`)"
    )


def _shown(text: str | None) -> str:
    """Return `text` in quotes, and not all of a long one."""
    return repr(text) if text is None or len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]!r}..."


def identify(url: str | None) -> tuple[Identifier | None, str | None]:
    """Return the identifier of the file at `url`, or else the problem; `url` is None if it is no literal."""
    if url is None:
        return None, "its URL is computed, and antscache does not run the release's code"
    try:
        return identify_url(url), None
    except ValueError as error:
        return None, str(error)


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _assigned(node: ast.AST) -> set[str]:
    """Return the plain names that `node` itself assigns to, without those that nested nodes assign to."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}
