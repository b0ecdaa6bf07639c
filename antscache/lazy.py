"""Import the names of a package at their first use, so that a command imports only the modules that it needs.

A package with modules that are slow to import lists their names twice: for type checkers, in a block that never runs,
and for `lazily`. `tests/test_lazy.py` checks that both lists agree.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def lazily(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `package` (PEP 562), which imports a name from its module and keeps it.

    Args:
        package: its `__name__`.
        modules: module below `package` -> the names that it defines. No name may be that of a module, because Python
            would replace the name by the module.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
