"""Ages of files by times that other clocks may have given them: pure.

A time in the future counts as now, so that nothing is taken for old too early. A file with a time far in the future is
dated anew by a garbage collection, so that it does not live until that time has come.
"""

from __future__ import annotations

MAX_CLOCK_ERROR_SECONDS = 24 * 60 * 60.0  # a time further in the future is worth nothing


def age(then: float, now: float) -> float:
    """Return the seconds from `then` to `now`; 0 if `then` is in the future."""
    return max(0.0, now - then)


def is_misdated(then: float, now: float) -> bool:
    """Return True if `then` is so far in the future that a wrong clock has given it."""
    return then - now > MAX_CLOCK_ERROR_SECONDS
