"""Names of a package that are imported at their first use, so that a command pays only for what it needs.

A package whose modules are slow to import lists its names once for type checkers, in a block that never runs, and once
for `lazily`. `tests/test_lazy.py` checks that both lists agree.
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
        modules: module below `package` -> the names that it defines. A name must not be that of a module: Python
            would put the module in its place.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
