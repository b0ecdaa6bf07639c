"""Leave out the statements of a function that cannot change what it asks for. Pure.

Nothing stays behind the last call that may ask for an entry. Before it, these stay: such calls; what ends a block early
(`return`, `raise`, `break`, `continue`); the tests and loops around these; and every statement that changes a name that
one of them uses.
"""

from __future__ import annotations

import ast
import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCKS = ("body", "orelse", "finalbody", "handlers")
_ENDS = (ast.Raise, ast.Return, ast.Break, ast.Continue)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def slice_body(body: list[ast.stmt], may_ask: Callable[[ast.AST], bool]) -> list[ast.stmt]:
    """Return the statements of `body` that can change what it asks for.

    Args:
        body: of a function.
        may_ask: returns True for code that mentions a function that asks for an entry.
    """
    names: set[str] = set()
    while True:
        kept, used = _slice(_until_last(body, may_ask), names, may_ask)
        if used <= names:
            return kept
        names |= used


def _until_last(body: list[ast.stmt], may_ask: Callable[[ast.AST], bool]) -> list[ast.stmt]:
    """Return `body` up to the last statement that may ask for an entry; a branch that asks for none stays whole."""
    asking = [at for at, statement in enumerate(body) if may_ask(statement)]
    if not asking:
        return body
    *before, last = body[: asking[-1] + 1]
    if isinstance(last, ast.If | ast.With):
        last = copy.copy(last)
        for block in ("body", "orelse"):
            if hasattr(last, block):
                setattr(last, block, _until_last(getattr(last, block), may_ask))
    return [*before, last]


def _slice(
    body: list[ast.stmt], names: set[str], may_ask: Callable[[ast.AST], bool]
) -> tuple[list[ast.stmt], set[str]]:
    """Return the statements of `body` that stay where `names` are used, and the names that they use."""
    kept: list[ast.stmt] = []
    used: set[str] = set()
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            kept.append(statement)
            if may_ask(statement) and not isinstance(statement, ast.Import | ast.ImportFrom):
                used |= _used(statement)
        elif isinstance(statement, _ENDS):
            kept.append(statement)
            if may_ask(statement):
                used |= _used(statement)
        elif any(hasattr(statement, block) for block in _BLOCKS):
            inner, inside = _slice_compound(statement, names, may_ask)
            if inner is not None:
                kept.append(inner)
                used |= inside
        elif may_ask(statement) or not names.isdisjoint(_changed(statement)):
            kept.append(statement)
            used |= _used(statement)
    return kept, used


def _slice_compound(
    statement: ast.stmt, names: set[str], may_ask: Callable[[ast.AST], bool]
) -> tuple[ast.stmt | None, set[str]]:
    """Return `statement`, an `if`, a loop or the like, with what stays in its blocks; None if nothing does."""
    inner = copy.copy(statement)
    used: set[str] = set()
    empty = True
    for block in (block for block in _BLOCKS if hasattr(statement, block)):
        parts: list[ast.stmt] = []
        for part in getattr(statement, block):
            kept, inside = _slice(part.body if isinstance(part, ast.ExceptHandler) else [part], names, may_ask)
            used |= inside
            empty = empty and not kept
            if isinstance(part, ast.ExceptHandler):
                parts.append(ast.ExceptHandler(part.type, part.name, kept))  # type: ignore[arg-type]
            else:
                parts += kept
        setattr(inner, block, parts)
    head = [child for name, child in ast.iter_fields(statement) if name not in _BLOCKS]
    fields = [each for child in head for each in (child if isinstance(child, list) else [child])]
    nodes = [each for each in fields if isinstance(each, ast.AST)]
    asks = any(map(may_ask, nodes))
    changes = any(not names.isdisjoint(_changed(node)) for node in nodes)
    if empty and not asks and not changes:
        return None, set()
    return inner, used | {name for node in nodes for name in _used(node)}


def _used(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the names that `node` binds or may change: by an assignment to it or into it, or by a method of it."""
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
                yield from _base(each)
            case ast.Call(func=ast.Attribute() as method):
                yield from _base(method)
            case ast.Assign(value=ast.Name(id=name)):  # the same object has another name, by which it may be changed
                yield name


def _base(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
