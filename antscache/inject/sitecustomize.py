"""Found first on the path of what `antscache run` starts: the hook, then whatever sitecustomize was meant.

The directory is on the path for this alone, and leaves it here; processes that this one starts have it in PYTHONPATH.
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
    sys.path[:] = [each for each in sys.path if os.path.abspath(each or os.curdir) != _here]
try:
    import sitecustomize  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
except ImportError as error:
    if error.name != __name__:
        raise
finally:
    sys.modules.setdefault(__name__, _this)  # whoever imports a module expects it to be there
