"""Find what is wrong with this machine's set-up, and name a remedy for it. Nothing is changed.

examination.py    run all checks in turn; a check that fails or does not end becomes a finding
finding.py        a finding, and the words for counts, sizes and lists in it
host.py           the machine that is examined
patience.py       run jobs that may never end, with a time limit
root.py           the root: is it usable, are there leftovers, is there enough disk space
permissions.py    the owners and modes of the files in the root
filesystem.py     the abilities of the root's filesystem: links, locks, upper and lower case
lower_caches.py   the configured lower caches: can each be used
installation.py   the versions of antscache and antspynet, and the directory that this antspynet reads
home.py           a `~/.keras/ANTsXNet` that ANTsPyNet filled by itself
home_release.py   the release that the files of such a home belong to (pure)
origins.py        the origins: does each one answer
"""

from __future__ import annotations

from antscache.doctor.examination import examine
from antscache.doctor.finding import Finding

__all__ = ["Finding", "examine"]
