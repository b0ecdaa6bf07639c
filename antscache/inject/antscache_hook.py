"""Make an unmodified ANTsPyNet, when it is imported, ask antscache for its files.

This runs in other people's interpreters, from Python 3.8 on: the standard library only, no thread, no socket, nothing
of antscache. The finder here finds no module itself. It lets the interpreter's other finders find the few modules in
FUNCTIONS, and redirects the function that fetches (`antscache_getters`) once the module has been executed. A process
that imports none of them pays for a look-up in a dictionary at each import.

    ANTSCACHE_HOOK=0     switches all of this off
    ANTSCACHE_COMMAND    the words that call antscache, as a JSON list
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
# Module: function, and the weights of Keras's own that it needs, as `antscache/core/keras_weights.py` names them.
KERAS_WEIGHTS = {
    "antspynet.utilities.chexnet": ("chexnet", "densenet121_imagenet"),
    "antspynet.utilities.neural_style_transfer": ("neural_style_transfer", "vgg19_imagenet"),
}
FUNCTIONS = {
    **{module: function for module, (_, _, function) in GETTERS.items()},
    **{module: function for module, (function, _) in KERAS_WEIGHTS.items()},
}


class Finder:
    """A finder that stays the first of `sys.meta_path`.

    Attributes:
        command: calls antscache if ANTSCACHE_COMMAND does not.
        known: the variables of antscache's at the installation, for a program that clears its environment.
        error: the class of errors; None for that of `antscache_getters`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self.known: dict[str, str] = {}
        self.error: Any = None
        self._searches: set[tuple[str, int]] = set()  # modules, and the threads that look for them

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders find for a module in FUNCTIONS; None for any other module."""
        if sys.meta_path[0] is not self and self in sys.meta_path:  # one before it may ask no other finder
            sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)
        search = name, get_ident()
        if name not in FUNCTIONS or search in self._searches:
            return None
        self._searches.add(search)  # another finder may ask all finders as well, and so this one
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            specs = (finder.find_spec(name, path, target) for finder in others)
            spec = next((spec for spec in specs if spec is not None), None)
        finally:
            self._searches.discard(search)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: Any) -> None:
        """Make `loader` redirect the modules that it loads. It loads one module, or those of one archive.

        Raises:
            ImportError: its methods cannot be replaced.
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
        """Make the getters of `modules` ask antscache, and the functions that need weights of Keras's own as well.

        Raises:
            ImportError: one of the getters cannot be redirected. None of them is then: half a hook would silently
                mix files of the view with others.
        """
        try:
            functions = getters()
            for module in modules:
                if module.__name__ in GETTERS:
                    functions.check(module, FUNCTIONS[module.__name__])
            for module in modules:
                if module.__name__ in GETTERS:
                    functions.redirect(module, *GETTERS[module.__name__], self)
                else:
                    functions.redirect_weights(module, *KERAS_WEIGHTS[module.__name__], self)
        except Exception as error:
            raise _refusal(", ".join(module.__name__ for module in modules), error) from error


def _refusal(name: str, error: Exception) -> ImportError:
    message = f"antscache cannot direct {name} to its view: {error!r}"
    return ImportError(f"{message}\nhint: update antscache, or go without it: ANTSCACHE_HOOK=0")


def getters() -> Any:
    """Return the module `antscache_getters`, imported at the first call: most processes never need it."""
    name = "antscache_getters"
    if name not in sys.modules:
        from importlib.util import module_from_spec, spec_from_file_location

        here = os.path.dirname(os.path.abspath(__file__))
        spec = spec_from_file_location(name, os.path.join(here, f"{name}.py"))
        if spec is None or spec.loader is None:
            raise ImportError(f"{here} is not complete: install antscache again")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def is_on() -> bool:
    """Return False if ANTSCACHE_HOOK switches the hook off."""
    return os.environ.get("ANTSCACHE_HOOK", "").lower() not in ("0", "false", "no", "off")


def install(command: Sequence[str] = (), environ: Any = None, error: Any = None) -> None:
    """Make every getter ask antscache, whether it has been imported already or is imported later.

    A second call makes them ask again for what they have asked before. The variables in `environ` (`os.environ`, if it
    is None) that begin with ANTSCACHE_ are known from now on; what cannot be answered is an `error`, if there is one.

    Raises:
        ImportError: a getter that has been imported cannot be redirected; nothing has changed.
    """
    finder = next((finder for finder in sys.meta_path if isinstance(finder, Finder)), None) or Finder(command)
    if imported := [sys.modules[name] for name in FUNCTIONS if name in sys.modules]:
        finder.redirect(*imported)
        getters().forget()
    variables = os.environ if environ is None else environ
    finder.known = {name: text for name, text in variables.items() if name.startswith("ANTSCACHE_")}
    finder.error = error or finder.error
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
