"""Packages that import their names at first use: their two lists of names agree."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from support import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = sorted(
    path for path in (REPOSITORY / "antscache").rglob("__init__.py") if "lazily(" in path.read_text(encoding="utf-8")
)


def dotted(path: Path) -> str:
    return ".".join(path.parent.relative_to(REPOSITORY).parts)


def for_type_checkers(tree: ast.Module) -> dict[str, str]:
    """Return name -> module, from the imports for type checkers."""
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def for_lazily(tree: ast.Module, package: str) -> dict[str, str]:
    """Return name -> module, from the arguments of `lazily`."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazily")
    (modules,) = (ast.literal_eval(call.args[1]) for call in calls)
    return {name: f"{package}.{module}" for module, names in modules.items() for name in names}


@pytest.mark.parametrize("path", PACKAGES, ids=dotted)
def test_both_lists_of_names_agree(path: Path) -> None:
    tree, package = ast.parse(path.read_text(encoding="utf-8")), dotted(path)
    assert for_lazily(tree, package) == for_type_checkers(tree)
    assert for_lazily(tree, package).keys() <= set(import_module(package).__all__)


@pytest.mark.parametrize("path", PACKAGES, ids=dotted)
def test_no_name_is_that_of_a_module(path: Path) -> None:
    """Python would replace the name by the module."""
    modules = {module.stem for module in path.parent.iterdir()}
    assert modules.isdisjoint(for_lazily(ast.parse(path.read_text(encoding="utf-8")), dotted(path)))


@pytest.mark.parametrize("path", PACKAGES, ids=dotted)
def test_every_listed_name_can_be_imported(path: Path) -> None:
    """Every listed name can be imported in a new process and in this one; an unknown one is an AttributeError."""
    package: Any = import_module(dotted(path))
    code = f"import {dotted(path)} as p\nfor name in p.__all__: getattr(p, name)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(package, name) is getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
