"""The modules of a package as text, parsed by `ast` and never imported: what each name in them stands for. Pure."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antscache.catalog.functions.slices import slice_body
from antscache.catalog.getters import GETTERS, PARSE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from antscache.core import Kind

PACKAGE = "antspynet"
MAX_IMPORTS = 20  # followed from a name to its definition
KERAS_APPLICATIONS = {"DenseNet121": "densenet121_imagenet", "VGG19": "vgg19_imagenet"}  # see core/keras_weights.py


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function of the package.

    Attributes:
        module: the dotted name of its module.
        node: its definition.
    """

    module: str
    node: ast.FunctionDef


@dataclass(frozen=True, slots=True)
class Fetching:
    """A getter: it asks for an entry of `kind`, whose name is its argument `parameter`."""

    kind: Kind
    parameter: str = "file_id"


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A name of a module that is not valid Python, at `path`: it may stand for a function that asks for anything."""

    path: str


@dataclass(frozen=True, slots=True)
class Module:
    """A module or a package within the package, by its dotted name."""

    name: str


@dataclass(slots=True)
class _Names:
    """The names that a module defines, by imports and by definitions."""

    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    values: dict[str, ast.expr] = field(default_factory=dict)
    callables: list[tuple[str, ast.AST]] = field(default_factory=list)  # functions and lambdas at any depth

    def own(self, module: str, name: str) -> Definition | ast.expr | None:
        """Return what `module`, which these names are of, itself defines as `name`."""
        return Definition(module, self.functions[name]) if name in self.functions else self.values.get(name)


class Program:
    """The modules of ANTsPyNet.

    Args:
        texts: the source of each module, by its path from the directory that holds the package.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {_dotted(path): (path, text) for path, text in texts.items() if path.endswith(".py")}
        self._unparsed: set[str] = set()
        self._names: dict[str, _Names] = {}
        self._bodies: dict[ast.FunctionDef, list[ast.stmt]] = {}
        self._asking: dict[ast.AST, bool] = {}
        getters = {(_dotted(getter.module), getter.function): getter.kind for getter in GETTERS["antspynet"]}
        self._getters = {place: Fetching(kind) for place, kind in getters.items()}
        self._askers = self._find_askers()

    def path(self, module: str) -> str:
        """Return the path of `module`."""
        return self._texts[module][0]

    def public(self) -> dict[str, Definition | Unparsed]:
        """Return the functions that `antspynet.utilities` exports, by name; without getters."""
        package = f"{PACKAGE}.utilities"
        found = ((name, self.resolve(package, name)) for name in self.names(package).imports)
        return {name: what for name, what in found if isinstance(what, Definition | Unparsed)}

    def resolve(self, module: str, name: str) -> Definition | Fetching | Module | Unparsed | ast.expr | None:
        """Return what `name` stands for in `module`: a definition, a getter, a module, or a value's expression.

        None if it stands for nothing in the package.
        """
        for _ in range(MAX_IMPORTS):
            names = self.names(module)
            if module in self._unparsed:
                return Unparsed(self.path(module))
            own = self._getters.get((module, name)) or names.own(module, name)
            if own is not None:
                return own
            if name in names.imports:
                target, original = names.imports[name]
                if original is None:
                    return Module(target)
                module, name = target, original
            elif star := next((each for each in names.stars if each != module and self._has(each, name)), None):
                module = star
            else:
                return Module(f"{module}.{name}") if f"{module}.{name}" in self._texts else None
        return None

    def _has(self, module: str, name: str) -> bool:
        names = self.names(module)
        return name in names.functions or name in names.values or name in names.imports

    def names(self, module: str) -> _Names:
        """Return the names at the top of `module`; none if it cannot be parsed."""
        if module not in self._names:
            path, text = self._texts.get(module, ("", ""))
            tree = _parsed(text)
            if tree is None:
                self._unparsed.add(module)
            self._names[module] = _top_names(tree.body if tree else [], module, path.endswith("__init__.py"))
            self._names[module].callables += _callables(tree) if tree else ()
        return self._names[module]

    def may_ask(self, node: ast.AST) -> bool:
        """Return True if the code in `node` mentions a function that asks for an entry, by its name."""
        if node not in self._asking:
            self._asking[node] = any(name in self._askers for name in _mentioned(node))
        return self._asking[node]

    def body(self, function: ast.FunctionDef) -> list[ast.stmt]:
        """Return the statements of `function` that can change what it asks for."""
        if function not in self._bodies:
            self._bodies[function] = slice_body(function.body, self.may_ask)
        return self._bodies[function]

    def _find_askers(self) -> frozenset[str]:
        """Return the names of getters and of all functions that mention one of these names, at any remove."""
        mentions = [
            (name, set(_mentioned(node))) for module in self._texts for name, node in self.names(module).callables
        ]
        found = {function for _, function in self._getters} | KERAS_APPLICATIONS.keys()
        for names in self._names.values():  # any name from a module that is not valid Python
            found |= {name for name, (target, _) in names.imports.items() if target in self._unparsed}
        while more := {name for name, inside in mentions if name not in found and inside & found}:
            found |= more
        return frozenset(found)


def parameter_names(definition: ast.FunctionDef | ast.Lambda) -> tuple[str, ...]:
    """Return the names of the parameters of a function, without those for any others (`*args`, `**kwargs`)."""
    arguments = definition.args
    return tuple(each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def default_nodes(definition: ast.FunctionDef | ast.Lambda) -> dict[str, ast.expr]:
    """Return the defaults of a function's parameters, as expressions."""
    arguments = definition.args
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    defaults = dict(zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True))
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return defaults | {each.arg: default for each, default in named if default}


def function_imports(statement: ast.Import | ast.ImportFrom, module: str) -> dict[str, tuple[str, str | None]]:
    """Return the names that an import in a function of `module` binds: each with a module, and a name in it."""
    names = _Names()
    _add_import(names, statement, module, is_package=False)
    return names.imports


def _parsed(text: str) -> ast.Module | None:
    """Return the syntax tree of `text`; None if it is not valid Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escape sequences in upstream's docstrings
            return ast.parse(text)
    except PARSE_ERRORS:
        return None


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _top_names(body: list[ast.stmt], module: str, is_package: bool) -> _Names:  # noqa: FBT001
    names = _Names()
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom():
                _add_import(names, statement, module, is_package=is_package)
            case ast.FunctionDef():
                names.functions[statement.name] = statement
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                names.values[name] = value
    return names


def _add_import(names: _Names, statement: ast.Import | ast.ImportFrom, module: str, *, is_package: bool) -> None:
    """Add the names that `statement` imports from within the package."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.name.partition(".")[0] == PACKAGE:
                names.imports[alias.asname or PACKAGE] = (alias.name if alias.asname else PACKAGE, None)
        return
    parts = module.split(".")
    above = parts[: len(parts) - statement.level + is_package] if statement.level else []
    source = ".".join([*above, *([statement.module] if statement.module else [])])
    if source.partition(".")[0] != PACKAGE:
        return
    for alias in statement.names:
        if alias.name == "*":
            names.stars.append(source)
        else:
            names.imports[alias.asname or alias.name] = (source, alias.name)


def _callables(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield each function and each named lambda in `tree`, with its name."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name):
                yield name, node
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                yield name, node.value


def _mentioned(node: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that the code in `node` mentions."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.ImportFrom):
            yield from (alias.name for alias in inner.names)
