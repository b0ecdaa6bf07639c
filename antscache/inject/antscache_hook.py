"""Has an unmodified ANTsPyNet, when it is imported, ask antscache for its files.

This runs in other people's interpreters, from Python 3.8 on: the standard library only, no thread, no socket, nothing
of antscache. It finds nothing itself. Of the few modules in FUNCTIONS, which whoever finds modules here has found,
it has the function that fetches redirected (`antscache_getters`) once the module has been executed. A process that
imports none of them pays for a look-up in a set at each import.

    ANTSCACHE_HOOK=0     nothing of this happens
    ANTSCACHE_COMMAND    a JSON list: how antscache is called
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident  # threading's own, which costs more

TYPE_CHECKING = False  # typing's own costs more than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# Module: package, kind and function, as `antscache/catalog/getters.py` has them.
GETTERS = {
    "antspynet.utilities.get_antsxnet_data": ("antspynet", "data", "get_antsxnet_data"),
    "antspynet.utilities.get_pretrained_network": ("antspynet", "network", "get_pretrained_network"),
    "ants.utils.get_ants_data": ("antspyx", "data", "get_data"),
}
# Module: function, and the weights of Keras's own that it has Keras download (field notes, "Other downloads").
KERAS = {
    "antspynet.utilities.chexnet": ("chexnet", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    "antspynet.utilities.neural_style_transfer": (
        "neural_style_transfer",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
}
FUNCTIONS = {**{name: getter[2] for name, getter in GETTERS.items()}, **{name: each[0] for name, each in KERAS.items()}}


class Finder:
    """The first of `sys.meta_path`. `command` calls antscache where ANTSCACHE_COMMAND does not."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self._finding: set[tuple[str, int]] = set()  # modules, and who is finding them

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """What the other finders say of a module in FUNCTIONS; None of any other."""
        if sys.meta_path[0] is not self and self in sys.meta_path:  # one before it may ask nobody else
            sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)
        asked = name, get_ident()
        if name not in FUNCTIONS or asked in self._finding:
            return None
        self._finding.add(asked)  # another one may ask all finders as well, this one too
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            found = (finder.find_spec(name, path, target) for finder in others)
            spec = next((each for each in found if each is not None), None)
        finally:
            self._finding.discard(asked)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: Any) -> None:
        """What `loader` loads is redirected then; it is the loader of one module, or of one archive.

        Raises:
            ImportError: it is a loader that cannot be watched.
        """
        modern = hasattr(loader, "exec_module")  # which archives have from Python 3.10 on
        load = loader.exec_module if modern else loader.load_module

        def watched(loaded: Any) -> Any:  # a module, or the name of one
            result = load(loaded)
            module = loaded if modern else result
            if module.__name__ in FUNCTIONS:
                self.redirect(module)
            return result

        try:
            setattr(loader, "exec_module" if modern else "load_module", watched)
        except AttributeError as error:
            raise _refusal(type(loader).__name__, error) from error

    def redirect(self, *modules: ModuleType) -> None:
        """The getters of `modules`, wherever they are called from, ask antscache; what has Keras download says so.

        Raises:
            ImportError: one is none that can be redirected, and nothing is. Half a hook would be a silent mixture.
        """
        try:
            functions = getters()
            for module in modules:
                if module.__name__ in GETTERS:
                    functions.check(module, FUNCTIONS[module.__name__])
            for module in modules:
                if module.__name__ in GETTERS:
                    functions.redirect(module, *GETTERS[module.__name__], command=self.command)
                else:
                    functions.announce(module, *KERAS[module.__name__])
        except Exception as error:
            raise _refusal(", ".join(module.__name__ for module in modules), error) from error


def _refusal(what: str, error: Exception) -> ImportError:
    told = f"antscache cannot direct {what} to its view: {error!r}"
    return ImportError(f"{told}\nhint: update antscache, or go without it: ANTSCACHE_HOOK=0")


def getters() -> Any:
    """The module beside this one, which most processes never need."""
    name = "antscache_getters"
    if name not in sys.modules:
        from importlib.util import module_from_spec, spec_from_file_location

        here = os.path.dirname(os.path.abspath(__file__))
        spec = spec_from_file_location(name, os.path.join(here, f"{name}.py"))
        if spec is None or spec.loader is None:
            raise ImportError(f"{here} is not whole: install antscache again")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def is_on() -> bool:
    """Whether the environment lets the hook be."""
    return os.environ.get("ANTSCACHE_HOOK", "").lower() not in ("0", "false", "no", "off")


def install(command: Sequence[str] = ()) -> None:
    """Every getter that is imported from now on, or has been, asks antscache; after a second call it asks anew.

    Raises:
        ImportError: one that has been imported cannot be redirected, and nothing has changed.
    """
    finder = next((each for each in sys.meta_path if isinstance(each, Finder)), None) or Finder(command)
    if imported := [sys.modules[name] for name in FUNCTIONS if name in sys.modules]:
        finder.redirect(*imported)
        getters().forget()
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
