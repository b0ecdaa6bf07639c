"""Install the hook, then import the sitecustomize that this one hides.

`antscache run` puts this directory first on the path for this module alone, which takes it off the path again.
Processes that this one starts have it in their PYTHONPATH.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_this = sys.modules.pop(__name__)
try:
    import antscache_hook  # type: ignore[import-not-found,unused-ignore]

    if antscache_hook.is_on():
        antscache_hook.install()
finally:
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or os.curdir) != _here]
try:
    import sitecustomize  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
except ImportError as error:
    if error.name != __name__:
        raise
finally:
    sys.modules.setdefault(__name__, _this)  # the import system expects a module that it imports to be here
