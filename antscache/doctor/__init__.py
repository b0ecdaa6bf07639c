"""What is wrong with this machine's set-up, and what to do about it. Changes nothing.

examination.py    all checks in turn: one that fails or does not end is a finding too
finding.py        what a check finds, and how it is worded
host.py           the machine that is examined
patience.py       wait for what may never end
root.py           whether the root can be used, what is left over in it, and whether what is wanted has room
permissions.py    whose the root is, and what each user may do in it
filesystem.py     what its filesystem can do
lower_caches.py   whether each can be used
installation.py   antscache, and the antspynet in use with where it would look
home.py           a `~/.keras/ANTsXNet` that ANTsPyNet filled by itself
home_release.py   which release its files are of (pure)
origins.py        whether the origins answer
"""

from __future__ import annotations

from antscache.doctor.examination import examine
from antscache.doctor.finding import Finding

__all__ = ["Finding", "examine"]
