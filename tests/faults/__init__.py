"""The fault harness: real commands, killed at every call that changes the disk, and every power cut that could follow.

    tracing   follow a command's calls that change the disk, one by one, and kill it at a given one
    disk      pure: the contents that a disk may have after a power cut, if it keeps synced changes only
    boxes     read a directory with everything that a command can touch, and write it to a disk
    scenes    the commands that are tried, and their starting points
    checks    the conditions on a box, checked without antscache
    harness   puts all this together, and counts

docs/faults.md has the list of commands, and the counts.
"""
